"""The command line as a process of its own, and a server that runs in one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Self

GQLAUTH = str(Path(sys.executable).with_name("gqlauth"))
TIMEOUT = 20


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with exactly these `GQLAUTH_*` variables, given without their prefix."""
    # Modules are compiled once, not at each start.
    left_out = ("GQLAUTH_", "PYTHONDONTWRITEBYTECODE")
    own = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return own | {f"GQLAUTH_{name.upper()}": value for name, value in variables.items()}


def run(*arguments: str, folder: Path, stdin: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `gqlauth` in a folder until it ends."""
    return subprocess.run(
        [GQLAUTH, *arguments],
        cwd=folder,
        env=environment(**variables),
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


class Server:
    """A running `gqlauth serve`."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self.process = process
        self._errors = errors
        self.output: list[str] = []
        self.url = ""

    def wait_until_listening(self) -> Self:
        """Read what it says up to its address."""
        assert self.process.stdout is not None
        for line in iter(self.process.stdout.readline, ""):
            self.output.append(line.rstrip("\n"))
            if line.startswith("listening"):
                self.url = line.split()[1]
                return self
        raise AssertionError(f"it did not start: {self.errors()}")

    @property
    def root(self) -> str:
        """The address without the path of the API."""
        return self.url.removesuffix("/graphql")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.root.removeprefix("http://").rpartition(":")
        return host, int(port)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Send a signal, wait for the end, and return what it wrote on standard error."""
        assert self.process.stdout is not None
        self.process.send_signal(number)
        self.process.wait(TIMEOUT)
        self.output += self.process.stdout.read().splitlines()
        return self.errors()

    def errors(self) -> str:
        """Return what it has written on standard error."""
        self._errors.seek(0)
        return self._errors.read()


def serving(folder: Path, *arguments: str, **variables: str) -> AbstractContextManager[Server]:
    """Run `gqlauth serve` on a free port for the time of the block."""
    return serving_by((GQLAUTH,), folder, *arguments, **variables)


@contextmanager
def serving_by(program: tuple[str, ...], folder: Path, *arguments: str, **variables: str) -> Iterator[Server]:
    """The same, by another program than the plain command."""
    # Standard error goes to a file: a pipe that nobody reads would fill and stop the server.
    with TemporaryFile("w+") as errors:
        command = [*program, "serve", "--port", "0", *arguments]
        with subprocess.Popen(
            command, cwd=folder, env=environment(**variables), stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            try:
                yield Server(process, errors).wait_until_listening()
            finally:
                if process.poll() is None:
                    process.kill()
