"""Settings: what is refused, how the variables are read, and what is shown of them."""

from __future__ import annotations

from typing import Any

import pytest

from gqlauth import ConfigurationError, Settings
from gqlauth.settings import describe

SECRET = "kT3#vQ9!mZ7@xL2$wR8%nB5^jH4&pD6*"
POSTGRESQL = "postgresql://user:password@db.example/app"

BAD_URLS = [
    "",
    "id.example",
    "ftp://id.example",
    "https://",
    "https://id.example/",
    "https://id.example/auth",
    "https://id.example?x",
    "https://id.example#x",
    "https://id example",
    " https://id.example",
    "https://me:hunter2@id.example",
    "https://id.example:99999",
    "https://id.example:",
    'https://id.example"onload=',
    "https://id.example;secure",
    "https://idé.example",
]
# What production refuses, and what of it is named.
BAD_PROXIES = {
    "*": "*",
    "10.0.0.1, *": "*",
    "0.0.0.0/0": "0.0.0.0/0",
    "::/0": "::/0",
    "0.0.0.0/1,128.0.0.0/1": "0.0.0.0/1",
    "::ffff:0:0/96": "::ffff:0:0/96",
    "2000::/3": "2000::/3",
    "10.0.0.1/8": "10.0.0.1/8",
    "proxy.example": "proxy.example",
    "127.0.0.1:8080": "127.0.0.1:8080",
}

