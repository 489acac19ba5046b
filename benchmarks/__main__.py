"""`python -m benchmarks`: start every server, measure, print a table of ratios."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measures
from benchmarks.subjects import Subject, floor, gqlauth, has_node, new_database, postgresql

SQLITE, POSTGRESQL = "gqlauth on SQLite", "gqlauth on PostgreSQL"


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure, and what is asked of it."""

    what: str
    value: float
    asked: float | None = None
    at_most: bool = False
    unit: str = ""

    def __str__(self) -> str:
        asked, mark = "", ""
        if self.asked is not None:
            fine = self.value <= self.asked if self.at_most else self.value >= self.asked
            asked, mark = f"{'<=' if self.at_most else '>='} {self.asked:g}", "" if fine else "  MISSED"
        return f"{self.what:<58}{self.value:>10,.2f} {self.unit:<4}{asked:>9}{mark}"


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement (default: 5)")
    parser.add_argument("--seconds", type=int, default=2, help="seconds of one round of `me` (default: 2)")
    parser.add_argument("--only", choices=["me", "logins", "start"], help="measure only this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gqlauth-benchmarks-") as folder, ExitStack() as stack:
        for row in measure(options, Path(folder), stack):
            print(row, flush=True)


def measure(options: argparse.Namespace, folder: Path, stack: ExitStack) -> Iterator[Row | str]:
    """Yield the lines of the table as they are known."""
    database = f"sqlite:///{folder}/gqlauth.db"
    sqlite = stack.enter_context(gqlauth(SQLITE, database, folder))
    server = stack.enter_context(postgresql(folder))
    postgres = stack.enter_context(gqlauth(POSTGRESQL, new_database(server), folder)) if server else None
    if options.only in (None, "me"):
        floors = [stack.enter_context(floor(name, folder)) for name in ("bare", "starlette", "strawberry")]
        if has_node():
            floors.append(stack.enter_context(floor("yoga", folder)))
        ours = [subject for subject in (sqlite, postgres) if subject]
        yield from compare(measures.me([*floors, *ours], options.rounds, options.seconds), ours)
        yield ""
        for subject in ours:
            yield Row(f"memory of {subject.name} after that load", measures.memory(subject.process), 90, True, "MB")
    if options.only in (None, "logins"):
        yield from hashing(sqlite, options.rounds)
    if options.only in (None, "start"):
        yield from starting(database, folder, options.rounds)


def compare(rates: dict[str, float], ours: list[Subject]) -> Iterator[Row | str]:
    """Yield what each subject did, and ours as ratios of the floors."""
    yield f"me at {measures.CONNECTIONS} connections, one worker"
    for name, value in rates.items():
        yield Row(f"  {name}", value, unit="/s")
    for subject in ours:
        yield Row(f"{subject.name} / bare ASGI", rates[subject.name] / rates["bare"], 0.15)
        yield Row(f"{subject.name} / Starlette JSON route", rates[subject.name] / rates["starlette"])
        yield Row(f"{subject.name} / Strawberry as documented", rates[subject.name] / rates["strawberry"], 15)
        if "yoga" in rates:
            yield Row(f"{subject.name} / graphql-yoga", rates[subject.name] / rates["yoga"], 1.5)
        many = measures.several(subject)
        yield Row(f"{many} / one token", rates[many] / rates[subject.name])


def hashing(subject: Subject, rounds: int) -> Iterator[Row]:
    """Yield what a login costs, and what it costs others."""
    login, hashes = measures.logins(subject, min(rounds, 3))
    yield Row(f"logins at cost {measures.COST}", login, unit="/s")
    yield Row("logins / what the cores can hash", login / hashes, 0.9)
    yield Row(f"p99 of me during {measures.STORM} logins at once", measures.storm(subject), 10, True, "ms")
    yield Row("a login while every core is busy / alone", measures.starved(subject, min(rounds, 3)), 20, True)


def starting(database: str, folder: Path, rounds: int) -> Iterator[Row]:
    """Yield start and memory, with a database that exists and with none."""
    for fresh, name in ((True, "no database yet"), (False, "a database of 10,000 sessions")):
        seconds, rss = measures.start(database, rounds, fresh=fresh, folder=folder)
        yield Row(f"start to first answer, {name}", seconds, 1.5, True, "s")
        yield Row(f"memory after that start and some load, {name}", rss, 90, True, "MB")


if __name__ == "__main__":
    main()
