"""Cookie mode: tokens out of reach of scripts, and no other site that acts with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from httpx2 import Response
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gqlauth import Auth, Settings
from gqlauth.app import create_schema
from gqlauth.settings import ORIGIN as ORIGIN_FORM
from tests.support import CHANGE_PASSWORD, LOGIN, LOGOUT, ME, PASSWORD, REFRESH, SIGNUP, Clock, GraphQLClient

ORIGIN = "https://app.example.com"
SAME_ORIGIN = {"origin": ORIGIN}
ASKING = {"input": {"email": "ada@example.com", "password": PASSWORD, "useCookies": True}}
MISSING = {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}
PREFIXED = ["__Host-gqlauth-access", "__Host-gqlauth-refresh", "__Host-gqlauth-device"]
NOT_ALLOWED = {"code": "UNAUTHENTICATED", "reason": "ORIGIN_NOT_ALLOWED"}

Open = Callable[..., TestClient]


@pytest.fixture
def browser(settings: Settings, clock: Clock) -> Iterator[Open]:
    """Opens a browser's connection to a server: it keeps cookies as a browser would."""
    opened: list[TestClient] = []

    def open(url: str = ORIGIN, **changes: Any) -> TestClient:
        auth = Auth(msgspec.structs.replace(settings, **changes), clock=clock)
        app = Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)
        http = TestClient(app, base_url=url, client=("127.0.0.1", 50_000))
        opened.append(http.__enter__())
        return http

    yield open
    for http in opened:
        http.__exit__(None, None, None)


def send(
    http: TestClient, document: str, variables: dict[str, Any] | None = None, headers: dict[str, str] = SAME_ORIGIN
) -> Response:
    response: Response = http.post("/graphql", json={"query": document, "variables": variables}, headers=headers)
    return response


def refusal(response: Response) -> dict[str, Any]:
    extensions: dict[str, Any] = response.json()["errors"][0]["extensions"]
    return extensions


def tokens(response: Response) -> tuple[str | None, str | None]:
    """Return what a script gets of an AuthPayload's tokens."""
    (payload,) = response.json()["data"].values()
    assert payload["__typename"] == "AuthPayload"
    assert payload["expiresIn"] > 0
    return payload["accessToken"], payload["refreshToken"]


def test_a_sign_in_that_asks_for_cookies_gets_its_tokens_in_host_cookies(browser: Open) -> None:
    response = send(browser(), SIGNUP, ASKING)
    assert tokens(response) == (None, None)
    cookies = response.headers.get_list("set-cookie")
    assert [cookie.partition("=")[0] for cookie in cookies] == PREFIXED
    for cookie, seconds in zip(cookies, (2_592_000, 2_592_000, 31_536_000), strict=True):
        assert cookie.partition(";")[2] == f" HttpOnly; Max-Age={seconds}; Path=/; SameSite=lax; Secure"


def test_the_setting_puts_every_sign_in_into_cookies(browser: Open) -> None:
    plain = {"input": {"email": "ada@example.com", "password": PASSWORD}}
    response = send(browser(cookies=True), SIGNUP, plain)
    assert tokens(response) == (None, None)
    assert len(response.headers.get_list("set-cookie")) == 3


def test_without_being_asked_for_there_are_no_cookies(client: GraphQLClient) -> None:
    client.signup()
    assert not client.http.cookies


def test_plain_names_only_on_localhost_and_never_in_production(browser: Open) -> None:
    names = [
        [cookie.partition("=")[0] for cookie in send(http, document, ASKING).headers.get_list("set-cookie")]
        for http, document in [
            (browser("http://localhost:8000"), SIGNUP),
            (browser("http://intranet:8000"), LOGIN),
            (browser("http://localhost:8000", environment="production", bcrypt_cost=10, **KEY), LOGIN),
        ]
    ]
    assert names == [["gqlauth-access", "gqlauth-refresh", "gqlauth-device"], PREFIXED, PREFIXED]


