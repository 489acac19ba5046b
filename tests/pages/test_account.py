"""The pages of an account as they come over HTTP: where they are, under which policy, and which files are served."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from httpx2 import Response
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from gqlauth import Auth, Settings
from gqlauth.app import create_app, create_schema
from gqlauth.pages.account import OWN_FILES
from gqlauth.pages.files import STATIC

PAGES = ("/", "/signup", "/dashboard")


def site(mount: str = "", *, path: str = "/graphql", prefix: str = "") -> TestClient:
    """A client of a host's application that has not started: the pages need no database."""
    auth = Auth(Settings(environment="test"))
    routes = [*auth.routes(create_schema(), path=path), *auth.pages(path=path, prefix=prefix)]
    return TestClient(Starlette(routes=[Mount(mount, routes=routes)] if mount else routes))


def references(page: Response) -> list[str]:
    """The address of every file that the page loads."""
    tags = re.findall(r"<(?:script|link|img)[^>]*>", page.text)
    return [urljoin(str(page.url), found[1]) for tag in tags if (found := re.search(r'(?:src|href)="([^"]*)"', tag))]


@pytest.fixture(scope="module")
def server() -> TestClient:
    """The ready server, as it comes."""
    return TestClient(create_app(Settings(environment="test")))


@pytest.mark.parametrize("address", PAGES)
def test_the_server_has_the_pages_also_in_production(address: str) -> None:
    for client in (TestClient(create_app(Settings())), TestClient(create_app(Settings(environment="production")))):
        page = client.get(address)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_they_can_be_turned_off(server: TestClient) -> None:
    off = TestClient(create_app(Settings(environment="test", pages=False)))
    files = references(server.get("/"))
    assert files
    for address in (*PAGES, *files):
        assert server.get(address).status_code == 200
        assert off.get(address).status_code == 404


def test_a_host_has_them_only_if_it_asks_for_them() -> None:
    client = TestClient(Starlette(routes=Auth(Settings(environment="test")).routes(create_schema())))
    for address in PAGES:
        assert client.get(address).status_code == 404


@pytest.mark.parametrize("address", PAGES)
def test_a_page_runs_nothing_but_our_files_and_is_neither_kept_nor_framed_nor_sniffed(
    server: TestClient, address: str
) -> None:
    """ASVS 3.4.3, 3.4.4, 3.4.5, 3.4.6, 3.4.8."""
    headers = server.get(address).headers
    assert headers["content-security-policy"].split("; ") == [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "set-cookie" not in headers


@pytest.mark.parametrize("address", PAGES)
def test_nothing_is_inline_and_nothing_comes_from_elsewhere(server: TestClient, address: str) -> None:
    page = server.get(address)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|\$", page.text)
    assert all(not content.strip() for content in re.findall(r"<script[^>]*>(.*?)</script>", page.text, re.S))
    assert all(file.startswith("http://testserver/gqlauth/") for file in references(page))
    assert "<noscript>" in page.text


def test_scripts_make_no_html_of_text_and_keep_nothing() -> None:
    """ASVS 3.2.2, 14.3.3."""
    for name in OWN_FILES:
        text = (STATIC / name).read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Storage|indexedDB", text)


def test_files_are_kept_for_ever_under_an_address_that_changes_with_them(server: TestClient) -> None:
    folder = references(server.get("/"))[0].rpartition("/")[0]
    for name in OWN_FILES:
        file = server.get(f"{folder}/{name}")
        assert file.text == (STATIC / name).read_text()
        assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert file.headers["x-content-type-options"] == "nosniff"
        media_type = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}[name.rpartition(".")[2]]
        assert file.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert re.fullmatch(r"http://testserver/gqlauth/[0-9a-f]{16}", folder)
    assert server.get(f"http://testserver/gqlauth/{'0' * 16}/api.js").status_code == 404


@pytest.mark.parametrize("name", ["account.html", "graphiql.js", "../files.py", "..%2ffiles.py", "%2fetc%2fpasswd", ""])
def test_no_other_file_is_served(server: TestClient, name: str) -> None:
    folder = references(server.get("/"))[0].rpartition("/")[0]
    assert server.get(f"{folder}/{name}").status_code == 404


@pytest.mark.parametrize("mount", ["", "/api", "/a/b"])
@pytest.mark.parametrize(
    ("path", "prefix"), [("/graphql", ""), ("/v1/graph", ""), ("/graphql", "/me"), ("/g/", "/a/b/")]
)
def test_the_pages_find_their_files_each_other_and_the_api_wherever_they_are(
    mount: str, path: str, prefix: str
) -> None:
    client = site(mount, path=path, prefix=prefix)
    base = mount + prefix.rstrip("/")
    for address in PAGES:
        page = client.get(base + address)
        assert page.status_code == 200
        assert [client.get(file).status_code for file in references(page)] == [200] * len(references(page))
        [api] = re.findall(r'<meta name="gqlauth-api" content="([^"]*)">', page.text)
        assert urljoin(str(page.url), api) == f"http://testserver{mount}{path}"
        for link in re.findall(r'<a href="([^"]*)"', page.text):
            assert client.get(urljoin(str(page.url), link), follow_redirects=False).status_code == 200


def test_a_host_puts_its_name_and_its_colours_on_them() -> None:
    auth = Auth(Settings(environment="test", password_min_length=12))
    client = TestClient(Starlette(routes=auth.pages(name="Tea & <Co>", stylesheet="/brand.css?a=1&b=2")))
    page = client.get("/signup")
    assert "<title>Create an account · Tea &amp; &lt;Co&gt;</title>" in page.text
    assert references(page)[2] == "http://testserver/brand.css?a=1&amp;b=2"  # after ours
    assert "At least 12 characters." in page.text


def test_every_file_is_part_of_the_package() -> None:
    """Hatch packs all that git knows; what is not named here is not served either."""
    ours = {"account.html", "signin.html", "signup.html", "dashboard.html", *OWN_FILES}
    graphiql = {"graphiql.html", "graphiql.css", "graphiql.js"}
    assert {file.name for file in Path(STATIC).iterdir()} == ours | graphiql


def test_a_host_mounts_them_as_the_documentation_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "pages.md").read_text()
    [code] = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    scope: dict[str, Any] = {}
    exec(code, scope)  # noqa: S102 -- our own documentation
    client = TestClient(scope["app"])
    for address in PAGES:
        page = client.get(f"/account{address}")
        assert "Tea House" in page.text
        assert '<meta name="gqlauth-api" content="../graphql">' in page.text
    assert client.get("/", follow_redirects=False).status_code == 404
    parameters = inspect.signature(Auth.pages).parameters
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [name for name in parameters if name != "self"]


def test_every_custom_property_is_told() -> None:
    text = (Path(__file__).parents[2] / "docs" / "pages.md").read_text()
    defined = set(re.findall(r"^ +(--[\w-]+):", (STATIC / "account.css").read_text(), re.MULTILINE))
    assert {name for name in defined if name not in text} == set()
