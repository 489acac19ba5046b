"""What `gqlauth keys revoke` does to a stolen key: in the database, and in running servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from gqlauth import Settings, migrations
from gqlauth.events import Event, KeyRevoked
from gqlauth.keys import service
from gqlauth.runtime import Runtime, create_runtime
from tests.live import at_once
from tests.processes import run, serving
from tests.support import LOGIN, ME, PASSWORD, SIGNUP, Clock

PATIENCE_SECONDS = 20


@pytest.fixture
def runtime(settings: Settings, clock: Clock) -> Iterator[Runtime]:
    runtime = create_runtime(settings, clock)
    migrations.upgrade(runtime.database)
    service.ensure(runtime)
    yield runtime
    runtime.database.dispose()


def kids(runtime: Runtime) -> list[str]:
    return [key.kid for key in service.every(runtime)]


def test_a_key_that_signs_is_replaced_as_it_is_revoked(runtime: Runtime) -> None:
    heard: list[Event] = []
    runtime.events.subscribe(heard.append)
    [stolen] = kids(runtime)
    successor = service.revoke(runtime, stolen)
    assert kids(runtime) == [successor]
    assert heard == [KeyRevoked(kid=stolen, successor=successor)]
    service.load(runtime)
    assert list(runtime.tokens.ring().verifying) == [successor]


def test_a_retired_key_is_revoked_alone(runtime: Runtime) -> None:
    [stolen] = kids(runtime)
    signing = service.rotate(runtime)
    assert service.revoke(runtime, stolen) is None
    assert kids(runtime) == [signing]


def test_a_key_that_nobody_has_cannot_be_revoked(runtime: Runtime, settings: Settings) -> None:
    before = kids(runtime)
    with pytest.raises(service.NoSuchKey, match="gqlauth keys list"):
        service.revoke(runtime, "unknown")
    secret = "VhQk7mXw2ZrT9fLpC4nJbY6sGdEu3aHo"
    shared = create_runtime(Settings(database_url=settings.database_url, algorithm="HS256", secret_key=secret))
    with pytest.raises(service.NoKeysInDatabase, match="GQLAUTH_SECRET_KEY"):
        service.revoke(shared, before[0])
    assert kids(runtime) == before


def test_revocations_and_rotations_at_once_leave_one_key_that_signs(runtime: Runtime) -> None:
    [stolen] = kids(runtime)
    processes = [create_runtime(runtime.settings, runtime.clock) for _ in range(4)]

    def work(number: int) -> str | None:
        if number % 2:
            return service.rotate(processes[number])
        try:
            return service.revoke(processes[number], stolen)
        except service.NoSuchKey:
            return "gone already"

    answers = at_once(4, work)
    for process in processes:
        process.database.dispose()
    assert answers.count("gone already") == 1
    assert stolen not in kids(runtime)
    assert len([key for key in service.every(runtime) if key.retired_at is None]) == 1


# Running servers


def ask(url: str, query: str, token: str = "", **input: str) -> dict[str, Any]:
    body = {"query": query, "variables": {"input": input}}
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer: dict[str, Any] = httpx2.post(url, json=body, headers=headers).json()
    return answer


def lets_in(url: str, token: str) -> bool:
    return "errors" not in ask(url, ME, token)


def refuses(url: str, token: str) -> bool:
    return not lets_in(url, token)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def token_of(answer: dict[str, Any], field: str) -> tuple[str, str]:
    """Return the access token of an answer, and the name of the key that signed it."""
    token: str = answer["data"][field]["accessToken"]
    return token, jwt.get_unverified_header(token)["kid"]


def test_tokens_of_a_revoked_key_are_refused_by_every_running_server(tmp_path: Path, database_url: str) -> None:
    variables = {"environment": "test", "bcrypt_cost": "4", "database_url": database_url}
    ada = {"email": "ada@example.com", "password": PASSWORD}
    with serving(tmp_path, **variables) as here, serving(tmp_path, **variables) as there:
        urls = (here.url, there.url)
        token, stolen = token_of(ask(here.url, SIGNUP, **ada), "signup")
        assert all(lets_in(url, token) for url in urls)
        revoked = run("keys", "revoke", stolen, folder=tmp_path, **variables)
        successor = revoked.stdout.splitlines()[1].split()[0]
        assert revoked.stdout == f"revoked {stolen}\n{successor} signs now\n"
        for url in urls:
            wait_until(partial(refuses, url, token))
            assert ask(url, ME, token)["errors"][0]["extensions"]["reason"] == "TOKEN_INVALID"
            new, kid = token_of(ask(url, LOGIN, **ada), "login")
            assert kid == successor
            assert all(lets_in(each, new) for each in urls)
            published = httpx2.get(url.replace("/graphql", "/.well-known/jwks.json")).json()["keys"]
            assert [key["kid"] for key in published] == [successor]
