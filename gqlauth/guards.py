"""The guards: what is asked of a viewer."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from inspect import Parameter
from typing import Any
from uuid import UUID

from strawberry.schema_directive import Location, schema_directive

from gqlauth.context import Viewer, context_of
from gqlauth.errors import Forbidden, Reason, Unauthenticated
from gqlauth.rules import Guard, GuardDirective, Info, Rule, Steps

Owner = UUID | str | None


class AboutViewer(Rule):
    """A rule about who is signed in. `reason` is what they are told whom it refuses."""

    reason = Reason.NOT_ALLOWED

    def judge(self, source: Any, info: Info, arguments: dict[str, Any]) -> Steps:
        """Refuse with the token's reason where nobody is signed in, else with the rule's own."""
        try:
            viewer = context_of(info).viewer
        except Unauthenticated as refusal:
            return refusal
        holds = yield self.holds(viewer, source, info, arguments)
        return None if holds else Forbidden(self.reason)

    def holds(self, viewer: Viewer, source: Any, info: Info, arguments: dict[str, Any]) -> bool | Awaitable[bool]:
        """Tell whether the viewer passes."""
        raise NotImplementedError


class IsAuthenticated(AboutViewer):
    """Somebody is signed in: the token is genuine and current, its session alive, its account enabled.

    The one guard whose opposite lets in who is not signed in: `~IsAuthenticated()`.
    """

    def holds(self, viewer: Viewer, source: Any, info: Info, arguments: dict[str, Any]) -> bool:
        """Ask no more: there is a viewer."""
        return True

    @property
    def schema_directive(self) -> object:
        """The directive that shows in the printed schema; a host's subclass has its own."""
        return IsAuthenticatedDirective() if type(self) is IsAuthenticated else super().schema_directive

    def __invert__(self) -> Guard:
        """Return the guard that lets in who is not signed in."""
        return Anonymous() if type(self) is IsAuthenticated else super().__invert__()


class Anonymous(Rule):
    """`~IsAuthenticated()`: nobody is signed in, or the token that was sent does not count."""

    needs_viewer = False

    def judge(self, source: Any, info: Info, arguments: dict[str, Any]) -> Steps:
        """Refuse who is signed in."""
        yield None
        return Forbidden(Reason.NOT_ALLOWED) if isinstance(context_of(info).identity, Viewer) else None

    def __invert__(self) -> Guard:
        """Return what it is the opposite of."""
        return IsAuthenticated()

    @property
    def schema_directive(self) -> object:
        """The directive that shows in the printed schema."""
        return GuardDirective(rule=str(self))

    def __str__(self) -> str:
        """Return the rule as the printed schema shows it."""
        return "~IsAuthenticated"


class IsVerified(AboutViewer):
    """The person has shown that the account's e-mail address is theirs."""

    reason = Reason.EMAIL_NOT_VERIFIED

    def holds(self, viewer: Viewer, source: Any, info: Info, arguments: dict[str, Any]) -> bool:
        """Look at the viewer."""
        return viewer.email_verified

    @property
    def schema_directive(self) -> object:
        """The directive that shows in the printed schema; a host's subclass has its own."""
        return IsVerifiedDirective() if type(self) is IsVerified else super().schema_directive


class HasRole(AboutViewer):
    """The viewer has the role; of several, any of them."""

    reason = Reason.ROLE_REQUIRED

    def __init__(self, *names: str) -> None:
        self.names = _named(self, names)

    def holds(self, viewer: Viewer, source: Any, info: Info, arguments: dict[str, Any]) -> bool:
        """Look at the viewer."""
        return not viewer.roles.isdisjoint(self.names)

    @property
    def schema_directive(self) -> object:
        """The directive that shows in the printed schema."""
        return HasRoleDirective(roles=self.names)

    def __str__(self) -> str:
        """Return the rule as the printed schema shows it."""
        return f"HasRole({', '.join(self.names)})"


class HasScope(AboutViewer):
    """The viewer's token has the scope; of several, all of them (RFC 6749 section 3.3)."""

    reason = Reason.SCOPE_REQUIRED

    def __init__(self, *names: str) -> None:
        self.names = _named(self, names)
        self.scopes = [self.names]

    def holds(self, viewer: Viewer, source: Any, info: Info, arguments: dict[str, Any]) -> bool:
        """Look at the viewer."""
        return viewer.scopes.issuperset(self.names)

    @property
    def schema_directive(self) -> object:
        """The directive that shows in the printed schema."""
        return HasScopeDirective(scopes=self.names)

    def __str__(self) -> str:
        """Return the rule as the printed schema shows it."""
        return f"HasScope({', '.join(self.names)})"


class IsOwner(AboutViewer):
    """What the field belongs to is the viewer's own.

    `owner` gets the field's source and returns the owner's user id (UUID or text; None: nobody's), or an awaitable of
    it. With a second parameter it gets the resolve info too, and the field's arguments by the names of the others:
    `IsOwner(lambda source, info, id: ...)`. It is not asked before somebody is signed in.
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
        """Compare the owner with the viewer. Raise `TypeError` for what is no user id."""
        if self._takes_info:
            taken = {name: value for name, value in arguments.items() if self._takes_all or name in self._names}
            owner = self._owner(source, info, **taken)
        else:
            owner = self._owner(source)
        return self._later(viewer, owner) if inspect.isawaitable(owner) else _is(viewer, owner)

    async def _later(self, viewer: Viewer, owner: Awaitable[Owner]) -> bool:
        return _is(viewer, await owner)


@schema_directive(locations=[Location.FIELD_DEFINITION], name="isAuthenticated")
class IsAuthenticatedDirective:
    """How `IsAuthenticated` shows in the printed schema, however the host names directives."""


@schema_directive(locations=[Location.FIELD_DEFINITION], name="isVerified")
class IsVerifiedDirective:
    """How `IsVerified` shows in the printed schema."""


@schema_directive(
    locations=[Location.FIELD_DEFINITION], name="hasRole", repeatable=True, description="For who has one of the roles."
)
class HasRoleDirective:
    """How `HasRole` shows in the printed schema."""

    roles: list[str]


@schema_directive(
    locations=[Location.FIELD_DEFINITION], name="hasScope", repeatable=True, description="For who has all the scopes."
)
class HasScopeDirective:
    """How `HasScope` shows in the printed schema."""

    scopes: list[str]


def _named(guard: Guard, names: tuple[str, ...]) -> list[str]:
    """Return the names. Raise `TypeError` for none, or for what is no text: such a guard would guard nothing."""
    if not names or not all(isinstance(name, str) and name for name in names):
        raise TypeError(f'{type(guard).__name__} wants names, as in {type(guard).__name__}("a", "b").')
    return [str(name) for name in names]


def _parameters(owner: Callable[..., Any]) -> list[Parameter]:
    try:
        return list(inspect.signature(owner).parameters.values())
    except ValueError:  # operator.attrgetter and the like
        return []


def _is(viewer: Viewer, owner: Owner) -> bool:
    if owner is None:
        return False
    if isinstance(owner, UUID):
        return owner == viewer.user_id
    if isinstance(owner, str):
        return owner.lower() == str(viewer.user_id)
    raise TypeError(f"IsOwner wants a user id, a UUID or text, and was given {type(owner).__name__}.")
