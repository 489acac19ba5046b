"""What signing in answers."""

from __future__ import annotations

from typing import Self

import strawberry

from gqlauth.sessions.service import SignedIn
from gqlauth.users.graphql import User


@strawberry.type(description="Somebody is signed in.")
class AuthPayload:
    """GraphQL's `AuthPayload` (after RFC 6749 section 5.1)."""

    access_token: str = strawberry.field(description="For `Authorization: Bearer …`.")
    token_type: str = strawberry.field(description='Always "Bearer".')
    expires_in: int = strawberry.field(description="Life of the access token, in seconds.")
    refresh_token: str | None = strawberry.field(
        description="Gets the next access token; works once. Null where the browser keeps it in a cookie."
    )
    user: User = strawberry.field(description="Who signed in.")

    @classmethod
    def of(cls, signed_in: SignedIn) -> Self:
        """Translate the service's answer."""
        return cls(
            access_token=signed_in.access_token,
            token_type="Bearer",  # noqa: S106 -- the type's name (RFC 6750), not a secret
            expires_in=signed_in.expires_in,
            refresh_token=signed_in.refresh_token,
            user=User.of(signed_in.user),
        )
