"""The command line: what each command does and prints, and that an error is one line and an exit code."""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from gqlauth import Auth, Settings, migrations
from gqlauth.cli import main
from gqlauth.keys import service as keys
from tests.processes import GQLAUTH, TIMEOUT, environment
from tests.support import ME, PASSWORD, Clock, GraphQLClient

SECRET = "kT3#vQ9!mZ7@xL2$wR8%nB5^jH4&pD6*"


@dataclass(frozen=True)
class Done:
    """What a command has left behind."""

    code: int
    output: str
    errors: str


Command = Callable[..., Done]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command with the `GQLAUTH_*` variables that it is given, and no others."""
    for name in [name for name in os.environ if name.startswith("GQLAUTH_")]:
        monkeypatch.delenv(name)

    def command(*arguments: str, stdin: str | bytes = "", **variables: str) -> Done:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["gqlauth", *arguments])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))
            for name, value in variables.items():
                patch.setenv(f"GQLAUTH_{name.upper()}", value)
            with pytest.raises(SystemExit) as ended:
                main()
        output, errors = capsys.readouterr()
        return Done(int(ended.value.code or 0), output, errors)

    return command


@pytest.fixture
def gqlauth(bare: Command, database_url: str) -> Command:
    """Runs a command on the test's database."""

    def command(*arguments: str, stdin: str | bytes = "", **variables: str) -> Done:
        own = {"database_url": database_url, "environment": "test", "bcrypt_cost": "4"}
        return bare(*arguments, stdin=stdin, **own | variables)

    return command


@pytest.fixture
def ready(gqlauth: Command, auth: Auth) -> Command:
    """Runs a command on the test's database, migrated and with a key."""
    migrations.upgrade(auth.runtime.database)
    keys.ensure(auth.runtime)
    auth.runtime.database.dispose()
    return gqlauth


def done(result: Done) -> str:
    """Return the output of a command that did what it was asked."""
    assert (result.code, result.errors) == (0, "")
    return result.output


def failed(result: Done) -> str:
    """Return the one line of a command that failed."""
    assert result.code == 1
    [line] = result.errors.splitlines()
    assert line.startswith("gqlauth: ")
    return line.removeprefix("gqlauth: ")


# What needs no database


def test_the_schema_is_the_one_that_is_checked_in(bare: Command) -> None:
    assert done(bare("schema")).strip() == Path("schema.graphql").read_text("utf-8").strip()


def test_every_setting_is_printed_and_secrets_are_hidden(bare: Command) -> None:
    url = f"postgresql://user:{SECRET[:3]}password@db.example/app"
    output = done(bare("settings", key_encryption_key=SECRET, database_url=url, stateless="on"))
    assert re.findall(r"^(GQLAUTH_\w+)=", output, re.MULTILINE) == [
        f"GQLAUTH_{name.upper()}" for name in Settings.__struct_fields__
    ]
    assert "GQLAUTH_KEY_ENCRYPTION_KEY=(set)\n    Encrypts the private keys" in output
    assert "GQLAUTH_STATELESS=on\n" in output
    assert "GQLAUTH_SECRET_KEY=\n" in output
    assert SECRET not in output
    assert "password@" not in output


def test_a_bad_setting_is_one_line(bare: Command) -> None:
    for command in (("settings",), ("db", "upgrade"), ("users", "list"), ("keys", "rotate")):
        line = failed(bare(*command, algorithm="HS256", secret_key="short"))
        assert line == "GQLAUTH_SECRET_KEY is too short: 32 random bytes or more"


@pytest.mark.parametrize(
    "arguments", [("nothing",), ("serve", "--port", "99999"), ("serve", "--workers", "0"), ("users",)]
)
def test_a_wrong_command_is_a_usage_error(bare: Command, arguments: tuple[str, ...]) -> None:
    result = bare(*arguments)
    assert result.code == 2
    assert "Usage: gqlauth" in result.errors


