"""The read of the viewer's session, which keeps a connection of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg

from tests.support import ME, GraphQLClient


def close_connections(database_url: str) -> None:
    """Close every connection to the database, as a restart of its server does; SQLite has no server."""
    if database_url.startswith("postgresql"):
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


def test_a_connection_that_the_server_has_closed_is_made_anew(client: GraphQLClient, database_url: str) -> None:
    account = client.signup()
    for _ in range(2):
        assert client.me(account["accessToken"]) == account["user"]
        close_connections(database_url)
    assert client.me(account["accessToken"]) == account["user"]


def test_each_of_many_at_once_gets_their_own_answer(client: GraphQLClient) -> None:
    accounts = [client.signup(email=f"ada{number}@example.com") for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            answers = threads.map(lambda account: client.execute(ME, token=account["accessToken"])["me"], accounts)
            assert list(answers) == [account["user"] for account in accounts]
