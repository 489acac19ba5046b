"""docs/events.md tells the truth: its code runs, and it lists every event with its fields and every figure."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from gqlauth import database, events
from tests.docs import blocks, load, page
from tests.support import GraphQLClient

PAGE = page("docs/events.md")


def kinds() -> list[type[events.Event]]:
    named = vars(events).values()
    return [
        kind for kind in named if isinstance(kind, type) and issubclass(kind, events.Event) and kind != events.Event
    ]


def test_every_event_is_listed_with_its_fields_and_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    expected = []
    for kind in kinds():
        own = [f"`{field.name}`" for field in dataclasses.fields(kind) if field.name != "ip_address"]
        assert kind.__module__ == "gqlauth.events"
        expected.append((kind.__name__, ", ".join(own), kind.__doc__))
    assert rows == expected
    assert len(expected) > 15


def test_the_figures_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    assert f"When {events.MAX_WAITING:,} events wait for one listener" in text
    assert f"have {events.DRAIN_SECONDS:.0f} seconds" in text
    assert f"mostly in one of {database.POOL_SIZE} worker threads" in text


def test_the_code_of_the_page_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = load(blocks(PAGE, "python")[0], tmp_path, monkeypatch).app
    caplog.set_level("DEBUG", "shop")
    with TestClient(app) as http:
        user_id = GraphQLClient(http).signup()["user"]["id"]
    lines = [record.message for record in caplog.records if record.name == "shop"]
    assert f"mail to the user {user_id}" in lines
    assert [line.partition("(")[0] for line in lines if "(" in line] == ["UserSignedUp", "LoggedIn"]
