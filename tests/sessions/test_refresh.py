"""Refresh: rotation, reuse, grace, the limits in time, and races."""

from __future__ import annotations

import base64
import functools
import operator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gqlauth import Auth, Settings
from gqlauth.app import create_schema
from gqlauth.events import Event, RefreshReused, SessionRevoked
from tests.support import CHANGE_PASSWORD, LOGOUT, ME, PASSWORD, Clock, GraphQLClient
from tests.tables import Session

DAY = 86_400
INVALID_TOKEN = {
    "__typename": "AuthError",
    "code": "INVALID_TOKEN",
    "message": "Sign in again.",
    "field": "refreshToken",
    "retryAfter": None,
}
SESSION_REVOKED = {"code": "UNAUTHENTICATED", "reason": "SESSION_REVOKED"}


def test_a_refresh_gives_new_tokens_of_the_same_session(client: GraphQLClient, clock: Clock) -> None:
    first = client.signup()
    clock.advance(20 * 60)
    assert client.refused(ME, token=first["accessToken"])["reason"] == "TOKEN_EXPIRED"
    second = client.refresh(first["refreshToken"], access=first["accessToken"])
    assert second["__typename"] == "AuthPayload"
    assert second["refreshToken"] != first["refreshToken"]
    assert second["user"] == first["user"] == client.me(second["accessToken"])
    assert [session["current"] for session in client.sessions(second["accessToken"])] == [True]


def test_a_replay_within_the_grace_gets_the_very_same_successor(client: GraphQLClient, clock: Clock) -> None:
    first = client.signup()
    second = client.refresh(first["refreshToken"])
    clock.advance(9)
    replay = client.refresh(first["refreshToken"])
    assert replay["refreshToken"] == second["refreshToken"]
    assert client.me(replay["accessToken"]) == client.me(second["accessToken"])
    assert client.refresh(second["refreshToken"])["__typename"] == "AuthPayload"


def test_a_replay_after_the_grace_ends_the_session(client: GraphQLClient, clock: Clock, auth: Auth) -> None:
    """RFC 9700 section 4.14.2; ASVS 10.4.5."""
    happened: list[Event] = []
    auth.runtime.events.subscribe(happened.append)
    first = client.signup()
    second = client.refresh(first["refreshToken"])
    clock.advance(10)
    assert client.refresh(first["refreshToken"]) == INVALID_TOKEN
    assert client.refresh(second["refreshToken"]) == INVALID_TOKEN
    assert client.refused(ME, token=second["accessToken"]) == SESSION_REVOKED
    kinds = [type(event) for event in happened]
    assert kinds.count(RefreshReused) == kinds.count(SessionRevoked) == 1


def test_the_token_before_the_previous_one_ends_the_session_even_within_the_grace(client: GraphQLClient) -> None:
    """Two rotations within one second (keycloak #50999)."""
    first = client.signup()
    second = client.refresh(first["refreshToken"])
    third = client.refresh(second["refreshToken"])
    assert client.refresh(first["refreshToken"]) == INVALID_TOKEN
    assert client.refused(ME, token=third["accessToken"]) == SESSION_REVOKED


@pytest.mark.parametrize(
    "token",
    [
        "",
        "gqr_",
        "gqr_00000000000000000000000000000000_" + "A" * 64,
        "gqr_" + "z" * 32 + "_" + "A" * 64,
        "x" * 90_000,
        "gqr_\u0000",
        "eyJhbGciOiJub25lIn0.e30.",
    ],
)
def test_what_is_no_refresh_token_is_refused(client: GraphQLClient, token: str) -> None:
    assert client.refresh(token) == INVALID_TOKEN
    assert client.refresh(None) == INVALID_TOKEN


def test_a_token_made_up_around_a_session_id_ends_nothing(client: GraphQLClient) -> None:
    """A session's id is no secret: whoever has read it must not be able to sign its owner out."""
    first = client.signup()
    made_up = first["refreshToken"][:37] + "A" * 64
    assert client.refresh(made_up) == INVALID_TOKEN
    assert client.refresh(first["refreshToken"])["__typename"] == "AuthPayload"


def test_tokens_made_up_elsewhere_do_not_use_up_the_refreshes_of_the_owner(client: GraphQLClient) -> None:
    """The limit must not be turned against the owner by whoever has read the session's id (ASVS 6.1.1)."""
    first = client.signup()
    made_up = first["refreshToken"][:37] + "A" * 64
    stranger = GraphQLClient(TestClient(client.http.app, client=("203.0.113.9", 50_000)))
    codes = [stranger.refresh(made_up)["code"] for _ in range(121)]
    assert codes[-1] == "RATE_LIMITED"
    assert client.refresh(first["refreshToken"])["__typename"] == "AuthPayload"


def test_an_access_token_is_no_refresh_token_and_the_other_way_round(client: GraphQLClient) -> None:
    """ASVS 9.2.2."""
    payload = client.signup()
    assert client.refresh(payload["accessToken"]) == INVALID_TOKEN
    assert client.refused(ME, token=payload["refreshToken"])["reason"] == "TOKEN_INVALID"


def test_a_session_ends_thirty_days_after_its_last_refresh(client: GraphQLClient, clock: Clock) -> None:
    """RFC 9700 section 4.14.2; ASVS 7.3.1."""
    token = client.signup()["refreshToken"]
    clock.advance(30 * DAY - 1)
    token = client.refresh(token)["refreshToken"]
    clock.advance(30 * DAY)
    assert client.refresh(token) == INVALID_TOKEN


