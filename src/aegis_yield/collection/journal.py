"""The journal: which units are done, which answers wait to be read, what went wrong; SQLite, crash-safe.

The raw zone is the truth and the journal a memory of it: whatever a crash cut off between the two is found again by
:meth:`~aegis_yield.collection.reader.Reader.adopt_orphans`.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from aegis_yield.collection.units import Demand, WorkUnit
from aegis_yield.domain.errors import CollectionError

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS unit (
    id TEXT PRIMARY KEY, source TEXT, dataset TEXT, entity TEXT, start TEXT, end TEXT,
    status TEXT, attempts INTEGER DEFAULT 0, cursor TEXT DEFAULT '', verdict TEXT DEFAULT '', reason TEXT DEFAULT '',
    updated_at TEXT);
CREATE TABLE IF NOT EXISTS page (
    raw_id TEXT PRIMARY KEY, source TEXT, dataset TEXT, entity TEXT, unit TEXT, state TEXT);
CREATE INDEX IF NOT EXISTS page_state ON page (state) WHERE state = 'landed';
CREATE TABLE IF NOT EXISTS block (chain TEXT, time INTEGER, number INTEGER, PRIMARY KEY (chain, time));
CREATE TABLE IF NOT EXISTS run (
    id INTEGER PRIMARY KEY AUTOINCREMENT, started_at TEXT, finished_at TEXT, summary TEXT);
"""


class Status(StrEnum):
    """How far a unit is."""

    OPEN = "open"  # begun, goes on at its cursor
    DONE = "done"
    EMPTY = "empty"  # done, and the source had nothing
    FAILED = "failed"


@dataclass(frozen=True)
class Waiting:
    """An answer that was landed and has not been read into the history yet."""

    raw_id: str
    demand: Demand
    unit_id: str


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.executescript(_SCHEMA)
        for (fault,) in db.execute("PRAGMA quick_check(1)"):
            if fault != "ok":
                raise sqlite3.DatabaseError(fault)
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


