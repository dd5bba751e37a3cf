"""Runs the jobs that are not in the store yet, each in its own process, and shows how far they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from benchmarks.race.plan import Job, Source
from benchmarks.race.store import ROOT, Store

ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
SAY_EVERY_SECONDS: Final = 20.0
SHOWN_LINES: Final = 8


@dataclass
class Failure:
    """A job that did not end well.

    Attributes
    ----------
    job : Job
    reason : str
        The last lines that it wrote.
    """

    job: Job
    reason: str


@dataclass
class Crew:
    """Works through jobs.

    Attributes
    ----------
    source : Source
        Every worker opens it itself.
    held_out_share : float
        For cold starts.
    store : Store
        Results that are there already are not made again.
    console : Console
        For progress.
    workers : int
        Processes at a time; more than one makes measured seconds larger.
    """

    source: Source
    held_out_share: float
    store: Store
    console: Console
    workers: int = 1
    _running: dict[int, subprocess.Popen[str]] = field(default_factory=dict)

    def run(self, jobs: Sequence[Job]) -> list[Failure]:
        """Run what is missing; a failed job does not stop the others."""
        missing = [job for job in jobs if not self.is_done(job)]
        if len(jobs) > len(missing):
            self.console.print(f"{len(jobs) - len(missing)} of {len(jobs)} jobs are kept from before")
        if not missing:
            return []
        with _Display(self.console, missing) as display, ThreadPoolExecutor(self.workers) as pool:
            try:
                found = list(pool.map(lambda job: self._run_one(job, display), missing))
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(self._running.values()):
                    process.terminate()
                raise
        return [failure for failure in found if failure is not None]

    def is_done(self, job: Job) -> bool:
        """Whether a job's forecasts and costs are in the store."""
        paths = (self.store.path(job.name, suffix) for suffix in (".parquet", ".json"))
        return all(path.is_file() for path in paths)

    def _run_one(self, job: Job, display: _Display) -> Failure | None:
        display.begin(job)
        with tempfile.TemporaryDirectory() as folder:
            path, log = Path(folder) / "job.json", Path(folder) / "stderr.txt"
            path.write_text(json.dumps(self._order(job)))
            status = self._work(path, log, lambda done, total: display.step(job, done, total))
            reason = "" if status == 0 else "\n".join(log.read_text().splitlines()[-SHOWN_LINES:])
        display.end(job, status)
        return None if status == 0 else Failure(job, f"ended with status {status}\n{reason}".strip())

    def _work(self, path: Path, log: Path, say: Callable[[int, int], None]) -> int:
        command = [sys.executable, "-m", "benchmarks.race.worker", str(path)]
        settings: dict[str, Any] = {"cwd": ROOT, "env": _environment(), "stdout": subprocess.PIPE, "text": True}
        with log.open("w") as errors, subprocess.Popen(command, stderr=errors, **settings) as process:
            self._running[process.pid] = process
            _read_steps(process, say)
        self._running.pop(process.pid, None)
        return process.returncode

    def _order(self, job: Job) -> dict[str, Any]:
        return {
            "job": asdict(job),
            "source": asdict(self.source),
            "held_out_share": self.held_out_share,
            "store": str(self.store.folder.resolve()),
        }


def _environment() -> dict[str, str]:
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return os.environ | ONE_THREAD | {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": paths}


def _read_steps(process: subprocess.Popen[str], say: Callable[[int, int], None]) -> None:
    for line in process.stdout or ():
        words = line.split()
        if len(words) == 2 and all(word.isdigit() for word in words):
            say(int(words[0]), int(words[1]))


class _Display:
    """A bar over all jobs with the time left: live on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, jobs: Sequence[Job]) -> None:
        self._console = console
        self._total = sum(job.weight for job in jobs)
        self._n_jobs, self._n_done, self._done = len(jobs), 0, 0.0
        self._part: dict[str, float] = {}
        self._began = self._said = time.monotonic()
        self._lock = threading.Lock()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("race", total=1.0, left="")

    def __enter__(self) -> _Display:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def begin(self, job: Job) -> None:
        with self._lock:
            self._part[job.name] = 0.0
            self._show(job.label())

    def step(self, job: Job, done: int, total: int) -> None:
        with self._lock:
            self._part[job.name] = job.weight * done / max(total, 1)
            self._show(job.label())

    def end(self, job: Job, status: int) -> None:
        with self._lock:
            self._part.pop(job.name, None)
            self._done += job.weight
            self._n_done += 1
            if status:
                self._console.print(f"[red]failed:[/] {job.label()}")
            self._show(job.label(), always=True)

    def _show(self, label: str, always: bool = False) -> None:
        share = min((self._done + sum(self._part.values())) / max(self._total, 1e-9), 1.0)
        now = time.monotonic()
        left = (now - self._began) * (1.0 - share) / share if share > 0.0 else float("nan")
        text = f"{self._n_done} of {self._n_jobs} jobs, {_clock(left)} left"
        self._bar.update(self._task, description=label, completed=share, left=text)
        if not self._console.is_terminal and (always or now - self._said >= SAY_EVERY_SECONDS):
            self._said = now
            self._console.print(f"{text}; {label}")


def _clock(seconds: float) -> str:
    if seconds != seconds:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
