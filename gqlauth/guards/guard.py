"""What a guard is, and how guards combine with `&`, `|` and `~`.

A guard answers yes, no, or unknown: a guard that asks about a viewer does not know if nobody is signed in. Only a yes
lets in, and the opposite of unknown is unknown (Kleene's logic), so `~HasRole("banned")` keeps anonymous callers out.
An error (the database does not answer, a host's code fails) is none of the three: it closes the field.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, NoReturn, TypeGuard, TypeVar, cast

import strawberry
from strawberry.exceptions import PermissionReturnedNonBooleanError
from strawberry.permission import BasePermission
from strawberry.schema_directive import Location, schema_directive

from gqlauth.context import Context, Refused, Unavailable, Viewer, context_of
from gqlauth.errors import Forbidden, GuardError, Reason, Unauthenticated
from gqlauth.events import AccessRefused

T = TypeVar("T")
R = TypeVar("R")

Info = strawberry.Info[Any, Any]
Permission = BasePermission | type[BasePermission]
Refusal = Exception | None


class Guard(BasePermission):
    """The base class of all guards, and of a host's own: combine them with `a & b`, `a | b` and `~a`.

    The other side of `&` and `|` may be any `strawberry.BasePermission`. A host's own guard overrides `has_permission`,
    as any Strawberry permission does. Ours override `check`.
    """

    # Whether `check` always returns an awaitable, which tells Strawberry that the field resolves asynchronously.
    is_async = False
    # What the printed schema shows. A subclass asks something else, so it does not inherit its parent's directive.
    directive: ClassVar[object | None] = None

    def check(self, source: Any, info: Info, arguments: dict[str, Any]) -> Refusal | Awaitable[Refusal]:
        """Return None to let the caller in, or the error to refuse with; or an awaitable of either.

        An error that is raised instead also closes the field, and no combination outweighs it.
        """
        raise NotImplementedError

    def has_permission(self, source: Any, info: Info, **kwargs: Any) -> bool | Awaitable[bool]:
        """Return True, or raise the refusal. The result is awaitable only if a guard had to be awaited."""
        context = context_of(info)
        if not context.is_watched:
            # A subscription would go on after its session has ended.
            raise RuntimeError("nobody watches this session: `on_ws_connect` has to await `auth.connect(context)`")
        if isinstance(context.identity, Unavailable):
            # The caller could not be checked, so not even a guard that asks about no viewer may answer.
            raise context.identity.error.with_traceback(None)
        return then(self.check(source, info, kwargs), lambda refusal: _let_in(context, info, refusal))

    @property
    def schema_directive(self) -> object:
        """The directive that the printed schema shows on a guarded field."""
        return vars(type(self)).get("directive") or super().schema_directive

    def __str__(self) -> str:
        return type(self).__name__

    def __and__(self, other: Permission) -> Guard:
        return AllOf(self, other)

    def __rand__(self, other: Permission) -> Guard:
        return AllOf(other, self)

    def __or__(self, other: Permission) -> Guard:
        return AnyOf(self, other)

    def __ror__(self, other: Permission) -> Guard:
        return AnyOf(other, self)

    def __invert__(self) -> Guard:
        return Not(self)

    def __bool__(self) -> bool:
        """Raise `TypeError`: Python evaluates `a and b` to `b`, which would drop `a` without a word."""
        raise TypeError("Combine guards by &, | and ~: Python's and, or and not would drop one of them.")

    def _misplaced(self, *_: object) -> NoReturn:
        """Raise `TypeError`: `permission_classes` would call an instance, and `extensions` would apply it."""
        name = type(self).__name__
        raise TypeError(f"{name} goes into extensions=guarded(...); permission_classes takes classes alone.")

    __call__ = apply = _misplaced


@schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="guard",
    repeatable=True,
    description="Requires this combination of guards to pass: & means and, | means or, ~ means not.",
)
class GuardDirective:
    """The directive of a combination."""

    rule: str


class Combination(Guard):
    """A guard made of others, which the printed schema shows as a rule."""

    @property
    def schema_directive(self) -> object:
        return GuardDirective(rule=str(self))


class Pair(Combination):
    """Two guards, asked from left to right."""

    sign = ""

    def __init__(self, left: Permission, right: Permission) -> None:
        self.left, self.right = as_guard(left), as_guard(right)
        self.is_async = self.left.is_async or self.right.is_async

    def __str__(self) -> str:
        sides = (self.left, self.right)
        # `(a & b) & c` is `a & b & c`, but `(a | b) & c` needs its parentheses.
        texts = [f"({side})" if isinstance(side, Pair) and side.sign != self.sign else str(side) for side in sides]
        return f" {self.sign} ".join(texts)


class AllOf(Pair):
    """`a & b` refuses with the first refusal."""

    sign = "&"

    def check(self, *asked: Any) -> Refusal | Awaitable[Refusal]:
        return then(self.left.check(*asked), lambda first: self.right.check(*asked) if first is None else first)

    def __invert__(self) -> Guard:
        return AnyOf(~self.left, ~self.right)


class AnyOf(Pair):
    """`a | b` refuses with `UNAUTHENTICATED` where signing in could help, and with the first refusal otherwise."""

    sign = "|"

    def check(self, *asked: Any) -> Refusal | Awaitable[Refusal]:
        return then(self.left.check(*asked), lambda first: first if first is None else self._check_right(first, *asked))

    def _check_right(self, first: Exception, *asked: Any) -> Refusal | Awaitable[Refusal]:
        def choose(second: Refusal) -> Refusal:
            could_help = isinstance(second, Unauthenticated) and not isinstance(first, Unauthenticated)
            return second if second is None or could_help else first

        return then(self.right.check(*asked), choose)

    def __invert__(self) -> Guard:
        return AllOf(~self.left, ~self.right)


class Not(Combination):
    """`~a` for a single guard. A pair is negated side by side instead (De Morgan)."""

    def __init__(self, guard: Permission) -> None:
        self.guard = as_guard(guard)
        self.is_async = self.guard.is_async

    def check(self, *asked: Any) -> Refusal | Awaitable[Refusal]:
        return then(self.guard.check(*asked), self.negate)

    def negate(self, refusal: Refusal) -> Refusal:
        """Return the opposite answer. That nobody is signed in stays a refusal."""
        if refusal is None:
            return Forbidden(Reason.NOT_ALLOWED)
        return refusal if isinstance(refusal, Unauthenticated) else None

    def __invert__(self) -> Guard:
        return self.guard

    def __str__(self) -> str:
        return f"~{self.guard}"


class HostPermission(Guard):
    """A host's own permission as a part of a combination."""

    def __init__(self, permission: BasePermission) -> None:
        self.permission = permission
        self.is_async = inspect.iscoroutinefunction(permission.has_permission)

    def check(self, source: Any, info: Info, arguments: dict[str, Any]) -> Refusal | Awaitable[Refusal]:
        try:
            answer = self.permission.has_permission(source, info, **arguments)
        except GuardError as refusal:
            return refusal
        return self._check_later(answer) if is_awaitable(answer) else self._refusal(answer)

    async def _check_later(self, answer: Awaitable[bool]) -> Refusal:
        try:
            known = await answer
        except GuardError as refusal:
            return refusal
        return self._refusal(known)

    def _refusal(self, answer: Any) -> Refusal:
        if not isinstance(answer, bool):
            # A coroutine or another truthy object must not count as a yes.
            if inspect.iscoroutine(answer):
                answer.close()
            raise PermissionReturnedNonBooleanError(self.permission, answer)
        if answer:
            return None
        try:
            self.permission.on_unauthorized()
        except Exception as refusal:
            return refusal
        return Forbidden(Reason.NOT_ALLOWED)

    @property
    def schema_directive(self) -> object:
        return self.permission.schema_directive

    def __str__(self) -> str:
        return type(self.permission).__name__


