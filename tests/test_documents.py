"""Documents: what they may ask for, that finding out is cheap, and that errors tell nothing they should not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from graphql import get_introspection_query, parse

from gqlauth.app import create_schema
from gqlauth.documents import CACHED_CHARACTERS, LONGEST_CACHED, Documents, InvalidDocument, Limits, check_limits

LIMITS = Limits(depth=3, aliases=2, root_fields=2, directives=2)
PLENTY = Limits(tokens=10_000_000)
SCHEMA = create_schema()._schema


def messages(source: str, limits: Limits = PLENTY) -> list[str]:
    """Return why a document is refused; nothing if it is not."""
    try:
        Documents(SCHEMA, limits).get(source)
    except InvalidDocument as invalid:
        return [error.message for error in invalid.errors]
    return []


def bomb(fragments: int, body: str = "id") -> str:
    """Return a document whose fragments each spread the next one twice: 2^n selections where they are written out."""
    levels = (f"fragment F{n} on User {{ ...F{n + 1} ...F{n + 1} }}" for n in range(fragments))
    return " ".join(["{ me { ...F0 } }", *levels, f"fragment F{fragments} on User {{ {body} }}"])


# The limits


@pytest.mark.parametrize(
    ("document", "refusal"),
    [
        ("{ a { b { c } } }", None),
        ("{ a { b { c { d } } } }", "depth"),
        ("{ a { ... { b { ... on B { c } } } } }", None),
        ("{ a { ...F } } fragment F on A { b { c } }", None),
        ("{ a { ...F } } fragment F on A { b { ...G } } fragment G on B { c { d } }", "depth"),
        ("{ a { b { c } ...F } } fragment F on A { b { c { d } } }", "depth"),
        ("{ x: a y: b }", None),
        ("{ x: a { y: b { z: c } } }", "number of aliases"),
        ("{ x: a ...F } fragment F on Query { a { y: b } }", None),
        ("{ a { ...F b { ...F } } } fragment F on B { x: c y: d }", "number of aliases"),
        ("{ a { ...F ...F ...F } } fragment F on A { x: b }", "number of aliases"),
        ("{ a b }", None),
        ("{ a a a }", "number of root fields"),
        ("{ ... { a } ... on Query { b c } }", "number of root fields"),
        ("{ ...F ...F } fragment F on Query { a }", None),
        ("{ ...F ...F } fragment F on Query { a b }", "number of root fields"),
        ("{ a { b c d e f } }", None),
        ("{ a @x b @y }", None),
        ("{ a @x @x @x }", "number of directives"),
        ("query @x { ... @x { a @x } }", "number of directives"),
        ("query ($v: Int @x @x) { a @x }", "number of directives"),
        ("{ ...F @x ...F } fragment F on Query @x { a }", "number of directives"),
        ("query A { a } query B { a b c }", "number of root fields"),
        ("subscription { a b c }", "number of root fields"),
        ("mutation { x: a y: a } ", None),
        ("{ ...Unknown }", None),
        ("{ ...F } fragment F on Query { a ...F }", None),
        ("{ ...F } fragment F on Query { a ...G } fragment G on Query { x: a { ...F } }", None),
    ],
)
def test_each_limit_follows_fragments(document: str, refusal: str | None) -> None:
    """ASVS 4.3.1."""
    if refusal is None:
        check_limits(parse(document), LIMITS)
        return
    with pytest.raises(Exception, match=f"The document's {refusal} is over the limit of"):
        check_limits(parse(document), LIMITS)


def test_the_tokens_of_a_document_are_limited() -> None:
    assert messages("{ __typename }", Limits(tokens=3)) == []
    assert "tokens" in messages("{ __typename __typename }", Limits(tokens=3))[0]


@pytest.mark.parametrize("fragments", [18, 28, 30, 180])
def test_a_fragment_bomb_is_measured_once_for_each_fragment(fragments: int) -> None:
    """ASVS 4.3.1; GHSA-mfj6-6p54-m98c, CVE-2026-47706: a walk that does not remember takes 2^n steps."""
    assert messages(bomb(fragments)) == []
    assert messages(bomb(fragments, "x: id")) == ["The document's number of aliases is over the limit of 30."]
    assert messages(bomb(fragments, "id @skip(if: false)")) == [
        "The document's number of directives is over the limit of 50."
    ]


@pytest.mark.parametrize(
    ("document", "refusal"),
    [
        ("{ __typename " + "@include(if: true) " * 10_000 + "}", "number of directives"),
        ("{" + " me { id }" * 10_000 + " }", "number of root fields"),
        ("{ me { " + "id " * 20_000 + "} }", "too complex"),
        ("{ me { " + "id " * 1_000 + "} }", "too complex"),
        ("{ me { " + "... { id } " * 500 + "} }", "too complex"),
        ("{ me { ...F } } fragment F on User { " + "id(x: {a: [1]}) " * 150 + "}", "too complex"),
    ],
    ids=["directives", "root fields", "many fields", "one field", "inline fragments", "arguments"],
)
def test_a_large_document_is_refused_before_it_costs_much(document: str, refusal: str) -> None:
    """ASVS 13.1.3. Comparing each field with every other of its name takes minutes for 20,000 of them."""
    assert refusal in messages(document)[0]


def test_a_million_fields_do_not_get_past_the_parser() -> None:
    assert "1000 tokens" in messages("{ me { " + "id " * 1_000_000 + "} }", Limits())[0]


NESTED: dict[str, Callable[[int], str]] = {
    "selections": lambda n: "{" + " me {" * n + " id" + " }" * n + " }",
    "inline fragments": lambda n: "{" + " ... {" * n + " __typename" + " }" * n + " }",
    "lists": lambda n: "{ me(a: " + "[" * n + "]" * n + ") { id } }",
    "objects": lambda n: "{ me(a: " + "{a: " * n + "1" + "}" * n + ") { id } }",
    "types": lambda n: "query ($a: " + "[" * n + "Int" + "]" * n + ") { __typename }",
    "fragments": bomb,
}


@pytest.mark.parametrize("shape", NESTED)
@pytest.mark.parametrize("depth", [150, 250, 1_000, 2_000])
def test_deep_nesting_is_an_error_of_the_document(shape: str, depth: int) -> None:
    """No RecursionError gets out, however deep."""
    for message in messages(NESTED[shape](depth)):
        assert "recursion" not in message.lower()
        assert message.startswith(("Syntax Error", "The document", "Unknown argument", "Variable", "Cannot query"))
    if depth >= 1_000:
        assert messages(NESTED[shape](depth)) != []


def test_at_most_three_errors_are_reported() -> None:
    assert len(messages("{ a b c d e }")) == 3
    assert len(messages("{ me { id(a: 1, b: 2, c: 3, d: 4) } }")) == 3


def test_an_error_does_not_send_a_long_name_back() -> None:
    """Up to three times, and twice in a message."""
    for source in ("{ %s }", "query ($%s: Int) { __typename }", "{ ...%s }"):
        assert [len(message) <= 500 for message in messages(source % ("a" * 90_000))] == [True]


# Introspection and suggestions

EVERYTHING = get_introspection_query(
    descriptions=True,
    specified_by_url=True,
    directive_is_repeatable=True,
    schema_description=True,
    input_value_deprecation=True,
    experimental_directive_deprecation=True,
    one_of=True,
)


def test_the_largest_introspection_query_is_within_the_limits() -> None:
    assert messages(EVERYTHING, Limits()) == []


def test_introspection_is_asked_for_once_not_twenty_times() -> None:
    """Each answer is 30 kB of JSON and 8 ms of work; twenty aliases of it fit into one short document."""
    asked = "__schema { types { name } }"
    assert messages(f'{{ {asked} a: {asked} b: __type(name: "User") {{ name }} }}') == []
    refusal = ["The document's number of introspections is over the limit of 3."]
    assert messages(f"{{ a: {asked} b: {asked} c: {asked} d: {asked} }}") == refusal
    assert messages("{ ...F ...F ...F ...F } fragment F on Query { __schema { types { name } } }") == refusal


CLOSED = Limits(introspection=False)


@pytest.mark.parametrize(
    "query", [get_introspection_query(), "{ __schema { types { name } } }", '{ __type(name: "User") { name } }']
)
def test_introspection_can_be_closed(query: str) -> None:
    """ASVS 4.3.2."""
    assert messages(query) == []
    assert "introspection has been disabled" in messages(query, CLOSED)[0]
    assert messages("{ __typename }", CLOSED) == []


# The cache


def test_a_valid_document_is_prepared_once() -> None:
    documents = Documents(SCHEMA, Limits())
    assert documents.get("{ __typename }") is documents.get("{ __typename }")


def sized(name: str, length: int) -> str:
    """Return a valid document of this many characters, unlike that of any other name."""
    return f"query {name} {{ __typename }} #".ljust(length, ".")


def is_kept(documents: Documents, source: str) -> bool:
    """Tell whether the document is prepared when it is asked for. Asks for it twice."""
    return documents.get(source) is documents.get(source)


def test_what_is_kept_is_bounded() -> None:
    documents = Documents(SCHEMA, Limits())
    sources = [sized(f"N{n}", 1_000) for n in range(2 * CACHED_CHARACTERS // 1_000)]
    for source in sources * 2:
        documents.get(source)
    assert sum(map(len, documents._kept)) <= CACHED_CHARACTERS
    assert documents._kept_characters == sum(map(len, documents._kept))
    assert is_kept(documents, sources[-1])


def test_large_documents_that_are_asked_for_once_do_not_push_out_those_in_use() -> None:
    """ASVS 13.1.3: ten requests used to empty the cache, and every other client's document was parsed anew."""
    documents = Documents(SCHEMA, Limits())
    in_use = [sized(f"InUse{n}", 1_000) for n in range(50)]
    prepared = [documents.get(source) for source in in_use]
    for n in range(500):
        documents.get(sized(f"Large{n}", LONGEST_CACHED))
    assert [documents.get(source) for source in in_use] == prepared
    assert all(documents.get(source) is kept for source, kept in zip(in_use, prepared, strict=True))


