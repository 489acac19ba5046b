"""Load on one address: by wrk where it is installed, else by a small generator of our own in its own process."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

LUA = Path(__file__).with_name("load.lua")


def rate(port: int, body: str, tokens: Path, *, connections: int, seconds: float) -> float:
    """Return the answered requests per second of one round. Raise if any failed."""
    if wrk := shutil.which("wrk"):
        url = f"http://127.0.0.1:{port}/graphql"
        duration = f"{max(1, round(seconds))}s"
        command = [wrk, "-t1", f"-c{connections}", f"-d{duration}", "-s", str(LUA), url, "--", body, str(tokens)]
    else:
        command = [sys.executable, "-m", "benchmarks.load", str(port), body, str(tokens), str(connections)]
        command.append(str(seconds))
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result = json.loads(output.splitlines()[-1])
    if result["failed"]:
        raise RuntimeError(f"{result['failed']} of {result['requests']} requests failed on port {port}")
    return float(result["requests"] / result["seconds"])


def encode(body: str, token: str) -> bytes:
    """Return one whole HTTP request."""
    data = body.encode()
    head = (
        "POST /graphql HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {token}\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


class Connection:
    """One kept-alive connection that asks and waits, as a client does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send one request; return the answer's status and body."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        if b"transfer-encoding: chunked" in head:
            return status, await self._chunks()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        return status, await self._reader.readexactly(length)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return body

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def _generate(port: int, requests: list[bytes], connections: int, seconds: float) -> dict[str, float]:
    begin = time.perf_counter()
    answered = failed = 0

    async def client(turn: int) -> None:
        nonlocal answered, failed
        connection = await Connection.open(port)
        while time.perf_counter() - begin < seconds:
            turn = (turn + connections) % len(requests)
            status, _ = await connection.ask(requests[turn])
            answered += 1
            failed += status != 200
        connection.close()

    await asyncio.gather(*(client(number) for number in range(connections)))
    return {"requests": answered, "seconds": time.perf_counter() - begin, "failed": failed}


def main(port: str, body: str, tokens: str, connections: str, seconds: str) -> None:
    """Be the generator: print one JSON line, as load.lua does."""
    requests = [encode(body, token) for token in Path(tokens).read_text().split()]
    print(json.dumps(asyncio.run(_generate(int(port), requests, int(connections), float(seconds)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
