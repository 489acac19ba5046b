"""GraphiQL in a real browser, on the real packages, against a real server."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Route, expect

from gqlauth.pages.graphiql import ASSETS, CDN, Asset
from tests.pages.conftest import PACKAGES
from tests.pages.visits import ACCOUNT, CHEAP, GraphiQLVisit
from tests.processes import Server, run, serving


@pytest.fixture
def visit(profile: BrowserContext) -> GraphiQLVisit:
    return GraphiQLVisit(profile.new_page())


@pytest.fixture
def new_server(tmp_path: Path, packages: Path) -> Iterator[Server]:
    """A server without accounts that has its own copy of GraphiQL."""
    with serving(tmp_path, graphiql_assets=str(packages), **CHEAP) as server:
        yield server


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Iterator[str]:
    """The same, with the account of the login tab; for tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, graphiql_assets=str(packages), **CHEAP) as server:
        run("users", "create", ACCOUNT["email"], folder=folder, stdin=ACCOUNT["password"], **CHEAP).check_returncode()
        yield server.url


def test_the_versions_and_hashes_are_those_of_the_packages(packages: Path) -> None:
    wanted = json.loads(PACKAGES.read_text())["dependencies"]
    assert {asset.package: asset.version for asset in ASSETS} == wanted
    for asset in ASSETS:
        digest = hashlib.sha384((packages / asset.package / asset.file).read_bytes()).digest()
        assert asset.integrity == f"sha384-{base64.b64encode(digest).decode()}"


def test_signup_signs_in_and_me_answers_without_a_header_pasted(visit: GraphiQLVisit, new_server: Server) -> None:
    visit.open(new_server.url)
    visit.says("Not signed in")
    visit.run("Signup")
    visit.shows('"accessToken"', '"email": "ada@example.com"')
    visit.says("Signed in as ada@example.com")
    visit.run("Me")
    visit.shows('"me"', '"name": "Ada"', '"emailVerified": false')

    assert visit.complaints == []
    assert not re.search("eyJ|gqr_|correct horse|ada@", visit.kept())
    assert all(url.startswith(new_server.url) for url in visit.requests)


def test_it_also_works_with_the_files_of_the_cdn(visit: GraphiQLVisit, tmp_path: Path, packages: Path) -> None:
    """The CDN serves what is in the packages; here they answer for it, so that policy and hashes are tried."""

    def answer(route: Route) -> None:
        asset = next(asset for asset in ASSETS if route.request.url == f"{CDN}/{asset.name}")
        route.fulfill(path=packages / asset.package / asset.file, headers={"access-control-allow-origin": "*"})

    visit.page.route(f"{CDN}/**", answer)
    with serving(tmp_path, **CHEAP) as server:
        visit.open(server.url)
        visit.run("Signup")
        visit.says("Signed in as ada@example.com")
    assert visit.complaints == []
    assert sum(url.startswith(CDN) for url in visit.requests) == len(ASSETS)


def test_a_session_that_was_ended_elsewhere_shows_as_signed_out(
    visit: GraphiQLVisit, new_server: Server, tmp_path: Path
) -> None:
    visit.open(new_server.url)
    visit.run("Signup")
    visit.says("Signed in as ada@example.com")
    run("users", "disable", ACCOUNT["email"], folder=tmp_path, **CHEAP).check_returncode()
    visit.run("Me")
    visit.shows("UNAUTHENTICATED")
    visit.says("Not signed in")


def test_signing_out_forgets_the_token(visit: GraphiQLVisit, address: str) -> None:
    visit.open(address)
    visit.run("Login")
    visit.page.get_by_role("button", name="Sign out").click()
    visit.says("Not signed in")
    assert visit.documents[-2] == "mutation { logout }"  # and then it looks for a session in cookies
    assert visit.authorizations[-2:] != [None, None]
    visit.run("Me")
    visit.shows("TOKEN_MISSING")
    assert visit.authorizations[-1] is None


def test_a_header_typed_by_hand_goes_before_the_token_and_is_not_kept(visit: GraphiQLVisit, address: str) -> None:
    visit.open(address)
    visit.run("Login")
    visit.says("Signed in as ada@example.com")
    visit.choose("Me")
    visit.page.get_by_role("button", name="Headers").click()
    visit.page.get_by_label("Headers").locator(".CodeMirror:visible").click()
    visit.page.keyboard.insert_text('{"authorization": "Bearer typed-by-hand"}')
    visit.execute()
    visit.shows("TOKEN_INVALID")
    visit.says("Signed in as ada@example.com")
    assert visit.authorizations[-1] == "Bearer typed-by-hand"
    assert "typed-by-hand" not in visit.kept()


def test_a_reload_forgets_who_signed_in_and_what_was_typed(visit: GraphiQLVisit, address: str) -> None:
    visit.open(address)
    visit.run("Login")
    visit.says("Signed in as ada@example.com")
    visit.page.get_by_role("button", name="New tab").click()
    tabs = visit.page.get_by_role("tab")
    expect(tabs).to_have_count(5)
    visit.page.reload()
    visit.says("Not signed in")
    expect(tabs).to_have_count(4)
    expect(tabs).to_contain_text(["Signup", "Login", "Me", "Sessions"])


@pytest.mark.parametrize("spoiled", ASSETS, ids=lambda asset: asset.file)
def test_a_file_that_is_not_what_was_promised_is_refused_in_words(
    spoiled: Asset, visit: GraphiQLVisit, address: str, packages: Path
) -> None:
    original = (packages / spoiled.package / spoiled.file).read_text()
    visit.page.route(f"**/{spoiled.name}", lambda route: route.fulfill(body=original + "/* changed */"))
    visit.open(address)
    expect(visit.page.get_by_role("alert")).to_contain_text("GraphiQL could not be loaded")
    assert any("integrity" in complaint for complaint in visit.complaints)


def test_a_subscription_is_answered_until_its_session_ends(
    visit: GraphiQLVisit, tmp_path: Path, packages: Path
) -> None:
    sent: list[str | bytes] = []
    visit.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    with serving(tmp_path, graphiql_assets=str(packages), **CHEAP) as server:
        visit.open(server.url)
        visit.page.get_by_role("button", name="New tab").click()
        visit.page.get_by_label("Query Editor").locator(".CodeMirror:visible").click()
        visit.page.keyboard.press("Control+A")  # the text that a new tab begins with
        visit.page.keyboard.insert_text("subscription Ended { sessionEnded { reason } }")
        visit.execute()
        visit.shows("TOKEN_MISSING")
        visit.run("Signup")
        visit.says("Signed in as ada@example.com")
        visit.choose("Ended")
        sent.clear()
        visit.execute()
        while not any('"subscribe"' in str(frame) for frame in sent):
            visit.page.wait_for_timeout(20)
        run("sessions", "revoke", "--user", ACCOUNT["email"], folder=tmp_path)
        visit.shows('"sessionEnded"', "SESSION_REVOKED")
        assert visit.complaints == []
