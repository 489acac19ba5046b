"""Counts the work that a text makes, without a clock: steps of a regular expression, and lines of Python."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from types import FrameType
from typing import Any

# Beyond this a match is taken to be without end.
MOST_STEPS = 100_000


class TooManySteps(Exception):
    """A match did not end."""


class Matcher:
    """Matches as `re` does, by backtracking, and counts each node that it tries.

    It knows what patterns of the package are made of; it fails on what it does not know.
    """

    def __init__(self, pattern: re.Pattern[Any]) -> None:
        source = pattern.pattern
        self._tree = parser.parse(source.decode("latin-1") if isinstance(source, bytes) else source, pattern.flags)
        self._flags = pattern.flags
        self.steps = 0

    def count(self, text: str, method: str) -> int:
        """Return how many steps a call of this method of the pattern takes on the text."""
        self.steps, start = 0, 0
        while start <= len(text):
            end = self._match(text, start, whole=method == "fullmatch")
            if method in ("match", "fullmatch") or (end is not None and method == "search"):
                break
            start = start + 1 if end is None or end == start else end
        return self.steps

    def _match(self, text: str, start: int, *, whole: bool) -> int | None:
        for end in self._sequence(list(self._tree), 0, text, start):
            if not whole or end == len(text):
                return end
        return None

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise TooManySteps

    def _sequence(self, nodes: list[Any], index: int, text: str, at: int) -> Iterator[int]:
        """Yield every end of a match of the nodes from this index on, in the order in which `re` tries them."""
        if index == len(nodes):
            yield at
            return
        self._step()
        for end in self._node(nodes[index], text, at):
            yield from self._sequence(nodes, index + 1, text, end)

    def _node(self, node: Any, text: str, at: int) -> Iterator[int]:
        kind, value = node
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            yield from self._repeat(kind, value, text, at)
        elif kind is sre.SUBPATTERN:
            yield from self._sequence(list(value[3]), 0, text, at)
        elif kind is sre.BRANCH:
            for branch in value[1]:
                yield from self._sequence(list(branch), 0, text, at)
        elif kind in (sre.ASSERT, sre.ASSERT_NOT):
            yield from self._look(kind, value, text, at)
        elif kind is sre.AT:
            if self._is_at(value, text, at):
                yield at
        elif at < len(text) and self._fits(node, text[at]):
            yield at + 1

    def _repeat(self, kind: Any, value: Any, text: str, at: int) -> Iterator[int]:
        least, most, nodes = value[0], value[1], list(value[2])
        # Every end that a greedy repeat could have, found one after the other: a stack in place of a recursion.
        if len(nodes) == 1 and nodes[0][0] in (sre.LITERAL, sre.NOT_LITERAL, sre.IN, sre.ANY):
            ends = [at]
            while len(ends) <= most and ends[-1] < len(text) and self._fits(nodes[0], text[ends[-1]]):
                self._step()
                ends.append(ends[-1] + 1)
            kept = ends[least:]
            yield from kept if kind is sre.MIN_REPEAT else reversed(kept)
            return
        yield from self._repeat_group(nodes, least, most, text, at, 0)

    def _repeat_group(self, nodes: list[Any], least: int, most: Any, text: str, at: int, done: int) -> Iterator[int]:
        if done < most:
            for end in self._sequence(nodes, 0, text, at):
                if end > at:
                    yield from self._repeat_group(nodes, least, most, text, end, done + 1)
        if done >= least:
            yield at

    def _look(self, kind: Any, value: Any, text: str, at: int) -> Iterator[int]:
        direction, body = value
        nodes = list(body)
        begin = at if direction > 0 else at - body.getwidth()[0]
        found = begin >= 0 and any(direction > 0 or end == at for end in self._sequence(nodes, 0, text, begin))
        if found == (kind is sre.ASSERT):
            yield at

    def _is_at(self, place: Any, text: str, at: int) -> bool:
        if place in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING):
            return at == 0 or (bool(self._flags & re.MULTILINE) and text[at - 1] == "\n")
        if place is sre.AT_END_STRING:
            return at == len(text)
        if place is sre.AT_END:
            return text[at:] in ("", "\n") or (bool(self._flags & re.MULTILINE) and text[at] == "\n")
        before, after = text[at - 1 : at] if at else "", text[at : at + 1]
        is_boundary = bool(re.match(r"\w", before)) != bool(re.match(r"\w", after))
        return is_boundary == (place is sre.AT_BOUNDARY)

    def _fits(self, node: Any, character: str) -> bool:
        kind, value = node
        if kind is sre.ANY:
            return character != "\n" or bool(self._flags & re.DOTALL)
        if kind is sre.IN:
            negated = value[0][0] is sre.NEGATE
            return any(self._fits(each, character) for each in value if each[0] is not sre.NEGATE) != negated
        if kind is sre.RANGE:
            return any(value[0] <= ord(each) <= value[1] for each in self._cases(character))
        if kind is sre.CATEGORY:
            flags = self._flags & re.ASCII
            return re.fullmatch(CATEGORIES[value], character, flags) is not None
        if kind in (sre.LITERAL, sre.NOT_LITERAL):
            return any(ord(each) == value for each in self._cases(character)) == (kind is sre.LITERAL)
        raise NotImplementedError(f"the counter does not know {kind}")

    def _cases(self, character: str) -> set[str]:
        cases = {character, character.lower(), character.upper()} if self._flags & re.IGNORECASE else {character}
        return {each for each in cases if len(each) == 1}


CANDIDATES = "a0A_-. \n\té@:/\x01"
CATEGORIES = {
    sre.CATEGORY_DIGIT: r"\d",
    sre.CATEGORY_NOT_DIGIT: r"\D",
    sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w",
    sre.CATEGORY_NOT_WORD: r"\W",
}


def worst_texts(pattern: re.Pattern[Any], size: int) -> Iterator[str]:
    """Yield texts of this size that are likely to make the pattern work: its own parts, repeated, with a wrong end."""
    source = pattern.pattern
    tree = parser.parse(source.decode("latin-1") if isinstance(source, bytes) else source, pattern.flags)
    parts = sorted(set(_parts(tree)))[:6]
    whole = "".join(_sample(tree))
    # A text that the pattern takes for the beginning of a match, of any length: in four steps.
    heads = ["", *(whole[:cut] for cut in range(1, len(whole) + 1, max(1, len(whole) // 4)))]
    for pump in sorted({*parts, whole} - {""}):
        for head in heads:
            yield _sized(head, pump, "\x00", size)
        yield _sized("", pump, whole, size)
    for pair in sorted({one + other for one in parts for other in parts}):
        yield _sized("", pair, "\x00", size)


def _sized(head: str, pump: str, tail: str, size: int) -> str:
    return (head + pump * size)[: max(size - len(tail), len(head))] + tail


def _parts(tree: Any) -> Iterator[str]:
    """Yield each run of letters that the pattern asks for, and a letter of each class."""
    run = ""
    for kind, value in tree:
        if kind is sre.LITERAL:
            run += chr(value)
            continue
        yield from [run] if run else []
        run = ""
        yield from _letters(kind, value)
        for inner in _inner(kind, value):
            yield from _parts(inner)
    yield from [run] if run else []


def _inner(kind: Any, value: Any) -> list[Any]:
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        return [value[2]]
    if kind is sre.SUBPATTERN:
        return [value[3]]
    if kind is sre.BRANCH:
        return list(value[1])
    return [value[1]] if kind in (sre.ASSERT, sre.ASSERT_NOT) else []


def _letters(kind: Any, value: Any) -> Iterator[str]:
    if kind is sre.IN:
        fits = re.compile(_class_source(value)).fullmatch
        yield next(each for each in (*CANDIDATES, *map(chr, range(0x110000))) if fits(each))
    elif kind in (sre.ANY, sre.NOT_LITERAL):
        yield "a" if value != ord("a") else "b"


def _class_source(value: Any) -> str:
    inside = ""
    for kind, each in value:
        if kind is sre.NEGATE:
            inside = "^" + inside
        elif kind is sre.LITERAL:
            inside += re.escape(chr(each))
        elif kind is sre.RANGE:
            inside += f"{re.escape(chr(each[0]))}-{re.escape(chr(each[1]))}"
        elif kind is sre.CATEGORY:
            inside += CATEGORIES[each]
    return f"[{inside}]"


def _sample(tree: Any) -> Iterator[str]:
    """Yield the pieces of a short text that the pattern may match."""
    for kind, value in tree:
        if kind is sre.LITERAL:
            yield chr(value)
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            yield from list(_sample(value[2])) * max(1, min(value[0], 100))
        elif kind is sre.BRANCH:
            yield from _sample(value[1][0])
        elif kind is sre.SUBPATTERN:
            yield from _sample(value[3])
        else:
            yield from list(_letters(kind, value))[:1]


def lines_of(work: Callable[[], object]) -> int:
    """Return how many lines of Python run, in whatever module; a line that loops counts each time around."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        count += event in ("call", "line")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def patterns_of(work: Callable[[], object]) -> dict[tuple[re.Pattern[Any], str], int]:
    """Return every pattern that is asked while the work runs, in whatever library, by which method, and how often."""
    asked: dict[tuple[re.Pattern[Any], str], int] = {}

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        pattern = getattr(arg, "__self__", None) if event == "c_call" else None
        if isinstance(pattern, re.Pattern):
            asked[pattern, arg.__name__] = asked.get((pattern, arg.__name__), 0) + 1

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return asked
