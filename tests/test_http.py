"""GraphQL over HTTP: media types, status codes, limits, and what is refused before GraphQL sees it."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from httpx2 import Response
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gqlauth import Auth, Settings
from gqlauth.app import create_schema
from tests.processes import Server, serving
from tests.support import SIGNUP

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
TYPENAME = json.dumps({"query": "{ __typename }"})
CORS_ORIGIN = "https://app.example"


@pytest.fixture(scope="module")
def http_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of one server. What is tested here does not touch the database, so one kind of it is enough."""
    url = f"sqlite:///{tmp_path_factory.mktemp('http')}/test.db"
    auth = Auth(Settings(environment="test", bcrypt_cost=4, database_url=url, cors_origins=(CORS_ORIGIN,)))
    app = Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)
    with TestClient(app, headers={"accept": JSON}) as client:
        yield client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in a process of its own, over real sockets."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running
        assert "Traceback" not in running.stop()


@pytest.fixture
def client_log(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the server logs during a test."""
    caplog.set_level("INFO", "gqlauth")
    return caplog.messages


def post(client: TestClient, body: str | bytes = TYPENAME, **headers: str) -> Response:
    named = {"content-type": JSON} | {name.replace("_", "-"): value for name, value in headers.items()}
    response: Response = client.post("/graphql", content=body, headers=named)
    return response


def with_variable(value: str, query: str = "{ __typename }") -> str:
    """Return a request's body with this text as the value of the variable `a`."""
    return f'{{"query": "{query}", "variables": {{"a": {value}}}}}'


def error_of(response: Response) -> dict[str, Any]:
    """Return the one error of an answer that holds nothing else (section 7.1 of the GraphQL specification)."""
    answer = response.json()
    assert list(answer) == ["errors"], answer
    assert isinstance(answer["errors"][0]["message"], str)
    error: dict[str, Any] = answer["errors"][0]
    return error


def refused(response: Response, status: int, code: str) -> None:
    """Check a refusal: its status, its code, and that it is told as any answer is."""
    assert response.status_code == status, response.text
    assert error_of(response)["extensions"] == {"code": code}
    assert response.headers["content-type"] in (f"{JSON}; charset=utf-8", f"{GRAPHQL}; charset=utf-8")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"


# Media types (section 6.1 of GraphQL over HTTP)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (JSON, JSON),
        (GRAPHQL, GRAPHQL),
        ("*/*", JSON),
        ("application/*", JSON),
        ("Application/JSON", JSON),
        (f"{JSON}; charset=utf-8", JSON),
        (f"{GRAPHQL}, {JSON}", GRAPHQL),
        (f"{JSON}, {GRAPHQL}", JSON),
        (f"{JSON};q=0.8, {GRAPHQL}", GRAPHQL),
        (f"{GRAPHQL};q=0.8, {JSON};q=0.9", JSON),
        (f"text/html, {GRAPHQL};q=0.1", GRAPHQL),
        (f"{GRAPHQL};q=high, {JSON};q=0.1", JSON),
        ("text/html, */*;q=0.1", JSON),
    ],
)
def test_the_answer_has_the_media_type_that_the_client_prefers(
    http_client: TestClient, accept: str, media_type: str
) -> None:
    """ASVS 4.1.1: every answer says its type and charset."""
    response = post(http_client, accept=accept)
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert response.json() == {"data": {"__typename": "Query"}}


def test_without_an_accept_header_the_answer_is_json(server: Server) -> None:
    connection = http.client.HTTPConnection(*server.address)
    connection.request("POST", "/graphql", TYPENAME, {"content-type": JSON})
    response = connection.getresponse()
    assert (response.status, response.headers["content-type"]) == (200, f"{JSON}; charset=utf-8")
    connection.close()


@pytest.mark.parametrize("accept", ["text/html", "application/xml, image/*", f"{JSON};q=0", "*/*;q=0", f"{JSON};q=x"])
def test_a_client_that_takes_neither_media_type_is_refused(http_client: TestClient, accept: str) -> None:
    refused(post(http_client, accept=accept), 406, "NOT_ACCEPTABLE")


