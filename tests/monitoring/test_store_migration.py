"""A store of format 1 becomes one of format 2 with nothing lost, whoever opens it and whatever interrupts that."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from forecast_maker import LINEAGE, ORIGIN, made

from aegis_yield.domain.forecast import QUANTILE_COLUMNS
from aegis_yield.monitoring.migration import tell_worlds_apart
from aegis_yield.monitoring.records import Lineage, World
from aegis_yield.monitoring.store import ForecastStore

NOW = dt.datetime(2025, 1, 2, 8, tzinfo=dt.UTC)
FORMAT_1 = f"""
CREATE TABLE lineage (
    id INTEGER PRIMARY KEY, bundle TEXT, bundle_sha256 TEXT, dataset TEXT, dataset_sha256 TEXT, simulated INTEGER,
    run_id TEXT, manifest TEXT, UNIQUE (bundle, bundle_sha256, dataset, dataset_sha256, run_id, manifest));
CREATE TABLE forecast (
    id TEXT PRIMARY KEY, lineage INTEGER NOT NULL REFERENCES lineage (id), made_at TEXT, due TEXT,
    strategy_id TEXT, category TEXT, origin TEXT, horizon_days INTEGER, apy REAL, volatility REAL, last_apy REAL,
    {", ".join(f"{name} REAL" for name in QUANTILE_COLUMNS)},
    actual_apy REAL, actual_volatility REAL, scored_at TEXT DEFAULT '');
CREATE INDEX forecast_waiting ON forecast (due) WHERE scored_at = '';
CREATE INDEX forecast_origin ON forecast (origin, due);
CREATE TABLE note (name TEXT PRIMARY KEY, content TEXT);
CREATE TABLE event (
    number INTEGER PRIMARY KEY AUTOINCREMENT, day TEXT, name TEXT, kind TEXT, reason TEXT, UNIQUE (day, name, kind));
PRAGMA user_version = 1;
"""
REAL = replace(LINEAGE, simulated=False, dataset="data/processed")
SIMULATED = replace(LINEAGE, simulated=True, dataset="market (seed 0)", dataset_sha256="s0")
EVENTS = [
    {"day": "2025-01-02", "name": "level:lending", "kind": "cleared", "reason": "it is over"},
    {"day": "2025-01-01", "name": "level:lending", "kind": "raised", "reason": "it jumped"},
]


def world_of(lineage: Lineage) -> World:
    return World(lineage.simulated, lineage.dataset)


def old_store(path: Path, lineages: Iterable[Lineage], notes: Iterable[str] = ()) -> list[str]:
    """Write a store as release 0.1 had it: a forecast of each lineage, notes, two events."""
    keys = []
    with closing(sqlite3.connect(path)) as db:
        db.executescript(FORMAT_1)
        for number, one in enumerate(lineages, start=1):
            facts = (one.bundle, one.bundle_sha256, one.dataset, one.dataset_sha256, int(one.simulated), one.run_id)
            db.execute("INSERT INTO lineage VALUES (?, ?, ?, ?, ?, ?, ?, '{}')", (number, *facts))
            it = made()
            *head, quantiles = astuple(it)
            head[2] = it.origin.isoformat()
            keys.append(one.forecast_id(it.strategy_id, it.origin, it.horizon_days))
            values = (keys[-1], number, NOW.isoformat(), it.due.isoformat(), *head, *quantiles, 0.06, 0.07, "then")
            db.execute(f"INSERT INTO forecast VALUES ({', '.join('?' * len(values))})", values)
        for name in notes:
            db.execute("INSERT INTO note VALUES (?, ?)", (name, json.dumps({"was": name})))
        for event in reversed(EVENTS):
            db.execute("INSERT INTO event (day, name, kind, reason) VALUES (:day, :name, :kind, :reason)", event)
        db.commit()
    return keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "forecasts.sqlite"


@pytest.mark.parametrize("lineage", [REAL, SIMULATED])
def test_of_one_world_everything_is_of_it(path: Path, lineage: Lineage) -> None:
    note, other = f"alarms {lineage.dataset}", World(not lineage.simulated, "other")
    [key] = old_store(path, [lineage], [note, f"recalibration lstm_v1-0 {lineage.dataset}"])
    world = world_of(lineage)
    with closing(ForecastStore(path)) as store:
        kept, source = store.find(key)
        assert (kept.made, kept.actual_apy, source) == (made(), 0.06, lineage)
        assert [one.id for one in store.scored(world, ORIGIN, made().due)] == [key]
        assert store.events(world) == EVENTS
        assert store.events(other) == []
        assert store.note(world.note("alarms")) == {"was": note}
        assert store.note(world.note("recalibration lstm_v1-0"))["was"].startswith("recalibration")
        assert store.note(World(not lineage.simulated, lineage.dataset).note("alarms")) == {}


def test_of_two_worlds_forecasts_part_and_events_are_shown_in_both(path: Path) -> None:
    names = [f"alarms {one.dataset}" for one in (REAL, SIMULATED)]
    keys = old_store(path, [REAL, SIMULATED], [*names, "alarms never recorded"])
    with closing(ForecastStore(path)) as store:
        for key, lineage, name in zip(keys, (REAL, SIMULATED), names, strict=True):
            assert [one.id for one in store.scored(world_of(lineage), ORIGIN, made().due)] == [key]
            assert store.events(world_of(lineage)) == EVENTS
            assert store.note(world_of(lineage).note("alarms")) == {"was": name}
        for simulated in (True, False):
            assert store.note(World(simulated, "never recorded").note("alarms")) == {"was": "alarms never recorded"}
        new = {**EVENTS[0], "day": "2025-01-03"}
        store.keep_note("alarms", {}, world_of(REAL), [new])
        assert [len(store.events(world_of(one))) for one in (REAL, SIMULATED)] == [3, 2]


def test_it_is_done_once(path: Path) -> None:
    old_store(path, [REAL, SIMULATED], ["alarms data/processed"])
    with closing(ForecastStore(path)):
        pass
    with closing(sqlite3.connect(path)) as db:
        before = list(db.iterdump())
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
    with closing(ForecastStore(path)):
        pass
    with closing(sqlite3.connect(path)) as db:
        assert list(db.iterdump()) == before


def test_what_goes_wrong_in_the_middle_changes_nothing(path: Path) -> None:
    old_store(path, [REAL], ["alarms data/processed"])
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE event_of_world (x)")  # in the way
        before = list(db.iterdump())
        with pytest.raises(sqlite3.OperationalError):
            tell_worlds_apart(db)
        assert list(db.iterdump()) == before
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


OPENER = """
import sys
from pathlib import Path
from aegis_yield.monitoring.store import ForecastStore
sys.stdin.readline()
store = ForecastStore(Path(sys.argv[1]))
print(store.counts()["scored"])
"""


def test_several_processes_may_open_it_at_once(path: Path) -> None:
    old_store(path, [REAL, SIMULATED])
    command = [sys.executable, "-c", OPENER, str(path)]
    openers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate("go\n", timeout=120) for process in openers]
    assert [out.strip() for out, _ in outputs] == ["2"] * 3, outputs
    with closing(ForecastStore(path)) as store:
        assert len(store.events(world_of(REAL))) == 2