KEY = {"algorithm": "HS256", "secret_key": "Zk3vQ8m1XwLr5tYb7NcJp2HsDf9GuAeK"}


def test_the_whole_life_of_a_browser(browser: Open, clock: Clock) -> None:
    http = browser()
    send(http, SIGNUP, ASKING)
    assert send(http, ME).json()["data"]["me"]["email"] == "ada@example.com"
    clock.advance(901)
    assert refusal(send(http, ME))["reason"] == "TOKEN_EXPIRED"
    assert tokens(send(http, REFRESH)) == (None, None)
    assert send(http, ME).json()["data"]["me"]["email"] == "ada@example.com"
    change = {"input": {"currentPassword": PASSWORD, "newPassword": "another horse battery"}}
    assert tokens(send(http, CHANGE_PASSWORD, change)) == (None, None)
    assert send(http, ME).json()["data"]["me"]["email"] == "ada@example.com"
    clock.advance(901)
    response = send(http, LOGOUT)
    assert response.json() == {"data": {"logout": True}}, "an expired access token does not keep anybody signed in"
    assert [cookie.partition("; ")[0] for cookie in response.headers.get_list("set-cookie")] == [
        '__Host-gqlauth-access=""',
        '__Host-gqlauth-refresh=""',
    ]
    assert refusal(send(http, ME)) == MISSING


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ORIGIN + ".evil.example"},
        {"origin": "https://app.example.com:8443"},
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "http://["},
        {"origin": "http://"},
        {"origin": "https://\u2100.example".encode()},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
def test_cookies_do_not_count_for_another_site(browser: Open, headers: dict[str, str]) -> None:
    """ASVS 3.5.1."""
    http = browser()
    send(http, SIGNUP, ASKING)
    assert refusal(send(http, ME, headers=headers)) == NOT_ALLOWED
    assert send(http, LOGOUT, headers=headers).json() == {"data": {"logout": False}}
    assert send(http, REFRESH, headers=headers).json()["data"]["refreshToken"]["code"] == "INVALID_TOKEN"
    assert send(http, ME).json()["data"]["me"]["email"] == "ada@example.com"


@pytest.mark.parametrize(
    "headers", [{"origin": ORIGIN}, {"sec-fetch-site": "same-origin"}, {"origin": "https://partner.example"}]
)
def test_cookies_count_for_pages_of_ours_and_of_configured_origins(browser: Open, headers: dict[str, str]) -> None:
    http = browser(cors_origins=("https://partner.example",))
    send(http, SIGNUP, ASKING)
    assert send(http, ME, headers=headers).json()["data"]["me"]["email"] == "ada@example.com"


@pytest.mark.parametrize(
    ("url", "public_url", "headers"),
    [
        # The request came by https, or the public URL says that people come so.
        (ORIGIN, "http://127.0.0.1:8000", {"origin": "http://app.example.com"}),
        (ORIGIN, "http://app.example.com", {"origin": "http://app.example.com"}),
        (ORIGIN, "http://127.0.0.1:8000", {"origin": "http://127.0.0.1:8000"}),
        ("http://app.example.com", ORIGIN, {"origin": "http://app.example.com"}),
        ("http://app.example.com", "http://internal:8000", {"origin": "http://app.example.com", "forwarded": "https"}),
        # A port is part of an origin.
        (ORIGIN, ORIGIN, {"origin": "https://app.example.com:8443"}),
        (ORIGIN, ORIGIN, {"origin": "https://app.example.com:80"}),
        (ORIGIN, "http://internal:8000", {"origin": ORIGIN, "host": "app.example.com:8443"}),
        ("http://app.example.com", "http://internal:8000", {"origin": "http://app.example.com:443"}),
        ("http://app.example.com", "http://internal:8000", {"origin": "http://internal"}),
        # None is another's.
        (ORIGIN, ORIGIN, {"origin": "ws://app.example.com"}),
        (ORIGIN, ORIGIN, {"origin": "https://", "host": ""}),
    ],
)
def test_an_origin_of_another_scheme_or_port_does_not_count(
    browser: Open, url: str, public_url: str, headers: dict[str, str]
) -> None:
    """RFC 6454 section 4: anyone on the network can write a page that comes by http."""
    assert counts(browser, url, public_url, headers) == NOT_ALLOWED
    if ORIGIN_FORM.fullmatch(headers["origin"]):
        assert counts(browser, url, public_url, headers, cors_origins=(headers["origin"],)) == MISSING


