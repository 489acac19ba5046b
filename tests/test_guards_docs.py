"""docs/guards.md tells the truth: its application is run, its table asked, its schema printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import strawberry
from starlette.testclient import TestClient

import gqlauth
from gqlauth import HasRole, HasScope, IsAuthenticated, IsOwner, IsVerified, Reason, guarded
from tests.docs import blocks, load, page
from tests.support import GraphQLClient
from tests.viewers import ADA, ANONYMOUS, EXPIRED, WITH, WITHOUT, Asker

GUARDS = page("docs/guards.md")
NAMES = {guard.__name__: guard for guard in (HasRole, HasScope, IsAuthenticated, IsOwner, IsVerified)}


def author(source: Any) -> UUID:
    return ADA


def table() -> list[list[str]]:
    """Return the rows of the table of combinations, without their code marks."""
    rows = re.findall(r"^\| (`.*`) \| (.*) \| (.*) \| (.*) \| (.*) \|$", GUARDS, re.MULTILINE)
    return [[cell.replace("\\|", "|").strip("`") for cell in row] for row in rows]


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0])
def test_the_table_of_combinations_is_what_happens(row: list[str]) -> None:
    rule = eval(row[0], NAMES | {"author": author})  # noqa: S307 -- the page is ours

    @strawberry.type
    class Query:
        @strawberry.field(extensions=guarded(rule))
        def field(self) -> str | None:
            return "✓"

    schema, asker = gqlauth.Schema(Query), Asker()
    for _ in range(2):
        answers = [asker.answers(schema, "{ field }", who)["field"] for who in (ANONYMOUS, EXPIRED, WITHOUT, WITH)]
        assert answers == row[1:]


def test_the_table_has_every_guard_and_every_reason_of_theirs() -> None:
    text = str(table())
    assert len(table()) > 10
    assert [name for name in NAMES if name not in text] == []
    of_guards = list(Reason)[list(Reason).index(Reason.ROLE_REQUIRED) :]
    assert [reason for reason in of_guards if reason not in text] == []


def test_the_application_works_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = load(blocks(GUARDS, "python")[0], tmp_path, monkeypatch)
    with TestClient(shown.app) as http:
        client = GraphQLClient(http)
        token = client.signup()["accessToken"]
        assert client.execute("{ motto }") == {"motto": "Hello"}
        for field in ("posts { title }", "statistics { signups }", "invitation", "me { id }"):
            assert client.refused(f"{{ {field} }}") == {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}
        answer = client.post("{ posts { title draft } }", token=token).json()
        assert [post["draft"] for post in answer["data"]["posts"]] == ["Not yet for everybody.", None]
        assert answer["errors"][0]["extensions"] == {"code": "FORBIDDEN", "reason": "NOT_OWNER"}
        assert client.refused("{ statistics { signups } }", token=token)["reason"] == "ROLE_REQUIRED"
        assert client.refused("{ invitation }", token=token)["reason"] == "EMAIL_NOT_VERIFIED"
    assert Asker().answers(shown.schema, "{ invitation }", WITH) == {"invitation": "Come in."}


def test_the_directives_are_printed_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = load(blocks(GUARDS, "python")[0], tmp_path, monkeypatch).schema.as_str().splitlines()
    lines = [line for line in blocks(GUARDS, "graphql")[0].splitlines() if line.strip()]
    assert [line for line in lines if line not in printed] == []
