"""A server process for measurements: on a core of its own, its memory watched, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300.0
POLL_S = 0.02


@dataclass(frozen=True)
class ServedProcess:
    """A server that is ready; ``start_to_ready_s`` counts from its start as a process."""

    process: subprocess.Popen[bytes]
    port: int
    start_to_ready_s: float

    @property
    def memory_mb(self) -> float:
        """Memory that it holds now (resident sets of the process and of those it has started)."""
        return sum(_resident_mb(pid) for pid in _session(self.process.pid))


def _session(leader: int) -> list[int]:
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [pid for pid in pids if _session_of(pid) == leader]


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:  # it has just ended
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(frozen=True)
class Program:
    """A server to start: arguments for Python, variables, where it says that it is ready, and which Python."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    ready_path: str
    python: str = sys.executable


def own_service(environment: Mapping[str, str]) -> Program:
    """Return this project's service on a free port; no limit on the rate of requests or the age of the data."""
    port = free_port()
    own = {"AEGIS_PORT": str(port), "AEGIS_SERVICE__READ_PER_S": "0", "AEGIS_SERVICE__MAX_AGE_DAYS": "100000"}
    return Program((str(ROOT / "api" / "ml_service.py"),), {**own, **environment}, port, "/health/ready")


@contextmanager
def served(program: Program, core: int | None) -> Iterator[ServedProcess]:
    """Serve until the end of a ``with``; one core, if one is named, and one thread in each library."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")}
    threads = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    path = os.pathsep.join((str(Path(program.python).parent), kept.get("PATH", "")))  # what a server starts is found
    log = tempfile.TemporaryFile()  # noqa: SIM115  # the process keeps it
    began = time.perf_counter()
    process = subprocess.Popen(
        [program.python, *program.arguments],
        env={**kept, **threads, "PATH": path, **program.environment},
        stdout=subprocess.DEVNULL,
        stderr=log,
        start_new_session=True,  # a server that starts others is ended with them
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
    )
    try:
        if not _becomes_ready(process, program):
            log.seek(0)
            raise RuntimeError(f"not ready (exit status {process.poll()}): {log.read()[-2_000:].decode()}")
        yield ServedProcess(process, program.port, time.perf_counter() - began)
    finally:
        _end(process)
        log.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
            return


def _becomes_ready(process: subprocess.Popen[bytes], program: Program) -> bool:
    give_up = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < give_up:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{program.port}{program.ready_path}", timeout=5) as answer:
                if answer.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            time.sleep(POLL_S)
    return False


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
