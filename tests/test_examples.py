"""Every application in examples/ does what it is an example of: over HTTP here, and as a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from gqlauth.users.service import grant
from tests.docs import ROOT, example, load
from tests.processes import TIMEOUT, environment
from tests.support import LOGOUT, ME, PASSWORD, SIGNUP, GraphQLClient

NAMES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
FRAMEWORKS = ["fastapi_app", "fastapi_router", "litestar_app", "starlette_app"]
ORIGIN = "http://localhost"
Open = Callable[[str], tuple[Any, GraphQLClient]]

IN_COOKIES = """mutation Signup($input: SignupInput!) {
  signup(input: $input) { ... on AuthPayload { refreshToken } ... on AuthError { code message } }
}"""
IN_THE_SHOP = """mutation Signup($input: SignupInput!) {
  signup(input: $input) { ... on AuthPayload { accessToken user { city } } }
}"""
REFRESH_COOKIE = "mutation { refreshToken { ... on AuthPayload { refreshToken } ... on AuthError { code } } }"


@pytest.fixture
def open_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Start an example, and return its module and a client."""
    clients: list[TestClient] = []

    def start(name: str) -> tuple[Any, GraphQLClient]:
        module: Any = load(example(name), tmp_path, monkeypatch)
        http = TestClient(module.app, base_url=ORIGIN)
        clients.append(http)
        http.__enter__()
        return module, GraphQLClient(http)

    yield start
    for http in clients:
        http.__exit__()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_tokens_serve_from_signup_to_logout(open_example: Open, name: str) -> None:
    _, client = open_example(name)
    payload = client.signup()
    token = payload["accessToken"]
    assert client.me(token) == payload["user"]
    own = "secretBlend" if name == "starlette_app" else "greeting"
    assert client.execute(f"{{ {own} }}", token=token)[own].endswith(payload["user"]["id"])
    assert client.refused(f"{{ {own} }}") == {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}
    assert client.signup()["code"] == "EMAIL_TAKEN"
    refreshed = client.refresh(payload["refreshToken"])
    assert len(client.sessions(refreshed["accessToken"])) == 1
    assert client.execute(LOGOUT, token=refreshed["accessToken"]) == {"logout": True}
    assert client.refused(ME, token=refreshed["accessToken"])["reason"] == "SESSION_REVOKED"


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_cookies_serve_from_signup_to_logout(open_example: Open, name: str) -> None:
    """Each of the three arrives: a framework that merges headers into one line would lose two."""
    _, client = open_example(name)
    client.http.headers["origin"] = ORIGIN
    account = {"email": "ada@example.com", "password": PASSWORD, "useCookies": True}
    assert client.execute(IN_COOKIES, {"input": account}) == {"signup": {"refreshToken": None}}
    kept = dict(client.http.cookies)
    assert set(kept) == {"gqlauth-access", "gqlauth-refresh", "gqlauth-device"}
    assert client.execute("{ me { email } }") == {"me": {"email": "ada@example.com"}}
    assert client.execute(REFRESH_COOKIE) == {"refreshToken": {"refreshToken": None}}
    assert client.http.cookies["gqlauth-refresh"] != kept["gqlauth-refresh"]
    client.http.headers["origin"] = "https://elsewhere.example"
    assert client.refused(ME)["reason"] == "ORIGIN_NOT_ALLOWED"
    client.http.headers["origin"] = ORIGIN
    assert client.execute(LOGOUT) == {"logout": True}
    assert set(client.http.cookies) == {"gqlauth-device"}


def test_the_application_that_was_there_before_still_is(open_example: Open) -> None:
    module, client = open_example("starlette_app")
    assert module.app.state.open
    assert "<h1>Teas</h1>" in client.http.get("/").text
    assert client.execute("{ teas }") == {"teas": ["Assam", "Sencha"]}
    marked = [line for line in example("starlette_app").splitlines() if "  # +" in line]
    assert 8 <= len(marked) <= 10


@pytest.mark.parametrize("name", ["fastapi_app", "litestar_app"])
def test_rest_endpoints_know_the_same_people(open_example: Open, name: str) -> None:
    _, client = open_example(name)
    payload = client.signup()
    bearer = {"authorization": f"Bearer {payload['accessToken']}"}
    assert client.http.get("/account", headers=bearer).json() == {"id": payload["user"]["id"]}
    refused = client.http.get("/account")
    assert (refused.status_code, refused.json()["detail"]) == (401, "TOKEN_MISSING")
    assert refused.headers["www-authenticate"] == "Bearer"
    client.execute(LOGOUT, token=payload["accessToken"])
    refused = client.http.get("/account", headers=bearer)
    assert refused.json()["detail"] == "SESSION_REVOKED"
    challenge = 'Bearer error="invalid_token", error_description="SESSION_REVOKED"'
    assert refused.headers["www-authenticate"] == challenge


