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
    """The four classes that every service asks for. `host_migrates` tells whose migrations make their tables."""

    User: type[UserColumns]
    Grant: type[GrantColumns]
    Session: type[SessionColumns]
    Key: type[KeyColumns]
    prefix: str
    host_migrates: bool

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

    With a host's own class for users, they go into its metadata and beside its table, whatever schema that is in; else
    into a metadata of their own. Raises `ConfigurationError` if the host's class or its tables leave no room for ours.
    """
    if user is None:
        metadata = sa.MetaData(naming_convention=NAMING)
        own: type[UserColumns] = _map("User", UserColumns, metadata, f"{prefix}users", schema)
    else:
        own, table = user, _host_table(user, schema)
        metadata, schema = table.metadata, table.schema
    keys = f"{prefix}signing_keys"
    return Models(
        User=own,
        Grant=_map("Grant", GrantColumns, metadata, f"{prefix}grants", schema, __user__=own),
        Session=_map("Session", SessionColumns, metadata, f"{prefix}sessions", schema, __user__=own),
        Key=_map("Key", KeyColumns, metadata, keys, schema, only_one_signs(keys)),
        prefix=prefix,
        host_migrates=user is not None,
    )


def _map(
    name: str, columns: type, metadata: sa.MetaData, table: str, schema: str | None, *parts: Any, **attributes: Any
) -> Any:
    """Return a mapped class of these columns; `parts` are what its table has besides, `attributes` what the class."""
    base = type("Base", (DeclarativeBase,), {"metadata": metadata})
    told = {"__module__": columns.__module__, "__tablename__": table, "__table_args__": (*parts, {"schema": schema})}
    try:
        return type(name, (columns, base), told | attributes)
    except InvalidRequestError:
        raise ConfigurationError(
            f"your metadata has a table {table} already, which gqlauth would make: set GQLAUTH_TABLE_PREFIX"
        ) from None


def _host_table(user: type[UserColumns], schema: str | None) -> sa.Table:
    table = getattr(user, "__table__", None)
    if not isinstance(table, sa.Table) or not issubclass(user, UserColumns):
        raise ConfigurationError(f"{user} is not a mapped class with gqlauth.UserColumns")
    if schema not in (None, table.schema):
        raise ConfigurationError(f"GQLAUTH_TABLE_SCHEMA is {schema}, but {table.fullname} is your own: set it there")
    return table
