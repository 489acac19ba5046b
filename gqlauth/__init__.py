"""Sign-up, login, sessions and permissions for GraphQL in Python: the public names."""

from gqlauth.auth import Auth
from gqlauth.context import Context, Viewer
from gqlauth.documents import Limits
from gqlauth.errors import AuthError, AuthErrorCode, ConfigurationError, Forbidden, Unauthenticated
from gqlauth.permissions import IsAuthenticated
from gqlauth.schema import Mutation, Query, Schema, Subscription
from gqlauth.settings import Settings

__all__ = [
    "Auth",
    "AuthError",
    "AuthErrorCode",
    "ConfigurationError",
    "Context",
    "Forbidden",
    "IsAuthenticated",
    "Limits",
    "Mutation",
    "Query",
    "Schema",
    "Settings",
    "Subscription",
    "Unauthenticated",
    "Viewer",
]
