"""The public names: what `import gqlauth` gives, to people, to type checkers, and how little it loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import gqlauth

# Not bcrypt: cryptography takes it along where it is installed.
HEAVY = {"alembic", "graphql", "sqlalchemy", "starlette", "strawberry", "uvicorn"}
PRINT_LOADED = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"


def loaded_after(code: str) -> set[str]:
    """Return the packages that a new interpreter has loaded after the code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{PRINT_LOADED}"], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def seen_by_type_checkers() -> dict[str, str]:
    """Return the names that are imported under `if TYPE_CHECKING:`, with their modules."""
    tree = ast.parse(Path(gqlauth.__file__).read_text("utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    imported = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert len(imported) == len(block.body)
    names = [(alias, node.module or "") for node in imported for alias in node.names]
    # Only `X as X` says that the name is passed on (PEP 484).
    assert [alias.name for alias, _ in names if alias.name != alias.asname] == []
    return {alias.name: module.removeprefix("gqlauth.") for alias, module in names}


def test_type_checkers_and_people_see_the_same_names() -> None:
    assert seen_by_type_checkers() == gqlauth.HOMES
    assert list(gqlauth.HOMES) == sorted(gqlauth.HOMES)
    assert gqlauth.__all__ == list(gqlauth.HOMES)
    assert set(gqlauth.HOMES) <= set(dir(gqlauth))


@pytest.mark.parametrize("name", gqlauth.__all__)
def test_every_name_is_there(name: str) -> None:
    value = getattr(gqlauth, name)
    assert value is getattr(import_module(f"gqlauth.{gqlauth.HOMES[name]}"), name)
    assert value.__module__ == f"gqlauth.{gqlauth.HOMES[name]}"


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="'gqlauth' has no attribute 'Typo'"):
        gqlauth.Typo  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError):
        from gqlauth import Typo  # type: ignore[attr-defined]  # noqa: F401


def test_all_of_them_can_be_imported_at_once() -> None:
    assert loaded_after("from gqlauth import *; Auth, verify_token") >= HEAVY - {"alembic"}


@pytest.mark.parametrize(
    "code",
    ["import gqlauth", "import gqlauth.verify", "from gqlauth import TokenVerifier, verify_token", "dir(gqlauth)"],
)
def test_who_only_verifies_tokens_loads_nothing_else(code: str) -> None:
    loaded = loaded_after(f"import gqlauth\n{code}")
    assert loaded >= {"gqlauth"}
    assert not loaded & HEAVY
