"""The log: one line for each login, refusal and sign-up, nothing secret in it, nothing that breaks it (ASVS 16)."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from gqlauth import Auth, logs
from gqlauth.accounts import service
from gqlauth.events import Event, Events, LoginFailed
from gqlauth.keys import service as keys
from gqlauth.ratelimit import MADE_UP, OWNER
from gqlauth.users.service import grant, revoke
from tests.fuzz import fuzz
from tests.support import DELETE_ACCOUNT, LOGIN, ME, PASSWORD, SIGNUP, Clock, GraphQLClient

USER = r"user_id=(?P<user>[0-9a-f-]{36})"
SESSION = r"session_id=(?P<session>[0-9a-f-]{36})"
FROM = "ip_address=127.0.0.1"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the server writes, as `gqlauth serve` would."""
    logger = logging.getLogger("gqlauth")
    before = logger.handlers, logger.level, logger.propagate
    logs.configure()
    written = io.StringIO()
    handler = logger.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    yield written
    logger.handlers, logger.level, logger.propagate = before


def lines(log: io.StringIO) -> list[str]:
    """Return what was written since the last look, without time."""
    found = [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", "", line) for line in log.getvalue().splitlines()]
    log.truncate(0)
    log.seek(0)
    return found


def assert_line(log: io.StringIO, *patterns: str) -> None:
    found = lines(log)
    assert len(found) == len(patterns), found
    for line, pattern in zip(found, patterns, strict=True):
        assert re.fullmatch(pattern, line), line


def test_a_signup_and_a_login_are_a_line_each(client: GraphQLClient, log: io.StringIO) -> None:
    """ASVS 16.3.1: with time, user, session and address."""
    user = client.signup()["user"]["id"]
    signed_up = f"INFO user_signed_up {FROM} user_id={user}"
    logged_in = f"INFO logged_in {FROM} user_id={user} {SESSION}"
    assert_line(log, signed_up, logged_in)
    client.login()
    assert_line(log, logged_in)


def test_a_line_begins_with_the_time_in_utc(client: GraphQLClient, log: io.StringIO) -> None:
    client.signup()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO ", line) for line in log.getvalue().splitlines())


def test_a_refused_signup_says_why(client: GraphQLClient, log: io.StringIO) -> None:
    client.signup()
    lines(log)
    for code in ({"email": "x"}, {"password": "password"}, {"name": "\0"}, {}):
        answer = client.signup(**code)
        assert_line(log, f"WARNING signup_refused {FROM} reason={answer['code']}")


def test_a_refused_login_says_why_and_whose_where_that_is_known(
    client: GraphQLClient, auth: Auth, log: io.StringIO
) -> None:
    """ASVS 16.3.1."""
    user = client.signup()["user"]["id"]
    lines(log)
    client.login(password="not the password")
    assert_line(log, f"WARNING login_failed {FROM} user_id={user} reason=INVALID_CREDENTIALS")
    client.login(email="eve@example.com")
    assert_line(log, f"WARNING login_failed {FROM} reason=INVALID_CREDENTIALS")
    service.disable_user(auth.runtime, "ada@example.com")
    assert_line(log, f"INFO session_revoked user_id={user} {SESSION}", f"INFO user_disabled user_id={user}")
    client.login()
    assert_line(log, f"WARNING login_failed {FROM} user_id={user} reason=ACCOUNT_DISABLED")


def test_what_is_granted_and_taken_is_a_line_each(client: GraphQLClient, auth: Auth, log: io.StringIO) -> None:
    """ASVS 16.3.1, 16.3.2: a change of what somebody may do."""
    user = client.signup()["user"]["id"]
    lines(log)
    for _ in range(2):
        grant(auth.runtime, "ada@example.com", "role", "admin")
    grant(auth.runtime, "ada@example.com", "scope", "it's:mine")
    assert_line(
        log,
        f"INFO grant_added user_id={user} kind=role name=admin",
        f'INFO grant_added user_id={user} kind=scope name="it\'s:mine"',
    )
    revoke(auth.runtime, "ada@example.com", "role", "admin")
    assert_line(log, f"INFO grant_removed user_id={user} kind=role name=admin")


def test_a_refused_field_says_why_and_whose_where_the_token_was_genuine(
    client: GraphQLClient, auth: Auth, clock: Clock, log: io.StringIO
) -> None:
    """ASVS 16.3.2, 16.3.3."""
    payload = client.signup()
    lines(log)
    refused = f"WARNING access_refused {FROM} field=me reason="
    client.post(ME)
    client.post(ME, token="nonsense")
    assert_line(log, refused + "TOKEN_MISSING", refused + "TOKEN_INVALID")
    service.disable_user(auth.runtime, "ada@example.com")
    lines(log)
    client.post(ME, token=payload["accessToken"])
    assert_line(log, f"{refused}ACCOUNT_DISABLED user_id={payload['user']['id']} {SESSION}")
    clock.advance(900)
    client.post(ME, token=payload["accessToken"])
    assert_line(log, refused + "TOKEN_EXPIRED")


def test_a_refusal_leaves_no_traceback(client: GraphQLClient, log: io.StringIO) -> None:
    client.post(ME, token="nonsense")
    client.login()
    client.post("{ nothing }")
    assert "Traceback" not in log.getvalue()


def test_an_error_of_ours_has_an_id_that_the_client_gets_too(
    client: GraphQLClient, auth: Auth, log: io.StringIO
) -> None:
    """ASVS 16.5.1; and what the statement was given stays out of the log (16.2.5)."""
    with auth.runtime.database.transaction() as db:
        db.execute(sa.text("ALTER TABLE sessions RENAME COLUMN refresh_hash TO gone"))
    email = "nobody.else@example.com"
    answer = client.post(SIGNUP, {"input": {"email": email, "password": PASSWORD}}).json()
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "INTERNAL_ERROR"
    assert f"internal_error id={error['extensions']['id']}" in log.getvalue()
    assert "Traceback" in log.getvalue()
    for private in (email, PASSWORD, "bcrypt-sha384"):
        assert private not in log.getvalue()
        assert private not in json.dumps(answer)


def test_nothing_secret_is_ever_logged(client: GraphQLClient, auth: Auth, clock: Clock, log: io.StringIO) -> None:
    """ASVS 16.2.5: not a password, token, hash or key, in whole or as far as it would help."""
    logging.getLogger("gqlauth").setLevel(logging.DEBUG)
    secret = "a secret phrase 7319"
    sent = [client.signup(password=secret), client.login(password=secret)]
    client.login(password=secret + " misspelt")
    client.login(email=secret, password="ada@example.com")  # the fields exchanged
    client.signup(email=secret, name=secret, password=secret)
    client.signup(email="eve@example.com", name=secret + "\0", password=secret)
    client.post(LOGIN, {"input": {"email": secret, "password": [secret]}})
    client.post(f'mutation {{ login(input: {{email: "{secret}", password: "{secret}"}}) {{ {secret} }} }}')
    client.post(f'{{ me(password: "{secret}") {{ id }} }}')
    tokens = [payload[name] for payload in sent for name in ("accessToken", "refreshToken")]
    for token in tokens:
        client.post(ME, token=token)
        client.post(ME, token=token + "x")
    keys.rotate(auth.runtime)
    clock.advance(901)
    client.post(ME, token=tokens[0])
    service.disable_user(auth.runtime, "ada@example.com")
    client.login(password=secret)
    with auth.runtime.database.read() as db:
        stored = list(db.scalars(sa.text("SELECT password_hash FROM users UNION SELECT private_key FROM signing_keys")))
    written = log.getvalue()
    assert len(written.splitlines()) > 12
    parts = [part for token in tokens for part in re.split(r"[._]", token) if len(part) > 20 and not _is_id(part)]
    for private in [secret, "7319", *tokens, *parts, *stored, "PRIVATE KEY", "$2b$", "ada@example.com"]:
        assert private not in written


def _is_id(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


# A value cannot break the line (ASVS 16.4.1)

HOSTILE = [
    "two\nlines",
    "two\r\nlines",
    "tab\tseparated",
    "nul\0",
    "escape\x1b[31m",
    "C1\x85 and \x9b",
    "line\u2028paragraph\u2029",
    "right-to-left\u202e",
    'quoted" user_id=1',
    "user_id=1 reason=forged",
    "back\\slash",
    "half\ud83d",
    "\U0001f600",
    "é",
    "",
]


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_a_value_stays_one_value_on_one_line_of_printable_ascii(value: str) -> None:
    """ASVS 16.4.1."""
    line = logs.line("login_failed", ip_address=value, reason="X")
    assert line.isascii()
    assert line.isprintable()
    quoted = line.removeprefix("login_failed ip_address=").removesuffix(" reason=X")
    assert json.loads(quoted) == value


@fuzz()
@given(st.text(st.characters(), max_size=50))
def test_any_value_can_be_read_back(value: str) -> None:
    line = logs.line("event", value=value, last=1)
    assert len(line.splitlines()) == 1
    assert re.fullmatch(r'event value=([\w.:@/+-]+|"([^"\\]|\\.)*") last=1', line, re.ASCII)


def test_what_is_plain_stays_as_it_is_and_what_is_unknown_is_left_out() -> None:
    event = LoginFailed(user_id=UUID(int=1), reason="INVALID_CREDENTIALS", ip_address="2001:db8::1")
    expected = f"login_failed ip_address=2001:db8::1 user_id={UUID(int=1)} reason=INVALID_CREDENTIALS"
    assert (
        logs.line("login_failed", ip_address=event.ip_address, user_id=event.user_id, reason=event.reason) == expected
    )
    assert logs.line("login_failed", user_id=None, reason="X") == "login_failed reason=X"


def test_a_hostile_address_is_logged_all_the_same(log: io.StringIO) -> None:
    heard: list[Event] = []
    Events(logs.log_event, heard.append).publish(
        LoginFailed(user_id=None, reason="X", ip_address="\ud83d\nWARNING fake")
    )
    assert_line(log, r'WARNING login_failed ip_address="\\ud83d\\nWARNING fake" reason=X')
    assert len(heard) == 1


def test_a_refused_refresh_says_why(client: GraphQLClient, log: io.StringIO) -> None:
    """ASVS 16.3.1: the session is the one that the token names."""
    token = client.signup()["refreshToken"]
    lines(log)
    made_up = token[:37] + "A" * 64
    client.refresh(made_up)
    assert_line(log, f"WARNING refresh_refused {FROM} {SESSION} reason=INVALID_TOKEN")
    for _ in range(MADE_UP.windows[0][0]):
        client.refresh(made_up)
    assert re.fullmatch(f"WARNING refresh_refused {FROM} {SESSION} reason=RATE_LIMITED", lines(log)[-1])


def test_a_refused_password_of_who_is_signed_in_says_why(client: GraphQLClient, log: io.StringIO) -> None:
    """ASVS 16.3.1, 16.3.2: guessing with a stolen session leaves its lines, also where it is limited."""
    payload = client.signup()
    lines(log)
    user = payload["user"]["id"]
    for _ in range(OWNER.windows[0][0] + 1):
        client.execute(DELETE_ACCOUNT, {"password": "wrong horse battery"}, payload["accessToken"])
    found = lines(log)
    refused = f"WARNING password_refused {FROM} user_id={user} {SESSION} reason="
    assert re.fullmatch(f"{refused}INVALID_CREDENTIALS", found[0])
    assert re.fullmatch(f"{refused}RATE_LIMITED", found[-1])
