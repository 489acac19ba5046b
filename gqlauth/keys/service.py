"""Load, make, rotate and list the keys that sign access tokens."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import cast

import sqlalchemy as sa
from jwt import InvalidKeyError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gqlauth import tokens
from gqlauth.database import emit
from gqlauth.errors import ConfigurationError
from gqlauth.events import KeysRotated
from gqlauth.keys.models import KeyColumns
from gqlauth.runtime import Runtime
from gqlauth.settings import Algorithm

# Another process may sign with a key for this long after it was retired, until it looks for the new one.
ROTATION_SECONDS = 60


def load(runtime: Runtime) -> bool:
    """Make the runtime sign and verify with the keys of the database; tell whether they have changed.

    Raises `ConfigurationError` if a key cannot be read or none signs.
    """
    if runtime.settings.algorithm == "HS256":
        if runtime.tokens.keys is None:
            runtime.tokens.use(_shared_secret(runtime))
        return False
    with runtime.database.read() as db:
        rows = _current(db, runtime)
    if runtime.tokens.keys is not None and [row.kid for row in rows] == list(runtime.tokens.keys.verifying):
        return False
    if not rows or rows[0].retired_at is not None:
        raise ConfigurationError("no key signs; run: gqlauth keys rotate")
    signing, *retired = [_read(row, runtime) for row in rows]
    runtime.tokens.use(tokens.key_ring(signing, retired))
    return True


def ensure(runtime: Runtime) -> bool:
    """Make the first key of the configured algorithm, unless there is one; tell whether one was made."""
    if runtime.settings.algorithm == "HS256":
        return False
    try:
        with runtime.database.transaction() as db:
            if _signing(db, runtime) is not None:
                return False
            _add(db, runtime)
    except IntegrityError:
        # Another process made it at the same moment.
        return False
    return True


def rotate(runtime: Runtime) -> str:
    """Let a new key sign and return its `kid`. The one before verifies until its last token has expired."""
    if runtime.settings.algorithm == "HS256":
        raise ConfigurationError("HS256 has no keys in the database: change GQLAUTH_SECRET_KEY instead")
    try:
        with runtime.database.transaction() as db:
            signing = _signing(db, runtime)
            if signing is not None:
                signing.retired_at = runtime.clock()
                db.flush()
            kid = _add(db, runtime)
            emit(db, KeysRotated(kid=kid))
    except IntegrityError:
        # Another rotation was first, and its key signs already: this one comes after it.
        return rotate(runtime)
    return kid


def encrypt(runtime: Runtime) -> int:
    """Encrypt every private key under the first of the configured keys, and return how many there are.

    Those that follow it in `GQLAUTH_KEY_ENCRYPTION_KEY` can be taken away then. Raises `ConfigurationError` if a key
    cannot be read, and changes none.
    """
    if not runtime.settings.encryption_keys:
        raise ConfigurationError("GQLAUTH_KEY_ENCRYPTION_KEY is not set")
    with runtime.database.transaction() as db:
        rows = db.scalars(sa.select(runtime.models.Key).with_for_update()).all()
        for row in rows:
            row.private_key = _serialize(_read(row, runtime), runtime)
    return len(rows)


def every(runtime: Runtime) -> Sequence[KeyColumns]:
    """Return all keys, newest first."""
    key = runtime.models.Key
    with runtime.database.read() as db:
        return db.scalars(sa.select(key).order_by(key.created_at.desc())).all()


def _current(db: Session, runtime: Runtime) -> Sequence[KeyColumns]:
    """Return the keys that count, the signing one first."""
    key = runtime.models.Key
    oldest = runtime.clock() - timedelta(seconds=runtime.settings.access_token_seconds + ROTATION_SECONDS)
    alive = sa.or_(key.retired_at.is_(None), key.retired_at > oldest)
    of_algorithm = key.algorithm == runtime.settings.algorithm
    newest_first = (key.retired_at.is_not(None), key.created_at.desc(), key.kid)
    return db.scalars(sa.select(key).where(of_algorithm, alive).order_by(*newest_first)).all()


def _signing(db: Session, runtime: Runtime) -> KeyColumns | None:
    key = runtime.models.Key
    signs = (key.algorithm == runtime.settings.algorithm, key.retired_at.is_(None))
    return db.scalar(sa.select(key).where(*signs).with_for_update())


def _add(db: Session, runtime: Runtime) -> str:
    key = tokens.generate_key(runtime.settings.algorithm)
    pem = _serialize(key, runtime)
    settings, now = runtime.settings, runtime.clock()
    db.add(runtime.models.Key(kid=key.kid, algorithm=settings.algorithm, private_key=pem, created_at=now))
    db.flush()
    return key.kid


def _shared_secret(runtime: Runtime) -> tokens.KeyRing:
    try:
        return tokens.shared_secret(runtime.settings.secret_key or "")
    except InvalidKeyError:
        raise ConfigurationError("GQLAUTH_SECRET_KEY is a public key: use 32 random bytes or more") from None


def _serialize(key: tokens.SigningKey, runtime: Runtime) -> str:
    return tokens.serialize_key(key.private, next(iter(runtime.settings.encryption_keys), None))


def _read(row: KeyColumns, runtime: Runtime) -> tokens.SigningKey:
    for passphrase in runtime.settings.encryption_keys or (None,):
        with suppress(ValueError, TypeError):
            return tokens.load_key(row.kid, cast("Algorithm", row.algorithm), row.private_key, passphrase)
    raise ConfigurationError(
        f"the signing key {row.kid} cannot be read: it is damaged, or GQLAUTH_KEY_ENCRYPTION_KEY is not the one "
        "that it was encrypted under"
    )
