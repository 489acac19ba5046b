"""The pages about a host's own users, database and roles: their code is run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from gqlauth import Settings
from gqlauth.users.service import MAX_GRANTS
from tests.docs import ROOT, blocks, module, page
from tests.processes import run
from tests.support import GraphQLClient

OWN_USER, DATABASE, ROLES = (page(f"docs/{name}.md") for name in ("own-user", "database", "roles"))


@pytest.fixture(autouse=True)
def variables(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the environment says: the pages take their settings from there."""
    found = {name: str(getattr(settings, name)) for name in ("environment", "bcrypt_cost", "database_url")}
    for name, value in found.items():
        monkeypatch.setenv(f"GQLAUTH_{name.upper()}", value)
    return found


def test_an_own_class_for_users_works_as_shown(tmp_path: Path) -> None:
    with module("shop", blocks(OWN_USER, "python")[0], tmp_path) as shop:
        shop.auth.create_tables()
        with TestClient(shop.app) as http:
            client = GraphQLClient(http)
            [signup], [answer] = blocks(OWN_USER, "graphql"), blocks(OWN_USER, "json")
            payload = client.execute(signup)["signup"]
            assert payload["user"] == json.loads(answer)
            assert client.execute("{ discount }", token=payload["accessToken"]) == {"discount": 10}
            refused = client.execute(signup.replace("friend", "stranger").replace("ada@", "eve@"))["signup"]
            assert refused == {"code": "INVALID_INPUT", "message": "This is no invitation.", "field": "invitation"}


def test_an_async_host_works_as_shown(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = "+aiosqlite" if settings.url.get_backend_name() == "sqlite" else "+psycopg_async"
    url = settings.url.set(drivername=settings.url.get_backend_name() + driver)
    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    monkeypatch.delenv("GQLAUTH_DATABASE_URL")
    # The page's settings are written in code: cheap hashes are asked for there.
    code = blocks(DATABASE, "python")[0].replace("Settings(", 'Settings(environment="test", bcrypt_cost=4, ')
    with module("shop", code, tmp_path) as shop, TestClient(shop.app) as http:
        client = GraphQLClient(http)
        for number in range(1, 4):
            client.signup(email=f"ada{number}@example.com")
            assert client.execute("{ accounts }") == {"accounts": number}
        http.portal.call(shop.engine.dispose)  # type: ignore[union-attr]
    engine = sa.create_engine(settings.url)
    names = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    assert names == set(re.findall(r"`(auth_\w+)`", DATABASE))


def test_roles_work_as_shown(tmp_path: Path, variables: dict[str, str]) -> None:
    with module("blog", blocks(ROLES, "python")[0], tmp_path) as blog, TestClient(blog.app) as http:
        client = GraphQLClient(http)
        token = client.signup()["accessToken"]
        seen = []
        for line in blocks(ROLES, "sh")[0].splitlines():
            assert run(*shlex.split(line)[1:], folder=tmp_path, **variables).returncode == 0
            seen.append(client.execute("{ posts scopes }", token=token))
        assert [(len(each["posts"]), each["scopes"]) for each in seen] == [
            (2, []),
            (2, ["posts:read"]),
            (1, ["posts:read"]),
        ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["own-user", "database", "roles"])
def test_links_lead_somewhere(name: str) -> None:
    assert f"docs/{name}.md" in page("README.md")
    for link in re.findall(r"\]\(([\w/.-]+)\)", page(f"docs/{name}.md")):
        assert (ROOT / "docs" / link).exists() or link == "guards.md", link


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_figures_are_those_of_the_code() -> None:
    assert f"has {MAX_GRANTS} of both together at most" in ROLES
