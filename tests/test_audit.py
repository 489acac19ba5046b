"""The public audit suite of GraphQL over HTTP (npm package graphql-http) against a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests import npm
from tests.processes import serving

AUDIT = Path(__file__).parent / "audit"


@pytest.fixture(scope="module")
def audit(pytestconfig: pytest.Config) -> Path:
    """The audit script in a folder with its packages."""
    folder = npm.install(AUDIT / "package.json", pytestconfig)
    return Path(shutil.copy(AUDIT / "audit.js", folder))


def test_every_must_and_should_of_the_public_audit_passes(audit: Path, tmp_path: Path) -> None:
    """GraphQL over HTTP, all of it, sections 6 and 7 above all; its MAYs are reported."""
    with serving(tmp_path) as server:
        done = subprocess.run(["node", audit, server.url], capture_output=True, text=True, timeout=60, check=True)
        server.stop()
    results = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [result for result in results if result["status"] != "ok"]
    assert [result for result in failed if not result["name"].startswith("MAY ")] == []
    kinds = Counter(result["name"].split()[0] for result in results)
    assert kinds["MUST"] > 10
    assert kinds["SHOULD"] > 20
    for result in failed:
        print(f"{result['name']}: {result['reason']}")  # `pytest -rP` shows it
