"""Whoever may ask, and their context, without a database: what is under test there is the guard."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import strawberry
from starlette.requests import Request
from strawberry.types import ExecutionResult

from gqlauth import Context, Reason, Settings, Viewer
from gqlauth.context import Identity, Lanes, Refused, Unavailable
from gqlauth.events import AccessRefused, Event
from gqlauth.runtime import create_runtime
from gqlauth.threads import database_lane, hashing_lane

ADA = UUID("0197b1d2-0000-7000-8000-00000000000a")
BOB = UUID("0197b1d2-0000-7000-8000-00000000000b")

ANONYMOUS: Identity = None
EXPIRED: Identity = Refused(Reason.TOKEN_EXPIRED, ADA, ADA)
WITHOUT: Identity = Viewer(BOB, BOB)
WITH: Identity = Viewer(
    ADA, ADA, roles=frozenset({"admin"}), scopes=frozenset({"posts:read", "posts:write"}), email_verified=True
)
UNAVAILABLE: Identity = Unavailable(OSError("the database does not answer"))


class Asker:
    """Executes documents as one viewer or another, and notes who was refused."""

    def __init__(self) -> None:
        self._runtime = create_runtime(Settings(environment="test", bcrypt_cost=4))
        self._runtime.events.subscribe(self._note)
        self.refused: list[AccessRefused] = []

    def context(self, identity: Identity) -> Context:
        """Return the context of a request of theirs."""
        scope = {"type": "http", "headers": [], "client": ("192.0.2.1", 1)}
        return Context(
            request=Request(scope),
            identity=identity,
            cookies=None,
            runtime=self._runtime,
            # A lane has no thread before it is used.
            lanes=Lanes(database_lane(), hashing_lane()),
        )

    def execute(self, schema: strawberry.Schema, document: str, identity: Identity, **options: Any) -> ExecutionResult:
        """Execute the document as them. `options` are those of `strawberry.Schema.execute`."""
        options.setdefault("context_value", self.context(identity))

        async def run() -> ExecutionResult:
            result: ExecutionResult = await schema.execute(document, **options)
            return result

        return asyncio.run(run())

    def answers(self, schema: strawberry.Schema, document: str, identity: Identity) -> dict[str, Any]:
        """Return each root field's value, or instead of it the reason, or failing that the code, of its refusal."""
        result = self.execute(schema, document, identity)
        answers = dict(result.data or {})
        for error in result.errors or []:
            extensions = error.extensions or {}
            assert error.path is not None
            answers[str(error.path[0])] = extensions.get("reason") or extensions.get("code")
        return answers

    def _note(self, event: Event) -> None:
        if isinstance(event, AccessRefused):
            self.refused.append(event)
