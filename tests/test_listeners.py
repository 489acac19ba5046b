"""Listeners that are still at work when the application ends, that are too slow, and that fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gqlauth import Auth, Settings, events
from gqlauth.app import create_schema
from gqlauth.events import AccessRefused, Event, Events, KeysRotated, LoggedIn, UserSignedUp
from gqlauth.keys import service as keys
from tests.support import ME, PASSWORD, GraphQLClient


@pytest.fixture
def memory(tmp_path_factory: pytest.TempPathFactory) -> Auth:
    """An `Auth` for rules that no database takes part in."""
    url = f"sqlite:///{tmp_path_factory.mktemp('events')}/events.db"
    return Auth(Settings(environment="test", bcrypt_cost=4, database_url=url))


def told(number: int = 1) -> KeysRotated:
    return KeysRotated(kid=str(number))


# The end of the application


def test_the_end_waits_for_async_listeners_and_what_they_cause(memory: Auth) -> None:
    heard: list[str] = []

    @memory.on(KeysRotated)
    async def listen(event: KeysRotated) -> None:
        await asyncio.sleep(0.01)
        heard.append(event.kid)
        if event.kid == "1":
            await asyncio.to_thread(memory.runtime.events.publish, told(2))

    async def main() -> None:
        async with memory.lifespan():
            memory.runtime.events.publish(told(1))
        assert heard == ["1", "2"]
        memory.runtime.events.publish(told(3))
        assert heard == ["1", "2", "3"]

    asyncio.run(main())


def test_the_end_knows_of_what_was_published_just_before_it() -> None:
    heard: list[Event] = []

    async def listen(event: Event) -> None:
        heard.append(event)

    async def main() -> None:
        told_by = Events(listen)
        told_by.begin()
        told_by.publish(told(1))
        await told_by.end()
        assert heard == [told(1)]

    asyncio.run(main())


def test_after_an_application_that_never_came_to_its_end_listeners_run_all_the_same() -> None:
    heard: list[Event] = []

    async def listen(event: Event) -> None:
        heard.append(event)

    told_by = Events(listen)

    async def main() -> None:
        told_by.begin()

    asyncio.run(main())
    told_by.publish(told(1))
    assert heard == [told(1)]


def test_a_listener_may_wait_for_the_event_loop_even_at_the_end(memory: Auth) -> None:
    waited: list[str] = []

    async def main() -> None:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        @memory.on(KeysRotated)
        def listen(event: KeysRotated) -> None:
            loop.call_soon_threadsafe(begun.set)
            waited.append(asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05, "from the loop"), loop).result(5))

        async with memory.lifespan():
            rotation = asyncio.create_task(memory._running.lanes.database.run(keys.rotate, memory.runtime))
            await begun.wait()
        await rotation

    asyncio.run(main())
    assert waited == ["from the loop"]


@pytest.mark.parametrize("stubborn", [False, True])
def test_the_end_does_not_wait_for_ever(
    memory: Auth, stubborn: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events, "DRAIN_SECONDS", 0.01)
    monkeypatch.setattr(events, "CANCEL_SECONDS", 0.01)
    begun: list[str] = []

    @memory.on(KeysRotated)
    async def hang(event: KeysRotated) -> None:
        begun.append(event.kid)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if stubborn:
                await asyncio.sleep(0.05)
            raise

    async def main() -> None:
        async with memory.lifespan():
            memory.runtime.events.publish(told(1), told(2), told(3))

    asyncio.run(main())
    assert begun == ["1"]
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "1 listeners were cancelled after 0.01 s, 2 events waited"
    ]


def test_what_waits_for_one_listener_is_bounded(
    memory: Auth, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events, "MAX_WAITING", 2)
    heard: list[str] = []

    async def main() -> None:
        async with memory.lifespan():

            @memory.on(KeysRotated)
            async def listen(event: KeysRotated) -> None:
                heard.append(event.kid)

            memory.runtime.events.publish(*map(told, range(4)))

    asyncio.run(main())
    assert heard == ["0", "1"]
    message = "a listener is behind by 2 events and was not told of KeysRotated"
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [message] * 2


# Listeners that fail


def fail(event: Event) -> None:
    raise RuntimeError("broken")


def fail_as_if_cancelled(event: Event) -> None:
    """What a listener gets that asks for the result of something that was cancelled."""
    raise asyncio.CancelledError


async def fail_async(event: Event) -> None:
    await asyncio.sleep(0)
    raise RuntimeError("broken")


async def wait_for_what_is_cancelled(event: Event) -> None:
    waiting = asyncio.get_running_loop().create_future()
    waiting.cancel()
    await waiting


def take_nothing() -> None:
    """Cannot be called with an event."""


FAILING: list[Callable[..., object]] = [
    fail,
    fail_as_if_cancelled,
    fail_async,
    wait_for_what_is_cancelled,
    take_nothing,
]


@pytest.mark.parametrize("failing", FAILING)
def test_a_listener_that_fails_harms_neither_the_request_nor_other_listeners(
    failing: Callable[..., object], auth: Auth, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[type[Event]] = []
    heard_async: list[type[Event]] = []

    async def listen(event: Event) -> None:
        heard_async.append(type(event))

    auth.on(Event, failing)
    auth.on(Event, lambda event: heard.append(type(event)))
    auth.on(Event, listen)
    with TestClient(Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)) as http:
        client = GraphQLClient(http)
        payload = client.signup()
        assert client.me(payload["accessToken"])["email"] == "ada@example.com"
        assert client.refused(ME)["reason"] == "TOKEN_MISSING"
    assert heard == heard_async == [UserSignedUp, LoggedIn, AccessRefused]
    lines = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert lines == [f"a listener failed on {kind.__name__}" for kind in heard]
    for secret in (PASSWORD, payload["accessToken"], payload["refreshToken"]):
        assert secret not in caplog.text
