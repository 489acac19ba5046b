"""Which errors of an execution a client is told of. All others are replaced by an id that is also in the log."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterator
from types import FrameType

from graphql import GraphQLError, Node
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from gqlauth.answers import AnswerTooLarge
from gqlauth.documents import discreet

logger = logging.getLogger("gqlauth")

INTERNAL_ERROR = "INTERNAL_ERROR"
# Where graphql-core says what is wrong with the arguments of a field. The schema cannot tell it before for a nullable
# variable in the place of an argument that has a default and takes no null.
ARGUMENTS = "graphql.execution.values"
# Where graphql-core awaits what a resolver has returned. An error that a future was given has no other frame.
AWAITING = frozenset({"with_abort_signal", "complete_awaitable_value", "complete_awaitable_list_item_value"})
# Where Strawberry says what is wrong with `first`, `last`, `before` and `after`, by errors that are no GraphQLErrors.
RELAY_ARGUMENTS = ("strawberry.relay.utils", "from_arguments")


def masked(result: ExecutionResult) -> ExecutionResult:
    """Replace what went wrong inside by an id that is also in the log (ASVS 16.5.1).

    What is told are the refusals of guards and limits, what the host has raised as a `GraphQLError`, and what is wrong
    with the document and its variables. An answer that is too large is refused as a whole.
    """
    if not result.errors:
        return result
    for error in result.errors:
        if isinstance(error.original_error, AnswerTooLarge):
            result.data, result.errors = None, [error.original_error]
            return result
    is_executed = not isinstance(result, PreExecutionError)
    result.errors = [_mask(error, is_executed=is_executed) for error in result.errors]
    return result


def _mask(error: GraphQLError, *, is_executed: bool) -> GraphQLError:
    cause = error.original_error
    if cause is None:
        # Before the execution, it is about the document.
        return _mask_graphql_error(error, error) if is_executed else error
    if isinstance(cause, GraphQLError):
        return _mask_graphql_error(error, cause)
    if isinstance(cause, ValueError | TypeError) and RELAY_ARGUMENTS in map(_place, _frames(cause)):
        return discreet(GraphQLError(str(cause), error.nodes, path=error.path))
    return internal_error(cause, error.nodes, error.path)


def _mask_graphql_error(error: GraphQLError, cause: GraphQLError) -> GraphQLError:
    """Mask what graphql-core itself has raised: it quotes the values of resolvers, whole objects among them."""
    *_, raised = [None, *_frames(cause)]
    if raised is None or _is_passed_on(cause, raised):
        return error
    module, _ = _place(raised)
    if module == ARGUMENTS:
        return discreet(error)
    if module.partition(".")[0] == "graphql":
        return internal_error(cause, error.nodes, error.path)
    return error


def _is_passed_on(cause: GraphQLError, raised: FrameType) -> bool:
    """Tell whether the error is what a resolver has returned, or what the awaitable that it has returned raised."""
    return raised.f_code.co_name in AWAITING or raised.f_locals.get("result") is cause


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames that the error went through. The last is where it was raised."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _place(frame: FrameType) -> tuple[str, str]:
    """Return the names of the module and of the function."""
    return str(frame.f_globals.get("__name__")), frame.f_code.co_name


def internal_error(
    cause: Exception, nodes: Collection[Node] | None = None, path: Collection[str | int] | None = None
) -> GraphQLError:
    """Log what went wrong, and return what a client is told of it: an id that is also in the log."""
    error_id = secrets.token_hex(8)
    logger.error("internal_error id=%s path=%s", error_id, path, exc_info=cause)
    extensions = {"code": INTERNAL_ERROR, "id": error_id}
    return GraphQLError("Something went wrong on our side.", nodes, path=path, extensions=extensions)
