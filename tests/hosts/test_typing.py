"""What mypy sees of a host's class: checked strictly, over a small application."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = "gqlauth.users.models.UserColumns"
HOST = """
import strawberry
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import gqlauth
from gqlauth import Auth, Context, Settings, Signup

class Base(DeclarativeBase):
    pass

class Customer(gqlauth.UserColumns, Base):
    __tablename__ = "customers"
    points: Mapped[int] = mapped_column(default=0)

class MyContext(Context[Customer]):
    extra = 1

def check(signup: Signup[Customer]) -> None:
    signup.user.points = 100
    signup.user.pints = 100  # an error

async def resolver(info: strawberry.Info[MyContext, None]) -> int:
    customer = await info.context.load_user()
    reveal_type(customer)
    reveal_type(info.context.viewer)
    customer.pints  # an error
    return customer.points

def other(signup: Signup[gqlauth.UserColumns]) -> None: ...
def not_a_signup(signup: str) -> None: ...

auth = Auth(Settings(), user=Customer, context=MyContext, before_signup=check)
reveal_type(auth)
plain = Auth(Settings())
reveal_type(plain)
Auth(Settings(), user=Customer, before_signup=not_a_signup)  # an error
Auth(Settings(), user=Base)  # an error
"""


def test_mypy_sees_the_hosts_class(tmp_path: Path) -> None:
    file = tmp_path / "host.py"
    file.write_text(HOST)
    options = [
        "--strict",
        "--no-error-summary",
        "--no-pretty",
        "--config-file=",
        f"--cache-dir={ROOT}/.mypy_cache/hosts",
    ]
    # A process of its own: mypy changes the recursion limit of the one that it runs in.
    done = subprocess.run([sys.executable, "-m", "mypy", *options, str(file)], capture_output=True, text=True)
    assert done.stderr == ""
    # The path is that of the run that filled the cache.
    found = re.findall(r"host\.py:(\d+): (error|note): (.*)", done.stdout)
    assert [text for _, kind, text in found if kind == "note"] == [
        'Revealed type is "host.Customer"',
        'Revealed type is "gqlauth.context.Viewer"',
        'Revealed type is "gqlauth.auth.Auth[host.Customer, host.MyContext]"',
        f'Revealed type is "gqlauth.auth.Auth[{OURS}, gqlauth.context.Context[{OURS}]]"',
    ]
    wrong = [number for number, line in enumerate(HOST.splitlines(), 1) if line.endswith("# an error")]
    assert [int(number) for number, kind, _ in found if kind == "error"] == wrong
