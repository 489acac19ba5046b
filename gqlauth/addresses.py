"""IP addresses of clients, as far as what a server or a proxy reports is one."""

from __future__ import annotations

import ipaddress

from starlette.requests import HTTPConnection


def client_address(connection: HTTPConnection) -> str | None:
    """Return the IP address that a request or WebSocket comes from, or None where none is known.

    Behind a proxy the reported value is text that somebody sent, and over a Unix socket there is none.
    """
    return read_address(connection.client.host) if connection.client else None


def read_address(text: str) -> str | None:
    """Return the address in its usual form (RFC 5952), or None for anything else, such as `unknown` (RFC 7239).

    A port is dropped (`192.0.2.1:80`, `[2001:db8::1]:80`). So is the zone of an IPv6 address, which may be any text,
    also control characters. An IPv4 address that is written as IPv6 becomes the IPv4 address.
    """
    try:
        address = ipaddress.ip_address(_without_port(text).partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _without_port(text: str) -> str:
    if text.startswith("["):
        host, is_closed, port = text[1:].partition("]")
        return host if is_closed and (port == "" or (port[0] == ":" and port[1:].isdecimal())) else ""
    host, colon, port = text.partition(":")
    return host if colon and port.isdecimal() and "." in host else text
