"""Cookies that another site of the same domain has set, under names that are almost ours (cookie tossing)."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.attackers import JSON, send
from tests.processes import Server
from tests.support import LOGIN, ME, PASSWORD, REFRESH, SIGNUP

ACCESS, REFRESHED = b"gqlauth-access", b"gqlauth-refresh"
MISSING, INVALID = "TOKEN_MISSING", "TOKEN_INVALID"


def ask(
    target: Server,
    document: str,
    *lines: bytes,
    variables: dict[str, Any] | None = None,
    origin: bytes | None = None,
) -> dict[str, Any]:
    """Send exactly these header lines, as a page of this origin (or of our own) would; return the answer's body."""
    body = json.dumps({"query": document, "variables": variables}).encode()
    host = b"localhost:%d" % target.address[1]
    head = [
        b"POST /graphql HTTP/1.1",
        b"host: " + host,
        b"origin: " + (origin or b"http://" + host),
        b"content-type: " + JSON.encode(),
        b"content-length: %d" % len(body),
        *lines,
    ]
    answer = send(target, b"\r\n".join(head) + b"\r\n\r\n" + body, ends=True)
    result: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return result


def sign_up(target: Server) -> tuple[str, bytes, bytes]:
    """Make an account; return its address and its tokens."""
    email = f"{uuid4().hex}@example.com"
    payload = ask(target, SIGNUP, variables={"input": {"email": email, "password": PASSWORD}})["data"]["signup"]
    return email, payload["accessToken"].encode(), payload["refreshToken"].encode()


def who(target: Server, *lines: bytes, origin: bytes | None = None) -> str:
    """Return who is signed in by these header lines, or the reason (or code) why nobody is."""
    answer = ask(target, ME, *lines, origin=origin)
    if "errors" in answer:
        extensions = answer["errors"][0]["extensions"]
        return str(extensions.get("reason", extensions["code"]))
    return str(answer["data"]["me"]["email"])


def test_our_own_cookies_count(target: Server) -> None:
    email, access, _ = sign_up(target)
    own = ACCESS + b"=" + access
    for cookie in (own, b"a=b; " + own, own + b"; c", b"a=b;" + own, b" a=b;  " + own + b" ", b"a;\t" + own):
        assert who(target, b"cookie: " + cookie) == email
    # HTTP/2 may part them.
    assert who(target, b"cookie: a=b", b"cookie: " + own, b"cookie: c=d") == email


@pytest.mark.parametrize(
    "name",
    [
        b"\xa0%s",
        b"\xc2\xa0%s",
        b"\x85%s",
        b"\xc2\x85%s",
        b"%s\xa0",
        b"%s\x85",
        b"%s ",
        b"%s\t",
        b"\xe2\x80\x83%s",
        b"$%s",
        b'"%s"',
        b"%s\xad",
        b"GQLAUTH-ACCESS%.0s",
        b"gqlauth%%2daccess%.0s",
        b"__Host-%s",
        b"x=y,%s",
    ],
)
def test_a_name_that_is_almost_ours_is_nobody(target: Server, name: bytes) -> None:
    _, access, _ = sign_up(target)
    assert who(target, b"cookie: " + name % ACCESS + b"=" + access) == MISSING


@pytest.mark.parametrize("name", [b"\xa0%s", b"\x85%s", b"%s\x85"])
def test_a_refresh_does_not_move_the_victim_into_another_account(target: Server, name: bytes) -> None:
    victim, access, refresh = sign_up(target)
    _, evil_access, evil_refresh = sign_up(target)
    evil = [name % ACCESS + b"=" + evil_access, name % REFRESHED + b"=" + evil_refresh]
    own = [ACCESS + b"=" + access, REFRESHED + b"=" + refresh]
    for cookies in (evil + own, own + evil):
        line = b"cookie: " + b"; ".join(cookies)
        assert who(target, line) == victim
        assert ask(target, REFRESH, line)["data"]["refreshToken"]["user"]["email"] == victim


def test_two_cookies_of_one_name_are_refused_and_keep_nobody_from_signing_in(target: Server) -> None:
    email, access, refresh = sign_up(target)
    _, evil, evil_refresh = sign_up(target)
    own, other = ACCESS + b"=" + access, ACCESS + b"=" + evil
    for lines in (
        (b"cookie: " + own + b"; " + other,),
        (b"cookie: " + other + b"; " + own,),
        (b"cookie: " + own, b"cookie: " + other),
        (b"cookie: " + own + b"; " + own,),
        (b"cookie: " + own + b"; %s=%s; %s=%s" % (REFRESHED, refresh, REFRESHED, evil_refresh),),
        (b"cookie: " + own + b"; gqlauth-device=a; gqlauth-device=b",),
    ):
        assert who(target, *lines) == INVALID
        assert ask(target, REFRESH, *lines)["data"]["refreshToken"]["code"] == "INVALID_TOKEN"
        answer = ask(target, LOGIN, *lines, variables={"input": {"email": email, "password": PASSWORD}})
        assert answer["data"]["login"]["user"]["email"] == email


def test_a_token_of_other_characters_is_invalid(target: Server) -> None:
    _, access, _ = sign_up(target)
    for value in (b"\xa0" + access, access + b"\x85", access + "é".encode(), b'"' + access + b'"', b""):
        assert who(target, b"cookie: " + ACCESS + b"=" + value) == INVALID
        if value:
            assert who(target, b"authorization: Bearer " + value) == INVALID


@pytest.mark.parametrize(
    ("lines", "refusal"),
    [
        ((b"sec-fetch-site: \xa0same-origin",), "ORIGIN_NOT_ALLOWED"),
        ((b"sec-fetch-site: same-origin\x85",), "ORIGIN_NOT_ALLOWED"),
        ((b"sec-fetch-site: Same-Origin",), "ORIGIN_NOT_ALLOWED"),
        ((b"sec-fetch-site: same-origin", b"sec-fetch-site: cross-site"), "BAD_REQUEST"),
        ((b"origin: http://localhost",), "BAD_REQUEST"),
    ],
)
def test_a_header_that_is_almost_right_or_comes_twice_makes_no_page_ours(
    target: Server, lines: tuple[bytes, ...], refusal: str
) -> None:
    _, access, _ = sign_up(target)
    cookie = b"cookie: " + ACCESS + b"=" + access
    assert who(target, cookie, *lines, origin=b"http://evil.example") == refusal


def test_a_host_that_is_none_is_no_error_on_our_side(target: Server) -> None:
    body = json.dumps({"query": ME}).encode()
    for host in (b"[", b"]", b"localhost\xa0", b"a:b:c", b"@", b"\xbd"):
        head = b"POST /graphql HTTP/1.1\r\nhost: %s\r\ncontent-type: application/json\r\ncookie: %s=x\r\n"
        head = head % (host, ACCESS) + b"content-length: %d\r\n\r\n" % len(body)
        answer = send(target, head + body, ends=True)
        assert int(answer.split()[1]) in (200, 400), (host, answer)