def test_a_rest_endpoint_asks_for_a_role(open_example: Open) -> None:
    module, client = open_example("fastapi_app")
    bearer = {"authorization": f"Bearer {client.signup()['accessToken']}"}
    assert client.http.get("/teas").json() == ["Assam", "Sencha"]
    assert client.http.delete("/teas/Assam").status_code == 401
    assert client.http.delete("/teas/Assam", headers=bearer).json() == {"detail": "ROLE_REQUIRED"}
    grant(module.auth.runtime, "ada@example.com", "role", "moderator")
    assert client.http.delete("/teas/Assam", headers=bearer).json() == "Assam"
    # What FastAPI shows of the endpoints has no parameter that is gqlauth's.
    assert "parameters" not in client.http.get("/openapi.json").json()["paths"]["/account"]["get"]


def test_the_router_keeps_the_limits_of_the_settings(open_example: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GQLAUTH_INTROSPECTION", "off")
    monkeypatch.setenv("GQLAUTH_GRAPHIQL", "off")
    _, client = open_example("fastapi_router")
    assert "__schema" in client.post("{ __schema { queryType { name } } }").json()["errors"][0]["message"]
    assert client.http.get("/graphql", headers={"accept": "text/html"}).status_code == 404


@pytest.fixture
def open_shop(open_example: Open, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Open:
    """The same, on each kind of database: the shop has tables of its own."""
    monkeypatch.setenv("GQLAUTH_DATABASE_URL", database_url)
    return open_example


def test_the_shop(open_shop: Open) -> None:
    module, client = open_shop("shop")
    account = {"email": "ada@example.com", "password": PASSWORD, "name": "Ada", "city": "London"}
    payload = client.execute(IN_THE_SHOP, {"input": account})["signup"]
    ada, grace = payload["accessToken"], client.signup("grace@example.com", name="Grace")["accessToken"]
    assert payload["user"] == {"city": "London"}
    assert client.execute("{ delivery }", token=ada) == {"delivery": "To London, tomorrow."}
    assert client.refused("{ delivery }")["reason"] == "TOKEN_MISSING"
    add = 'mutation { addReview(text: "Good.", note: "Too hot, though.") { id } }'
    assert client.refused(add)["reason"] == "TOKEN_MISSING"
    number = client.execute(add, token=ada)["addReview"]["id"]
    assert client.execute("{ reviews { text author } }") == {"reviews": [{"text": "Good.", "author": "Ada of London"}]}
    assert client.execute("{ reviews { note } }", token=ada) == {"reviews": [{"note": "Too hot, though."}]}
    assert client.refused("{ reviews { note } }", token=grace)["reason"] == "NOT_OWNER"
    delete = f"mutation {{ deleteReview(id: {number}) }}"
    assert client.refused(delete, token=ada)["reason"] == "ROLE_REQUIRED"
    grant(module.auth.runtime, "grace@example.com", "role", "moderator")
    assert client.execute(delete, token=grace) == {"deleteReview": True}
    assert "deleteAccount" not in module.schema.as_str()


def test_the_shop_reads_the_authors_of_all_reviews_at_once(open_shop: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    module, client = open_shop("shop")
    tokens = [client.signup(f"{name}@example.com", name=name)["accessToken"] for name in ("ada", "grace")]
    for token in tokens:
        client.execute('mutation { addReview(text: "Good.") { id } }', token=token)
    read = module.read_customers
    calls: list[list[Any]] = []

    def count(ids: list[Any]) -> Any:
        calls.append(ids)
        return read(ids)

    monkeypatch.setattr(module, "read_customers", count)
    authors = [review["author"] for review in client.execute("{ reviews { author } }")["reviews"]]
    assert authors == ["ada of ", "grace of "]
    assert [len(ids) for ids in calls] == [2]


@contextmanager
def uvicorn(name: str, folder: Path) -> Iterator[str]:
    """Run an example as its first lines say, on a free port."""
    command = re.search(r"uv run (uvicorn examples\.(\w+):app)\n", example(name))
    assert command is not None and command[2] == name
    arguments = [*command[1].split(), "--app-dir", str(ROOT), "--port", "0", "--no-access-log"]
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment(environment="test", bcrypt_cost="4"),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            lines = []
            for line in iter(process.stderr.readline, ""):
                lines.append(line)
                if found := re.search(r"running on (http://\S+)", line):
                    yield found[1]
                    break
            else:
                raise AssertionError(f"it did not start: {lines}")
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=TIMEOUT)[1]
            assert "Application shutdown complete" in said, said
            assert "Traceback" not in said
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_as_its_first_lines_say(name: str, tmp_path: Path) -> None:
    with uvicorn(name, tmp_path) as address:
        account = {"input": {"email": "ada@example.com", "password": PASSWORD}}
        answer = httpx2.post(f"{address}/graphql", json={"query": SIGNUP, "variables": account}).json()
        headers = {"authorization": f"Bearer {answer['data']['signup']['accessToken']}"}
        answer = httpx2.post(f"{address}/graphql", json={"query": "{ me { email } }"}, headers=headers).json()
    assert answer == {"data": {"me": {"email": "ada@example.com"}}}
    assert (tmp_path / "gqlauth.db").stat().st_mode & 0o777 == 0o600
