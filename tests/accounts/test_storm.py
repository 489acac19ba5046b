"""A storm of logins, at the real cost of a hash, keeps nobody else waiting."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

from tests.processes import serving
from tests.support import LOGIN, ME, PASSWORD, SIGNUP

LOGINS = 16


def test_me_is_answered_while_sixteen_logins_are_hashed(tmp_path: Path) -> None:
    """ASVS 13.1.3, 16.5.2. Nothing is timed: twenty answers come before the logins are through."""
    variables = {"input": {"email": "ada@example.com", "password": PASSWORD}}
    with serving(tmp_path) as server, httpx2.Client(timeout=60) as http, ThreadPoolExecutor(LOGINS) as threads:
        payload = http.post(server.url, json={"query": SIGNUP, "variables": variables}).json()["data"]["signup"]
        bearer = {"authorization": f"Bearer {payload['accessToken']}"}
        body = {"query": LOGIN, "variables": variables}
        logins = [threads.submit(httpx2.post, server.url, json=body, timeout=60) for _ in range(LOGINS)]
        for _ in range(20):
            answer = http.post(server.url, json={"query": ME}, headers=bearer).json()
            assert answer["data"]["me"] == payload["user"]
        assert not all(login.done() for login in logins)
        kinds = {login.result().json()["data"]["login"]["__typename"] for login in logins}
    assert kinds == {"AuthPayload"}
