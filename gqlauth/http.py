"""GraphQL over HTTP: media types, status codes, limits on bodies and headers, and JSON in and out.

https://graphql.github.io/graphql-over-http/draft/ — POST only: a query by GET would put secrets into logs and caches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import msgspec
import strawberry
from graphql import GraphQLError, parse
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from gqlauth.answers import AnswerTooLarge, encode, is_too_large
from gqlauth.context import Context
from gqlauth.errors import Reason, Unauthenticated, bearer_challenge
from gqlauth.masking import internal_error

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
SERVED = frozenset({OperationType.QUERY, OperationType.MUTATION})
SECURITY_HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]

# RFC 9110 section 4.1 wants 8,000 octets at least; nothing of ours stands in the query.
MAX_QUERY_BYTES = 8_000
# Headers of which one value counts. A proxy and we could each take another one where there are two.
SINGLE = frozenset({b"host", b"origin", b"sec-fetch-site", b"content-type", b"content-length"})
# Marks a scope whose headers were checked: the ready server checks for all of its addresses, our routes for themselves.
CHECKED = "gqlauth.headers_checked"
# A body that comes in pieces has to be complete by then.
BODY_SECONDS = 10
# How long, and how much, a client may still send after it was refused. Without that it would be cut off while it sends,
# and many clients would never see the answer.
LINGER_SECONDS = 2
LINGER_BYTES = 1_000_000

# How a plain strawberry.Schema says that the document has no operation that it could execute.
UNEXECUTABLE = (MissingQueryError, CannotGetOperationTypeError, InvalidOperationTypeError)

ContextGetter = Callable[[Request], Awaitable[Context]]


class GraphQLRequest(msgspec.Struct, rename="camel"):
    """The body of a request (section 5.1 of the specification)."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    extensions: dict[str, Any] | None = None


class HTTPError(Exception):
    """The request is refused before GraphQL sees it. Told as JSON in the shape of a GraphQL error.

    `unread` says that the body, or a part of it, is still to come: the connection is closed then (RFC 9112, 9.3).
    """

    def __init__(self, status: int, code: str, message: str, *, unread: bool = True) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.unread = unread


