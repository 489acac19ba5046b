"""Text that a client chose reaches the operator's terminal and log as text, and is not obeyed (CWE-150)."""

from __future__ import annotations

import io
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from gqlauth import Auth, logs
from gqlauth.users.service import InvalidEmail, check_email
from tests.processes import run
from tests.support import GraphQLClient
from tests.tables import Session

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\nroot\x9b31m\u202egpj\u2028\u2066"
OBEYED = ["\x1b", "\x07", "\x9b", "\r", "\n", "\u202e", "\u2028", "\u200b", "\ud83d"]


@pytest.mark.parametrize("character", OBEYED)
def test_nothing_that_a_terminal_obeys_is_printed(character: str) -> None:
    shown = logs.printable(f"a{character}b")
    assert shown.isprintable()
    assert (shown[0], shown[-1]) == ("a", "b")


def test_what_people_write_is_printed_as_it_is() -> None:
    assert logs.printable("Zoë 🙂 名前 \\") == "Zoë 🙂 名前 \\"


def test_what_clients_say_of_themselves_is_written_out_on_the_command_line(
    client: GraphQLClient, auth: Auth, database_url: str, tmp_path: Path
) -> None:
    client.signup()
    with auth.runtime.database.transaction() as db:
        # The command line's clock does not stand still.
        expires_at = datetime.now(UTC) + timedelta(days=1)
        db.execute(sa.update(Session).values(user_agent=HOSTILE, ip_address="\x1b[2J", expires_at=expires_at))
    listed = run("sessions", "list", "ada@example.com", folder=tmp_path, database_url=database_url)
    assert (listed.returncode, listed.stderr, listed.stdout.count("\n")) == (0, "", 1)
    assert listed.stdout[:-1].isprintable()
    assert "\\x1b]0;owned\\x07" in listed.stdout


@pytest.mark.parametrize("part", ["\x1b", "\x00", "\x7f", "\x9b", "\u2028", "\n"])
def test_an_address_with_control_characters_is_none(part: str) -> None:
    for address in (f"a{part}b@example.com", f'"a{part}b"@example.com', f"a@exam{part}ple.com"):
        with pytest.raises(InvalidEmail):
            check_email(address)


def test_a_traceback_forges_no_line_of_the_log() -> None:
    """ASVS 16.4.1."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.Lines("%(levelname)s %(message)s"))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        raise ValueError(f"{HOSTILE}\nWARNING login_failed reason=X")
    except ValueError:
        logger.exception("a listener failed")
    first, *others = written.getvalue().split("\n")[:-1]
    assert first == "ERROR a listener failed"
    assert all(line.startswith("    ") and line.isprintable() for line in others)
