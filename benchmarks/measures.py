"""What is measured of a running server. Nothing here is pass or fail: the table says what is asked of each figure."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import bcrypt

from benchmarks.load import Connection, encode, rate
from benchmarks.subjects import ACCOUNTS, PASSWORD, Subject, account, free_port, running, serve, settings

ME = json.dumps({"query": "query Me { me { id email name } }"})
CONNECTIONS = 32
COST = 12
LOGINS = 24
STORM = 64
PROBE_PAUSE_SECONDS = 0.005

assert ACCOUNTS >= STORM


def me(subjects: Sequence[Subject], rounds: int, seconds: float) -> dict[str, float]:
    """Return each subject's `me` per second, the median of rounds that alternate: A B C A B C."""
    many = [subject for subject in subjects if subject.tokens != subject.token]
    runs = [(subject.name, subject.port, subject.token) for subject in subjects]
    runs += [(several(subject), subject.port, subject.tokens) for subject in many]
    for subject in subjects:
        _check(subject)
        asyncio.run(_warm_up(subject))
    rates: dict[str, list[float]] = {name: [] for name, _, _ in runs}
    for _ in range(rounds):
        for name, port, tokens in runs:
            rates[name].append(rate(port, ME, tokens, connections=CONNECTIONS, seconds=seconds))
    return {name: statistics.median(values) for name, values in rates.items()}


def several(subject: Subject) -> str:
    """Return the name of the run with 10,000 different tokens."""
    return f"{subject.name}, 10,000 tokens"


def _check(subject: Subject) -> None:
    """Raise unless the subject really answers `me`, so that no error page is measured."""
    status, body = asyncio.run(_ask(subject.port, encode(ME, _first_token(subject))))
    if status != 200 or json.loads(body)["data"]["me"]["email"] != "ada@example.com":
        raise RuntimeError(f"{subject.name} answers {status} {body!r}")


async def _warm_up(subject: Subject) -> None:
    """Show every token once, and ask at least a thousand times, so that nothing is new in the rounds."""
    tokens = subject.tokens.read_text().split()
    requests = islice(cycle([encode(ME, token) for token in tokens]), max(1000, len(tokens)))

    async def client() -> None:
        connection = await Connection.open(subject.port)
        for request in requests:
            await connection.ask(request)
        connection.close()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))


def _first_token(subject: Subject) -> str:
    return subject.token.read_text()


async def _ask(port: int, request: bytes) -> tuple[int, bytes]:
    connection = await Connection.open(port)
    try:
        return await connection.ask(request)
    finally:
        connection.close()


def logins(subject: Subject, rounds: int) -> tuple[float, float]:
    """Return logins per second and plain bcrypt hashes per second, in alternating rounds."""
    measured = [(_timed_hashes(), asyncio.run(_login(subject.port, LOGINS))) for _ in range(rounds)]
    hashing, login = (statistics.median(seconds) for seconds in zip(*measured, strict=True))
    return LOGINS / login, LOGINS / hashing


def _timed_hashes() -> float:
    begin = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda _: bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(COST)), range(LOGINS)))
    return time.perf_counter() - begin


async def _login(port: int, number: int) -> float:
    """Log this many accounts in at once; return the seconds until the last answer."""
    begin = time.perf_counter()
    answers = await asyncio.gather(
        *(_ask(port, encode(_credentials("login", account(one)), "")) for one in range(number))
    )
    for status, body in answers:
        if status != 200 or b"accessToken" not in body:
            raise RuntimeError(f"a login answers {status} {body!r}")
    return time.perf_counter() - begin


def _credentials(operation: str, email: str) -> str:
    """Return the body of a `login` or `signup`."""
    kind = f"{operation.capitalize()}Input"
    document = f"mutation ($input: {kind}!) {{ {operation}(input: $input) {{ ... on AuthPayload {{ accessToken }} }} }}"
    return json.dumps({"query": document, "variables": {"input": {"email": email, "password": PASSWORD}}})


def storm(subject: Subject) -> float:
    """Return the p99 of `me`, in milliseconds, asked every few milliseconds while 64 logins run."""
    request = encode(ME, _first_token(subject))

    async def run() -> list[float]:
        connection, taken = await Connection.open(subject.port), []
        logging_in = asyncio.create_task(_login(subject.port, STORM))
        while not logging_in.done():
            begin = time.perf_counter()
            await connection.ask(request)
            taken.append(time.perf_counter() - begin)
            await asyncio.sleep(PROBE_PAUSE_SECONDS)
        await logging_in
        connection.close()
        return taken

    return statistics.quantiles(asyncio.run(run()), n=100)[98] * 1000


def starved(subject: Subject, rounds: int) -> float:
    """Return how many times as long a login takes while every core is busy with something else."""
    alone = statistics.median(asyncio.run(_login(subject.port, 1)) for _ in range(rounds))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        return statistics.median(asyncio.run(_login(subject.port, 1)) for _ in range(rounds)) / alone
    finally:
        for process in busy:
            process.kill()
            process.wait()


def memory(process: subprocess.Popen[bytes]) -> float:
    """Return the resident memory of a process in MB."""
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(process.pid)], check=True, capture_output=True).stdout
    return int(shown) * 1024 / 1e6


def start(database_url: str, rounds: int, *, fresh: bool, folder: Path) -> tuple[float, float]:
    """Return the seconds from starting to the first answer, and the memory in MB after some load: medians."""
    measured = []
    for number in range(rounds):
        url = f"sqlite:///{folder}/start-{number}.db" if fresh else database_url
        measured.append(_start(url, f"start{number}@example.com", folder))
    seconds, rss = (statistics.median(values) for values in zip(*measured, strict=True))
    return seconds, rss


def _start(database_url: str, email: str, folder: Path) -> tuple[float, float]:
    port, token = free_port(), folder / "start.token"
    begin = time.perf_counter()
    with running(serve(port), port, **settings(database_url)) as process:
        asyncio.run(_ask(port, encode(json.dumps({"query": "{ __typename }"}), "")))
        seconds = time.perf_counter() - begin
        _, body = asyncio.run(_ask(port, encode(_credentials("signup", email), "")))
        token.write_text(json.loads(body)["data"]["signup"]["accessToken"])
        rate(port, ME, token, connections=CONNECTIONS, seconds=1)
        return seconds, memory(process)
