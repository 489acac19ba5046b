"""GraphiQL as it comes over HTTP: who is shown it, under which policy, and which files are served."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin

import pytest
from httpx2 import Response
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from gqlauth import Auth, Settings
from gqlauth.app import create_schema
from gqlauth.pages.graphiql import ASSETS

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def site(
    path: str = "/graphql",
    mount: str = "",
    *,
    environment: Literal["production", "test"] = "test",
    graphiql: bool | None = None,
    assets: Path | None = None,
) -> TestClient:
    """A client of an application that has not started: the page needs no database."""
    settings = Settings(environment=environment, graphiql=graphiql, graphiql_assets=str(assets) if assets else None)
    routes = Auth(settings).routes(create_schema(), path=path)
    return TestClient(Starlette(routes=[Mount(mount, routes=routes)] if mount else routes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of packages: the files that GraphiQL needs, and others that are nobody's business."""
    packages = tmp_path / "node_modules"
    for asset in ASSETS:
        file = packages / asset.package / asset.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"/* {asset.name} */")
    (packages / "graphiql/package.json").write_text("{}")
    (packages / "graphiql/graphiql.js").write_text("")
    (tmp_path / "secret.js").write_text("")
    return packages


def show(client: TestClient, path: str = "/graphql") -> Response:
    """The page that a browser is shown."""
    page: Response = client.get(path, headers=BROWSER)
    assert page.status_code == 200
    return page


def policy(page: Response) -> dict[str, str]:
    """The directives of the page's Content-Security-Policy."""
    directives = page.headers["content-security-policy"].split("; ")
    return {name: sources for name, _, sources in (directive.partition(" ") for directive in directives)}


def references(page: Response) -> list[str]:
    """Every address that the page loads something from."""
    return [address for address in re.findall(r'(?:src|href)="([^"]*)"', page.text) if address != "data:,"]


def test_a_browser_is_shown_graphiql() -> None:
    page = show(site())
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert '<div id="graphiql">' in page.text


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json", "*/*", None])
def test_an_api_client_is_not(accept: str | None) -> None:
    client = site()
    client.headers.pop("accept")
    answer = client.get("/graphql", headers={"accept": accept} if accept else {})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_production_has_neither_the_page_nor_its_files(folder: Path) -> None:
    """ASVS 4.3.2."""
    client = site(environment="production", assets=folder)
    assert client.get("/graphql", headers=BROWSER).status_code == 405
    assert client.get("/graphql/graphiql/graphiql.js").status_code == 404
    assert client.get(f"/graphql/graphiql/{ASSETS[0].name}").status_code == 404


def test_the_setting_goes_before_the_environment() -> None:
    show(site(environment="production", graphiql=True))
    assert site(environment="test", graphiql=False).get("/graphql", headers=BROWSER).status_code == 405


def test_the_page_is_neither_kept_nor_framed_nor_sniffed_and_tells_nobody_where_it_is() -> None:
    headers = show(site()).headers
    assert headers["cache-control"] == "no-store"
    assert headers["vary"] == "accept"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_the_policy_allows_our_script_and_the_very_files_of_the_cdn() -> None:
    page = show(site())
    scripts = [f"https://unpkg.com/{asset.name}" for asset in ASSETS if asset.file.endswith(".js")]
    styles = [f"https://unpkg.com/{asset.name}" for asset in ASSETS if asset.file.endswith(".css")]
    assert policy(page) == {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *scripts]),
        "style-src": " ".join(["'self'", "'unsafe-inline'", *styles]),
        "img-src": "'self' data:",
        "font-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_with_a_folder_of_assets_nothing_comes_from_elsewhere(folder: Path) -> None:
    page = show(site(assets=folder))
    assert policy(page)["script-src"] == "'self'"
    assert policy(page)["style-src"] == "'self' 'unsafe-inline'"
    assert not [address for address in references(page) if ":" in address]


@pytest.mark.parametrize("local", [True, False])
def test_no_script_is_inline_and_each_foreign_file_has_its_hash(local: bool, folder: Path) -> None:
    page = show(site(assets=folder if local else None))
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page.text, re.S)
    assert len(scripts) == 5
    assert all("src=" in attributes and not content for attributes, content in scripts)
    assert not re.search(r"\son\w+=|\sstyle=|javascript:", page.text)
    tags = re.findall(r"<(?:script|link)[^>]*@[^>]*>", page.text)
    assert [re.search(r'integrity="([^"]*)"', tag)[1] for tag in tags] == [a.integrity for a in ASSETS]  # type: ignore[index]
    assert all('crossorigin="anonymous"' in tag for tag in tags)


@pytest.mark.parametrize("mount", ["", "/api", "/a/b"])
@pytest.mark.parametrize("path", ["/graphql", "/v1/graph", "/graphql/", "/"])
def test_the_page_finds_its_files_wherever_it_is_mounted(mount: str, path: str, folder: Path) -> None:
    client = site(path, mount, assets=folder)
    page = show(client, mount + path)
    found = [client.get(urljoin(str(page.url), address)) for address in references(page)]
    assert [file.status_code for file in found] == [200] * (len(ASSETS) + 2)


def test_files_say_what_they_are_and_how_long_they_keep(folder: Path) -> None:
    client = site(assets=folder)
    for asset in ASSETS:
        file = client.get(f"/graphql/graphiql/{asset.name}")
        assert file.text == f"/* {asset.name} */"
        assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert file.headers["x-content-type-options"] == "nosniff"
    for name, media_type in (("graphiql.js", "text/javascript"), ("graphiql.css", "text/css")):
        file = client.get(f"/graphql/graphiql/{name}")
        assert file.headers["content-type"] == f"{media_type}; charset=utf-8"
        assert file.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "graphiql.html",
        "graphiql@4.1.2",
        "graphiql@4.1.2/package.json",
        "graphiql@4.1.2/graphiql.js",
        "graphiql@4.1.1/graphiql.min.js",
        "graphiql/graphiql.min.js",
        "react@18.3.1/umd%2freact.production.min.js%00",
        "graphiql@4.1.2/..%2f..%2fsecret.js",
        "%2e%2e/%2e%2e/secret.js",
        "..%2f..%2fsecret.js",
        "..%5c..%5csecret.js",
        "%2fetc%2fpasswd",
    ],
)
def test_no_other_file_is_served(name: str, folder: Path) -> None:
    assert site(assets=folder).get(f"/graphql/graphiql/{name}").status_code == 404


def test_a_file_that_is_not_in_the_folder_is_told_in_words(tmp_path: Path) -> None:
    answer = site(assets=tmp_path).get(f"/graphql/graphiql/{ASSETS[0].name}")
    assert answer.status_code == 404
    assert answer.text == "graphiql@4.1.2/graphiql.min.css is not in the folder that GQLAUTH_GRAPHIQL_ASSETS names."


def test_without_a_folder_only_our_own_files_are_served() -> None:
    client = site()
    assert client.get("/graphql/graphiql/graphiql.js").status_code == 200
    assert client.get(f"/graphql/graphiql/{ASSETS[0].name}").status_code == 404
