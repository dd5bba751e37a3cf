"""Killed at any moment, again and again: every unit is done in the end, no row twice and none lost."""

from __future__ import annotations

import datetime as dt
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
import victim
from pytest_httpserver import HTTPServer
from toy_source import DAY, ToyServer, apy_of

from aegis_yield.collection import history as storing
from aegis_yield.collection.history import History
from aegis_yield.collection.journal import Journal
from aegis_yield.collection.raw import RawZone
from aegis_yield.collection.reader import Reader
from aegis_yield.collection.units import WorkUnit, daily_unit, monthly_units

FIRST, LAST = victim.MOMENT.since, victim.MOMENT.today
DAYS = [FIRST + n * DAY for n in range((LAST - FIRST).days + 1)]
N_KILLS = 10

pytestmark = pytest.mark.usefixtures("toys")


class Victims:
    """Processes that stand ready, the next one warming up while one works."""

    def __init__(self, folder: Path, url: str) -> None:
        self._command = [sys.executable, victim.__file__, str(folder), url]
        self._waiting = [self._start(), self._start()]

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def next_one(self) -> subprocess.Popen[str]:
        """Return a process that begins to collect at this very moment."""
        process = self._waiting.pop(0)
        self._waiting.append(self._start())
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        return process

    def close(self) -> None:
        for process in self._waiting:
            process.kill()
            process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "collected"


@pytest.fixture
def server(threaded_server: HTTPServer) -> ToyServer:
    return ToyServer(threaded_server, FIRST, LAST, delay_s=0.02)


@pytest.fixture
def victims(folder: Path, threaded_server: HTTPServer, server: ToyServer) -> Iterator[Victims]:
    with closing(Victims(folder, threaded_server.url_for("").rstrip("/"))) as victims:
        yield victims


def all_units() -> list[WorkUnit]:
    whole = [daily_unit(demand, LAST) for demand in victim.DEMANDS if demand.dataset == "whole"]
    by_month = [unit for demand in victim.DEMANDS[40:] for unit in monthly_units(demand, FIRST, LAST)]
    return [*whole, *by_month]


def test_a_collection_that_is_killed_again_and_again_ends_as_if_it_never_was(
    folder: Path, victims: Victims, server: ToyServer
) -> None:
    rng = random.Random(20261122)
    kills = 0
    while True:
        process = victims.next_one()
        if kills < N_KILLS:
            time.sleep(rng.uniform(0.02, 0.3))
        if kills < N_KILLS and process.poll() is None:
            process.kill()
            kills += 1
            process.communicate()
            continue
        said, _ = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, "done\n")
        break
    assert kills >= N_KILLS // 2

    with closing(Journal(folder / "journal.sqlite3")) as journal:
        expected = {unit.id: "open" if unit.end > LAST else "done" for unit in all_units()}
        expected |= {daily_unit(demand, LAST).id: "done" for demand in victim.DEMANDS[:40]}
        assert {row["id"]: row["status"] for row in journal.units()} == expected
        assert journal.waiting() == []

    history, raw = History(folder / "history"), RawZone(folder / "raw")
    stored = history.revisions("pool_days")
    pools = sorted(demand.entity for demand in victim.DEMANDS)
    assert stored.select("pool", "date", "apy", "is_final", "revision").rows() == [
        (pool, day, apy_of(pool, day), day < LAST, 1) for pool in pools for day in DAYS
    ]
    assert history.quarantined("pool_days").height == 0

    pages = [raw.page(path) for path in raw.files()]
    landed = {page.raw_id for page in pages if page is not None}
    assert set(stored["raw_id"]) <= landed
    with closing(Journal(folder / "empty.sqlite3")) as empty:
        rebuilt = Reader(raw, empty, history).rebuild(lambda done, total: None)
    assert rebuilt.revisions("pool_days").equals(stored)

    # What was done was not done again: beyond one answer each, no more than what was under way at a kill.
    assert sum(server.asked[f"/whole/pool{n}"] for n in range(40)) <= 40 + 2 * kills


MERGER = """
import sys
from pathlib import Path
from aegis_yield.collection import history
history.MAX_SEGMENTS = 2
print("ready", flush=True)
while True:
    history.History(Path(sys.argv[1])).compact()
    table = Path(sys.argv[1]) / "g0001" / "pool_days"
    for path in sorted(Path(sys.argv[2]).glob("*.parquet")):  # the same segments come again
        (table / f".{path.name}").write_bytes(path.read_bytes())
        (table / f".{path.name}").rename(table / path.name)
"""


def test_merging_that_is_killed_again_and_again_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "MAX_SEGMENTS", 2)
    history = History(tmp_path / "history")
    for number in range(6):
        received = dt.datetime(2026, 3, 1, 0, number, tzinfo=dt.UTC)
        rows = pl.DataFrame({"pool": [f"p{n}" for n in range(number, 6)], "date": [FIRST] * (6 - number)})
        rows = rows.with_columns(pl.lit(number / 100).alias("apy"))
        history.append("pool_days", storing.stamped(rows, "pool_days", f"raw-{number}", received))
    before = history.revisions("pool_days")
    kept = tmp_path / "kept"
    kept.mkdir()
    for path in (history.folder / "g0001" / "pool_days").glob("*.parquet"):
        (kept / path.name).write_bytes(path.read_bytes())
    rng = random.Random(7)
    for _ in range(4):
        command = [sys.executable, "-c", MERGER, str(history.folder), str(kept)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.1))
            process.kill()
        assert History(history.folder).revisions("pool_days").equals(before)
    history.compact()
    assert history.revisions("pool_days").equals(before)
