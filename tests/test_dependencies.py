"""What we stand on: no release that is known to be open to an attack may be installed beside us."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = [line for extra in PROJECT["optional-dependencies"].values() for line in extra]

# The first release without the fault.
REPAIRED = {
    "PyJWT, public key as HMAC secret (CVE-2022-29217)": ("pyjwt", (2, 4)),
    "PyJWT, a part of iss (GHSA-75c5-xw7c-p5pm)": ("pyjwt", (2, 10, 1)),
    "PyJWT, unknown crit (CVE-2026-32597)": ("pyjwt", (2, 12)),
    "PyJWT, JWK as HMAC secret (CVE-2026-48526)": ("pyjwt", (2, 13)),
    "Strawberry, multipart forms (CVE-2024-47082)": ("strawberry-graphql", (0, 243)),
    "Strawberry, graphql-ws (CVE-2026-35523, CVE-2026-35526)": ("strawberry-graphql", (0, 312, 3)),
    "Strawberry, limiters (CVE-2026-45739, CVE-2026-47706, CVE-2026-47707)": ("strawberry-graphql", (0, 315, 7)),
    "Starlette, Range header (CVE-2025-62727)": ("starlette", (0, 49, 1)),
    "Starlette, form limits (CVE-2026-54283)": ("starlette", (1, 3, 1)),
    "bcrypt, that takes more than 72 bytes without a word": ("bcrypt", (5,)),
}


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def least(package: str) -> tuple[int, ...]:
    """Return the oldest release that may be installed."""
    [bound] = [line for line in PROJECT["dependencies"] if re.match(rf"{package}(?![\w-])", line)]
    return version(re.search(r">=([\d.]+)", bound)[1])  # type: ignore[index]


@pytest.mark.parametrize("fault", REPAIRED)
def test_no_dependency_may_be_as_old_as_its_fault(fault: str) -> None:
    package, repaired = REPAIRED[fault]
    assert least(package) >= repaired
    assert version(metadata.version(package)) >= repaired


@pytest.mark.parametrize("dependency", [*PROJECT["dependencies"], *EXTRAS])
def test_every_dependency_has_a_bound_on_both_sides(dependency: str) -> None:
    assert re.match(r"[\w-]+(\[\w+\])?>=[\d.]+,<\d", dependency)
