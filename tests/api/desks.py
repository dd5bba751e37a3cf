"""What tests of decisions are made of: a real service with real worker processes, and what it takes to disturb them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI
from services import free_port

from aegis_yield.pipelines.predict import Forecaster
from api.ml_service import create_app
from api.settings import LifeSettings, ServiceSettings
from api.workers.pool import WorkerPool

WAIT_S = 120.0
"""For what takes a few seconds on an idle machine."""

SMALL: dict[str, Any] = {"strategies": ["aave", "lido", "compound"], "scenarios": 100}


@dataclass(frozen=True)
class Desk:
    """A service that decides, on a loopback port, in this process; its workers are processes of their own."""

    app: FastAPI
    client: httpx2.Client

    @property
    def pool(self) -> WorkerPool:
        pool: WorkerPool = self.app.state.workers
        return pool

    def post(self, path: str, **body: Any) -> httpx2.Response:
        return self.client.post(path, json=body)

    def later(self, threads: ThreadPoolExecutor, path: str, **body: Any) -> Future[httpx2.Response]:
        return threads.submit(self.post, path, **body)

    def warm(self) -> int:
        """Have the one worker loaded; return its number."""
        assert self.post("/optimize", **SMALL).status_code == 200
        (pid,) = self.pool.pids
        return pid

    @contextmanager
    def held(self) -> Iterator[int]:
        """Stop the worker's clock: whatever it is asked, it does not answer."""
        pid = self.warm()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            if is_alive(pid):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def desk(
    tables: Path | None, model: Path | None, load: Callable[[], Forecaster] | None = None, **life: Any
) -> Iterator[Desk]:
    """Serve for as long as a test needs it, and see that no process is left."""
    port = free_port()
    settings = ServiceSettings(data=tables, model=model, service=LifeSettings(**{"optimize_per_s": 0, **life}))
    app = create_app(settings, load)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert eventually(lambda: server.started)
    pids: list[int] = []
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S) as client:
            yield Desk(app, client)
    finally:
        pids += app.state.workers.pids
        server.should_exit = True
        thread.join(timeout=WAIT_S)
        assert not thread.is_alive()
        assert [pid for pid in pids if is_alive(pid)] == []


def eventually(holds: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + WAIT_S
    while not (done := holds()) and time.monotonic() < give_up:
        time.sleep(0.02)
    return done


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def problem_at(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """Return an answer's problem document, seen to be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    return document
