"""Faults of files and disks, against a real process: the old state goes on, and the service says what is wrong."""

from __future__ import annotations

import resource
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from bundles import bundle_content
from processes import Running, eventually, launched, running
from test_predict_endpoint import PROMISED

SMALL_BYTES = 64_000


@pytest.fixture
def place(tmp_path: Path, tables: Path) -> Path:
    """A home whose files a test may damage."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "lstm_v1.pth").write_bytes(bundle_content())
    shutil.copytree(tables, tmp_path / "tables")
    return tmp_path


@pytest.fixture
def options(place: Path) -> dict[str, Any]:
    return {"AEGIS_DATA": str(place / "tables"), "AEGIS_SERVICE__RECORD": "true"}


class Asking:
    """Asks again and again from several threads, and keeps every answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[tuple[int, str]] = []
        self.lost = 0
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(3)]

    def _ask(self) -> None:
        with httpx2.Client(base_url=self.url, timeout=20) as client:
            while not self._done.is_set():
                try:
                    response = client.post("/predict", json=PROMISED)
                except httpx2.TransportError:
                    self.lost += 1
                    time.sleep(0.05)
                    continue
                self.answers.append((response.status_code, forecasts_of(response.json())))
                time.sleep(0.01)

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(30)


def forecasts_of(document: dict[str, Any]) -> str:
    """What a wrong answer would differ in."""
    figures = {name: (one["apy"], one["volatility"]) for name, one in document.get("predictions", {}).items()}
    return f"{document.get('model_version')} {sorted(figures.items())}"


def damaged(service: Running, said: str, path: Path, content: bytes) -> None:
    """Replace a file by a damaged one while clients ask; put the good one back."""
    good = path.read_bytes()
    with Asking(service.url) as asking:
        time.sleep(0.3)
        path.write_bytes(content)
        assert eventually(lambda: said in service.warnings()), service.log
        assert service.is_ready()
        n_before = len(asking.answers)
        assert eventually(lambda: len(asking.answers) > n_before + 20)
        path.write_bytes(good)
        assert eventually(lambda: said not in service.warnings())
    assert {status for status, _ in asking.answers} == {200}
    assert len({text for _, text in asking.answers}) == 1
    assert asking.lost == 0
    assert any(said in line["message"] for line in service.log if line["level"] == "error")


@pytest.mark.slow
def test_a_model_that_became_garbage_is_not_served(place: Path, options: dict[str, Any]) -> None:
    with running(place, place / "log", **options) as service:
        path = place / "models" / "lstm_v1.pth"
        damaged(service, "the model changed and could not be loaded", path, b"\x80garbage" * 5_000)
        damaged(service, "the model changed and could not be loaded", path, path.read_bytes()[:-1_000])
        assert str(place) not in service.warnings()


@pytest.mark.slow
def test_tables_half_written_are_not_served(place: Path, options: dict[str, Any]) -> None:
    with running(place, place / "log", **options) as service:
        for name in ("yields", "strategies"):
            path = place / "tables" / f"{name}.parquet"
            content = path.read_bytes()
            damaged(service, "the data changed and could not be loaded", path, content[: len(content) // 2])


def fill_store(service: Running) -> list[int]:
    """Ask for so many different forecasts that the store needs more than there is."""
    with httpx2.Client(base_url=service.url, timeout=60) as client:
        names = [row["strategy_id"] for row in client.get("/strategies").json()["strategies"]]
        questions = [{"strategies": names, "horizon_days": days} for days in range(1, 31)]
        return [client.post("/predict", json=question).status_code for question in questions]


def n_recorded(store: Path) -> int:
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(connection.execute("SELECT count(*) FROM forecast").fetchone()[0])


def keeps_answering(service: Running) -> None:
    assert set(fill_store(service)) == {200}
    assert eventually(lambda: "could not be recorded" in service.warnings())
    assert set(fill_store(service)) == {200}
    assert service.is_ready()


def test_a_full_disk_costs_the_record_not_the_answer(place: Path, options: dict[str, Any]) -> None:
    """No file of the process may grow beyond a size: to it, the disk is full."""

    def narrow() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_BYTES, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    options["AEGIS_SERVICE__ACCESS_LOG"] = "false"  # the log is a file too
    with running(place, place / "log", prepare=narrow, **options) as service:
        keeps_answering(service)
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert set(fill_store(service)) == {200}  # there is room again
        store = place / "data" / "monitoring" / "forecasts.sqlite"
        assert eventually(lambda: n_recorded(store) == 30 * 12)


@contextmanager
def tiny_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"no disk may be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_does_not_stop_it(place: Path, options: dict[str, Any]) -> None:
    with tiny_disk(place / "disk"):
        options["AEGIS_MONITORING"] = str(place / "disk" / "forecasts.sqlite")
        with running(place, place / "log", **options) as service:
            keeps_answering(service)


@pytest.mark.slow
def test_killed_and_started_again_under_load_nothing_wrong_is_said(place: Path, options: dict[str, Any]) -> None:
    with running(place, place / "log", **options) as service, Asking(service.url) as asking:
        for _ in range(2):
            n_before = len(asking.answers)
            assert eventually(lambda n=n_before: len(asking.answers) > n + 10)
            service.process.kill()
            service.process.wait()
            service.process = launched(place, place / "log", port=service.port, **options).process
        n_before = len(asking.answers)
        assert eventually(lambda: len(asking.answers) > n_before + 10)
        service.stop()
    assert {status for status, _ in asking.answers} == {200}
    assert len({text for _, text in asking.answers}) == 1
    assert asking.lost > 0  # clients saw the gap as lost connections, never as an answer
    assert n_recorded(place / "data" / "monitoring" / "forecasts.sqlite") == 3
