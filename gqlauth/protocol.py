"""HTTP and WebSockets on the wire: uvicorn's protocols with limits on time and size, which it leaves to others."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from gqlauth.http import HTTPError, raw_answer

# How long a client may take to send one request, or to take its answer.
TRANSFER_SECONDS = 20
# Requests that a client may send ahead of their answers. uvicorn would read and keep them without end.
MOST_PIPELINED = 16
# Frames that one message of a WebSocket may come in.
MOST_FRAMES = 1_000
# Answers to pings that a client may leave untaken, bytes.
LARGEST_BUFFER = 1_000_000


class HeadersOnly(HttpToolsProtocol):
    """uvicorn's HTTP, in which nothing counts as a header that comes after the end of the headers.

    uvicorn adds the trailer fields of a chunked request to its headers, although a recipient must not merge them
    (RFC 9110 section 6.5.1). A client could put fields there that a proxy in front would have replaced. A host that
    runs uvicorn itself uses this class by `uvicorn.run(app, http="gqlauth.protocol:HeadersOnly")`.
    """

    _is_in_head = True

    def on_message_begin(self) -> None:
        """Expect headers."""
        self._is_in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, and drop a trailer field."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Take no more headers."""
        self._is_in_head = False
        super().on_headers_complete()


class Protocol(HeadersOnly):
    """uvicorn's HTTP, without its patience: it would wait for ever for a request's end, and hold a head of any size.

    A request that comes in one piece, as nearly all do, costs nothing more. `largest` is in bytes: of a head that comes
    in pieces, and of what follows a head (a body in the smallest chunks takes six times its size).
    """

    def __init__(self, *args: Any, largest: tuple[int, int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._largest_head, self._largest_rest = largest
        self._received = 0
        self._answering: RequestResponseCycle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request from now on."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take what came; look at size and time unless it was a request, whole."""
        before = self.cycle
        super().data_received(data)
        if len(self.pipeline) > MOST_PIPELINED:
            self.transport.abort()
        if self.cycle is not before:
            self._received = 0
            self._expect(self.cycle.more_body)
            return
        if self not in self.connections:  # it is a WebSocket now, with deadlines of its own
            self._expect(False)
            return
        waiting = before is None or before.response_complete
        if waiting and self._deadline is None:
            self._received = 0
        self._received += len(data)
        if self._received > (self._largest_head if waiting else self._largest_rest):
            self._refuse(HTTPError(431, "HEADERS_TOO_LARGE", "The request is too large."))
        self._expect(waiting or before.more_body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines, and let the request that is being answered know, which may not be the last one."""
        self._expect(False)
        if self._answering is not None:
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.pipeline.clear()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for a client that does not take its answer, but not for ever."""
        super().pause_writing()
        self._write_deadline = self.loop.call_later(TRANSFER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has taken enough."""
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is not used, also if its client has left an answer untaken."""
        self.transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _expect(self, more: bool = True) -> None:
        """Set the deadline if more is to come of a request; it does not move while bytes trickle in."""
        if not more and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        elif more and self._deadline is None:
            self._deadline = self.loop.call_later(TRANSFER_SECONDS, self._late)

    def _late(self) -> None:
        message = f"The request did not come within {TRANSFER_SECONDS} seconds."
        self._refuse(HTTPError(408, "REQUEST_TIMEOUT", message))

    def _refuse(self, error: HTTPError) -> None:
        """Close the connection, with an answer if a request had begun. A WebSocket has left `connections`: not ours."""
        if self not in self.connections or self.transport.is_closing():
            return
        cycle = self.cycle
        if self._received if cycle is None or cycle.response_complete else not cycle.response_started:
            self.transport.write(raw_answer(error))
        self.transport.close()


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSockets, without its patience: it would wait for ever for a client that takes nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Take what came. A handshake comes whole: one that is none ends here, and nobody else would end it."""
        super().data_received(data)
        if not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_cont(self, event: Frame) -> None:
        """Take a part of a message; empty ones, of which the size has no limit, would fill the memory."""
        if len(self.frames) >= MOST_FRAMES:
            self.conn.fail(1009, "too many frames")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer, unless the client does not take the answers."""
        super().handle_ping()
        if self.transport.get_write_buffer_size() > LARGEST_BUFFER:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Wait for a client that does not take what it asked for, but not for ever."""
        super().pause_writing()
        self._expire()

    def resume_writing(self) -> None:
        """Go on: the client has taken enough."""
        super().resume_writing()
        if not self.close_sent:
            self._keep()

    def keepalive_timeout(self) -> None:
        """Close a connection whose client is not there any more."""
        super().keepalive_timeout()
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._keep()
        super().connection_lost(exc)

    async def send(self, message: Any) -> None:
        """Send; after a close, a client has so long to take it."""
        await self.writable.wait()
        if self.close_sent and self.transport.is_closing():  # by us, for what the client did
            raise ClientDisconnected
        await super().send(message)
        if self.close_sent:
            # uvicorn forgets it of a handshake that was answered with an error, and complains.
            self.handshake_complete = True
            self._expire()

    def _expire(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(TRANSFER_SECONDS, self.transport.abort)

    def _keep(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
