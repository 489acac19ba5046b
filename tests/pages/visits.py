"""A page in a real browser, and all that went wrong on it."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import Page, Request, expect

ACCOUNT = {"email": "ada@example.com", "password": "correct horse battery"}  # as GraphiQL's ready tabs have it
CHEAP = {"environment": "test", "bcrypt_cost": "4"}
PATIENCE_MS = 15_000  # on a busy machine; nothing waits longer than it must


class Visit:
    """One page, and what it said and asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.authorizations: list[str | None] = []
        self.documents: list[str] = []
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._note)

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def _note(self, request: Request) -> None:
        self.requests.append(request.url)
        if request.method == "POST":
            self.authorizations.append(request.headers.get("authorization"))
            self.documents.append(json.loads(request.post_data or "{}").get("query", ""))

    def open(self, address: str) -> None:
        self.page.goto(address)

    def refreshes(self) -> int:
        """How often it has asked for new tokens."""
        return sum("refreshToken(" in document or "{ refreshToken {" in document for document in self.documents)

    def kept(self) -> str:
        """All that scripts could find of what would outlive the page."""
        script = "JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage), document.cookie])"
        return str(self.page.evaluate(script)) + self.page.url

    def evaluate(self, script: str, argument: Any = None) -> Any:
        return self.page.evaluate(script, argument)


class GraphiQLVisit(Visit):
    """GraphiQL in a fresh profile."""

    def choose(self, tab: str) -> None:
        """Bring a ready tab to the front."""
        self.page.get_by_role("tab", name=re.compile(f"^{tab}")).click()

    def run(self, tab: str) -> None:
        """Run what is in a ready tab."""
        self.choose(tab)
        self.execute()

    def execute(self) -> None:
        """Run what is in front."""
        self.page.get_by_role("button", name=re.compile("^Execute")).click()

    def shows(self, *texts: str) -> None:
        """Expect these in the answer."""
        for text in texts:
            expect(self.page.get_by_label("Result Window")).to_contain_text(text)

    def says(self, text: str) -> None:
        """Expect this as the line that tells who is signed in."""
        expect(self.page.get_by_role("status")).to_have_text(text)

    def type_variables(self, text: str) -> None:
        """Replace the variables of the tab in front."""
        self.page.get_by_label("Variables").locator(".CodeMirror:visible").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(text)
