"""The pages of an account in a real browser, against a real server."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.pages.visits import ACCOUNT, CHEAP, AccountVisit
from tests.processes import Server, run, serving
from tests.support import LOGIN, PASSWORD

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.0 Mobile/15E148 Safari/604.1"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server without accounts."""
    with serving(tmp_path, **CHEAP) as server:
        yield server


@pytest.fixture
def visit(profile: BrowserContext, server: Server) -> AccountVisit:
    return AccountVisit(profile.new_page(), server.root)


def sign_in_elsewhere(server: Server, user_agent: str) -> None:
    """Begin another session of the account, as another device would."""
    body = {"query": LOGIN, "variables": {"input": ACCOUNT}}
    answer = httpx2.post(server.url, json=body, headers={"user-agent": user_agent}).json()
    assert answer["data"]["login"]["accessToken"]


def test_from_sign_up_over_a_reload_to_sign_out_and_in_again(visit: AccountVisit, server: Server) -> None:
    visit.open(server.root)
    visit.page.get_by_role("link", name="Create one").click()
    visit.is_at("/signup")
    visit.sign_up(name="Ada Lovelace")
    visit.says("Not verified")
    visit.page.reload()
    expect(visit.field("Name")).to_have_value("Ada Lovelace")
    assert not re.search("eyJ|gqr_|correct horse|ada@", visit.kept())
    assert visit.evaluate("document.cookie") == ""

    for path in ("/", "/signup"):
        visit.open(server.root + path)
        visit.is_at("/dashboard")

    visit.says("ada@example.com")
    visit.press("Sign out")
    visit.is_at("/")
    visit.tells("You are signed out.")
    visit.open(f"{server.root}/dashboard")
    visit.is_at("/")
    visit.sign_in()
    visit.is_at("/dashboard")
    assert visit.complaints == []
    assert all(url.startswith(server.root) for url in visit.requests)
    assert set(visit.authorizations) == {None}


def test_a_wrong_password_is_told_above_the_form_and_what_was_typed_stays(visit: AccountVisit) -> None:
    visit.sign_up()
    visit.press("Sign out")
    visit.is_at("/")
    visit.sign_in(password="wrong")
    visit.alerts("The e-mail address or the password is wrong.")
    expect(visit.field("E-mail")).to_have_value("ada@example.com")
    visit.fill("Password", PASSWORD)
    visit.page.keyboard.press("Enter")
    visit.is_at("/dashboard")


def test_what_is_missing_is_told_at_its_field_without_asking_the_server(visit: AccountVisit, server: Server) -> None:
    visit.open(server.root)
    expect(visit.page.get_by_role("button", name="Sign in")).to_be_visible()
    visit.page.wait_for_load_state("networkidle")
    asked = len(visit.documents)
    visit.press("Sign in")
    visit.faults("E-mail", "Enter your e-mail address.")
    visit.fill("E-mail", "ada@example.com")
    expect(visit.field("E-mail")).not_to_have_attribute("aria-invalid", "true")
    visit.press("Sign in")
    visit.faults("Password", "Enter your password.")
    assert len(visit.documents) == asked


def test_a_refused_sign_up_is_told_at_its_field(visit: AccountVisit, server: Server, tmp_path: Path) -> None:
    run("users", "create", "taken@example.com", folder=tmp_path, stdin=PASSWORD, **CHEAP).check_returncode()
    good = {"Name (optional)": "Ada", "E-mail": "ada@example.com", "Password": PASSWORD}
    visit.open(f"{server.root}/signup")
    for label, typed, told in (
        ("E-mail", "ada", "This is not a valid e-mail address."),
        ("E-mail", "Taken@Example.com", "There is already an account with this e-mail address."),
        ("Password", "short", "Use at least 8 characters."),
        ("Password", "password1", "This password is one of the most common ones."),
        ("Name (optional)", "x" * 201, "Use at most 200 characters."),
    ):
        fields = good | {label: typed}
        for name, text in fields.items():
            visit.fill(name, text)
        visit.press("Create account")
        visit.faults(label, told)
        expect(visit.page.locator("[aria-invalid]")).to_have_count(1)
        for name, text in fields.items():
            expect(visit.field(name)).to_have_value(text)


def test_whoever_guesses_too_often_is_told_how_long_to_wait(visit: AccountVisit, server: Server) -> None:
    wrong = {"query": LOGIN, "variables": {"input": {"email": "ada@example.com", "password": "wrong"}}}
    with httpx2.Client() as client:
        for _ in range(30):
            client.post(server.url, json=wrong)
    visit.sign_in()
    expect(visit.page.get_by_role("alert")).to_have_text(
        re.compile(r"^Too many attempts\. Try again in \d+ (second|minute)s\.$")
    )


