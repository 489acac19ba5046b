"""Fetching a small document over HTTP within a deadline for the whole of it."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any
from urllib import request
from urllib.error import HTTPError
from urllib.parse import urlsplit


def check_url(url: str) -> None:
    """Raise `ValueError` unless the URL is https, or http on this machine.

    Nothing else may be trusted for keys: an attacker who can change the answer can sign as anybody.
    """
    parts = urlsplit(url)
    if not _is_local(url) and not (parts.scheme == "https" and parts.hostname):
        raise ValueError("the keys must come from an https URL, or http on this machine (127.0.0.1, ::1, localhost)")


def fetch(url: str, *, seconds: float, most_bytes: int) -> bytes:
    """Return the body of the answer to a GET request. Redirections are not followed.

    `seconds` are for everything together: the name's lookup, connecting, TLS, headers and body. The connection is
    closed then. Raise `OSError` (a `TimeoutError` at the deadline), `http.client.HTTPException`, or `ValueError` for a
    body of more than `most_bytes`.
    """
    line = Line()
    body: Future[bytes] = Future()
    # In a thread, because a lookup cannot be given a time limit, and a socket has one for each read alone.
    threading.Thread(target=_read, args=(body, line, url, seconds, most_bytes), daemon=True).start()
    try:
        return body.result(seconds)
    except TimeoutError:
        raise TimeoutError(f"the answer did not come within {seconds} seconds") from None
    finally:
        line.cut()


class Line:
    """The connection of one fetch, which another thread can cut at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._is_cut = False

    def hold(self, connection: socket.socket) -> None:
        """Take note of the connection. Raise `TimeoutError` if the line has been cut before there was one."""
        with self._lock:
            if self._is_cut:
                raise TimeoutError("connecting took too long")
            # A duplicate: wrapping in TLS takes the original away.
            self._connection = connection.dup()

    def cut(self) -> None:
        """End whatever is being read or written, and let no connection be made any more."""
        with self._lock:
            self._is_cut = True
            if self._connection is not None:
                with suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RDWR)
                self._connection.close()
                self._connection = None


class _Connection(http.client.HTTPConnection):
    """A connection that its line can cut."""

    line: Line

    def connect(self) -> None:
        super().connect()
        self.line.hold(self.sock)


class _TLSConnection(http.client.HTTPSConnection, _Connection):
    """The same with TLS. `HTTPSConnection.connect` calls `_Connection.connect` before its handshake."""


class _Handler(request.HTTPSHandler, request.HTTPHandler):
    """Opens connections that the line can cut."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def http_open(self, req: request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(self._connection, _Connection), req)

    def https_open(self, req: request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(self._connection, _TLSConnection), req)

    def _connection(self, kind: type[_Connection], host: str, **options: Any) -> http.client.HTTPConnection:
        connection = kind(host, **options)
        connection.line = self._line
        return connection


def _read(body: Future[bytes], line: Line, url: str, seconds: float, most_bytes: int) -> None:
    try:
        with _opener(url, line).open(url, timeout=seconds) as answer:
            read = answer.read(most_bytes + 1)
        if len(read) > most_bytes:
            raise ValueError(f"the answer is larger than {most_bytes} bytes")
    except HTTPError as error:
        error.close()
        body.set_exception(OSError(f"it answered with the status {error.code}"))
    except BaseException as error:
        body.set_exception(error)
    else:
        body.set_result(read)


def _opener(url: str, line: Line) -> request.OpenerDirector:
    """Return what fetches this URL and nothing else: it follows no redirection."""
    opener = request.OpenerDirector()
    # A proxy would take what is meant for this machine elsewhere.
    opener.add_handler(request.ProxyHandler({} if _is_local(url) else None))
    opener.add_handler(_Handler(line))
    opener.add_handler(request.HTTPErrorProcessor())
    opener.add_handler(request.HTTPDefaultErrorHandler())
    return opener


def _is_local(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
