"""Events: hosts hear what happened, after it is true, and whatever their listeners do harms nobody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID

import pytest
import sqlalchemy as sa

from gqlauth import Auth, Settings, migrations
from gqlauth.accounts import service as accounts
from gqlauth.events import (
    AccessRefused,
    Event,
    KeysRotated,
    LoggedIn,
    LoginFailed,
    SessionRevoked,
    SignupRefused,
    UserSignedUp,
)
from gqlauth.keys import service as keys
from tests.support import LOGOUT, ME, PASSWORD, UPDATE_PROFILE, GraphQLClient
from tests.tables import User


@pytest.fixture
def memory(tmp_path_factory: pytest.TempPathFactory) -> Auth:
    """An `Auth` for rules that no database takes part in."""
    url = f"sqlite:///{tmp_path_factory.mktemp('events')}/events.db"
    return Auth(Settings(environment="test", bcrypt_cost=4, database_url=url))


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What a slow listener waits for."""
    event = threading.Event()
    yield event
    event.set()


def told(number: int = 1) -> KeysRotated:
    return KeysRotated(kid=str(number))


# Which events, and with which types


def test_a_listener_hears_its_kind_of_event_and_a_base_class_hears_all(auth: Auth, client: GraphQLClient) -> None:
    new: list[UserSignedUp] = []
    heard: list[Event] = []
    auth.on(UserSignedUp, new.append)
    auth.on(Event, heard.append)
    payload = client.signup()
    client.signup()
    client.login(password="wrong horse battery")
    client.refused(ME)
    client.execute(LOGOUT, token=payload["accessToken"])
    user_id = UUID(payload["user"]["id"])
    assert new == [UserSignedUp(user_id=user_id, ip_address="127.0.0.1")]
    assert [type(event) for event in heard] == [
        UserSignedUp, LoggedIn, SignupRefused, LoginFailed, AccessRefused, SessionRevoked,
    ]  # fmt: skip
    assert LoginFailed(user_id=user_id, reason="INVALID_CREDENTIALS", ip_address="127.0.0.1") in heard


def test_as_a_decorator_it_leaves_the_function_as_it_is(memory: Auth) -> None:
    heard: list[str] = []

    @memory.on(KeysRotated)
    def plain(event: KeysRotated) -> str:
        heard.append(f"plain {event.kid}")
        return "what a listener returns is ignored"

    @memory.on(KeysRotated)
    async def asynchronous(event: KeysRotated) -> None:
        heard.append(f"async {event.kid}")

    memory.runtime.events.publish(told(1))
    assert heard == ["plain 1", "async 1"]
    assert plain(told(2)) == "what a listener returns is ignored"
    asyncio.run(asynchronous(told(3)))
    assert heard[2:] == ["plain 2", "async 3"]


def test_type_checkers_know_what_a_listener_gets(memory: Auth) -> None:
    """mypy is the test: it would complain about an ignored error that is none."""

    def of_keys(event: KeysRotated) -> None: ...
    async def of_keys_async(event: KeysRotated) -> None: ...
    def of_anything(event: Event) -> None: ...

    memory.on(KeysRotated, of_keys)
    memory.on(KeysRotated, of_keys_async)
    memory.on(KeysRotated, of_anything)
    memory.on(KeysRotated, lambda event: event.kid)
    memory.on(LoggedIn, of_keys)  # type: ignore[arg-type]
    memory.on(LoggedIn, of_keys_async)  # type: ignore[arg-type]
    memory.on(LoggedIn, lambda event: event.kid)  # type: ignore[attr-defined]
    memory.on(LoggedIn)(of_keys)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not a class of events"):
        memory.on("LoggedIn", of_anything)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"not a class of events: @auth\.on\(UserSignedUp\)"):
        memory.on(of_anything)  # type: ignore[call-overload]  # @auth.on without its parentheses


# When and where


