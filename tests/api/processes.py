"""The service as a process of its own, whose log is kept and which may be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from bundles import CHECKOUT, clean_environment
from services import free_port

WAIT_S = 60.0


@dataclass
class Running:
    """A service process."""

    process: subprocess.Popen[bytes]
    port: int
    log_path: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines() if line.startswith("{")]

    @property
    def memory_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/health/ready", timeout=10).status_code == 200
        except httpx2.TransportError:
            return False

    def warnings(self) -> str:
        return " ".join(httpx2.get(f"{self.url}/health/ready", timeout=10).json().get("warnings") or ())

    def stop(self) -> float:
        """Ask it to stop, as a supervisor would; return how long it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(WAIT_S)
        return time.monotonic() - began


def launched(
    home: Path, log_path: Path, port: int | None = None, prepare: Callable[[], None] | None = None, **extra: str
) -> Running:
    """Start ``python api/ml_service.py`` and wait until it is ready."""
    chosen = port or free_port()
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(CHECKOUT / "api" / "ml_service.py")],
            cwd=home,
            env=clean_environment(home, AEGIS_PORT=str(chosen), AEGIS_SERVICE__WATCH_S="0.2", **extra),
            stdout=subprocess.DEVNULL,
            stderr=log,
            preexec_fn=prepare,
        )
    service = Running(process, chosen, log_path)
    if not eventually(lambda: process.poll() is not None or service.is_ready(), WAIT_S) or process.poll() is not None:
        process.kill()
        process.wait()
        raise RuntimeError(f"the service did not start: {log_path.read_text()}")
    return service


@contextmanager
def running(home: Path, log_path: Path, **options: Any) -> Iterator[Running]:
    """A service process that is gone afterwards, whatever happens."""
    service = launched(home, log_path, **options)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.process.kill()
        service.process.wait()


def eventually(wanted: Callable[[], bool], seconds: float = 30.0) -> bool:
    give_up = time.monotonic() + seconds
    while not wanted():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True
