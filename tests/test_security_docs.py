"""SECURITY.md and docs/standards.md tell the truth: their tests exist, and their figures are those of the code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from gqlauth import Settings, documents, http, protocol, ratelimit
from gqlauth.app import MAX_ANSWER_BYTES
from gqlauth.ratelimit import Limit
from gqlauth.settings import describe

ROOT = Path(__file__).parent.parent
SECURITY = (ROOT / "SECURITY.md").read_text("utf-8")
STANDARDS = (ROOT / "docs" / "standards.md").read_text("utf-8")

TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
# A section, after the name of its standard: an RFC keeps its number.
SECTION = re.compile(r"(?:(RFC \d+|ASVS|NIST|HTTP) )?(\d+(?:\.\d+)*)(?=[,;]|$)")
NAMES = {"NIST": "NIST SP 800-63B-4", "HTTP": "GraphQL over HTTP"}
SPANS = {60: "a minute", 300: "5 minutes", 3600: "an hour"}

# Published faults of comparable systems. Each is an attack that was tried on this one.
FAULTS = """
    GHSA-m82j-rq33-qjx2 GHSA-x3f4-v83f-7wp2 GHSA-h29v-hj44-q8cv GHSA-99h5-pjcv-gr6v CVE-2025-61928 GHSA-392p-2q2v-4372
    GHSA-pw9m-5jxm-xr6h GHSA-2vg6-77g8-24mp GHSA-7rqj-j65f-68wh GHSA-xmf8-cvqr-rfgj GHSA-8fpg-xm3f-6cx3 CVE-2024-4629
    31726 GHSA-cq42-vhv7-xr7p CVE-2026-1035 #45647 CVE-2026-9802 #49426 #50999 #51312 CVE-2022-29217 CVE-2026-48526
    CVE-2026-32597 GHSA-752w-5fwx-jx9f GHSA-75c5-xw7c-p5pm CVE-2024-33663 CVE-2024-33664 CVE-2026-35523 CVE-2026-35526
    CVE-2026-45739 CVE-2026-47706 CVE-2026-47707 3645 CVE-2024-47082 GHSA-775h-3xrc-c228 GHSA-mfj6-6p54-m98c
    GHSA-cmj3-wx7h-ffvg GHSA-r3xq-68wh-gwvh GHSA-mmpq-5hcv-hf2v 2223 GHSA-8cph-rgr4-g5vj GHSA-9g8f-h8f3-hjcm 315 463 469
    CVE-2024-22513 GHSA-5vcc-86wm-547q #193 #197 CVE-2025-22228 CVE-2025-68402 Okta CVE-2026-54283 CVE-2025-62727
    GHSA-rxc4-3w6r-4v47 CVE-2025-68481 CVE-2026-41574 GHSA-6g38-8j4p-j3pr