def test_trouble_is_told_and_loses_nothing_that_was_typed(visit: AccountVisit, server: Server, tmp_path: Path) -> None:
    visit.sign_in("ada@example.com", PASSWORD)
    visit.alerts("is wrong")
    with closing(sqlite3.connect(tmp_path / "gqlauth.db")) as database:
        database.execute("DROP TABLE sessions")
        database.execute("DROP TABLE users")
    visit.press("Sign in")
    visit.alerts("Something went wrong on our side.")
    [error_id] = re.findall(r"name (\w{16})\.", visit.page.get_by_role("alert").inner_text())
    assert f"id={error_id}" in server.errors()
    server.stop()
    visit.press("Sign in")
    visit.alerts("The server cannot be reached.")
    visit.page.route("**/graphql", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    visit.press("Sign in")
    visit.alerts("The server did not answer as it should (HTTP 502).")
    expect(visit.field("E-mail")).to_have_value("ada@example.com")
    expect(visit.field("Password")).to_have_value(PASSWORD)


def test_a_dashboard_that_could_not_load_tries_again(visit: AccountVisit) -> None:
    visit.sign_up()
    visit.page.route("**/graphql", lambda route: route.abort())
    visit.page.reload()
    visit.alerts("The server cannot be reached.")
    visit.page.unroute("**/graphql")
    visit.press("Try again")
    visit.says("ada@example.com")
    expect(visit.page.locator("#trouble")).to_have_text("")


def test_the_name_can_be_changed(visit: AccountVisit) -> None:
    visit.sign_up()
    visit.fill("Name", "  Countess of Lovelace ")
    visit.press("Save")
    visit.tells("Saved.")
    visit.page.reload()
    expect(visit.field("Name")).to_have_value("Countess of Lovelace")
    visit.fill("Name", "x" * 201)
    visit.press("Save")
    visit.faults("Name", "Use at most 200 characters.")


def test_devices_are_named_and_signed_out_one_by_one_or_all_but_this(visit: AccountVisit, server: Server) -> None:
    visit.sign_up()
    expect(visit.page.get_by_role("button", name="Sign out everywhere else")).to_be_hidden()
    for user_agent in (IPHONE, "<img src=x onerror=alert(1)>/1.0", "curl/8.5.0"):
        sign_in_elsewhere(server, user_agent)
    visit.page.reload()
    devices = visit.devices()
    expect(devices).to_have_count(4)
    expect(devices.first).to_contain_text("Chrome on Linux This device")
    expect(devices.first).to_contain_text("Last used just now from 127.0.0.1")
    expect(devices).to_contain_text(["Chrome on Linux", "curl", "<img", "Safari on iPhone"])
    visit.press("Sign out Safari on iPhone")
    visit.tells("Safari on iPhone has been signed out.")
    expect(devices).to_have_count(3)
    visit.press("Sign out everywhere else")
    visit.tells("2 other devices have been signed out.")
    expect(devices).to_have_count(1)
    expect(visit.page.get_by_role("button", name="Sign out everywhere else")).to_be_hidden()
    visit.press("Sign out this device")
    visit.is_at("/")
    assert visit.complaints == []


def test_a_new_password_signs_out_the_others_and_is_the_one_that_counts(visit: AccountVisit, server: Server) -> None:
    visit.sign_up()
    sign_in_elsewhere(server, IPHONE)
    visit.fill("Current password", "wrong")
    visit.fill("New password", "battery staple horse")
    visit.press("Change password")
    visit.faults("Current password", "The password is wrong.")
    visit.fill("Current password", PASSWORD)
    visit.fill("New password", "short")
    visit.press("Change password")
    visit.faults("New password", "Use at least 8 characters.")
    visit.fill("New password", "battery staple horse")
    visit.press("Change password")
    visit.tells("Your password has been changed")
    expect(visit.field("Current password")).to_have_value("")
    expect(visit.devices()).to_have_count(1)
    visit.page.reload()
    visit.says("ada@example.com")
    visit.press("Sign out")
    visit.is_at("/")
    visit.sign_in(password="battery staple horse")
    visit.is_at("/dashboard")


def test_an_account_is_deleted_after_a_question_and_the_password(visit: AccountVisit) -> None:
    visit.sign_up()
    dialog = visit.page.get_by_role("dialog", name="Delete your account?")
    visit.press("Delete account …")
    expect(dialog).to_be_visible()
    visit.press("Keep my account")
    expect(dialog).to_be_hidden()
    visit.press("Delete account …")
    visit.fill("Password", "wrong")
    visit.press("Delete for good")
    visit.faults("Password", "The password is wrong.")
    visit.fill("Password", PASSWORD)
    visit.press("Delete for good")
    visit.is_at("/")
    visit.tells("Your account has been deleted.")
    visit.sign_in()
    visit.alerts("is wrong")


def test_a_password_can_be_shown_and_is_hidden_when_it_is_sent(visit: AccountVisit, server: Server) -> None:
    visit.open(server.root)
    visit.fill("E-mail", "ada@example.com")
    visit.fill("Password", "wrong")
    field = visit.field("Password")
    visit.press("Show password")
    expect(field).to_have_attribute("type", "text")
    visit.press("Hide password")
    expect(field).to_have_attribute("type", "password")
    visit.press("Show password")
    visit.press("Sign in")
    visit.alerts("is wrong")
    expect(field).to_have_attribute("type", "password")


def test_where_the_browser_cannot_keep_the_cookies_it_says_so(visit: AccountVisit, server: Server) -> None:
    """`__Host-` cookies need https, but for the machine's own address in development."""
    visit.root = server.root.replace("127.0.0.1", "server.example")
    visit.open(f"{visit.root}/signup")
    visit.fill("E-mail", "ada@example.com")
    visit.fill("Password", PASSWORD)
    visit.press("Create account")
    visit.alerts("because it is not https")
    visit.is_at("/signup")


def test_without_javascript_a_page_says_what_is_missing(browser: Browser, server: Server) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        for path in ("/", "/signup", "/dashboard"):
            page.goto(server.root + path)
            expect(page.locator("noscript p")).to_be_visible()
            expect(page.get_by_role("button")).to_have_count(0)
