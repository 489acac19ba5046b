"""GraphQL over HTTP: media types, status codes, limits on bodies and headers, and JSON in and out.

https://graphql.github.io/graphql-over-http/draft/ — POST only: a query by GET would put secrets into logs and caches.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from graphql import GraphQLError
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from gqlauth.context import Context
from gqlauth.errors import Reason, Unauthenticated
from gqlauth.schema import INTERNAL_ERROR, Schema

logger = logging.getLogger("gqlauth")

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
SERVED = frozenset({OperationType.QUERY, OperationType.MUTATION})
SECURITY_HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]

# RFC 9110 section 4.1 wants 8,000 octets at least; nothing of ours stands in the query.
MAX_QUERY_BYTES = 8_000

ContextGetter = Callable[[Request], Awaitable[Context]]


class GraphQLRequest(msgspec.Struct, rename="camel"):
    """The body of a request (section 5.1 of the specification)."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    extensions: dict[str, Any] | None = None


class HTTPError(Exception):
    """The request is refused before GraphQL sees it. Told as JSON in the shape of a GraphQL error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class GraphQLView:
    """An ASGI application: one GraphQL endpoint. `page` is what a browser is shown on GET, if anything."""

    def __init__(
        self, schema: Schema, get_context: ContextGetter, *, max_body_bytes: int, page: ASGIApp | None = None
    ) -> None:
        self._schema = schema
        self._get_context = get_context
        self._max_body_bytes = max_body_bytes
        self._page = page
        self._decode = msgspec.json.Decoder(GraphQLRequest).decode
        self._encode = msgspec.json.Encoder(enc_hook=str).encode

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
            body = {"errors": [{"message": error.message, "extensions": {"code": error.code}}]}
            extra = [(b"allow", b"POST")] if error.status == 405 else []
            await self._send(send, error.status, media_type, body, extra)

    async def _post(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes], media_type: str
    ) -> None:
        check_content(headers)
        body = await read_body(headers, receive, self._max_body_bytes)
        request = self._parse(body)
        context = await self._get_context(Request(scope))
        result = await self._execute(request, context)
        data, status = shape(result, media_type)
        await self._send(send, status, media_type, data, [*context.response_headers, *challenge(result)])

    def _parse(self, body: bytes) -> GraphQLRequest:
        try:
            return self._decode(body)
        except msgspec.ValidationError as error:
            raise HTTPError(400, "BAD_REQUEST", f"The body is not a GraphQL request: {error}.") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise HTTPError(400, "BAD_REQUEST", "The body is not valid JSON in UTF-8.") from None

    async def _execute(self, request: GraphQLRequest, context: Context) -> ExecutionResult:
        try:
            return await self._schema.execute(
                request.query,
                request.variables,
                context,
                operation_name=request.operation_name,
                allowed_operation_types=SERVED,
                operation_extensions=request.extensions,
            )
        except Exception:
            error_id = secrets.token_hex(8)
            logger.exception("internal_error id=%s", error_id)
            error = GraphQLError(
                "Something went wrong on our side.", extensions={"code": INTERNAL_ERROR, "id": error_id}
            )
            return ExecutionResult(data=None, errors=[error])

    async def _send(
        self, send: Send, status: int, media_type: str, data: Any, extra: list[tuple[bytes, bytes]]
    ) -> None:
        body = self._encode(data)
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
    too_large = HTTPError(413, "CONTENT_TOO_LARGE", f"The body is over the limit of {limit} bytes.")
    if int(headers.get(b"content-length", b"0")) > limit:
        raise too_large
    message: Message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        if len(body) > limit:
            raise too_large
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise HTTPError(400, "BAD_REQUEST", "The client went away.")
    if len(body) > limit:
        raise too_large
    return body


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


def challenge(result: ExecutionResult) -> list[tuple[bytes, bytes]]:
    """Return the `WWW-Authenticate` header where nothing was answered because nobody is signed in (RFC 6750 section 3).

    The status stays that of GraphQL over HTTP; RFC 9110 section 11.6.1 allows the header with any.
    """
    if result.data is not None or not result.errors:
        return []
    reasons = [(error.extensions or {}).get("reason") for error in result.errors if _is_unauthenticated(error)]
    if len(reasons) < len(result.errors):
        return []
    if reasons[0] == Reason.TOKEN_MISSING:
        return [(b"www-authenticate", b"Bearer")]
    return [(b"www-authenticate", f'Bearer error="invalid_token", error_description="{reasons[0]}"'.encode())]


def _is_unauthenticated(error: GraphQLError) -> bool:
    return (error.extensions or {}).get("code") == Unauthenticated.code


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


class HeaderLimit:
    """ASGI middleware: refuses with 431 what sends more than `limit` bytes of headers, wherever it goes."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and sum(len(n) + len(v) for n, v in scope["headers"]) > self._limit:
            body = msgspec.json.encode(
                {
                    "errors": [
                        {
                            "message": f"The headers are over the limit of {self._limit} bytes.",
                            "extensions": {"code": "HEADERS_TOO_LARGE"},
                        }
                    ]
                }
            )
            headers = [
                (b"content-type", CONTENT_TYPES[JSON]),
                (b"content-length", b"%d" % len(body)),
                *SECURITY_HEADERS,
            ]
            await send({"type": "http.response.start", "status": 431, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await self._app(scope, receive, send)
