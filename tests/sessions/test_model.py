"""Random lives of two accounts and their devices, against a model that knows only what is promised.

Hypothesis interleaves everything that begins, keeps or ends a session, with time passing and restarts in between, and
sends it as GraphQL documents to a server on SQLite. The same 16 lives are lived at every run, so that a failure here
fails everywhere; `GQLAUTH_NIGHTLY=1` lives a thousand longer ones, other ones each time (an hour or more).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import cycle, islice
from typing import Any

import jwt
import sqlalchemy as sa
from hypothesis import HealthCheck
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gqlauth import Auth, Settings
from gqlauth.accounts import service as accounts
from gqlauth.app import create_schema
from gqlauth.sessions import service as sessions
from tests.fuzz import NIGHTLY
from tests.support import (
    CHANGE_PASSWORD,
    DELETE_ACCOUNT,
    LOGIN,
    LOGOUT,
    REFRESH,
    REVOKE,
    REVOKE_OTHERS,
    SIGNUP,
    Clock,
    GraphQLClient,
)

MINUTE, DAY = 60, 86_400
GRACE, ACCESS_LIFE, IDLE_LIMIT, ABSOLUTE_LIMIT = (
    timedelta(seconds=seconds) for seconds in (10, 15 * MINUTE, 30 * DAY, 90 * DAY)
)
WHO_AND_WHERE = "query { me { email } sessions { id current createdAt expiresAt } }"

EMAILS = st.sampled_from(["ada@example.com", "grace@example.com"])
PASSWORDS = st.sampled_from(["correct horse battery", "another horse battery", "third horse battery"])
# More often around the limits than anywhere else.
PAUSES = st.sampled_from([1, 1, 9, 10, 11, 59, MINUTE, 5 * MINUTE, 899, 900, DAY, 29 * DAY])
PICK = st.integers(0, 99)


@dataclass(eq=False)
class Account:
    """What the model knows of an account."""

    email: str
    password: str
    exists: bool = True
    enabled: bool = True


@dataclass(eq=False)
class Device:
    """What the model knows of a session: all tokens that it was ever given, and when it ends."""

    id: str
    account: Account
    created: datetime
    expires: datetime
    signed_out: bool = False
    # Every refresh token in its turn; the last is the current one.
    chain: list[str] = field(default_factory=list)
    rotated: datetime | None = None
    # Each with the time at which it expires.
    access: list[tuple[str, datetime]] = field(default_factory=list)

    def lives(self, now: datetime) -> bool:
        return not self.signed_out and now < self.expires and self.account.exists and self.account.enabled


class Lives(RuleBasedStateMachine):
    """Each rule does one thing to the server and says what the model expects of it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.accounts: dict[str, Account] = {}
        self.known: list[Device] = []
        self.issued: dict[str, Device] = {}
        self.looks = 0
        self.start()

    def start(self) -> None:
        url = f"sqlite:///{self.folder.name}/test.db"
        # Limits on guessing have tests of their own; here they would only cut lives short.
        settings = Settings(environment="test", bcrypt_cost=4, database_url=url, rate_limits=False)
        self.auth = Auth(settings, clock=self.clock)
        self.http = TestClient(Starlette(routes=self.auth.routes(create_schema()), lifespan=self.auth.lifespan))
        self.http.__enter__()
        self.client = GraphQLClient(self.http)

    def teardown(self) -> None:
        try:
            self.every_token_is_as_the_model_says()
            self.no_row_is_an_orphan()
        finally:
            self.http.__exit__(None, None, None)
            self.folder.cleanup()

    def device(self, pick: int) -> Device:
        """One that lives, if any; now and then one that may be dead."""
        living = [device for device in self.known if device.lives(self.now)]
        devices = living if living and pick % 5 else self.known
        return devices[pick // 5 % len(devices)]

    # Begin

    @initialize(email=EMAILS, password=PASSWORDS)
    def begin(self, email: str, password: str) -> None:
        self.signup(email, password)

    @rule(email=EMAILS, password=PASSWORDS)
    def signup(self, email: str, password: str) -> None:
        result = self.ask(SIGNUP, {"input": {"email": email, "password": password}})["signup"]
        if email in self.accounts:
            assert result["code"] == "EMAIL_TAKEN"
        else:
            account = self.accounts[email] = Account(email, password)
            self.new_device(account, result)

    @rule(email=EMAILS, guess=st.none() | PASSWORDS)
    def login(self, email: str, guess: str | None) -> None:
        account = self.accounts.get(email)
        password = guess or (account.password if account else "any horse battery")
        result = self.ask(LOGIN, {"input": {"email": email, "password": password}})["login"]
        if account is None or not account.enabled or account.password != password:
            assert result["code"] == "INVALID_CREDENTIALS"
        else:
            self.new_device(account, result)

    def new_device(self, account: Account, payload: dict[str, Any]) -> None:
        sid = jwt.decode(payload["accessToken"], options={"verify_signature": False})["sid"]
        assert sid not in {device.id for device in self.known}
        device = Device(sid, account, self.now, self.now + IDLE_LIMIT)
        self.known.append(device)
        self.take_tokens(device, payload)

    # Keep alive

    @rule(pick=PICK, attached=st.none() | PICK)
    def refresh(self, pick: int, attached: int | None) -> None:
        """An access token beside it, expired, revoked or somebody else's, changes nothing."""
        device = self.device(pick)
        access = None if attached is None else self.device(attached).access[-1][0]
        self.present(device, device.chain[-1], access)

    @rule(pick=PICK)
    def refresh_for_a_season(self, pick: int) -> None:
        device = self.device(pick)
        for _ in range(3):
            self.clock.advance(29 * DAY)
            self.present(device, device.chain[-1])

    @rule(pick=PICK, back=st.sampled_from([2, 2, 2, 3]))
    def replay_a_recent_token(self, pick: int, back: int) -> None:
        device = self.device(pick)
        if len(device.chain) >= back:
            self.present(device, device.chain[-back])

    @rule(pick=PICK, seconds=st.sampled_from([0, -1]))
    def refresh_and_replay_around_the_end_of_the_grace(self, pick: int, seconds: int) -> None:
        device = self.device(pick)
        used = device.chain[-1]
        if self.present(device, used) != used:
            self.clock.advance(GRACE.total_seconds() + seconds)
            self.present(device, used)

    @rule(pick=PICK)
    def replay_any_token(self, pick: int) -> None:
        token, device = list(self.issued.items())[pick % len(self.issued)]
        self.present(device, token)

    @rule(pick=PICK, other=PICK, letter=st.sampled_from("Az09-_"))
    def try_made_up_tokens(self, pick: int, other: int, letter: str) -> None:
        """Around the session's id, around most of its token, around another session's token."""
        current, stranger = self.device(pick).chain[-1], self.device(other).chain[-1]
        body = current[37:]
        for tail in (letter * 64, stranger[37:], body[:-1] + "A", body[:-1] + "B", body + letter, body[:-1]):
            made_up = current[:37] + tail
            if made_up not in self.issued:
                assert self.ask(REFRESH, {"token": made_up})["refreshToken"]["code"] == "INVALID_TOKEN"

    def present(self, device: Device, token: str, access: str | None = None) -> str:
        """Present a refresh token that was once issued to this device; tell what is current then."""
        result = self.ask(REFRESH, {"token": token}, access)["refreshToken"]
        in_grace = device.rotated is not None and self.now < device.rotated + GRACE
        if device.lives(self.now) and token == device.chain[-1]:
            assert result.get("refreshToken") not in self.issued
            device.rotated = self.now
            # A replay does not: it changes nothing.
            device.expires = min(self.now + IDLE_LIMIT, device.created + ABSOLUTE_LIMIT)
        elif not (device.lives(self.now) and token in device.chain[-2:] and in_grace):
            assert result["code"] == "INVALID_TOKEN"
            device.signed_out |= token in device.chain
            return device.chain[-1]
        else:
            assert result["refreshToken"] == device.chain[-1], "a second successor"
        self.take_tokens(device, result)
        return device.chain[-1]

    def take_tokens(self, device: Device, payload: dict[str, Any]) -> None:
        assert payload["__typename"] == "AuthPayload", payload
        assert payload["user"]["email"] == device.account.email
        life = min(ACCESS_LIFE, device.expires - self.now)
        assert payload["expiresIn"] == life.total_seconds()
        device.access.append((payload["accessToken"], self.now + life))
        if payload["refreshToken"] not in self.issued:
            device.chain.append(payload["refreshToken"])
            self.issued[payload["refreshToken"]] = device

    # End

    @rule(pick=PICK)
    def logout(self, pick: int) -> None:
        device = self.device(pick)
        answers = self.answers(device)
        assert self.ask(LOGOUT, token=device.access[-1][0])["logout"] is answers
        device.signed_out |= answers

    @rule(pick=PICK, ended=PICK)
    def revoke_session(self, pick: int, ended: int) -> None:
        device, other = self.device(pick), self.device(ended)
        if data := self.ask_as(device, REVOKE, {"id": other.id}):
            mine = other.account is device.account
            assert data["revokeSession"] is (mine and other.lives(self.now))
            other.signed_out |= mine

    @rule(pick=PICK)
    def revoke_other_sessions(self, pick: int) -> None:
        device = self.device(pick)
        if data := self.ask_as(device, REVOKE_OTHERS):
            assert data["revokeOtherSessions"] == self.sign_out_all(device.account, but=device)

    @rule(pick=PICK, guess=st.none() | PASSWORDS, new=PASSWORDS)
    def change_password(self, pick: int, guess: str | None, new: str) -> None:
        device = self.device(pick)
        self.login(device.account.email, None)  # so that there is another to be ended
        current = guess or device.account.password
        data = self.ask_as(device, CHANGE_PASSWORD, {"input": {"currentPassword": current, "newPassword": new}})
        if data is None:
            return
        if current != device.account.password:
            assert data["changePassword"]["code"] == "INVALID_CREDENTIALS"
            return
        device.account.password = new
        self.sign_out_all(device.account)
        self.new_device(device.account, data["changePassword"])
        # A token of before is refused, but not held against the new session.
        self.present(device, device.chain[-1])

    @rule(pick=PICK, guess=PASSWORDS)
    def delete_account(self, pick: int, guess: str) -> None:
        device = self.device(pick)
        data = self.ask_as(device, DELETE_ACCOUNT, {"password": guess})
        if data is None:
            return
        if guess == device.account.password:
            assert data["deleteAccount"]["__typename"] == "AccountDeleted"
            self.accounts.pop(device.account.email).exists = False
        else:
            assert data["deleteAccount"]["code"] == "INVALID_CREDENTIALS"

    @rule(email=EMAILS, for_a_moment=st.booleans())
    def disable(self, email: str, for_a_moment: bool) -> None:
        assert accounts.disable_user(self.auth.runtime, email) is (email in self.accounts)
        if account := self.accounts.get(email):
            self.sign_out_all(account)
            account.enabled = False
        if for_a_moment:
            self.enable(email)

    @rule(email=EMAILS)
    def enable(self, email: str) -> None:
        assert accounts.enable_user(self.auth.runtime, email) is (email in self.accounts)
        if account := self.accounts.get(email):
            account.enabled = True

    def sign_out_all(self, account: Account, but: Device | None = None) -> int:
        others = [device for device in self.known if device.account is account and device is not but]
        living = [device for device in others if device.lives(self.now)]
        for device in living:
            device.signed_out = True
        return len(living)

    # Around them

    @rule(seconds=PAUSES)
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(pick=PICK, before=st.sampled_from([0, 1, 600]))
    def time_passes_until_a_session_ends(self, pick: int, before: int) -> None:
        device = self.device(pick)
        self.clock.now = max(self.now, device.expires - timedelta(seconds=before))
        sessions.sweep(self.auth.runtime)
        self.present(device, device.chain[-1])

    @rule()
    def restart(self) -> None:
        self.http.__exit__(None, None, None)
        self.start()

    # What must hold at all times

    @invariant()
    def some_tokens_are_as_the_model_says(self) -> None:
        """Two devices after each step, in turn: all of them would take minutes."""
        for device in islice(cycle(self.known), self.looks, self.looks + 2):
            self.look(device, *device.access[-1])
        self.looks = (self.looks + 2) % len(self.known)

    def every_token_is_as_the_model_says(self) -> None:
        for device in self.known:
            for token, expires in device.access:
                self.look(device, token, expires)
        for device in self.known:
            for token in device.chain[-3:]:
                self.present(device, token)
            self.look(device, *device.access[-1])

    def look(self, device: Device, token: str, expires: datetime) -> None:
        answer = self.post(WHO_AND_WHERE, token=token)
        if not device.lives(self.now) or self.now >= expires:
            self.is_refused(answer, device, expires)
            return
        assert answer["data"]["me"]["email"] == device.account.email
        listed = {row["id"]: (row["current"], row["createdAt"], row["expiresAt"]) for row in answer["data"]["sessions"]}
        assert listed == {
            other.id: (other is device, other.created.isoformat(), other.expires.isoformat())
            for other in self.known
            if other.account is device.account and other.lives(self.now)
        }

    def no_row_is_an_orphan(self) -> None:
        with self.auth.runtime.database.read() as db:
            assert db.execute(sa.text("PRAGMA foreign_key_check")).all() == []
            assert set(db.scalars(sa.text("SELECT email FROM users"))) == set(self.accounts)

    # How it is asked

    @property
    def now(self) -> datetime:
        return self.clock.now

    def answers(self, device: Device) -> bool:
        return device.lives(self.now) and self.now < device.access[-1][1]

    def post(self, document: str, variables: dict[str, Any] | None = None, token: str | None = None) -> Any:
        response = self.client.post(document, variables, token)
        assert response.status_code == 200, response.text
        assert "INTERNAL_ERROR" not in response.text
        return response.json()

    def ask(self, document: str, variables: dict[str, Any] | None = None, token: str | None = None) -> Any:
        answer = self.post(document, variables, token)
        assert "errors" not in answer, answer
        return answer["data"]

    def ask_as(self, device: Device, document: str, variables: dict[str, Any] | None = None) -> Any:
        """Ask as a frontend does, that refreshes where it must; None where the guard rightly refuses the device."""
        if device.lives(self.now) and not self.answers(device):
            self.present(device, device.chain[-1])
        token, expires = device.access[-1]
        if self.answers(device):
            return self.ask(document, variables, token)
        self.is_refused(self.post(document, variables, token), device, expires)
        return None

    def is_refused(self, answer: dict[str, Any], device: Device, expires: datetime) -> None:
        """Refused, for the right reason, and nothing told."""
        disabled = device.account.exists and not device.account.enabled
        reason = "TOKEN_EXPIRED" if self.now >= expires else "ACCOUNT_DISABLED" if disabled else "SESSION_REVOKED"
        assert answer["data"] is None, answer
        assert {error["extensions"]["reason"] for error in answer["errors"]} == {reason}


TestLives = Lives.TestCase
TestLives.settings = profile(
    max_examples=1000 if NIGHTLY else 16,
    stateful_step_count=100 if NIGHTLY else 30,
    derandomize=not NIGHTLY,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
