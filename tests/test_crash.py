"""A server that is killed in the middle of its work: what it has acknowledged is there, whole (ASVS 2.3.3, 16.5.3)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest
import sqlalchemy as sa

from gqlauth import Settings
from gqlauth.database import Database
from gqlauth.events import Events
from tests.live import LiveClient
from tests.tables import Session, User

CLIENTS = 6
ENOUGH = 25
GIVE_UP_SECONDS = 60


@contextmanager
def served(url: str, folder: Path) -> Iterator[tuple[LiveClient, subprocess.Popen[str]]]:
    """Run the real command in a process of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GQLAUTH_")}
    environ |= {"GQLAUTH_ENVIRONMENT": "test", "GQLAUTH_BCRYPT_COST": "4", "GQLAUTH_DATABASE_URL": url}
    command = [str(Path(sys.executable).with_name("gqlauth")), "serve", "--port", "0"]
    process = subprocess.Popen(command, env=environ, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = next(line for line in process.stdout if line.startswith("listening"))
        yield LiveClient(int(re.search(r":(\d+)/", address)[1])), process  # type: ignore[index]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def sign_up_until_killed(client: LiveClient, process: subprocess.Popen[str]) -> list[str]:
    """Sign up from several threads at once, kill the process in the middle, and return who got an answer."""
    acknowledged: list[str] = []
    killed = threading.Event()

    def sign_up(number: int) -> None:
        for count in range(10_000):
            email = f"{number}-{count}@example.com"
            try:
                assert client.signup(email)["__typename"] == "AuthPayload"
            except (OSError, HTTPException):
                return
            acknowledged.append(email)
            if killed.is_set():
                return

    give_up = time.monotonic() + GIVE_UP_SECONDS
    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(sign_up, number) for number in range(CLIENTS)]
        while len(acknowledged) < ENOUGH and not all(each.done() for each in running):
            assert time.monotonic() < give_up
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed.set()
        for each in running:
            each.result()
    return acknowledged


def assert_whole(url: str, acknowledged: list[str]) -> None:
    """Every account has the session that its sign-up began: both, or none."""
    database = Database(Settings(environment="test", database_url=url).url, Events())
    with database.read() as db:
        users = {user.id: user.email for user in db.scalars(sa.select(User))}
        owners = list(db.scalars(sa.select(Session.user_id)))
        if database.is_sqlite:
            assert db.execute(sa.text("PRAGMA integrity_check")).scalar() == "ok"
            assert db.execute(sa.text("PRAGMA foreign_key_check")).all() == []
    database.dispose()
    assert sorted(owners) == sorted(users)
    assert {*acknowledged} <= {*users.values()}
    # At most one sign-up of each client was under way and did not get its answer.
    assert len(users) <= len(acknowledged) + CLIENTS


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_what_was_acknowledged_survives_a_kill(database_url: str, tmp_path: Path) -> None:
    with served(database_url, tmp_path) as (client, process):
        acknowledged = sign_up_until_killed(client, process)
    assert len(acknowledged) >= ENOUGH
    assert_whole(database_url, acknowledged)
    with served(database_url, tmp_path) as (client, _):
        with ThreadPoolExecutor(CLIENTS) as threads:
            assert [result["user"]["email"] for result in threads.map(client.login, acknowledged)] == acknowledged
        assert client.signup("after@example.com")["__typename"] == "AuthPayload"
