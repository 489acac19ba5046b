"""What signing in answers, the sessions, and how they are refreshed and ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

import strawberry

from gqlauth.context import Context, Viewer, context_of
from gqlauth.cookies import Cookies
from gqlauth.errors import AuthErrorType, Refusable
from gqlauth.fields import keep_names
from gqlauth.guards.placing import guarded, public
from gqlauth.sessions import service
from gqlauth.sessions.models import SessionColumns
from gqlauth.users.graphql import User, user_type

Info = strawberry.Info[Context, None]


@keep_names
@strawberry.type(description="Somebody is signed in.")
class AuthPayload:
    """GraphQL's `AuthPayload` (after RFC 6749 section 5.1)."""

    access_token: str | None = strawberry.field(
        description="For `Authorization: Bearer …`. Null where the browser keeps it in a cookie."
    )
    token_type: str = strawberry.field(description='Always "Bearer".')
    expires_in: int = strawberry.field(description="Life of the access token, in seconds.")
    refresh_token: str | None = strawberry.field(
        description="Gets the next access token; works once. Null where the browser keeps it in a cookie."
    )
    user: User = strawberry.field(description="Who signed in.")

    @classmethod
    def of(cls, signed_in: service.SignedIn, info: Info, *, in_cookies: bool) -> Self:
        """Translate the service's answer. With `in_cookies` the browser keeps the tokens, out of reach of scripts."""
        if in_cookies:
            kept = Cookies(signed_in.access_token, signed_in.refresh_token, signed_in.device)
            context_of(info).set_cookies(kept, signed_in.refresh_expires_in)
        return cls(
            access_token=None if in_cookies else signed_in.access_token,
            token_type="Bearer",  # noqa: S106 -- the type's name (RFC 6750), not a secret
            expires_in=signed_in.expires_in,
            refresh_token=None if in_cookies else signed_in.refresh_token,
            user=user_type(info).of(signed_in.user),
        )


@keep_names
@strawberry.type(description="One sign-in on one device.")
class Session:
    """GraphQL's `Session`."""

    id: strawberry.ID = strawberry.field(description="A UUID; the access token's `sid`.")
    current: bool = strawberry.field(description="Whether it is the one that asks.")
    created_at: datetime = strawberry.field(description="When it began, in UTC.")
    last_used_at: datetime = strawberry.field(description="When it was last used, exact to a minute, in UTC.")
    expires_at: datetime = strawberry.field(description="When it ends unless it is refreshed before, in UTC.")
    ip_address: str | None = strawberry.field(description="Where it was signed in or refreshed from.")
    user_agent: str | None = strawberry.field(description="What the device calls itself.")

    @classmethod
    def of(cls, session: SessionColumns, viewer: Viewer) -> Self:
        """Translate a row."""
        return cls(
            id=strawberry.ID(str(session.id)),
            current=session.id == viewer.session_id,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            expires_at=session.expires_at,
            ip_address=session.ip_address,
            user_agent=session.user_agent,
        )


@keep_names
@strawberry.type(description="The session of this WebSocket has ended. The WebSocket closes next, with code 4401.")
class SessionEnded:
    """GraphQL's `SessionEnded`."""

    session_id: strawberry.ID = strawberry.field(description="A UUID; the access token's `sid`.")
    reason: str = strawberry.field(description="SESSION_REVOKED or ACCOUNT_DISABLED.")


RefreshResult = Annotated[
    AuthPayload | AuthErrorType, strawberry.union("RefreshResult", description="New tokens, or refused.")
]


@keep_names
@strawberry.type
class SessionQuery:
    """The queries of sessions."""

    @strawberry.field(description="Where the account is signed in, newest first.", extensions=guarded())
    async def sessions(self, info: Info) -> list[Session]:
        """Translate."""
        viewer = context_of(info).viewer
        rows = await context_of(info).run(service.list_sessions, viewer.user_id)
        return [Session.of(row, viewer) for row in rows]


@keep_names
@strawberry.type
class SessionMutation:
    """The mutations of sessions."""

    @strawberry.mutation(
        description="Exchange the refresh token for new tokens. Without the argument, the cookie's token is used.",
        extensions=[*public(), Refusable()],
    )
    async def refresh_token(self, info: Info, refresh_token: str | None = None) -> RefreshResult:
        """Translate."""
        context = context_of(info)
        kept = context.cookies.refresh_token if context.cookies else None
        token = kept if refresh_token is None else refresh_token
        signed_in = await context.run(service.refresh, token=token or "", client=context.client)
        return AuthPayload.of(signed_in, info, in_cookies=refresh_token is None)

    @strawberry.mutation(description="End this session, at once. False if nobody was signed in.", extensions=public())
    async def logout(self, info: Info) -> bool:
        """Translate."""
        context = context_of(info)
        context.clear_cookies()
        if isinstance(context.identity, Viewer):
            session_id = context.identity.session_id
            return await context.run(service.end_session, session_id=session_id, client=context.client)
        if context.cookies and context.cookies.refresh_token:
            token = context.cookies.refresh_token
            return await context.run(service.end_by_refresh_token, token=token, client=context.client)
        return False

    @strawberry.mutation(
        description="End one of the account's sessions, at once. False if it has no such session.",
        extensions=guarded(),
    )
    async def revoke_session(self, info: Info, id: strawberry.ID) -> bool:
        """Translate."""
        context = context_of(info)
        try:
            session_id = UUID(id)
        except ValueError:
            return False
        return await context.run(
            service.revoke_session, viewer=context.viewer, session_id=session_id, client=context.client
        )

    @strawberry.mutation(
        description="End all of the account's sessions but this one, at once. How many there were.",
        extensions=guarded(),
    )
    async def revoke_other_sessions(self, info: Info) -> int:
        """Translate."""
        context = context_of(info)
        return await context.run(service.end_other_sessions, viewer=context.viewer, client=context.client)


@keep_names
@strawberry.type
class SessionSubscription:
    """The subscriptions of sessions."""

    @strawberry.subscription(description="Tells once that this session has ended, and why.", extensions=guarded())
    async def session_ended(self, info: Info) -> AsyncGenerator[SessionEnded, None]:
        """Translate."""
        context = context_of(info)
        viewer, end = context.viewer, context.session_end
        if end is None:
            raise RuntimeError("nobody watches this session: `on_ws_connect` has to await `auth.connect(context)`")
        reason = await end.wait()
        yield SessionEnded(session_id=strawberry.ID(str(viewer.session_id)), reason=reason.value)
