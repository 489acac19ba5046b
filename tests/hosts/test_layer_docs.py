"""docs/your-schema.md, context.md and coming-from.md tell the truth: their code runs; and the map has every page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from starlette.testclient import TestClient

from gqlauth.schema import Mutation, Query
from tests.docs import ROOT, blocks, load, page
from tests.processes import run
from tests.support import ME, PASSWORD, GraphQLClient

PAGES = ["your-schema.md", "context.md", "coming-from.md", "index.md"]


class Shown:
    """The applications of a page."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch

    def module(self, name: str, number: int) -> Any:
        """Run a block of a page."""
        return load(blocks(page(f"docs/{name}"), "python")[number], self._folder, self._monkeypatch)


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shown:
    return Shown(tmp_path, monkeypatch)


def test_the_ten_lines(shown: Shown) -> None:
    with TestClient(shown.module("your-schema.md", 0).app) as http:
        payload = GraphQLClient(http).signup()
        answer = GraphQLClient(http).execute("{ greeting }", token=payload["accessToken"])
        assert answer == {"greeting": f"Hello {payload['user']['id']}"}


def test_the_rest_endpoint(shown: Shown) -> None:
    with TestClient(shown.module("your-schema.md", 1).app) as http:
        payload = GraphQLClient(http).signup()
        bearer = {"authorization": f"Bearer {payload['accessToken']}"}
        assert http.get("/account", headers=bearer).json() == {"id": payload["user"]["id"]}
        refused = http.get("/account", headers={"authorization": "Bearer x"})
        challenge = 'Bearer error="invalid_token", error_description="TOKEN_INVALID"'
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, challenge)


def test_the_keys_are_served_behind_the_router(shown: Shown) -> None:
    shop = shown.module("context.md", 1)
    shop.app.router.routes.extend(shop.auth.routes(shop.schema))
    with TestClient(shop.app) as http:
        payload = GraphQLClient(http).signup()
        assert http.get("/.well-known/jwks.json").json()["keys"]
        answer = GraphQLClient(http).post(ME, token=payload["accessToken"])
        assert answer.json()["data"]["me"]["email"] == payload["user"]["email"]
        # Ours would say so: the router still has the path.
        assert "cache-control" not in answer.headers


def test_only_what_you_want(shown: Shown) -> None:
    with TestClient(shown.module("your-schema.md", 2).app) as http:
        client = GraphQLClient(http)
        payload = client.signup()
        assert client.execute("{ me { number } }", token=payload["accessToken"]) == {
            "me": {"number": payload["user"]["id"]}
        }
        borrow = 'mutation { borrow(title: "Emma") }'
        assert client.execute(borrow, token=payload["accessToken"])["borrow"].startswith("Emma")
        assert client.refused(borrow)["reason"] == "TOKEN_MISSING"
        for gone in ("{ sessions { id } }", 'mutation { deleteAccount(password: "") { __typename } }'):
            assert "Cannot query field" in client.post(gone).json()["errors"][0]["message"]


def test_the_mixins_are_those_of_the_page() -> None:
    text = " ".join(page("docs/your-schema.md").split())
    for part in (Query, Mutation):
        for mixin in part.__bases__:
            names = [field.graphql_name for field in mixin.__strawberry_definition__.fields]  # type: ignore[attr-defined]
            told = re.search(rf"`{mixin.__name__}` \((.*?)\)", text)
            assert told is not None
            assert re.findall(r"`(\w+)`", told[1]) == names


def test_a_context_with_a_dataloader(shown: Shown) -> None:
    with TestClient(shown.module("context.md", 0).app) as http:
        client = GraphQLClient(http)
        payload = client.signup()
        assert client.execute('{ a: price(tea: "Assam") b: price(tea: "Sencha") }') == {"a": 5, "b": 6}
        answer = client.execute("{ greeting }", token=payload["accessToken"])
        assert answer == {"greeting": f"Hello Ada, {payload['user']['id']}"}


@pytest.mark.parametrize("number", [1, 2])
def test_the_routers_of_the_page(shown: Shown, number: int) -> None:
    with TestClient(shown.module("context.md", number).app) as http:
        client = GraphQLClient(http)
        payload = client.signup()
        assert client.me(payload["accessToken"]) == payload["user"]
        assert client.refused(ME)["reason"] == "TOKEN_MISSING"
        if number == 2:
            answer = client.execute("{ shelf }", token=payload["accessToken"])
            assert answer == {"shelf": f"teas for {payload['user']['id']}"}


def verifies(stored: str) -> str:
    """Return what the table says of a hash that starts like this one."""
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|$", page("docs/coming-from.md"), re.MULTILINE)
    starts: dict[str, str] = {start: here for _, cell, here in rows for start in re.findall(r"`(.*?)`", cell)}
    return starts[max(start for start in starts if stored.startswith(start))]


def test_users_come_along_with_their_bcrypt_hashes(shown: Shown, tmp_path: Path) -> None:
    assert run("db", "upgrade", folder=tmp_path, environment="test").returncode == 0
    module = shown.module("coming-from.md", 0)
    bare = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    hashes = {
        "bare": bare,
        "old": bare.replace("$2b$", "$2a$"),
        "php": bare.replace("$2b$", "$2y$"),
        "django-bcrypt": f"bcrypt${bare}",
        "django-sha256": f"bcrypt_sha256${bare}",
        "django": "pbkdf2_sha256$870000$c2FsdA$aGFzaA==",
        "argon": "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
    }
    rows = [
        {
            "id": f"0197b1d2-0000-4000-8000-00000000000{number}",
            "email": f"{name}@example.com",
            "hashed_password": stored,
        }
        for number, (name, stored) in enumerate(hashes.items())
    ]
    rows[0]["is_verified"] = "yes"
    rows.append({"id": "", "email": "nobody", "hashed_password": bare})
    assert module.bring_over(rows) == ["nobody"]
    with TestClient(load(blocks(page("docs/your-schema.md"), "python")[0], tmp_path, shown._monkeypatch).app) as http:
        client = GraphQLClient(http)
        for row in rows[:-1]:
            stored = row["hashed_password"]
            answer = client.login(row["email"])
            if verifies(stored) == "works as it is":
                assert answer["user"]["id"] == row["id"]
                # The second time by the hash that has replaced it.
                assert client.login(row["email"])["user"]["id"] == row["id"]
            else:
                assert answer["code"] == "INVALID_CREDENTIALS"
        assert client.login("bare@example.com")["user"]["emailVerified"]
    assert verifies(hashes["django-bcrypt"]) == "works without the leading `bcrypt$`"
    assert {verifies(hashes[name]) for name in ("django", "django-sha256", "argon")} == {"not verified"}


def test_the_map_has_every_page() -> None:
    linked = re.findall(r"\]\(([\w-]+\.md)\)", page("docs/index.md"))
    assert sorted(linked) == sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name != "index.md")


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page(f"docs/{name}")):
        assert (ROOT / "docs" / link).exists(), link


def test_every_example_is_on_the_page() -> None:
    examples = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert set(re.findall(r"\(\.\./examples/([\w.]+)\)", page("docs/your-schema.md"))) == examples
