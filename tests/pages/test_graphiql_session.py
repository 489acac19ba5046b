"""GraphiQL keeps a session as a frontend should: one refresh, a real sign-out, and tokens in cookies."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Route

from tests.pages.visits import ACCOUNT, CHEAP, GraphiQLVisit
from tests.processes import Server, run, serving

LIFE = 2  # seconds of an access token here


@pytest.fixture
def visit(profile: BrowserContext) -> GraphiQLVisit:
    return GraphiQLVisit(profile.new_page())


@pytest.fixture
def server(tmp_path: Path, packages: Path) -> Iterator[Server]:
    """A server whose access tokens soon expire."""
    with serving(tmp_path, graphiql_assets=str(packages), access_token_seconds=str(LIFE), **CHEAP) as server:
        yield server


def signed_up(visit: GraphiQLVisit, server: Server, *, in_cookies: bool = False) -> None:
    """Run the tab "Signup", with `useCookies` if asked for."""
    visit.open(server.url)
    visit.says("Not signed in")
    visit.choose("Signup")
    if in_cookies:
        visit.type_variables(json.dumps({"input": {**ACCOUNT, "useCookies": True}}))
    visit.execute()
    visit.says("Signed in as ada@example.com")


def expire() -> None:
    time.sleep(LIFE + 0.2)


@pytest.mark.parametrize("in_cookies", [False, True])
def test_an_expired_token_is_refreshed_once_by_itself(visit: GraphiQLVisit, server: Server, in_cookies: bool) -> None:
    signed_up(visit, server, in_cookies=in_cookies)
    for refreshes in (1, 2):
        expire()
        visit.run("Sessions")
        visit.shows('"current": true')
        visit.says("Signed in as ada@example.com")
        assert visit.refreshes() == refreshes
    assert visit.complaints == []


@pytest.mark.parametrize("in_cookies", [False, True])
def test_requests_that_fail_together_share_a_refresh(visit: GraphiQLVisit, server: Server, in_cookies: bool) -> None:
    signed_up(visit, server, in_cookies=in_cookies)
    held: list[Route] = []

    def hold_refreshes(route: Route) -> None:
        if "refreshToken(" in str(route.request.post_data) and not held:
            held.append(route)
        else:
            route.continue_()

    visit.page.route("**/graphql", hold_refreshes)
    visit.choose("Me")
    expire()
    with visit.page.expect_request(lambda request: "refreshToken(" in str(request.post_data)):
        visit.execute()
    visit.page.get_by_role("button", name="Stop query").click()
    with visit.page.expect_response("**/graphql"):
        visit.execute()
    held[0].continue_()
    visit.shows('"email": "ada@example.com"')
    visit.says("Signed in as ada@example.com")
    assert visit.refreshes() == 1


@pytest.mark.parametrize("in_cookies", [False, True])
def test_where_the_refresh_is_refused_the_answer_stays_and_nobody_is_signed_in(
    visit: GraphiQLVisit, server: Server, tmp_path: Path, in_cookies: bool
) -> None:
    signed_up(visit, server, in_cookies=in_cookies)
    run("sessions", "revoke", "--user", ACCOUNT["email"], folder=tmp_path, **CHEAP).check_returncode()
    expire()
    visit.run("Me")
    visit.shows("TOKEN_EXPIRED")
    visit.says("Not signed in")
    assert visit.refreshes() == 1


@pytest.mark.parametrize("in_cookies", [False, True])
@pytest.mark.parametrize("expired", [False, True])
def test_signing_out_ends_the_session_on_the_server(
    visit: GraphiQLVisit, server: Server, tmp_path: Path, in_cookies: bool, expired: bool
) -> None:
    signed_up(visit, server, in_cookies=in_cookies)
    if expired:
        expire()
    visit.page.get_by_role("button", name="Sign out").click()
    visit.says("Not signed in")
    assert run("sessions", "list", ACCOUNT["email"], folder=tmp_path, **CHEAP).stdout == ""
    visit.run("Me")
    visit.shows("TOKEN_MISSING")


def test_with_cookies_no_token_is_in_reach_and_a_reload_stays_signed_in(visit: GraphiQLVisit, server: Server) -> None:
    signed_up(visit, server, in_cookies=True)
    visit.shows('"accessToken": null', '"refreshToken": null')
    assert visit.evaluate("document.cookie") == ""
    expire()
    visit.page.reload()
    visit.says("Signed in as ada@example.com")
    visit.run("Me")
    visit.shows('"email": "ada@example.com"')
    assert set(visit.authorizations) == {None}


def test_a_bearer_token_goes_before_a_session_in_cookies_which_is_there_again_after_it(
    visit: GraphiQLVisit, server: Server, tmp_path: Path
) -> None:
    signed_up(visit, server, in_cookies=True)
    bob = run("users", "create", "bob@example.com", folder=tmp_path, stdin="battery horse", **CHEAP)
    bob.check_returncode()
    visit.choose("Login")
    visit.type_variables(json.dumps({"input": {"email": "bob@example.com", "password": "battery horse"}}))
    visit.execute()
    visit.says("Signed in as bob@example.com")
    visit.page.get_by_role("button", name="Sign out").click()
    visit.says("Signed in as ada@example.com")