# Methods


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"])
@pytest.mark.parametrize("accept", [JSON, "image/png"])
def test_only_post_is_served(http_client: TestClient, method: str, accept: str) -> None:
    """GraphQL over HTTP 6; ASVS 4.1.4. A query by GET would put secrets into logs and caches."""
    response = http_client.request(
        method, "/graphql", params={"query": "mutation { __typename }"}, headers={"accept": accept}
    )
    refused(response, 405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "POST"


def test_head_is_refused_without_a_body(server: Server) -> None:
    connection = http.client.HTTPConnection(*server.address)
    connection.request("HEAD", "/graphql")
    response = connection.getresponse()
    assert (response.status, response.headers["allow"], response.read()) == (405, "POST", b"")
    connection.close()


# Content types: a request that needs no preflight is refused (CSRF, ASVS 3.5.2)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/jsonp",
        "text/json",
        f"text/plain; {JSON}",
        f"{JSON}; charset=utf-16",
        f"{JSON}; charset=iso-8859-1",
    ],
)
def test_a_body_of_another_content_type_changes_nothing(
    client_log: list[str], http_client: TestClient, content_type: str
) -> None:
    variables = {"input": {"email": "csrf@example.com", "password": "correct horse battery"}}
    body = json.dumps({"query": SIGNUP, "variables": variables})
    refused(post(http_client, body, content_type=content_type), 415, "UNSUPPORTED_MEDIA_TYPE")
    assert client_log == []


def test_a_form_with_files_is_not_a_way_in(http_client: TestClient) -> None:
    """strawberry PR 3645: a mutation by multipart form from another site."""
    response = http_client.post("/graphql", data={"operations": TYPENAME, "map": "{}"}, files={"0": b"x"})
    refused(response, 415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_missing_content_type_is_refused(server: Server) -> None:
    connection = http.client.HTTPConnection(*server.address)
    connection.request("POST", "/graphql", TYPENAME)
    assert connection.getresponse().status == 415
    connection.close()


@pytest.mark.parametrize("content_type", ["Application/JSON", f"{JSON};charset=UTF-8", f'{JSON}; charset="utf-8"; x=y'])
def test_json_in_utf_8_is_served_however_it_is_spelt(http_client: TestClient, content_type: str) -> None:
    assert post(http_client, content_type=content_type).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity"])
def test_a_compressed_body_is_refused(http_client: TestClient, encoding: str) -> None:
    response = post(http_client, gzip.compress(TYPENAME.encode()), content_encoding=encoding)
    refused(response, 415, "UNSUPPORTED_MEDIA_TYPE")


# Bodies


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        '"x"',
        "1",
        "true",
        "[]",
        "[{}]",
        "{",
        "{'query': '{ __typename }'}",
        TYPENAME + TYPENAME,
        b"\xff\xfe",
        b'{"query": "{ __typename } #\xff"}',
        "\ufeff".encode() + TYPENAME.encode(),
        TYPENAME.encode("utf-16"),
        r'{"query": "{ __typename } # \ud800"}',
        r'{"query": "{ __typename }", "variables": {"a": "\udfff"}}',
        with_variable("9" * 5000),
        with_variable("1e999"),
        with_variable("NaN"),
        with_variable("[" * 40_000 + "]" * 40_000),
        with_variable('{"a":' * 15_000 + "1" + "}" * 15_000),
        "[" * 99_000,
        "{}",
        '{"query": null}',
        '{"query": 1}',
        '{"query": ["{ __typename }"]}',
        '{"query": "{ __typename }", "variables": []}',
        '{"query": "{ __typename }", "variables": "{}"}',
        '{"query": "{ __typename }", "operationName": 1}',
        '{"query": "{ __typename }", "extensions": []}',
    ],
)
@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
def test_a_body_that_is_no_graphql_request_is_refused(http_client: TestClient, body: str | bytes, accept: str) -> None:
    """GraphQL over HTTP 6, 7; ASVS 16.5.1: nothing that comes in is a 5xx."""
    refused(post(http_client, body, accept=accept), 400, "BAD_REQUEST")


def test_a_batch_is_refused(http_client: TestClient) -> None:
    """ASVS 2.4.1: batches cannot multiply guesses."""
    refused(post(http_client, f"[{TYPENAME}, {TYPENAME}]"), 400, "BAD_REQUEST")


@pytest.mark.parametrize("number", ["9" * 300, "-" + "9" * 30, "0.1e-300", "1e300"])
def test_a_number_of_any_size_harms_nothing(http_client: TestClient, number: str) -> None:
    body = with_variable(number, "query ($a: Int) { me(a: $a) { id } }")
    assert post(http_client, body, accept=GRAPHQL).status_code == 400


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("{", 400),
        ("{ nothing }", 400),
        ("query ($a: Int!) { __typename @skip(if: $a) }", 400),
        ("query A { __typename } query B { __typename }", 400),
        ("subscription { tick }", 400),
        ("{ __typename }", 200),
        ("{ me { id } }", 200),
    ],
)
def test_only_the_newer_media_type_tells_errors_by_the_status(http_client: TestClient, query: str, status: int) -> None:
    """GraphQL over HTTP 6.4, 7.4: in application/json a well-formed request is always a 200."""
    body = json.dumps({"query": query})
    assert post(http_client, body, accept=GRAPHQL).status_code == status
    assert post(http_client, body, accept=JSON).status_code == 200


