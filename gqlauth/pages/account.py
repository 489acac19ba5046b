"""The pages of an account: sign in, sign up, and the dashboard. They call the API as any frontend would.

All three are rendered once and are the same for everybody: what they show comes from the API, by their scripts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gqlauth.pages.files import MEDIA_TYPES, SAFE, STATIC
from gqlauth.settings import Settings

OWN_FILES = (
    "account.css",
    "api.js",
    "dashboard.js",
    "devices.js",
    "enter.js",
    "form.js",
    "mark.svg",
    "signin.js",
    "signup.js",
)
FOR_EVER = "public, max-age=31536000, immutable"

# Nothing but our own files, and no script may make HTML or scripts out of text (ASVS 3.4.3, 3.4.6).
# The scripts send the forms: a browser that has none of them must not put a password into an address.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
PAGE_HEADERS = SAFE | {
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its address, its title, and the name of its body and its script."""

    address: str
    title: str
    name: str


PAGES = (
    Page("", "Sign in", "signin"),
    Page("signup", "Create an account", "signup"),
    Page("dashboard", "Your account", "dashboard"),
)


class AccountPages:
    """The three pages below `prefix`, for an API at `path`; `name` is whose they are.

    `stylesheet` is the address of a style sheet of the host's, on the same origin, that goes after ours.
    """

    def __init__(self, settings: Settings, *, path: str, prefix: str, name: str, stylesheet: str | None) -> None:
        self._prefix = prefix.rstrip("/")
        self._contents = {file: (STATIC / file).read_bytes() for file in OWN_FILES}
        # In the address of the files, so that browsers keep them for ever, and still never mix two versions.
        version = hashlib.sha256(b"".join(self._contents.values())).hexdigest()[:16]
        self._folder = f"gqlauth/{version}"
        self._common = {
            # Relative to the pages, so that it holds wherever the host mounts us.
            "api": escape("../" * self._prefix.count("/") + path.lstrip("/") or "./"),
            "files": self._folder,
            "name": escape(name),
            "min_length": str(settings.password_min_length),
            "stylesheet": f'\n    <link rel="stylesheet" href="{escape(stylesheet)}">' if stylesheet else "",
        }

    def routes(self) -> list[BaseRoute]:
        """Return a route for each page and each of its files, and for nothing else."""
        pages = [self._route(page.address, self._render(page), "text/html", PAGE_HEADERS) for page in PAGES]
        return pages + [
            self._route(
                f"{self._folder}/{name}", content, MEDIA_TYPES[Path(name).suffix], SAFE | {"cache-control": FOR_EVER}
            )
            for name, content in self._contents.items()
        ]

    def _route(self, address: str, content: str | bytes, media_type: str, headers: dict[str, str]) -> BaseRoute:
        async def serve(request: Request) -> Response:
            return Response(content, headers=headers, media_type=media_type)

        return Route(f"{self._prefix}/{address}", serve)

    def _render(self, page: Page) -> str:
        body = _template(page.name).substitute(self._common)
        return _template("account").substitute(self._common, title=page.title, script=page.name, body=body)


def _template(name: str) -> Template:
    return Template((STATIC / f"{name}.html").read_text("utf-8"))
