"""A schema that is a subgraph of an Apollo Federation: guards show as directives that the router understands, too."""

from __future__ import annotations

import copy
from functools import reduce

import strawberry
from strawberry.federation.schema_directives import Authenticated, FederationDirective, RequiresScopes
from strawberry.permission import PermissionExtension
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from gqlauth.guards.guard import AllOf, AnyOf, Guard, Not, as_guard
from gqlauth.guards.viewer import Anonymous, HasScope, ViewerGuard
from gqlauth.schema import Schema

ASKED = (Authenticated, RequiresScopes)


class FederatedSchema(Schema, strawberry.federation.Schema):
    """A `gqlauth.Schema` that is a `strawberry.federation.Schema`. Takes what both take.

    Beside the directive of its guard, a field has `@authenticated` or `@requiresScopes`: what the router can ask before
    us. It never asks for more than the guard does. The default guard leaves `_service` open, for the router's
    composition, and closes `_entities`.
    """

    open_names = frozenset({"_service"})

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        """Return the fields of a type, with what the router is to ask."""
        return [_announced(field) for field in super().get_fields(type_definition)]

    @property
    def schema_directives_in_use(self) -> list[object]:
        """All directives in use, from which Strawberry makes the `@link`. It does not see those of `get_fields`."""
        kinds = (kind.implementation for kind in self.schema_converter.type_map.values())
        fields = (field for kind in kinds for field in getattr(kind, "fields", {}).values())
        definitions = (field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF) for field in fields)
        ours = [given for field in definitions if field for given in field.directives if isinstance(given, ASKED)]
        return [*super().schema_directives_in_use, *ours]


def _announced(field: StrawberryField) -> StrawberryField:
    directive = _directive(field)
    if directive is None or any(isinstance(given, ASKED) for given in field.directives):
        return field
    announced = copy.copy(field)
    announced.directives = [*field.directives, directive]
    return announced


def _directive(field: StrawberryField) -> FederationDirective | None:
    """Return what the router can check of the field's guards. A scope implies a signed-in user."""
    extensions = [extension for extension in field.extensions if isinstance(extension, PermissionExtension)]
    guards = [as_guard(given) for each in extensions if each.use_directives for given in each.permissions]
    if not guards:
        return None
    guard = reduce(AllOf, guards)
    scopes = _scopes(guard)
    if scopes is not None:
        return RequiresScopes(scopes=scopes)
    return Authenticated() if _needs_viewer(guard) else None


def _needs_viewer(guard: Guard) -> bool:
    """Return whether the guard refuses every anonymous caller."""
    match guard:
        case AllOf():
            return _needs_viewer(guard.left) or _needs_viewer(guard.right)
        case AnyOf():
            return _needs_viewer(guard.left) and _needs_viewer(guard.right)
        case Not() if not isinstance(guard, Anonymous):
            return _needs_viewer(guard.guard)
    return isinstance(guard, ViewerGuard)


def _scopes(guard: Guard) -> list[list[str]] | None:
    """Return the sets of scopes of which the guard requires one, or None if it can let a caller in without any."""
    match guard:
        case HasScope():
            return [guard.names]
        case AllOf():
            left, right = _scopes(guard.left), _scopes(guard.right)
            if left is None or right is None:
                return left or right
            return [list(dict.fromkeys([*some, *more])) for some in left for more in right]
        case AnyOf():
            left, right = _scopes(guard.left), _scopes(guard.right)
            return None if left is None or right is None else [*left, *right]
    return None
