"""The session behind the pages: refreshed by whoever finds it expired, shared by the tabs, ended from elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.pages.visits import ACCOUNT, CHEAP, AccountVisit
from tests.processes import Server, run, serving

LIFE = 2  # seconds of an access token here
ENDED = "You have been signed out: this session was ended, or has expired."


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose access tokens soon expire."""
    with serving(tmp_path, access_token_seconds=str(LIFE), **CHEAP) as server:
        yield server


@pytest.fixture
def visit(profile: BrowserContext, server: Server) -> AccountVisit:
    visit = AccountVisit(profile.new_page(), server.root)
    visit.sign_up()
    return visit


def second_tab(profile: BrowserContext, visit: AccountVisit) -> AccountVisit:
    """Another tab of the same browser, on the dashboard too."""
    other = AccountVisit(profile.new_page(), visit.root)
    other.open(f"{visit.root}/dashboard")
    other.says(ACCOUNT["email"])
    return other


def expire() -> None:
    time.sleep(LIFE + 0.2)


def end_sessions(folder: Path) -> None:
    run("sessions", "revoke", "--user", ACCOUNT["email"], folder=folder, **CHEAP).check_returncode()


def save_at(page: Page, moment: int, name: str) -> None:
    """Save a name at a moment, in milliseconds, that several tabs agree on; return at once."""
    page.evaluate(
        """([moment, name]) => {
            document.querySelector("#profile [role=status]").textContent = "";
            document.getElementById("name").value = name;
            setTimeout(() => document.getElementById("profile").requestSubmit(), moment - Date.now());
        }""",
        [moment, name],
    )


def test_an_expired_token_is_refreshed_once_and_nobody_notices(visit: AccountVisit) -> None:
    for count in (1, 2):
        expire()
        visit.fill("Name", f"Ada {count}")
        visit.press("Save")
        visit.tells("Saved.")
        assert visit.refreshes() == count
    expire()
    visit.page.reload()
    expect(visit.field("Name")).to_have_value("Ada 2")
    expire()
    visit.open(visit.root)
    visit.is_at("/dashboard")
    assert visit.refreshes() >= 4  # more if the machine is so slow that a token expires between two requests
    assert visit.complaints == []


def test_many_requests_of_one_page_share_a_refresh(visit: AccountVisit) -> None:
    expire()
    api = visit.evaluate("document.querySelector('script[type=module]').src.replace(/[^/]+$/, 'api.js')")
    answers = visit.evaluate(
        """async (address) => {
            const { request } = await import(address);
            return Promise.all(Array.from({ length: 5 }, () => request("{ me { email } }")));
        }""",
        api,
    )
    assert answers == [{"me": {"email": ACCOUNT["email"]}}] * 5
    assert visit.refreshes() == 1


def test_two_tabs_that_refresh_at_once_both_stay_signed_in(visit: AccountVisit, profile: BrowserContext) -> None:
    tabs = [visit, second_tab(profile, visit)]
    for turn in range(3):
        expire()
        moment = int(time.time() * 1000) + 300
        for number, tab in enumerate(tabs):
            save_at(tab.page, moment, f"Ada {turn} {number}")
        for tab in tabs:
            tab.tells("Saved.")
    # Without the lock, each would refresh each time.
    assert 3 <= sum(tab.refreshes() for tab in tabs) <= 6
    for tab in tabs:
        tab.page.reload()
        tab.says(ACCOUNT["email"])
        assert tab.complaints == []


def test_who_finds_another_tab_refreshing_waits_for_it(visit: AccountVisit, profile: BrowserContext) -> None:
    """The other tab's new cookies are this one's too."""
    other = second_tab(profile, visit)
    hold = """() => new Promise((held) => {
        navigator.locks.request("gqlauth-refresh", () => {
            held();
            return new Promise((release) => { window.release = release; });
        });
    })"""
    visit.evaluate(hold)
    expire()
    other.fill("Name", "Countess")
    other.press("Save")
    other.page.wait_for_timeout(300)
    assert other.refreshes() == 0
    visit.evaluate("""() => fetch("/graphql", { method: "POST", headers: { "content-type": "application/json" },
        body: JSON.stringify({ query: "mutation { refreshToken { __typename } }" }) }).then(() => window.release())""")
    other.tells("Saved.")
    assert other.refreshes() == 0


@pytest.mark.parametrize(
    ("button", "expired"),
    [("Save", False), ("Save", True), ("Sign out everywhere else", True), ("Change password", False)],
)
def test_a_session_that_was_ended_elsewhere_is_told_at_the_next_action(
    visit: AccountVisit, tmp_path: Path, profile: BrowserContext, button: str, expired: bool
) -> None:
    login = "mutation ($input: LoginInput!) { login(input: $input) { __typename } }"
    profile.request.post(f"{visit.root}/graphql", data={"query": login, "variables": {"input": ACCOUNT}})
    visit.page.reload()
    visit.fill("Current password", "x")
    visit.fill("New password", "x")
    end_sessions(tmp_path)
    if expired:
        expire()
    visit.press(button)
    visit.is_at("/")
    visit.tells(ENDED)
    visit.sign_in()
    visit.is_at("/dashboard")


def test_an_account_that_was_disabled_is_told(visit: AccountVisit, tmp_path: Path) -> None:
    run("users", "disable", ACCOUNT["email"], folder=tmp_path, **CHEAP).check_returncode()
    visit.press("Save")
    visit.is_at("/")
    visit.tells("You have been signed out")


def test_signing_out_in_one_tab_is_seen_in_the_other(visit: AccountVisit, profile: BrowserContext) -> None:
    other = second_tab(profile, visit)
    visit.press("Sign out")
    visit.is_at("/")
    other.is_at("/")
    other.tells("You are signed out.")


def test_a_dashboard_never_acts_for_somebody_else_who_signed_in_meanwhile(
    visit: AccountVisit, profile: BrowserContext
) -> None:
    other = AccountVisit(profile.new_page(), visit.root)
    profile.clear_cookies()
    other.sign_up("bob@example.com", name="Bob")
    visit.says("bob@example.com")
    expect(visit.field("Name")).to_have_value("Bob")


def test_who_comes_back_to_a_dashboard_finds_who_is_signed_in_now(visit: AccountVisit, profile: BrowserContext) -> None:
    """Also where the sign-in was not on a page of ours, and told no other tab."""
    signup = """mutation { signup(input: { email: "bob@example.com", password: "battery horse", useCookies: true }) {
        __typename } }"""
    headers = {"origin": visit.root}
    answer = profile.request.post(f"{visit.root}/graphql", data={"query": signup}, headers=headers)
    assert answer.json() == {"data": {"signup": {"__typename": "AuthPayload"}}}
    come_back = "document.dispatchEvent(new Event('visibilitychange'))"
    visit.evaluate(come_back)
    visit.says("bob@example.com")
    profile.clear_cookies()
    visit.evaluate(come_back)
    visit.is_at("/")
    visit.tells("You are signed out.")


def test_signing_out_ends_a_session_whose_token_has_expired(visit: AccountVisit, tmp_path: Path) -> None:
    expire()
    visit.press("Sign out")
    visit.is_at("/")
    assert run("sessions", "list", ACCOUNT["email"], folder=tmp_path, **CHEAP).stdout == ""
