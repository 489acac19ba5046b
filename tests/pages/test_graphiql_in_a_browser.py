"""GraphiQL in a real browser, on the real packages, against a real server."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from gqlauth.pages.graphiql import ASSETS, CDN, Asset
from tests.conftest import missing

GQLAUTH = str(Path(sys.executable).with_name("gqlauth"))
ACCOUNT = {"email": "ada@example.com", "password": "correct horse battery"}  # as the ready tabs have it
PATIENCE_MS = 15_000  # on a busy machine; nothing waits longer than it must
PACKAGES = Path(__file__).with_name("package.json")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def packages(pytestconfig: pytest.Config) -> Path:
    """A node_modules folder with what GraphiQL is made of; installed once, kept in pytest's cache."""
    npm = shutil.which("npm")
    if npm is None:
        missing("npm installs GraphiQL")
    assert pytestconfig.cache
    stamp = hashlib.sha256(PACKAGES.read_bytes()).hexdigest()[:12]
    folder = pytestconfig.cache.mkdir(f"graphiql-{stamp}")
    if not (folder / "installed").exists():
        shutil.copy(PACKAGES, folder)
        command = [npm, "install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            missing(f"npm could not install GraphiQL: {done.stderr.strip()[-200:]}")
        (folder / "installed").touch()
    return folder / "node_modules"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running Chromium, the system's own."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        missing("Chromium shows GraphiQL")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=BROWSER_FLAGS)
        yield browser
        browser.close()


class Visit:
    """One page in a fresh profile, and all that went wrong on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.authorizations: list[str | None] = []
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._note(request.method, request.url, request.headers))

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def _note(self, method: str, url: str, headers: dict[str, str]) -> None:
        self.requests.append(url)
        if method == "POST":
            self.authorizations.append(headers.get("authorization"))

    def open(self, address: str) -> None:
        self.page.goto(address)

    def choose(self, tab: str) -> None:
        """Bring a ready tab to the front."""
        self.page.get_by_role("tab", name=re.compile(f"^{tab}")).click()

    def run(self, tab: str) -> None:
        """Run what is in a ready tab."""
        self.choose(tab)
        self.execute()

    def execute(self) -> None:
        """Run what is in front."""
        self.page.get_by_role("button", name=re.compile("^Execute")).click()

    def shows(self, *texts: str) -> None:
        """Expect these in the answer."""
        for text in texts:
            expect(self.page.get_by_label("Result Window")).to_contain_text(text)

    def says(self, text: str) -> None:
        """Expect this as the line that tells who is signed in."""
        expect(self.page.get_by_role("status")).to_have_text(text)

    def kept(self) -> str:
        """All that would outlive the page."""
        script = "JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage), document.cookie])"
        return str(self.page.evaluate(script)) + self.page.url


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.set_default_timeout(PATIENCE_MS)
        yield Visit(context.new_page())


@contextmanager
def serving(folder: Path, assets: Path | None = None) -> Iterator[str]:
    """Run `gqlauth serve` on a new database in `folder`; yield the address of the API."""
    command = [GQLAUTH, "serve", "--port", "0"]
    environment = environment_of(folder) | ({"GQLAUTH_GRAPHIQL_ASSETS": str(assets)} if assets else {})
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield next(line.split()[1] for line in process.stdout if line.startswith("listening"))
        finally:
            process.terminate()


def gqlauth(folder: Path, *arguments: str, input: str | None = None) -> None:
    """Run another command on the database in `folder`."""
    subprocess.run([GQLAUTH, *arguments], env=environment_of(folder), input=input, text=True, check=True)


def environment_of(folder: Path) -> dict[str, str]:
    ours = {
        "GQLAUTH_ENVIRONMENT": "test",
        "GQLAUTH_BCRYPT_COST": "4",
        "GQLAUTH_DATABASE_URL": f"sqlite:///{folder}/test.db",
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("GQLAUTH_")} | ours


@pytest.fixture
def new_server(tmp_path: Path, packages: Path) -> Iterator[str]:
    """A server without accounts that has its own copy of GraphiQL."""
    with serving(tmp_path, packages) as address:
        yield address


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, packages: Path) -> Iterator[str]:
    """The same, with the account of the login tab; for tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, packages) as address:
        gqlauth(folder, "users", "create", ACCOUNT["email"], input=ACCOUNT["password"])
        yield address


