from __future__ import annotations

import datetime as dt
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from forecast_maker import LINEAGE, ORIGIN, made

from aegis_yield.domain.errors import DataError
from aegis_yield.monitoring.records import Outcome, World
from aegis_yield.monitoring.store import ForecastStore

NOW = dt.datetime(2025, 1, 2, 8, tzinfo=dt.UTC)
HERE = Path(__file__).parent
WORLD = World(LINEAGE.simulated, LINEAGE.dataset)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "monitoring" / "forecasts.sqlite"


def test_what_is_recorded_is_found(path: Path) -> None:
    lineage = replace(LINEAGE, run_id="r1", manifest={"made_at": "2025-01-01T00:00:00+00:00"})
    with closing(ForecastStore(path)) as store:
        (key,) = store.record(lineage, [made()], NOW)
        kept, source = store.find(key)
        assert (kept.id, kept.made, kept.actual_apy, source) == (key, made(), None, lineage)
        assert store.find(key[:8])[0].id == key


def test_recording_again_changes_nothing(path: Path) -> None:
    with closing(ForecastStore(path)) as store:
        first = store.record(LINEAGE, [made(), made("lido")], NOW)
        again = store.record(LINEAGE, [replace(made(), apy=9.0), made("lido")], NOW + dt.timedelta(days=1))
        assert first == again
        assert store.counts() == {"forecasts": 2, "scored": 0, "open": 2}
        kept, _ = store.find(first[0])
        assert kept.made.apy == 0.05
        assert kept.made_at == NOW.isoformat()


def test_ids_say_from_what_a_forecast_was_made() -> None:
    keys = {
        lineage.forecast_id(strategy, origin, horizon)
        for lineage in (LINEAGE, replace(LINEAGE, bundle_sha256="0"), replace(LINEAGE, dataset_sha256="0"))
        for strategy in ("aave", "lido")
        for origin in (ORIGIN, ORIGIN + dt.timedelta(days=1))
        for horizon in (7, 14)
    }
    assert len(keys) == 24
    assert LINEAGE.forecast_id("aave", ORIGIN, 7) == replace(LINEAGE, dataset="moved").forecast_id("aave", ORIGIN, 7)


@pytest.mark.parametrize("wanted", ["", "abc", "0000000000000000", "ab%", "' OR 1=1 --"])
def test_an_unknown_id_is_said_to_be_so(path: Path, wanted: str) -> None:
    with closing(ForecastStore(path)) as store:
        store.record(LINEAGE, [made()], NOW)
        with pytest.raises(DataError, match="no forecast of that id"):
            store.find(wanted)


def test_outcomes_are_written_once(path: Path) -> None:
    with closing(ForecastStore(path)) as store:
        one, lost = store.record(LINEAGE, [made(), made("gone")], NOW)
        due = ORIGIN + dt.timedelta(days=7)
        assert store.waiting(WORLD, due - dt.timedelta(days=1)) == []
        assert {kept.id for kept in store.waiting(WORLD, due)} == {one, lost}
        store.settle([Outcome(one, 0.06, 0.07), Outcome(lost, None, None)], NOW)
        store.settle([Outcome(one, 9.0, 9.0)], NOW)
        assert store.waiting(WORLD, due) == []
        assert [(kept.id, kept.actual_apy) for kept in store.scored(WORLD, ORIGIN, due)] == [(one, 0.06)]
        assert store.counts() == {"forecasts": 2, "scored": 1, "open": 0}


def test_notes_and_events_are_kept_together(path: Path) -> None:
    event = {"day": "2025-01-01", "name": "level:lending", "kind": "raised", "reason": "because"}
    with closing(ForecastStore(path)) as store:
        assert store.note("alarms") == {}
        store.keep_note("alarms", {"until": "2025-01-01"}, WORLD, [event])
        store.keep_note("alarms", {"until": "2025-01-02"}, WORLD, [event])
        assert store.note("alarms") == {"until": "2025-01-02"}
        assert store.events(WORLD) == [event]