BAD = [
    ({"algorithm": "HS256"}, "GQLAUTH_SECRET_KEY must be set"),
    ({"algorithm": "HS256", "secret_key": ""}, "GQLAUTH_SECRET_KEY must be set"),
    ({"algorithm": "HS256", "secret_key": SECRET[:31]}, "GQLAUTH_SECRET_KEY is too short"),
    (
        {"algorithm": "HS256", "secret_key": "a-string-secret-at-least-256-bits-long"},
        "GQLAUTH_SECRET_KEY can be guessed",
    ),
    ({"algorithm": "HS256", "secret_key": "abcabcabc" * 10}, "GQLAUTH_SECRET_KEY can be guessed"),
    ({"algorithm": "HS256", "secret_key": "0123456789" * 4}, "GQLAUTH_SECRET_KEY can be guessed"),
    ({"key_encryption_key": f"{SECRET},{'change-me-' * 4}"}, "GQLAUTH_KEY_ENCRYPTION_KEY can be guessed"),
    ({"key_encryption_key": SECRET[:20]}, "GQLAUTH_KEY_ENCRYPTION_KEY is too short"),
    ({"key_encryption_key": ""}, "GQLAUTH_KEY_ENCRYPTION_KEY must be set"),
    ({"algorithm": "none"}, "GQLAUTH_ALGORITHM"),
    ({"algorithm": "HS512"}, "GQLAUTH_ALGORITHM"),
    ({"algorithm": "es256"}, "GQLAUTH_ALGORITHM"),
    ({"environment": "prod"}, "GQLAUTH_ENVIRONMENT"),
    ({"bcrypt_cost": "4"}, "GQLAUTH_BCRYPT_COST below 10"),
    ({"bcrypt_cost": "9", "environment": "production"}, "GQLAUTH_BCRYPT_COST below 10"),
    ({"bcrypt_cost": "3", "environment": "test"}, "GQLAUTH_BCRYPT_COST"),
    ({"bcrypt_cost": "17"}, "GQLAUTH_BCRYPT_COST"),
    ({"bcrypt_cost": "twelve"}, "GQLAUTH_BCRYPT_COST"),
    ({"cors_origins": "*"}, "GQLAUTH_CORS_ORIGINS must name each origin"),
    ({"cors_origins": "https://app.example, *"}, "GQLAUTH_CORS_ORIGINS must name each origin"),
    ({"cors_origins": "app.example"}, "GQLAUTH_CORS_ORIGINS: app.example is not an origin"),
    ({"cors_origins": "https://app.example/"}, "GQLAUTH_CORS_ORIGINS: https://app.example/ is not an origin"),
    ({"cors_origins": "null"}, "GQLAUTH_CORS_ORIGINS: null is not an origin"),
    ({"database_url": ""}, "GQLAUTH_DATABASE_URL is not a database URL"),
    ({"database_url": "gqlauth.db"}, "GQLAUTH_DATABASE_URL is not a database URL"),
    ({"database_url": "postgresql://host:port/app"}, "GQLAUTH_DATABASE_URL is not a database URL"),
    ({"database_url": "mysql://host/app"}, "GQLAUTH_DATABASE_URL must be an sqlite:/// or postgresql:// URL"),
    ({"database_url": "sqlite://"}, "GQLAUTH_DATABASE_URL must name a file"),
    ({"database_url": "sqlite:///:memory:"}, "GQLAUTH_DATABASE_URL must name a file"),
    ({"database_url": "sqlite:///file:x?mode=memory&uri=true"}, "GQLAUTH_DATABASE_URL must name a file"),
    ({"database_url": POSTGRESQL, "environment": "production"}, "GQLAUTH_KEY_ENCRYPTION_KEY must be set in production"),
    ({"access_token_seconds": "0"}, "GQLAUTH_ACCESS_TOKEN_SECONDS"),
    ({"access_token_seconds": "3601"}, "GQLAUTH_ACCESS_TOKEN_SECONDS"),
    ({"refresh_token_seconds": "-1"}, "GQLAUTH_REFRESH_TOKEN_SECONDS"),
    ({"password_min_length": "7"}, "GQLAUTH_PASSWORD_MIN_LENGTH"),
    ({"issuer": ""}, "GQLAUTH_ISSUER"),
    ({"issuer": "https://id.example\r\nSet-Cookie: a=b"}, "GQLAUTH_ISSUER must not contain control characters"),
    ({"issuer": "https://id.example /"}, "GQLAUTH_ISSUER must not be empty or contain blanks"),
    ({"audience": "shop\n"}, "GQLAUTH_AUDIENCE must not contain control characters"),
    ({"audience": "shop\u2028"}, "GQLAUTH_AUDIENCE must not contain control characters"),
    ({"audience": "\udcff"}, "GQLAUTH_AUDIENCE must not contain control characters"),
    ({"algorithm": "HS256", "secret_key": f"{SECRET}\udcff"}, "GQLAUTH_SECRET_KEY must not contain control characters"),
    ({"graphiql_assets": "/srv\x1b[2J"}, "GQLAUTH_GRAPHIQL_ASSETS must not contain control characters"),
    ({"database_url": "sqlite:///a\nb.db"}, "GQLAUTH_DATABASE_URL must not contain control characters"),
    ({"table_prefix": "auth\n"}, "GQLAUTH_TABLE_PREFIX"),
    ({"cors_origins": "https://me:hunter2@app.example/"}, "GQLAUTH_CORS_ORIGINS: app.example/ is not an origin"),
    ({"cors_origins": "https://app.example\x00.evil.example"}, "GQLAUTH_CORS_ORIGINS must not contain control"),
    *(({"public_url": url}, "GQLAUTH_PUBLIC_URL must be a scheme and a host") for url in BAD_URLS),
    *(
        ({"public_url": f"https://id.example{end}"}, "GQLAUTH_PUBLIC_URL must not contain control")
        for end in "\n\r\t\0"
    ),
    *(
        ({"environment": "production", "trusted_proxies": proxies}, f"GQLAUTH_TRUSTED_PROXIES: {at_fault} ")
        for proxies, at_fault in BAD_PROXIES.items()
    ),
    ({"environment": "production", "algoritm": "ES256"}, "nothing reads GQLAUTH_ALGORITM"),
    ({"graphiql": "maybe"}, "GQLAUTH_GRAPHIQL"),
    ({"stateless": "maybe"}, "GQLAUTH_STATELESS"),
    ({"max_depth": "0"}, "GQLAUTH_MAX_DEPTH"),
    ({"max_body_bytes": "100 kB"}, "GQLAUTH_MAX_BODY_BYTES"),
]


def read(variables: dict[str, str]) -> Settings:
    return Settings.from_environ({f"GQLAUTH_{name.upper()}": value for name, value in variables.items()})


@pytest.mark.parametrize(("variables", "message"), BAD)
def test_an_unsafe_or_meaningless_setting_is_refused_by_its_name(variables: dict[str, str], message: str) -> None:
    """RFC 8725 section 3.5; RFC 6750 section 5.3; GHSA-8fpg-xm3f-6cx3: checks failed open on a wrong configuration."""
    with pytest.raises(ConfigurationError) as caught:
        read(variables)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    for name in ("secret_key", "key_encryption_key"):
        assert not variables.get(name) or variables[name] not in str(caught.value)


