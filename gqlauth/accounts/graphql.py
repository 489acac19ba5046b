"""Sign up, log in, me."""

from __future__ import annotations

from typing import Annotated

import strawberry

from gqlauth.accounts import service
from gqlauth.context import Context
from gqlauth.errors import AuthErrorType, Reason, Refusable, Unauthenticated
from gqlauth.permissions import guarded
from gqlauth.sessions.graphql import AuthPayload
from gqlauth.users.graphql import User

Info = strawberry.Info[Context, None]


@strawberry.input(description="A new account.")
class SignupInput:
    """GraphQL's `SignupInput`."""

    email: str = strawberry.field(description="Where the person can be reached; unique, however it is capitalised.")
    password: str = strawberry.field(description="8 to 256 characters of anything.")
    name: str = strawberry.field(default="", description="What the person is called; at most 200 characters.")


@strawberry.input(description="What a person shows to get in.")
class LoginInput:
    """GraphQL's `LoginInput`."""

    email: str = strawberry.field(description="The account's e-mail address, however it is capitalised.")
    password: str = strawberry.field(description="The account's password, exactly.")


SignupResult = Annotated[
    AuthPayload | AuthErrorType, strawberry.union("SignupResult", description="Signed up and in, or refused.")
]
LoginResult = Annotated[
    AuthPayload | AuthErrorType, strawberry.union("LoginResult", description="Signed in, or refused.")
]


@strawberry.type
class AccountQuery:
    """The queries of accounts."""

    @strawberry.field(description="The account that is signed in.", extensions=guarded())
    def me(self, info: Info) -> User:
        """Answer from what the check of the session has read."""
        viewer = info.context.viewer
        if viewer.profile is None:
            return _load(info)  # type: ignore[return-value]  # Strawberry awaits it
        return User.of_viewer(viewer, viewer.profile)


@strawberry.type
class AccountMutation:
    """The mutations of accounts."""

    @strawberry.mutation(description="Make an account and sign it in.", extensions=[Refusable()])
    async def signup(self, info: Info, input: SignupInput) -> SignupResult:
        """Translate."""
        signed_in = await info.context.run_hashing(
            service.signup,
            email=input.email,
            password=input.password,
            name=input.name,
            client=info.context.client,
        )
        return AuthPayload.of(signed_in)

    @strawberry.mutation(description="Sign in with e-mail address and password.", extensions=[Refusable()])
    async def login(self, info: Info, input: LoginInput) -> LoginResult:
        """Translate."""
        signed_in = await info.context.run_hashing(
            service.login, email=input.email, password=input.password, client=info.context.client
        )
        return AuthPayload.of(signed_in)


async def _load(info: Info) -> User:
    """Read the account of a token that was trusted without a look (stateless)."""
    user = await info.context.run(service.get_user, info.context.viewer.user_id)
    if user is None:
        raise Unauthenticated(Reason.ACCOUNT_DISABLED)
    return User.of(user)
