"""The house rules: who may import whom, and how large a file may grow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gqlauth"

# A module imports from lines below its own alone. A folder stands for all that is in it.
ORDER = [
    {"cli", "testing"},
    {"server", "doctor"},
    {"app", "protocol"},
    {"auth"},
    {"websocket"},
    {"http", "pages", "migrations", "housekeeping", "sockets", "federation"},
    {"schema"},
    {"masking"},
    {"documents", "replacements"},
    {"plan"},
    {"answers"},
    {"accounts"},
    {"sessions"},
    {"users", "keys"},
    {"guards"},
    {"context"},
    {"runtime", "cookies"},
    {"threads", "logs"},
    {"ratelimit"},
    {"database"},
    {"models"},
    {"events"},
    {"passwords"},
    {"settings"},
    {"errors"},
    {"verify"},
    {"jwks"},
    {"tokens", "fetch"},
    {"encryption", "entropy", "reasons", "clock", "refresh_tokens", "columns", "fields", "addresses"},
]
FEATURES = {"accounts", "sessions", "users", "keys"}
FEATURE_FILES = {"__init__.py", "models.py", "service.py", "graphql.py", "guesses.py"}
# Alembic would take a third of the start, and most have nothing to migrate; Redis is an extra; and pytest imports the
# plugin at the start of every run, also of those that have nothing to do with gqlauth.
LAZY = {("migrations", "alembic"), ("ratelimit", "redis"), ("testing", "gqlauth")}
MAX_LINES = 400

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "versions")
# Its public face imports what it names; Alembic loads env.py by its path, and it must see every table.
FREE = {PACKAGE / "__init__.py", PACKAGE / "migrations" / "env.py"}


def part(path: Path) -> str:
    """Return the module or folder of the table that the file belongs to. All tables are one part: see `models.py`."""
    first = path.relative_to(PACKAGE).parts[0]
    return "models" if path.name == "models.py" else first.removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Yield every import with the dotted name that it names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def ours(path: Path) -> set[str]:
    """Return the parts of gqlauth that the file imports."""
    names = [name.split(".") for _, name in imports(ast.parse(path.read_text("utf-8")))]
    return {"models" if name[2:3] == ["models"] else name[1] for name in names if name[0] == "gqlauth"}


def rank(name: str) -> int:
    places = [place for place, names in enumerate(ORDER) if name in names]
    assert len(places) == 1, f"{name} has no place in the table, or two"
    return places[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_below(path: Path) -> None:
    if path in FREE:
        return
    own = part(path)
    upward = {name for name in ours(path) - {own} if rank(name) <= rank(own)}
    assert not upward, f"{own} imports {upward}"


def test_every_line_of_the_table_is_there() -> None:
    assert {name for names in ORDER for name in names} == {part(path) for path in FILES} - {"__init__"}


def test_context_and_guards_know_no_feature() -> None:
    for path in (PACKAGE / "context.py", *(PACKAGE / "guards").glob("*.py")):
        assert not ours(path) & FEATURES


def test_between_features_the_only_way_is_accounts_sessions_users() -> None:
    known = {
        feature: {name for path in (PACKAGE / feature).glob("*.py") for name in ours(path) & FEATURES} - {feature}
        for feature in FEATURES
    }
    assert known == {"accounts": {"sessions", "users"}, "sessions": {"users"}, "users": set(), "keys": set()}


def test_services_and_models_know_nothing_of_graphql_or_http() -> None:
    for path in FILES:
        if path.name in ("service.py", "models.py"):
            names = {name.split(".")[0] for _, name in imports(ast.parse(path.read_text("utf-8")))}
            assert not names & {"strawberry", "graphql", "starlette", "uvicorn"}, path


def test_only_the_database_commits() -> None:
    """Nowhere else is a transaction ended by hand."""
    for path in set(FILES) - {PACKAGE / "database.py"}:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            ends = isinstance(node, ast.Attribute) and node.attr in ("commit", "rollback")
            assert not ends, f"{path.name}:{getattr(node, 'lineno', 0)}"


def test_imports_stand_at_the_top() -> None:
    """An import inside of a function hides a circle."""
    for path in FILES:
        functions = [
            node
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        hidden = {(part(path), name.split(".")[0]) for function in functions for _, name in imports(function)}
        assert hidden <= LAZY, path


def test_a_feature_holds_models_service_and_graphql_and_nothing_else() -> None:
    for feature in FEATURES:
        assert {path.name for path in (PACKAGE / feature).iterdir() if path.suffix} <= FEATURE_FILES


@pytest.mark.parametrize("folder", ["gqlauth", "tests"])
def test_no_file_grows_beyond_what_one_can_hold_in_mind(folder: str) -> None:
    for path in (PACKAGE.parent / folder).rglob("*.py"):
        lines = len(path.read_text("utf-8").splitlines())
        assert lines < MAX_LINES, f"{path.name} has {lines} lines"