def test_the_versions_and_hashes_are_those_of_the_packages(packages: Path) -> None:
    wanted = json.loads(PACKAGES.read_text())["dependencies"]
    assert {asset.package: asset.version for asset in ASSETS} == wanted
    for asset in ASSETS:
        digest = hashlib.sha384((packages / asset.package / asset.file).read_bytes()).digest()
        assert asset.integrity == f"sha384-{base64.b64encode(digest).decode()}"


def test_signup_signs_in_and_me_answers_without_a_header_pasted(visit: Visit, new_server: str) -> None:
    visit.open(new_server)
    visit.says("Not signed in")
    visit.run("Signup")
    visit.shows('"accessToken"', '"email": "ada@example.com"')
    visit.says("Signed in as ada@example.com")
    visit.run("Me")
    visit.shows('"me"', '"name": "Ada"', '"emailVerified": false')

    assert visit.complaints == []
    assert not re.search("eyJ|gqr_|correct horse|ada@", visit.kept())
    assert all(url.startswith(new_server) for url in visit.requests)


def test_it_also_works_with_the_files_of_the_cdn(visit: Visit, tmp_path: Path, packages: Path) -> None:
    """The CDN serves what is in the packages; here they answer for it, so that policy and hashes are tried."""

    def answer(route: Route) -> None:
        asset = next(asset for asset in ASSETS if route.request.url == f"{CDN}/{asset.name}")
        route.fulfill(path=packages / asset.package / asset.file, headers={"access-control-allow-origin": "*"})

    visit.page.route(f"{CDN}/**", answer)
    with serving(tmp_path) as address:
        visit.open(address)
        visit.run("Signup")
        visit.says("Signed in as ada@example.com")
    assert visit.complaints == []
    assert sum(url.startswith(CDN) for url in visit.requests) == len(ASSETS)


def test_a_session_that_was_ended_elsewhere_shows_as_signed_out(visit: Visit, new_server: str, tmp_path: Path) -> None:
    visit.open(new_server)
    visit.run("Signup")
    visit.says("Signed in as ada@example.com")
    gqlauth(tmp_path, "users", "disable", ACCOUNT["email"])
    visit.run("Me")
    visit.shows("UNAUTHENTICATED")
    visit.says("Not signed in")


def test_signing_out_forgets_the_token(visit: Visit, address: str) -> None:
    visit.open(address)
    visit.run("Login")
    visit.page.get_by_role("button", name="Sign out").click()
    visit.says("Not signed in")
    visit.run("Me")
    visit.shows("TOKEN_MISSING")
    assert visit.authorizations == [None] * 3  # introspection, login, me


def test_a_header_typed_by_hand_goes_before_the_token_and_is_not_kept(visit: Visit, address: str) -> None:
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


def test_a_reload_forgets_who_signed_in_and_what_was_typed(visit: Visit, address: str) -> None:
    visit.open(address)
    visit.run("Login")
    visit.says("Signed in as ada@example.com")
    visit.page.get_by_role("button", name="New tab").click()
    tabs = visit.page.get_by_role("tab")
    expect(tabs).to_have_count(4)
    visit.page.reload()
    visit.says("Not signed in")
    expect(tabs).to_have_count(3)
    expect(tabs).to_contain_text(["Signup", "Login", "Me"])


@pytest.mark.parametrize("spoiled", ASSETS, ids=lambda asset: asset.file)
def test_a_file_that_is_not_what_was_promised_is_refused_in_words(
    spoiled: Asset, visit: Visit, address: str, packages: Path
) -> None:
    original = (packages / spoiled.package / spoiled.file).read_text()
    visit.page.route(f"**/{spoiled.name}", lambda route: route.fulfill(body=original + "/* changed */"))
    visit.open(address)
    expect(visit.page.get_by_role("alert")).to_contain_text("GraphiQL could not be loaded")
    assert any("integrity" in complaint for complaint in visit.complaints)


def test_a_subscription_is_answered_until_its_session_ends(visit: Visit, tmp_path: Path, packages: Path) -> None:
    sent: list[str | bytes] = []
    visit.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    with serving(tmp_path, packages) as address:
        visit.open(address)
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
        gqlauth(tmp_path, "sessions", "revoke", "--user", ACCOUNT["email"])
        visit.shows('"sessionEnded"', "SESSION_REVOKED")
        assert visit.complaints == []
