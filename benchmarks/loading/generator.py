"""Requests over raw HTTP/1.1 connections that stay open: as many as can be answered, or so many a second."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

TIMEOUT_S = 60.0
_OK = b"200"


@dataclass(frozen=True)
class Load:
    """One kind of request, over how many connections, for how long (0 seconds: each connection asks once)."""

    port: int
    request: bytes
    connections: int
    seconds: float


@dataclass(frozen=True)
class Figures:
    """What came of a load; ``n_errors`` counts answers that were not 200, and connections that broke."""

    per_s: float
    p50_ms: float
    p99_ms: float
    longest_ms: float
    n_requests: int
    n_errors: int


@dataclass
class Tally:
    """Times and errors as they come."""

    times_s: list[float] = field(default_factory=list)
    n_errors: int = 0

    def figures(self, elapsed_s: float) -> Figures:
        """Sum up."""
        times_ms = 1e3 * np.array(self.times_s or [float("nan")])
        p50, p99 = (round(float(value), 3) for value in np.percentile(times_ms, [50, 99]))
        longest = round(float(times_ms.max()), 3)
        return Figures(round(len(self.times_s) / elapsed_s, 1), p50, p99, longest, len(self.times_s), self.n_errors)


class Connection:
    """One connection, opened again when it breaks."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Return status and body of the answer."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._exchange(request)
        except BaseException:
            self.close()
            raise

    async def _exchange(self, request: bytes) -> tuple[bytes, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        return head[9:12], await reader.readexactly(length)

    def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def predict_bytes(names: Sequence[str], horizon_days: int = 7) -> bytes:
    """Return a request for forecasts."""
    return post_bytes("/predict", {"strategies": list(names), "horizon_days": horizon_days})


def post_bytes(path: str, content: object) -> bytes:
    """Return a request with JSON in its body."""
    body = json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def ask_once(port: int, request: bytes) -> bytes:
    """Return the body of one answer, which must be good."""
    connection = Connection(port)
    try:
        status, body = await connection.ask(request)
    finally:
        connection.close()
    if status != _OK:
        raise RuntimeError(f"{status.decode()}: {body[:300].decode()}")
    return body


async def flat_out(load: Load) -> Figures:
    """Ask over each connection as soon as it has its answer."""
    tally, began = Tally(), time.perf_counter()
    await asyncio.gather(*(_again_and_again(load, tally, began + load.seconds) for _ in range(load.connections)))
    return tally.figures(time.perf_counter() - began)


async def _again_and_again(load: Load, tally: Tally, end: float) -> None:
    connection = Connection(load.port)
    while True:
        await _counted(connection, load.request, tally, time.perf_counter())
        if time.perf_counter() >= end:
            break
    connection.close()


async def at_rate(load: Load, per_s: float) -> Figures:
    """Ask so many times a second, whether answers have come or not; times count from when a request was due."""
    tally, began = Tally(), time.perf_counter()
    due = iter(range(int(load.seconds * per_s)))
    await asyncio.gather(*(_when_due(load, tally, began, per_s, due) for _ in range(load.connections)))
    return tally.figures(time.perf_counter() - began)


async def _when_due(load: Load, tally: Tally, began: float, per_s: float, due: Iterator[int]) -> None:
    connection = Connection(load.port)
    for number in due:  # shared: each connection takes the next one that is due
        at = began + number / per_s
        if (wait_s := at - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        await _counted(connection, load.request, tally, at)
    connection.close()


async def _counted(connection: Connection, request: bytes, tally: Tally, since: float) -> None:
    try:
        status, _ = await connection.ask(request)
    except (OSError, EOFError, TimeoutError, ValueError):
        tally.n_errors += 1
        return
    if status == _OK:
        tally.times_s.append(time.perf_counter() - since)
    else:
        tally.n_errors += 1
