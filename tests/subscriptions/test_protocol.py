"""graphql-transport-ws as its protocol says, and what is never served over it."""

from __future__ import annotations

from typing import Any

import pytest
import strawberry
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import gqlauth
from gqlauth import Auth, Limits, sockets, websocket
from gqlauth.schema import Schema
from tests.subscriptions.support import SESSION_ENDED, Subscription, connected
from tests.support import GraphQLClient


def test_a_subscription_sends_its_values_and_completes(client: GraphQLClient) -> None:
    with connected(client.http) as socket:
        socket.init()
        socket.subscribe("subscription Count($to: Int!) { count(to: $to) }", id="a", to=2)
        assert [socket.next("a"), socket.next("a")] == [{"data": {"count": 1}}, {"data": {"count": 2}}]
        assert socket.receive() == {"type": "complete", "id": "a"}


def test_a_ping_is_answered(client: GraphQLClient) -> None:
    with connected(client.http) as socket:
        socket.send("ping")
        assert socket.receive() == {"type": "pong"}


def test_a_client_may_end_its_subscription_and_use_its_id_again(client: GraphQLClient) -> None:
    with connected(client.http) as socket:
        socket.init()
        socket.subscribe("subscription { silence }")
        socket.send("complete", id="1")
        socket.subscribe("subscription { count(to: 1) }")
        assert socket.next() == {"data": {"count": 1}}


@pytest.mark.parametrize("protocols", [["graphql-ws"], ["something"]])
def test_another_protocol_is_closed(client: GraphQLClient, protocols: list[str]) -> None:
    """Strawberry CVE-2026-35523, CVE-2026-35526: the older graphql-ws served without connection_init."""
    with connected(client.http, *protocols) as socket:
        assert socket.closed() == (4406, "Subprotocol not acceptable")


def test_nothing_is_served_before_the_acknowledgement(client: GraphQLClient) -> None:
    """ASVS 4.4.2."""
    with connected(client.http) as socket:
        socket.subscribe("subscription { count(to: 1) }")
        assert socket.closed() == (4401, "Unauthorized")


def test_who_says_nothing_is_closed(client: GraphQLClient, monkeypatch: pytest.MonkeyPatch, auth: Auth) -> None:
    monkeypatch.setattr(websocket, "INIT_SECONDS", 0.05)
    schema = gqlauth.Schema(gqlauth.Query, subscription=Subscription)
    with TestClient(Starlette(routes=auth.routes(schema))) as http, connected(http) as socket:
        assert socket.closed() == (4408, "Connection initialisation timeout")


def test_a_second_init_and_an_id_in_use_are_closed(client: GraphQLClient) -> None:
    with connected(client.http) as socket:
        socket.init()
        socket.send("connection_init")
        assert socket.closed() == (4429, "Too many initialisation requests")
    with connected(client.http) as socket:
        socket.init()
        socket.subscribe("subscription { silence }")
        socket.subscribe("subscription { silence }")
        assert socket.closed() == (4409, "Subscriber for 1 already exists")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "5",
        '"ping"',
        "{}",
        '{"type": 5}',
        '{"type": "unknown"}',
        '{"type": "connection_init", "payload": []}',
        '{"type": "subscribe", "id": "1"}',
        '{"type": "subscribe", "id": [], "payload": {"query": "{ a }"}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 5}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ a }", "variables": 5}}',
        '{"type": "subscribe", "payload": {"query": "subscription { count(to: 1) }"}}',
        '{"type": "complete"}',
        '{"type": "\\ud800"}',
        "[" * 50_000,
        '{"type": "ping", "payload": {"a": ' + "1" * 5_000 + "}}}",
    ],
    ids=lambda text: text[:40],
)
def test_a_message_that_is_none_closes_the_socket(client: GraphQLClient, text: str) -> None:
    with connected(client.http) as socket:
        socket.init()
        socket.session.send_text(text)
        code, reason = socket.closed()
        assert code == 4400
        assert len(reason.encode()) <= 123


def test_a_binary_message_closes_the_socket(client: GraphQLClient) -> None:
    with connected(client.http) as socket:
        socket.session.send_bytes(b'{"type": "ping"}')
        assert socket.closed() == (4400, "WebSocket message type must be text")


@pytest.mark.parametrize("document", ["{ me { id } }", "mutation { logout }", "query { __typename }"])
def test_queries_and_mutations_have_http(client: GraphQLClient, document: str) -> None:
    with connected(client.http) as socket:
        socket.init()
        socket.subscribe(document)
        [error] = socket.error()
        kind = "mutation" if document.startswith("mutation") else "query"
        assert error["message"] == f"A {kind} is not served here."


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("subscription {", "Syntax Error: Expected Name, found <EOF>."),
        ("subscription { " + "x" * 200 + " !", "Syntax Error: Expected Name, found '!'."),
        ("subscription { nothing }", "Cannot query field 'nothing' on type 'Subscription'."),
        ("", "Syntax Error: Unexpected <EOF>."),
        ("subscription { count(to: 1) sessionEnded { reason } }", "Anonymous Subscription must select only one"),
        ("subscription A { count(to: 1) } subscription B { count(to: 1) }", "Must provide operation name"),
        (
            "subscription ($to: Int!) { count(to: $to) }",
            "Variable '$to' has invalid value: Expected",
        ),
        ("subscription { __typename }", "Anonymous Subscription must not select an introspection top level field."),
    ],
)
def test_a_wrong_document_is_an_error_of_its_operation_alone(
    client: GraphQLClient, document: str, message: str
) -> None:
    with connected(client.http) as socket:
        socket.init()
        socket.subscribe(document)
        assert message in socket.error()[0]["message"]
        socket.subscribe("subscription { count(to: 1) }")
        assert socket.next() == {"data": {"count": 1}}


