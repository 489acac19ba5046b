"""A password that somebody shows: what counts it, and whose work it is to hash it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gqlauth.context import Viewer
from gqlauth.ratelimit import ACCOUNT, ADDRESS, ALL_KNOWN, KNOWN, OWNER, OWNER_SESSION, Limit, Place, network
from gqlauth.runtime import Client, Runtime
from gqlauth.sessions.service import was_here
from gqlauth.threads import Flow
from gqlauth.users.models import MAX_EMAIL_LENGTH, UserColumns
from gqlauth.users.service import email_key, find_by_email, is_device_of


@dataclass(frozen=True, slots=True)
class Guess:
    """A password that is about to be looked at.

    `user` is the account that it may be of, or None where there is none. `limits` are what count it, in this order.
    `flows` say whose work hashing it is. An owner who is known has flows of their own, and does not stand behind what
    others have sent from the same network or to the same account.
    """

    user: UserColumns | None
    client: Client
    limits: tuple[tuple[Limit, tuple[str, ...]], ...]
    flows: tuple[Flow, ...]

    def reserve(self, runtime: Runtime) -> list[Place]:
        """Count it, before it is looked at, and return its places. Raises `RateLimited`."""
        return [runtime.limiter.reserve(limit, *key) for limit, key in self.limits]


def guess_of_login(runtime: Runtime, *, email: str, client: Client) -> Guess:
    """Return the guess at the account with this email address.

    Whoever is known to the account is counted apart, so that its owner gets in while others are hammering (ASVS 6.1.1).
    """
    with runtime.database.read() as db:
        user = find_by_email(runtime, db, email)
        known = _known_by(runtime, db, user, client)
    account = email_key(email) or email[:MAX_EMAIL_LENGTH]
    if known:
        limits = (KNOWN, known), (ALL_KNOWN, known[:1])
    else:
        # The network first: everybody can invent accounts.
        limits = (ADDRESS, (network(client.ip_address),)), (ACCOUNT, (account,))
    return Guess(user, client, limits, flows(client, account, known=bool(known)))


def guess_of_owner(runtime: Runtime, *, viewer: Viewer, client: Client) -> Guess:
    """Return the guess of somebody who is signed in, and shows the password once more."""
    model = runtime.models.User
    with runtime.database.read() as db:
        user = db.scalar(sa.select(model).where(model.id == viewer.user_id, model.disabled_at.is_(None)))
        known = _known_by(runtime, db, user, client)
    session = str(viewer.session_id)
    limits = (OWNER, (session, network(client.ip_address))), (OWNER_SESSION, (session,))
    return Guess(user, client, limits, flows(client, str(viewer.user_id), known=bool(known)))


def flows(client: Client, account: str | None = None, *, known: bool = False) -> tuple[Flow, ...]:
    """Return whose work it is to hash a password: this network's, and this account's if there is one."""
    kind = "known" if known else "unknown"
    of_network = (kind, "network", network(client.ip_address))
    return (of_network,) if account is None else (of_network, (kind, "account", account))


def _known_by(runtime: Runtime, db: Session, user: UserColumns | None, client: Client) -> tuple[str, ...]:
    """Return by what the client is known to the account, its id first: by a device or an address; or nothing."""
    # Asked for unknown accounts too, so that they take as long.
    here = was_here(runtime, db, user.id if user else UUID(int=0), client.ip_address)
    if user is not None and is_device_of(user, client.device):
        return (str(user.id), "device", client.device or "")
    return (str(user.id), "address", client.ip_address or "") if user is not None and here else ()
