"""Cookie mode: the tokens in cookies that no script can read, and the check that no other site acts with them.

A browser sends cookies along with whatever any page makes it send. So a request's cookies count only if the browser
says that a page of ours, or of a configured origin, made the request (ASVS 3.5.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.responses import Response

from gqlauth.settings import Settings

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ACCESS, REFRESH, DEVICE = "gqlauth-access", "gqlauth-refresh", "gqlauth-device"
DEVICE_SECONDS = 365 * 86_400


class OriginNotAllowed(Exception):
    """The request brings our cookies, but nothing shows that it comes from a page of ours."""


@dataclass(frozen=True, slots=True)
class Cookies:
    """What a browser keeps for us: the tokens of a session, and that somebody signed in on this device before."""

    access_token: str | None
    refresh_token: str | None
    device: str | None


def read(request: HTTPConnection, settings: Settings) -> Cookies | None:
    """Return what is ours of the request's cookies, or None if nothing is. Raise `OriginNotAllowed`."""
    prefix = _prefix(request, settings)
    cookies = request.cookies
    found = Cookies(cookies.get(prefix + ACCESS), cookies.get(prefix + REFRESH), cookies.get(prefix + DEVICE))
    if found == Cookies(None, None, None):
        return None
    if not is_ours(request, settings):
        raise OriginNotAllowed
    return found


def write(request: HTTPConnection, response: Response, settings: Settings, kept: Cookies, seconds: int) -> None:
    """Let the browser keep the tokens for `seconds`.

    The access token's cookie outlives the token, so that a client is told TOKEN_EXPIRED and knows to refresh.
    """
    for name, value, life in (
        (ACCESS, kept.access_token, seconds),
        (REFRESH, kept.refresh_token, seconds),
        (DEVICE, kept.device, DEVICE_SECONDS),
    ):
        _set(request, response, settings, name, value or "", life)


def clear(request: HTTPConnection, response: Response, settings: Settings) -> None:
    """Let the browser forget the tokens."""
    for name in (ACCESS, REFRESH):
        _set(request, response, settings, name, "", 0)


def _set(request: HTTPConnection, response: Response, settings: Settings, name: str, value: str, seconds: int) -> None:
    prefix = _prefix(request, settings)
    response.set_cookie(
        prefix + name, value, max_age=seconds, path="/", secure=bool(prefix), httponly=True, samesite="lax"
    )


def _prefix(request: HTTPConnection, settings: Settings) -> str:
    """Return `__Host-`, which binds a cookie to https and to one host; nothing on http://localhost in development."""
    local = request.url.scheme in ("http", "ws") and request.url.hostname in LOOPBACK
    return "" if local and not settings.production else "__Host-"


def is_ours(request: HTTPConnection, settings: Settings) -> bool:
    """Tell whether the browser says that a page of ours made this request."""
    if request.headers.get("sec-fetch-site") == "same-origin":
        return True
    origin = request.headers.get("origin")
    if origin is None:
        return False
    if origin in settings.cors_origins or origin == settings.public_url:
        return True
    # A proxy that ends TLS changes the scheme, not the host. No page can set Host.
    scheme, _, host = origin.partition("://")
    return scheme in ("http", "https") and host == request.headers.get("host")
