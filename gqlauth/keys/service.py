"""Load, make, rotate, revoke, encrypt and list the keys that sign access tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import cast

import sqlalchemy as sa
from jwt import InvalidKeyError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gqlauth import tokens
from gqlauth.database import emit
from gqlauth.encryption import Cipher, cipher, is_encrypted
from gqlauth.errors import ConfigurationError
from gqlauth.events import KeyRevoked, KeysRotated
from gqlauth.keys.models import KeyColumns
from gqlauth.runtime import Runtime
from gqlauth.settings import Algorithm

# Another process may sign with a key for this long after it was retired, until it looks for the new one.
ROTATION_SECONDS = 60
# How a private key begins that no passphrase protects, and one of an earlier version (PBES2, 2,048 rounds of PBKDF2).
CLEAR, OLD_FORM = "-----BEGIN PRIVATE KEY-----", "-----BEGIN ENCRYPTED PRIVATE KEY-----"


class NoSuchKey(ConfigurationError):
    """The database has no signing key of this name."""


class NoKeysInDatabase(ConfigurationError):
    """HS256 signs with a secret from the settings, so there is no key in the database to change."""

    def __init__(self) -> None:
        super().__init__("HS256 has no keys in the database: change GQLAUTH_SECRET_KEY instead")


class UnreadableKey(ConfigurationError):
    """A private key cannot be decrypted, or is not what its row says."""

    def __init__(self, kid: str) -> None:
        super().__init__(
            f"the signing key {kid} cannot be read: it is damaged, or GQLAUTH_KEY_ENCRYPTION_KEY is not the one "
            "that it was encrypted under"
        )


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
    """Let a new key sign and return its `kid`. The one before verifies until its last token has expired.

    Raises `NoKeysInDatabase` with HS256.
    """
    _refuse_shared_secret(runtime)
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


def revoke(runtime: Runtime, kid: str) -> str | None:
    """Delete a key that was stolen, so that nothing it has signed counts any more.

    If it signs, a new key replaces it in the same transaction. Return that key's `kid`, or None. Raises `NoSuchKey` for
    an unknown `kid`, and `NoKeysInDatabase` with HS256.
    """
    _refuse_shared_secret(runtime)
    try:
        with runtime.database.transaction() as db:
            key = db.get(runtime.models.Key, kid, with_for_update=True)
            if key is None:
                raise NoSuchKey(f"there is no signing key {kid}; see: gqlauth keys list")
            signs = key.retired_at is None and key.algorithm == runtime.settings.algorithm
            db.delete(key)
            db.flush()
            successor = _add(db, runtime) if signs else None
            emit(db, KeyRevoked(kid=kid, successor=successor))
    except IntegrityError:
        # A server that started at this moment has made the new key.
        return revoke(runtime, kid)
    return successor


def encrypt(runtime: Runtime) -> int:
    """Encrypt every private key anew under the first of the configured keys, and return how many there are.

    Those that follow it in `GQLAUTH_KEY_ENCRYPTION_KEY` can be taken away then. Raises `ConfigurationError` if a key
    cannot be read, and changes none.
    """
    if not runtime.settings.encryption_keys:
        raise ConfigurationError("GQLAUTH_KEY_ENCRYPTION_KEY is not set")
    rows = every(runtime)
    _replace(runtime, {row.kid: (row.private_key, _encrypted(_read(row, runtime), runtime)) for row in rows})
    return len(rows)


def protect(runtime: Runtime) -> int:
    """Encrypt what does not lie under the first of the configured keys yet, and return how many keys that were.

    Those are keys in the clear, of the old form, and under a key that follows the first. What cannot be read stays as
    it is: if it is still needed, `load` says so.
    """
    stale = [row for row in every(runtime) if _is_stale(row, runtime)]
    changes = {}
    for row in stale:
        try:
            changes[row.kid] = row.private_key, _encrypted(_read(row, runtime), runtime)
        except UnreadableKey:
            continue
    if changes:
        _replace(runtime, changes)
    return len(changes)


def count_clear(runtime: Runtime) -> int:
    """Return how many private keys lie in the database in the clear."""
    return sum(row.private_key.startswith(CLEAR) for row in every(runtime))


def count_stale(runtime: Runtime) -> int:
    """Return how many private keys the next start will encrypt anew: see `protect`."""
    return sum(_is_stale(row, runtime) for row in every(runtime))


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


def _refuse_shared_secret(runtime: Runtime) -> None:
    if runtime.settings.algorithm == "HS256":
        raise NoKeysInDatabase


def _cipher(runtime: Runtime) -> Cipher:
    return cipher(runtime.settings.encryption_keys)


def _serialize(key: tokens.SigningKey, runtime: Runtime) -> str:
    """Return what is stored of a key: encrypted where the settings say how."""
    return _encrypted(key, runtime) if runtime.settings.encryption_keys else tokens.serialize_key(key.private)


def _encrypted(key: tokens.SigningKey, runtime: Runtime) -> str:
    return _cipher(runtime).encrypt(tokens.serialize_key(key.private), _purpose(key.kid))


def _purpose(kid: str) -> str:
    return f"signing key {kid}"


def _is_stale(row: KeyColumns, runtime: Runtime) -> bool:
    """Tell whether a key should be encrypted otherwise than it is."""
    if not runtime.settings.encryption_keys:
        return False
    return not (is_encrypted(row.private_key) and _cipher(runtime).is_current(row.private_key, _purpose(row.kid)))


def _replace(runtime: Runtime, changes: dict[str, tuple[str, str]]) -> None:
    """Write new forms of private keys by their `kid`, all or none; `changes` holds the old form and the new.

    What another process has changed since it was read is left alone, so several may do this at once.
    """
    key = runtime.models.Key
    with runtime.database.transaction() as db:
        for kid, (old, new) in sorted(changes.items()):
            db.execute(sa.update(key).where(key.kid == kid, key.private_key == old).values(private_key=new))
    # On SQLite the old form is in the log until that is written into the file.
    runtime.database.checkpoint()


def _read(row: KeyColumns, runtime: Runtime) -> tokens.SigningKey:
    algorithm = cast("Algorithm", row.algorithm)
    for passphrase in runtime.settings.encryption_keys if row.private_key.startswith(OLD_FORM) else (None,):
        try:
            pem = row.private_key
            if is_encrypted(pem):
                pem = _cipher(runtime).decrypt(pem, _purpose(row.kid))
            return tokens.load_key(row.kid, algorithm, pem, passphrase)
        except (ValueError, TypeError):
            continue
    raise UnreadableKey(row.kid)
