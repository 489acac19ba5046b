"""How guards are combined with `&`, `|` and `~`, and asked: at once, or awaited where a part of them is async.

A guard answers in one of three ways, as a condition in SQL does: yes, no, or, where it asks about a viewer and nobody
is signed in, unknown. Only a yes lets in. The opposite of unknown is unknown: `~HasRole("banned")` keeps out who is not
signed in. What goes wrong on the way (the database, a host's code) is no answer at all: it ends the field.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Generator
from typing import Any, NoReturn, TypeVar

import strawberry
from strawberry.exceptions import PermissionReturnedNonBooleanError
from strawberry.permission import BasePermission
from strawberry.schema_directive import Location, schema_directive

from gqlauth.context import Refused, Unavailable, Viewer, context_of
from gqlauth.errors import Forbidden, GuardError, Reason, Unauthenticated
from gqlauth.events import AccessRefused

T = TypeVar("T")

Info = strawberry.Info[Any, Any]
Permission = BasePermission | type[BasePermission]
# A rule yields what may have to be awaited, is sent what came of it, and returns why it refuses, or None.
Steps = Generator[Any, Any, Exception | None]


class Guard(BasePermission):
    """A permission that can be combined: `a & b`, `a | b`, `~a`. The base class of a host's own guards, too.

    The other side of `&` and `|` may be any `strawberry.BasePermission`.
    """

    def __and__(self, other: Permission) -> Guard:
        """Return the guard that lets in whom both let in."""
        return AllOf(self, other)

    def __rand__(self, other: Permission) -> Guard:
        """Return the guard that lets in whom both let in."""
        return AllOf(other, self)

    def __or__(self, other: Permission) -> Guard:
        """Return the guard that lets in whom one of both lets in."""
        return AnyOf(self, other)

    def __ror__(self, other: Permission) -> Guard:
        """Return the guard that lets in whom one of both lets in."""
        return AnyOf(other, self)

    def __invert__(self) -> Guard:
        """Return the guard that lets in whom this one keeps out, though nobody of whom it cannot know."""
        return Not(as_rule(self))

    def __bool__(self) -> bool:
        """Raise `TypeError`: `a and b` would be `b` alone, and `a` would not be asked."""
        raise TypeError("Combine guards by &, | and ~: Python's and, or and not would drop one of them.")

    def __call__(self) -> NoReturn:
        """Raise `TypeError`: `permission_classes` calls what it is given, which is to be a class."""
        raise TypeError(self._misplaced())

    def apply(self, field: object) -> NoReturn:
        """Raise `TypeError`: this is asked of what stands in `extensions` as it is."""
        raise TypeError(self._misplaced())

    def _misplaced(self) -> str:
        return f"{type(self).__name__} goes into extensions=guarded(...); permission_classes takes classes alone."


class Rule(Guard):
    """A guard of ours. `judge` says why it refuses; `has_permission` tells the listeners, and raises it."""

    is_async = False
    # What Apollo's router may ask before us: only that without which the rule lets nobody in.
    needs_viewer = True
    scopes: list[list[str]] | None = None

    def has_permission(self, source: Any, info: Info, **kwargs: Any) -> bool | Awaitable[bool]:
        """Return True, or raise the refusal. There is something to await only where a part of the rule is async."""
        return _run(self._decide(source, info, kwargs))

    def judge(self, source: Any, info: Info, arguments: dict[str, Any]) -> Steps:
        """Return the refusal, or None. Whatever is raised instead refuses too, and no combination outweighs it."""
        raise NotImplementedError

    def _decide(self, source: Any, info: Info, arguments: dict[str, Any]) -> Generator[Any, Any, bool]:
        context = context_of(info)
        if not context.is_watched:
            # Whom it lets in would stay, whatever becomes of the session.
            raise RuntimeError("nobody watches this session: `on_ws_connect` has to await `auth.connect(context)`")
        identity = context.identity
        if isinstance(identity, Unavailable):
            # Not even a rule that would not have asked lets in whom nobody could check.
            raise identity.error.with_traceback(None)
        refusal = yield from self.judge(source, info, arguments)
        if refusal is None:
            return True
        _publish(info, refusal)
        raise refusal

    def __str__(self) -> str:
        """Return the rule as the printed schema shows it."""
        return type(self).__name__


class HostRule(Rule):
    """A host's own permission, as a part of a rule."""

    needs_viewer = False

    def __init__(self, permission: BasePermission) -> None:
        self.permission = permission
        self.is_async = inspect.iscoroutinefunction(permission.has_permission)

    def judge(self, source: Any, info: Info, arguments: dict[str, Any]) -> Steps:
        """Refuse as the permission does. Only a real bool counts."""
        try:
            answer: Any = yield self.permission.has_permission(source, info, **arguments)
        except GuardError as refusal:
            return refusal
        if not isinstance(answer, bool):
            if inspect.iscoroutine(answer):
                answer.close()
            raise PermissionReturnedNonBooleanError(self.permission, answer)
        return None if answer else self._refusal()

    def _refusal(self) -> Exception:
        try:
            self.permission.on_unauthorized()
        except Exception as refusal:
            return refusal
        return Forbidden(Reason.NOT_ALLOWED)

    @property
    def schema_directive(self) -> object:
        """The directive that shows in the printed schema."""
        return self.permission.schema_directive

    def __str__(self) -> str:
        """Return the rule as the printed schema shows it."""
        return type(self.permission).__name__


