"""Who opens a socket: the token of `connection_init`, the handshake's header, or the cookie of a page of ours."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from strawberry.asgi import GraphQL

import gqlauth
from gqlauth import Auth, Context, Settings
from gqlauth.app import create_schema
from tests.subscriptions.support import PROTOCOL, SESSION_ENDED, Socket, Subscription, connected
from tests.support import LOGIN, LOGOUT, PASSWORD, Clock, GraphQLClient

GREETING = "subscription { greeting }"
OURS, FOREIGN = "http://localhost", "https://evil.example"


def greeting_of(payload: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"greeting": f"Hello {payload['user']['id']}"}}


def refusal(client: GraphQLClient, params: dict[str, Any] | None = None, **headers: str) -> tuple[int, str]:
    """Return how the socket of this client is closed."""
    with connected(client.http, **headers) as socket:
        socket.send("connection_init", payload=params)
        with pytest.raises(WebSocketDisconnect) as close:
            socket.receive()
        return close.value.code, close.value.reason


@pytest.mark.parametrize("key", ["Authorization", "authorization", "AUTHORIZATION"])
def test_the_token_comes_as_the_header_that_it_would_be(client: GraphQLClient, key: str) -> None:
    payload = client.signup()
    with connected(client.http) as socket:
        socket.init(**{key: f"Bearer {payload['accessToken']}", "other": 5})
        socket.subscribe(GREETING)
        assert socket.next() == greeting_of(payload)


def test_or_bare_as_auth_token_or_as_the_header_of_the_handshake(client: GraphQLClient) -> None:
    payload = client.signup()
    with connected(client.http) as socket:
        socket.init(authToken=payload["accessToken"])
        socket.subscribe(GREETING)
        assert socket.next() == greeting_of(payload)
    with connected(client.http, authorization=f"Bearer {payload['accessToken']}") as socket:
        socket.init(authToken=None)
        socket.subscribe(GREETING)
        assert socket.next() == greeting_of(payload)


@pytest.mark.parametrize(
    "params",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": ["Bearer x"]},
        {"Authorization": "Bearer ü"},
        {"authToken": 5},
        {"authToken": ""},
        {"authToken": "Bearer x"},
    ],
)
def test_a_token_that_is_none_is_refused(
    client: GraphQLClient, params: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert refusal(client, params) == (4403, "TOKEN_INVALID")
    assert "access_refused" in caplog.text
    assert "reason=TOKEN_INVALID" in caplog.text


def test_two_tokens_are_none(client: GraphQLClient) -> None:
    """RFC 6750 section 2: one method in a request."""
    token = client.signup()["accessToken"]
    for params in (
        {"Authorization": f"Bearer {token}", "authToken": token},
        {"Authorization": f"Bearer {token}", "authorization": f"Bearer {token}"},
    ):
        assert refusal(client, params) == (4403, "TOKEN_INVALID")


def test_an_expired_or_revoked_token_is_refused_with_its_reason(client: GraphQLClient, clock: Clock) -> None:
    token = client.signup()["accessToken"]
    revoked = client.login()["accessToken"]
    client.execute(LOGOUT, token=revoked)
    assert refusal(client, {"authToken": revoked}) == (4403, "SESSION_REVOKED")
    clock.advance(901)
    assert refusal(client, {"authToken": token}) == (4403, "TOKEN_EXPIRED")


def test_without_a_token_the_guard_refuses(client: GraphQLClient) -> None:
    with connected(client.http) as socket:
        socket.init()
        for document in (GREETING, SESSION_ENDED):
            socket.subscribe(document)
            [error] = socket.error()
            assert error["extensions"] == {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}
        socket.subscribe("subscription { count(to: 1) }")
        assert socket.next() == {"data": {"count": 1}}


def sign_in_with_cookies(client: GraphQLClient) -> dict[str, Any]:
    client.signup()
    asking = {"input": {"email": "ada@example.com", "password": PASSWORD, "useCookies": True}}
    payload: dict[str, Any] = client.execute(LOGIN, asking)["login"]
    return payload


def test_the_cookie_counts_on_a_page_of_ours(client: GraphQLClient) -> None:
    payload = sign_in_with_cookies(client)
    with connected(client.http, origin=OURS) as socket:
        socket.init()
        socket.subscribe(GREETING)
        assert socket.next() == greeting_of(payload)


@pytest.mark.parametrize("origin", [FOREIGN, "null", "http://localhost.evil.example", "http://localhost:81"])
def test_a_page_of_another_site_gets_nothing_out_of_the_cookie(client: GraphQLClient, origin: str) -> None:
    """ASVS 4.4.2: cross-site WebSocket hijacking."""
    sign_in_with_cookies(client)
    assert refusal(client, origin=origin) == (4403, "ORIGIN_NOT_ALLOWED")
    assert refusal(client, {}, origin=origin, sec_fetch_site="cross-site") == (4403, "ORIGIN_NOT_ALLOWED")


def test_nor_does_a_client_without_an_origin(client: GraphQLClient) -> None:
    sign_in_with_cookies(client)
    assert refusal(client) == (4403, "ORIGIN_NOT_ALLOWED")


def test_a_page_of_another_site_comes_in_with_a_token_alone(client: GraphQLClient) -> None:
    """A token is not sent by itself, as a cookie is: whoever has it may use it. Without one there is nothing to see."""
    assert refusal(client, origin=FOREIGN) == (4403, "ORIGIN_NOT_ALLOWED")
    cookie_holder = sign_in_with_cookies(client)
    other = client.signup("bob@example.com")
    with connected(client.http, origin=FOREIGN) as socket:
        socket.init(authToken=other["accessToken"])
        socket.subscribe(GREETING)
        assert socket.next() == greeting_of(other) != greeting_of(cookie_holder)


def test_where_the_database_does_not_answer_the_client_is_told_to_come_again(client: GraphQLClient, auth: Auth) -> None:
    token = client.signup()["accessToken"]
    with auth.runtime.database.transaction() as db:
        db.execute(sa.text("ALTER TABLE sessions RENAME TO away"))
    assert refusal(client, {"authToken": token}) == (1013, "DATABASE_UNAVAILABLE")
    with auth.runtime.database.transaction() as db:
        db.execute(sa.text("ALTER TABLE away RENAME TO sessions"))
    with connected(client.http) as socket:
        socket.init(authToken=token)


def test_a_refusal_is_logged_with_the_address_that_a_trusted_proxy_names(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """ASVS 4.1.3, 16.3.3."""
    for proxies, address in ((("192.0.2.1",), "203.0.113.7"), ((), "192.0.2.1")):
        caplog.clear()
        auth = Auth(msgspec.structs.replace(settings, trusted_proxies=proxies))
        app = Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)
        with TestClient(app, client=("192.0.2.1", 1)) as http:
            client = GraphQLClient(http)
            assert refusal(client, {"authToken": "x"}, x_forwarded_for="203.0.113.7") == (4403, "TOKEN_INVALID")
        assert f"access_refused ip_address={address} field=connection_init reason=TOKEN_INVALID" in caplog.text


def test_in_a_view_that_forgets_to_connect_guards_let_nobody_in(auth: Auth) -> None:
    """Nothing would end what they let in: not the end of the session, nor that of its token."""

    class View(GraphQL[Context, None]):
        async def get_context(self, request: Any, response: Any) -> Context:
            return await auth.get_context(request)

    schema = gqlauth.Schema(gqlauth.Query, gqlauth.Mutation, Subscription)
    app = Starlette(routes=auth.routes(schema), lifespan=auth.lifespan)
    app.router.add_websocket_route("/own", View(schema, subscription_protocols=[PROTOCOL]))  # type: ignore[arg-type]
    with TestClient(app, base_url="http://localhost") as http:
        headers = {"authorization": f"Bearer {GraphQLClient(http).signup()['accessToken']}"}
        with http.websocket_connect("ws://localhost/own", [PROTOCOL], headers=headers) as session:
            socket = Socket(session)
            socket.init()
            socket.subscribe("subscription { greeting }")
            assert socket.error()[0]["extensions"]["code"] == "INTERNAL_ERROR"
            socket.subscribe("subscription { count(to: 1) }", "2")
            assert socket.next("2") == {"data": {"count": 1}}
