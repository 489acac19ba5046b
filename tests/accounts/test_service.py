"""The rules of accounts that no document can reach: renewed hashes, races, and what a host may pass in."""

from __future__ import annotations

from collections.abc import Iterator

import bcrypt
import pytest
import sqlalchemy as sa

from gqlauth import Auth, AuthError, migrations
from gqlauth.accounts import service
from gqlauth.accounts.service import EmailTaken, InvalidCredentials
from gqlauth.database import Database
from gqlauth.errors import InvalidInput
from gqlauth.keys import service as keys
from gqlauth.passwords import Passwords, WeakPassword
from gqlauth.runtime import Client, Runtime
from gqlauth.users.models import UserColumns
from gqlauth.users.service import InvalidEmail
from tests.support import PASSWORD
from tests.tables import Session, User

EMAIL = "ada@example.com"


@pytest.fixture
def runtime(auth: Auth) -> Iterator[Runtime]:
    runtime = auth.runtime
    migrations.upgrade(runtime.database)
    keys.ensure(runtime)
    keys.load(runtime)
    yield runtime
    runtime.database.dispose()


def login(runtime: Runtime, password: str = PASSWORD) -> UserColumns:
    return service.login(runtime, service.check_login(runtime, email=EMAIL, client=Client()), password).user


def create(runtime: Runtime, email: str = EMAIL, password: str = PASSWORD, name: str = "") -> UserColumns:
    return service.create_user(runtime, email=email, password=password, name=name)


def stored_hash(runtime: Runtime) -> str:
    with runtime.database.read() as db:
        return db.scalars(sa.select(User.password_hash)).one()


def store_hash(runtime: Runtime, value: str) -> None:
    with runtime.database.transaction() as db:
        db.execute(sa.update(User).values(password_hash=value))


def sessions(database: Database) -> int:
    with database.read() as db:
        return db.scalar(sa.select(sa.func.count()).select_from(Session)) or 0


def test_a_login_keeps_a_hash_that_is_current(runtime: Runtime) -> None:
    create(runtime)
    before = stored_hash(runtime)
    login(runtime)
    assert stored_hash(runtime) == before


def test_a_login_renews_a_hash_of_another_cost(runtime: Runtime) -> None:
    create(runtime)
    store_hash(runtime, Passwords(cost=5).hash(PASSWORD))
    login(runtime)
    assert stored_hash(runtime).startswith("bcrypt-sha384$2b$04$")
    assert login(runtime).email == EMAIL


def test_a_login_replaces_a_bare_hash_of_another_system(runtime: Runtime) -> None:
    create(runtime)
    store_hash(runtime, bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode())
    with pytest.raises(InvalidCredentials):
        login(runtime, "not the password")
    assert stored_hash(runtime).startswith("$2b$")
    login(runtime)
    assert stored_hash(runtime).startswith("bcrypt-sha384$2b$04$")
    assert login(runtime).email == EMAIL


def test_a_refused_login_renews_nothing_and_signs_nobody_in(runtime: Runtime) -> None:
    create(runtime)
    store_hash(runtime, Passwords(cost=5).hash(PASSWORD))
    service.disable_user(runtime, EMAIL)
    for password in (PASSWORD, "not the password"):
        with pytest.raises(InvalidCredentials):
            login(runtime, password)
    assert stored_hash(runtime).startswith("bcrypt-sha384$2b$05$")
    assert sessions(runtime.database) == 0


def test_a_login_with_a_password_that_is_changed_meanwhile_is_refused(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old password was right when it was checked, and is not when the session would begin."""
    create(runtime)
    verify = Passwords.verify

    def verify_and_change(passwords: Passwords, password: str, stored: str | None) -> bool:
        matches = verify(passwords, password, stored)
        if matches:
            store_hash(runtime, passwords.hash("another password entirely"))
        return matches

    monkeypatch.setattr(Passwords, "verify", verify_and_change)
    with pytest.raises(InvalidCredentials):
        login(runtime)
    assert sessions(runtime.database) == 0


def test_a_user_that_is_deleted_meanwhile_is_refused(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    create(runtime)
    verify = Passwords.verify

    def verify_and_delete(passwords: Passwords, password: str, stored: str | None) -> bool:
        with runtime.database.transaction() as db:
            db.execute(sa.delete(User))
        return verify(passwords, password, stored)

    monkeypatch.setattr(Passwords, "verify", verify_and_delete)
    with pytest.raises(InvalidCredentials):
        login(runtime)
    assert sessions(runtime.database) == 0


@pytest.mark.parametrize(
    ("email", "password", "name", "refusal"),
    [
        ("\ud83d@example.com", PASSWORD, "", InvalidEmail),
        ("ada@\ud83d.com", PASSWORD, "", InvalidEmail),
        (EMAIL, PASSWORD + "\ud83d", "", WeakPassword),
        (EMAIL, PASSWORD, "Ada\ud83d", InvalidInput),
        ("a" * 1_000_000, PASSWORD, "", InvalidEmail),
        (EMAIL, "x" * 1_000_000, "", WeakPassword),
        (EMAIL, PASSWORD, "x" * 1_000_000, InvalidInput),
    ],
    ids=["half an address", "half a domain", "half a password", "half a name", "1 MB", "1 MB password", "1 MB name"],
)
def test_what_the_transport_would_not_let_through_is_refused_here_too(
    runtime: Runtime, email: str, password: str, name: str, refusal: type[AuthError]
) -> None:
    """A host's own view, and the command line, are not as strict as ours."""
    with pytest.raises(refusal):
        create(runtime, email, password, name)
    with pytest.raises(InvalidCredentials):
        service.login(runtime, service.check_login(runtime, email=email, client=Client()), password)


def test_an_operator_hears_of_a_taken_address(runtime: Runtime) -> None:
    create(runtime)
    with pytest.raises(EmailTaken):
        create(runtime, email=EMAIL.upper())


def test_disabling_ends_every_session_and_tells_whether_there_is_such_an_account(runtime: Runtime) -> None:
    create(runtime)
    login(runtime)
    login(runtime)
    assert service.disable_user(runtime, EMAIL.upper())
    assert service.disable_user(runtime, EMAIL)
    assert not service.disable_user(runtime, "eve@example.com")
    assert not service.enable_user(runtime, "eve@example.com")
    with runtime.database.read() as db:
        assert None not in db.scalars(sa.select(Session.ended_at)).all()


def test_the_sessions_of_a_deleted_user_go_with_it(runtime: Runtime) -> None:
    create(runtime)
    login(runtime)
    with runtime.database.transaction() as db:
        db.execute(sa.delete(User))
    assert sessions(runtime.database) == 0
