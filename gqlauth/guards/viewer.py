"""The guards that ask about the viewer."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from inspect import Parameter
from typing import Any
from uuid import UUID

from strawberry.schema_directive import Location, schema_directive

from gqlauth.context import Viewer, context_of
from gqlauth.errors import Forbidden, Reason, Unauthenticated
from gqlauth.guards.guard import Guard, Info, Not, Refusal, then

Owner = UUID | str | None
FIELD = [Location.FIELD_DEFINITION]


class ViewerGuard(Guard):
    """A guard about the viewer who is signed in. A new one sets `reason` and overrides `holds`.

    Anonymous callers are refused with what is wrong with their token, all others with `reason`.
    """

    reason = Reason.NOT_ALLOWED

    def check(self, source: Any, info: Info, arguments: dict[str, Any]) -> Refusal | Awaitable[Refusal]:
        try:
            viewer = context_of(info).viewer
        except Unauthenticated as refusal:
            return refusal
        return then(self.holds(viewer, source, info, arguments), self._answer)

    def holds(self, viewer: Viewer, source: Any, info: Info, arguments: dict[str, Any]) -> bool | Awaitable[bool]:
        """Return whether the viewer may have the field, or an awaitable of that."""
        raise NotImplementedError

    def _answer(self, holds: bool) -> Refusal:
        return None if holds else Forbidden(self.reason)


# The names of directives are fixed, however the host's schema spells names.
@schema_directive(locations=FIELD, name="isAuthenticated", description="Requires a signed-in user.")
class IsAuthenticatedDirective:
    """The directive of `IsAuthenticated`."""


@schema_directive(locations=FIELD, name="isVerified", description="Requires a verified email address.")
class IsVerifiedDirective:
    """The directive of `IsVerified`."""


@schema_directive(locations=FIELD, name="hasRole", repeatable=True, description="Requires at least one of these roles.")
class HasRoleDirective:
    """The directive of `HasRole`."""

    roles: list[str]


@schema_directive(locations=FIELD, name="hasScope", repeatable=True, description="Requires all of these scopes.")
class HasScopeDirective:
    """The directive of `HasScope`."""

    scopes: list[str]


class IsAuthenticated(ViewerGuard):
    """Requires a signed-in user: the token is valid, its session is alive, and the account is enabled.

    `~IsAuthenticated()` requires the opposite. It is the one negation that lets anonymous callers in.
    """

    directive = IsAuthenticatedDirective()

    def holds(self, viewer: Viewer, source: Any, info: Info, arguments: dict[str, Any]) -> bool:
        return True

    def __invert__(self) -> Guard:
        return Anonymous(self) if type(self) is IsAuthenticated else super().__invert__()


class Anonymous(Not):
    """`~IsAuthenticated()`: no token was sent, or the token that was sent is not valid."""

    def negate(self, refusal: Refusal) -> Refusal:
        return Forbidden(Reason.NOT_ALLOWED) if refusal is None else None


class IsVerified(ViewerGuard):
    """Requires an account whose email address has been verified."""

    reason = Reason.EMAIL_NOT_VERIFIED
    directive = IsVerifiedDirective()

    def holds(self, viewer: Viewer, source: Any, info: Info, arguments: dict[str, Any]) -> bool:
        return viewer.email_verified


class NamesGuard(ViewerGuard):
    """A guard that asks for names. Raises `TypeError` if it has none, or if one is no text: it would guard nothing."""

    def __init__(self, *names: str) -> None:
        if not names or not all(isinstance(name, str) and name for name in names):
            kind = type(self).__name__
            raise TypeError(f'{kind} wants names, as in {kind}("a", "b").')
        self.names = [str(name) for name in names]

    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.names)})"


class HasRole(NamesGuard):
    """Requires at least one of the roles, as the account has them at the time of the request.

    With `GQLAUTH_STATELESS`, they are those that the access token names.
    """

    reason = Reason.ROLE_REQUIRED

    def holds(self, viewer: Viewer, source: Any, info: Info, arguments: dict[str, Any]) -> bool:
        return not viewer.roles.isdisjoint(self.names)

    @property
    def schema_directive(self) -> object:
        return HasRoleDirective(roles=self.names)


class HasScope(NamesGuard):
    """Requires all of the scopes, as the account has them at the time of the request.

    With `GQLAUTH_STATELESS`, they are those that the access token names.
    """

    reason = Reason.SCOPE_REQUIRED

    def holds(self, viewer: Viewer, source: Any, info: Info, arguments: dict[str, Any]) -> bool:
        return viewer.scopes.issuperset(self.names)

    @property
    def schema_directive(self) -> object:
        return HasScopeDirective(scopes=self.names)


class IsOwner(ViewerGuard):
    """Requires that the viewer owns what the field belongs to.

    `owner` takes the field's source and returns the owner's user id (a UUID or text, or None if nobody owns it), or an
    awaitable of it. If it has a second parameter, it also gets the resolve info, and its other parameters get the
    field's arguments by name: `IsOwner(lambda source, info, id: ...)`. It is called only if somebody is signed in.
    """

    reason = Reason.NOT_OWNER

    def __init__(self, owner: Callable[..., Owner | Awaitable[Owner]]) -> None:
        self._owner = owner
        parameters = _parameters(owner)
        self._takes_info = len(parameters) > 1
        self._takes_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
        self._names = {parameter.name for parameter in parameters[2:]}
        self.is_async = inspect.iscoroutinefunction(owner)

    def holds(self, viewer: Viewer, source: Any, info: Info, arguments: dict[str, Any]) -> bool | Awaitable[bool]:
        """Compare the owner with the viewer. Raises `TypeError` if `owner` returns something that is no user id."""
        taken: dict[str, Any] = {}
        if self._takes_info:
            taken = {name: value for name, value in arguments.items() if self._takes_all or name in self._names}
        owner = self._owner(source, info, **taken) if self._takes_info else self._owner(source)
        result: bool | Awaitable[bool] = then(owner, lambda known: _is(viewer, known))
        return result


def _parameters(owner: Callable[..., Any]) -> list[Parameter]:
    try:
        return list(inspect.signature(owner).parameters.values())
    except ValueError:  # operator.attrgetter and other builtins have no signature
        return []


def _is(viewer: Viewer, owner: Owner) -> bool:
    if owner is None:
        return False
    if isinstance(owner, UUID):
        return owner == viewer.user_id
    if isinstance(owner, str):
        return owner.lower() == str(viewer.user_id)
    raise TypeError(f"IsOwner wants a user id, a UUID or text, and was given {type(owner).__name__}.")
