"""The guards of fields."""

from __future__ import annotations

from collections.abc import Iterator

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLLeafType,
    GraphQLObjectType,
    get_named_type,
    is_required_input_field,
)

from gqlauth.app import create_schema
from tests.support import GraphQLClient

# Those that sign in or out: who asks them need not be signed in yet, or no longer.
OPEN = {"signup", "login", "refreshToken", "logout"}


def test_every_field_is_guarded_but_those_that_sign_in_or_out(client: GraphQLClient) -> None:
    """GHSA-99h5-pjcv-gr6v (better-auth): who asks is what the token says, and without one nothing is answered."""
    refused = {}
    for operation, name, field in fields():
        answer = client.post(f"{operation} {{ {name}{arguments(field)} {selection(field)} }}").json()
        refused[name] = [error["extensions"] for error in answer.get("errors", [])]
    closed = {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}
    assert refused == {name: [] if name in OPEN else [closed] for name in refused}
    assert set(refused) > OPEN


def test_no_argument_names_a_user() -> None:
    """GHSA-99h5-pjcv-gr6v (better-auth): a user id out of the request's body was believed."""
    taken = {key.lower() for _, _, field in fields() for key in inputs(field)}
    assert {"email", "password", "id"} < taken
    assert not [key for key in taken if "user" in key or "account" in key]


def fields() -> Iterator[tuple[str, str, GraphQLField]]:
    """Yield every root field with its operation and name."""
    schema = create_schema()._schema
    for operation, parent in (("query", schema.query_type), ("mutation", schema.mutation_type)):
        assert isinstance(parent, GraphQLObjectType)
        yield from ((operation, name, field) for name, field in parent.fields.items())


def inputs(field: GraphQLField) -> list[str]:
    """Return the names of all that a field takes, those in its input types too."""
    kinds = [get_named_type(argument.type) for argument in field.args.values()]
    inner = [key for kind in kinds if isinstance(kind, GraphQLInputObjectType) for key in kind.fields]
    return [*field.args, *inner]


def arguments(field: GraphQLField) -> str:
    """Return a literal of text for all that the field wants; in what it takes for an input type, all is text."""
    written = []
    for key, argument in field.args.items():
        kind = get_named_type(argument.type)
        if isinstance(kind, GraphQLInputObjectType):
            wanted = [f'{name}: "x"' for name, inner in kind.fields.items() if is_required_input_field(inner)]
            written.append(f"{key}: {{{', '.join(wanted)}}}")
        else:
            written.append(f'{key}: "x"')
    return f"({', '.join(written)})" if written else ""


def selection(field: GraphQLField) -> str:
    return "" if isinstance(get_named_type(field.type), GraphQLLeafType) else "{ __typename }"
