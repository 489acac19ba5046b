"""Sign up, log in, me."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry
from strawberry import UNSET
from strawberry.types.base import StrawberryMaybe, get_object_definition

from gqlauth.accounts import service
from gqlauth.accounts.guesses import flows
from gqlauth.context import Context, context_of
from gqlauth.errors import AuthErrorType, Refusable
from gqlauth.fields import keep_names
from gqlauth.guards.placing import guarded, public
from gqlauth.sessions.graphql import AuthPayload
from gqlauth.users.graphql import User, added_fields, user_type

Info = strawberry.Info[Context, None]

USE_COOKIES = "Let the browser keep the tokens in HttpOnly cookies. `accessToken` and `refreshToken` are null then."


@keep_names
@strawberry.input(description="A new account.")
class SignupInput:
    """GraphQL's `SignupInput`."""

    email: str = strawberry.field(description="Where the person can be reached; unique, however it is capitalised.")
    password: str = strawberry.field(description="8 to 256 characters of anything.")
    name: str = strawberry.field(default="", description="What the person is called; at most 200 characters.")
    use_cookies: bool = strawberry.field(default=False, description=USE_COOKIES)


@keep_names
@strawberry.input(description="What a person shows to get in.")
class LoginInput:
    """GraphQL's `LoginInput`."""

    email: str = strawberry.field(description="The account's e-mail address, however it is capitalised.")
    password: str = strawberry.field(description="The account's password, exactly.")
    use_cookies: bool = strawberry.field(default=False, description=USE_COOKIES)


@keep_names
@strawberry.input(description="What is to change; what is left out or null stays.")
class UpdateProfileInput:
    """GraphQL's `UpdateProfileInput`."""

    name: str | None = strawberry.field(default=UNSET, description="What the person is called; at most 200 characters.")


@keep_names
@strawberry.input(description="A new password, against the current one.")
class ChangePasswordInput:
    """GraphQL's `ChangePasswordInput`."""

    current_password: str = strawberry.field(description="The account's password, exactly.")
    new_password: str = strawberry.field(description="8 to 256 characters of anything.")


@keep_names
@strawberry.type(description="The account is gone.")
class AccountDeleted:
    """GraphQL's `AccountDeleted`."""

    id: strawberry.ID = strawberry.field(description="The id that it had.")


SignupResult = Annotated[
    AuthPayload | AuthErrorType, strawberry.union("SignupResult", description="Signed up and in, or refused.")
]
LoginResult = Annotated[
    AuthPayload | AuthErrorType, strawberry.union("LoginResult", description="Signed in, or refused.")
]
UpdateProfileResult = Annotated[
    User | AuthErrorType, strawberry.union("UpdateProfileResult", description="The account as it is now, or refused.")
]
ChangePasswordResult = Annotated[
    AuthPayload | AuthErrorType,
    strawberry.union("ChangePasswordResult", description="Signed in anew, or refused."),
]
DeleteAccountResult = Annotated[
    AccountDeleted | AuthErrorType, strawberry.union("DeleteAccountResult", description="Gone, or refused.")
]


@keep_names
@strawberry.type
class AccountQuery:
    """The queries of accounts."""

    @strawberry.field(description="The account that is signed in.", extensions=guarded())
    def me(self, info: Info) -> User:
        """Answer from what the check of the session has read."""
        viewer, own = context_of(info).viewer, user_type(info)
        if viewer.profile is None or own is not User:
            return _load(info)  # type: ignore[return-value]  # Strawberry awaits it
        return User.of_viewer(viewer, viewer.profile)


@keep_names
@strawberry.type
class AccountMutation:
    """The mutations of accounts."""

    @strawberry.mutation(description="Make an account and sign it in.", extensions=[*public(), Refusable()])
    async def signup(self, info: Info, input: SignupInput) -> SignupResult:
        """Translate."""
        context = context_of(info)
        signup = await context.run(
            service.check_signup,
            email=input.email,
            password=input.password,
            name=input.name,
            client=context.client,
            extra=_added(input, SignupInput),
        )
        await service.ask_host(context.runtime, signup)
        signed_in = await context.run_hashing(flows(context.client), service.signup, signup, input.password)
        return AuthPayload.of(signed_in, info, in_cookies=_in_cookies(context, input.use_cookies))

    @strawberry.mutation(description="Sign in with e-mail address and password.", extensions=[*public(), Refusable()])
    async def login(self, info: Info, input: LoginInput) -> LoginResult:
        """Translate."""
        context = context_of(info)
        guess = await context.run(service.check_login, email=input.email, client=context.client)
        signed_in = await context.run_hashing(guess.flows, service.login, guess, input.password)
        return AuthPayload.of(signed_in, info, in_cookies=_in_cookies(context, input.use_cookies))

    @strawberry.mutation(
        description="Change what is known of the account's owner.", extensions=[*guarded(), Refusable()]
    )
    async def update_profile(self, info: Info, input: UpdateProfileInput) -> UpdateProfileResult:
        """Translate."""
        context = context_of(info)
        changes = _added(input, UpdateProfileInput)
        if input.name is not UNSET:
            changes["name"] = input.name
        user = await context.run(service.update_profile, viewer=context.viewer, changes=changes, client=context.client)
        return user_type(info).of(user)

    @strawberry.mutation(
        description="Change the password. Ends all of the account's sessions and begins a new one here.",
        extensions=[*guarded(), Refusable()],
    )
    async def change_password(self, info: Info, input: ChangePasswordInput) -> ChangePasswordResult:
        """Translate."""
        context = context_of(info)
        guess = await context.run(service.check_owner, viewer=context.viewer, client=context.client)
        signed_in = await context.run_hashing(
            guess.flows,
            service.change_password,
            guess,
            viewer=context.viewer,
            current=input.current_password,
            new=input.new_password,
        )
        return AuthPayload.of(signed_in, info, in_cookies=context.has_cookie_session)

    @strawberry.mutation(
        description="Delete the account with all that belongs to it, and end its sessions, at once.",
        extensions=[*guarded(), Refusable()],
    )
    async def delete_account(self, info: Info, password: str) -> DeleteAccountResult:
        """Translate."""
        context = context_of(info)
        guess = await context.run(service.check_owner, viewer=context.viewer, client=context.client)
        user_id = await context.run_hashing(
            guess.flows, service.delete_account, guess, viewer=context.viewer, password=password
        )
        context.clear_cookies()
        return AccountDeleted(id=strawberry.ID(str(user_id)))


def _in_cookies(context: Context, asked: bool) -> bool:
    """Tell whether the browser is to keep the tokens: always by setting, or because this sign-in asks for it."""
    return asked or context.runtime.settings.cookies


async def _load(info: Info) -> User:
    """Read the account: of a token that was trusted without a look (stateless), or with a host's columns."""
    return user_type(info).of(await context_of(info).load_user())


def _added(input: Any, base: type) -> dict[str, Any]:
    """Return what a client has given in a host's own input beyond ours, by Python name; what is left out is not there.

    Left out is `UNSET`, and of a `Maybe`, where a null comes as `Some(None)`, `None`.
    """
    kinds = {field.python_name: field.type for field in get_object_definition(type(input), strict=True).fields}
    given: dict[str, Any] = {}
    for name in added_fields(type(input), base):
        value = getattr(input, name)
        if isinstance(kinds[name], StrawberryMaybe):
            value = UNSET if value is None else value.value
        if value is not UNSET:
            given[name] = value
    return given
