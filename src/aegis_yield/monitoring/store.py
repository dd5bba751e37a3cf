"""The forecast store: what was forecast, from what, what came, and the state of alarms; SQLite, crash-safe.

Every call writes one transaction: it is there whole when the call returns and not at all before. Recording a forecast
again changes nothing, so an interrupted run is simply run again.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from aegis_yield.domain.errors import DataError
from aegis_yield.domain.forecast import QUANTILE_COLUMNS
from aegis_yield.monitoring.migration import tell_worlds_apart
from aegis_yield.monitoring.records import KeptForecast, Lineage, MadeForecast, Outcome, World

FORMAT: Final = 2
"""Format 2 keeps events of the real market and of simulated ones apart; a store of format 1 becomes one of format 2
when it is opened."""

WAIT_S: Final = 30.0
"""For another process that writes."""

MIN_PREFIX: Final = 6
"""Characters of an id that may stand for it."""

_HEADER: Final = b"SQLite format 3\x00"
_COLUMNS: Final = (
    "strategy_id", "category", "origin", "horizon_days", "apy", "volatility", "last_apy", *QUANTILE_COLUMNS,
)  # fmt: skip
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS lineage (
    id INTEGER PRIMARY KEY, bundle TEXT, bundle_sha256 TEXT, dataset TEXT, dataset_sha256 TEXT, simulated INTEGER,
    run_id TEXT, manifest TEXT, UNIQUE (bundle, bundle_sha256, dataset, dataset_sha256, run_id, manifest));
CREATE TABLE IF NOT EXISTS forecast (
    id TEXT PRIMARY KEY, lineage INTEGER NOT NULL REFERENCES lineage (id), made_at TEXT, due TEXT,
    strategy_id TEXT, category TEXT, origin TEXT, horizon_days INTEGER, apy REAL, volatility REAL, last_apy REAL,
    {", ".join(f"{name} REAL" for name in QUANTILE_COLUMNS)},
    actual_apy REAL, actual_volatility REAL, scored_at TEXT DEFAULT '');
CREATE INDEX IF NOT EXISTS forecast_waiting ON forecast (due) WHERE scored_at = '';
CREATE INDEX IF NOT EXISTS forecast_origin ON forecast (origin, due);
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, content TEXT);
CREATE TABLE IF NOT EXISTS event (
    number INTEGER PRIMARY KEY AUTOINCREMENT, world TEXT, day TEXT, name TEXT, kind TEXT, reason TEXT,
    UNIQUE (world, day, name, kind));
"""
_OF_WORLD: Final = "lineage IN (SELECT id FROM lineage WHERE simulated = ? AND (simulated = 0 OR dataset = ?))"
_UNKNOWN_WORLD: Final = ""
"""Of events that were kept before worlds were told apart: they are shown in each."""


