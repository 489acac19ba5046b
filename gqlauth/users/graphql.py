"""The account as clients see it."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any, Self

import strawberry

from gqlauth.context import Profile, Viewer
from gqlauth.fields import keep_names
from gqlauth.users.models import UserColumns


@keep_names
@strawberry.type(description="An account.")
class User:
    """GraphQL's `User`. A host's subclass takes its place: see `gqlauth.Schema`."""

    id: strawberry.ID = strawberry.field(description="A UUID; the access token's `sub`.")
    email: str = strawberry.field(description="As it was given at sign-up.")
    name: str = strawberry.field(description="What the person is called; may be empty.")
    email_verified: bool = strawberry.field(description="Whether the person has shown that the address is theirs.")
    created_at: datetime = strawberry.field(description="When the account was made, in UTC.")

    @classmethod
    def of(cls, user: UserColumns) -> Self:
        """Translate a row. The fields that a host's subclass has added are read off the attributes of that name."""
        return cls(
            id=strawberry.ID(str(user.id)),
            email=user.email,
            name=user.name,
            email_verified=user.email_verified_at is not None,
            created_at=user.created_at,
            **{name: getattr(user, name) for name in added_fields(cls, User)},
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


def user_type(info: strawberry.Info[Any, Any]) -> type[User]:
    """Return the `User` of the schema that is executed: ours, or the host's."""
    found: type[User] = getattr(info.schema, "user_type", User)
    return found


def added_fields(own: type, base: type) -> tuple[str, ...]:
    """Return the names of the fields that a host's subclass adds to one of our types, other than those it resolves."""
    known = {field.name for field in fields(base)}
    return tuple(field.name for field in fields(own) if field.init and field.name not in known)
