"""What a thief of SQLite's file finds of an account that was deleted: nothing (CWE-226)."""

from __future__ import annotations

from pathlib import Path

from gqlauth import Auth
from tests.support import DELETE_ACCOUNT, PASSWORD, GraphQLClient


def contents(auth: Auth) -> bytes:
    """Return the bytes of the database and of its log."""
    file = auth.runtime.database.engine.url.database or ""
    return b"".join(part.read_bytes() for part in (Path(file), Path(f"{file}-wal")) if part.exists())


def test_nothing_of_a_deleted_account_stays_in_the_file_or_its_log(
    auth: Auth, client: GraphQLClient, database_url: str
) -> None:
    if not database_url.startswith("sqlite"):
        return
    others = [client.signup(f"someone-{number}@example.com") for number in range(20)]
    token = client.signup("lovelace@example.com", name="Ada Byron")["accessToken"]
    auth.runtime.database.checkpoint()
    assert b"lovelace@example.com" in contents(auth)
    client.execute(DELETE_ACCOUNT, {"password": PASSWORD}, token)
    auth.runtime.database.checkpoint()
    left = contents(auth)
    assert b"lovelace" not in left
    assert b"Byron" not in left
    assert b"someone-7@example.com" in left
    assert client.me(others[7]["accessToken"])