class GraphQLView:
    """An ASGI application: one GraphQL endpoint. `page` is what a browser is shown on GET, if anything.

    `max_answer_bytes` is the size of the largest answer; None sets no limit.
    """

    def __init__(
        self,
        schema: strawberry.Schema,
        get_context: ContextGetter,
        *,
        max_body_bytes: int,
        max_answer_bytes: int | None = None,
        page: ASGIApp | None = None,
    ) -> None:
        self._schema = schema
        self._get_context = get_context
        self._max_body_bytes = max_body_bytes
        self._max_answer_bytes = max_answer_bytes
        self._page = page
        self._decode = msgspec.json.Decoder(GraphQLRequest).decode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = dict(scope["headers"])
        if scope["method"] == "GET" and self._page and b"text/html" in headers.get(b"accept", b""):
            await self._page(scope, receive, send)
            return
        media_type = JSON
        try:
            if len(scope["query_string"]) > MAX_QUERY_BYTES:
                raise HTTPError(414, "URI_TOO_LONG", "The address is too long.")
            if scope["method"] != "POST":
                raise HTTPError(405, "METHOD_NOT_ALLOWED", "Use POST.")
            media_type = negotiate(headers.get(b"accept"))
            await self._post(scope, receive, send, headers, media_type)
        except HTTPError as error:
            await refuse(error, scope, receive, send, media_type)

    async def _post(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes], media_type: str
    ) -> None:
        check_content(headers)
        body = await read_body(headers, receive, self._max_body_bytes)
        request = self._parse(body)
        context = await self._get_context(Request(scope))
        result = await self._execute(request, context)
        data, status = shape(result, media_type)
        answer = encode(data)
        limit = self._max_answer_bytes
        if limit is not None and len(answer) > limit and _is_too_large(data, request, limit):
            answer = encode({"errors": [AnswerTooLarge(limit).formatted], "data": None})
        await self._send(send, status, media_type, answer, [*context.response_headers, *challenge(result)])

    def _parse(self, body: bytes) -> GraphQLRequest:
        try:
            return self._decode(body)
        except msgspec.ValidationError as error:
            message = f"The body is not a GraphQL request: {error}."
            raise HTTPError(400, "BAD_REQUEST", message, unread=False) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise HTTPError(400, "BAD_REQUEST", "The body is not valid JSON in UTF-8.", unread=False) from None

    async def _execute(self, request: GraphQLRequest, context: Context) -> ExecutionResult:
        try:
            result: ExecutionResult = await self._schema.execute(
                request.query,
                request.variables,
                context,
                operation_name=request.operation_name,
                allowed_operation_types=SERVED,
                operation_extensions=request.extensions,
            )
            return result
        except UNEXECUTABLE:
            return PreExecutionError(data=None, errors=[GraphQLError("There is no such operation.")])
        except Exception as error:
            return ExecutionResult(data=None, errors=[internal_error(error)])

    async def _send(
        self, send: Send, status: int, media_type: str, body: bytes, extra: list[tuple[bytes, bytes]]
    ) -> None:
        headers = [
            (b"content-type", CONTENT_TYPES[media_type]),
            (b"content-length", b"%d" % len(body)),
            *SECURITY_HEADERS,
            *extra,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


CONTENT_TYPES = {media_type: f"{media_type}; charset=utf-8".encode() for media_type in (JSON, GRAPHQL_RESPONSE)}


def negotiate(accept: bytes | None) -> str:
    """Return the media type to answer in (section 6.1). Raise 406 if the client takes neither of ours."""
    if accept is None or accept == b"application/json" or accept == b"*/*":
        return JSON
    best, best_quality = JSON, 0.0
    for entry in accept.decode("latin-1").lower().split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        quality = _quality(parameters)
        offered = GRAPHQL_RESPONSE if name == GRAPHQL_RESPONSE else JSON
        if name in (GRAPHQL_RESPONSE, JSON, "application/*", "*/*") and quality > best_quality:
            best, best_quality = offered, quality
    if best_quality == 0.0:
        raise HTTPError(406, "NOT_ACCEPTABLE", f"Accept {GRAPHQL_RESPONSE} or {JSON}.")
    return best


def check_content(headers: dict[bytes, bytes]) -> None:
    """Raise 415 unless the body is said to be JSON, in UTF-8, as it is.

    A form that another site posts cannot have this type without a preflight (CSRF; ASVS 3.5.2).
    """
    name, *parameters = (part.strip() for part in headers.get(b"content-type", b"").lower().split(b";"))
    charset = next((part[8:].strip(b'"') for part in parameters if part.startswith(b"charset=")), b"utf-8")
    if name != b"application/json" or charset not in (b"utf-8", b"utf8"):
        raise HTTPError(415, "UNSUPPORTED_MEDIA_TYPE", f"Send {JSON} in UTF-8.")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise HTTPError(415, "UNSUPPORTED_MEDIA_TYPE", "Send the body without compression.")


async def read_body(headers: dict[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """Return the body. Raise 413 as soon as it is known to be over `limit` bytes, without reading the rest."""
    if _announced(headers) > limit:
        raise _too_large(limit)
    message = await receive()
    if message.get("more_body"):
        return await _read_rest(message["body"], receive, limit)
    if message["type"] == "http.disconnect":
        raise HTTPError(400, "BAD_REQUEST", "The client went away.", unread=False)
    body: bytes = message.get("body", b"")
    if len(body) > limit:
        raise _too_large(limit, unread=False)
    return body


async def _read_rest(first: bytes, receive: Receive, limit: int) -> bytes:
    """Read on, against the clock. The clock costs more than a short body does: only bodies in pieces pay for it."""
    body, more = bytearray(first), True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                if len(body) > limit:
                    raise _too_large(limit)
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise HTTPError(400, "BAD_REQUEST", "The client went away.", unread=False)
                body += message.get("body", b"")
                more = message.get("more_body", False)
    except TimeoutError:
        raise HTTPError(408, "REQUEST_TIMEOUT", f"The body did not come within {BODY_SECONDS} seconds.") from None
    if len(body) > limit:
        raise _too_large(limit, unread=False)
    return bytes(body)


def _announced(headers: dict[bytes, bytes]) -> int:
    """Return the length that the client announces. Not every server looks whether it is a number (RFC 9110 8.6)."""
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 18:
        raise HTTPError(400, "BAD_REQUEST", "The Content-Length is not a length.")
    return int(length)


def _too_large(limit: int, *, unread: bool = True) -> HTTPError:
    return HTTPError(413, "CONTENT_TOO_LARGE", f"The body is over the limit of {limit} bytes.", unread=unread)


async def refuse(error: HTTPError, scope: Scope, receive: Receive, send: Send, media_type: str = JSON) -> None:
    """Answer with the error. Close the connection if the client is not done with sending."""
    # HTTP/2 has no such header.
    headers, body = _answer(error, media_type, close=error.unread and scope["http_version"] < "2")
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": error.unread})
    if error.unread:
        await _linger(receive)
        await send({"type": "http.response.body", "body": b""})


async def refuse_socket(error: HTTPError, scope: Scope, send: Send) -> None:
    """Answer a WebSocket's handshake with the error, or with the 403 of servers that know nothing else."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    headers, body = _answer(error, JSON, close=False)
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


def raw_answer(error: HTTPError) -> bytes:
    """Return the same answer as bytes, for a request that never became one."""
    headers, body = _answer(error, JSON, close=True)
    status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n".encode()
    return status + b"".join(b"%s: %s\r\n" % header for header in headers) + b"\r\n" + body


def _answer(error: HTTPError, media_type: str, *, close: bool) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the headers and the body that tell the error."""
    body = msgspec.json.encode({"errors": [{"message": error.message, "extensions": {"code": error.code}}]})
    length = (b"content-length", b"%d" % len(body))
    headers = [(b"content-type", CONTENT_TYPES[media_type]), length, *SECURITY_HEADERS]
    if error.status == 405:
        headers.append((b"allow", b"POST"))
    if close:
        headers.append((b"connection", b"close"))
    return headers, body


async def _linger(receive: Receive) -> None:
    """Throw away what still comes, for a while: closing at once would reset the connection under the answer."""
    size, more = 0, True
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while more and size < LINGER_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                more = message.get("more_body", False)


def shape(result: ExecutionResult, media_type: str) -> tuple[dict[str, Any], int]:
    """Return the answer and its status: 400 only where execution did not begin, and only in the new media type."""
    data: dict[str, Any] = {}
    if result.errors:
        data["errors"] = [error.formatted for error in result.errors]
    if isinstance(result, PreExecutionError):
        return data, 400 if media_type == GRAPHQL_RESPONSE else 200
    data["data"] = result.data
    if result.extensions:
        data["extensions"] = result.extensions
    return data, 200


def _is_too_large(data: dict[str, Any], request: GraphQLRequest, limit: int) -> bool:
    """Tell whether the answer is over the limit; what it tells about the schema itself does not count."""
    rest = {name: value for name, value in data.items() if name != "data"}
    left = limit - len(encode(rest))
    return left < 0 or is_too_large(data.get("data"), parse(request.query), request.operation_name, left)


def challenge(result: ExecutionResult) -> list[tuple[bytes, bytes]]:
    """Return the `WWW-Authenticate` header where nothing was answered because nobody is signed in (RFC 6750 section 3).

    Or because the token lacks a scope (section 3.1). The status stays that of GraphQL over HTTP; RFC 9110 section
    11.6.1 allows the header with any.
    """
    if result.data is not None or not result.errors:
        return []
    refusals = [error.extensions or {} for error in result.errors]
    reason = refusals[0].get("reason")
    if all(refusal.get("reason") == Reason.SCOPE_REQUIRED for refusal in refusals):
        return [(b"www-authenticate", b'Bearer error="insufficient_scope"')]
    if any(refusal.get("code") != Unauthenticated.code for refusal in refusals):
        return []
    return [(b"www-authenticate", bearer_challenge(reason).encode())]


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


class HeaderCheck:
    """ASGI middleware: refuses a request or handshake by its headers, wherever it goes.

    With 431 if they have more than `limit` bytes; with 400 if a header of which only one counts comes twice, or `Host`
    is missing in HTTP/1.1 (RFC 9112 section 3.2). HTTP/1.0, which some health probes speak, knows no `Host`.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan" or CHECKED in scope:
            await self._app(scope, receive, send)
            return
        scope[CHECKED] = True
        # A copy: uvicorn adds the trailer fields of a chunked request to its own list while the body is read.
        scope["headers"] = [*scope["headers"]]
        error = self._find_fault(scope)
        if error is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await refuse_socket(error, scope, send)
        else:
            await refuse(error, scope, receive, send)

    def _find_fault(self, scope: Scope) -> HTTPError | None:
        headers, version = scope["headers"], scope.get("http_version", "1.1")
        if sum(len(name) + len(value) for name, value in headers) > self._limit:
            return HTTPError(431, "HEADERS_TOO_LARGE", f"The headers are over the limit of {self._limit} bytes.")
        single = [header for header in headers if header[0] in SINGLE]
        # HTTP/2 may say the same host in `:authority` and in `Host` (RFC 9113 section 8.3.1).
        names = [name for name, _ in (single if version < "2" else set(single))]
        if len(names) > len(set(names)):
            told = ", ".join(sorted(name.decode() for name in SINGLE))
            return HTTPError(400, "BAD_REQUEST", f"One of these headers was sent more than once: {told}.")
        if version == "1.1" and b"host" not in names:
            return HTTPError(400, "BAD_REQUEST", "Send a Host header.")
        return None
