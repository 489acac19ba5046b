"""Where guards stand: on a field, on every field of a type, and on every root field of a schema that has none.

Guards are asked before all other extensions of a field, in whatever order they were written, and a field that takes the
place of a guarded one keeps its guards. What cannot be guarded is refused when the schema is made.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import Field
from functools import cached_property, reduce
from typing import Any, TypeVar

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.permission import PermissionExtension
from strawberry.types.base import StrawberryObjectDefinition, get_object_definition
from strawberry.types.field import StrawberryField
from strawberry.types.private import is_private
from strawberry.utils.str_converters import to_camel_case

from gqlauth.guards.guard import AllOf, Guard, Permission, as_guard
from gqlauth.guards.viewer import IsAuthenticated

T = TypeVar("T")
NameOf = Callable[[StrawberryField], str]


class GuardExtension(PermissionExtension):
    """Asks guards before the field is resolved. A sync resolver stays sync if all of its guards are."""

    def __init__(self, *guards: Permission) -> None:
        parts = [part for guard in guards for part in _parts(as_guard(guard))]
        self.guard: Guard = reduce(AllOf, parts)
        # Each of them shows as a directive of its own.
        super().__init__(list(parts))

    def apply(self, field: StrawberryField) -> None:
        """Become the outermost extension, under any schema. Raise `TypeError` where the field would stay open."""
        # A new list: Strawberry is still iterating over the old one, to call `apply` on each.
        field.extensions = _guards_last(field.extensions)
        if not any(isinstance(extension, Placed) for extension in field.extensions):
            _refuse_open_fields_below(field)
        super().apply(field)

    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        """Return the field's value, or an awaitable of it."""
        allowed = self.guard.has_permission(source, info, **kwargs)
        if allowed is True:
            return next_(source, info, **kwargs)
        return self._resolve_later(allowed, next_, source, info, kwargs)

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info, **kwargs: Any
    ) -> Any:
        """Return the field's value, or the events of a subscription."""
        return await self._resolve_later(self.guard.has_permission(source, info, **kwargs), next_, source, info, kwargs)

    async def _resolve_later(
        self, allowed: Any, next_: Callable[..., Any], source: Any, info: strawberry.Info, kwargs: dict[str, Any]
    ) -> Any:
        if allowed is not True:
            # Raises the refusal.
            await allowed
        value = next_(source, info, **kwargs)
        return await value if inspect.isawaitable(value) else value

    @cached_property
    def supports_sync(self) -> bool:
        """Whether the guards can be asked without awaiting, as far as that is known in advance."""
        return not self.guard.is_async


class Public(FieldExtension):
    """Marks a field that is open to everybody."""

    def apply(self, field: StrawberryField) -> None:
        """Raise `ValueError` for a field that also has a guard: one of the two is a mistake."""
        if has_guard(field):
            raise ValueError(f"The field {field.python_name} is public, and has a guard.")


class Placed(FieldExtension):
    """Stands last on each guarded field of a `gqlauth.Schema`, so that nothing can get before the guards after it."""

    def apply(self, field: StrawberryField) -> None:
        """Put the guards last, which is outermost. Raise `TypeError` if they would not be asked at all."""
        field.extensions = _guards_last(field.extensions)
        if field.is_basic_field:
            raise TypeError(
                f"The field {field.python_name} cannot be guarded: {type(field)} is read without extensions."
            )


def guarded(*guards: Permission) -> list[FieldExtension]:
    """Return the `extensions` of a guarded field. All guards must let the caller in; the default is `IsAuthenticated`.

    They are asked before any other extension of the field, wherever they stand in the list. Unlike those of
    `permission_classes`, they show in the printed schema, and may be async on a sync resolver.
    """
    return [GuardExtension(*guards or [IsAuthenticated()])]


def public() -> list[FieldExtension]:
    """Return the `extensions` of a field that is open although its type, its base class or its schema has a guard."""
    return [Public()]


def guarded_type(*guards: Permission) -> Callable[[type[T]], type[T]]:
    """Return the decorator, above `@strawberry.type`, that guards every field of a type or interface.

    That includes inherited fields, but not those that are marked `public()`. A field's own guards are asked after it.
    Subclasses inherit the fields with their guard. Fields that they add have none, so that a root type can be made of a
    guarded and an open part.
    """
    extension = GuardExtension(*guards or [IsAuthenticated()])

    def decorate(cls: type[T]) -> type[T]:
        definition = get_object_definition(cls)
        if definition is None or definition.origin is not cls or definition.is_input:
            raise TypeError(f"@guarded_type stands above the @strawberry.type or .interface of {cls.__name__}.")
        definition.fields = [field if _is_public(field) else _with(field, extension) for field in definition.fields]
        _hand_down(cls, definition.fields)
        return cls

    return decorate