def test_a_document_gets_into_a_full_cache_once_it_is_asked_for_again() -> None:
    documents = Documents(SCHEMA, Limits())
    for n in range(CACHED_CHARACTERS // LONGEST_CACHED):
        documents.get(sized(f"Large{n}", LONGEST_CACHED))
    late = sized("Late", 1_000)
    first = documents.get(late)
    for n in range(500):
        documents.get(sized(f"Other{n}", LONGEST_CACHED))
    second = documents.get(late)
    assert second is not first
    assert documents.get(late) is second


def test_the_document_that_was_not_used_for_longest_makes_room() -> None:
    documents = Documents(SCHEMA, Limits())
    sources = [sized(f"Large{n}", LONGEST_CACHED) for n in range(CACHED_CHARACTERS // LONGEST_CACHED)]
    prepared = [documents.get(source) for source in sources]
    documents.get(sources[0])
    for _ in range(2):
        documents.get(sized("New", LONGEST_CACHED))
    assert documents.get(sources[0]) is prepared[0]
    assert documents.get(sources[1]) is not prepared[1]


def test_what_is_remembered_of_documents_that_are_not_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gqlauth.documents.MOST_REMEMBERED", 10)
    documents = Documents(SCHEMA, Limits())
    for n in range(50):
        documents.get(sized(f"Large{n}", LONGEST_CACHED))
    assert len(documents._turned_away) == 10


def test_a_long_document_and_an_invalid_one_are_not_kept() -> None:
    documents = Documents(SCHEMA, Limits())
    documents.get("{ __typename }" + " " * LONGEST_CACHED)
    with pytest.raises(InvalidDocument):
        documents.get("{ nothing }")
    assert not documents._kept
