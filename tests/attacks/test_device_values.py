"""The cookie that makes a device known: each has its own, and it opens nothing but its own window of guesses."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support import CHANGE_PASSWORD, LOGIN, LOGOUT, PASSWORD, REFRESH, SIGNUP, GraphQLClient

EMAIL = "ada@example.com"
DEVICE = "__Host-gqlauth-device"
ORIGIN = "https://app.example.com"


class Browser:
    """A browser at an address: it keeps cookies."""

    def __init__(self, client: GraphQLClient, address: str = "192.0.2.7") -> None:
        self.http = TestClient(client.http.app, base_url=ORIGIN, client=(address, 50_000), headers={"origin": ORIGIN})
        self.http.portal = client.http.portal

    def send(self, document: str, variables: dict[str, Any] | None = None) -> Any:
        response = self.http.post("/graphql", json={"query": document, "variables": variables})
        (value,) = response.json()["data"].values()
        return value

    def enter(self, document: str = LOGIN, email: str = EMAIL, password: str = PASSWORD) -> Any:
        return self.send(document, {"input": {"email": email, "password": password, "useCookies": True}})

    @property
    def device(self) -> str | None:
        return self.http.cookies.get(DEVICE)


@pytest.fixture
def browser(client: GraphQLClient) -> Browser:
    browser = Browser(client)
    browser.enter(SIGNUP)
    return browser


def hammer(client: GraphQLClient) -> None:
    """Use up the account's guesses for everybody whom it does not know."""
    for n in range(40):
        Browser(client, f"10.0.{n}.1").enter(password="wrong battery")


def test_each_device_has_a_value_of_its_own(client: GraphQLClient, browser: Browser) -> None:
    values = [browser.device]
    for _ in range(3):
        other = Browser(client)
        other.enter()
        values.append(other.device)
    assert len({value.partition(".")[0] for value in values if value}) == 4
    assert len({value.partition(".")[2] for value in values if value}) == 4


def test_a_device_keeps_its_value_over_logout_and_login_and_loses_it_with_the_password(browser: Browser) -> None:
    value = browser.device
    browser.send(LOGOUT)
    assert browser.device == value
    browser.enter()
    assert browser.device == value
    new = {"input": {"currentPassword": PASSWORD, "newPassword": "another horse battery"}}
    assert browser.send(CHANGE_PASSWORD, new)["__typename"] == "AuthPayload"
    assert browser.device not in (None, value)


def test_the_guesses_of_each_device_are_counted_apart(client: GraphQLClient, browser: Browser) -> None:
    thief = Browser(client, "198.51.100.1")
    other = Browser(client, "192.0.2.8")
    other.enter()
    hammer(client)
    thief.http.cookies.set(DEVICE, other.device or "", domain="app.example.com")
    codes = [thief.enter(password="wrong battery")["code"] for _ in range(31)]
    assert codes[29:] == ["INVALID_CREDENTIALS", "RATE_LIMITED"]
    owner = Browser(client, "198.51.100.2")
    owner.http.cookies.set(DEVICE, browser.device or "", domain="app.example.com")
    assert owner.enter()["__typename"] == "AuthPayload"


def test_no_value_is_made_up_or_of_another_account_or_of_before_the_password_change(
    client: GraphQLClient, browser: Browser
) -> None:
    eve = Browser(client, "203.0.113.9")
    eve.enter(SIGNUP, email="eve@example.com")
    old = browser.device or ""
    new = {"input": {"currentPassword": PASSWORD, "newPassword": "another horse battery"}}
    browser.send(CHANGE_PASSWORD, new)
    random, _, tag = (browser.device or "").partition(".")
    hammer(client)
    made_up = [f"A{random[1:]}.{tag}", f"{random}.", f".{tag}", tag, f"{random}.{tag}=", f"{random}.{tag}.", old]
    for n, value in enumerate([*made_up, eve.device or "", "x" * 8_000, "."]):
        stranger = Browser(client, f"198.51.100.{n}")
        stranger.http.cookies.set(DEVICE, value, domain="app.example.com")
        assert stranger.enter(password="another horse battery")["code"] == "RATE_LIMITED", value
    stranger.http.cookies.set(DEVICE, f"{random}.{tag}", domain="app.example.com")
    assert stranger.enter(password="another horse battery")["__typename"] == "AuthPayload"


def test_a_stolen_session_makes_no_devices(browser: Browser) -> None:
    """Otherwise its thief would guess the password on as many as they like."""
    del browser.http.cookies[DEVICE]
    assert browser.send(REFRESH)["__typename"] == "AuthPayload"
    assert browser.device is None
