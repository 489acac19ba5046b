"""The documents of the tests, and a client that knows them."""

from __future__ import annotations

from typing import Any

from gqlauth.testing import FrozenClock
from gqlauth.testing.client import GraphQLClient as Client

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


# Our own name for it; most tests take the fixture.
Clock = FrozenClock


class GraphQLClient(Client):
    """Sends our own documents as a user's client would."""

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
