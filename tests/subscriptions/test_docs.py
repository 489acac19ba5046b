"""docs/subscriptions.md tells the truth: its code is run, and its figures are those of the code."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from starlette.testclient import TestClient

from gqlauth import protocol, server, sockets, websocket
from gqlauth.errors import Reason
from tests.conftest import missing
from tests.docs import blocks
from tests.processes import serving
from tests.subscriptions.support import PROTOCOL, SESSION_ENDED, Socket, connected
from tests.subscriptions.test_clients import packages
from tests.support import LOGOUT, GraphQLClient
from tests.test_readme import REFRESH

PAGE = (Path(__file__).parent.parent.parent / "docs" / "subscriptions.md").read_text("utf-8")
__all__ = ["packages"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("shown")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        (folder / "shown_in_subscriptions.py").write_text("\n\n".join(blocks(PAGE, "python")))
        yield importlib.import_module("shown_in_subscriptions")


def test_a_subscription_of_the_host_works_as_shown(shown: ModuleType) -> None:
    with TestClient(shown.app) as http:
        payload = GraphQLClient(http).signup("a@example.com")
        with connected(http) as socket:
            socket.init(Authorization=f"Bearer {payload['accessToken']}")
            socket.subscribe("subscription { greetings }")
            assert socket.next() == {"data": {"greetings": f"Hello {payload['user']['id']}"}}


def test_a_view_of_the_host_works_as_shown(shown: ModuleType) -> None:
    with TestClient(shown.own) as http, http.websocket_connect("/own", [PROTOCOL]) as session:
        shown.own.router.routes.extend(shown.app.routes)
        client, socket = GraphQLClient(http), Socket(session)
        payload = client.signup("b@example.com")
        socket.init(authToken=payload["accessToken"])
        socket.subscribe(SESSION_ENDED)
        client.execute(LOGOUT, token=payload["accessToken"])
        assert socket.next()["data"]["sessionEnded"]["reason"] == "SESSION_REVOKED"
        assert socket.closed() == (4401, "SESSION_REVOKED")
        with http.websocket_connect("/own", [PROTOCOL]) as session:
            refused = Socket(session)
            refused.send("connection_init", payload={"authToken": "nonsense"})
            assert refused.closed() == (4403, "TOKEN_INVALID")


HARNESS = """
import { createClient } from "graphql-ws";
import WebSocket from "ws";
globalThis.WebSocket = WebSocket;
"""
RUN = """
const login = await send(`mutation { signup(input: {email: "ada@example.com", password: "correct horse battery"}) {
  ... on AuthPayload { accessToken refreshToken } } }`);
tokens = login.data.signup;
const first = tokens.accessToken;
// The token expires twice before the session is ended.
setTimeout(async () => {
  await request("{ me { id } }"); // refreshes, if need be: an expired token ends no session
  await request("mutation { logout }");
}, 5000);
for await (const result of subscribe("subscription { sessionEnded { reason } }")) {
  console.log(JSON.stringify({ result, refreshed: tokens.accessToken !== first }));
}
process.exit(0);
"""


def test_the_client_works_as_shown(tmp_path: Path, packages: Path) -> None:
    node = shutil.which("node") or missing("node")
    with serving(tmp_path, access_token_seconds="2", environment="test", bcrypt_cost="4") as running:
        parts = [HARNESS, f"const ENDPOINT = {json.dumps(running.url)};", blocks(REFRESH, "javascript")[0]]
        (packages / "shown.js").write_text("\n".join([*parts, blocks(PAGE, "javascript")[0], RUN]))
        done = subprocess.run([node, "shown.js"], cwd=packages, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert json.loads(done.stdout) == {
        "result": {"data": {"sessionEnded": {"reason": "SESSION_REVOKED"}}},
        "refreshed": True,
    }


def test_the_figures_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE))
    assert rows["a message"] == f"`GQLAUTH_MAX_BODY_BYTES`, in {protocol.MOST_FRAMES:,} frames at most"
    assert rows["operations at once on one socket"] == str(websocket.MOST_OPERATIONS)
    most = sockets.MOST_WAITING + sockets.MOST_ANONYMOUS + sockets.MOST_SIGNED_IN
    assert rows["sockets of one process, in all"] == f"{most:,}"
    waiting = f"{sockets.MOST_WAITING}, for {websocket.INIT_SECONDS} seconds each"
    assert rows["of them: without `connection_init` yet"] == waiting
    assert rows["of them: of nobody"] == f"{sockets.MOST_ANONYMOUS:,}"
    assert rows["of them: signed in"] == f"{sockets.MOST_SIGNED_IN:,}"
    assert (sockets.SHORT_FROM, sockets.SHARE) == (1 / 2, 1 / 10), "in words"
    kinds = (sockets.MOST_WAITING, sockets.MOST_ANONYMOUS, sockets.MOST_SIGNED_IN)
    waiting, anonymous, signed_in = (f"{int(kind * sockets.SHARE)}" for kind in kinds)
    share = rows["of one network, once half of the places of a kind are taken"]
    assert share == f"a tenth: {waiting}, {anonymous} and {signed_in}"
    assert rows["of one account"] == str(sockets.MOST_PER_ACCOUNT)
    assert rows["a client that does not answer a ping"] == f"{server.PING_SECONDS} seconds"
    assert rows["a client that does not take its messages"] == f"{protocol.TRANSFER_SECONDS} seconds"
    assert f"every {sockets.CHECK_SECONDS} seconds" in PAGE
    assert f"open for {sockets.OUTAGE_SECONDS} seconds" in PAGE
    assert all(f"`{reason.value}`" in PAGE for reason in Reason)
