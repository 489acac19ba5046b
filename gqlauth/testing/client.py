"""Clients for tests: they send documents as a user's client would, and can be anybody."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from httpx2 import Response
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from gqlauth.auth import Auth
from gqlauth.sessions.service import SignedIn, end_by_refresh_token
from gqlauth.settings import Settings
from gqlauth.testing import accounts
from gqlauth.testing.harness import refuse_production, under_test
from gqlauth.users.models import UserColumns


class GraphQLClient:
    """Sends documents. `http` is what sends them, for whatever is not GraphQL; it has cookies of its own."""

    def __init__(self, http: TestClient, *, path: str = "/graphql") -> None:
        self.http = http
        self.path = path

    def post(self, document: str, variables: dict[str, Any] | None = None, token: str | None = None) -> Response:
        """Send one request and return the whole answer. `token` is an access token to send in place of the client's."""
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        body = {"query": document, "variables": variables}
        response: Response = self.http.post(self.path, json=body, headers=headers)
        return response

    def execute(
        self, document: str, variables: dict[str, Any] | None = None, token: str | None = None
    ) -> dict[str, Any]:
        """Return the data of an answer without errors. Raises `AssertionError` that shows them if there are any."""
        __tracebackhide__ = True
        answer = _read(self.post(document, variables, token))
        if "errors" in answer:
            raise AssertionError(f"the answer has errors: {_show(answer)}")
        data: dict[str, Any] = answer["data"]
        return data

    def refused(
        self, document: str, variables: dict[str, Any] | None = None, token: str | None = None
    ) -> dict[str, Any]:
        """Return the extensions of the one top-level error that a guard answered with: `code`, `reason` and the like.

        Raises `AssertionError` that shows the answer if there are none, or several.
        """
        __tracebackhide__ = True
        answer = _read(self.post(document, variables, token))
        if len(answer.get("errors", [])) != 1:
            raise AssertionError(f"this was not refused with one error: {_show(answer)}")
        extensions: dict[str, Any] = answer["errors"][0].get("extensions", {})
        return extensions


class AuthClient(GraphQLClient):
    """A client with nobody signed in, who can make others that are somebody."""

    def __init__(self, http: TestClient, auth: Auth[Any], *, path: str = "/graphql") -> None:
        super().__init__(http, path=path)
        self.auth = auth

    def anonymous(self) -> AuthClient:
        """Return another client with cookies of its own and nobody signed in."""
        return AuthClient(_another(self.http), self.auth, path=self.path)

    def login_as(
        self,
        user: str | UserColumns,
        *,
        roles: Iterable[str] | None = None,
        scopes: Iterable[str] | None = None,
        verified: bool = True,
        name: str | None = None,
        **columns: Any,
    ) -> UserClient:
        """Return a new client that is signed in as this user; this one stays as it is.

        `user` is an e-mail address, and an account is made where there is none; or a user out of the database. No
        password is hashed, and none opens a new account; the session and its tokens are made as by any other sign-in.
        The user has exactly these `roles` and `scopes` then; None leaves those that there are. `verified` says whether
        the e-mail address is. `columns` are those of your own class for users. `before_signup` is not asked.

        Raises `ConfigurationError` in production, `AuthError` for what is no e-mail address, name or role, `TypeError`
        for a column that is unknown or lacking, and `LookupError` for a user who is not in the database.
        """
        refuse_production(self.auth.settings)
        runtime = self.auth.runtime
        email = accounts.ensure(runtime, user, verified=verified, name=name, columns=columns)
        accounts.set_grants(runtime, email, "role", roles)
        accounts.set_grants(runtime, email, "scope", scopes)
        return UserClient(_another(self.http), self.auth, accounts.sign_in(runtime, email), path=self.path)


class UserClient(AuthClient):
    """A client that is signed in: every request has the access token, also those by `http`."""

    def __init__(self, http: TestClient, auth: Auth[Any], signed_in: SignedIn, *, path: str = "/graphql") -> None:
        super().__init__(http, auth, path=path)
        self.token = signed_in.access_token
        self.refresh_token = signed_in.refresh_token
        self.user_id = signed_in.user.id
        self.email = signed_in.user.email
        http.headers["authorization"] = f"Bearer {self.token}"

    def logout(self) -> Self:
        """End the session. The client goes on sending its token, which counts no longer."""
        runtime = self.auth.runtime
        end_by_refresh_token(runtime, token=self.refresh_token, client=accounts.CLIENT)
        return self


@contextmanager
def serving(app: ASGIApp, auth: Auth[Any], settings: Settings, *, path: str = "/graphql") -> Iterator[AuthClient]:
    """Run the application with its lifespan, and return a client of it. Raises `ConfigurationError` in production."""
    with under_test(auth, settings), TestClient(app, client=accounts.PEER) as http:
        yield AuthClient(http, auth, path=path)


def _another(http: TestClient) -> TestClient:
    """Return a client of the same application on the same event loop, with cookies and headers of its own."""
    another = TestClient(http.app, base_url=str(http.base_url), client=accounts.PEER)
    another.portal = http.portal
    return another


def _read(response: Response) -> dict[str, Any]:
    __tracebackhide__ = True
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not answer.keys() & {"data", "errors"}:
        raise AssertionError(f"{response.url} did not answer with GraphQL but {response.status_code}: {response.text}")
    return answer


def _show(answer: dict[str, Any]) -> str:
    return json.dumps(answer, indent=2, ensure_ascii=False)
