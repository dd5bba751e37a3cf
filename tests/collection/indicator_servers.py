"""Bodies in the forms of the indicator sources, servers that misbehave below HTTP, a look at all that was written."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from harness import Bench
from werkzeug import Request, Response

from aegis_yield.collection.raw import Answer
from aegis_yield.collection.units import Demand, Page, WorkUnit
from aegis_yield.collection.units import Request as Question

DAY = dt.timedelta(days=1)
POOL = "747c1d2a-c668-4682-b9f9-296708a3dd90"
CHART = Demand("defillama", "chart", POOL)


def real_now() -> dt.datetime:
    """The real time (answers are dated by it), never so close to midnight that the day changes within a test."""
    while (now := dt.datetime.now(dt.UTC)).time() > dt.time(23, 59, 40):
        time.sleep(1.0)
    return now


def unix(when: dt.date | dt.datetime) -> int:
    """UNIX seconds of a moment, or of a day's beginning."""
    moment = when if isinstance(when, dt.datetime) else dt.datetime.combine(when, dt.time(), dt.UTC)
    return int(moment.timestamp())


def chart_row(day: dt.date, apy: Any = 3.6, clock: str = "23:01:24.670", **more: Any) -> dict[str, Any]:
    """A row of a DefiLlama chart, rates in percent."""
    row = {"timestamp": f"{day}T{clock}Z", "tvlUsd": 1_000_000, "apy": apy, "apyBase": apy, "apyReward": None}
    return row | {"il7d": None, "apyBase7d": None, "pricePerShare": None} | more


def chart_body(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": list(rows)}


def page_of(demand: Demand, content: Any, fetched_at: dt.datetime, params: dict[str, Any] | None = None) -> Page:
    """An answer as a reader gets it from the raw zone."""
    return Page("raw-1", demand, "unit-1", {"params": params or {}}, fetched_at, json.dumps(content).encode())


def land(bench: Bench, demand: Demand, content: Any, fetched_at: dt.datetime) -> None:
    """Put an answer of another day into a bench's raw zone and read it into the history."""
    unit = WorkUnit(demand, fetched_at.date(), fetched_at.date() + DAY)
    answer = Answer(200, {}, json.dumps(content).encode(), "http://127.0.0.1/", fetched_at, 1.0, 1)
    bench.journal.landed(bench.raw.land(unit, Question("fear_greed", "/"), answer), demand, unit.id)
    bench.reader.read_waiting()


def statuses(bench: Bench) -> list[str]:
    return [row["status"] for row in bench.journal.units()]


def reasons(bench: Bench, table: str) -> list[str]:
    """Why rows of a table were set aside."""
    found = bench.history.quarantined(table)
    return found["reason"].to_list() if found.height else []


def in_turn(*answers: Any) -> Callable[[Request], Response]:
    """A handler that gives one answer after another, the last one for ever: JSON content or a whole response."""
    left = list(answers)

    def handle(request: Request) -> Response:
        answer = left.pop(0) if len(left) > 1 else left[0]
        return answer if isinstance(answer, Response) else Response(json.dumps(answer), mimetype="application/json")

    return handle


def everything_written(bench: Bench) -> bytes:
    """All that a bench left on the disk, uncompressed, and every failure in words."""
    parts = [repr(failure).encode() for failure in bench.failures]
    for path in sorted(path for path in bench.folder.rglob("*") if path.is_file()):
        parts += [path.name.encode(), path.read_bytes()]
        if path.suffix == ".gz":
            parts.append(gzip.decompress(path.read_bytes()))
    with sqlite3.connect(bench.folder / "raw" / "journal.sqlite3") as journal:
        parts += [line.encode() for line in journal.iterdump()]
    journal.close()
    return b"\n".join(parts)


Step = Callable[[socket.socket], None]


class ScriptedServer:
    """Does one step per connection, in turn: what no well-behaved HTTP server would do."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps, self._open = list(steps), True
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.n_connections = 0

    def url_for(self, path: str) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        with socket.create_connection(self._socket.getsockname()):
            pass  # wakes the thread up
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if not self._open:
                    return
                step = self._steps[min(self.n_connections, len(self._steps) - 1)]
                self.n_connections += 1
                received = b""
                while b"\r\n\r\n" not in received:
                    received += connection.recv(65536)
                step(connection)


def _head(length: int) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()


def whole(content: Any) -> Step:
    """Answer as one should, and close."""
    body = json.dumps(content).encode()
    return lambda connection: connection.sendall(
        _head(len(body)).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + body
    )


def reset_halfway(content: Any) -> Step:
    """Send half of the body, then reset the connection."""
    body = json.dumps(content).encode()

    def step(connection: socket.socket) -> None:
        connection.sendall(_head(len(body)) + body[: len(body) // 2])
        time.sleep(0.05)  # let the half arrive before the reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return step


def stall_halfway(content: Any) -> Step:
    """Send half of the body, then nothing until the other side gives up."""
    body = json.dumps(content).encode()

    def step(connection: socket.socket) -> None:
        connection.sendall(_head(len(body)) + body[: len(body) // 2])
        connection.settimeout(5.0)
        connection.recv(1)

    return step