class Journal:
    """Remembers units, pages, blocks and runs; what a call wrote outlives the process when it returns.

    A power cut may take the last few calls: their units are asked again, their pages found again in the raw zone.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _opened(path)
        except sqlite3.OperationalError as error:  # locked, no permission, a full disk: nothing that deleting mends
            raise CollectionError(f"{path}: the journal cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise CollectionError(
                f"{path}: cannot be read as the journal ({error}); delete it, the raw answers are kept"
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    # Units

    def status(self, unit: WorkUnit) -> Status | None:
        """Return how far a unit is, None if it was never begun."""
        row = self._db.execute("SELECT status FROM unit WHERE id = ?", (unit.id,)).fetchone()
        return Status(row[0]) if row else None

    def statuses(self) -> dict[str, Status]:
        """Return how far every unit ever begun is, by id."""
        return {key: Status(status) for key, status in self._db.execute("SELECT id, status FROM unit")}

    def cursor(self, unit: WorkUnit) -> str:
        """Return where an open unit goes on; empty at its beginning."""
        row = self._db.execute("SELECT cursor FROM unit WHERE id = ?", (unit.id,)).fetchone()
        return str(row[0]) if row else ""

    def begin(self, unit: WorkUnit, now: dt.datetime) -> None:
        """Count an attempt at a unit."""
        demand = unit.demand
        values = (unit.id, demand.source, demand.dataset, demand.entity, str(unit.start), str(unit.end))
        self._db.execute(
            "INSERT INTO unit (id, source, dataset, entity, start, end, status, attempts, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?, 'open', 1, ?) ON CONFLICT (id) DO UPDATE SET "
            "attempts = attempts + 1, status = 'open', updated_at = excluded.updated_at",
            (*values, now.isoformat()),
        )

    def move(self, unit: WorkUnit, cursor: str) -> None:
        """Remember that everything before ``cursor`` is landed."""
        self._db.execute("UPDATE unit SET cursor = ? WHERE id = ?", (cursor, unit.id))

    def finish(self, unit: WorkUnit, status: Status, now: dt.datetime) -> None:
        """Remember that a unit is done or empty, or stays open because its window does."""
        self._db.execute(
            "UPDATE unit SET status = ?, verdict = '', reason = '', updated_at = ? WHERE id = ?",
            (status, now.isoformat(), unit.id),
        )

    def fail(self, unit_id: str, verdict: str, reason: str, now: dt.datetime) -> None:
        """Remember why a unit failed; the next run tries it again from its cursor."""
        self._db.execute(
            "UPDATE unit SET status = 'failed', verdict = ?, reason = ?, updated_at = ? WHERE id = ?",
            (verdict, reason, now.isoformat(), unit_id),
        )

    def units(self) -> list[dict[str, Any]]:
        """Return every unit as a plain row."""
        found = self._db.execute(
            "SELECT id, source, dataset, entity, start, end, status, attempts, verdict, reason, updated_at FROM unit"
        )
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    # Pages

    def landed(self, raw_id: str, demand: Demand, unit_id: str) -> None:
        """Remember an answer that waits to be read."""
        self._db.execute(
            "INSERT OR IGNORE INTO page VALUES (?, ?, ?, ?, ?, 'landed')",
            (raw_id, demand.source, demand.dataset, demand.entity, unit_id),
        )

    def waiting(self) -> list[Waiting]:
        """Return the answers that were landed and not read, oldest first."""
        found = self._db.execute(
            "SELECT raw_id, source, dataset, entity, unit FROM page WHERE state = 'landed' ORDER BY raw_id"
        )
        return [Waiting(raw_id, Demand(*demand), unit) for raw_id, *demand, unit in found]

    def settle(self, raw_ids: Iterable[str], state: str) -> None:
        """Remember that answers were read (``"stored"``) or cannot be (``"unreadable"``)."""
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany("UPDATE page SET state = ? WHERE raw_id = ?", [(state, raw) for raw in raw_ids])

    def newest_page(self) -> str:
        """Return the newest raw_id known, empty if there is none."""
        row = self._db.execute("SELECT max(raw_id) FROM page").fetchone()
        return str(row[0] or "")

    def known_pages(self, from_day: str) -> set[str]:
        """Return the raw_ids known from a day (``YYYYMMDD``) on."""
        return {raw for (raw,) in self._db.execute("SELECT raw_id FROM page WHERE raw_id >= ?", (from_day,))}

    # Blocks

    def block(self, chain: str, time: int) -> int | None:
        """Return the last block at or before a UNIX time, if it is known for good."""
        row = self._db.execute("SELECT number FROM block WHERE chain = ? AND time = ?", (chain, time)).fetchone()
        return int(row[0]) if row else None

    def remember_block(self, chain: str, time: int, number: int) -> None:
        """Remember the last block at or before a UNIX time; only for times that are final."""
        self._db.execute("INSERT OR REPLACE INTO block VALUES (?, ?, ?)", (chain, time, number))

    # Runs

    def open_run(self, now: dt.datetime) -> int:
        """Begin a run and return its number."""
        done = self._db.execute("INSERT INTO run (started_at) VALUES (?)", (now.isoformat(),))
        return int(done.lastrowid or 0)

    def close_run(self, run: int, now: dt.datetime, summary: Mapping[str, Any]) -> None:
        """End a run with its figures."""
        self._db.execute(
            "UPDATE run SET finished_at = ?, summary = ? WHERE id = ?", (now.isoformat(), json.dumps(summary), run)
        )

    def runs(self) -> list[dict[str, Any]]:
        """Return every run, newest first: when it began and ended, and its figures."""
        found = self._db.execute("SELECT started_at, finished_at, summary FROM run ORDER BY id DESC")
        return [
            {"started_at": began, "finished_at": ended, **json.loads(summary or "{}")}
            for began, ended, summary in found
        ]
