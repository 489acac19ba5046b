"""What can be refused, and how a refusal is told.

Two outcomes, never mixed: a service that cannot do what it was asked raises an `AuthError`, which a mutation returns as
data; a guard that keeps a viewer out raises a `GuardError`, which GraphQL reports at the top level.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Self

import strawberry
from graphql import GraphQLError
from strawberry.extensions import FieldExtension

from gqlauth.fields import keep_names
from gqlauth.reasons import Reason as Reason

# Of all that is wrong with one request, as much as a person reads.
MAX_REPORTED_ERRORS = 3


class ConfigurationError(Exception):
    """The settings, the database or the keys do not allow a safe start. The message is one line for the operator."""


@strawberry.enum(description="Why a mutation was refused. Clients branch on it; the message is for people.")
class AuthErrorCode(StrEnum):
    """The closed set of codes of `AuthError`."""

    INVALID_CREDENTIALS = "INVALID_CREDENTIALS"
    EMAIL_TAKEN = "EMAIL_TAKEN"
    INVALID_EMAIL = "INVALID_EMAIL"
    WEAK_PASSWORD = "WEAK_PASSWORD"  # noqa: S105 -- a code, not a password
    INVALID_INPUT = "INVALID_INPUT"
    INVALID_TOKEN = "INVALID_TOKEN"  # noqa: S105 -- a code, not a token
    RATE_LIMITED = "RATE_LIMITED"


class AuthError(Exception):
    """A refusal that the caller has to handle. Subclasses live next to the rule that raises them.

    `code` and `message` are told to the client; `field` is the input field at fault in GraphQL spelling; `retry_after`
    is in seconds.
    """

    code: AuthErrorCode
    message: str
    field: str | None = None
    retry_after: int | None = None

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        self.message = message or self.message
        self.field = field or self.field
        super().__init__(self.message)


class InvalidInput(AuthError):
    """A value is outside of what the field allows."""

    code = AuthErrorCode.INVALID_INPUT
    message = "This value is not allowed."


@keep_names
@strawberry.type(name="AuthError", description="The mutation was refused; nothing was changed.")
class AuthErrorType:
    """`AuthError` as GraphQL data."""

    code: AuthErrorCode = strawberry.field(description="What to branch on.")
    message: str = strawberry.field(description="For people, in English, safe to show.")
    field: str | None = strawberry.field(description="The input field at fault, in GraphQL spelling.")
    retry_after: int | None = strawberry.field(description="Seconds to wait before the next try.")

    @classmethod
    def of(cls, error: AuthError) -> Self:
        """Translate a raised refusal."""
        return cls(code=error.code, message=error.message, field=error.field, retry_after=error.retry_after)


class Refusable(FieldExtension):
    """Lets a mutation answer with the `AuthError` that its service raised, under any `strawberry.Schema`."""

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info, **kwargs: Any
    ) -> Any:
        """Run the resolver; turn a refusal into data."""
        try:
            return await next_(source, info, **kwargs)
        except AuthError as error:
            return AuthErrorType.of(error)


class GuardError(GraphQLError):
    """A guard refused the field. `code` and `reason` reach the client as the error's extensions."""

    code: str
    message_for_people: str

    def __init__(self, reason: Reason) -> None:
        super().__init__(self.message_for_people, extensions={"code": self.code, "reason": reason.value})
        self.reason = reason


class Unauthenticated(GuardError):
    """Nobody is signed in, or the token that was sent does not count."""

    code = "UNAUTHENTICATED"
    message_for_people = "Sign in to see this."

    @property
    def challenge(self) -> str:
        """The value of `WWW-Authenticate` that goes with a 401 (RFC 6750 section 3)."""
        return bearer_challenge(self.reason)


class Forbidden(GuardError):
    """Somebody is signed in, but may not do this."""

    code = "FORBIDDEN"
    message_for_people = "You are not allowed to do this."


class ServerBusy(GraphQLError):
    """The server has more to do than it can; `retry_after` is the seconds after which it is worth trying again."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = max(1, math.ceil(retry_after))
        extensions = {"code": "UNAVAILABLE", "retryAfter": self.retry_after}
        super().__init__("The server is busy. Try again later.", extensions=extensions)


def bearer_challenge(reason: str | None) -> str:
    """Return the `WWW-Authenticate` of who is not signed in for this reason (RFC 6750 section 3)."""
    if reason == Reason.TOKEN_MISSING:
        return "Bearer"
    return f'Bearer error="invalid_token", error_description="{reason}"'
