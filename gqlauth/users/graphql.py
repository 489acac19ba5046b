"""The account as clients see it."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry

from gqlauth.context import Profile, Viewer
from gqlauth.users import models


@strawberry.type(description="An account.")
class User:
    """GraphQL's `User`."""

    id: strawberry.ID = strawberry.field(description="A UUID; the access token's `sub`.")
    email: str = strawberry.field(description="As it was given at sign-up.")
    name: str = strawberry.field(description="What the person is called; may be empty.")
    email_verified: bool = strawberry.field(description="Whether the person has shown that the address is theirs.")
    created_at: datetime = strawberry.field(description="When the account was made, in UTC.")

    @classmethod
    def of(cls, user: models.User) -> Self:
        """Translate a row."""
        return cls(
            id=strawberry.ID(str(user.id)),
            email=user.email,
            name=user.name,
            email_verified=user.email_verified_at is not None,
            created_at=user.created_at,
        )

    @classmethod
    def of_viewer(cls, viewer: Viewer, profile: Profile) -> Self:
        """Translate what the request has read anyway, so that `me` costs no second statement."""
        return cls(
            id=strawberry.ID(str(viewer.user_id)),
            email=profile.email,
            name=profile.name,
            email_verified=profile.email_verified,
            created_at=profile.created_at,
        )
