"""The command line. An error is one line and an exit code, never a traceback."""

from __future__ import annotations

import getpass
import importlib
import json
import sys
from typing import IO, Any, NoReturn
from uuid import UUID

import click
import jwt
from sqlalchemy.exc import DBAPIError

from gqlauth import doctor as examination
from gqlauth import logs, migrations, server, settings
from gqlauth.accounts import service as accounts
from gqlauth.app import create_schema
from gqlauth.auth import Auth
from gqlauth.errors import AuthError, ConfigurationError
from gqlauth.keys import service as keys
from gqlauth.runtime import Client, Runtime, create_runtime
from gqlauth.sessions import service as sessions
from gqlauth.settings import Settings
from gqlauth.tokens import InvalidToken
from gqlauth.users import service as users_service
from gqlauth.users.models import UserColumns

HOST_MIGRATED = "all there: the tables are your application's, and so are the migrations"


def main() -> None:
    """Run the command line."""
    try:
        cli()
    except (ConfigurationError, AuthError) as error:
        _fail(str(error))
    except DBAPIError as error:
        _fail(f"the database does not work: {str(error.orig).strip().splitlines()[0]}")
    except UnicodeError:
        _fail("this is not text in UTF-8")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gqlauth")
@click.option(
    "--app",
    envvar=settings.APP_VARIABLE,
    metavar="MODULE:NAME",
    help="Where your application keeps its gqlauth.Auth; NAME is auth unless given. Without it, the GQLAUTH_* "
    "variables count alone.",
)
@click.pass_context
def cli(context: click.Context, app: str | None) -> None:
    """Sign-up, login, sessions and permissions for GraphQL. Settings come from GQLAUTH_* variables."""
    context.obj = app


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that answer.")
def serve(host: str, port: int, workers: int) -> None:
    """Start the server: creates, migrates and serves."""
    _refuse_app("what --app names is started by an ASGI server, such as uvicorn")
    server.serve(Settings.from_environ(), host, port, workers)


@cli.command()
def schema() -> None:
    """Print the GraphQL schema."""
    _refuse_app("the schema of what --app names is printed by: strawberry export-schema")
    _say(*create_schema().as_str().splitlines())


@cli.command("settings")
def show_settings() -> None:
    """Print every setting with its value and meaning."""
    app = click.get_current_context().obj
    for row in settings.describe(_load(app).settings if app else Settings.from_environ()):
        _say(f"{row.variable}={settings.show(row.value)}", f"    {row.description}")


@cli.command()
def doctor() -> None:
    """Check settings, database, migrations and keys, and say what is wrong."""
    app = click.get_current_context().obj
    findings = examination.examine(_runtime() if app else None)
    for finding in findings:
        _say(f"{finding.level.value:<5} {finding.text}")
    if any(finding.level is examination.Level.WRONG for finding in findings):
        sys.exit(1)


@cli.group()
def db() -> None:
    """The database's schema."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the database to the newest revision; look whether an application's tables are there."""
    database = _runtime().database
    changed = migrations.upgrade(database)
    done = f"{'upgraded to' if changed else 'already at'} {migrations.HEAD}"
    _say(HOST_MIGRATED if database.models.host_migrates else done)


@db.command("current")
def db_current() -> None:
    """Print the database's revision; look whether an application's tables are there."""
    database = _runtime().database
    if database.models.host_migrates:
        _say(migrations.state(database) or HOST_MIGRATED)
    else:
        _say(migrations.current(database) or "none: run gqlauth db upgrade")


@cli.group("keys")
def keys_group() -> None:
    """The keys that sign access tokens."""


@keys_group.command("list")
def keys_list() -> None:
    """Print the keys, newest first."""
    for key in keys.every(_ready_runtime()):
        state = f"retired {key.retired_at:%Y-%m-%d %H:%M}" if key.retired_at else "signs"
        _say(f"{key.kid}  {key.algorithm:<5}  created {key.created_at:%Y-%m-%d %H:%M}  {state}")


@keys_group.command("rotate")
def keys_rotate() -> None:
    """Let a new key sign; the one before verifies until its last token has expired."""
    _say(keys.rotate(_ready_runtime()))


@keys_group.command("revoke")
@click.argument("kid")
def keys_revoke(kid: str) -> None:
    """Delete a stolen key: its tokens are refused within a second. If it signs, a new one replaces it at once."""
    successor = keys.revoke(_ready_runtime(), kid)
    _say(f"revoked {kid}", *([f"{successor} signs now"] if successor else []))


@keys_group.command("encrypt")
def keys_encrypt() -> None:
    """Encrypt all keys under the first key of GQLAUTH_KEY_ENCRYPTION_KEY; those after it may go then."""
    _say(f"encrypted {keys.encrypt(_ready_runtime())}")


@cli.group()
def users() -> None:
    """The accounts."""


@users.command("create")
@click.argument("email")
@click.option("--name", default="", help="What the person is called.")
def users_create(email: str, name: str) -> None:
    """Make an account. The password is read from a prompt, or from standard input."""
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    user = accounts.create_user(_ready_runtime(), email=email, password=password, name=name)
    _say(str(user.id))


