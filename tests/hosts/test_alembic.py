"""A host's own Alembic history: with our tables in it, or beside ours. The `env.py` are those of docs/database.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from gqlauth import Settings
from tests.docs import blocks, page
from tests.processes import TIMEOUT, environment, run

ALEMBIC = str(Path(sys.executable).with_name("alembic"))
_, BESIDE, TOGETHER = blocks(page("docs/database.md"), "python")
OWN_USER = blocks(page("docs/own-user.md"), "python")[0]
PLAIN = """
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from gqlauth import Auth

class Base(DeclarativeBase):
    pass

class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)

auth = Auth()
"""
OURS = {"grants", "sessions", "signing_keys"}


class Project:
    """A host's folder with its application and its migrations."""

    def __init__(self, folder: Path, settings: Settings, **variables: str) -> None:
        self.folder = folder
        self.url = settings.url
        self.variables = {"environment": "test", "bcrypt_cost": "4", "database_url": settings.database_url} | variables

    def begin(self, application: str, env: str) -> None:
        (self.folder / "shop.py").write_text(application)
        self.alembic("init", "migrations")
        (self.folder / "migrations" / "env.py").write_text(env)

    def alembic(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [ALEMBIC, *arguments],
            cwd=self.folder,
            env=environment(**self.variables) | {"PYTHONPATH": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def revise(self, message: str) -> str:
        """Write the revision that is due, and return it."""
        self.alembic("revision", "--autogenerate", "-m", message)
        [path] = (self.folder / "migrations" / "versions").glob(f"*_{message}.py")
        return path.read_text()

    def gqlauth(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run("--app", "shop:auth", *arguments, folder=self.folder, **self.variables)

    def execute(self, statement: str) -> None:
        engine = sa.create_engine(self.url)
        try:
            with engine.begin() as connection:
                connection.execute(sa.text(statement))
        finally:
            engine.dispose()


@pytest.fixture
def project(settings: Settings, tmp_path: Path) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder, settings)


def test_a_hosts_history_makes_our_tables_as_they_are_wanted(project: Project) -> None:
    project.begin(OWN_USER, TOGETHER)
    script = project.revise("customers")
    for table in {"customers", "orders"} | OURS:
        assert f"create_table('{table}'" in script
    assert "gqlauth" not in script.partition("def upgrade")[2], "it runs without our types"
    project.alembic("upgrade", "head")
    assert "No new upgrade operations" in project.alembic("check")
    assert project.gqlauth("db", "upgrade").stdout.startswith("all there")
    # The database's word that one key signs is in the script as well.
    insert = "INSERT INTO signing_keys VALUES ('{}', 'ES256', 'pem', '2026-01-01', NULL)"
    project.execute(insert.format("first"))
    with pytest.raises(sa.exc.IntegrityError):
        project.execute(insert.format("second"))
    project.alembic("downgrade", "base")
    lacking = "the database lacks customers, grants, sessions, signing_keys; run the migrations of your application\n"
    assert project.gqlauth("db", "current").stdout == lacking


def test_a_column_that_is_missing_is_told_by_its_name(project: Project) -> None:
    project.begin(OWN_USER, TOGETHER)
    project.revise("customers")
    project.alembic("upgrade", "head")
    project.execute("ALTER TABLE customers DROP COLUMN company")
    project.execute("ALTER TABLE sessions DROP COLUMN user_agent")
    line = "the database lacks customers.company, sessions.user_agent; run the migrations of your application"
    assert project.gqlauth("db", "upgrade").stderr == f"gqlauth: {line}\n"
    assert f"WRONG migrations: {line}\n" in project.gqlauth("doctor").stdout
    assert "add_column('customers', sa.Column('company', sa.String(length=100)" in project.revise("back")


@pytest.mark.parametrize("prefix", ["", "web_"])
def test_a_history_beside_ours_leaves_our_tables_alone(project: Project, prefix: str) -> None:
    project.variables["table_prefix"] = prefix
    project.begin(PLAIN, BESIDE)
    assert project.gqlauth("db", "upgrade").stdout.startswith("upgraded to")
    script = project.revise("orders")
    assert "create_table('orders'" in script
    assert "users" not in script
    assert "drop" not in script.partition("def downgrade")[0]
    project.alembic("upgrade", "head")
    # Without the line they would be dropped; a table of nobody's still is told.
    project.execute("CREATE TABLE leftover (id INTEGER)")
    assert "leftover" in (told := project.alembic("check", code=255))
    assert "users" not in told
    assert project.gqlauth("db", "current").stdout == "0001\n"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_history_beside_ours_leaves_our_schema_alone(project: Project) -> None:
    project.variables["table_schema"] = "accounts"
    project.begin(PLAIN, BESIDE.replace("include_name=", "include_schemas=True, include_name="))
    assert project.gqlauth("db", "upgrade").stdout.startswith("upgraded to")
    # A table that is named like one of ours, but is not where ours are, is the host's.
    project.execute("CREATE TABLE users (id INTEGER)")
    script = project.revise("orders")
    assert "drop_table('users')" in script
    assert "accounts" not in script