def as_guard(permission: Permission) -> Guard:
    """Return the permission as a guard that has a `check`. A class without arguments stands for its instance.

    A guard whose `has_permission` a host has overridden is asked by that. Raises `TypeError` for anything else.
    """
    if isinstance(permission, type) and issubclass(permission, BasePermission):
        permission = permission()
    if isinstance(permission, Guard) and type(permission).has_permission is Guard.has_permission:
        return permission
    if isinstance(permission, BasePermission):
        return HostPermission(permission)
    raise TypeError(f"A guard is a strawberry.BasePermission, as in IsAuthenticated(), and {permission!r} is none.")


def then(value: T | Awaitable[T], use: Callable[[T], R | Awaitable[R]]) -> R | Awaitable[R]:
    """Return `use(value)`, or an awaitable of it if the value has to be awaited first."""
    return _then_later(value, use) if is_awaitable(value) else use(cast("T", value))


async def _then_later(value: Awaitable[T], use: Callable[[T], R | Awaitable[R]]) -> R:
    result = use(await value)
    return await result if is_awaitable(result) else cast("R", result)


def is_awaitable(value: object) -> TypeGuard[Awaitable[Any]]:
    """Return whether the value has to be awaited. `inspect.isawaitable` takes five times as long to say no."""
    return hasattr(type(value), "__await__")


def _let_in(context: Context, info: Info, refusal: Refusal) -> bool:
    """Return True, or publish the refusal and raise it. A host's own refusal has no reason of ours."""
    if refusal is None:
        return True
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
    raise refusal
