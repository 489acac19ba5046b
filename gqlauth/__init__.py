"""Sign-up, login, sessions and permissions for GraphQL in Python: the public names.

Each is imported when it is first asked for (PEP 562), so that whoever only verifies tokens loads neither the server nor
the database. A new name takes two lines: one for type checkers and editors, one in `HOMES`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gqlauth.accounts.graphql import AccountMutation as AccountMutation
    from gqlauth.accounts.graphql import AccountQuery as AccountQuery
    from gqlauth.accounts.graphql import SignupInput as SignupInput
    from gqlauth.accounts.graphql import UpdateProfileInput as UpdateProfileInput
    from gqlauth.auth import Auth as Auth
    from gqlauth.context import Context as Context
    from gqlauth.context import Viewer as Viewer
    from gqlauth.context import context_of as context_of
    from gqlauth.documents import Limits as Limits
    from gqlauth.errors import AuthError as AuthError
    from gqlauth.errors import AuthErrorCode as AuthErrorCode
    from gqlauth.errors import ConfigurationError as ConfigurationError
    from gqlauth.errors import Forbidden as Forbidden
    from gqlauth.errors import InvalidInput as InvalidInput
    from gqlauth.errors import Unauthenticated as Unauthenticated
    from gqlauth.federation import FederatedSchema as FederatedSchema
    from gqlauth.fields import without as without
    from gqlauth.guards.guard import Guard as Guard
    from gqlauth.guards.placing import guarded as guarded
    from gqlauth.guards.placing import guarded_type as guarded_type
    from gqlauth.guards.placing import public as public
    from gqlauth.guards.viewer import HasRole as HasRole
    from gqlauth.guards.viewer import HasScope as HasScope
    from gqlauth.guards.viewer import IsAuthenticated as IsAuthenticated
    from gqlauth.guards.viewer import IsOwner as IsOwner
    from gqlauth.guards.viewer import IsVerified as IsVerified
    from gqlauth.jwks import KeysUnavailable as KeysUnavailable
    from gqlauth.reasons import Reason as Reason
    from gqlauth.runtime import Signup as Signup
    from gqlauth.schema import Mutation as Mutation
    from gqlauth.schema import Query as Query
    from gqlauth.schema import Schema as Schema
    from gqlauth.schema import Subscription as Subscription
    from gqlauth.sessions.graphql import SessionMutation as SessionMutation
    from gqlauth.sessions.graphql import SessionQuery as SessionQuery
    from gqlauth.sessions.graphql import SessionSubscription as SessionSubscription
    from gqlauth.settings import Settings as Settings
    from gqlauth.tokens import InvalidToken as InvalidToken
    from gqlauth.users.graphql import User as User
    from gqlauth.users.models import UserColumns as UserColumns
    from gqlauth.verify import TokenVerifier as TokenVerifier
    from gqlauth.verify import VerifiedToken as VerifiedToken
    from gqlauth.verify import verify_token as verify_token

HOMES = {
    "AccountMutation": "accounts.graphql",
    "AccountQuery": "accounts.graphql",
    "Auth": "auth",
    "AuthError": "errors",
    "AuthErrorCode": "errors",
    "ConfigurationError": "errors",
    "Context": "context",
    "FederatedSchema": "federation",
    "Forbidden": "errors",
    "Guard": "guards.guard",
    "HasRole": "guards.viewer",
    "HasScope": "guards.viewer",
    "InvalidInput": "errors",
    "InvalidToken": "tokens",
    "IsAuthenticated": "guards.viewer",
    "IsOwner": "guards.viewer",
    "IsVerified": "guards.viewer",
    "KeysUnavailable": "jwks",
    "Limits": "documents",
    "Mutation": "schema",
    "Query": "schema",
    "Reason": "reasons",
    "Schema": "schema",
    "SessionMutation": "sessions.graphql",
    "SessionQuery": "sessions.graphql",
    "SessionSubscription": "sessions.graphql",
    "Settings": "settings",
    "Signup": "runtime",
    "SignupInput": "accounts.graphql",
    "Subscription": "schema",
    "TokenVerifier": "verify",
    "Unauthenticated": "errors",
    "UpdateProfileInput": "accounts.graphql",
    "User": "users.graphql",
    "UserColumns": "users.models",
    "VerifiedToken": "verify",
    "Viewer": "context",
    "context_of": "context",
    "guarded": "guards.placing",
    "guarded_type": "guards.placing",
    "public": "guards.placing",
    "verify_token": "verify",
    "without": "fields",
}
__all__ = list(HOMES)

# Type checkers must not see this one: to them, any name would then be there.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import the name from the module where it lives, once."""
        if name not in HOMES:
            raise AttributeError(f"module 'gqlauth' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"gqlauth.{HOMES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
