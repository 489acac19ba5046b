"""No text that a client can send makes work that grows faster than the text. Counted in steps, without a clock."""

from __future__ import annotations

import ast
import asyncio
import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from graphql import GraphQLError
from starlette.applications import Starlette
from starlette.testclient import TestClient

import gqlauth
from gqlauth import Auth, Settings, logs, refresh_tokens
from gqlauth.app import create_schema
from gqlauth.documents import Documents, InvalidDocument, Limits, discreet
from gqlauth.errors import AuthError
from gqlauth.passwords import Passwords
from gqlauth.users.service import check_email, check_name
from gqlauth.websocket import SocketView, _tokens
from tests.attacks.steps import Matcher, TooManySteps, lines_of, patterns_of, worst_texts

PACKAGE = Path(gqlauth.__file__).parent
SETTINGS = Settings()
# Four times the text may take four times the work, and a little more for what happens once.
TIMES = 4
SLACK = 1.15


def grows(small: int, large: int) -> bool:
    """Tell whether the work for a text that is four times as long is more than that of four such texts."""
    return large > TIMES * SLACK * small + 100


# Regular expressions


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages([str(PACKAGE)], "gqlauth."):
        if not found.name.startswith(("gqlauth.migrations.env", "gqlauth.testing", "gqlauth.__main__")):
            yield importlib.import_module(found.name)


def find_patterns(value: Any, depth: int = 3) -> Iterator[re.Pattern[Any]]:
    """Yield the patterns in a value: in collections, and in the attributes of our own classes."""
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from find_patterns(each, depth - 1)
    elif depth and isinstance(value, dict):
        yield from find_patterns([*value.keys(), *value.values()], depth - 1)
    elif depth and isinstance(value, type) and value.__module__.startswith("gqlauth"):
        yield from find_patterns(list(vars(value).values()), depth - 1)


def methods_of(name: str) -> set[str]:
    """Return by which methods the package asks a pattern of this name; by all that there are if it cannot be told."""
    source = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    found = set(re.findall(rf"\b{name}\.(fullmatch|match|search|sub|split|findall|finditer)\b", source))
    return found or {"match", "fullmatch", "sub"}


@cache
def patterns() -> dict[str, tuple[re.Pattern[Any], str]]:
    """Return every compiled pattern of the package, with the method that it is asked by."""
    return {
        f"{module.__name__}.{name}.{method}": (pattern, method)
        for module in modules()
        for name, value in vars(module).items()
        for pattern in find_patterns(value)
        for method in methods_of(name)
    }


def worst_growth(pattern: re.Pattern[Any], method: str) -> str | None:
    """Return a text whose work grows faster than it does, if there is one."""
    matcher = Matcher(pattern)
    for small, large in zip(worst_texts(pattern, 100), worst_texts(pattern, 400), strict=True):
        try:
            if grows(matcher.count(small, method), matcher.count(large, method)):
                return small
        except TooManySteps:
            return small
    return None


@pytest.mark.parametrize("name", patterns())
def test_no_pattern_takes_steps_that_grow_faster_than_the_text(name: str) -> None:
    """ASVS 1.2.9, 13.1.3: one that did stopped the server for seconds by a single request of 100 kB."""
    assert worst_growth(*patterns()[name]) is None


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        (r"( cannot represent [^:]*): .*", "search"),
        (r"( cannot represent [^:]*): .*", "sub"),
        (r"(a+)+\Z", "match"),
        (r"(a|aa)+b", "match"),
        (r"\s+\Z", "search"),
        (r"[a-z]*[a-z]*!", "match"),
        (r"x.*y", "search"),
        (r"[\w-]+\.[\w-]+", "search"),
    ],
)
def test_the_counter_finds_patterns_that_grow(pattern: str, method: str) -> None:
    assert worst_growth(re.compile(pattern, re.DOTALL), method)


@pytest.mark.parametrize("text", ["", "a", "aab", "gqr_" + "0" * 32 + "_" + "a" * 64, "https://a.b", "x: y\n", "a.b.c"])
def test_the_counter_matches_as_the_library_does(text: str) -> None:
    for pattern, method in patterns().values():
        if isinstance(pattern.pattern, str) and method in ("match", "fullmatch"):
            matcher = Matcher(pattern)
            matched = matcher._match(text, 0, whole=method == "fullmatch")
            found = getattr(pattern, method)(text)
            assert matched == (found.end() if found else None), pattern