""".split()  # noqa: SIM905 -- a list of them would be twenty lines


@cache
def docstrings(path: str) -> dict[str, str]:
    """Return the tests of a file by their names, each with its own docstring and that of the file."""
    file = ROOT / path
    tree = ast.parse(file.read_text("utf-8")) if file.is_file() else ast.Module([], [])
    whole = ast.get_docstring(tree) or ""
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name: f"{whole}\n{ast.get_docstring(node) or ''}" for node in functions}


def cells(text: str) -> list[list[str]]:
    """Return the cells of every table, without the lines below the tables' heads."""
    lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line.startswith("| ")]
    return [line for line in lines if set(line[0]) != {"-"}]


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the tables below a heading."""
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return cells(section)


def standards() -> list[tuple[str, str, str]]:
    """Return sentence, sections, and the test or the reason."""
    return [(row[0], row[1], row[2]) for row in cells(STANDARDS) if row[0] != "sentence"]


def sections(cell: str) -> list[tuple[str, str]]:
    """Return the standard and the number of each section of a cell; a number alone is of the standard before it."""
    found: list[tuple[str, str]] = []
    for standard, number in SECTION.findall(cell):
        found.append((standard or found[-1][0], number))
    return found


def names(docstring: str, section: tuple[str, str]) -> bool:
    """Tell whether a docstring names this section."""
    standard, number = section
    return NAMES.get(standard, standard) in docstring and bool(
        re.search(rf"(?<![\d.]){re.escape(number)}(?!\.?\d)", docstring)
    )


@pytest.mark.parametrize("text", [SECURITY, STANDARDS], ids=["SECURITY.md", "docs/standards.md"])
def test_every_test_that_is_named_exists(text: str) -> None:
    named = TEST.findall(text)
    assert len(named) > 50
    assert [f"{path}::{name}" for path, name in named if name not in docstrings(path)] == []
    assert text.count("::test_") == len(named), "one is written so that this test does not find it"


@pytest.mark.parametrize(("sentence", "cell", "held_by"), standards(), ids=[row[0] for row in standards()])
def test_every_sentence_is_held_by_tests_that_name_its_sections(sentence: str, cell: str, held_by: str) -> None:
    wanted, tests = sections(cell), TEST.findall(held_by)
    assert wanted, "no section is named"
    if not held_by.startswith("`tests/"):
        assert re.match(r"Not met|Not yet|By design|The default|Nothing of the kind", held_by), "a reason"
        return
    told = {name: docstrings(path)[name] for path, name in tests}
    assert [name for name, docstring in told.items() if not any(names(docstring, one) for one in wanted)] == []
    assert [one for one in wanted if not any(names(docstring, one) for docstring in told.values())] == []


def test_the_limits_on_guessing_are_those_of_the_code() -> None:
    """ASVS 6.1.1: documented limits."""
    limits = [value for value in vars(ratelimit).values() if isinstance(value, Limit)]
    expected = {limit.name: figures(limit) for limit in limits} | {"request": str(ratelimit.ATTEMPTS_PER_REQUEST)}
    told = {row[0]: row[1] for row in rows(SECURITY, "Guessing") if row[0] != "what is counted" and len(row) == 3}
    assert told == expected


def figures(limit: Limit) -> str:
    return ", ".join(f"{amount} in {SPANS[seconds]}" for amount, seconds in limit.windows)


def test_what_follows_from_the_limits_is_calculated_rightly() -> None:
    hourly = {limit: limit.windows[-1][0] for limit in (ratelimit.ACCOUNT, ratelimit.SIGNUP)}
    assert f"{hourly[ratelimit.ACCOUNT]} an hour are {hourly[ratelimit.ACCOUNT] * 24:,} guesses a day" in SECURITY
    harvest = f"{hourly[ratelimit.SIGNUP]} e-mail addresses an hour, {hourly[ratelimit.SIGNUP] * 24:,} a day"
    assert harvest in SECURITY.replace("\n", " ")


def test_the_limits_on_cost_are_those_of_the_code() -> None:
    told = {row[0]: row[1:3] for row in rows(SECURITY, "Cost") if len(row) == 4 and row[0] != "what"}
    maxima = [row for row in describe(Settings()) if "_MAX_" in row.variable]
    defaults = {f"`{row.variable}`": f"{row.default:,}" for row in maxima if row.default}
    defaults["`GQLAUTH_MAX_ANSWER_BYTES`"] = f"{MAX_ANSWER_BYTES:,}"
    assert {setting: limit.removesuffix(" bytes") for limit, setting in told.values() if setting} == defaults
    assert told["query of the address"][0] == f"{http.MAX_QUERY_BYTES:,} bytes"
    assert told["introspections"][0] == str(documents.MAX_INTROSPECTIONS)
    assert told["one request to come in, or its answer to be taken"][0] == f"{protocol.TRANSFER_SECONDS} seconds"
    assert told["a body that comes in pieces"][0] == f"{http.BODY_SECONDS} seconds"
    assert told["requests ahead of their answers, on one connection"][0] == str(protocol.MOST_PIPELINED)


def test_every_fault_is_answered() -> None:
    table = rows(SECURITY, "What went wrong elsewhere")
    ids = {part for row in table for part in re.split(r"[\s,()]+", row[0])}
    assert [fault for fault in FAULTS if fault not in ids] == []
    for row in table[1:]:
        assert TEST.search(row[2]) or row[2].startswith(("No ", "Nothing ")), row


def test_every_setting_of_security_is_real() -> None:
    known = {row.variable for row in describe(Settings())}
    assert set(re.findall(r"GQLAUTH_[A-Z_]+", SECURITY + STANDARDS)) <= known
