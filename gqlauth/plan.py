"""What every execution of an operation would find out anew, found out once and kept with the document.

`PlannedExecutor` is graphql-core's executor with look-ups in a `Plan`: which fields the selections come to, and which
of them only read an attribute. All that resolves, completes, awaits and reports errors stays graphql-core's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeGuard

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    OperationType,
    TypeNameMetaFieldDef,
    Undefined,
    get_nullable_type,
    is_leaf_type,
)
from graphql.execution import (
    ExecutionResult,
    Executor,
    VariableValues,
    default_field_resolver,
    default_type_resolver,
    get_variable_values,
)
from graphql.execution.collect_fields import CollectedFields, FieldDetailsList, collect_fields
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from gqlauth.answers import ListBudget
from gqlauth.errors import MAX_REPORTED_ERRORS


def is_awaitable(value: Any) -> TypeGuard[Awaitable[Any]]:
    """Tell whether a resolver's value has to be awaited; what has no `__await__` in its class need not be."""
    return hasattr(type(value), "__await__")


class HookedExecutor(ListBudget, StrawberryGraphQLCoreExecutionContext):
    """Strawberry's executor, for schemas with extensions and for subscriptions, under the limit on answers."""


class PlainExecutor(ListBudget, Executor[Any]):
    """graphql-core's executor without incremental delivery, with the resolve info that Strawberry expects."""

    operation_extensions: dict[str, Any] | None = None
    build_resolve_info: Any = StrawberryGraphQLCoreExecutionContext.build_resolve_info


def is_plannable(document: DocumentNode) -> bool:
    """Tell whether the document has no directives: what they leave in or out depends on the request."""
    return document.loc is not None and "@" not in document.loc.source.body


class Attribute(NamedTuple):
    """A field of a leaf type that is read off its parent, without arguments, resolve info or a guard."""

    definition: GraphQLField
    read: Callable[[Any], Any]
    coerce: Callable[[Any], Any]


class Plan:
    """One operation of a document without directives: its selections come to the same fields every time."""

    def __init__(self, executor: PlainExecutor) -> None:
        """Take over what `Executor.build` has found out, and nothing of its request."""
        self.schema = executor.schema
        self.operation = executor.operation
        self.fragment_definitions = executor.fragment_definitions
        self.fragments = executor.fragments
        self.hide_suggestions = executor.hide_suggestions
        root_type = self.schema.get_root_type(self.operation.operation)
        assert root_type is not None  # noqa: S101 -- validation has refused the operation otherwise
        self.root_type = root_type
        self.root_fields = collect_fields(
            self.schema, self.fragments, executor.variable_values, root_type, self.operation
        ).grouped_field_set
        location = self.operation.loc
        self._most_fields = len(location.source.body) if location else 0
        self._forget()

    def executor(
        self, root_value: Any, context_value: Any, variables: dict[str, Any] | None
    ) -> PlannedExecutor | list[GraphQLError]:
        """Return the executor of one request, or what is wrong with its variables."""
        values = get_variable_values(
            self.schema,
            self.operation.variable_definitions or (),
            variables or {},
            max_errors=MAX_REPORTED_ERRORS,
            hide_suggestions=self.hide_suggestions,
        )
        return values if isinstance(values, list) else PlannedExecutor(self, root_value, context_value, values)

    def attribute(self, parent_type: GraphQLObjectType, details: FieldDetailsList) -> Attribute | None:
        """Return how to read this field, or None if it has a resolver."""
        known = self._attributes.get(id(details))
        if known is None:
            # The list is kept beside, so that no other list can get its id.
            known = self._attributes[id(details)] = (details, self._attribute(parent_type, details))
        return known[1]

    def trim(self) -> None:
        """Forget what was found out if it has outgrown its document, as fragments within fragments can make it."""
        if len(self._attributes) > self._most_fields:
            self._forget()

    def _forget(self) -> None:
        # New ones: an execution that is under way goes on with those that it began with.
        self.sub_fields: dict[tuple[GraphQLObjectType, int], tuple[FieldDetailsList, CollectedFields]] = {}
        self._attributes: dict[int, tuple[FieldDetailsList, Attribute | None]] = {}

    def _attribute(self, parent_type: GraphQLObjectType, details: FieldDetailsList) -> Attribute | None:
        definition = self.schema.get_field(parent_type, details[0].node.name.value)
        leaf = get_nullable_type(definition.type) if definition is not None else None
        if definition is None or not is_leaf_type(leaf):
            return None
        if definition is TypeNameMetaFieldDef:
            return Attribute(definition, lambda source: parent_type.name, leaf.coerce_output_value)
        field = definition.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        if not isinstance(field, StrawberryField) or not field.is_basic_field or definition.resolve is None:
            return None
        # Strawberry's resolver of a basic field takes any arguments and looks at none but the source.
        return Attribute(definition, definition.resolve, leaf.coerce_output_value)


class PlannedExecutor(PlainExecutor):
    """Executes a planned operation for one request."""

    def __init__(self, plan: Plan, root_value: Any, context_value: Any, variable_values: VariableValues) -> None:
        super().__init__(
            plan.schema,
            plan.fragment_definitions,
            plan.fragments,
            root_value,
            context_value,
            plan.operation,
            variable_values,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
            is_awaitable=is_awaitable,
            hide_suggestions=plan.hide_suggestions,
        )
        self._plan = plan
        self._relevant_sub_fields = plan.sub_fields

    def execute_operation(self, serially: bool | None = None) -> Any:
        """Execute the operation, or return what to await for its result."""
        if serially is None:
            serially = self.operation.operation == OperationType.MUTATION
        plan = self._plan
        try:
            data: Any = self.execute_root_grouped_field_set(
                plan.root_type, self.root_value, plan.root_fields, serially, None
            )
        except GraphQLError as error:
            return self._answer(None, error)
        return self._answer_later(data) if is_awaitable(data) else self._answer(data)

    def execute_field(
        self,
        parent_type: GraphQLObjectType,
        source: Any,
        field_details_list: FieldDetailsList,
        path: Path,
        position_context: Any,
    ) -> Any:
        """Read an attribute straight away. Every other field, and every value but a plain one, is graphql-core's."""
        attribute = self._plan.attribute(parent_type, field_details_list)
        if attribute is None:
            return super().execute_field(parent_type, source, field_details_list, path, position_context)
        return_type = attribute.definition.type
        try:
            value = attribute.read(source)
            if not (value is None or is_awaitable(value) or isinstance(value, Exception)):
                coerced = attribute.coerce(value)
                if not (coerced is None or coerced is Undefined):
                    return coerced
            nodes = [details.node for details in field_details_list]
            info = self.build_resolve_info(attribute.definition, nodes, parent_type, path)
            complete = self.complete_awaitable_value if is_awaitable(value) else self.complete_value
            return complete(return_type, field_details_list, info, path, value, position_context)
        except Exception as error:
            self.handle_field_error(error, return_type, field_details_list, path)
            return None

    async def _answer_later(self, data: Awaitable[dict[str, Any]]) -> ExecutionResult:
        try:
            return self._answer(await data)
        except GraphQLError as error:
            return self._answer(None, error)

    def _answer(self, data: dict[str, Any] | None, error: GraphQLError | None = None) -> ExecutionResult:
        if error is not None:
            self.collected_errors.add(error, None)
        self._plan.trim()
        return ExecutionResult(data, self.collected_errors.errors or None)
