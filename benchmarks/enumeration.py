"""`python -m benchmarks.enumeration`: does the time of a login tell whether there is an account?

Logs in at cost 12 as nobody, with a wrong password and as a disabled account, in turn, and compares the times. Limits
are off: they would answer most of it, and it is the login itself that is looked at. Takes some two minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import random
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.load import Connection, encode
from benchmarks.subjects import PASSWORD, Subject, account, gqlauth
from gqlauth import Settings
from gqlauth.accounts.service import disable_user
from gqlauth.runtime import create_runtime

SAMPLES = 100
WARM_UP = 5
SIGNIFICANT = 0.01
DISABLED = account(1)
LOGIN = "mutation Login($input: LoginInput!) { login(input: $input) { __typename ... on AuthError { code } } }"
KINDS = {
    "unknown e-mail": ("nobody@example.com", PASSWORD),
    "wrong password": (account(0), "another horse battery"),
    "disabled account": (DISABLED, PASSWORD),
}


def median_deviation(values: list[float]) -> float:
    """Return the median absolute deviation from the median."""
    middle = statistics.median(values)
    return statistics.median(abs(value - middle) for value in values)


def p_value(first: list[float], second: list[float]) -> float:
    """Return how likely two samples of one thing differ as much as these (Mann and Whitney's U test)."""
    ordered = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    rank_sum = sum(rank for rank, (_, side) in enumerate(ordered, 1) if side == 0)
    one, other = len(first), len(second)
    u = rank_sum - one * (one + 1) / 2
    z = (u - one * other / 2) / math.sqrt(one * other * (one + other + 1) / 12)
    return math.erfc(abs(z) / math.sqrt(2))


async def measure(subject: Subject, samples: int) -> dict[str, list[float]]:
    """Return the milliseconds of each kind of login, asked for in an order that is new in each round."""
    connection = await Connection.open(subject.port)
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    answers = set()
    for number in range(WARM_UP + samples):
        for kind in random.sample(sorted(KINDS), len(KINDS)):
            email, password = KINDS[kind]
            body = json.dumps({"query": LOGIN, "variables": {"input": {"email": email, "password": password}}})
            request = encode(body, "")
            begin = time.perf_counter()
            status, answer = await connection.ask(request)
            if number >= WARM_UP:
                taken[kind].append((time.perf_counter() - begin) * 1000)
            answers.add((status, answer))
    connection.close()
    if len(answers) != 1 or b"INVALID_CREDENTIALS" not in answers.pop()[1]:
        raise RuntimeError("the answers differ")
    return taken


def disable(database_url: str) -> None:
    """Disable one of the accounts."""
    runtime = create_runtime(Settings(database_url=database_url))
    if not disable_user(runtime, DISABLED):
        raise RuntimeError("there is no account to disable")
    runtime.database.dispose()


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enumeration", description=__doc__)
    parser.add_argument("--samples", type=int, default=SAMPLES, help=f"logins of each kind (default: {SAMPLES})")
    samples = parser.parse_args().samples
    with tempfile.TemporaryDirectory(prefix="gqlauth-enumeration-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/gqlauth.db"
        with gqlauth("gqlauth", url, folder) as subject:
            disable(url)
            taken = asyncio.run(measure(subject, samples))
    for kind, values in taken.items():
        print(f"{kind:<38} median {statistics.median(values):7.2f} ms, MAD {median_deviation(values):5.2f} ms")
    for first, second in itertools.combinations(taken, 2):
        difference = abs(statistics.median(taken[first]) - statistics.median(taken[second]))
        noise = max(median_deviation(taken[first]), median_deviation(taken[second]))
        p = p_value(taken[first], taken[second])
        verdict = "DIFFERENT" if p < SIGNIFICANT and difference > noise else "no difference"
        print(
            f"{first} / {second}".ljust(38),
            f"{difference:6.2f} ms apart, {difference / noise:.2f} MAD, p={p:.2f}: {verdict}",
        )


if __name__ == "__main__":
    main()
