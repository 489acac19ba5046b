"""The lanes of threads: work that is expensive keeps nobody else from being served (ASVS 13.1.3, 16.5.2)."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gqlauth import Auth
from gqlauth.passwords import Passwords
from tests.live import serving
from tests.support import PASSWORD


def test_whoever_is_signed_in_is_answered_while_every_hashing_thread_is_busy(
    auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storm of logins: each hash goes on until somebody who is signed in has been answered."""
    threads = os.cpu_count() or 1
    hashing, answered = threading.Semaphore(0), threading.Event()
    verify = Passwords.verify

    def slow(self: Passwords, password: str, stored: str | None) -> bool:
        hashing.release()
        assert answered.wait(60)
        return verify(self, password, stored)

    with serving(auth) as client, ThreadPoolExecutor(2 * threads) as storm:
        account = client.signup("ada@example.com")
        monkeypatch.setattr(Passwords, "verify", slow)
        logins = [storm.submit(client.login, "ada@example.com", PASSWORD) for _ in range(2 * threads)]
        try:
            assert all(hashing.acquire(timeout=60) for _ in range(threads))
            assert client.me(account["accessToken"])["data"]["me"] == account["user"]
            assert not any(login.done() for login in logins)
        finally:
            answered.set()
        assert {login.result()["__typename"] for login in logins} == {"AuthPayload"}
