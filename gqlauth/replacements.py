"""A host's own GraphQL types in the place of ours, wherever a schema names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any

from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.base import StrawberryContainer, get_object_definition
from strawberry.types.field import StrawberryField
from strawberry.types.union import StrawberryUnion

from gqlauth.errors import ConfigurationError

Replacements = Mapping[Any, Any]


def find(types: Iterable[Any], bases: Iterable[type]) -> Replacements:
    """Return which of `types` stands for which of ours: the one that is a subclass of it.

    Raises `ConfigurationError` if one would go by another name than ours, or two would stand for the same.
    """
    found: dict[Any, Any] = {}
    for base in bases:
        for own in types:
            if isinstance(own, type) and issubclass(own, base) and own is not base:
                if base in found:
                    raise ConfigurationError(f"{own} and {found[base]} both stand for gqlauth.{base.__name__}")
                if (name := get_object_definition(own, strict=True).name) != base.__name__:
                    raise ConfigurationError(f'{own} would be called {name}: give it name="{base.__name__}"')
                found[base] = own
    return found


def replace(field: StrawberryField, replacements: Replacements) -> StrawberryField:
    """Return the field with the host's types in place of ours, as its own and as those of its arguments."""
    kind = _replace(field.type, replacements)
    # A field without a resolver would remember that it has no arguments, but an extension may bring it one (Relay).
    given = field.arguments if field.base_resolver else []
    arguments = [_replace_argument(argument, replacements) for argument in given]
    if kind is field.type and all(new is old for new, old in zip(arguments, given, strict=True)):
        return field
    # Ours stays as it is: other schemas are made of it.
    changed = copy(field)
    changed.type = kind
    if given:
        changed.arguments = arguments
    return changed


def _replace_argument(argument: StrawberryArgument, replacements: Replacements) -> StrawberryArgument:
    kind = _replace(argument.type, replacements)
    if kind is argument.type:
        return argument
    changed = copy(argument)
    changed.type_annotation = StrawberryAnnotation(kind)
    return changed


def _replace(kind: Any, replacements: Replacements) -> Any:
    if isinstance(kind, StrawberryContainer):
        inner = _replace(kind.of_type, replacements)
        return kind if inner is kind.of_type else type(kind)(inner)
    if isinstance(kind, StrawberryUnion):
        members = [_replace(member, replacements) for member in kind.types]
        if all(new is old for new, old in zip(members, kind.types, strict=True)):
            return kind
        changed = copy(kind)
        changed.type_annotations = tuple(map(StrawberryAnnotation, members))
        return changed
    return replacements.get(kind, kind) if isinstance(kind, type) else kind
