"""Every setting: its name in the environment, its unit, its safe default, and what is refused."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Network, ip_network
from typing import Annotated, Any, Literal, Self, get_type_hints

import msgspec
from msgspec import Meta
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from gqlauth.entropy import is_guessable
from gqlauth.errors import ConfigurationError
from gqlauth.tokens import Algorithm as Algorithm

PREFIX = "GQLAUTH_"
SECRET = {"secret": True}
# What the command line reads besides the settings.
APP_VARIABLE = f"{PREFIX}APP"

Seconds = Annotated[int, Meta(gt=0)]

# RFC 6454 section 6.2, as browsers send it: lower case, without a path.
ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:-]+")

# RFC 3986 section 3: scheme, host and port, in ASCII; nothing that could end a header, a line or a host's name early.
PUBLIC_URL = re.compile(
    r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*\.?|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?", re.IGNORECASE
)
# Larger networks than these hold clients, not proxies.
WIDEST_PROXIES = {4: 8, 6: 7}
IPV4_IN_IPV6 = IPv6Network("::ffff:0:0/96")
# Controls, halves of characters, and the line breaks U+2028 and U+2029.
FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one server. Built from keyword arguments, or by `from_environ` out of `GQLAUTH_*` variables.

    Raises `ConfigurationError` for anything that would make the server unsafe.
    """

    environment: Annotated[
        Literal["development", "production", "test"],
        Meta(description="`production` turns GraphiQL and introspection off; `test` allows cheap password hashes."),
    ] = "development"
    database_url: Annotated[str, Meta(description="SQLAlchemy URL of an SQLite file or a PostgreSQL database.")] = (
        "sqlite:///gqlauth.db"
    )
    table_prefix: Annotated[
        str,
        Meta(pattern="^((?!sqlite_)[a-z][a-z0-9_]{0,23})?\\Z", description="What the names of the tables begin with."),
    ] = ""
    table_schema: Annotated[
        Annotated[str, Meta(pattern="^(?!pg_)[a-z][a-z0-9_]{0,62}\\Z")] | None,
        Meta(description="PostgreSQL schema of the tables. Unset: the connection's."),
    ] = None
    algorithm: Annotated[Algorithm, Meta(description="How access tokens are signed.")] = "ES256"
    secret_key: Annotated[
        str | None, Meta(description="The key of HS256, 32 bytes or more. Unused otherwise.", extra=SECRET)
    ] = None
    key_encryption_key: Annotated[
        str | None,
        Meta(
            description="Encrypts the private keys in the database; 32 characters or more, without commas. Required in "
            "production on PostgreSQL. Earlier ones may follow after commas: see `gqlauth keys encrypt`.",
            extra=SECRET,
        ),
    ] = None
    public_url: Annotated[str, Meta(description="Where people reach the server: scheme and host, no path.")] = (
        "http://127.0.0.1:8000"
    )
    issuer: Annotated[str | None, Meta(description="`iss` of access tokens. Unset: the public URL.")] = None
    audience: Annotated[str, Meta(min_length=1, description="`aud` of access tokens.")] = "gqlauth"
    access_token_seconds: Annotated[int, Meta(gt=0, le=3600, description="Life of an access token, seconds.")] = 900
    refresh_token_seconds: Annotated[
        Seconds, Meta(description="A session ends after this long without use, seconds.")
    ] = 30 * 86_400
    session_seconds: Annotated[Seconds, Meta(description="A session ends after this long, used or not, seconds.")] = (
        90 * 86_400
    )
    refresh_grace_seconds: Annotated[
        int, Meta(ge=0, le=60, description="A replayed refresh token still gets its successor this long, seconds.")
    ] = 10
    max_sessions: Annotated[
        int,
        Meta(ge=1, le=10_000, description="Living sessions of an account; a sign-in ends those unused for longest."),
    ] = 100
    cookies: Annotated[
        bool, Meta(description="Keep the tokens of every sign-in in HttpOnly cookies. Off: only where it asks for it.")
    ] = False
    bcrypt_cost: Annotated[int, Meta(ge=4, le=16, description="Cost of a password hash; below 10 only in `test`.")] = 12
    password_min_length: Annotated[int, Meta(ge=8, le=64, description="Shortest password, characters.")] = 8
    rate_limits: Annotated[bool, Meta(description="Limit how often secrets are tried.")] = True
    redis_url: Annotated[
        str | None,
        Meta(
            description="Redis that counts attempts for all processes, with maxmemory-policy noeviction. Unset: each "
            "counts its own.",
            extra=SECRET,
        ),
    ] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(description="Addresses or networks whose X-Forwarded-For and -Proto count, comma-separated."),
    ] = ()
    stateless: Annotated[bool, Meta(description="Trust a token until it expires, without looking at its session.")] = (
        False
    )
    graphiql: Annotated[bool | None, Meta(description="GraphiQL for browsers. Unset: off in production, else on.")] = (
        None
    )
    graphiql_assets: Annotated[
        str | None,
        Meta(description="Folder of npm packages that GraphiQL loads from. Unset: the unpkg.com CDN."),
    ] = None
    pages: Annotated[bool, Meta(description="The server's pages: `/` (sign in), `/signup` and `/dashboard`.")] = True
    introspection: Annotated[
        bool | None,
        Meta(description="Introspection and suggestions. Unset: off in production, else on."),
    ] = None
    cors_origins: Annotated[
        tuple[str, ...], Meta(description="Browser origins that may call the API, comma-separated.")
    ] = ()
    max_body_bytes: Annotated[
        int, Meta(gt=0, description="Largest request body, or message on a WebSocket, bytes.")
    ] = 100_000
    max_header_bytes: Annotated[int, Meta(gt=0, description="Largest sum of request headers, bytes.")] = 16_384
    max_answer_bytes: Annotated[
        Annotated[int, Meta(gt=0)] | None,
        Meta(
            description="Largest answer, bytes; introspection does not count. Unset: 1000000 in the ready server, "
            "no limit in a schema of your own."
        ),
    ] = None
    max_tokens: Annotated[int, Meta(gt=0, description="Lexical tokens in a document.")] = 1_000
    max_depth: Annotated[int, Meta(gt=0, description="Depth of a document, fragments followed.")] = 16
    max_aliases: Annotated[int, Meta(ge=0, description="Aliases in an operation, fragments followed.")] = 30
    max_root_fields: Annotated[int, Meta(gt=0, description="Root fields of an operation, fragments followed.")] = 20
    max_directives: Annotated[int, Meta(ge=0, description="Directives in an operation, fragments followed.")] = 50

    def __post_init__(self) -> None:
        """Refuse what is not of its type, also where it was written in code, and what the types alone cannot tell."""
        self._check_types()
        self._check_text()
        self._check_database()
        self._check_addresses()
        if self.algorithm == "HS256":
            _check_secret("GQLAUTH_SECRET_KEY", self.secret_key)
        if self.key_encryption_key is not None:
            for key in self.encryption_keys or ("",):
                _check_secret("GQLAUTH_KEY_ENCRYPTION_KEY", key)
        self.check_encryption(self.url.get_backend_name())
        if self.bcrypt_cost < 10 and self.environment != "test":
            raise ConfigurationError("GQLAUTH_BCRYPT_COST below 10 is only for GQLAUTH_ENVIRONMENT=test")

    def _check_types(self) -> None:
        for field in msgspec.structs.fields(self):
            try:
                msgspec.convert(getattr(self, field.name), field.type)
            except msgspec.ValidationError as error:
                raise ConfigurationError(f"{PREFIX}{field.name.upper()}: {error}") from None

    def _check_text(self) -> None:
        """Refuse what could break a header, a log line or a token. A secret goes into none of them, but is text."""
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            is_secret = any(getattr(meta, "extra", None) == SECRET for meta in field.type.__metadata__)
            forbidden = {"Cs"} if is_secret else FORBIDDEN_CATEGORIES
            text = "".join(value) if isinstance(value, tuple) else value if isinstance(value, str) else ""
            if any(unicodedata.category(character) in forbidden for character in text):
                raise ConfigurationError(f"{PREFIX}{field.name.upper()} must not contain control characters")

    def _check_addresses(self) -> None:
        public = PUBLIC_URL.fullmatch(self.public_url)
        if public is None or int(public["port"] or 0) > 65535:
            raise ConfigurationError(
                "GQLAUTH_PUBLIC_URL must be a scheme and a host, such as https://id.example.com: no path, user or blank"
            )
        if self.issuer is not None and (not self.issuer or any(map(str.isspace, self.issuer))):
            raise ConfigurationError("GQLAUTH_ISSUER must not be empty or contain blanks")
        if "*" in self.cors_origins:
            raise ConfigurationError("GQLAUTH_CORS_ORIGINS must name each origin; * would open the API to every site")
        for origin in self.cors_origins:
            if not ORIGIN.fullmatch(origin):
                # What stands before an @ may be a password.
                shown = origin.rpartition("@")[2]
                raise ConfigurationError(f"GQLAUTH_CORS_ORIGINS: {shown} is not an origin like https://example.com")
        if self.production and (fault := self._proxy_fault()) is not None:
            raise ConfigurationError(fault)

    def _proxy_fault(self) -> str | None:
        """Return why the trusted proxies would let a client say where it comes from; None if they would not."""
        for proxy in self.trusted_proxies:
            try:
                network = ip_network(proxy)
            except ValueError:
                return f"GQLAUTH_TRUSTED_PROXIES: {proxy} is not an IP address or a network like 10.0.0.0/8"
            inside = isinstance(network, IPv6Network) and network.subnet_of(IPV4_IN_IPV6)
            if network.prefixlen - (96 if inside else 0) < WIDEST_PROXIES[4 if inside else network.version]:
                return f"GQLAUTH_TRUSTED_PROXIES: {proxy} holds clients too, which could then forge their addresses"
        return None

    def weaknesses(self, environ: Mapping[str, str]) -> Iterator[str]:
        """Yield what the operator should know about these settings, and about variables that nothing reads."""
        for name in self.unknown(environ):
            yield f"nothing reads {name}; is it misspelled?"
        if not self.rate_limits:
            yield "GQLAUTH_RATE_LIMITS is off, so passwords can be guessed without limit"
        if not self.production and (fault := self._proxy_fault()) is not None:
            yield f"{fault}; production refuses it"
        if self.production and self.public_url == type(self)().public_url:
            yield "GQLAUTH_PUBLIC_URL is still the one of development"
        if self.production and (self.serves_graphiql or self.allows_introspection):
            yield "GraphiQL or introspection is open in production"
        if self.stateless:
            yield "stateless, so a revoked session lives until its token expires"

    def _check_database(self) -> None:
        try:
            url = self.url
        except (ArgumentError, ValueError):
            raise ConfigurationError("GQLAUTH_DATABASE_URL is not a database URL") from None
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            raise ConfigurationError("GQLAUTH_DATABASE_URL must be an sqlite:/// or postgresql:// URL")
        if is_in_memory(url):
            raise ConfigurationError(
                "GQLAUTH_DATABASE_URL must name a file: an SQLite database in memory is not shared between threads"
            )

    def check_encryption(self, backend: str) -> None:
        """Raise `ConfigurationError` if the signing key would lie in the clear in a database that others run.

        `backend` is `sqlite` or `postgresql`: of the URL, or of the engine that a host gives in its place.
        """
        needed = self.production and backend != "sqlite" and self.algorithm != "HS256"
        if needed and self.key_encryption_key is None:
            raise ConfigurationError(
                "GQLAUTH_KEY_ENCRYPTION_KEY must be set in production on PostgreSQL: "
                "without it the database holds the signing key in the clear"
            )

    @property
    def url(self) -> URL:
        """The database's URL with the driver that gqlauth uses."""
        text = self.database_url
        if text.startswith("postgres://"):
            text = "postgresql://" + text.removeprefix("postgres://")
        return with_our_driver(make_url(text))

    @property
    def encryption_keys(self) -> tuple[str, ...]:
        """What encrypts private keys, and after that what they may still be encrypted under."""
        return tuple(key.strip() for key in (self.key_encryption_key or "").split(",") if key.strip())

    @property
    def token_issuer(self) -> str:
        """The `iss` of access tokens. It comes from configuration, never from a request (GHSA-m82j-rq33-qjx2)."""
        return self.public_url if self.issuer is None else self.issuer

    @property
    def production(self) -> bool:
        """Whether this is a production server."""
        return self.environment == "production"

    @property
    def serves_graphiql(self) -> bool:
        """Whether a browser is shown GraphiQL."""
        return not self.production if self.graphiql is None else self.graphiql

    @property
    def allows_introspection(self) -> bool:
        """Whether the schema can be asked for, and misspelt names get suggestions."""
        return not self.production if self.introspection is None else self.introspection

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings from `GQLAUTH_*` variables.

        Raises `ConfigurationError` naming the variable at fault. A `GQLAUTH_*` variable that nothing reads is refused
        in production, where a misspelled name would leave a protection off; elsewhere `weaknesses` names it.
        """
        environ = os.environ if environ is None else environ
        hints = get_type_hints(cls)
        raw = {
            name: _decode(environ[PREFIX + name.upper()], hints[name])
            for name in cls.__struct_fields__
            if PREFIX + name.upper() in environ
        }
        try:
            settings = msgspec.convert(raw, cls, strict=False)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).partition(" - at `$.")
            raise ConfigurationError(f"{PREFIX}{place.rstrip('`').upper()}: {reason}") from None
        if settings.production and (unknown := cls.unknown(environ)):
            raise ConfigurationError(f"nothing reads {', '.join(unknown)}: correct the name, or unset it")
        return settings

    @classmethod
    def unknown(cls, environ: Mapping[str, str]) -> list[str]:
        """Return the `GQLAUTH_*` variables that nothing reads: usually a misspelt name."""
        known = {APP_VARIABLE, *(PREFIX + name.upper() for name in cls.__struct_fields__)}
        return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def is_in_memory(url: URL) -> bool:
    """Tell whether this is an SQLite database in memory, or may be one (`file:`)."""
    name = url.database or ":memory:"
    return url.get_backend_name() == "sqlite" and (name == ":memory:" or name.startswith("file:"))


def with_our_driver(url: URL) -> URL:
    """Return the URL of the same database with the driver that gqlauth uses, where it uses any."""
    drivers = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite"}
    return url.set(drivername=drivers.get(url.get_backend_name(), url.drivername))


def show_url(url: URL) -> str:
    """Return the URL without its password, which may stand in the query too."""
    return url.set(query={}).render_as_string(hide_password=True)


class Setting(msgspec.Struct, frozen=True):
    """One row of the settings table."""

    variable: str
    default: Any
    description: str
    value: Any


def describe(settings: Settings) -> list[Setting]:
    """Return every setting with its value; secrets are shown as `(set)` only, a database's password as `***`."""
    rows = []
    for field in msgspec.structs.fields(Settings):
        metas = field.type.__metadata__
        meta = next(meta for meta in metas if getattr(meta, "description", None))
        value = getattr(settings, field.name)
        if meta.extra == SECRET and value is not None:
            value = "(set)"
        if field.name == "database_url":
            value = show_url(make_url(value))
        rows.append(Setting(PREFIX + field.name.upper(), field.default, meta.description, value))
    return rows


def show(value: object) -> str:
    """Return a value as it is written in a variable; nothing for one that is unset."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(value)
    return "" if value is None else str(value)


def _decode(text: str, hint: Any) -> Any:
    """Turn a variable's text into what msgspec converts: on/off for booleans, commas for lists."""
    if hint is bool or hint == bool | None:
        return {"on": True, "off": False, "": None}.get(text.strip().lower(), text)
    if hint == tuple[str, ...]:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _check_secret(variable: str, secret: str | None) -> None:
    """Refuse a secret that can be guessed (RFC 8725 section 3.5)."""
    if not secret:
        raise ConfigurationError(f"{variable} must be set: 32 random bytes or more")
    if len(secret.encode("utf-8", "surrogatepass")) < 32:
        raise ConfigurationError(f"{variable} is too short: 32 random bytes or more")
    if is_guessable(secret):
        raise ConfigurationError(f"{variable} can be guessed: use 32 random bytes, as from: openssl rand -base64 32")
