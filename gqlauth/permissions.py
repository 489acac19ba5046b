"""Where guards stand: on a field, on every field of a type, and on every root field of a schema that has none."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import Field
from functools import cached_property
from typing import Any, TypeVar

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.permission import PermissionExtension
from strawberry.types.base import get_object_definition
from strawberry.types.field import StrawberryField
from strawberry.types.private import is_private

from gqlauth.guards import IsAuthenticated
from gqlauth.rules import AllOf, Permission

T = TypeVar("T")


class GuardExtension(PermissionExtension):
    """Asks guards before the field is resolved. A sync resolver stays sync where all that is asked is."""

    def __init__(self, *guards: Permission) -> None:
        rule = AllOf(*guards)
        self.rule = rule if len(rule.rules) > 1 else rule.rules[0]
        # Each shows as a directive of its own.
        super().__init__(list(rule.rules))

    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        """Return the field's value, or what to await for it."""
        allowed = self.rule.has_permission(source, info, **kwargs)
        if allowed is True:
            return next_(source, info, **kwargs)
        return self._resolve_later(allowed, next_, source, info, kwargs)

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info, **kwargs: Any
    ) -> Any:
        """Return the field's value, or the events of a subscription."""
        return await self._resolve_later(self.rule.has_permission(source, info, **kwargs), next_, source, info, kwargs)

    async def _resolve_later(
        self, allowed: Any, next_: Callable[..., Any], source: Any, info: strawberry.Info, kwargs: dict[str, Any]
    ) -> Any:
        if allowed is not True:
            # Raises what it refuses with.
            await allowed
        value = next_(source, info, **kwargs)
        return await value if inspect.isawaitable(value) else value

    @cached_property
    def supports_sync(self) -> bool:
        """Whether it can be asked without awaiting, as far as that can be known before."""
        return not self.rule.is_async


class Public(FieldExtension):
    """Marks a field that is open to everybody."""

    def apply(self, field: StrawberryField) -> None:
        """Raise `ValueError` for a field that has a guard, too: one of the two is a mistake."""
        if has_guard(field):
            raise ValueError(f"The field {field.python_name} is public, and has a guard.")


def guarded(*guards: Permission) -> list[FieldExtension]:
    """Return the `extensions` of a guarded field. All guards must let in; without any, somebody must be signed in.

    Unlike `permission_classes`, they show in the printed schema, and may be async on a sync resolver.
    """
    return [GuardExtension(*guards or [IsAuthenticated()])]


def public() -> list[FieldExtension]:
    """Return the `extensions` of a field that is open whatever its type or schema asks of others."""
    return [Public()]


def guarded_type(*guards: Permission) -> Callable[[type[T]], type[T]]:
    """Return the decorator, above `@strawberry.type`, that guards every field of a type or interface.

    Those that it inherits, too. A field's own guards are asked after it; fields marked `public()` stay open. Classes
    below inherit the fields with their guard; what they add is their own, so that a root type can be made of parts.
    """
    extension = GuardExtension(*guards or [IsAuthenticated()])

    def decorate(cls: type[T]) -> type[T]:
        definition = get_object_definition(cls)
        if definition is None or definition.origin is not cls or definition.is_input:
            raise TypeError(f"@guarded_type stands above the @strawberry.type or .interface of {cls.__name__}.")
        definition.fields = [_extended(field, extension) for field in definition.fields]
        _hand_down(cls, definition.fields)
        return cls

    return decorate


def guard_by_default(
    fields: Iterable[StrawberryField], guard: Permission, *, open_names: frozenset[str] = frozenset()
) -> list[StrawberryField]:
    """Return the fields, those that have no guard and are not public with this one. None is changed in place."""
    extension = GuardExtension(guard)
    return [
        field if has_guard(field) or field.graphql_name in open_names else _extended(field, extension)
        for field in fields
    ]


def has_guard(field: StrawberryField) -> bool:
    """Tell whether the field asks for any permission, ours or another."""
    return any(isinstance(extension, PermissionExtension) and extension.permissions for extension in field.extensions)


def _extended(field: StrawberryField, extension: FieldExtension) -> StrawberryField:
    """Return a copy that asks the guard before what it asks already; the field itself if it is public."""
    if any(isinstance(given, Public) for given in field.extensions):
        return field
    extended = copy.copy(field)
    # The last one is the outermost.
    extended.extensions = [*field.extensions, extension]
    return extended


def _hand_down(cls: type, fields: Iterable[StrawberryField]) -> None:
    """Let classes below inherit the fields as they are now: Strawberry takes them from what dataclasses have noted."""
    noted: dict[str, Field[Any]] = cls.__dataclass_fields__  # type: ignore[attr-defined]
    for field in fields:
        name = field.python_name
        before = noted.get(name)
        if before is None or before is field or is_private(field.type):
            continue
        for detail in ("default", "default_factory", "init", "repr", "compare", "kw_only", "_field_type"):
            setattr(field, detail, getattr(before, detail))
        noted[name] = field