def test_worlds_are_kept_apart(path: Path) -> None:
    due = ORIGIN + dt.timedelta(days=7)
    lineages = {
        World(False, "tables"): replace(LINEAGE, simulated=False, dataset="tables"),
        World(True, "market (seed 0)"): replace(
            LINEAGE, simulated=True, dataset="market (seed 0)", dataset_sha256="s0"
        ),
        World(True, "market (seed 1)"): replace(
            LINEAGE, simulated=True, dataset="market (seed 1)", dataset_sha256="s1"
        ),
    }
    event = {"day": "2025-01-01", "name": "level:lending", "kind": "raised", "reason": "because"}
    with closing(ForecastStore(path)) as store:
        keys = {}
        for number, (world, lineage) in enumerate(lineages.items()):
            (keys[world],) = store.record(lineage, [made()], NOW)
            store.keep_note(world.note("alarms"), {"number": number}, world, [{**event, "reason": str(number)}])
        for number, world in enumerate(lineages):
            assert [one.id for one in store.waiting(world, due)] == [keys[world]]
            assert store.counts(world) == {"forecasts": 1, "scored": 0, "open": 1}
            assert [one["reason"] for one in store.events(world)] == [str(number)]
            assert store.note(world.note("alarms")) == {"number": number}
        store.settle([Outcome(keys[World(False, "tables")], 0.06, 0.07)], NOW)
        assert [len(store.scored(world, ORIGIN, due)) for world in lineages] == [1, 0, 0]
        # The real market is one, whatever tables tell of it.
        assert len(store.scored(World(False, "other tables"), ORIGIN, due)) == 1
        assert store.counts() == {"forecasts": 3, "scored": 1, "open": 2}


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be read as one" * 40, b"x"])
def test_a_foreign_file_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be opened as the forecast store"):
        ForecastStore(path)
    assert path.read_bytes() == content


def test_a_store_of_a_later_format_is_refused(path: Path) -> None:
    ForecastStore(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(DataError, match="format 99, this release reads 2"):
        ForecastStore(path)


WRITER = """
import datetime as dt, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from forecast_maker import LINEAGE, ORIGIN, made
from aegis_yield.monitoring.store import ForecastStore
store = ForecastStore(Path({path!r}))
start = int(sys.argv[1])
for batch in range(start, start + int(sys.argv[2])):
    day = ORIGIN + dt.timedelta(days=batch)
    store.record(LINEAGE, [made(f"strategy {{n}}", day) for n in range(50)], dt.datetime.now(dt.UTC))
    print(batch, flush=True)
"""


def writer(path: Path, start: int, batches: int) -> subprocess.Popen[str]:
    code = WRITER.format(here=str(HERE), path=str(path))
    return subprocess.Popen([sys.executable, "-c", code, str(start), str(batches)], stdout=subprocess.PIPE, text=True)


def test_two_processes_record_at_once(path: Path) -> None:
    writers = [writer(path, 0, 30), writer(path, 15, 30)]
    outputs = [process.communicate(timeout=120)[0].split() for process in writers]
    assert [len(output) for output in outputs] == [30, 30]
    with closing(ForecastStore(path)) as store:
        assert store.counts()["forecasts"] == 45 * 50


@pytest.mark.parametrize("shared", [True, False])
def test_threads_record_at_once(path: Path, shared: bool) -> None:
    common = ForecastStore(path)

    def work(n: int) -> None:
        own = common if shared else ForecastStore(path)
        for day in range(20):
            own.record(LINEAGE, [made(f"strategy {n}", ORIGIN + dt.timedelta(days=day))], NOW)
        if not shared:
            own.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(common):
        assert common.counts()["forecasts"] == 80


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.07])
def test_a_killed_writer_leaves_whole_batches(path: Path, delay_s: float) -> None:
    process = writer(path, 0, 100_000)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay_s)
    os.kill(process.pid, signal.SIGKILL)
    said = 1 + process.communicate(timeout=60)[0].count("\n")
    with closing(ForecastStore(path)) as store:
        count = store.counts()["forecasts"]
        assert count % 50 == 0
        assert count >= 50 * said  # what was said to be recorded is there
        store.record(LINEAGE, [made("after")], NOW)
        assert store.counts()["forecasts"] == count + 1
