"""Cookie mode: the tokens in cookies that no script can read, and the check that no other site acts with them.

A browser sends cookies along with whatever any page makes it send. So a request's cookies count only if the browser
says that a page of ours, or of a configured origin, made the request (ASVS 3.5.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.responses import Response

from gqlauth.settings import Settings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
ACCESS, REFRESH, DEVICE = "gqlauth-access", "gqlauth-refresh", "gqlauth-device"
DEVICE_SECONDS = 365 * 86_400


class OriginNotAllowed(Exception):
    """The request brings our cookies, but nothing shows that it comes from a page of ours."""


class DuplicateCookie(Exception):
    """The request brings two cookies of one of our names. Nothing shows which of them we have set."""


@dataclass(frozen=True, slots=True)
class Cookies:
    """What a browser keeps for us: the tokens of a session, and that somebody signed in on this device before."""

    access_token: str | None
    refresh_token: str | None
    device: str | None


def read(request: HTTPConnection, settings: Settings) -> Cookies | None:
    """Return what is ours of the request's cookies, or None if nothing is.

    Raise `OriginNotAllowed` or `DuplicateCookie`; in either case no cookie of the request counts.
    """
    prefix = _prefix(request, settings)
    names = [(prefix + name).encode() for name in (ACCESS, REFRESH, DEVICE)]
    pairs = [(name, value) for name, value in _pairs(request) if name in names]
    if not pairs:
        return None
    if not is_ours(request, settings):
        raise OriginNotAllowed
    # A character outside of ASCII becomes one that no token has.
    found = {name: value.decode("ascii", "replace") for name, value in pairs}
    if len(found) < len(pairs):
        raise DuplicateCookie
    return Cookies(*map(found.get, names))


def write(request: HTTPConnection, response: Response, settings: Settings, kept: Cookies, seconds: int) -> None:
    """Let the browser keep the tokens for `seconds`, and the device's value, if there is a new one, for a year.

    The access token's cookie outlives the token, so that a client is told TOKEN_EXPIRED and knows to refresh.
    """
    for name, value, life in (
        (ACCESS, kept.access_token, seconds),
        (REFRESH, kept.refresh_token, seconds),
        (DEVICE, kept.device, DEVICE_SECONDS),
    ):
        if value is not None:
            _set(request, response, settings, name, value, life)


def clear(request: HTTPConnection, response: Response, settings: Settings) -> None:
    """Let the browser forget the tokens."""
    for name in (ACCESS, REFRESH):
        _set(request, response, settings, name, "", 0)


def is_ours(request: HTTPConnection, settings: Settings) -> bool:
    """Tell whether the browser says that a page of ours made this request.

    A page that came by http can be written by anyone on the network. So it does not count for an API that is reached by
    https, be it of the same host, unless `cors_origins` lists it (RFC 6454 section 4: the scheme is part of an origin).
    """
    if _only(request, b"sec-fetch-site") == "same-origin":
        return True
    origin = _only(request, b"origin")
    if origin is None:
        return False
    if origin in settings.cors_origins:
        return True
    scheme, _, host = origin.partition("://")
    if scheme not in DEFAULT_PORTS or (scheme == "http" and _is_secure(request, settings)):
        return False
    public_scheme, _, public_host = settings.public_url.lower().partition("://")
    # A proxy that ends TLS changes the scheme, not the host. No page can set Host.
    ours = [(_only(request, b"host") or "").lower()] + [public_host] * (scheme == public_scheme)
    # Origins leave out the port that their scheme implies; a Host that a proxy writes may name it.
    return host != "" and host in [each.removesuffix(DEFAULT_PORTS[scheme]) for each in ours]


def _is_secure(request: HTTPConnection, settings: Settings) -> bool:
    """Tell whether people reach the API by https: this request has come so, or the public URL says so."""
    return request.scope["scheme"] in ("https", "wss") or settings.public_url.startswith("https:")


def _pairs(request: HTTPConnection) -> Iterator[tuple[bytes, bytes]]:
    """Yield names and values of the cookies as the bytes that came (RFC 6265 section 4.2.1).

    Only spaces and tabs are stripped around a pair. Whatever else is stripped or decoded would turn a name that a
    sibling domain may set, such as one that begins with a no-break space, into one of ours.
    """
    # HTTP/2 may send them in several headers (RFC 9113 section 8.2.3).
    whole = b";".join(value for name, value in request.scope["headers"] if name == b"cookie")
    for pair in whole.split(b";"):
        name, equals, value = pair.strip(b" \t").partition(b"=")
        if equals:
            yield name, value


def _only(request: HTTPConnection, header: bytes) -> str | None:
    """Return the value of a header that is there exactly once, else None."""
    values = [value for name, value in request.scope["headers"] if name == header]
    return values[0].decode("latin-1") if len(values) == 1 else None


def _set(request: HTTPConnection, response: Response, settings: Settings, name: str, value: str, seconds: int) -> None:
    prefix = _prefix(request, settings)
    response.set_cookie(
        prefix + name, value, max_age=seconds, path="/", secure=bool(prefix), httponly=True, samesite="lax"
    )


def _prefix(request: HTTPConnection, settings: Settings) -> str:
    """Return `__Host-`, which binds a cookie to https and to one host; nothing on http://localhost in development."""
    if settings.production or request.scope["scheme"] not in ("http", "ws"):
        return "__Host-"
    host = (_only(request, b"host") or "").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return "" if name in LOOPBACK else "__Host-"
