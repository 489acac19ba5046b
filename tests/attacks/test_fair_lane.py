"""Attacks on the lane that hashes passwords: whoever fills it waits for themselves, and nobody else does.

Nothing is timed: a gate holds every thread until all have come, and then the order of service is looked at.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from gqlauth import Auth, Settings
from gqlauth.accounts import service
from gqlauth.errors import ServerBusy
from gqlauth.events import Event, LoggedIn
from gqlauth.passwords import Passwords
from gqlauth.ratelimit import RateLimited
from gqlauth.runtime import Client
from gqlauth.testing.accounts import PEER
from gqlauth.threads import FairLane, Flow
from gqlauth.users.models import UserColumns
from tests.support import LOGIN, PASSWORD, GraphQLClient

CORES = os.cpu_count() or 1
ATTACKER = "198.51.100.1"
NEWCOMER = "203.0.113.1"


class Queue:
    """A lane of one thread that is held until `serve`, and the order in which it serves."""

    def __init__(self) -> None:
        self.lane = FairLane("test", 1)
        self.order: list[str] = []
        self.waiting: list[asyncio.Task[Any]] = []
        self._gate, self._is_held = threading.Event(), threading.Event()
        self._holding = asyncio.ensure_future(self.lane.run((), self._hold))

    def _hold(self) -> None:
        self._is_held.set()
        self._gate.wait()

    async def held(self) -> None:
        """Wait until the one thread is held."""
        await asyncio.to_thread(self._is_held.wait)

    async def add(self, name: str, *flows: str, then: Callable[[], object] = lambda: None) -> asyncio.Task[Any]:
        """Let a job wait."""

        def job() -> None:
            self.order.append(name)
            then()

        own: list[Flow] = [(flow,) for flow in flows]
        task = asyncio.ensure_future(self.lane.run(own, job))
        self.waiting.append(task)
        # As far as it goes before it waits.
        await asyncio.sleep(0)
        return task

    async def serve(self) -> list[str]:
        """Let the lane work, and return the order of service."""
        self._gate.set()
        await asyncio.gather(*self.waiting, return_exceptions=True)
        await self._holding
        await asyncio.to_thread(self.lane.close)
        return self.order


def in_queue(test: Callable[[Queue], Awaitable[None]]) -> None:
    async def run() -> None:
        queue = Queue()
        await queue.held()
        await test(queue)

    asyncio.run(run())


def test_a_newcomer_is_served_next_however_many_others_have_sent() -> None:
    async def test(queue: Queue) -> None:
        for n in range(100):
            await queue.add("attacker", "network", f"account {n % 5}")
        await queue.add("newcomer", "other network", "other account")
        assert (await queue.serve()).index("newcomer") <= 1

    in_queue(test)


def test_one_flow_alone_has_the_whole_lane_in_the_order_of_its_coming() -> None:
    async def test(queue: Queue) -> None:
        for n in range(100):
            await queue.add(str(n), "network", f"account {n}")
        assert await queue.serve() == [str(n) for n in range(100)]

    in_queue(test)


def test_whoever_sends_the_next_job_as_soon_as_one_is_served_has_no_more_than_a_share() -> None:
    """A flow that was forgotten whenever none of its jobs waits would always be a newcomer."""

    async def test(queue: Queue) -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            if queue.order.count("eager") < 30:
                asyncio.run_coroutine_threadsafe(queue.add("eager", "eager", then=again), loop).result()

        for _ in range(10):
            await queue.add("patient", "patient")
        await queue.add("eager", "eager", then=again)
        order = await queue.serve()
        last = max(place for place, name in enumerate(order) if name == "patient")
        assert order[:last].count("eager") <= 11

    in_queue(test)


def test_an_attacker_with_a_long_queue_does_not_send_the_owner_of_an_account_to_its_end() -> None:
    async def test(queue: Queue) -> None:
        for n in range(50):
            await queue.add("attacker", "network", f"account {n}")
        await queue.add("attacker", "network", "victim")
        await queue.add("owner", "other network", "victim")
        assert (await queue.serve()).index("owner") <= 2

    in_queue(test)


def test_a_lane_that_is_full_refuses_the_largest_flow_and_takes_the_newcomer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gqlauth.threads.WAITING_PER_THREAD", 10)

    async def test(queue: Queue) -> None:
        large = [await queue.add("large", "large") for _ in range(10)]
        over = await queue.add("large", "large")
        with pytest.raises(RateLimited) as refusal:
            await over
        assert refusal.value.retry_after is not None
        assert refusal.value.retry_after >= 1
        small = [await queue.add(f"small {n}", f"small {n}") for n in range(9)]
        refused = await asyncio.gather(*large[1:], return_exceptions=True)
        assert {type(error) for error in refused} == {RateLimited}
        with pytest.raises(ServerBusy) as busy:
            await (await queue.add("another", "another"))
        assert busy.value.extensions == {"code": "UNAVAILABLE", "retryAfter": busy.value.retry_after}
        with pytest.raises(RateLimited):
            await (await queue.add("small 0", "small 0"))
        assert sorted(await queue.serve()) == ["large"] + [f"small {n}" for n in range(9)]
        assert not any(task.exception() for task in small)

    with caplog.at_level(logging.WARNING, "gqlauth"):
        in_queue(test)
    assert [record.message for record in caplog.records] == [
        "too many passwords wait to be hashed: 10; some are refused"
    ]


def test_a_job_that_nobody_waits_for_anymore_frees_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gqlauth.threads.WAITING_PER_THREAD", 10)

    async def test(queue: Queue) -> None:
        gone = [await queue.add("gone", "network") for _ in range(10)]
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        for _ in range(10):
            await queue.add("there", "network")
        assert await queue.serve() == ["there"] * 10

    in_queue(test)


def test_closing_the_lane_leaves_nobody_waiting() -> None:
    async def test(queue: Queue) -> None:
        task = await queue.add("dropped", "network")
        closing = asyncio.ensure_future(asyncio.to_thread(queue.lane.close))
        with pytest.raises(asyncio.CancelledError):
            await task
        queue._gate.set()
        await closing
        assert queue.order == []
        with pytest.raises(RuntimeError):
            await queue.lane.run((), int)

    in_queue(test)


def test_flows_that_have_nothing_waiting_are_forgotten() -> None:
    async def test(queue: Queue) -> None:
        for n in range(40):
            await queue.add("long", "long")
            await queue.add("short", f"network {n}")
        kept: list[int] = []
        await queue.add("last", "long", then=lambda: kept.append(len(queue.lane._shares)))
        await queue.serve()
        assert kept
        assert kept[0] <= 2
        assert not queue.lane._shares

    in_queue(test)


# Through the front door


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Believes X-Forwarded-For of the tests' client."""
    return msgspec.structs.replace(settings, trusted_proxies=(PEER[0],))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Holds every thread that verifies a password until it is set."""
    gate, verify = threading.Event(), Passwords.verify

    def held(passwords: Passwords, password: str, stored: str | None) -> bool:
        gate.wait()
        return verify(passwords, password, stored)

    monkeypatch.setattr(Passwords, "verify", held)
    yield gate
    gate.set()


class Crowd:
    """Many who log in at once, each from an address."""

    def __init__(self, client: GraphQLClient, auth: Auth, threads: ThreadPoolExecutor) -> None:
        self._client = client
        self._lane = auth._running.lanes.hashing
        self._threads = threads

    def log_in(self, email: str, address: str) -> Future[dict[str, Any]]:
        """Begin to log in."""
        variables = {"input": {"email": email, "password": PASSWORD}}
        headers = {"x-forwarded-for": address}
        post, body = self._client.http.post, {"query": LOGIN, "variables": variables}
        return self._threads.submit(lambda: post("/graphql", json=body, headers=headers).json())

    def await_waiting(self, number: int) -> None:
        """Wait until so many jobs wait for a thread, and every thread has one."""
        while len(self._lane._waiting) != number or self._lane._working != CORES:
            time.sleep(0.001)


@pytest.fixture
def crowd(client: GraphQLClient, auth: Auth, gate: threading.Event) -> Iterator[Crowd]:
    with ThreadPoolExecutor(200) as threads:
        yield Crowd(client, auth, threads)
        gate.set()


def create_users(auth: Auth, number: int) -> list[str]:
    """Make accounts that have never signed in, with one hash for all; return their email addresses."""
    model, runtime = auth.runtime.models.User, auth.runtime
    stored = runtime.passwords.hash(PASSWORD)
    emails = [f"user{n}@example.com" for n in range(number)]
    with runtime.database.transaction() as db:
        for email in emails:
            user: UserColumns = model(email=email, email_key=email, name="", created_at=runtime.clock())
            user.password_hash = stored
            db.add(user)
    return emails


def test_a_login_is_served_next_while_one_address_has_125_in_flight(
    crowd: Crowd, auth: Auth, gate: threading.Event
) -> None:
    """Right passwords are never limited; so five accounts with 25 logins each used to keep everybody waiting."""
    served: list[str | None] = []

    def note(event: Event) -> None:
        if isinstance(event, LoggedIn):
            served.append(event.ip_address)

    emails = create_users(auth, 6)
    logins = [crowd.log_in(email, ATTACKER) for email in emails[:5] for _ in range(25)]
    crowd.await_waiting(125 - CORES)
    logins.append(crowd.log_in(emails[5], NEWCOMER))
    crowd.await_waiting(126 - CORES)
    auth.runtime.events.subscribe(note)
    gate.set()
    kinds = Counter(login.result()["data"]["login"]["__typename"] for login in logins)
    assert kinds == {"AuthPayload": 126}
    # The threads had a job each, and each may have taken one more before the newcomer's was through.
    assert served.index(NEWCOMER) <= 2 * CORES + 1


def test_the_owner_who_is_known_does_not_stand_behind_those_at_the_same_address(
    crowd: Crowd, auth: Auth, gate: threading.Event, client: GraphQLClient
) -> None:
    served: list[object] = []

    def note(event: Event) -> None:
        if isinstance(event, LoggedIn):
            served.append(event.user_id)

    emails = create_users(auth, 31)
    gate.set()
    crowd.log_in(emails[0], ATTACKER).result()
    gate.clear()
    logins = [crowd.log_in(email, ATTACKER) for email in emails[1:]]
    crowd.await_waiting(30 - CORES)
    logins.append(crowd.log_in(emails[0], ATTACKER))
    crowd.await_waiting(31 - CORES)
    auth.runtime.events.subscribe(note)
    gate.set()
    owner = logins[-1].result()["data"]["login"]["user"]["id"]
    for login in logins:
        login.result()
    assert [str(user) for user in served].index(owner) <= 2 * CORES + 1


def test_a_full_lane_says_when_to_come_back(
    crowd: Crowd, auth: Auth, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = auth._running.lanes.hashing
    lane._capacity = 4
    emails = create_users(auth, CORES + 6)
    held = [crowd.log_in(emails[n], f"10.0.{n}.1") for n in range(CORES)]
    crowd.await_waiting(0)
    held += [crowd.log_in(emails[CORES + n], f"10.1.{n}.1") for n in range(4)]
    crowd.await_waiting(4)

    answer = crowd.log_in(emails[-2], "10.1.0.1").result()["data"]["login"]
    assert (answer["code"], answer["field"]) == ("RATE_LIMITED", None)
    assert answer["retryAfter"] >= 1

    answer = crowd.log_in(emails[-1], NEWCOMER).result()
    assert answer["data"] is None
    (error,) = answer["errors"]
    assert error["message"] == "The server is busy. Try again later."
    assert error["extensions"]["code"] == "UNAVAILABLE"
    assert error["extensions"]["retryAfter"] >= 1

    gate.set()
    assert {login.result()["data"]["login"]["__typename"] for login in held} == {"AuthPayload"}


def test_an_office_of_a_thousand_behind_one_address_gets_in(client: GraphQLClient, auth: Auth) -> None:
    """At nine o'clock, all at once. The clock stands still: whatever was used up and not given back would stay so."""
    emails, runtime, lanes = create_users(auth, 1_000), auth.runtime, auth._running.lanes

    async def log_in(email: str) -> str:
        client = Client(ip_address=ATTACKER)
        guess = await lanes.database.run(service.check_login, runtime, email=email, client=client)
        while True:
            try:
                signed_in = await lanes.hashing.run(guess.flows, service.login, runtime, guess, PASSWORD)
            except RateLimited:
                await asyncio.sleep(0.25)
            else:
                return signed_in.user.email

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*map(log_in, emails))

    assert asyncio.run(all_of_them()) == emails
