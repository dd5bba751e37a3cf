"""Migration of a forecast store of format 1, which did not tell the real market and simulated ones apart."""

from __future__ import annotations

import sqlite3
from typing import Final

from aegis_yield.monitoring.records import World

FROM: Final = 1
TO: Final = 2
_NOTES: Final = ("alarms", "recalibration")


def tell_worlds_apart(db: sqlite3.Connection) -> None:
    """Give every event and state the world it belongs to, all or nothing; forecasts always knew theirs.

    Parameters
    ----------
    db : Connection
        To a store of format 1, in which no transaction is under way. Another process may do the same at once.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == FROM:  # else another process was quicker
            _move_events(db)
            _rename_notes(db)
            db.execute(f"PRAGMA user_version = {TO}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _move_events(db: sqlite3.Connection) -> None:
    """Events say not where they happened: in the only world there was, or it stays unknown, and each shows them."""
    worlds = {World(bool(simulated), name).key for simulated, name in _sources(db)}
    world = worlds.pop() if len(worlds) == 1 else ""
    db.execute(
        "CREATE TABLE event_of_world (number INTEGER PRIMARY KEY AUTOINCREMENT, world TEXT, day TEXT, name TEXT, "
        "kind TEXT, reason TEXT, UNIQUE (world, day, name, kind))"
    )
    columns = "number, world, day, name, kind, reason"
    db.execute(f"INSERT INTO event_of_world ({columns}) SELECT number, ?, day, name, kind, reason FROM event", (world,))
    db.execute("DROP TABLE event")
    db.execute("ALTER TABLE event_of_world RENAME TO event")


def _rename_notes(db: sqlite3.Connection) -> None:
    """States are named after their tables: rename those of simulated ones; of tables unknown, keep one for either."""
    sources = _sources(db)
    for (name,) in db.execute("SELECT name FROM note").fetchall():
        kind, _, rest = name.partition(" ")
        if kind not in _NOTES:
            continue
        version, _, tables = rest.partition(" ") if kind == "recalibration" else ("", "", rest)
        simulated = {bool(flag) for flag, dataset in sources if dataset == tables}
        if simulated != {False}:
            begin = f"{kind} {version}" if version else kind
            row = (World(True, tables).note(begin), name)
            db.execute("INSERT OR IGNORE INTO note SELECT ?, content FROM note WHERE name = ?", row)
        if simulated == {True}:
            db.execute("DELETE FROM note WHERE name = ?", (name,))


def _sources(db: sqlite3.Connection) -> list[tuple[int, str]]:
    return list(db.execute("SELECT DISTINCT simulated, dataset FROM lineage"))
