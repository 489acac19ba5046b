"""The clock, the client and the documents of the tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient

PASSWORD = "correct horse battery"

SIGNED_IN = """
  __typename
  ... on AuthPayload { accessToken tokenType expiresIn refreshToken user { id email name emailVerified createdAt } }
  ... on AuthError { code message field retryAfter }
"""
SIGNUP = f"mutation Signup($input: SignupInput!) {{ signup(input: $input) {{ {SIGNED_IN} }} }}"
LOGIN = f"mutation Login($input: LoginInput!) {{ login(input: $input) {{ {SIGNED_IN} }} }}"
REFRESH = f"mutation Refresh($token: String) {{ refreshToken(refreshToken: $token) {{ {SIGNED_IN} }} }}"
SESSIONS = "query { sessions { id current createdAt lastUsedAt expiresAt ipAddress userAgent } }"
LOGOUT = "mutation { logout }"
REVOKE = "mutation Revoke($id: ID!) { revokeSession(id: $id) }"
REVOKE_OTHERS = "mutation { revokeOtherSessions }"
UPDATE_PROFILE = """
  mutation Update($input: UpdateProfileInput!) {
    updateProfile(input: $input) {
      __typename
      ... on User { id email name emailVerified createdAt }
      ... on AuthError { code message field retryAfter }
    }
  }
"""
CHANGE_PASSWORD = f"""
  mutation Change($input: ChangePasswordInput!) {{ changePassword(input: $input) {{ {SIGNED_IN} }} }}
"""
DELETE_ACCOUNT = """
  mutation Delete($password: String!) {
    deleteAccount(password: $password) {
      __typename
      ... on AccountDeleted { id }
      ... on AuthError { code message field retryAfter }
    }
  }
"""
ME = "query Me { me { id email name emailVerified createdAt } }"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let this many seconds pass."""
        self.now += timedelta(seconds=seconds)


class GraphQLClient:
    """Sends documents as a user's client would."""

    def __init__(self, http: TestClient) -> None:
        self.http = http

    def post(self, document: str, variables: dict[str, Any] | None = None, token: str | None = None) -> Response:
        """Send one request and return the whole answer."""
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        body = {"query": document, "variables": variables}
        response: Response = self.http.post("/graphql", json=body, headers=headers)
        return response

    def execute(
        self, document: str, variables: dict[str, Any] | None = None, token: str | None = None
    ) -> dict[str, Any]:
        """Return the data of an answer without errors."""
        answer = self.post(document, variables, token).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def refused(
        self, document: str, variables: dict[str, Any] | None = None, token: str | None = None
    ) -> dict[str, Any]:
        """Return the extensions of the one top-level error that a guard answered with."""
        answer = self.post(document, variables, token).json()
        assert len(answer["errors"]) == 1, answer
        extensions: dict[str, Any] = answer["errors"][0]["extensions"]
        return extensions

    def signup(self, email: str = "ada@example.com", password: str = PASSWORD, name: str = "Ada") -> dict[str, Any]:
        """Sign up and return what `signup` answered."""
        variables = {"input": {"email": email, "password": password, "name": name}}
        result: dict[str, Any] = self.execute(SIGNUP, variables)["signup"]
        return result

    def login(self, email: str = "ada@example.com", password: str = PASSWORD) -> dict[str, Any]:
        """Log in and return what `login` answered."""
        variables = {"input": {"email": email, "password": password}}
        result: dict[str, Any] = self.execute(LOGIN, variables)["login"]
        return result

    def refresh(self, token: str | None, access: str | None = None) -> dict[str, Any]:
        """Exchange a refresh token and return what `refreshToken` answered."""
        result: dict[str, Any] = self.execute(REFRESH, {"token": token}, access)["refreshToken"]
        return result

    def sessions(self, token: str) -> list[dict[str, Any]]:
        """Return the sessions that the token's account sees."""
        result: list[dict[str, Any]] = self.execute(SESSIONS, token=token)["sessions"]
        return result

    def me(self, token: str) -> dict[str, Any]:
        """Return the account that the token signs in."""
        result: dict[str, Any] = self.execute(ME, token=token)["me"]
        return result
