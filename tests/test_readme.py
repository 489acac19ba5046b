"""The README and the pages in docs/ tell the truth: their commands, queries and code are run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest
from starlette.testclient import TestClient

from gqlauth import Settings
from gqlauth.errors import AuthErrorCode, Reason
from gqlauth.settings import describe, show
from tests.conftest import missing
from tests.docs import ROOT, blocks, load, page
from tests.processes import serving
from tests.support import Clock, GraphQLClient

README = page("README.md")
REFRESH = page("docs/refresh.md")


def test_the_first_command_starts_the_server(tmp_path: Path) -> None:
    command = blocks(README, "sh")[0].strip()
    install, _, serve = command.partition(" && ")
    assert (install, serve) == ("pip install uv", "uv run gqlauth serve")
    uv = shutil.which("uv") or missing("uv")
    environment = {"PATH": str(Path(uv).parent) + ":/usr/bin:/bin", "HOME": str(tmp_path)}
    arguments = [uv, "run", "--no-sync", "--project", str(ROOT), *shlex.split(serve)[2:], "--port", "0"]
    process = subprocess.Popen(arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert "created" in lines[0]
    assert re.search(r"http://127\.0\.0\.1:\d+/graphql", lines[2])
    assert (tmp_path / "gqlauth.db").stat().st_mode & 0o777 == 0o600


def test_the_second_command_is_what_ci_runs() -> None:
    command = blocks(README, "sh")[1].strip()
    assert command == "pip install uv && uv run pytest"
    assert f"grep -m1 -E '^{command}$' README.md" in (ROOT / ".ci" / "run").read_text()


def test_the_first_query_and_its_answers(client: GraphQLClient) -> None:
    signup, me = blocks(README, "graphql")
    answer, refusal = blocks(README, "json")
    payload = client.execute(signup)["signup"]
    assert {"data": client.execute(me, token=payload["accessToken"])} == json.loads(answer)
    assert client.post(me).json() == json.loads(refusal)


def test_embedding_works_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TestClient(load(blocks(README, "python")[0], tmp_path, monkeypatch).app) as http:
        client = GraphQLClient(http)
        payload = client.signup()
        answer = client.execute("{ greeting }", token=payload["accessToken"])
        assert answer == {"greeting": f"Hello {payload['user']['id']}"}
        assert client.refused("{ greeting }") == {"code": "UNAUTHENTICATED", "reason": "TOKEN_MISSING"}


def test_the_table_of_settings_is_complete() -> None:
    rows = re.findall(r"^\| `(GQLAUTH_\w+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    expected = [
        (row.variable, f"`{show(row.default)}`" if row.default not in (None, (), "") else "", row.description)
        for row in describe(Settings())
    ]
    assert rows == expected


def test_every_code_and_reason_is_told() -> None:
    for code in (*AuthErrorCode, *Reason):
        assert f"`{code.value}`" in README
    for reason in Reason:
        assert f"`{reason.value}`" in REFRESH


def test_the_page_on_refreshing_shows_the_exact_answers(client: GraphQLClient, clock: Clock) -> None:
    expired, refused = blocks(REFRESH, "json")
    refresh, login = blocks(REFRESH, "graphql")
    payload = client.signup()
    clock.advance(901)
    assert client.post("{ me { email } }", token=payload["accessToken"]).json() == json.loads(expired)
    assert client.post(refresh, {"token": "gqr_nonsense"}).json() == json.loads(refused)
    token = {"token": payload["refreshToken"]}
    assert client.execute(refresh, token, payload["accessToken"])["refreshToken"]["expiresIn"] == 900
    signed_in = client.execute(login, {"email": "ada@example.com", "password": "correct horse battery"})["login"]
    assert signed_in["refreshToken"] is None


HARNESS = """
const me = () => request("{ me { email } }");
const login = await send(`mutation { signup(input: {email: "ada@example.com", password: "correct horse battery"}) {
  ... on AuthPayload { accessToken refreshToken } } }`);
tokens = login.data.signup;
const first = tokens.refreshToken;
await new Promise((resolve) => setTimeout(resolve, 2100));
const answers = await Promise.all([me(), me(), me()]);
console.log(JSON.stringify({ answers, refreshed: tokens.refreshToken !== first }));
tokens.accessToken = "x";
tokens.refreshToken = first;
await refresh();
console.log(JSON.stringify({ signedOut: tokens === null }));
// Until there have been too many.
const again = await send(`mutation { login(input: {email: "ada@example.com", password: "correct horse battery"}) {
  ... on AuthPayload { accessToken refreshToken } } }`);
tokens = again.data.login;
let before;
do { before = tokens; await refresh(); } while (tokens !== before);
console.log(JSON.stringify({ limited: tokens !== null }));
"""


def test_the_single_flight_works_in_node(tmp_path: Path) -> None:
    node = shutil.which("node") or missing("node")
    cheap = {"environment": "test", "bcrypt_cost": "4"}
    with serving(tmp_path, access_token_seconds="1", refresh_grace_seconds="0", **cheap) as server:
        script = f"const ENDPOINT = {json.dumps(server.url)};\n" + blocks(REFRESH, "javascript")[0] + HARNESS
        (tmp_path / "client.mjs").write_text(script)
        run = subprocess.run([node, tmp_path / "client.mjs"], capture_output=True, text=True, timeout=60, check=False)
    assert run.stderr == ""
    together, replay, often = (msgspec.json.decode(line) for line in run.stdout.splitlines())
    assert together == {"answers": [{"data": {"me": {"email": "ada@example.com"}}}] * 3, "refreshed": True}
    assert replay == {"signedOut": True}
    assert often == {"limited": True}