CODE: list[dict[str, Any]] = [
    {"algorithm": "none"},
    {"access_token_seconds": -5},
    {"access_token_seconds": "900"},
    {"environment": "prod"},
    {"stateless": "off"},
    {"cors_origins": ("*",)},
    {"algorithm": "HS256", "secret_key": b"bytes"},
]


@pytest.mark.parametrize("values", CODE)
def test_settings_written_in_code_are_checked_too(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Settings(**values)


@pytest.mark.parametrize(
    ("variables", "name", "value"),
    [
        ({}, "algorithm", "ES256"),
        ({"algorithm": "EdDSA"}, "algorithm", "EdDSA"),
        ({"algorithm": "HS256", "secret_key": SECRET}, "secret_key", SECRET),
        ({"stateless": "on"}, "stateless", True),
        ({"stateless": "1"}, "stateless", True),
        ({"stateless": "OFF"}, "stateless", False),
        ({"graphiql": ""}, "graphiql", None),
        (
            {"cors_origins": " https://a.example , http://localhost:5173,"},
            "cors_origins",
            ("https://a.example", "http://localhost:5173"),
        ),
        ({"cors_origins": ""}, "cors_origins", ()),
        ({"bcrypt_cost": "4", "environment": "test"}, "bcrypt_cost", 4),
        ({"public_url": "https://id.example:8443"}, "public_url", "https://id.example:8443"),
        ({"public_url": "http://[::1]:8000"}, "public_url", "http://[::1]:8000"),
        (
            {"environment": "production", "trusted_proxies": "127.0.0.1,10.0.0.0/8,::1,fd00::/8,::ffff:10.0.0.0/104"},
            "trusted_proxies",
            ("127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8", "::ffff:10.0.0.0/104"),
        ),
        ({"access_token_seconds": "60"}, "access_token_seconds", 60),
    ],
)
def test_a_variable_is_read(variables: dict[str, str], name: str, value: object) -> None:
    assert getattr(read(variables), name) == value


def test_the_drivers_of_a_postgresql_url_are_ours() -> None:
    for scheme in ("postgres", "postgresql", "postgresql+asyncpg"):
        assert read({"database_url": f"{scheme}://u:p@h/d"}).url.drivername == "postgresql+psycopg"


def test_production_closes_what_development_opens() -> None:
    development, production = read({}), read({"environment": "production"})
    assert (development.serves_graphiql, development.allows_introspection) == (True, True)
    assert (production.serves_graphiql, production.allows_introspection) == (False, False)
    opened = read({"environment": "production", "graphiql": "on", "introspection": "on"})
    assert (opened.serves_graphiql, opened.allows_introspection) == (True, True)


def test_production_on_postgresql_wants_its_keys_encrypted_or_shared() -> None:
    production = {"environment": "production", "database_url": POSTGRESQL}
    assert read({**production, "key_encryption_key": SECRET}).production
    assert read({**production, "algorithm": "HS256", "secret_key": SECRET}).production


def test_variables_that_nothing_reads_are_found() -> None:
    environ = {"GQLAUTH_ALGORITM": "ES256", "GQLAUTH_ALGORITHM": "ES256", "OTHER": "x"}
    assert Settings.unknown(environ) == ["GQLAUTH_ALGORITM"]


def test_every_setting_is_described_and_no_secret_is_shown() -> None:
    """ASVS 16.2.5."""
    secrets = {
        "algorithm": "HS256",
        "secret_key": SECRET,
        "key_encryption_key": SECRET,
        "database_url": f"{POSTGRESQL}?password={SECRET[0]}",
    }
    rows = {row.variable: row for row in describe(read(secrets))}
    assert list(rows) == [f"GQLAUTH_{name.upper()}" for name in Settings.__struct_fields__]
    assert all(row.description.endswith(".") for row in rows.values())
    assert SECRET not in repr(rows)
    assert rows["GQLAUTH_SECRET_KEY"].value == rows["GQLAUTH_KEY_ENCRYPTION_KEY"].value == "(set)"
    assert rows["GQLAUTH_DATABASE_URL"].value == "postgresql://user:***@db.example/app"