def place_guards(
    definition: StrawberryObjectDefinition,
    fields: Iterable[StrawberryField],
    name_of: NameOf,
    default: Permission | None = None,
    open_names: frozenset[str] = frozenset(),
) -> list[StrawberryField]:
    """Return the fields of a type with all guards that they must have, outermost. No field is changed in place.

    A field gets the guards of the fields whose place it takes in the type's base classes and interfaces. One that then
    has no guard, is not public and not among `open_names` gets the default. Raises `TypeError` for a guarded input
    field, and for a public field whose interface has a guard.
    """
    placed = []
    for field in fields:
        name = name_of(field)
        if definition.is_input and has_guard(field):
            raise TypeError(f"{definition.name}.{name} cannot have a guard, as a field of an input type.")
        missing = _missing(definition, _definitions(definition.origin.__mro__), field, name_of)
        if default is not None and not (missing or has_guard(field) or _is_public(field) or name in open_names):
            missing = [GuardExtension(default)]
        if missing or has_guard(field):
            field = _with(field, *missing, Placed())
        placed.append(field)
    return placed


def has_guard(field: StrawberryField) -> bool:
    """Return whether the field asks for any permission, ours or another."""
    return any(guard.permissions for guard in _guards(field))


def _is_public(field: StrawberryField) -> bool:
    return any(isinstance(extension, Public) for extension in field.extensions)


def _parts(guard: Guard) -> list[Guard]:
    return [*_parts(guard.left), *_parts(guard.right)] if isinstance(guard, AllOf) else [guard]


def _guards_last(extensions: Iterable[FieldExtension]) -> list[FieldExtension]:
    """Return the extensions with the guards last, which is outermost. The sort is stable."""
    return sorted(extensions, key=lambda extension: isinstance(extension, PermissionExtension))


def _with(field: StrawberryField, *extensions: FieldExtension) -> StrawberryField:
    extended = copy.copy(field)
    extended.extensions = [*field.extensions, *extensions]
    return extended


def _guards(field: StrawberryField) -> list[PermissionExtension]:
    return [extension for extension in field.extensions if isinstance(extension, PermissionExtension)]


def _missing(
    definition: StrawberryObjectDefinition,
    bases: Iterable[StrawberryObjectDefinition],
    field: StrawberryField,
    name_of: NameOf,
) -> list[PermissionExtension]:
    """Return the guards that the bases' fields of this name have, and that this one has not.

    Guards that print the same directive count as the same, so that a type may name another owner in `IsOwner`.
    """
    said = [permission.schema_directive for own in _guards(field) for permission in own.permissions]
    missing: list[PermissionExtension] = []
    for base in bases:
        for guard in (guard for other in base.fields if name_of(other) == name_of(field) for guard in _guards(other)):
            if guard in missing or all(permission.schema_directive in said for permission in guard.permissions):
                continue
            if not _is_public(field):
                missing.append(guard)
            elif base.is_interface:
                name = name_of(field)
                raise TypeError(f"{definition.name}.{name} is public, but has a guard in the interface {base.name}.")
    return missing


def _refuse_open_fields_below(field: StrawberryField) -> None:
    """Raise `TypeError` for a type that redeclares this field of an interface without its guard.

    A plain `strawberry.Schema` does not let us add the guard to the type.
    """
    for definition in _definitions(_subclasses(field.origin) if isinstance(field.origin, type) else ()):
        for own in definition.fields:
            if own.python_name != field.python_name and _default_name(own) != _default_name(field):
                continue
            if _missing(definition, definition.interfaces, own, _default_name):
                name = _default_name(own)
                raise TypeError(
                    f"{definition.name}.{name} redeclares a field that has a guard in an interface, without the guard: "
                    "repeat the guard, or use a gqlauth.Schema, which keeps it."
                )


def _definitions(classes: Iterable[type]) -> Iterator[StrawberryObjectDefinition]:
    """Yield the definitions of those classes that have one of their own."""
    return (vars(cls)["__strawberry_definition__"] for cls in classes if "__strawberry_definition__" in vars(cls))


def _subclasses(cls: type) -> Iterator[type]:
    direct: list[type] = type.__subclasses__(cls)
    for subclass in direct:
        yield subclass
        yield from _subclasses(subclass)


def _default_name(field: StrawberryField) -> str:
    return field.graphql_name or to_camel_case(field.python_name)


def _hand_down(cls: type, fields: Iterable[StrawberryField]) -> None:
    """Let subclasses inherit the fields as they are now: Strawberry takes them from what dataclasses have noted."""
    noted: dict[str, Field[Any]] = cls.__dataclass_fields__  # type: ignore[attr-defined]
    for field in fields:
        name = field.python_name
        before = noted.get(name)
        if before is None or before is field or is_private(field.type):
            continue
        for detail in ("default", "default_factory", "init", "repr", "compare", "kw_only", "_field_type"):
            setattr(field, detail, getattr(before, detail))
        noted[name] = field