def test_every_pattern_is_a_constant_that_this_test_finds() -> None:
    """A pattern inside of a function, as in `re.split(r"…", text)`, would not be measured."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                used = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == "re"]
                assert not used, f"{path.name}:{used[0].lineno}"


# Python


SCHEMA = create_schema()


def prepare(source: str) -> None:
    with suppress(InvalidDocument):
        Documents(SCHEMA._schema, Limits()).get(source)


def execute(source: str, variables: Any = None, name: str | None = None) -> None:
    asyncio.run(SCHEMA.execute(source, variables, operation_name=name))


def refusing(work: Callable[[], object]) -> None:
    with suppress(AuthError):
        work()


BODY = SETTINGS.max_body_bytes
# Of the body. What is bounded by tokens is bounded by them first.
TEXTS: dict[str, Callable[[int], str]] = {
    "the marker of an error, as a text": lambda n: '{ me(a: "' + " cannot represent" * (n // 17) + '") { id } }',
    "the marker of an error, unclosed": lambda n: '{ "' + " cannot represent" * (n // 17),
    "the markers of errors, as a text": lambda n: '{ "' + "? Found: , found: 'String ' found: " * (n // 35) + '" }',
    "colons": lambda n: '{ "' + " cannot represent: " * (n // 19) + ":" * 50 + '" }',
    "a name": lambda n: "{ " + "a" * n + " }",
    "an argument's name": lambda n: "{ me(" + "a" * n + ": 1) { id } }",
    "a number": lambda n: "{ me(a: " + "1" * n + ") { id } }",
    "a fraction": lambda n: "{ me(a: 1." + "1" * n + ") { id } }",
    "a block text": lambda n: '{ me(a: """' + "\n  a" * (n // 4) + '""") { id } }',
    "an unclosed block text": lambda n: '{ me(a: """' + '\n \\"""' * (n // 6),
    "escapes": lambda n: '{ me(a: "' + "\\u00e9" * (n // 6) + '") { id } }',
    "lines": lambda n: "\n" * n + "{ nothing }",
    "other lines": lambda n: "\r" * n + "{ nothing }",
    "a comment": lambda n: "#" + " a" * (n // 2) + "\n{ nothing }",
    "commas": lambda n: "," * n + "{ nothing }",
    "a literal where a password goes": lambda n: (
        'mutation { login(input: {email: "a", password: [' + '"b"' * (n // 100) + "]}) { __typename } }"
    ),
}
TOKENS: dict[str, Callable[[int], str]] = {
    "fields": lambda n: "{ me { " + "id " * n + "} }",
    "unknown fields": lambda n: "{ me { " + " ".join(f"x{i}" for i in range(n)) + " } }",
    "directives": lambda n: "{ __typename " + "@a " * (n // 2) + "}",
    "arguments": lambda n: "{ me(" + " ".join(f"a{i}: 1" for i in range(n // 3)) + ") { id } }",
    "variables": lambda n: "query (" + " ".join(f"$a{i}: Int" for i in range(n // 4)) + ") { __typename }",
    "fragments": lambda n: "{ me { id } } " + " ".join(f"fragment F{i} on User {{ id }}" for i in range(n // 7)),
    "spread fragments": lambda n: (
        "{ me { ...F0 } } "
        + " ".join(f"fragment F{i} on User {{ ...F{i + 1} ...F{i + 1} }}" for i in range(n // 10))
        + f" fragment F{n // 10} on User {{ id }}"
    ),
    "cyclic fragments": lambda n: (
        "{ me { ...F0 } } " + " ".join(f"fragment F{i} on User {{ ...F{i + 1} ...F0 }}" for i in range(n // 10))
    ),
    "operations": lambda n: " ".join(f"query Q{i} {{ __typename }}" for i in range(n // 5)),
    "inline fragments": lambda n: "{ me { " + "... { id } " * (n // 4) + "} }",
    "lists": lambda n: "{ me(a: " + "[" * (n // 2) + "]" * (n // 2) + ") { id } }",
    "selections": lambda n: "{" + " me {" * (n // 3) + " id" + " }" * (n // 3) + " }",
    "values": lambda n: "{ me(a: [" + "1 " * n + "]) { id } }",
    "input fields": lambda n: (
        "mutation { login(input: {" + " ".join(f"a{i}: 1" for i in range(n // 3)) + "}) { __typename } }"
    ),
    "types": lambda n: " ".join(f"type T{i} {{ a: Int }}" for i in range(n // 7)),
}
LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { __typename } }"
GOOD = {"email": "a@b.co", "password": "p"}
VARIABLES: dict[str, Callable[[int], Any]] = {
    "a key": lambda n: {"input": GOOD | {" cannot represent" * (n // 17): 1}},
    "keys": lambda n: {"input": GOOD | {f"a{i}": 1 for i in range(n // 8)}},
    "a value": lambda n: {"input": GOOD | {"password": [" cannot represent" * (n // 17)]}},
    "values": lambda n: {"input": GOOD | {"password": ["a"] * (n // 4)}},
    "a list for an object": lambda n: {"input": ["a"] * (n // 4)},
    "unknown variables": lambda n: {f"a{i}": 1 for i in range(n // 8)},
    "nested values": lambda n: {
        "input": GOOD | {"useCookies": json.loads("[" * (1 + n // 1_000) + "]" * (1 + n // 1_000))}
    },
}
NAMES: dict[str, Callable[[int], str]] = {
    "the marker of an error": lambda n: " cannot represent" * (n // 17),
    "letters that are two in lower case": lambda n: "\u0130" * n,
}
EMAILS: dict[str, Callable[[int], str]] = {
    "a local part": lambda n: "a" * n + "@b.co",
    "dots": lambda n: "a." * (n // 2) + "a@b.co",
    "labels": lambda n: "a@" + "b." * (n // 2) + "co",
    "a domain": lambda n: "a@" + "b" * n + ".co",
    "at signs": lambda n: "@" * n,
    "quotes": lambda n: '"' + "\\a" * (n // 2) + '"@b.co',
    "blanks": lambda n: " " * n + "<a@b.co>",
    "brackets": lambda n: "<" * n + "a@b.co",
    "a literal domain": lambda n: "a@[" + "1." * (n // 2) + "]",
    "foreign letters": lambda n: "é" * n + "@b.co",
    "foreign labels": lambda n: "a@" + "é." * (n // 2) + "co",
    "composed letters": lambda n: "a" + "\u0301" * n + "@b.co",
    "hyphens": lambda n: "a@b" + "-" * n + "b.co",
}
WORDS: dict[str, Callable[[int], str]] = {
    "letters": lambda n: "a" * n,
    "blanks": lambda n: " " * n,
    "blanks around": lambda n: " " * (n // 2) + "a" + " " * (n // 2),
    "composed letters": lambda n: "a" + "\u0301" * (n - 1),
    "long ligatures": lambda n: "\ufdfa" * n,
    "words": lambda n: "ada " * (n // 4),
    "halves of characters": lambda n: "\ud800" * n,
    "control characters": lambda n: "\x00" * n,
    "underscores": lambda n: "_" * n,
}
HEADERS: dict[str, Callable[[int], tuple[str, str]]] = {
    "accept: entries": lambda n: ("accept", "a," * (n // 2)),
    "accept: parameters": lambda n: ("accept", "a/b" + ";q=1" * (n // 4)),
    "accept: blanks": lambda n: ("accept", "a/b;" + " " * n + "q=1"),
    "accept: a number": lambda n: ("accept", "*/*;q=0." + "1" * n),
    "content-type: parameters": lambda n: ("content-type", "application/json" + ";a=b" * (n // 4)),
    "content-type: quotes": lambda n: ("content-type", "application/json;charset=" + '"' * n),
    "cookie: many": lambda n: ("cookie", "a=b; " * (n // 5)),
    "cookie: separators": lambda n: ("cookie", ";" * n),
    "cookie: equals signs": lambda n: ("cookie", "=" * n),
    "cookie: quotes": lambda n: ("cookie", 'a="' + "\\" * n + '"'),
    "cookie: octal": lambda n: ("cookie", 'a="' + "\\101" * (n // 4) + '"'),
    "cookie: ours": lambda n: ("cookie", "__Host-gqlauth-access=" + "a." * (n // 2)),
    "authorization: a token": lambda n: ("authorization", "Bearer " + "a" * n),
    "authorization: parts": lambda n: ("authorization", "Bearer " + "a." * (n // 2)),
    "authorization: a long head": lambda n: (
        "authorization",
        "Bearer eyJ" + "a" * (n // 2) + "." + "a" * (n // 2) + ".a",
    ),
    "authorization: blanks": lambda n: ("authorization", "Bearer" + " " * n),
    "x-forwarded-for: addresses": lambda n: ("x-forwarded-for", "127.0.0.1, " * (n // 11)),
    "x-forwarded-for: commas": lambda n: ("x-forwarded-for", "," * n),
    "x-forwarded-for: a long one": lambda n: ("x-forwarded-for", "1:" * (n // 2)),
    "x-forwarded-proto": lambda n: ("x-forwarded-proto", "https," * (n // 6)),
    "user-agent": lambda n: ("user-agent", "a/1 (b) " * (n // 8)),
    "origin": lambda n: ("origin", "https://" + "a." * (n // 2)),
    "host": lambda n: ("host", "a." * (n // 2) + ":1"),
    "host: colons": lambda n: ("host", ":" * n),
    "content-length": lambda n: ("content-length", "1" * n),
}
MESSAGES: dict[str, Callable[[int], str]] = {
    "a query": lambda n: json.dumps(
        {"type": "subscribe", "id": "1", "payload": {"query": " cannot represent" * (n // 17)}}
    ),
    "an id": lambda n: json.dumps({"type": "subscribe", "id": "1" * n, "payload": {"query": ""}}),
    "variables": lambda n: json.dumps({"type": "a", "payload": {f"a{i}": i for i in range(n // 12)}}),
    "nesting": lambda n: '{"type": "a", "payload": {"a": ' + "[" * (n // 200) + "]" * (n // 200) + "}}",
}


# The API behind a proxy, while it is running.
SERVED: list[Starlette] = []


@pytest.fixture(scope="module", autouse=True)
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    url = f"sqlite:///{tmp_path_factory.mktemp('served')}/test.db"
    auth = Auth(Settings(environment="test", database_url=url, trusted_proxies=("127.0.0.1",)))
    app = Starlette(routes=auth.routes(create_schema()), lifespan=auth.lifespan)
    with TestClient(app):
        SERVED[:] = [app]
        yield


def request(name: str, value: str) -> None:
    """Let the application answer a request with this header."""
    given = {"content-type": "application/json", "host": "x", name: value}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1),
        "headers": [(key.encode(), text.encode("latin-1")) for key, text in given.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b'{"query": "{ __typename }"}', "more_body": False}

    async def send(message: Any) -> None:
        pass

    asyncio.run(SERVED[0](scope, receive, send))


def made(cases: dict[str, Callable[[int], Any]], work: Callable[[Any], object], most: int, what: str) -> Iterator[Any]:
    for name, make in cases.items():
        yield pytest.param(make, work, most, id=f"{what}: {name}")


def header(given: tuple[str, str]) -> None:
    request(*given)


WORK = [
    *made(TEXTS, prepare, BODY - 100, "document"),
    *made(TOKENS, prepare, SETTINGS.max_tokens - 50, "tokens"),
    *made(VARIABLES, lambda given: execute(LOGIN, given), BODY - 500, "variables"),
    *made(NAMES, lambda name: execute("{ __typename }", name=name), BODY - 100, "operation name"),
    *made(EMAILS, lambda email: refusing(lambda: check_email(email)), 240, "email"),
    *made(WORDS, lambda name: refusing(lambda: check_name(name)), BODY, "name"),
    *made(WORDS, lambda text: refusing(lambda: Passwords(cost=4).check(text, words=(text,))), BODY, "password"),
    *made(WORDS, lambda text: refusing(lambda: Passwords(cost=4).check(text, words=(text,))), 250, "short password"),
    *made(WORDS, lambda text: logs.line("event", user_agent=text), SETTINGS.max_header_bytes, "log"),
    *made(WORDS, lambda text: refresh_tokens.read("gqr_" + text), BODY, "refresh token"),
    *made(WORDS, lambda text: discreet(GraphQLError(text)), BODY, "message of an error"),
    *made(HEADERS, header, SETTINGS.max_header_bytes - 500, "header"),
    *made(MESSAGES, lambda text: SocketView.decode_json(SocketView.__new__(SocketView), text), BODY, "socket"),
    *made(WORDS, lambda text: _tokens({"authorization": text, text: text}), BODY, "connection_init"),
]


@pytest.mark.parametrize(("make", "work", "most"), WORK)
def test_no_text_makes_work_that_grows_faster_than_itself(
    make: Callable[[int], Any], work: Callable[[Any], object], most: int
) -> None:
    """ASVS 13.1.3. At the largest size that is allowed, and at a quarter of it."""
    small, large = make(most // TIMES), make(most)
    work(small)  # what is made once is made now
    counted = [lines_of(lambda given=given: work(given)) for given in (small, large)]  # type: ignore[misc]
    assert not grows(*counted), counted


@cache
def library_patterns() -> dict[str, tuple[re.Pattern[Any], str]]:
    """Return the patterns of libraries that any of these texts meets."""
    asked: dict[tuple[re.Pattern[Any], str], int] = {}
    for case in WORK:
        make, work, most = case.values
        given = make(min(most, 240))
        asked |= patterns_of(lambda given=given, work=work: work(given))  # type: ignore[misc]
    return {f"{pattern.pattern!r:.60}.{method}": (pattern, method) for pattern, method in asked}


def test_no_pattern_of_a_library_takes_steps_that_grow_faster_than_the_text() -> None:
    found = {name: worst_growth(*each) for name, each in library_patterns().items()}
    assert len(found) > 5
    assert {name: text for name, text in found.items() if text is not None} == {}
