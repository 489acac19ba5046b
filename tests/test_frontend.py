"""The clients in examples/frontend/: they are generated, typed and run against a real server, and shown in the docs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gqlauth.errors import AuthErrorCode, Reason
from tests import npm
from tests.processes import serving

ROOT = Path(__file__).parent.parent
FRONTEND = ROOT / "examples" / "frontend"
PAGE = (ROOT / "docs" / "frontend.md").read_text()
SCHEMA = ROOT / "schema.graphql"
# A schema without subscriptions has nothing that could be subscribed to.
LEFT_OUT = set() if "type Subscription" in SCHEMA.read_text() else {"subscriptions.test.ts"}
TESTS = sorted({path.name for path in (FRONTEND / "test").glob("*.test.ts")} - LEFT_OUT)
SHOWN = ["documents.graphql", "session.ts", "app.ts", "apollo.ts", "urql.ts", "request.ts", "subscriptions.ts"]
PAGE_OF_THE_APP = "http://localhost:5173"
TIMEOUT = 120


@pytest.fixture(scope="module")
def packages(pytestconfig: pytest.Config) -> Path:
    """A node_modules folder with what package.json names; installed once, kept in pytest's cache."""
    return npm.install(FRONTEND / "package.json", pytestconfig) / "node_modules"


@pytest.fixture(scope="module")
def project(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, with its types generated from schema.graphql."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copy(SCHEMA, root)
    folder = root / "examples" / "frontend"
    shutil.copytree(FRONTEND, folder, ignore=shutil.ignore_patterns("node_modules", "gql"))
    (folder / "node_modules").symlink_to(packages)
    done = run(folder, "graphql-codegen")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run(folder: Path, program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one of the packages' programs, or node itself."""
    local = folder / "node_modules" / ".bin" / program
    command = [str(local if local.exists() else shutil.which(program)), *arguments]
    environment = os.environ | variables
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT)


def test_the_documents_are_typed_from_the_schema(project: Path) -> None:
    assert "MeQuery" in (project / "src" / "gql" / "graphql.ts").read_text()


def test_a_schema_that_no_longer_fits_is_refused(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "examples" / "frontend"
    shutil.copytree(project, folder, symlinks=True)
    (tmp_path / "schema.graphql").write_text(
        SCHEMA.read_text().replace("emailVerified: Boolean!", "verified: Boolean!")
    )
    done = run(folder, "graphql-codegen")
    assert done.returncode != 0
    assert 'Cannot query field "emailVerified"' in done.stdout + done.stderr


def test_the_types_hold(project: Path) -> None:
    done = run(project, "tsc", "--noEmit")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", TESTS)
def test_the_clients_keep_a_person_signed_in(name: str, project: Path, tmp_path: Path) -> None:
    # So short a life makes them refresh in the middle, as often as they would in a day.
    settings = {"environment": "test", "bcrypt_cost": "4", "access_token_seconds": "4"}
    with serving(tmp_path, cors_origins=PAGE_OF_THE_APP, **settings) as server:
        variables = {"GQLAUTH_URL": server.url, "GQLAUTH_CORS_ORIGINS": PAGE_OF_THE_APP}
        done = run(project, "node", "--import", "tsx", "--test", "--test-reporter=tap", f"test/{name}", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^# pass [1-9]", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("path", [*(f"src/{name}" for name in SHOWN), "codegen.ts"])
def test_the_page_to_copy_from_shows_the_files(path: str) -> None:
    name = re.escape(Path(path).name)
    shown = re.findall(rf"^```\w+ {name}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert shown == [(FRONTEND / path).read_text()]


def test_the_page_to_copy_from_names_the_packages_and_tells_every_code_and_reason() -> None:
    packages = json.loads((FRONTEND / "package.json").read_text())["dependencies"]
    for name in (*packages, *AuthErrorCode, *Reason):
        assert f"`{name}`" in PAGE
