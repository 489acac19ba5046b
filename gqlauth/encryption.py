"""Text at rest, encrypted under GQLAUTH_KEY_ENCRYPTION_KEY: signing keys, and other secrets that must be read back.

An encrypted text is `gqlauth1.<salt>.<nonce and ciphertext>`, both in base64url. The setting is a passphrase, so the
key comes from scrypt, which makes guessing expensive; the text is sealed by AES-256-GCM. What the text is for (its
`purpose`, such as the id of the row) is authenticated with it: a text that is moved to another row does not open.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Sequence
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = "gqlauth1"
SALT_BYTES = 16
# NIST SP 800-38D section 8.2.2: random nonces of 96 bits are safe for 2**32 texts under one key.
NONCE_BYTES = 12
# OWASP's Password Storage Cheat Sheet: these parameters cost 16 MiB and as much time as 2**17, 8, 1.
SCRYPT = {"n": 2**14, "r": 8, "p": 5, "maxmem": 2**25, "dklen": 32}


class DecryptionError(ValueError):
    """The text is damaged, belongs to another purpose, or was encrypted under none of the keys."""


class Cipher:
    """Encrypts under the first of several passphrases, and decrypts under all of them.

    A key is derived once for each passphrase and salt, so a new text takes the salt of one that was read before. The
    derivation takes some 200 ms of CPU: never call this on the event loop.
    """

    def __init__(self, passphrases: Sequence[str]) -> None:
        self._passphrases = passphrases
        self._salt: bytes | None = None
        self._derived: dict[tuple[int, bytes], AESGCM] = {}
        self._deriving = threading.Lock()

    def encrypt(self, text: str, purpose: str) -> str:
        """Return the text in encrypted form. Raises `DecryptionError` if there is no passphrase."""
        if not self._passphrases:
            raise DecryptionError("there is nothing to encrypt under")
        self._salt = salt = self._salt or secrets.token_bytes(SALT_BYTES)
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._key(0, salt).encrypt(nonce, text.encode(), _bound(purpose))
        return ".".join((VERSION, _encode(salt), _encode(nonce + sealed)))

    def decrypt(self, text: str, purpose: str) -> str:
        """Return the text in the clear. Raises `DecryptionError` if it cannot be read for this purpose."""
        return self._open(text, purpose)[1]

    def is_current(self, text: str, purpose: str) -> bool:
        """Tell whether the text can be read, and is encrypted under the first passphrase."""
        try:
            return self._open(text, purpose)[0] == 0
        except DecryptionError:
            return False

    def _open(self, text: str, purpose: str) -> tuple[int, str]:
        """Return the place of the passphrase that opens the text, and the text."""
        salt, sealed = _parse(text)
        for place in range(len(self._passphrases)):
            try:
                opened = self._key(place, salt).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound(purpose))
            except InvalidTag:
                continue
            self._salt = self._salt or salt
            return place, opened.decode()
        raise DecryptionError("damaged, or encrypted under another key")

    def _key(self, place: int, salt: bytes) -> AESGCM:
        # One derivation at a time: each takes its memory.
        with self._deriving:
            if (place, salt) not in self._derived:
                key = hashlib.scrypt(self._passphrases[place].encode(), salt=salt, **SCRYPT)
                self._derived[place, salt] = AESGCM(key)
            return self._derived[place, salt]


@lru_cache(maxsize=16)
def cipher(passphrases: tuple[str, ...]) -> Cipher:
    """Return this process's cipher under these passphrases, the current one first: `settings.encryption_keys`."""
    return Cipher(passphrases)


def is_encrypted(text: str) -> bool:
    """Tell whether the text has the form that `Cipher.encrypt` returns. Whether it can be read is not looked at."""
    return text.startswith(f"{VERSION}.")


def _bound(purpose: str) -> bytes:
    return f"{VERSION} {purpose}".encode()


def _parse(text: str) -> tuple[bytes, bytes]:
    """Return the salt, and the nonce with the ciphertext."""
    try:
        version, salt, sealed = text.split(".")
        parts = base64.b64decode(salt, "-_", validate=True), base64.b64decode(sealed, "-_", validate=True)
    except ValueError:
        raise DecryptionError("not an encrypted text") from None
    if version != VERSION or len(parts[0]) != SALT_BYTES or len(parts[1]) <= NONCE_BYTES:
        raise DecryptionError("not an encrypted text")
    return parts


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()
