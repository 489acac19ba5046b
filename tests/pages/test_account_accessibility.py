"""Everybody can use the pages: axe-core finds nothing, the keyboard is enough, and they fit on a small screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.pages.visits import ACCOUNT, CHEAP, PATIENCE_MS, AccountVisit
from tests.processes import Server, run, serving
from tests.support import PASSWORD

Scheme = Literal["light", "dark"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an account; for tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, rate_limits="off", **CHEAP) as server:
        run("users", "create", ACCOUNT["email"], folder=folder, stdin=ACCOUNT["password"], **CHEAP).check_returncode()
        yield server


@pytest.fixture
def visit(profile: BrowserContext, server: Server) -> AccountVisit:
    return AccountVisit(profile.new_page(), server.root)


@pytest.fixture(scope="module")
def axe(packages: Path) -> str:
    """The script of axe-core."""
    return (packages / "axe-core" / "axe.min.js").read_text()


class Examination(AccountVisit):
    """A visit on which every state is looked at."""

    axe = ""

    def is_fine(self) -> None:
        """Expect that axe-core finds nothing, and that nothing has to be scrolled sideways."""
        self.evaluate(self.axe)
        result = self.evaluate("axe.run()")
        found = [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in result["violations"]]
        assert found == [], self.page.url
        assert len(result["passes"]) > 10
        assert self.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.fixture(params=[(scheme, width) for scheme in get_args(Scheme) for width in (320, 1280)], ids=str)
def examination(request: pytest.FixtureRequest, browser: Browser, server: Server, axe: str) -> Iterator[Examination]:
    """A visit in one of the colour schemes, at one of the widths."""
    scheme, width = request.param
    look = {"color_scheme": scheme, "reduced_motion": "reduce"}  # half of the way, a colour has less contrast
    with browser.new_context(viewport={"width": width, "height": 700}, **look) as context:
        context.set_default_timeout(PATIENCE_MS)
        visit = Examination(context.new_page(), server.root)
        visit.axe = axe
        yield visit


def test_the_doors_are_fine_in_every_state(examination: Examination) -> None:
    visit = examination
    visit.open(visit.root)
    visit.is_fine()
    visit.open(f"{visit.root}/#ended")  # without loading the page again
    visit.tells("You have been signed out")
    visit.is_fine()
    visit.press("Sign in")
    visit.faults("E-mail", "Enter your e-mail address.")
    visit.is_fine()
    visit.fill("E-mail", ACCOUNT["email"])
    visit.fill("Password", "wrong")
    visit.press("Sign in")
    visit.alerts("is wrong")
    visit.is_fine()
    visit.open(f"{visit.root}/signup")
    visit.is_fine()
    visit.fill("E-mail", "somebody-with-a-rather-long-address@a-rather-long-domain.example.com")
    visit.fill("Password", "password1")
    visit.press("Create account")
    visit.faults("Password", "This password is one of the most common ones.")
    visit.press("Show password")
    visit.is_fine()


def test_the_dashboard_is_fine_in_every_state(examination: Examination) -> None:
    visit = examination
    visit.sign_in()
    visit.says(ACCOUNT["email"])
    visit.is_fine()
    visit.press("Save")
    visit.tells("Saved.")
    visit.fill("Current password", "wrong")
    visit.fill("New password", "x")
    visit.press("Change password")
    visit.faults("Current password", "The password is wrong.")
    visit.is_fine()
    visit.press("Delete account …")
    visit.is_fine()
    visit.press("Delete for good")
    visit.faults("Password", "Enter your password.")
    visit.is_fine()
    visit.page.route("**/graphql", lambda route: route.abort())
    visit.page.reload()
    visit.alerts("The server cannot be reached.")
    visit.is_fine()


def test_signing_in_takes_a_keyboard_alone_and_shows_where_it_is(visit: AccountVisit, server: Server) -> None:
    visit.open(server.root)
    keyboard, focused = visit.page.keyboard, visit.page.locator(":focus")
    for element in (visit.field("E-mail"), visit.field("Password"), "Show password", "Sign in"):
        keyboard.press("Tab")
        expected = visit.page.get_by_role("button", name=element) if isinstance(element, str) else element
        expect(expected).to_be_focused()
        assert visit.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    keyboard.press("Enter")
    visit.faults("E-mail", "Enter your e-mail address.")
    keyboard.type(ACCOUNT["email"])
    keyboard.press("Tab")
    keyboard.type(PASSWORD)
    keyboard.press("Tab")
    keyboard.press("Space")
    expect(focused).to_have_accessible_name("Hide password")
    expect(visit.field("Password")).to_have_value(PASSWORD)
    keyboard.press("Tab")
    keyboard.press("Enter")
    visit.is_at("/dashboard")


def test_the_question_before_a_deletion_keeps_the_focus_and_gives_it_back(visit: AccountVisit) -> None:
    visit.sign_in()
    visit.page.get_by_role("button", name="Delete account …").press("Enter")
    expect(visit.field("Password")).to_be_focused()
    visit.page.keyboard.type("half a passw")
    for _ in range(3):
        visit.page.keyboard.press("Tab")
    expect(visit.page.get_by_role("button", name="Delete for good")).to_be_focused()
    visit.page.keyboard.press("Escape")
    expect(visit.page.get_by_role("button", name="Delete account …")).to_be_focused()
    expect(visit.page.locator("#confirmation")).to_have_value("")  # "close" is told after the focus has gone back


def test_a_password_manager_finds_what_it_needs(visit: AccountVisit, server: Server) -> None:
    def filled_in(form: str) -> list[str | None]:
        return [field.get_attribute("autocomplete") for field in visit.page.locator(f"{form} input").all()]

    visit.open(f"{server.root}/signup")
    assert filled_in("form") == ["name", "username", "new-password"]
    visit.sign_in()
    visit.says(ACCOUNT["email"])
    assert filled_in("#password") == ["username", "current-password", "new-password"]
    assert filled_in("#deletion") == ["username", "current-password"]
    assert visit.page.locator("#password .account").input_value() == ACCOUNT["email"]
    visit.press("Sign out")
    visit.is_at("/")
    assert filled_in("form") == ["username", "current-password"]


def test_nothing_moves_while_the_dashboard_loads(visit: AccountVisit) -> None:
    visit.sign_in()
    visit.says(ACCOUNT["email"])
    visit.page.reload()
    visit.says(ACCOUNT["email"])
    shift = """() => new Promise((done) => {
        let sum = 0;
        new PerformanceObserver((list) => { for (const { value } of list.getEntries()) sum += value; })
            .observe({ type: "layout-shift", buffered: true });
        setTimeout(() => done(sum), 200);
    })"""
    assert visit.evaluate(shift) < 0.01