def test_a_session_ends_ninety_days_after_it_began_however_often_it_is_refreshed(
    client: GraphQLClient, clock: Clock
) -> None:
    """ASVS 7.3.2."""
    payload = client.signup()
    for _ in range(89):
        clock.advance(DAY)
        payload = client.refresh(payload["refreshToken"])
    clock.advance(DAY - 60)
    payload = client.refresh(payload["refreshToken"])
    assert payload["expiresIn"] == 60
    clock.advance(60)
    assert client.refresh(payload["refreshToken"]) == INVALID_TOKEN


def test_fifty_refreshes_at_once_have_one_successor(client: GraphQLClient) -> None:
    """ASVS 2.3.4; GHSA-392p-2q2v-4372: parallel rotations of one token each gave a successor."""
    token = client.signup()["refreshToken"]
    with ThreadPoolExecutor(50) as threads:
        payloads = list(threads.map(client.refresh, [token] * 50))
    assert {payload["__typename"] for payload in payloads} == {"AuthPayload"}
    assert len({payload["refreshToken"] for payload in payloads}) == 1


def test_refreshes_against_a_logout_leave_nothing_alive(client: GraphQLClient) -> None:
    """Keycloak #51312: new tokens outlived the revocation."""
    first = client.signup()

    def logout(_: int) -> bool:
        return bool(client.execute(LOGOUT, token=first["accessToken"])["logout"])

    with ThreadPoolExecutor(20) as threads:
        refreshed = threads.map(client.refresh, [first["refreshToken"]] * 10)
        ended = threads.map(logout, range(10))
    for payload in refreshed:
        if payload["__typename"] == "AuthPayload":
            assert client.refused(ME, token=payload["accessToken"]) == SESSION_REVOKED
            assert client.refresh(payload["refreshToken"]) == INVALID_TOKEN
    assert sum(ended) == 1


def test_a_refresh_against_a_password_change_has_one_survivor(client: GraphQLClient, clock: Clock) -> None:
    here, there = client.signup(), client.login()
    change = {"input": {"currentPassword": PASSWORD, "newPassword": "another horse battery"}}
    with ThreadPoolExecutor(9) as threads:
        changing = threads.submit(client.execute, CHANGE_PASSWORD, change, here["accessToken"])
        refreshed = list(threads.map(client.refresh, [here["refreshToken"], there["refreshToken"]] * 4))
    changed = changing.result()["changePassword"]
    assert changed["__typename"] == "AuthPayload"
    for payload in refreshed:
        if payload["__typename"] == "AuthPayload":
            assert client.refresh(payload["refreshToken"]) == INVALID_TOKEN
    # The tokens of before are refused, but they do not end what the change began.
    assert client.refresh(here["refreshToken"]) == INVALID_TOKEN
    assert client.refused(ME, token=there["accessToken"]) == SESSION_REVOKED
    clock.advance(60)
    assert client.refresh(changed["refreshToken"])["__typename"] == "AuthPayload"


def test_rotation_grace_and_reuse_hold_across_a_restart(settings: Settings, clock: Clock) -> None:
    """RFC 9700 section 4.14.2; CVE-2026-9802 (keycloak): after a restart, replaced refresh tokens worked again."""

    def restarted() -> TestClient:
        auth = Auth(settings, clock=clock)
        return TestClient(Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan))

    with restarted() as http:
        first = GraphQLClient(http).signup()
        second = GraphQLClient(http).refresh(first["refreshToken"])
    with restarted() as http:
        replay = GraphQLClient(http).refresh(first["refreshToken"])
        assert replay["refreshToken"] == second["refreshToken"]
        assert GraphQLClient(http).me(second["accessToken"])["email"] == "ada@example.com"
    clock.advance(10)
    with restarted() as http:
        assert GraphQLClient(http).refresh(first["refreshToken"]) == INVALID_TOKEN
        assert GraphQLClient(http).refresh(second["refreshToken"]) == INVALID_TOKEN


def test_a_refresh_token_is_256_random_bits(client: GraphQLClient) -> None:
    """ASVS 7.2.3, 11.5.1: 128 bits at least; a UUID does not count, and the session's id in the token is no secret."""
    client.signup()
    first = [client.login()["refreshToken"] for _ in range(80)]
    following = first[:1]
    for _ in range(80):
        following.append(client.refresh(following[-1])["refreshToken"])
    for tokens in (first, following[1:]):
        randoms = [int.from_bytes(base64.urlsafe_b64decode(token.split("_", 2)[2])[:32]) for token in tokens]
        # Each of the 256 bits has both values. One in 10^21 runs fails by chance.
        assert functools.reduce(operator.or_, randoms) == 2**256 - 1
        assert functools.reduce(operator.and_, randoms) == 0


def test_no_refresh_token_is_stored(client: GraphQLClient, auth: Auth) -> None:
    """ASVS 11.5.1: of tokens only hashes are kept."""
    first = client.signup()
    second = client.refresh(first["refreshToken"])
    with auth.runtime.database.read() as db:
        stored = db.execute(sa.select(Session.__table__)).one()
    for token in (first["refreshToken"], second["refreshToken"]):
        assert token.split("_", 2)[2] not in repr(stored)