def test_an_answer_has_data_only_where_execution_began(http_client: TestClient) -> None:
    assert "message" in error_of(post(http_client, json.dumps({"query": "{ nothing }"})))
    began = post(http_client, json.dumps({"query": "{ me { id } }"})).json()
    assert began["data"] is None
    assert began["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


def test_an_unknown_operation_name_is_refused(http_client: TestClient) -> None:
    body = json.dumps({"query": "query A { __typename }", "operationName": "B"})
    assert post(http_client, body, accept=GRAPHQL).status_code == 400


def test_members_that_the_specification_does_not_know_are_left_alone(http_client: TestClient) -> None:
    body: dict[str, Any] = {
        "query": "{ __typename }",
        "variables": None,
        "operationName": None,
        "extensions": {},
        "other": 1,
    }
    assert post(http_client, json.dumps(body)).json() == {"data": {"__typename": "Query"}}


# Sizes


def padded(size: int) -> bytes:
    """Return a request of so many bytes."""
    return TYPENAME.encode().ljust(size)


def test_a_body_up_to_the_limit_is_served_and_one_byte_more_is_not(http_client: TestClient) -> None:
    assert post(http_client, padded(100_000)).status_code == 200
    refused(post(http_client, padded(100_001)), 413, "CONTENT_TOO_LARGE")


@pytest.mark.parametrize("length", ["abc", "+5", "-5", "1_0", "0x10", "9" * 5_000, ""])
def test_a_length_that_is_none_is_refused(http_client: TestClient, length: str) -> None:
    """uvicorn does not let it through; an application may be served by others."""
    refused(post(http_client, content_length=length), 400, "BAD_REQUEST")


def test_a_body_in_chunks_has_the_same_limit(server: Server) -> None:
    for size, status in ((100_000, 200), (100_001, 413)):
        connection = http.client.HTTPConnection(*server.address)
        whole = padded(size)
        chunks = (whole[start : start + 7_000] for start in range(0, size, 7_000))
        connection.request("POST", "/graphql", chunks, {"content-type": JSON}, encode_chunked=True)
        assert connection.getresponse().status == status
        connection.close()


@pytest.mark.parametrize("head", ["transfer-encoding: chunked", f"content-length: {100_000_000}"])
def test_a_body_of_100_mb_is_refused_before_it_has_come(server: Server, head: str) -> None:
    """ASVS 2.4.1: the answer is there after the first megabyte at the latest, whatever is still to come."""
    with socket.create_connection(server.address, timeout=10) as connection:
        connection.sendall(f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\n{head}\r\n\r\n".encode())
        chunk = b" " * 50_000
        for _ in range(20):
            connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk) if "chunked" in head else chunk)
        assert connection.recv(1_000).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_goes_away_in_the_middle_harms_nothing(server: Server) -> None:
    with socket.create_connection(server.address) as connection:
        head = f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b"{")
    test_without_an_accept_header_the_answer_is_json(server)


def test_headers_over_the_limit_are_refused(http_client: TestClient, server: Server) -> None:
    """GraphQL over HTTP 7.4; ASVS 2.4.1."""
    assert post(http_client, x_filler="x" * 15_000).status_code == 200
    refused(post(http_client, x_filler="x" * 16_384), 431, "HEADERS_TOO_LARGE")
    refused(post(http_client, authorization="Bearer " + "x" * 1_000_000), 431, "HEADERS_TOO_LARGE")
    connection = http.client.HTTPConnection(*server.address)
    connection.request("POST", "/graphql", TYPENAME, {"content-type": JSON, "x-filler": "x" * 60_000})
    assert connection.getresponse().status == 431
    connection.close()


# Other sites


def test_another_origin_is_told_nothing(http_client: TestClient) -> None:
    response = post(http_client, origin="https://evil.example")
    assert "access-control-allow-origin" not in response.headers
    preflight = http_client.options(
        "/graphql", headers={"origin": "https://evil.example", "access-control-request-method": "POST"}
    )
    assert preflight.status_code == 400
    assert "access-control-allow-origin" not in preflight.headers


def test_a_configured_origin_is_let_in(http_client: TestClient) -> None:
    assert post(http_client, origin=CORS_ORIGIN).headers["access-control-allow-origin"] == CORS_ORIGIN
    preflight = http_client.options(
        "/graphql",
        headers={
            "origin": CORS_ORIGIN,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == CORS_ORIGIN
    assert preflight.headers["access-control-allow-credentials"] == "true", "cookie mode: the origin is named for it"


def test_without_configured_origins_there_is_no_cors(server: Server) -> None:
    connection = http.client.HTTPConnection(*server.address)
    connection.request("OPTIONS", "/graphql", headers={"origin": CORS_ORIGIN, "access-control-request-method": "POST"})
    response = connection.getresponse()
    assert response.status == 405
    assert "access-control-allow-origin" not in response.headers
    connection.close()