COMMANDS = [
    ("db", "upgrade"),
    ("db", "current"),
    ("keys", "list"),
    ("keys", "rotate"),
    ("users", "create", "ada@example.com"),
    ("users", "list"),
    ("users", "disable", "ada@example.com"),
    ("users", "enable", "ada@example.com"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_cannot_be_used_is_one_line(
    bare: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("text").write_text("This is no database. " * 100)
    unusable = "the database does not work:"
    for url, reason in (
        ("sqlite:///folder", "unable to open database file"),
        ("sqlite:///nowhere/x.db", "unable to open database file"),
        ("sqlite:///text", "file is not a database"),
    ):
        assert failed(bare(*command, stdin=PASSWORD, database_url=url)) == f"{unusable} {reason}"
    away = failed(bare(*command, stdin=PASSWORD, database_url=f"postgresql://user:{PASSWORD}@127.0.0.1:1/app"))
    assert away.startswith(unusable)
    assert PASSWORD not in away


# The database and the keys


def test_the_database_is_upgraded_once(gqlauth: Command) -> None:
    assert done(gqlauth("db", "current")) == "none: run gqlauth db upgrade\n"
    assert done(gqlauth("db", "upgrade")) == f"upgraded to {migrations.HEAD}\n"
    assert done(gqlauth("db", "upgrade")) == f"already at {migrations.HEAD}\n"
    assert done(gqlauth("db", "current")) == f"{migrations.HEAD}\n"


@pytest.mark.parametrize("command", COMMANDS[2:])
def test_a_database_without_tables_is_told_how_to_get_them(gqlauth: Command, command: tuple[str, ...]) -> None:
    line = failed(gqlauth(*command, stdin=PASSWORD))
    assert line == f"migrations: at none, not {migrations.HEAD}; run: gqlauth db upgrade"


def test_a_new_key_signs_after_a_rotation(ready: Command) -> None:
    [first] = done(ready("keys", "list")).splitlines()
    assert re.fullmatch(r"[\w-]{43}  ES256  created \d{4}-\d\d-\d\d \d\d:\d\d  signs", first)
    kid = done(ready("keys", "rotate")).strip()
    newest, oldest = sorted(done(ready("keys", "list")).splitlines(), key=lambda line: not line.startswith(kid))
    assert newest.endswith("signs")
    assert (oldest[:43], " retired " in oldest) == (first[:43], True)
    assert "PRIVATE" not in done(ready("keys", "list"))


def test_a_shared_secret_is_not_rotated_here(ready: Command) -> None:
    line = failed(ready("keys", "rotate", algorithm="HS256", secret_key=SECRET))
    assert line == "HS256 has no keys in the database: change GQLAUTH_SECRET_KEY instead"


# Users


def test_a_user_is_created_listed_disabled_and_enabled(ready: Command) -> None:
    user_id = done(ready("users", "create", "Ada@example.com", "--name", "Ada", stdin=f"{PASSWORD}\n")).strip()
    assert UUID(user_id).version == 7
    row = rf"{user_id}  %s   ?\d{{4}}-\d\d-\d\d \d\d:\d\d  Ada@example\.com\n"
    assert re.fullmatch(row % "enabled", done(ready("users", "list")))
    assert done(ready("users", "disable", "ada@EXAMPLE.com")) == ""
    assert re.fullmatch(row % "disabled", done(ready("users", "list")))
    assert done(ready("users", "enable", "ada@example.com")) == ""
    assert re.fullmatch(row % "enabled", done(ready("users", "list")))


def test_the_list_of_users_tells_their_roles_and_scopes(ready: Command) -> None:
    done(ready("users", "create", "ada@example.com", stdin=PASSWORD))
    for arguments in (("editor",), ("admin",), ("posts:read", "--scope")):
        done(ready("users", "grant", "ada@example.com", *arguments))
    assert done(ready("users", "list")).endswith("  ada@example.com  role:admin  role:editor  scope:posts:read\n")


def test_a_created_user_can_sign_in(gqlauth: Command, client: GraphQLClient) -> None:
    done(gqlauth("users", "create", "ada@example.com", stdin=f"{PASSWORD}\r\n"))
    assert client.login()["user"]["email"] == "ada@example.com"


@pytest.mark.parametrize(
    ("email", "password", "line"),
    [
        ("ada@example.com", "", "Use at least 8 characters."),
        ("ada@example.com", "password1", "This password is one of the most common ones."),
        ("ada", PASSWORD, "This is not a valid e-mail address."),
        ("taken@example.com", PASSWORD, "There is already an account with this e-mail address."),
    ],
)
def test_a_user_that_cannot_be_created_is_one_line(ready: Command, email: str, password: str, line: str) -> None:
    done(ready("users", "create", "taken@example.com", stdin=PASSWORD))
    assert failed(ready("users", "create", email, stdin=password)) == line


def test_a_password_that_is_not_utf_8_is_one_line(ready: Command) -> None:
    assert failed(ready("users", "create", "ada@example.com", stdin=b"\xff" * 12)) == "this is not text in UTF-8"


def test_a_password_is_never_an_argument(ready: Command) -> None:
    assert ready("users", "create", "ada@example.com", PASSWORD).code == 2
    assert ready("users", "create", "ada@example.com", "--password", PASSWORD).code == 2


def test_nobody_is_nobody(ready: Command) -> None:
    for command in ("disable", "enable"):
        assert failed(ready("users", command, "nobody@example.com")) == "there is no such account"


def test_the_prompt_does_not_show_the_password(ready: Command, database_url: str) -> None:
    ours, theirs = pty.openpty()
    variables = environment(database_url=database_url, environment="test", bcrypt_cost="4")
    # A session of its own: the prompt must ask this terminal, not the one that the tests were started from.
    with subprocess.Popen(
        [GQLAUTH, "users", "create", "ada@example.com"],
        env=variables,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        start_new_session=True,
    ) as process:
        shown = b""
        while b"Password: " not in shown:
            shown += os.read(ours, 1_000)
        os.write(ours, f"{PASSWORD}\n".encode())
        output = process.communicate(timeout=TIMEOUT)[0]
    os.set_blocking(ours, False)
    shown += os.read(ours, 1_000)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0
    assert UUID(output.strip())
    assert PASSWORD.encode() not in shown


# Tokens


def issued(auth: Auth, clock: Clock, ago: int = 0) -> str:
    """Return an access token that was issued so many seconds ago."""
    keys.load(auth.runtime)
    until = clock.now.replace(year=clock.now.year + 1)
    clock.advance(-ago)
    token, _ = auth.runtime.tokens.issue(UUID(int=1), UUID(int=2), until=until)
    clock.advance(ago)
    auth.runtime.database.dispose()
    return token


def test_a_token_of_ours_is_valid(ready: Command, auth: Auth, clock: Clock, tmp_path: Path) -> None:
    token = issued(auth, clock)
    output = done(ready("token", "inspect", stdin=f"{token}\n"))
    shown, verdict = output.rsplit("\n", 2)[:2]
    assert verdict == "valid"
    assert json.loads(shown)["header"]["typ"] == "at+jwt"
    assert json.loads(shown)["claims"]["sub"] == str(UUID(int=1))
    (tmp_path / "token").write_text(token)
    assert done(ready("token", "inspect", str(tmp_path / "token"))) == output


def test_a_token_that_does_not_count_is_shown_with_its_reason(ready: Command, auth: Auth, clock: Clock) -> None:
    expired = ready("token", "inspect", stdin=issued(auth, clock, ago=901))
    assert failed(expired) == "TOKEN_EXPIRED"
    assert '"exp"' in expired.output
    head, claims, signature = issued(auth, clock).split(".")
    forged = base64.urlsafe_b64encode(base64.urlsafe_b64decode(claims + "==").replace(b"0001", b"0009", 1))
    assert (
        failed(ready("token", "inspect", stdin=f"{head}.{forged.rstrip(b'=').decode()}.{signature}")) == "TOKEN_INVALID"
    )
    assert failed(ready("token", "inspect", stdin=issued(auth, clock), audience="other")) == "TOKEN_INVALID"


@pytest.mark.parametrize("text", ["", "garbage", "a.b.c", "W10.e30.", "\x1b[31m", "ey" * 50_000])
def test_garbage_is_not_a_token(bare: Command, text: str) -> None:
    result = bare("token", "inspect", stdin=text)
    assert failed(result) == "this is not a JSON Web Token"
    assert result.output == ""


def test_nested_or_undecodable_input_is_not_a_token(bare: Command) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 200_000).rstrip(b"=").decode()
    assert failed(bare("token", "inspect", stdin=f"{deep}.{deep}.x")) == "this is not a JSON Web Token"
    assert failed(bare("token", "inspect", stdin=b"\xff\xfe")) == "this is not text in UTF-8"


def test_sessions_are_listed_and_one_is_ended_at_once(gqlauth: Command, client: GraphQLClient, clock: Clock) -> None:
    here = client.signup()
    clock.advance(1)
    client.http.headers["user-agent"] = "a phone"
    there = client.login()
    rows = done(gqlauth("sessions", "list", "ADA@example.com")).splitlines()
    assert [row.rpartition("  ")[2] for row in rows] == ["a phone", "testclient"]
    ended = rows[0].split()[0]
    assert ended == client.sessions(here["accessToken"])[0]["id"]
    assert done(gqlauth("sessions", "revoke", ended)) == "ended 1\n"
    assert client.refused(ME, token=there["accessToken"])["reason"] == "SESSION_REVOKED"
    assert client.me(here["accessToken"])
    assert failed(gqlauth("sessions", "revoke", ended)) == "there is no such session"


def test_all_sessions_of_an_account_are_ended_at_once(gqlauth: Command, client: GraphQLClient) -> None:
    eve, payloads = client.signup("eve@example.com"), [client.signup(), client.login()]
    assert done(gqlauth("sessions", "revoke", "--user", "ada@example.com")) == "ended 2\n"
    for payload in payloads:
        assert client.refused(ME, token=payload["accessToken"])["reason"] == "SESSION_REVOKED"
    assert client.me(eve["accessToken"])
    assert done(gqlauth("sessions", "list", "ada@example.com")) == ""


@pytest.mark.parametrize("arguments", [(), (str(UUID(int=7)), "--user", "ada@example.com"), ("nonsense",)])
def test_what_is_to_be_ended_must_be_said_in_one_way(ready: Command, arguments: tuple[str, ...]) -> None:
    refused = ready("sessions", "revoke", *arguments)
    assert refused.code == 2
    assert "Traceback" not in refused.errors


@pytest.mark.parametrize("arguments", [("list", "nobody@example.com"), ("revoke", "--user", "nobody@example.com")])
def test_sessions_of_nobody_are_told_so(ready: Command, arguments: tuple[str, ...]) -> None:
    assert failed(ready("sessions", *arguments)) == "there is no such account"


def test_keys_are_encrypted_anew(ready: Command) -> None:
    assert "GQLAUTH_KEY_ENCRYPTION_KEY is not set" in failed(ready("keys", "encrypt"))
    assert done(ready("keys", "encrypt", key_encryption_key=SECRET)) == "encrypted 1\n"
    assert "cannot be read" in failed(ready("keys", "encrypt", key_encryption_key=SECRET[::-1]))
    assert done(ready("keys", "encrypt", key_encryption_key=f"{SECRET[::-1]},{SECRET}")) == "encrypted 1\n"