def counts(browser: Open, url: str, public_url: str, headers: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Return why nobody is signed in by a device's cookie: for its origin, or because it is no access token."""
    http = browser(url, public_url=public_url, trusted_proxies=("127.0.0.1",), **changes)
    forwarded = {"x-forwarded-proto": headers["forwarded"]} if "forwarded" in headers else {}
    sent = {name: value for name, value in headers.items() if name != "forwarded"} | forwarded
    return refusal(send(http, ME, headers={**sent, "cookie": "__Host-gqlauth-device=x"}))


@pytest.mark.parametrize(
    ("url", "public_url", "headers"),
    [
        (ORIGIN, "http://127.0.0.1:8000", {"origin": ORIGIN}),
        (ORIGIN, "http://127.0.0.1:8000", {"origin": ORIGIN, "host": "app.example.com:443"}),
        (ORIGIN, "http://127.0.0.1:8000", {"origin": ORIGIN, "host": "APP.example.com"}),
        # A proxy that ends TLS, and one that changes Host, too.
        ("http://app.example.com", "http://127.0.0.1:8000", {"origin": ORIGIN}),
        ("http://internal:8000", ORIGIN, {"origin": ORIGIN}),
        ("http://internal:8000", ORIGIN + ":443", {"origin": ORIGIN}),
        ("http://intranet", "http://127.0.0.1:8000", {"origin": "http://intranet"}),
        ("http://intranet", "http://127.0.0.1:8000", {"origin": "http://intranet", "host": "intranet:80"}),
        (ORIGIN, ORIGIN, {"origin": "http://app.example.com", "sec-fetch-site": "same-origin"}),
    ],
)
def test_our_own_origin_counts_however_it_is_reached(
    browser: Open, url: str, public_url: str, headers: dict[str, str]
) -> None:
    assert counts(browser, url, public_url, headers) == MISSING


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_of_another_site_is_not_even_read(browser: Open, content_type: str) -> None:
    """ASVS 3.5.2; strawberry PR 3645: mutations by multipart form from another site."""
    http = browser()
    send(http, SIGNUP, ASKING)
    response = http.post("/graphql", content='{"query":"mutation { logout }"}', headers={"content-type": content_type})
    assert response.status_code == 415
    assert send(http, ME).json()["data"]["me"]["email"] == "ada@example.com"


def test_a_bearer_token_counts_alone(browser: Open) -> None:
    http = browser()
    send(http, SIGNUP, ASKING)
    eve = {"input": {"email": "eve@example.com", "password": PASSWORD}}
    token = send(http, SIGNUP, eve).json()["data"]["signup"]["accessToken"]
    bearer = {"authorization": f"Bearer {token}"} | SAME_ORIGIN
    assert send(http, ME, headers=bearer).json()["data"]["me"]["email"] == "eve@example.com"
    broken = {"authorization": "Bearer nonsense"} | SAME_ORIGIN
    assert refusal(send(http, ME, headers=broken))["reason"] == "TOKEN_INVALID"
    assert send(http, REFRESH, headers=broken).json()["data"]["refreshToken"]["code"] == "INVALID_TOKEN"


def test_a_host_cookie_under_its_plain_name_does_not_count(browser: Open) -> None:
    """A page on a sister domain can set plain cookies for us, but none that is called __Host-."""
    http = browser()
    token = send(http, SIGNUP, {"input": ASKING["input"] | {"useCookies": False}}).json()["data"]["signup"]
    headers = SAME_ORIGIN | {"cookie": f"gqlauth-access={token['accessToken']}"}
    assert refusal(send(http, ME, headers=headers)) == MISSING