class ForecastStore:
    """Forecasts, outcomes and alarms in one file.

    Parameters
    ----------
    path : Path
        The file; it is made with its folder if need be.

    Raises
    ------
    DataError
        If the file is no store, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _opened(path)
        except sqlite3.Error as error:
            raise DataError(f"{path}: cannot be opened as the forecast store ({error}); move it away") from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def record(self, lineage: Lineage, forecasts: Sequence[MadeForecast], made_at: dt.datetime) -> list[str]:
        """Remember forecasts, all or none, and return their ids; those known already stay as they are."""
        ids = [lineage.forecast_id(one.strategy_id, one.origin, one.horizon_days) for one in forecasts]
        names = ("id", "lineage", "made_at", "due", *_COLUMNS)
        marks = ", ".join("?" * len(names))
        with self._transaction():
            source = self._lineage_number(lineage)
            rows = [
                (key, source, made_at.isoformat(timespec="seconds"), one.due.isoformat(), *_values(one))
                for key, one in zip(ids, forecasts, strict=True)
            ]
            self._db.executemany(f"INSERT OR IGNORE INTO forecast ({', '.join(names)}) VALUES ({marks})", rows)
        return ids

    def waiting(self, world: World, until: dt.date) -> list[KeptForecast]:
        """Return a world's forecasts whose horizon has ended by a day and whose outcome was not looked at yet."""
        condition = f"scored_at = '' AND due <= ? AND {_OF_WORLD} ORDER BY origin, id"
        return self._forecasts(condition, until.isoformat(), *_marks(world))

    def settle(self, outcomes: Sequence[Outcome], scored_at: dt.datetime) -> None:
        """Remember what came, all or none; what is known already stays."""
        now = scored_at.isoformat(timespec="seconds")
        with self._transaction():
            self._db.executemany(
                "UPDATE forecast SET actual_apy = ?, actual_volatility = ?, scored_at = ? "
                "WHERE id = ? AND scored_at = ''",
                [(one.apy, one.volatility, now, one.forecast_id) for one in outcomes],
            )

    def scored(self, world: World, first_due: dt.date, last_due: dt.date) -> list[KeptForecast]:
        """Return a world's forecasts with a known outcome whose horizon ended between two days, by day of origin."""
        condition = f"actual_apy IS NOT NULL AND due BETWEEN ? AND ? AND {_OF_WORLD} ORDER BY origin, id"
        return self._forecasts(condition, first_due.isoformat(), last_due.isoformat(), *_marks(world))

    def counts(self, world: World | None = None) -> dict[str, int]:
        """Return how many forecasts there are, with an outcome, and still open; of one world, or of all."""
        query = "SELECT count(*), count(actual_apy), coalesce(sum(scored_at = ''), 0) FROM forecast"
        which, values = ("", ()) if world is None else (f" WHERE {_OF_WORLD}", _marks(world))
        total, known, waiting = self._db.execute(query + which, values).fetchone()
        return {"forecasts": int(total), "scored": int(known), "open": int(waiting)}

    def find(self, forecast_id: str) -> tuple[KeptForecast, Lineage]:
        """Return a forecast and from what it was made; the beginning of an id is enough if it is unique.

        Raises
        ------
        DataError
            If no forecast has that id, or several begin so.
        """
        wanted = forecast_id.strip().lower()
        found = []
        if len(wanted) >= MIN_PREFIX and wanted.isalnum():
            found = self._forecasts("id LIKE ? || '%' ORDER BY id LIMIT 2", wanted)
        if len(found) != 1:
            problem = "several forecasts begin so" if found else "no forecast of that id is recorded"
            raise DataError(f"forecast {forecast_id!r}: {problem} in {self.path}; record with: aegis predict --record")
        query = "SELECT lineage.* FROM lineage JOIN forecast ON lineage.id = forecast.lineage WHERE forecast.id = ?"
        _, bundle, bundle_hash, dataset, dataset_hash, simulated, run_id, manifest = self._db.execute(
            query, (found[0].id,)
        ).fetchone()
        made_from = (bundle, bundle_hash, dataset, dataset_hash, bool(simulated), run_id, json.loads(manifest))
        return found[0], Lineage(*made_from)

    def note(self, name: str) -> dict[str, Any]:
        """Return a named state; empty if there is none."""
        row = self._db.execute("SELECT content FROM note WHERE name = ?", (name,)).fetchone()
        return dict(json.loads(row[0])) if row else {}

    def keep_note(
        self, name: str, content: Mapping[str, Any], world: World, events: Sequence[Mapping[str, str]] = ()
    ) -> None:
        """Replace a named state and add events of a world (``day``, ``name``, ``kind``, ``reason``), together."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (name, json.dumps(dict(content))))
            self._db.executemany(
                "INSERT OR IGNORE INTO event (world, day, name, kind, reason) "
                "VALUES (:world, :day, :name, :kind, :reason)",
                [{**event, "world": world.key} for event in events],
            )

    def events(self, world: World, limit: int = 50) -> list[dict[str, str]]:
        """Return what happened last in a world, newest first."""
        query = "SELECT day, name, kind, reason FROM event WHERE world IN (?, ?) ORDER BY day DESC, number DESC LIMIT ?"
        found = self._db.execute(query, (world.key, _UNKNOWN_WORLD, limit))
        return [dict(zip(("day", "name", "kind", "reason"), row, strict=True)) for row in found]

    def _forecasts(self, condition: str, *values: str | int) -> list[KeptForecast]:
        names = ("id", "made_at", "actual_apy", "actual_volatility", "scored_at", *_COLUMNS)
        found = self._db.execute(f"SELECT {', '.join(names)} FROM forecast WHERE {condition}", values)
        return [_kept(row) for row in found]

    def _lineage_number(self, lineage: Lineage) -> int:
        values = {**asdict(lineage), "manifest": json.dumps(dict(lineage.manifest), sort_keys=True)}
        values["simulated"] = int(lineage.simulated)
        self._db.execute(
            "INSERT OR IGNORE INTO lineage (bundle, bundle_sha256, dataset, dataset_sha256, simulated, run_id, "
            "manifest) VALUES (:bundle, :bundle_sha256, :dataset, :dataset_sha256, :simulated, :run_id, :manifest)",
            values,
        )
        query = (
            "SELECT id FROM lineage WHERE (bundle, bundle_sha256, dataset, dataset_sha256, run_id, manifest) = "
            "(:bundle, :bundle_sha256, :dataset, :dataset_sha256, :run_id, :manifest)"
        )
        return int(self._db.execute(query, values).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._writing, self._db:  # threads of a service share one connection
                self._db.execute("BEGIN IMMEDIATE")
                yield
        except sqlite3.OperationalError as error:  # a full disk, a lock that is never let go
            raise DataError(f"{self.path}: the forecast store cannot be written: {error}") from error


def _opened(path: Path) -> sqlite3.Connection:
    if path.is_file():
        with path.open("rb") as stream:  # SQLite takes a file of a few bytes for an empty one and writes over it
            if stream.read(len(_HEADER)) not in (b"", _HEADER):
                raise sqlite3.DatabaseError("file is not a database")
    db = sqlite3.connect(path, isolation_level=None, timeout=WAIT_S, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise sqlite3.DatabaseError(f"format {version}, this release reads {FORMAT}")
        if version == 1:
            tell_worlds_apart(db)
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version = {FORMAT}")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _marks(world: World) -> tuple[int, str]:
    return int(world.simulated), world.dataset


def _values(one: MadeForecast) -> tuple[object, ...]:
    head = (one.strategy_id, one.category, one.origin.isoformat(), one.horizon_days)
    return (*head, one.apy, one.volatility, one.last_apy, *one.quantiles)


def _kept(row: Sequence[Any]) -> KeptForecast:
    key, made_at, apy, volatility, scored_at, *numbers = row
    strategy, category, origin, horizon, *rest = numbers
    point, spread, last, *quantiles = rest
    made = MadeForecast(
        strategy, category, dt.date.fromisoformat(origin), horizon, point, spread, last, tuple(quantiles)
    )
    return KeptForecast(key, made_at, made, apy, volatility, scored_at)
