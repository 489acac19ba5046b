"""Our fields in a host's schema: they have the same names in every one, and can be left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, field, make_dataclass
from typing import Any, TypeVar

import strawberry
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.base import StrawberryObjectDefinition, get_object_definition
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

T = TypeVar("T")


def keep_names(cls: type[T]) -> type[T]:
    """Fix the names of a type's fields and their arguments, in camelCase. Stands above `@strawberry.type`.

    Otherwise a host's `StrawberryConfig(auto_camel_case=False)` or name converter would rename ours along with its own,
    and every client that is written against our API would fail. What a host's subclass adds is named by the host.
    """
    definition: StrawberryObjectDefinition = get_object_definition(cls, strict=True)
    for own in definition.fields:
        named: list[StrawberryField | StrawberryArgument] = [own, *own.arguments]
        for each in named:
            each.graphql_name = each.graphql_name or to_camel_case(each.python_name)
    return cls


def without(*names: str) -> Callable[[type[T]], type[T]]:
    """Return the decorator, above `@strawberry.type`, that leaves out inherited fields, by their Python names.

    `@without("signup", "delete_account")` above a `class Mutation(gqlauth.Mutation)`. Classes below leave them
    out, too. Raises `TypeError` where there is no field of that name: one that is misspelt would stay in.
    """

    def decorate(cls: type[T]) -> type[T]:
        definition = get_object_definition(cls)
        if definition is None or definition.origin is not cls:
            raise TypeError(f"@without stands above the @strawberry.type of {cls.__name__}.")
        if unknown := sorted({*names} - {own.python_name for own in definition.fields}):
            raise TypeError(f"{cls.__name__} has no field {', '.join(unknown)} to leave out.")
        definition.fields = [own for own in definition.fields if own.python_name not in names]
        _hide(cls, names)
        return cls

    return decorate


def _hide(cls: type, names: tuple[str, ...]) -> None:
    """Let classes below inherit nothing by these names: Strawberry asks dataclasses, and leaves out what is private."""
    noted: dict[str, Field[Any]] = cls.__dataclass_fields__  # type: ignore[attr-defined]
    private: Any = strawberry.Private
    hidden = [(name, private[None], field(default=None, init=False, repr=False)) for name in names]
    noted |= make_dataclass("Hidden", hidden).__dataclass_fields__  # type: ignore[attr-defined]
