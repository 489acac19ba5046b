"""The account in its owner's hands: profile, password, deletion."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from gqlauth import Auth
from tests.support import (
    CHANGE_PASSWORD,
    DELETE_ACCOUNT,
    LOGOUT,
    ME,
    PASSWORD,
    REVOKE_OTHERS,
    SESSIONS,
    UPDATE_PROFILE,
    GraphQLClient,
)
from tests.tables import Session, User

NEW_PASSWORD = "another horse battery"
REVOKED = {"code": "UNAUTHENTICATED", "reason": "SESSION_REVOKED"}


def change(client: GraphQLClient, token: str, current: str, new: str) -> dict[str, Any]:
    variables = {"input": {"currentPassword": current, "newPassword": new}}
    result: dict[str, Any] = client.execute(CHANGE_PASSWORD, variables, token)["changePassword"]
    return result


def delete(client: GraphQLClient, token: str, password: str) -> dict[str, Any]:
    result: dict[str, Any] = client.execute(DELETE_ACCOUNT, {"password": password}, token)["deleteAccount"]
    return result


@pytest.mark.parametrize(
    ("document", "variables"),
    [
        (SESSIONS, None),
        (REVOKE_OTHERS, None),
        (UPDATE_PROFILE, {"input": {}}),
        (CHANGE_PASSWORD, {"input": {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}}),
        (DELETE_ACCOUNT, {"password": PASSWORD}),
    ],
)
def test_what_belongs_to_the_owner_is_guarded(
    client: GraphQLClient, document: str, variables: dict[str, Any] | None
) -> None:
    assert client.refused(document, variables) == {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}


def test_the_profile_changes_where_something_is_given(client: GraphQLClient) -> None:
    token = client.signup(name="Ada")["accessToken"]

    def update(**given: str | None) -> dict[str, Any]:
        result: dict[str, Any] = client.execute(UPDATE_PROFILE, {"input": given}, token)["updateProfile"]
        return result

    assert update(name=" Ada Lovelace ")["name"] == "Ada Lovelace"
    assert update()["name"] == "Ada Lovelace"
    assert update(name=None)["name"] == "Ada Lovelace"
    assert client.me(token)["name"] == "Ada Lovelace"
    refused = update(name="x" * 201)
    assert (refused["code"], refused["field"]) == ("INVALID_INPUT", "name")
    assert update(name="")["name"] == ""


def test_a_password_change_ends_every_session_and_begins_a_new_one(client: GraphQLClient) -> None:
    """ASVS 6.2.3, 7.2.4, 7.4.3."""
    here, there = client.signup(), client.login()
    changed = change(client, here["accessToken"], PASSWORD, NEW_PASSWORD)
    assert changed["__typename"] == "AuthPayload"
    assert client.me(changed["accessToken"]) == here["user"]
    for before in (here, there):
        assert client.refused(ME, token=before["accessToken"]) == REVOKED
    assert [session["current"] for session in client.sessions(changed["accessToken"])] == [True]
    assert client.refresh(there["refreshToken"])["code"] == "INVALID_TOKEN"
    assert client.refresh(here["refreshToken"])["code"] == "INVALID_TOKEN"
    assert client.refresh(changed["refreshToken"])["__typename"] == "AuthPayload"
    assert client.login(password=PASSWORD)["code"] == "INVALID_CREDENTIALS"
    assert client.login(password=NEW_PASSWORD)["__typename"] == "AuthPayload"


def test_a_password_change_wants_the_current_password_and_a_good_new_one(client: GraphQLClient) -> None:
    """ASVS 6.2.3."""
    here, there = client.signup(), client.login()
    wrong = change(client, here["accessToken"], "wrong horse battery", NEW_PASSWORD)
    assert (wrong["code"], wrong["field"]) == ("INVALID_CREDENTIALS", "currentPassword")
    weak = change(client, here["accessToken"], PASSWORD, "password1")
    assert (weak["code"], weak["field"]) == ("WEAK_PASSWORD", "newPassword")
    assert client.me(there["accessToken"]), "a refusal changes nothing"
    assert client.login()["__typename"] == "AuthPayload"


def test_a_deleted_account_is_gone_with_all_that_belonged_to_it(client: GraphQLClient, auth: Auth) -> None:
    """GHSA-2vg6-77g8-24mp (better-auth): sessions outlived the user's deletion."""
    here, there = client.signup(), client.login()
    wrong = delete(client, here["accessToken"], "wrong horse battery")
    assert (wrong["code"], wrong["field"]) == ("INVALID_CREDENTIALS", "password")
    assert delete(client, here["accessToken"], PASSWORD) == {"__typename": "AccountDeleted", "id": here["user"]["id"]}
    for payload in (here, there):
        assert client.refused(ME, token=payload["accessToken"]) == REVOKED
        assert client.refresh(payload["refreshToken"])["code"] == "INVALID_TOKEN"
    assert client.login()["code"] == "INVALID_CREDENTIALS"
    with auth.runtime.database.read() as db:
        for table in (User, Session):
            assert db.scalar(sa.select(sa.func.count()).select_from(table)) == 0
    assert client.signup()["user"]["id"] != here["user"]["id"]


def test_an_ended_session_changes_nothing_any_more(client: GraphQLClient) -> None:
    token = client.signup()["accessToken"]
    client.execute(LOGOUT, token=token)
    variables = {"input": {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}}
    assert client.refused(CHANGE_PASSWORD, variables, token) == REVOKED
    assert client.refused(DELETE_ACCOUNT, {"password": PASSWORD}, token) == REVOKED
