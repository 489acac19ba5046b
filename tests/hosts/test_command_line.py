"""The command line on a host's application: `--app MODULE:NAME`, or GQLAUTH_APP."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gqlauth import Auth, Settings
from gqlauth.clock import utc_now
from gqlauth.migrations import HEAD
from tests.hosts.serving import client_of
from tests.hosts.shop import Customer, check_invitation, create_schema
from tests.processes import run
from tests.support import Clock, GraphQLClient
from tests.test_cli import Command, bare, done, failed  # noqa: F401 -- a fixture

SHOP = """
from gqlauth import Auth, Settings
from tests.hosts.shop import Customer

auth = Auth(Settings(environment="test", bcrypt_cost=4, database_url={url!r}), user=Customer)
something = 1
"""
EMAIL = "ada@example.com"
SIGNUP = """mutation($input: SignupInput!) {
  signup(input: $input) { ... on AuthPayload { accessToken user { id } } ... on AuthError { code } }
}"""
ALL_THERE = "all there: the tables are your application's, and so are the migrations\n"


@pytest.fixture
def folder(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the host's module in it, where the commands are run."""
    (tmp_path / "our_shop.py").write_text(SHOP.format(url=database_url))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name in ("our_shop", "broken"):
            del sys.modules[name]


@pytest.fixture
def shop(bare: Command, folder: Path) -> Command:  # noqa: F811
    """Runs a command on the host's application."""
    return lambda *arguments, **options: bare("--app", "our_shop:auth", *arguments, **options)


@pytest.fixture
def client(settings: Settings, clock: Clock) -> Iterator[GraphQLClient]:
    """The host's server, and one customer in it."""
    clock.now = utc_now()
    auth = Auth(settings, user=Customer, before_signup=check_invitation, clock=clock)
    auth.create_tables()
    with client_of(auth, create_schema()) as client:
        yield client


@pytest.fixture
def token(client: GraphQLClient) -> str:
    """The access token of a customer."""
    account = {"email": EMAIL, "password": "correct horse battery", "company": "Engines", "invitation": "friend"}
    return str(client.execute(SIGNUP, {"input": account})["signup"]["accessToken"])


def test_customers_are_listed_granted_and_signed_out(shop: Command, client: GraphQLClient, token: str) -> None:
    assert done(shop("users", "list")).split()[1::3] == ["enabled", EMAIL]
    assert done(shop("users", "grant", EMAIL, "admin")) == ""
    assert done(shop("users", "grant", EMAIL, "posts:read", "--scope")) == ""
    assert done(shop("users", "revoke", EMAIL, "admin")) == ""
    line = "there is no such account, or it does not have that"
    assert failed(shop("users", "revoke", EMAIL, "posts:read")) == line
    assert failed(shop("users", "grant", "eve@example.com", "admin")) == "there is no such account"
    assert failed(shop("users", "grant", EMAIL, "two words")).startswith("A role is 1 to 64 printable ASCII")
    [session] = done(shop("sessions", "list", EMAIL)).splitlines()
    assert done(shop("sessions", "revoke", session.split()[0])) == "ended 1\n"
    assert client.refused("{ me { id } }", token=token)["reason"] == "SESSION_REVOKED"
    assert done(shop("keys", "list")).rstrip().endswith("signs")


def test_a_class_that_wants_more_than_an_address_is_told_by_its_column(shop: Command, client: GraphQLClient) -> None:
    line = failed(shop("users", "create", "eve@example.com", stdin="correct horse battery"))
    assert line.startswith("a new Customer needs company: ")


def test_the_doctor_looks_at_the_hosts_application(shop: Command, client: GraphQLClient) -> None:
    output = done(shop("doctor", app="our_shop:auth"))
    assert "ok    migrations: all run" in output
    assert "keys: one signs with ES256" in output
    assert "GQLAUTH_APP" not in output
    assert "nothing reads GQLAUTH_APPS" in done(shop("doctor", apps="x"))


def test_what_the_host_has_not_migrated_is_told_by_every_command(shop: Command) -> None:
    lacking = "the database lacks customers, grants, sessions, signing_keys; run the migrations of your application"
    for command in (("users", "list"), ("keys", "rotate"), ("sessions", "list", EMAIL)):
        assert failed(shop(*command)) == f"migrations: {lacking}"
    assert failed(shop("db", "upgrade")) == lacking
    assert done(shop("db", "current")) == f"{lacking}\n"
    assert f"WRONG migrations: {lacking}" in shop("doctor").output


def test_the_hosts_migrations_are_only_looked_at(shop: Command, client: GraphQLClient) -> None:
    assert done(shop("db", "upgrade")) == ALL_THERE
    assert done(shop("db", "current")) == ALL_THERE


def test_the_settings_are_those_of_the_application(shop: Command) -> None:
    assert "GQLAUTH_ENVIRONMENT=test\n" in done(shop("settings"))


@pytest.mark.parametrize(("command", "instead"), [("serve", "uvicorn"), ("schema", "strawberry export-schema")])
def test_what_an_application_does_itself_is_a_usage_error(shop: Command, command: str, instead: str) -> None:
    result = shop(command)
    assert result.code == 2
    assert instead in result.errors.splitlines()[-1]
    assert "Traceback" not in result.errors


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("app", "line"),
    [
        ("nowhere:auth", "nowhere:auth cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("our_shop:nothing", "our_shop:nothing cannot be imported: AttributeError: module 'our_shop' has no "),
        ("our_shop:something", "our_shop:something is no gqlauth.Auth"),
        (":auth", ":auth cannot be imported: ValueError: Empty module name"),
        (".:auth", ".:auth cannot be imported: TypeError: "),
        ("broken", "broken cannot be imported: RuntimeError: two lines"),
        ("wrong", "GQLAUTH_ALGORITHM: Invalid enum value 'none'"),
        ("unreadable", "unreadable cannot be imported: SyntaxError: "),
    ],
)
def test_an_application_that_cannot_be_had_is_one_line(
    bare: Command,  # noqa: F811
    folder: Path,
    app: str,
    line: str,
) -> None:
    (folder / "broken.py").write_text("raise RuntimeError('two\\nlines')\n")
    (folder / "wrong.py").write_text("from gqlauth import Auth, Settings\nauth = Auth(Settings(algorithm='none'))\n")
    (folder / "unreadable.py").write_text("auth =\n")
    for command in (("users", "list"), ("doctor",), ("settings",)):
        assert failed(bare(*command, app=app)).startswith(line)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_name_may_be_left_out_and_the_variable_serves_as_well(folder: Path) -> None:
    for options, variables in ((("--app", "our_shop"), {}), ((), {"app": "our_shop:auth"})):
        result = run(*options, "db", "current", folder=folder, **variables)
        assert result.stdout.startswith("the database lacks customers"), result.stderr


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_application_without_a_class_of_its_own_is_migrated(bare: Command, folder: Path) -> None:  # noqa: F811
    text = "from gqlauth import Auth, Settings\nauth = Auth(Settings(table_prefix='web_'))\n"
    (folder / "our_shop.py").write_text(text)
    assert done(bare("db", "upgrade", app="our_shop")) == f"upgraded to {HEAD}\n"
    assert done(bare("db", "current", app="our_shop")) == f"{HEAD}\n"
    assert "ok    migrations: at " in bare("doctor", app="our_shop").output


def test_before_the_first_start_the_doctor_misses_nothing(shop: Command, settings: Settings) -> None:
    auth = Auth(settings, user=Customer)
    auth.create_tables()
    auth.runtime.database.dispose()
    assert done(shop("doctor")).endswith("warn  keys: there is none yet; the first start makes one\n")
