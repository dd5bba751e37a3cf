"""The journal remembers what was done, also in another process, and can be lost without losing data."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from aegis_yield.collection.journal import Journal, Status, Waiting
from aegis_yield.collection.units import Demand, WorkUnit
from aegis_yield.domain.errors import CollectionError

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
DEMAND = Demand("binance", "funding", "ETHUSDT")
UNIT = WorkUnit(DEMAND, dt.date(2026, 2, 1), dt.date(2026, 3, 1))
OTHER = WorkUnit(DEMAND, dt.date(2026, 3, 1), dt.date(2026, 4, 1))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with closing(Journal(path)) as journal:
        yield journal


def test_a_unit_from_its_beginning_to_its_end(journal: Journal) -> None:
    assert (journal.status(UNIT), journal.cursor(UNIT)) == (None, "")
    journal.begin(UNIT, NOW)
    assert (journal.status(UNIT), journal.cursor(UNIT)) == (Status.OPEN, "")
    journal.move(UNIT, "1772323200000")
    journal.fail(UNIT.id, "transient", "binance: HTTP 503", NOW)
    assert (journal.status(UNIT), journal.cursor(UNIT)) == (Status.FAILED, "1772323200000")
    (row,) = journal.units()
    assert (row["attempts"], row["verdict"], row["reason"]) == (1, "transient", "binance: HTTP 503")
    journal.begin(UNIT, NOW)
    assert (journal.status(UNIT), journal.cursor(UNIT)) == (Status.OPEN, "1772323200000")
    journal.finish(UNIT, Status.DONE, NOW + dt.timedelta(hours=1))
    assert journal.units() == [
        {
            "id": UNIT.id, "source": "binance", "dataset": "funding", "entity": "ETHUSDT", "start": "2026-02-01",
            "end": "2026-03-01", "status": "done", "attempts": 2, "verdict": "", "reason": "",
            "updated_at": "2026-03-01T13:00:00+00:00",
        }
    ]  # fmt: skip


def test_units_do_not_touch_each_other(journal: Journal) -> None:
    journal.begin(UNIT, NOW)
    journal.begin(OTHER, NOW)
    journal.move(OTHER, "7")
    journal.finish(UNIT, Status.EMPTY, NOW)
    assert journal.statuses() == {UNIT.id: Status.EMPTY, OTHER.id: Status.OPEN}
    assert (journal.cursor(UNIT), journal.cursor(OTHER)) == ("", "7")


def test_a_failure_of_a_unit_that_nobody_began_is_nobodys(journal: Journal) -> None:
    journal.fail(UNIT.id, "final", "unreadable", NOW)
    assert journal.units() == []


def test_pages_wait_in_the_order_of_time_until_they_are_settled(journal: Journal) -> None:
    for raw_id in ("20260301T2-b", "20260301T1-a", "20260302T1-a"):
        journal.landed(raw_id, DEMAND, UNIT.id)
    journal.landed("20260301T1-a", DEMAND, UNIT.id)  # found again as an orphan
    assert [item.raw_id for item in journal.waiting()] == ["20260301T1-a", "20260301T2-b", "20260302T1-a"]
    assert journal.waiting()[0] == Waiting("20260301T1-a", DEMAND, UNIT.id)
    journal.settle(["20260301T1-a"], "stored")
    journal.settle(iter(["20260302T1-a"]), "unreadable")
    journal.settle([], "stored")
    assert [item.raw_id for item in journal.waiting()] == ["20260301T2-b"]
    journal.landed("20260301T1-a", DEMAND, UNIT.id)  # stays settled
    assert len(journal.waiting()) == 1
    assert journal.newest_page() == "20260302T1-a"
    assert journal.known_pages("20260302") == {"20260302T1-a"}
    assert len(journal.known_pages("")) == 3


def test_an_empty_journal_knows_nothing(journal: Journal) -> None:
    assert (journal.statuses(), journal.units(), journal.waiting(), journal.runs()) == ({}, [], [], [])
    assert (journal.newest_page(), journal.known_pages(""), journal.block("ethereum", 7)) == ("", set(), None)


def test_blocks_are_remembered_by_chain_and_time(journal: Journal) -> None:
    journal.remember_block("ethereum", 1_772_323_199, 24_500_000)
    journal.remember_block("ethereum", 1_772_409_599, 24_507_150)
    assert journal.block("ethereum", 1_772_323_199) == 24_500_000
    assert journal.block("ethereum", 1_772_323_198) is None
    assert journal.block("base", 1_772_323_199) is None


def test_runs_are_listed_newest_first_also_those_that_were_killed(journal: Journal) -> None:
    first = journal.open_run(NOW)
    journal.close_run(first, NOW + dt.timedelta(minutes=5), {"units": 3, "failed": 1})
    journal.open_run(NOW + dt.timedelta(hours=1))
    assert journal.runs() == [
        {"started_at": "2026-03-01T13:00:00+00:00", "finished_at": None},
        {"started_at": NOW.isoformat(), "finished_at": "2026-03-01T12:05:00+00:00", "units": 3, "failed": 1},
    ]


def test_everything_is_there_for_the_next_process(path: Path) -> None:
    with closing(Journal(path)) as journal:
        journal.begin(UNIT, NOW)
        journal.move(UNIT, "5")
        journal.landed("20260301T1-a", DEMAND, UNIT.id)
        journal.remember_block("ethereum", 7, 1)
        journal.open_run(NOW)
        before = (journal.units(), journal.waiting(), journal.runs(), journal.cursor(UNIT))
    with closing(Journal(path)) as journal:
        assert (journal.units(), journal.waiting(), journal.runs(), journal.cursor(UNIT)) == before
        assert journal.block("ethereum", 7) == 1


def test_another_process_may_look_while_one_writes(path: Path, journal: Journal) -> None:
    journal.begin(UNIT, NOW)
    with closing(Journal(path)) as looking:
        assert looking.statuses() == {UNIT.id: Status.OPEN}
        journal.finish(UNIT, Status.DONE, NOW)
        assert looking.statuses() == {UNIT.id: Status.DONE}


# Damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"not a database, at all " * 400,
        lambda content: b"\0" * 200 + content[200:],
        lambda content: content[: len(content) // 2],
        lambda content: content[:4096] + b"\xa5" * len(content[4096:]),
    ],
    ids=["foreign", "no head", "cut short", "overwritten"],
)
def test_a_corrupt_journal_is_refused_with_advice(path: Path, damage: object) -> None:
    with closing(Journal(path)) as journal:
        for number in range(300):
            journal.landed(f"20260301T{number:012d}-a", DEMAND, UNIT.id)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(CollectionError) as caught:
        Journal(path)
    assert str(path) in str(caught.value)
    assert "delete it, the raw answers are kept" in str(caught.value)


def test_a_journal_that_another_program_holds_is_not_to_be_deleted(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.close()
    path.unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, **more, timeout=0.05))
        with pytest.raises(CollectionError, match="the journal cannot be opened: database is locked") as caught:
            Journal(path)
    assert "delete" not in str(caught.value)


def test_a_journal_where_a_folder_lies_says_so(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(CollectionError, match="the journal cannot be opened: unable to open database file"):
        Journal(path)