def test_the_limits_on_documents_hold(client: GraphQLClient) -> None:
    """ASVS 4.3.1."""
    many = " ".join(f"a{n}: sessionId" for n in range(31))
    with connected(client.http) as socket:
        socket.init()
        socket.subscribe("subscription { sessionEnded { " + many + " } }")
        over_http = client.post("subscription { sessionEnded { " + many + " } }").json()["errors"]
        assert socket.error() == over_http
        socket.subscribe("subscription { count(to: 1) " + "@include(if: true) " * 51 + "}")
        assert "directives" in socket.error()[0]["message"]


def test_what_is_wrong_with_the_variables_is_told_in_short_and_without_hints_where_the_schema_is_closed(
    auth: Auth,
) -> None:
    schema = Schema(gqlauth.Query, subscription=Subscription)
    app = Starlette(routes=auth.routes(schema), lifespan=auth.lifespan)
    schema.limit(Limits(introspection=False))
    with TestClient(app) as http, connected(http) as socket:
        socket.init()
        socket.subscribe("subscription ($a: Int!, $b: Int!, $c: Int!, $d: Int!) { count(to: $a) }")
        assert len(socket.error()) <= 3
        socket.subscribe("subscription { coun }")
        assert "Did you mean" not in socket.error()[0]["message"]


def test_an_unexpected_error_is_an_id_that_is_also_in_the_log(
    client: GraphQLClient, caplog: pytest.LogCaptureFixture
) -> None:
    """ASVS 16.5.1."""
    with connected(client.http) as socket:
        socket.init()
        socket.subscribe("subscription { broken }")
        assert socket.next() == {"data": {"broken": 1}}
        [error] = socket.next()["errors"]
    assert error["message"] == "Something went wrong on our side."
    assert error["extensions"]["code"] == "INTERNAL_ERROR"
    assert f"id={error['extensions']['id']}" in caplog.text


def test_operations_at_once_have_a_limit(client: GraphQLClient) -> None:
    with connected(client.http) as socket:
        socket.init()
        for number in range(100):
            socket.subscribe("subscription { silence }", id=str(number))
        for number in range(websocket.MOST_OPERATIONS, 100):
            assert socket.error(str(number))[0]["message"] == "Subscription limit reached"
        socket.send("complete", id="0")
        socket.subscribe("subscription { count(to: 1) }", id="0")
        assert socket.next("0") == {"data": {"count": 1}}


def test_sockets_that_do_not_say_who_they_are_have_a_limit(
    client: GraphQLClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MOST_WAITING", 2)
    monkeypatch.setattr(sockets, "SHORT_FROM", 1)
    with connected(client.http) as first, connected(client.http) as second:
        with pytest.raises(WebSocketDisconnect) as full, connected(client.http):
            pass
        first.init()
        assert is_denied(full.value, 503, "TOO_MANY_SOCKETS")
        with connected(client.http) as third:
            third.init()
        second.init()


def test_sockets_of_one_account_and_of_nobody_have_limits(
    client: GraphQLClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MOST_PER_ACCOUNT", 1)
    monkeypatch.setattr(sockets, "MOST_ANONYMOUS", 1)
    mine, other = (client.signup(email)["accessToken"] for email in ("a@example.com", "b@example.com"))
    with connected(client.http) as first, connected(client.http) as nobody:
        first.init(authToken=mine)
        nobody.init()
        for params in ({"authToken": mine}, {}):
            with connected(client.http) as more:
                more.send("connection_init", payload=params)
                assert more.closed() == (1013, "TOO_MANY_SOCKETS")
        with connected(client.http) as another:
            another.init(authToken=other)
    with connected(client.http) as again:
        again.init(authToken=mine)


def test_headers_over_the_limit_are_refused(client: GraphQLClient) -> None:
    with pytest.raises(WebSocketDisconnect) as refusal, connected(client.http, x_large="x" * 20_000):
        pass
    assert is_denied(refusal.value, 431, "HEADERS_TOO_LARGE")


def test_a_schema_without_subscriptions_opens_no_socket(auth: Auth) -> None:
    app = Starlette(routes=auth.routes(gqlauth.Schema(gqlauth.Query)), lifespan=auth.lifespan)
    with TestClient(app) as http, pytest.raises(WebSocketDisconnect), connected(http):
        pass


def test_a_plain_schema_is_served_too(auth: Auth) -> None:
    schema = strawberry.Schema(gqlauth.Query, subscription=Subscription)
    with TestClient(Starlette(routes=auth.routes(schema), lifespan=auth.lifespan)) as http, connected(http) as socket:
        socket.init()
        socket.subscribe("subscription { count(to: 1) }")
        assert socket.next() == {"data": {"count": 1}}
        assert socket.receive()["type"] == "complete"
        socket.subscribe(SESSION_ENDED)
        assert socket.error()[0]["extensions"] == {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}
        socket.subscribe("{ __typename }")
        assert "subscriptions" not in str(socket.error())


def test_over_http_a_subscription_is_not_served(client: GraphQLClient) -> None:
    [error] = client.post(SESSION_ENDED).json()["errors"]
    assert error["message"] == "A subscription is not served here."


def is_denied(refusal: Any, status: int, code: str) -> bool:
    """Tell whether the handshake was answered with this status and code."""
    told: str = refusal.json()["errors"][0]["extensions"]["code"]
    return bool(refusal.status_code == status) and told == code