def test_a_listener_runs_when_the_transaction_is_over_and_may_open_its_own(auth: Auth) -> None:
    """No connection is held while listeners run, and what they are told is there for all to see."""
    runtime = auth.runtime
    migrations.upgrade(runtime.database)
    seen: list[tuple[int, list[str]]] = []

    @auth.on(UserSignedUp)
    def listen(event: UserSignedUp) -> None:
        pool = runtime.database.engine.pool
        assert isinstance(pool, sa.QueuePool)
        held = pool.checkedout()
        with runtime.database.transaction() as db:
            user = db.get_one(User, event.user_id)
            user.name = "named by a listener"
        seen.append((held, [user.name for user, _ in accounts.list_users(runtime)]))

    accounts.create_user(runtime, email="ada@example.com", password=PASSWORD, name="Ada")
    assert seen == [(0, ["named by a listener"])]
    runtime.database.dispose()


def test_a_slow_listener_keeps_nobody_else_waiting(auth: Auth, client: GraphQLClient, release: threading.Event) -> None:
    """It holds neither a connection nor SQLite's one place for a writer; only its thread."""
    token, started = client.signup("ada@example.com")["accessToken"], threading.Event()

    @auth.on(UserSignedUp)
    def listen(event: UserSignedUp) -> None:
        started.set()
        assert release.wait(20)

    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(client.signup, "slow@example.com")
        assert started.wait(20)
        changed = client.execute(UPDATE_PROFILE, {"input": {"name": "Countess"}}, token)
        assert changed["updateProfile"]["name"] == client.me(token)["name"] == "Countess"
        assert not slow.done()
        release.set()
        assert slow.result(20)["user"]["email"] == "slow@example.com"


def test_an_async_listener_runs_on_the_event_loop_of_the_lifespan(memory: Auth) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    @memory.on(Event)
    async def listen(event: Event) -> None:
        loops.append(asyncio.get_running_loop())

    async def main() -> None:
        async with memory.lifespan():
            await asyncio.to_thread(keys.rotate, memory.runtime)
            memory.runtime.events.publish(told())
            running = asyncio.get_running_loop()
        assert loops == [running] * 2

    asyncio.run(main())


def test_an_async_listener_hears_one_event_after_the_other_and_waits_for_no_other_listener(memory: Auth) -> None:
    heard: list[str] = []

    async def main() -> None:
        async with memory.lifespan():
            door = asyncio.Event()

            @memory.on(KeysRotated)
            async def slow(event: KeysRotated) -> None:
                heard.append(f"slow begins {event.kid}")
                await door.wait()
                heard.append(f"slow ends {event.kid}")

            @memory.on(KeysRotated)
            async def quick(event: KeysRotated) -> None:
                heard.append(f"quick {event.kid}")
                if event.kid == "3":
                    door.set()

            # From one thread; the order of what happens in several at once is nobody's to tell.
            await asyncio.to_thread(memory.runtime.events.publish, told(1), told(2), told(3))

    asyncio.run(main())
    assert [line for line in heard if "quick" in line] == ["quick 1", "quick 2", "quick 3"]
    assert [line for line in heard if "slow" in line] == [
        f"slow {what} {number}" for number in (1, 2, 3) for what in ("begins", "ends")
    ]
    assert heard.index("quick 3") < heard.index("slow ends 1")


@pytest.mark.parametrize("inside", [False, True], ids=["without a loop", "beside a loop that is not the lifespan's"])
def test_without_a_lifespan_async_listeners_have_run_when_the_function_returns(auth: Auth, inside: bool) -> None:
    """A script of the host's, or a shell."""
    migrations.upgrade(auth.runtime.database)
    heard: list[str] = []

    @auth.on(UserSignedUp)
    async def listen(event: UserSignedUp) -> None:
        heard.append("begins")
        await asyncio.sleep(0.01)
        heard.append("ends")

    create = partial(accounts.create_user, auth.runtime, email="ada@example.com", password=PASSWORD, name="")

    async def main() -> None:
        create()

    if inside:
        asyncio.run(main())
    else:
        create()
    assert heard == ["begins", "ends"]
    auth.runtime.database.dispose()