class Combination(Rule):
    """Several rules, asked from left to right."""

    sign = ""

    def __init__(self, *permissions: Permission) -> None:
        rules = [as_rule(permission) for permission in permissions]
        # What is combined in the same way already goes in as its parts.
        self.rules: list[Rule] = [
            part for rule in rules for part in (rule.rules if isinstance(rule, type(self)) else [rule])
        ]
        self.is_async = any(rule.is_async for rule in self.rules)

    @property
    def schema_directive(self) -> object:
        """The directive that shows in the printed schema."""
        return GuardDirective(rule=str(self))

    def __str__(self) -> str:
        """Return the rule as the printed schema shows it."""
        parts = [f"({rule})" if isinstance(rule, Combination) else str(rule) for rule in self.rules]
        return f" {self.sign} ".join(parts)


class AllOf(Combination):
    """`a & b`: refuses as the first that refuses."""

    sign = "&"

    def __init__(self, *permissions: Permission) -> None:
        super().__init__(*permissions)
        self.needs_viewer = any(rule.needs_viewer for rule in self.rules)
        for scopes in (rule.scopes for rule in self.rules if rule.scopes is not None):
            self.scopes = [_union(a, b) for a in self.scopes or [[]] for b in scopes]

    def judge(self, source: Any, info: Info, arguments: dict[str, Any]) -> Steps:
        """Ask until one refuses."""
        for rule in self.rules:
            refusal = yield from rule.judge(source, info, arguments)
            if refusal is not None:
                return refusal
        return None

    def __invert__(self) -> Guard:
        """Return the same, turned around within (De Morgan)."""
        return AnyOf(*(~rule for rule in self.rules))


class AnyOf(Combination):
    """`a | b`: where both refuse, the answer is to sign in if that could help, else that of the first."""

    sign = "|"

    def __init__(self, *permissions: Permission) -> None:
        super().__init__(*permissions)
        self.needs_viewer = all(rule.needs_viewer for rule in self.rules)
        scopes = [rule.scopes for rule in self.rules if rule.scopes is not None]
        if len(scopes) == len(self.rules):
            self.scopes = [names for alternatives in scopes for names in alternatives]

    def judge(self, source: Any, info: Info, arguments: dict[str, Any]) -> Steps:
        """Ask until one lets in."""
        refusals = []
        for rule in self.rules:
            refusal = yield from rule.judge(source, info, arguments)
            if refusal is None:
                return None
            refusals.append(refusal)
        return next((refusal for refusal in refusals if isinstance(refusal, Unauthenticated)), refusals[0])

    def __invert__(self) -> Guard:
        """Return the same, turned around within (De Morgan)."""
        return AllOf(*(~rule for rule in self.rules))


class Not(Rule):
    """`~a`, for one guard: combinations are turned around within."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.is_async = rule.is_async
        self.needs_viewer = rule.needs_viewer

    def judge(self, source: Any, info: Info, arguments: dict[str, Any]) -> Steps:
        """Turn yes and no around. That nobody is signed in stays a refusal."""
        refusal = yield from self.rule.judge(source, info, arguments)
        if isinstance(refusal, Unauthenticated):
            return refusal
        return Forbidden(Reason.NOT_ALLOWED) if refusal is None else None

    def __invert__(self) -> Guard:
        """Return what it is the opposite of."""
        return self.rule

    @property
    def schema_directive(self) -> object:
        """The directive that shows in the printed schema."""
        return GuardDirective(rule=str(self))

    def __str__(self) -> str:
        """Return the rule as the printed schema shows it."""
        return f"~{self.rule}"


@schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="guard",
    repeatable=True,
    description="For whom the rule lets in: & is and, | is or, ~ is not.",
)
class GuardDirective:
    """How a combination of guards shows in the printed schema."""

    rule: str


def as_rule(permission: Permission) -> Rule:
    """Return the permission as a rule. A class without arguments stands for its instance.

    What a host has overridden in a guard of ours is asked as the host's own. Raises `TypeError` for anything else.
    """
    if isinstance(permission, type) and issubclass(permission, BasePermission):
        permission = permission()
    if isinstance(permission, Rule) and type(permission).has_permission is Rule.has_permission:
        return permission
    if isinstance(permission, BasePermission):
        return HostRule(permission)
    raise TypeError(f"A guard is a strawberry.BasePermission, as in IsAuthenticated(), and {permission!r} is none.")


def _run(steps: Generator[Any, Any, T]) -> T | Awaitable[T]:
    """Take the steps, at once as far as nothing has to be awaited."""
    try:
        value = next(steps)
        while not inspect.isawaitable(value):
            value = steps.send(value)
    except StopIteration as end:
        result: T = end.value
        return result
    return _run_later(steps, value)


async def _run_later(steps: Generator[Any, Any, T], value: Any) -> T:
    try:
        while True:
            try:
                sent = await value if inspect.isawaitable(value) else value
            except Exception as error:
                value = steps.throw(error)
            else:
                value = steps.send(sent)
    except StopIteration as end:
        result: T = end.value
        return result


def _publish(info: Info, refusal: Exception) -> None:
    """Tell the listeners who was kept out. A host's own refusal has no reason of ours."""
    context = context_of(info)
    known = context.identity if isinstance(context.identity, Viewer | Refused) else None
    context.runtime.events.publish(
        AccessRefused(
            field=info.field_name,
            reason=refusal.reason if isinstance(refusal, GuardError) else Reason.NOT_ALLOWED,
            user_id=known.user_id if known else None,
            session_id=known.session_id if known else None,
            ip_address=context.client.ip_address,
        )
    )


def _union(some: list[str], more: list[str]) -> list[str]:
    return [*some, *(name for name in more if name not in some)]
