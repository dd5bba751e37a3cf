"""From landed answers to the history: nothing lost with the journal, and the whole made again from the raw zone."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest
from eth_abi.exceptions import InsufficientDataBytes
from harness import Bench
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_source import TOYS, blocks, whole

from aegis_yield.collection import reader as module
from aegis_yield.collection import sources
from aegis_yield.collection.datasets import DatasetSpec
from aegis_yield.collection.history import Appended, History
from aegis_yield.collection.raw import Answer
from aegis_yield.collection.units import Demand, Page, Request, daily_unit
from aegis_yield.domain.errors import CollectionError

DAY = dt.timedelta(days=1)
FIRST = dt.date(2026, 1, 1)
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
TABLES = ("pool_days", "chain_blocks")

pytestmark = pytest.mark.usefixtures("toys")


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(NOON, FIRST)


def land(bench: Bench, demand: Demand, content: Any, number: int, **more: Any) -> str:
    """Land an answer of minute ``number``; enter it into the journal unless it is said to be cut off there."""
    fetched_at = NOON + dt.timedelta(minutes=number)
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    values = {"status": 200, "headers": {}, "url": "http://127.0.0.1/", "duration_ms": 1.0, "attempt": 1}
    unit = daily_unit(demand, fetched_at.date())
    asked = Request("binance", "/x", is_probe=more.pop("is_probe", False))
    is_entered = more.pop("is_entered", True)
    raw_id = bench.raw.land(unit, asked, Answer(body=body, fetched_at=fetched_at, **{**values, **more}))
    if is_entered:
        bench.journal.landed(raw_id, demand, unit.id)
    return raw_id


def days(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"days": list(rows)}


def day(number: int, apy: float = 0.01, is_final: bool = True) -> dict[str, Any]:
    return {"day": str(FIRST + number * DAY), "apy": apy, "is_final": is_final}


def a_long_story(bench: Bench) -> None:
    """Land answers that repeat, revise, finalise and break rules, errors and probes among them."""
    for number in range(12):
        pool = whole("ab"[number % 2])
        rows = [day(n, 0.01 * (1 + (number // 5 + n) % 3), is_final=n < number) for n in range(number % 4 + 2)]
        land(bench, pool, days(*rows, day(20, -1.0 if number % 3 == 0 else 0.02)), number)
        if number % 4 == 0:
            land(bench, pool, b"<html>", number, verdict="transient: is not JSON", is_entered=False)
            land(bench, pool, {"now": 1}, number, is_probe=True, is_entered=False)
        land(bench, blocks("ba"[number % 2]), {"numbers": list(range(number, number + 6))}, number)
    land(bench, whole("a"), {"days": [{"day": "soon", "apy": 1}]}, 13)


def contents(history: History) -> list[list[dict[str, Any]]]:
    """Every revision and every row set aside, with all columns."""
    stored = [history.revisions(table).to_dicts() for table in TABLES]
    return [*stored, *(sorted(history.quarantined(table).to_dicts(), key=repr) for table in TABLES)]


def restarted(bench: Bench) -> Bench:
    bench.close()
    bench.reopen()
    return bench


def read_in_steps(bench: Bench, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(module, "BATCH_PAGES", size)
        bench.reader.read_waiting()


# Reading


def test_answers_are_read_counted_and_settled(bench: Bench) -> None:
    land(bench, whole("a"), days(day(0), day(1), day(2, -1.0)), 0)
    land(bench, whole("b"), days(day(0)), 1)
    land(bench, blocks("a"), {"numbers": [7]}, 2)
    land(bench, whole("a"), days(day(0), day(1, 0.05)), 3)
    bench.reader.read_waiting()
    assert bench.history.latest("pool_days").select("pool", "apy").rows() == [("a", 0.01), ("a", 0.05), ("b", 0.01)]
    assert bench.reader.figures.appended == {
        ("toy", "whole"): Appended(new=3, revised=1, unchanged=1, rejected=1), ("toy", "blocks_a"): Appended(new=1),
    }  # fmt: skip
    assert sorted(bench.reader.figures.rows_of_unit.values()) == [1, 1, 5]
    assert bench.journal.waiting() == []
    assert bench.reader.figures.unreadable == {}


def test_rows_know_where_they_came_from(bench: Bench) -> None:
    raw_id = land(bench, whole("a"), days(day(0), day(1), day(1, 0.02)), 0)
    bench.reader.read_waiting()
    found = bench.history.latest("pool_days").select("raw_id", "row_no", "ingested_at", "revision").rows()
    assert found == [(raw_id, 0, NOON, 1), (raw_id, 2, NOON, 1)]


def breaks(error: BaseException) -> DatasetSpec:
    def parse(page: Page) -> dict[str, pl.DataFrame]:
        raise error

    return DatasetSpec("toy", "broken", "binance", TOYS["toy", "whole"].fetch, parse)


@pytest.mark.parametrize(
    "error",
    [
        *(kind("no") for kind in (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError)),
        RecursionError("deep"),
        InsufficientDataBytes("short"),
        pl.exceptions.ComputeError("no"),
        UnicodeError("two\nlines"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_answer_that_breaks_its_reader_breaks_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setitem(sources.DATASETS, ("toy", "broken"), breaks(error))
    broken = Demand("toy", "broken", "a")
    land(bench, broken, {}, 0)
    land(bench, whole("a"), days(day(0)), 1)
    bench.reader.read_waiting()
    assert bench.history.latest("pool_days").height == 1
    (reason,) = bench.reader.figures.unreadable.values()
    assert reason.startswith(f"unreadable: {type(error).__name__}: ")
    assert len(reason.splitlines()) == 1
    assert bench.journal.waiting() == []  # not tried again and again


@pytest.mark.parametrize(
    "content",
    [
        {"days": 7},
        [],
        {},
        {"days": [{"day": "soon", "apy": 1}]},
        {"days": [{"day": "2026-01-01", "apy": "high"}]},
        {"days": [{"day": "2026-01-01", "apy": None}]},
        b"{",
        b"",
    ],
)
def test_an_answer_of_another_form_is_unreadable(bench: Bench, content: Any) -> None:
    land(bench, whole("a"), content, 0)
    bench.reader.read_waiting()
    assert list(bench.reader.figures.unreadable) == [daily_unit(whole("a"), NOON.date()).id]
    assert bench.history.latest("pool_days").height == 0


def test_an_answer_of_a_dataset_that_is_gone_is_unreadable(bench: Bench) -> None:
    land(bench, Demand("toy", "gone", "a"), {}, 0)
    bench.reader.read_waiting()
    assert "toy/gone" in next(iter(bench.reader.figures.unreadable.values()))


@pytest.mark.parametrize("how", ["damaged", "deleted"])
def test_a_damaged_answer_is_named_and_breaks_nothing_else(bench: Bench, how: str) -> None:
    path = bench.raw.path_of(whole("a"), land(bench, whole("a"), days(day(0)), 0))
    land(bench, whole("b"), days(day(0)), 1)
    path.write_bytes(path.read_bytes()[:-9]) if how == "damaged" else path.unlink()
    bench.reader.read_waiting()
    (reason,) = bench.reader.figures.unreadable.values()
    assert str(path) in reason
    assert bench.history.latest("pool_days")["pool"].to_list() == ["b"]
    assert bench.journal.waiting() == []


def test_two_datasets_that_see_the_same_thing_count_in_the_order_of_time(
    bench: Bench, make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [make_bench(NOON, FIRST) for _ in range(2)]
    for one in (bench, *others):
        for number, dataset in enumerate("abba"):
            land(one, blocks(dataset), {"numbers": [number, number + 1, number + 2]}, number)
    for size, one in zip((64, 1, 2), (bench, *others), strict=True):
        read_in_steps(one, monkeypatch, size)
    assert contents(bench.history) == contents(others[0].history) == contents(others[1].history)
    stored = bench.history.latest("chain_blocks")
    assert stored["ingested_at"].to_list() == [NOON + m * dt.timedelta(minutes=1) for m in (0, 0, 0, 1, 2, 3)]
    assert bench.reader.figures.appended == {
        ("toy", "blocks_a"): Appended(new=4, unchanged=2), ("toy", "blocks_b"): Appended(new=2, unchanged=4),
    }  # fmt: skip


# Losing the journal


@pytest.mark.parametrize("lost", ["everything", "the pages", "the newest pages", "that they were read"])
@pytest.mark.parametrize("size", [1, 5, 64])
def test_a_lost_journal_loses_and_doubles_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, lost: str, size: int
) -> None:
    a_long_story(bench)
    read_in_steps(bench, monkeypatch, size)
    before = contents(bench.history)
    assert all(part for part in (before[0], before[1], before[2]))
    assert max(row["revision"] for row in before[0]) > 2
    n_pages = len(bench.journal.known_pages(""))
    bench.close()
    path = bench.folder / "raw" / "journal.sqlite3"
    if lost == "everything":
        for part in path.parent.glob("journal.sqlite3*"):
            part.unlink()
    else:
        change = {
            "the pages": "DELETE FROM page",
            "the newest pages": (
                "DELETE FROM page WHERE raw_id NOT IN (SELECT raw_id FROM page ORDER BY raw_id LIMIT 10)"
            ),
            "that they were read": "UPDATE page SET state = 'landed'",
        }[lost]
        bench.reopen()
        bench.journal._db.execute(change)
    bench = restarted(bench)
    expected = {"everything": n_pages, "the pages": n_pages, "the newest pages": n_pages - 10, "that they were read": 0}
    assert bench.reader.adopt_orphans() == expected[lost]
    assert bench.reader.adopt_orphans() == 0
    bench.reader.read_waiting()
    assert contents(bench.history) == before
    assert len(bench.journal.known_pages("")) == n_pages
    assert bench.journal.waiting() == []


def test_an_answer_cut_off_from_the_journal_is_found_and_read(bench: Bench) -> None:
    land(bench, whole("a"), days(day(0)), 0)
    lost = land(bench, whole("b"), days(day(0)), 1, is_entered=False)
    assert bench.reader.adopt_orphans() == 1
    (waiting,) = (item for item in bench.journal.waiting() if item.raw_id == lost)
    assert (waiting.demand, waiting.unit_id) == (whole("b"), daily_unit(whole("b"), NOON.date()).id)
    bench.reader.read_waiting()
    assert bench.history.latest("pool_days")["pool"].to_list() == ["a", "b"]


def test_an_answer_cut_off_just_before_midnight_is_found(bench: Bench) -> None:
    before, after = 12 * 60 - 1, 12 * 60 + 1
    land(bench, whole("a"), days(day(0)), before, is_entered=False)
    land(bench, whole("b"), days(day(0)), after)
    assert bench.reader.adopt_orphans() == 1


def test_answers_of_days_long_read_are_not_looked_at_again(bench: Bench) -> None:
    path = bench.raw.path_of(whole("a"), land(bench, whole("a"), days(day(0)), 0, is_entered=False))
    land(bench, whole("b"), days(day(0)), 3 * 24 * 60)
    path.write_bytes(b"damaged: to open it would fail")
    assert bench.reader.adopt_orphans() == 0


def test_errors_and_probes_are_nobodys_orphans(bench: Bench) -> None:
    land(bench, whole("a"), days(day(0)), 0, is_entered=False, verdict="final: no")
    land(bench, whole("a"), days(day(0)), 1, is_entered=False, is_probe=True)
    assert bench.reader.adopt_orphans() == 0
    assert bench.journal.waiting() == []


def test_a_damaged_orphan_stops_the_collection_with_advice(bench: Bench) -> None:
    path = bench.raw.path_of(whole("a"), land(bench, whole("a"), days(day(0)), 0, is_entered=False))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CollectionError, match="delete the file and collect again") as caught:
        bench.reader.adopt_orphans()
    assert str(path) in str(caught.value)
    path.unlink()
    assert bench.reader.adopt_orphans() == 0


# Rebuilding


@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_rebuilt_history_equals_the_one_that_grew(bench: Bench, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    a_long_story(bench)
    read_in_steps(bench, monkeypatch, size)
    before = contents(bench.history)
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(module, "BATCH_PAGES", 11)
    rebuilt = bench.reader.rebuild(lambda done, total: told.append((done, total)))
    assert rebuilt.generation == "g0002"
    assert contents(rebuilt) == before
    assert contents(History(bench.history.folder)) == before
    n_files = len(list(bench.raw.files()))
    assert told == [(11, n_files), (22, n_files), (n_files, n_files)]
    assert len(bench.reader.figures.unreadable) == 1


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answers=st.lists(
        st.tuples(st.sampled_from("ab"), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()))),
        min_size=1, max_size=8,
    ),
    pauses=st.sets(st.integers(0, 8)),
)  # fmt: skip
def test_whenever_answers_were_read_a_rebuild_finds_the_same(
    make_bench: Callable[..., Bench],
    answers: Sequence[tuple[str, Sequence[tuple[int, int, bool]]]],
    pauses: set[int],
) -> None:
    bench = make_bench(NOON, FIRST)
    for number, (pool, rows) in enumerate(answers):
        land(bench, whole(pool), days(*(day(n, 0.01 * apy, is_final) for n, apy, is_final in rows)), number)
        if number in pauses:
            bench.reader.read_waiting()
    bench.reader.read_waiting()
    before = contents(bench.history)
    assert contents(bench.reader.rebuild(lambda done, total: None)) == before


def test_a_rebuild_needs_no_journal(bench: Bench) -> None:
    a_long_story(bench)
    bench.reader.read_waiting()
    before = contents(bench.history)
    bench.close()
    for part in (bench.folder / "raw").glob("journal.sqlite3*"):
        part.unlink()
    bench.reopen()
    assert contents(bench.reader.rebuild(lambda done, total: None)) == before


def test_a_killed_rebuild_leaves_the_old_history_in_use(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    a_long_story(bench)
    bench.reader.read_waiting()
    before = contents(bench.history)
    monkeypatch.setattr(module, "BATCH_PAGES", 5)

    def die(done: int, total: int) -> None:
        if done >= 10:
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            bench.reader.rebuild(die)
        assert (History(bench.history.folder).generation, (bench.history.folder / "g0002").is_dir()) == ("g0001", True)
        assert contents(History(bench.history.folder)) == before
    monkeypatch.setattr(History, "adopt", lambda self: die(99, 99))
    with pytest.raises(KeyboardInterrupt):  # all is written, but nobody was told
        bench.reader.rebuild(lambda done, total: None)
    assert History(bench.history.folder).generation == "g0001"


def test_a_rebuild_refuses_a_damaged_answer_and_leaves_the_old_history_in_use(bench: Bench) -> None:
    path = bench.raw.path_of(whole("a"), land(bench, whole("a"), days(day(0)), 0))
    bench.reader.read_waiting()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CollectionError, match=path.name):
        bench.reader.rebuild(lambda done, total: None)
    assert History(bench.history.folder).latest("pool_days").height == 1


def test_a_history_that_was_rebuilt_goes_on_growing(bench: Bench) -> None:
    land(bench, whole("a"), days(day(0)), 0)
    bench.reader.read_waiting()
    bench.reader.rebuild(lambda done, total: None)
    bench = restarted(bench)
    land(bench, whole("a"), days(day(0, 0.02)), 1)
    bench.reader.read_waiting()
    assert bench.history.revisions("pool_days").select("apy", "revision").rows() == [(0.01, 1), (0.02, 2)]
    assert bench.history.generation == "g0002"
