"""Sign-up, login, sessions and permissions for GraphQL in Python: the public names."""

from gqlauth.accounts.graphql import AccountMutation, AccountQuery, SignupInput, UpdateProfileInput
from gqlauth.auth import Auth
from gqlauth.context import Context, Viewer
from gqlauth.documents import Limits
from gqlauth.errors import AuthError, AuthErrorCode, ConfigurationError, Forbidden, InvalidInput, Unauthenticated
from gqlauth.permissions import IsAuthenticated
from gqlauth.runtime import Signup
from gqlauth.schema import Mutation, Query, Schema
from gqlauth.sessions.graphql import SessionMutation, SessionQuery
from gqlauth.settings import Settings
from gqlauth.users.graphql import User
from gqlauth.users.models import UserColumns

__all__ = [
    "AccountMutation",
    "AccountQuery",
    "Auth",
    "AuthError",
    "AuthErrorCode",
    "ConfigurationError",
    "Context",
    "Forbidden",
    "InvalidInput",
    "IsAuthenticated",
    "Limits",
    "Mutation",
    "Query",
    "Schema",
    "SessionMutation",
    "SessionQuery",
    "Settings",
    "Signup",
    "SignupInput",
    "Unauthenticated",
    "UpdateProfileInput",
    "User",
    "UserColumns",
    "Viewer",
]
