"""How large an answer may become. Lists count against a budget while they are completed: most is known early."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from typing import Any

import msgspec
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionSetNode,
    get_nullable_type,
    get_operation_ast,
    is_abstract_type,
    is_non_null_type,
    is_object_type,
)
from graphql.execution import Executor
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import Path

ANSWER_TOO_LARGE = "ANSWER_TOO_LARGE"
INTROSPECTION_FIELDS = frozenset({"__schema", "__type"})
# Where a schema says how many bytes its answers may have. The executors find it there whoever has made them, Strawberry
# included.
LIMIT = "gqlauth_answer_bytes"

encode = msgspec.json.Encoder(enc_hook=str).encode


class AnswerTooLarge(GraphQLError):
    """The answer is refused as a whole: it is, or would become, larger than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        message = f"The answer is over the limit of {limit} bytes. Select fewer fields, or ask for fewer items at once."
        super().__init__(message, extensions={"code": ANSWER_TOO_LARGE})


def set_limit(schema: GraphQLSchema, answer_bytes: int | None) -> None:
    """Let the executions of this schema refuse larger answers. None sets no limit."""
    schema.extensions[LIMIT] = answer_bytes


class ListBudget(Executor[Any]):
    """An executor that refuses an answer as soon as the items of its lists must make it too large.

    What an item costs is the least that it can take: the names of its selected fields and one byte for each value. What
    a schema tells about itself does not count.
    """

    _spent = 0

    def build_per_event_executor(self, payload: Any) -> Executor[Any]:
        """Return the executor of one event of a subscription: each event is an answer."""
        executor = super().build_per_event_executor(payload)
        executor._spent = 0  # type: ignore[attr-defined]  # graphql-core copies this executor
        return executor

    def complete_list_value(
        self,
        return_type: GraphQLList[GraphQLOutputType],
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: AsyncIterable[Any] | Iterable[Any],
        position_context: Any,
    ) -> Any:
        """Complete a list. Raise `AnswerTooLarge`, before the first item where the list has a length."""
        limit = self.schema.extensions.get(LIMIT)
        if limit is not None and not info.parent_type.name.startswith("__"):
            cost = self._least_bytes(return_type.of_type, field_details_list)
            if isinstance(result, Sized):
                self._spend(cost * len(result), limit)
            elif isinstance(result, AsyncIterable):
                result = self._counted_later(result, cost, limit)
            elif isinstance(result, Iterable):
                result = self._counted(result, cost, limit)
        return super().complete_list_value(return_type, field_details_list, info, path, result, position_context)

    def _least_bytes(self, item_type: GraphQLOutputType, details: FieldDetailsList) -> int:
        """Return how many bytes an item of the list takes at least, with the comma after it."""
        kind = get_nullable_type(item_type)
        if is_abstract_type(kind):
            least = min(
                (self._least_of_object(each, details) for each in self.schema.get_possible_types(kind)), default=2
            )
        else:
            least = self._least_of_object(kind, details) if is_object_type(kind) else 2
        return least if is_non_null_type(item_type) else min(least, len("null,"))

    def _least_of_object(self, kind: GraphQLObjectType, details: FieldDetailsList) -> int:
        # `{"name":1,"other":1},`
        return 2 + sum(len(name) + 5 for name in self.collect_subfields(kind, details).grouped_field_set)

    def _spend(self, size: int, limit: int) -> None:
        self._spent += size
        if self._spent > limit:
            raise AnswerTooLarge(limit)

    def _counted(self, items: Iterable[Any], cost: int, limit: int) -> Iterator[Any]:
        for item in items:
            self._spend(cost, limit)
            yield item

    async def _counted_later(self, items: AsyncIterable[Any], cost: int, limit: int) -> AsyncIterator[Any]:
        async for item in items:
            self._spend(cost, limit)
            yield item


def is_too_large(data: Any, document: DocumentNode, name: str | None, limit: int) -> bool:
    """Tell whether an answer's data is over `limit` bytes as JSON, without what it tells about the schema itself."""
    if len(encode(data)) <= limit:
        return False
    if not isinstance(data, dict):
        return True
    names = introspected(document, name)
    return len(encode({key: value for key, value in data.items() if key not in names})) > limit


def introspected(document: DocumentNode, name: str | None) -> set[str]:
    """Return the names under which the operation's answer tells of the schema itself."""
    fragments = {
        definition.name.value: definition.selection_set
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    operation = get_operation_ast(document, name)
    waiting: list[SelectionSetNode | None] = [operation.selection_set if operation else None]
    names: set[str] = set()
    while waiting:
        selection_set = waiting.pop()
        for selection in selection_set.selections if selection_set else ():
            if isinstance(selection, FragmentSpreadNode):
                # Taken out: each is looked at once.
                waiting.append(fragments.pop(selection.name.value, None))
            elif isinstance(selection, InlineFragmentNode):
                waiting.append(selection.selection_set)
            elif isinstance(selection, FieldNode) and selection.name.value in INTROSPECTION_FIELDS:
                names.add((selection.alias or selection.name).value)
    return names
