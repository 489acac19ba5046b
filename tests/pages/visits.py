"""A page in a real browser, and all that went wrong on it."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import Locator, Page, Request, expect

from tests.support import PASSWORD

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


class AccountVisit(Visit):
    """The pages of an account, by somebody who reads labels."""

    def __init__(self, page: Page, root: str) -> None:
        super().__init__(page)
        self.root = root

    def field(self, label: str) -> Locator:
        """The input that has this label, whatever else is called the same; only one of them is ever in reach."""
        return self.page.get_by_label(label, exact=True).and_(self.page.locator("input")).filter(visible=True)

    def fill(self, label: str, text: str) -> None:
        self.field(label).fill(text)

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button, exact=True).click()

    def sign_up(self, email: str = ACCOUNT["email"], password: str = PASSWORD, name: str = "Ada") -> None:
        """Go through the sign-up page to the dashboard."""
        self.open(f"{self.root}/signup")
        self.fill("Name (optional)", name)
        self.fill("E-mail", email)
        self.fill("Password", password)
        self.press("Create account")
        self.is_at("/dashboard")
        self.says(email)

    def sign_in(self, email: str = ACCOUNT["email"], password: str = PASSWORD) -> None:
        """Fill in the sign-in page and send it."""
        self.open(self.root)
        self.fill("E-mail", email)
        self.fill("Password", password)
        self.press("Sign in")

    def is_at(self, path: str) -> None:
        expect(self.page).to_have_url(self.root + path)

    def says(self, text: str) -> None:
        """Expect the text to be seen somewhere."""
        expect(self.page.get_by_text(text).first).to_be_visible()

    def alerts(self, text: str) -> None:
        """Expect the text as what a screen reader is alerted of."""
        expect(self.page.get_by_role("alert").filter(has_text=text)).to_be_visible()

    def tells(self, text: str) -> None:
        """Expect the text as a status that a screen reader tells when it has time."""
        expect(self.page.get_by_role("status").filter(has_text=text)).to_be_visible()

    def faults(self, label: str, text: str) -> None:
        """Expect the field to be at fault, to say why, and to have the focus."""
        field = self.field(label)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_accessible_description(re.compile(re.escape(text) + "$"))
        expect(field).to_be_focused()

    def devices(self) -> Locator:
        """The devices in the list."""
        return self.page.locator("#devices > li")