@users.command("list")
def users_list() -> None:
    """Print the accounts, oldest first, with their roles and scopes."""
    for user, grants in accounts.list_users(_ready_runtime()):
        state = "disabled" if user.disabled_at else "enabled"
        granted = "".join(f"  role:{name}" for name in sorted(grants.roles))
        granted += "".join(f"  scope:{name}" for name in sorted(grants.scopes))
        _say(f"{user.id}  {state:<8}  {user.created_at:%Y-%m-%d %H:%M}  {user.email}{granted}")


@users.command("disable")
@click.argument("email")
def users_disable(email: str) -> None:
    """Keep an account out and end its sessions at once."""
    if not accounts.disable_user(_ready_runtime(), email):
        _fail("there is no such account")


@users.command("enable")
@click.argument("email")
def users_enable(email: str) -> None:
    """Let an account sign in again."""
    if not accounts.enable_user(_ready_runtime(), email):
        _fail("there is no such account")


@users.command("grant")
@click.argument("email")
@click.argument("name")
@click.option("--scope", is_flag=True, help="The name is that of a scope, not of a role.")
def users_grant(email: str, name: str, scope: bool) -> None:
    """Give an account a role (or a scope), from its next request on."""
    if not users_service.grant(_ready_runtime(), email, "scope" if scope else "role", name):
        _fail("there is no such account")


@users.command("revoke")
@click.argument("email")
@click.argument("name")
@click.option("--scope", is_flag=True, help="The name is that of a scope, not of a role.")
def users_revoke(email: str, name: str, scope: bool) -> None:
    """Take a role (or a scope) from an account, from its next request on."""
    if not users_service.revoke(_ready_runtime(), email, "scope" if scope else "role", name):
        _fail("there is no such account, or it does not have that")


@cli.group("sessions")
def sessions_group() -> None:
    """Where accounts are signed in."""


@sessions_group.command("list")
@click.argument("email")
def sessions_list(email: str) -> None:
    """Print an account's living sessions, newest first."""
    runtime = _ready_runtime()
    for session in sessions.list_sessions(runtime, _find_user(runtime, email).id):
        times = f"created {session.created_at:%Y-%m-%d %H:%M}  used {session.last_used_at:%Y-%m-%d %H:%M}"
        _say(f"{session.id}  {times}  {session.ip_address or '-'}  {session.user_agent or '-'}")


@sessions_group.command("revoke")
@click.argument("session", required=False, type=click.UUID)
@click.option("--user", metavar="EMAIL", help="End all sessions of this account.")
def sessions_revoke(session: UUID | None, user: str | None) -> None:
    """End one session, or all of an account, at once."""
    runtime = _ready_runtime()
    if (session is None) == (user is None):
        raise click.UsageError("Give a session's id or --user EMAIL.")
    if user is not None:
        count = sessions.end_every_session(runtime, _find_user(runtime, user).id)
    else:
        assert session is not None  # noqa: S101 -- the usage check above
        count = int(sessions.end_session(runtime, session_id=session, client=Client()))
    if not count:
        _fail("there is no such session")
    _say(f"ended {count}")


@cli.group()
def token() -> None:
    """Access tokens."""


@token.command("inspect")
@click.argument("source", type=click.File(), default="-", metavar="[FILE]")
def token_inspect(source: IO[str]) -> None:
    """Show what an access token says, and whether it is genuine and not expired. Its session is not looked at."""
    text = source.read().strip()
    try:
        header, claims = jwt.get_unverified_header(text), jwt.decode(text, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError):
        _fail("this is not a JSON Web Token")
    _say(*json.dumps({"header": header, "claims": claims}, indent=2).splitlines())
    runtime = _ready_runtime()
    keys.load(runtime)
    try:
        runtime.tokens.verify(text)
    except InvalidToken as error:
        _fail(error.reason.value)
    _say("valid")


def _runtime() -> Runtime:
    """Return the runtime of the host's application, or the one that the variables describe."""
    context = click.get_current_context()
    runtime = _load(context.obj).runtime if context.obj else create_runtime(Settings.from_environ())
    context.call_on_close(runtime.database.dispose)
    return runtime


def _load(app: str) -> Auth[Any]:
    """Import the host's `Auth`. Raises `ConfigurationError` if there is none."""
    module, _, name = app.partition(":")
    # As with python -m, what lies in the current folder can be imported.
    sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), name or "auth")
    except ConfigurationError:
        raise
    # Whatever the host's module does wrong while it is imported, it is told in one line.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{app} cannot be imported: {type(error).__name__}: {reason}") from None
    if not isinstance(found, Auth):
        raise ConfigurationError(f"{app} is no gqlauth.Auth")
    return found


def _refuse_app(instead: str) -> None:
    """Say what to do instead where the host's application is none of our business."""
    if click.get_current_context().obj:
        raise click.UsageError(instead)


def _ready_runtime() -> Runtime:
    """Return a runtime over a database that has our tables. Raises `ConfigurationError` if it has not."""
    runtime = _runtime()
    if (lacking := migrations.state(runtime.database)) is not None:
        raise ConfigurationError(f"migrations: {lacking}")
    return runtime


def _find_user(runtime: Runtime, email: str) -> UserColumns:
    with runtime.database.read() as db:
        user = users_service.find_by_email(runtime, db, email)
    return user or _fail("there is no such account")


def _say(*lines: str) -> None:
    """Print lines. They may hold what users have chosen, which the terminal must not obey."""
    for line in lines:
        click.echo(logs.printable(line))


def _fail(message: str) -> NoReturn:
    click.echo(f"gqlauth: {logs.printable(message)}", err=True)
    sys.exit(1)
