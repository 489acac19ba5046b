"""A host's project, and its own tests, which pytest runs in a process of their own."""

from __future__ import annotations

import pytest

# A module that holds its application, with the settings of a developer's machine.
SHOP = """
import strawberry
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import gqlauth
from gqlauth import Auth, Context, IsAuthenticated, Settings
from gqlauth.events import UserSignedUp

@strawberry.type
class Query(gqlauth.Query):
    @strawberry.field(permission_classes=[IsAuthenticated])
    def roles(self, info: strawberry.Info[Context, None]) -> list[str]:
        return sorted(info.context.viewer.roles)

    @strawberry.field(permission_classes=[IsAuthenticated])
    def scopes(self, info: strawberry.Info[Context, None]) -> list[str]:
        return sorted(info.context.viewer.scopes)

    @strawberry.field
    def invoices(self) -> list[str]:
        return ["everybody's"]

welcomed = []
auth = Auth(Settings(database_url="sqlite:///developer.db", audience="shop"))
auth.on(UserSignedUp, lambda event: welcomed.append(event.user_id))

async def visit(request):
    answer = JSONResponse({"visits": len(request.cookies), "token": "authorization" in request.headers})
    answer.set_cookie("visited", "yes")
    return answer

routes = [*auth.routes(gqlauth.Schema(Query, gqlauth.Mutation)), Route("/visit", visit)]
app = Starlette(routes=routes, lifespan=auth.lifespan)
"""
SHOP_CONFTEST = """
import pytest
import shop

@pytest.fixture
def auth_app():
    return shop.app
"""
SIGNUP = 'mutation { signup(input: { email: "eve@example.com", password: "correct horse battery" }) { __typename } }'
LOGIN = 'mutation { login(input: { email: "ada@example.com", password: "%s" }) { ... on AuthError { code } } }'


def run(host: pytest.Pytester, tests: str, *arguments: str) -> pytest.RunResult:
    host.makepyfile(test_host=tests)
    return host.runpytest_subprocess("-p", "no:cacheprovider", *arguments, timeout=120)
