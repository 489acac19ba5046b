"""The schema: a line for each feature, and how its operations are executed.

`Schema` is a `strawberry.Schema` with a short way through: a cached document, graphql-core's plain executor
(Strawberry's default is the one for `@defer`), limits on documents, and errors that tell nothing of the inside.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import strawberry
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types import ExecutionResult
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.execution import ExecutionContext, PreExecutionError
from strawberry.types.field import StrawberryField
from strawberry.types.graphql import OperationType

from gqlauth import replacements
from gqlauth.accounts.graphql import AccountMutation, AccountQuery, SignupInput, UpdateProfileInput
from gqlauth.answers import AnswerTooLarge, is_too_large, set_limit
from gqlauth.documents import Documents, InvalidDocument, Limits, Prepared, discreet
from gqlauth.errors import MAX_REPORTED_ERRORS
from gqlauth.guards.guard import Permission
from gqlauth.guards.placing import place_guards
from gqlauth.masking import masked
from gqlauth.plan import HookedExecutor, PlainExecutor, Plan, is_awaitable, is_plannable
from gqlauth.sessions.graphql import SessionMutation, SessionQuery, SessionSubscription
from gqlauth.users.graphql import User


@strawberry.type(description="Look.")
class Query(AccountQuery, SessionQuery):
    """All queries of gqlauth, to build on."""


@strawberry.type(description="Change.")
class Mutation(AccountMutation, SessionMutation):
    """All mutations of gqlauth, to build on."""


@strawberry.type(description="Hear of it.")
class Subscription(SessionSubscription):
    """All subscriptions of gqlauth, to build on."""


class Schema(strawberry.Schema):
    """A `strawberry.Schema` that is fast, limited, and silent about its inside.

    Takes what `strawberry.Schema` takes, and

    - `limits` on documents and answers: where they are given, those of the settings do not count,
    - `default_guard`, the guard of every root field that has none and is not marked `public()`.

    A subclass of our `User`, `SignupInput` or `UpdateProfileInput` among `types` takes its place everywhere.

    With schema extensions or operation directives, operations go through Strawberry's own, slower execution; limits and
    masking hold there too.
    """

    # Root fields that no default guard closes, by their names in GraphQL.
    open_names: frozenset[str] = frozenset()

    def __init__(
        self,
        query: type,
        mutation: type | None = None,
        subscription: type | None = None,
        *,
        limits: Limits | None = None,
        default_guard: Permission | None = None,
        types: Iterable[Any] = (),
        extensions: Iterable[type[SchemaExtension]] = (),
        **options: Any,
    ) -> None:
        prepare, types = _preparing(self), list(types)
        # Before the rest: Strawberry asks for the fields of all types while it makes the schema.
        self._default_guard = default_guard
        self._replacements = replacements.find(types, (User, SignupInput, UpdateProfileInput))
        self.user_type: type[User] = self._replacements.get(User, User)
        options.setdefault("execution_context_class", HookedExecutor)
        super().__init__(query, mutation, subscription, types=types, extensions=[*extensions, prepare], **options)
        self._has_hooks = len(self.extensions) > 1 or bool(self.directives)
        # Strawberry's handlers of exceptions want the resolve info that a plan leaves out.
        self._has_plans = not (self.exception_handlers or self._has_hooks)
        _mark_one_of(self._schema)
        self._given_limits = limits
        self._limit(limits or Limits())

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        """Return the fields of a type as they are in this schema: with the host's types, and with their guards."""
        fields = [replacements.replace(field, self._replacements) for field in super().get_fields(type_definition)]
        is_root = type_definition.origin in (self.query, self.mutation, self.subscription)
        default = self._default_guard if is_root else None
        return place_guards(type_definition, fields, self.config.name_converter.from_field, default, self.open_names)

    @property
    def limits(self) -> Limits:
        """The limits on documents and answers that hold now."""
        return self._limits

    def limit(self, limits: Limits) -> None:
        """Apply these limits from now on, unless the schema was given its own.

        Of its own, what is None is still filled in: whether introspection is open, and the size of an answer.
        """
        given = self._given_limits
        if given is not None:
            limits = replace(
                given,
                introspection=limits.introspection if given.introspection is None else given.introspection,
                answer_bytes=limits.answer_bytes if given.answer_bytes is None else given.answer_bytes,
            )
        self._limit(limits)

    def _limit(self, limits: Limits) -> None:
        self._limits = limits
        self.documents = Documents(self._schema, limits)
        self._hide_suggestions = not limits.introspects
        set_limit(self._schema, limits.answer_bytes)

    async def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """Execute one operation. The result is a `PreExecutionError` where execution did not begin."""
        executor = self._prepare(
            query, root_value, context_value, variable_values, operation_name, allowed_operation_types
        )
        if isinstance(executor, PreExecutionError):
            return executor
        if self._has_hooks:
            result = await super().execute(
                query,
                variable_values,
                context_value,
                root_value,
                operation_name,
                allowed_operation_types,
                operation_extensions,
            )
            return masked(result)
        executor.operation_extensions = operation_extensions
        outcome: Any = executor.execute_operation()
        result = await outcome if is_awaitable(outcome) else outcome
        return masked(ExecutionResult(data=result.data, errors=result.errors))

    async def stream(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        operation_extensions: dict[str, Any] | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Execute one operation and return its results, under the limits and with the masks of `execute`."""
        prepared = self._prepare(
            query, root_value, context_value, variable_values, operation_name, allowed_operation_types
        )
        if isinstance(prepared, PreExecutionError):
            return _only(prepared)
        results = await super().stream(
            query,
            variable_values,
            context_value,
            root_value,
            operation_name,
            operation_extensions,
            allowed_operation_types,
        )
        return self._answers(results, query or "", operation_name)

    async def _answers(
        self, results: AsyncGenerator[Any, None], query: str, name: str | None
    ) -> AsyncGenerator[Any, None]:
        """Yield the results, masked; each is an answer with a limit of its own."""
        limit, document = self.limits.answer_bytes, self.documents.get(query).document
        async with aclosing(results):
            async for result in results:
                if limit is not None and is_too_large(result.data, document, name, limit):
                    yield ExecutionResult(data=None, errors=[AnswerTooLarge(limit)])
                else:
                    yield masked(result)

    def execute_sync(self, *args: Any, **options: Any) -> ExecutionResult:
        """Execute one operation whose resolvers are all plain functions, with the masks of `execute`."""
        return masked(super().execute_sync(*args, **options))

    def _prepare(
        self,
        query: str | None,
        root_value: Any,
        context_value: Any,
        variables: dict[str, Any] | None,
        name: str | None,
        allowed: Iterable[OperationType] | None,
    ) -> PlainExecutor | PreExecutionError:
        """Return what executes the operation, or why it cannot be executed."""
        try:
            prepared = self.documents.get(query or "")
        except InvalidDocument as invalid:
            return PreExecutionError(data=None, errors=invalid.errors)
        if error := _refuse_type(prepared.document, name, allowed):
            return PreExecutionError(data=None, errors=[error])
        executor = self._executor(prepared, root_value, context_value, variables, name)
        if isinstance(executor, list):
            return PreExecutionError(data=None, errors=[discreet(error) for error in executor[:MAX_REPORTED_ERRORS]])
        return executor

    def _executor(
        self,
        prepared: Prepared,
        root_value: Any,
        context_value: Any,
        variables: dict[str, Any] | None,
        name: str | None,
    ) -> PlainExecutor | list[GraphQLError]:
        """Return what executes the operation, by its plan from the second time on; or why it cannot be executed."""
        plan = prepared.plans.get(name)
        request = (prepared.document, root_value, context_value, variables, name)
        try:
            if plan is not None:
                return plan.executor(root_value, context_value, variables)
            executor = self._new_executor(*request, hide_suggestions=self._hide_suggestions)
        except IndexError:
            # graphql-core fails to make suggestions for a name with a letter that is two in lower case (İ).
            return self._new_executor(*request, hide_suggestions=True)
        if isinstance(executor, PlainExecutor) and self._has_plans and is_plannable(prepared.document):
            prepared.plans[name] = Plan(executor)
        return executor

    def _new_executor(
        self,
        document: DocumentNode,
        root_value: Any,
        context_value: Any,
        variables: dict[str, Any] | None,
        name: str | None,
        *,
        hide_suggestions: bool,
    ) -> PlainExecutor | list[GraphQLError]:
        executor: Any = PlainExecutor.build(
            self._schema,
            document,
            root_value,
            context_value,
            variables,
            name,
            is_awaitable=is_awaitable,
            max_coercion_errors=MAX_REPORTED_ERRORS,
            hide_suggestions=hide_suggestions,
        )
        return executor  # type: ignore[no-any-return]

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Log nothing: `masked` logs what is unexpected, and a refusal is an event, not an error."""


def _mark_one_of(schema: GraphQLSchema) -> None:
    """Let graphql-core check `@oneOf` inputs: Strawberry's own rule fails on variables within some fragments."""
    for kind in schema.type_map.values():
        definition = kind.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        if isinstance(kind, GraphQLInputObjectType) and getattr(definition, "is_one_of", False):
            kind.is_one_of = True


def _preparing(schema: Schema) -> type[SchemaExtension]:
    """Return the extension that brings the limits into Strawberry's own execution."""

    class Prepare(SchemaExtension):
        def on_parse(self) -> Iterator[None]:
            try:
                self.execution_context.graphql_document = schema.documents.get(
                    self.execution_context.query or ""
                ).document
            except InvalidDocument as invalid:
                raise invalid.errors[0] from None
            # The documents are validated already.
            self.execution_context.validation_rules = ()
            yield

    return Prepare


def _refuse_type(
    document: DocumentNode, name: str | None, allowed: Iterable[OperationType] | None
) -> GraphQLError | None:
    """Return the error if the chosen operation is of a type that this transport does not serve."""
    if allowed is None:
        return None
    served = {kind.value for kind in allowed}
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode) and definition.operation.value not in served:
            chosen = name is None or (definition.name is not None and definition.name.value == name)
            if chosen:
                return GraphQLError(f"A {definition.operation.value} is not served here.", definition)
    return None


async def _only(result: ExecutionResult) -> AsyncGenerator[ExecutionResult, None]:
    yield result
