"""Sign-up, login, sessions and permissions for GraphQL in Python: the public names."""

from gqlauth.auth import Auth
from gqlauth.context import Context, Viewer, context_of
from gqlauth.documents import Limits
from gqlauth.errors import AuthError, AuthErrorCode, ConfigurationError, Forbidden, Reason, Unauthenticated
from gqlauth.federation import FederatedSchema
from gqlauth.guards import HasRole, HasScope, IsAuthenticated, IsOwner, IsVerified
from gqlauth.permissions import guarded, guarded_type, public
from gqlauth.rules import Guard
from gqlauth.schema import Mutation, Query, Schema
from gqlauth.settings import Settings

__all__ = [
    "Auth",
    "AuthError",
    "AuthErrorCode",
    "ConfigurationError",
    "Context",
    "FederatedSchema",
    "Forbidden",
    "Guard",
    "HasRole",
    "HasScope",
    "IsAuthenticated",
    "IsOwner",
    "IsVerified",
    "Limits",
    "Mutation",
    "Query",
    "Reason",
    "Schema",
    "Settings",
    "Unauthenticated",
    "Viewer",
    "context_of",
    "guarded",
    "guarded_type",
    "public",
]
