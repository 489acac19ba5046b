"""GraphQL documents: parsed, limited, validated, and kept.

Every limit follows fragments and is measured once for each fragment, so that the check costs no more than reading the
document (the walk without a memo is itself a denial of service: GHSA-mfj6-6p54-m98c).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from graphql import (
    SKIP,
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInputType,
    GraphQLSchema,
    InlineFragmentNode,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OverlappingFieldsCanBeMergedRule,
    SelectionSetNode,
    ValidationContext,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VisitorAction,
    parse,
    specified_rules,
    validate,
    validate_input_literal,
)
from graphql.pyutils import print_path_list
from graphql.validation.validate import ValidationAbortedError
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule

from gqlauth.answers import INTROSPECTION_FIELDS
from gqlauth.errors import MAX_REPORTED_ERRORS
from gqlauth.plan import Plan
from gqlauth.settings import Settings

# A message names what it is about, and a name may be as long as the document.
MAX_MESSAGE_LENGTH = 500
# What is kept is bounded by the documents' total size: a syntax tree takes some 500 times the bytes of its source.
CACHED_CHARACTERS = 100_000
LONGEST_CACHED = 10_000
# How many documents that were not kept are remembered, by their hashes.
MOST_REMEMBERED = 10_000
# Whether fields of one name can be merged takes work that grows with the square of their number: 180 of them cost
# 270 ms under graphql-core's own budget (500,000).
MERGE_BUDGET = 10_000
# One answer to an introspection query is 30 kB and 8 ms of work. A tool asks once in a document, not twenty times.
MAX_INTROSPECTIONS = 3
# graphql-core ends its messages in the value that was sent, and that may be a password (ASVS 16.2.5). The message ends
# before each of these markers, and in the text beside it.
QUOTED_AFTER = (
    ("? Found: ", "?"),
    (", but encountered error ", "."),
    (", found: ", "."),
    (" found: ", "."),
)
SYNTAX_ERROR = "Syntax Error: "
QUOTED_IN_SYNTAX = (("String '", "String."), ("Int '", "Int."), ("Float '", "Float."))


class InvalidDocument(Exception):
    """The document cannot be executed; `errors` say why."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__()
        self.errors = [discreet(error) for error in errors[:MAX_REPORTED_ERRORS]]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one document may ask for, and how large its answer may be.

    `answer_bytes` is the size of the answer as JSON, in bytes, without what it tells about the schema. Where it or
    `introspection` is None, the settings decide; without settings, answers have no limit and introspection is open.
    """

    tokens: int = 1_000
    depth: int = 16
    aliases: int = 30
    root_fields: int = 20
    directives: int = 50
    introspection: bool | None = None
    answer_bytes: int | None = None

    @property
    def introspects(self) -> bool:
        """Whether the schema can be asked for, and misspelled names get suggestions."""
        return self.introspection is not False

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Take the limits out of the settings."""
        return cls(
            tokens=settings.max_tokens,
            depth=settings.max_depth,
            aliases=settings.max_aliases,
            root_fields=settings.max_root_fields,
            directives=settings.max_directives,
            introspection=settings.allows_introspection,
            answer_bytes=settings.max_answer_bytes,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid document, and the plans of those of its operations that have been executed, by the name asked for."""

    document: DocumentNode
    plans: dict[str | None, Plan] = field(default_factory=dict)


class Documents:
    """Prepares documents for one schema, and remembers the valid ones."""

    def __init__(self, schema: GraphQLSchema, limits: Limits) -> None:
        self._schema = schema
        self._limits = limits
        # Made once: rules made for each request would defeat every cache behind them.
        closed = () if limits.introspects else (NoSchemaIntrospectionCustomRule,)
        ours: dict[type[ASTValidationRule], type[ASTValidationRule]] = {
            OverlappingFieldsCanBeMergedRule: _BoundedMerge,
            ValuesOfCorrectTypeRule: _NamedValues,
        }
        # The last is Strawberry's own: `Maybe` fields take no null.
        self._rules = (*(ours.get(rule, rule) for rule in specified_rules), *closed, MaybeNullValidationRule)
        # Both in the order of their last use, the latest last.
        self._kept: OrderedDict[str, Prepared] = OrderedDict()
        self._kept_characters = 0
        self._turned_away: OrderedDict[int, None] = OrderedDict()

    def get(self, source: str) -> Prepared:
        """Return the document, ready to execute. Raise `InvalidDocument` if it is not."""
        prepared = self._kept.get(source)
        if prepared is None:
            prepared = Prepared(self._prepare(source))
            self._keep(source, prepared)
        else:
            self._kept.move_to_end(source)
        return prepared

    def _prepare(self, source: str) -> DocumentNode:
        try:
            document = parse(source, max_tokens=self._limits.tokens)
            check_limits(document, self._limits)
        except GraphQLError as error:
            raise InvalidDocument([error]) from None
        except RecursionError:
            raise InvalidDocument([GraphQLError("The document is nested too deeply.")]) from None
        errors = validate(
            self._schema,
            document,
            self._rules,
            max_errors=MAX_REPORTED_ERRORS,
            hide_suggestions=not self._limits.introspects,
        )
        if any(type(error) is ValidationAbortedError and error.message == "Validation aborted." for error in errors):
            raise InvalidDocument([GraphQLError("The document is too complex to validate.")])
        if errors:
            raise InvalidDocument(errors if self._limits.introspects else [_unhelpful(error) for error in errors])
        return document

    def _keep(self, source: str, prepared: Prepared) -> None:
        """Keep the document if there is room, or if it is asked for again.

        A full cache gives nothing up for a document that is asked for once: or a client that sends a new one each time
        would empty it, and every other client's documents would have to be parsed and validated anew.
        """
        if len(source) > LONGEST_CACHED:
            return
        if self._kept_characters + len(source) > CACHED_CHARACTERS and not self._is_asked_again(source):
            return
        self._kept[source] = prepared
        self._kept_characters += len(source)
        while self._kept_characters > CACHED_CHARACTERS:
            unused, _ = self._kept.popitem(last=False)
            self._kept_characters -= len(unused)

    def _is_asked_again(self, source: str) -> bool:
        """Tell whether the document was turned away before; remember it otherwise."""
        key = hash(source)
        if key in self._turned_away:
            del self._turned_away[key]
            return True
        self._turned_away[key] = None
        if len(self._turned_away) > MOST_REMEMBERED:
            self._turned_away.popitem(last=False)
        return False


def discreet(error: GraphQLError) -> GraphQLError:
    """Return graphql-core's error about a document or its variables, short and without the value that it quotes.

    The name and the expected type stay. Not for the errors of resolvers: their messages are the host's.
    """
    # Names in it may be as long as the body of a request. It is cut before anything is searched for in it, and searched
    # without regular expressions: one of them once took seconds for a single message.
    message = error.message
    if len(message) > MAX_MESSAGE_LENGTH:
        message = f"{message[: MAX_MESSAGE_LENGTH - 1]}…"
    message = _without_value(message)
    if message == error.message:
        return error
    return GraphQLError(message, error.nodes, error.source, error.positions, error.path)


def _without_value(message: str) -> str:
    markers = QUOTED_AFTER + QUOTED_IN_SYNTAX if message.startswith(SYNTAX_ERROR) else QUOTED_AFTER
    for marker, ending in markers:
        before, found, _ = message.partition(marker)
        if found:
            message = before + ending
    before, represent, after = message.partition(" cannot represent")
    expected, found, _ = after.partition(": ")
    return f"{before}{represent}{expected}." if found else message


def _unhelpful(error: GraphQLError) -> GraphQLError:
    """Return the error without a suggestion. graphql-core leaves one standing: what to select of an object."""
    return GraphQLError(error.message.partition(" Did you mean ")[0], error.nodes, error.source, error.positions)


class _NamedValues(ValuesOfCorrectTypeRule):
    """graphql-core's rule, but the error of a literal names its field, as the error of a variable does."""

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> VisitorAction:
        def report(error: GraphQLError, path: list[str | int]) -> None:
            message = f"Invalid value{print_path_list(path)}: {error.message}"
            self.report_error(GraphQLError(message, error.nodes if error.locations else node))

        if input_type:
            validate_input_literal(node, input_type, report, hide_suggestions=self.context.hide_suggestions)
        return SKIP


class _BoundedMerge(OverlappingFieldsCanBeMergedRule):
    """graphql-core's rule, which gives up earlier."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self.rule_context.remaining_complexity_budget = MERGE_BUDGET


@dataclass(slots=True)
class Size:
    """How much a selection asks for, fragments followed."""

    depth: int = 0
    aliases: int = 0
    fields: int = 0
    directives: int = 0
    introspections: int = 0


def check_limits(document: DocumentNode, limits: Limits) -> None:
    """Raise `GraphQLError` if any operation or fragment of the document asks for more than the limits."""
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    measure = _Measure(fragments, limits)
    for name in fragments:
        measure.fragment(name)
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            size = measure.selections(definition.selection_set, 1)
            size.directives += len(definition.directives or ())
            size.directives += sum(len(v.directives or ()) for v in definition.variable_definitions or ())
            _check(size.depth, limits.depth, "depth")
            _check(size.aliases, limits.aliases, "number of aliases")
            _check(size.fields, limits.root_fields, "number of root fields")
            _check(size.directives, limits.directives, "number of directives")
            _check(size.introspections, MAX_INTROSPECTIONS, "number of introspections")


class _Measure:
    """Measures selections; each fragment once."""

    def __init__(self, fragments: dict[str, FragmentDefinitionNode], limits: Limits) -> None:
        self._fragments = fragments
        self._limits = limits
        self._sizes: dict[str, Size] = {}

    def fragment(self, name: str) -> Size:
        """Measure a fragment. An unknown one or one inside of itself counts as empty: validation refuses it."""
        if name not in self._sizes:
            self._sizes[name] = Size()
            definition = self._fragments.get(name)
            if definition is not None:
                size = self.selections(definition.selection_set, 1)
                size.directives += len(definition.directives or ())
                self._sizes[name] = size
        return self._sizes[name]

    def selections(self, selection_set: SelectionSetNode, level: int) -> Size:
        """Measure what is between two braces, `level` deep in its definition."""
        _check(level, self._limits.depth, "depth")
        total = Size()
        for selection in selection_set.selections:
            total.directives += len(selection.directives or ())
            if isinstance(selection, FieldNode):
                self._field(selection, total, level)
            elif isinstance(selection, FragmentSpreadNode):
                _add(total, self.fragment(selection.name.value))
            elif isinstance(selection, InlineFragmentNode):
                _add(total, self.selections(selection.selection_set, level))
        return total

    def _field(self, field: FieldNode, total: Size, level: int) -> None:
        inner = self.selections(field.selection_set, level + 1) if field.selection_set else Size()
        total.depth = max(total.depth, 1 + inner.depth)
        total.aliases += inner.aliases + (field.alias is not None)
        total.directives += inner.directives
        total.introspections += field.name.value in INTROSPECTION_FIELDS
        total.fields += 1


def _add(total: Size, part: Size) -> None:
    total.depth = max(total.depth, part.depth)
    total.aliases += part.aliases
    total.fields += part.fields
    total.directives += part.directives
    total.introspections += part.introspections


def _check(value: int, limit: int, what: str) -> None:
    if value > limit:
        raise GraphQLError(f"The document's {what} is over the limit of {limit}.")
