"""GraphiQL for a browser: one page, its own script and style, and the npm packages that it stands on.

The packages come from a CDN or from a folder, under the same names, and are held to the same integrity hashes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from gqlauth.pages.files import MEDIA_TYPES, SAFE, STATIC
from gqlauth.settings import Settings

CDN = "https://unpkg.com"
OWN_FILES = ("graphiql.css", "graphiql.js")


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of an npm package at an exact version, with the hash that the browser holds it to."""

    package: str
    version: str
    file: str
    integrity: str

    @property
    def name(self) -> str:
        """The address below the CDN, and below our own folder of assets."""
        return f"{self.package}@{self.version}/{self.file}"

    def tag(self, base: str) -> str:
        """Return the HTML that loads the file from below `base`."""
        address = f'"{escape(base)}/{self.name}" integrity="{self.integrity}" crossorigin="anonymous"'
        if self.file.endswith(".css"):
            return f'    <link rel="stylesheet" href={address}>'
        return f"    <script src={address} defer></script>"


# GraphiQL 4 is the last that runs without a build step, and React 18 the last with a script for it.
ASSETS = (
    Asset(
        "graphiql",
        "4.1.2",
        "graphiql.min.css",
        "sha384-1el1QShFBnnXTx9x/Cprg82hZWKt0ry29OAYIXt05swbi0KcZDFoj0CWguMpopJr",
    ),
    Asset(
        "react",
        "18.3.1",
        "umd/react.production.min.js",
        "sha384-DGyLxAyjq0f9SPpVevD6IgztCFlnMF6oW/XQGmfe+IsZ8TqEiDrcHkMLKI6fiB/Z",
    ),
    Asset(
        "react-dom",
        "18.3.1",
        "umd/react-dom.production.min.js",
        "sha384-gTGxhz21lVGYNMcdJOyq01Edg0jhn/c22nsx0kyqP0TxaV5WVdsSH1fSDUf5YJj1",
    ),
    Asset(
        "graphiql",
        "4.1.2",
        "graphiql.min.js",
        "sha384-9XdHu7ajgGJziD4J1zNBKQ842Q/+zZfDv+ib1eMhZWBH6hPAs806x+Jbcf0yNO6B",
    ),
    Asset(
        "graphql-ws",
        "6.4.2",
        "umd/graphql-ws.min.js",
        "sha384-mxvR4Mzbsb6QVx/9xI2gtQikQA6m8zMDBFnu3l//4/ROsWt7y2sUGWd+/tYQqDm7",
    ),
)


class GraphiQL:
    """The page at the API's `path`, and the routes of its files below that."""

    def __init__(self, settings: Settings, path: str) -> None:
        self._folder = None if settings.graphiql_assets is None else Path(settings.graphiql_assets)
        self._path = path.rstrip("/")
        # Relative to the page, so that it holds wherever the host mounts us.
        self._own = f"{path.rpartition('/')[2]}/graphiql".lstrip("/")

    async def show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the page (ASGI)."""
        headers = SAFE | {
            "content-security-policy": self._policy(),
            "cache-control": "no-store",
            "vary": "accept",
        }
        await HTMLResponse(self._page(), headers=headers)(scope, receive, send)

    def routes(self) -> list[BaseRoute]:
        """Return a route for each file, and for nothing else: no part of a path is ever taken from the request."""
        routes = [self._route(name, STATIC / name, "no-cache") for name in OWN_FILES]
        if self._folder is not None:
            for asset in ASSETS:
                file = self._folder / asset.package / asset.file
                routes.append(self._route(asset.name, file, "public, max-age=31536000, immutable"))
        return routes

    def _route(self, name: str, file: Path, cache_control: str) -> BaseRoute:
        headers = SAFE | {"cache-control": cache_control}

        def serve(request: Request) -> Response:
            if not file.is_file():
                text = f"{name} is not in the folder that GQLAUTH_GRAPHIQL_ASSETS names."
                return PlainTextResponse(text, 404, headers=SAFE)
            return FileResponse(file, headers=headers, media_type=MEDIA_TYPES[file.suffix])

        return Route(f"{self._path}/graphiql/{name}", serve)

    def _policy(self) -> str:
        """Only the very files that the page names; GraphiQL's editor writes style attributes."""
        scripts, styles = "'self'", "'self' 'unsafe-inline'"
        if self._folder is None:
            for asset in ASSETS:
                if asset.file.endswith(".css"):
                    styles += f" {CDN}/{asset.name}"
                else:
                    scripts += f" {CDN}/{asset.name}"
        return (
            f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src 'self' data:; font-src data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def _page(self) -> str:
        base, source = (self._own, "the folder that GQLAUTH_GRAPHIQL_ASSETS names") if self._folder else (CDN, CDN)
        return _template().substitute(
            own=escape(self._own),
            assets="\n".join(asset.tag(base) for asset in ASSETS),
            packages=" ".join(dict.fromkeys(f"{asset.package}@{asset.version}" for asset in ASSETS)),
            source=source,
        )


@cache
def _template() -> Template:
    """Read the page when it is first asked for: most servers never are."""
    return Template((STATIC / "graphiql.html").read_text("utf-8"))
