"""The code of the documentation and of examples/, run as a reader would run it."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import pytest

ROOT = Path(__file__).parent.parent
CHEAP = {"GQLAUTH_ENVIRONMENT": "test", "GQLAUTH_BCRYPT_COST": "4"}


def page(name: str) -> str:
    """Return the text of a page, by its path in the repository."""
    return (ROOT / name).read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of code in one language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@contextmanager
def module(name: str, code: str, folder: Path) -> Iterator[ModuleType]:
    """Import code as a module of this name out of the folder, for the time of the block."""
    (folder / f"{name}.py").write_text(code)
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(name, None)


def load(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Run the code as a module of its own, in a folder of its own, with settings from the environment."""
    name = f"shown_{uuid4().hex}"
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    for variable, value in CHEAP.items():
        monkeypatch.setenv(variable, value)
    (folder / f"{name}.py").write_text(code, "utf-8")
    return importlib.import_module(name)


def example(name: str) -> str:
    """Return the code of a file in examples/."""
    return (ROOT / "examples" / f"{name}.py").read_text("utf-8")
