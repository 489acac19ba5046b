"""The mapped classes: gqlauth's own, or those around a host's class for its users."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import DeclarativeBase

from gqlauth.columns import NAMING
from gqlauth.errors import ConfigurationError
from gqlauth.keys.models import KeyColumns, only_one_signs
from gqlauth.sessions.models import SessionColumns
from gqlauth.users.models import GrantColumns, UserColumns


@dataclass(frozen=True, slots=True)
class Models:
    """The four classes that every service asks for. `is_host` tells whether the tables are the host's to migrate."""

    User: type[UserColumns]
    Grant: type[GrantColumns]
    Session: type[SessionColumns]
    Key: type[KeyColumns]
    prefix: str
    is_host: bool

    @property
    def tables(self) -> list[sa.Table]:
        """The four tables, in the order in which they can be created."""
        return [cast("sa.Table", model.__table__) for model in (self.User, self.Grant, self.Session, self.Key)]

    @property
    def metadata(self) -> sa.MetaData:
        """What the tables are part of."""
        return self.tables[0].metadata

    @property
    def schema(self) -> str | None:
        """The PostgreSQL schema of the tables; None for the connection's own."""
        return self.tables[0].schema


# Each class can be mapped once: two servers in one process share them.
@cache
def create_models(user: type[UserColumns] | None = None, prefix: str = "", schema: str | None = None) -> Models:
    """Map our tables, named with `prefix`, in `schema` (PostgreSQL).

    With a host's own class for users, they go into its metadata and into the schema of its table; else into a metadata
    of their own. Raises `ConfigurationError` if the host's class or its other tables leave no room for ours.
    """
    metadata = sa.MetaData(naming_convention=NAMING) if user is None else _metadata_of(user)
    base = type("Base", (DeclarativeBase,), {"metadata": metadata})

    def mapped(name: str, columns: type, table: str, *args: Any, **attributes: Any) -> Any:
        names = {"__tablename__": prefix + table, "__table_args__": (*args, {"schema": schema})}
        try:
            return type(name, (columns, base), {"__module__": columns.__module__, **names, **attributes})
        except InvalidRequestError:
            text = f"there is a table {prefix}{table} already in the metadata of {user}: set GQLAUTH_TABLE_PREFIX"
            raise ConfigurationError(text) from None

    own: type[UserColumns] = user or mapped("User", UserColumns, "users")
    schema = cast("sa.Table", own.__table__).schema
    return Models(
        User=own,
        Grant=mapped("Grant", GrantColumns, "grants", __user__=own),
        Session=mapped("Session", SessionColumns, "sessions", __user__=own),
        Key=mapped("Key", KeyColumns, "signing_keys", only_one_signs(f"{prefix}signing_keys")),
        prefix=prefix,
        is_host=user is not None,
    )


def _metadata_of(user: type[UserColumns]) -> sa.MetaData:
    table = getattr(user, "__table__", None)
    if not isinstance(table, sa.Table) or not issubclass(user, UserColumns):
        raise ConfigurationError(f"{user} is not a mapped class with gqlauth.UserColumns")
    return table.metadata
