"""How a collection stands, counted by hand beside it: freshness, completeness, revisions, failures, per source."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aegis_yield.collection.history import History, stamped
from aegis_yield.collection.journal import Journal, Status
from aegis_yield.collection.schemas import TABLES, TIME
from aegis_yield.collection.status import TableStatus, table_status, unit_status
from aegis_yield.collection.units import Demand, WorkUnit

FIRST = dt.date(2024, 1, 1)
TODAY = FIRST + dt.timedelta(days=200)


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


class Past:
    def __init__(self, folder: Path) -> None:
        self.history = History(folder)
        self._serial = 0

    def add(self, table: str, rows: Iterable[Mapping[str, Any]], **everywhere: Any) -> None:
        self._serial += 1
        listed = [{**everywhere, **row} for row in rows]
        spec = TABLES[table].columns
        frame = pl.DataFrame(listed, schema={name: spec[name] for name in listed[0]}, orient="row")
        at = dt.datetime.combine(TODAY, dt.time(), dt.UTC) + dt.timedelta(seconds=self._serial)
        self.history.append(table, stamped(frame, table, f"{self._serial:021d}-a", at))

    def funding(self, venue: str, symbol: str, days: Iterable[int]) -> None:
        hours = [dt.timedelta(days=number, hours=hour) for number in days for hour in (0, 8, 16)]
        start = dt.datetime.combine(FIRST, dt.time(), dt.UTC)
        self.add("funding", [{"time": start + step, "rate": 1e-4} for step in hours], venue=venue, symbol=symbol)

    def of(self, source: str, table: str) -> TableStatus:
        (found,) = (one for one in table_status(self.history, TODAY) if (one.source, one.table) == (source, table))
        return found


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path)


def test_an_empty_history_has_no_status(past: Past) -> None:
    assert table_status(past.history, TODAY) == []


def test_series_rows_newest_day_and_age(past: Past) -> None:
    past.add("pool_days", [{"date": day(n), "apy": 0.03} for n in range(50)], pool="a")
    past.add("pool_days", [{"date": day(n), "apy": 0.03} for n in range(10, 198)], pool="b")
    found = past.of("defillama", "pool_days")
    assert (found.n_entities, found.n_rows) == (2, 238)
    assert (found.newest, found.age_days) == (day(197), 3)
    assert (found.n_revised, found.n_quarantined) == (0, 0)
    assert found.completeness == 1.0


def test_completeness_is_days_present_over_each_series_own_last_ninety(past: Past) -> None:
    lost = {100, 101, 150}
    past.add("pool_days", [{"date": day(n), "apy": 0.03} for n in range(180) if n not in lost], pool="a")
    past.add("pool_days", [{"date": day(n), "apy": 0.03} for n in range(40, 100, 2)], pool="b")  # ended long ago
    # Of a, days 90 … 179 count, three of them lost; of b all 59 from its first to its last, every other one there.
    assert past.of("defillama", "pool_days").completeness == pytest.approx((87 + 30) / (90 + 59))


def test_a_day_with_any_payment_counts_as_present(past: Past) -> None:
    past.funding("binance", "ETHUSDT", [n for n in range(30) if n != 7])
    found = past.of("binance", "funding")
    assert found.n_rows == 87
    assert found.completeness == pytest.approx(29 / 30)
    assert found.newest == day(29)


def test_sources_that_share_a_table_stand_by_themselves(past: Past) -> None:
    past.funding("binance", "ETHUSDT", range(10))
    past.funding("binance", "BTCUSDT", range(10))
    past.funding("okx", "ETH-USDT-SWAP", range(0, 100, 2))
    past.add("series_days", [{"date": day(1), "value": 1.0}], source="fred", series="DFF")
    past.add("series_days", [{"date": day(5), "value": 1.0}], source="fear_greed", series="fear_greed")
    past.add("gas_days", [{"date": day(1), "base_fee_gwei": 1.0, "n_blocks": 7000}], chain="ethereum")
    found = [(one.source, one.table, one.n_entities, one.newest) for one in table_status(past.history, TODAY)]
    assert found == [
        ("binance", "funding", 2, day(9)),
        ("fear_greed", "series_days", 1, day(5)),
        ("fred", "series_days", 1, day(1)),
        ("gas", "gas_days", 1, day(1)),
        ("okx", "funding", 1, day(98)),
    ]
    assert past.of("binance", "funding").completeness == 1.0
    assert past.of("okx", "funding").completeness == pytest.approx(45 / 89)


def test_revised_are_final_values_that_were_changed_afterwards(past: Past) -> None:
    rows = [{"date": day(n), "apy": 0.03} for n in range(5)]
    past.add("pool_days", [rows[0], rows[1]], pool="a")
    past.add("pool_days", [{**rows[2], "is_final": False}], pool="a")
    past.add("pool_days", [rows[1], rows[2]], pool="a")  # one unchanged, one now final
    assert past.of("defillama", "pool_days").n_revised == 0
    past.add("pool_days", [{**rows[1], "apy": 0.04}], pool="a")
    past.add("pool_days", [{**rows[1], "apy": 0.05}, {**rows[2], "apy": 0.05}], pool="a")
    found = past.of("defillama", "pool_days")
    assert (found.n_revised, found.n_rows) == (3, 3)


def test_impossible_rows_are_counted_for_their_source_even_if_it_brought_nothing_else(past: Past) -> None:
    past.add("funding", [{"time": dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "rate": 5.0}], venue="bybit", symbol="E")
    past.add("funding", [{"time": None, "rate": 0.0, "venue": None}], symbol="E")
    past.add("pool_days", [{"date": day(0), "apy": -1.0}, {"date": day(1), "apy": 0.1}], pool="a")
    found = {(one.source, one.table): (one.n_rows, one.n_quarantined) for one in table_status(past.history, TODAY)}
    assert found == {("bybit", "funding"): (0, 1), ("unknown", "funding"): (0, 1), ("defillama", "pool_days"): (1, 1)}
    bybit = past.of("bybit", "funding")
    assert (bybit.newest, bybit.age_days, bybit.completeness) == (None, None, None)


def test_tables_by_block_have_rows_and_no_days(past: Past) -> None:
    block = {"block_hash": "0x", "time": dt.datetime(2024, 1, 1, tzinfo=dt.UTC)}
    past.add("chain_blocks", [{"block_number": n, **block} for n in range(3)], chain="ethereum")
    assert past.of("ethereum", "chain_blocks") == TableStatus("ethereum", "chain_blocks", 1, 3, None, None, None, 0, 0)


def test_every_table_of_the_history_has_a_source(past: Past) -> None:
    examples = {pl.String: "x", pl.Date: day(1), pl.Int64: 5, TIME: dt.datetime(2024, 1, 1, tzinfo=dt.UTC)}
    for name, spec in TABLES.items():
        values = {key: examples[kind] for key, kind in {**spec.keys, **spec.values}.items() if kind in examples}
        numbers = {key: 1.0 for key, kind in spec.values.items() if kind == pl.Float64} | {"rate": 0.0}
        past.add(name, [values | {key: value for key, value in numbers.items() if key in spec.values}])
    assert {one.table for one in table_status(past.history, TODAY)} == set(TABLES)


# Units


NOW = dt.datetime(2024, 6, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Iterable[Journal]:
    made = Journal(tmp_path / "journal.sqlite3")
    yield made
    made.close()


def unit(source: str, dataset: str, entity: str, month: int = 1) -> WorkUnit:
    start = dt.date(2024, month, 1)
    return WorkUnit(Demand(source, dataset, entity), start, start + dt.timedelta(days=31))


def test_units_are_counted_by_status_with_the_latest_failure(journal: Journal) -> None:
    assert unit_status(journal) == []
    ends = [Status.DONE, Status.DONE, Status.OPEN, Status.EMPTY]
    for month, status in enumerate(ends, start=1):
        journal.begin(unit("binance", "funding", "ETHUSDT", month), NOW)
        journal.finish(unit("binance", "funding", "ETHUSDT", month), status, NOW)
    for month, minutes in ((5, 30), (6, 45), (7, 15)):
        journal.begin(unit("binance", "funding", "BTCUSDT", month), NOW)
        when = NOW + dt.timedelta(minutes=minutes)
        journal.fail(unit("binance", "funding", "BTCUSDT", month).id, "banned", f"after {minutes} minutes", when)
    journal.begin(unit("aave", "reserve", "0xa"), NOW)
    journal.finish(unit("aave", "reserve", "0xa"), Status.DONE, NOW)
    assert unit_status(journal) == [
        {
            "source": "aave", "dataset": "reserve", "done": 1, "empty": 0, "open": 0, "failed": 0,
            "last_run": NOW.isoformat(), "latest_failure": None,
        },
        {
            "source": "binance", "dataset": "funding", "done": 2, "empty": 1, "open": 1, "failed": 3,
            "last_run": (NOW + dt.timedelta(minutes=45)).isoformat(),
            "latest_failure": "BTCUSDT 2024-06-01: after 45 minutes",
        },
    ]  # fmt: skip


def test_a_failure_that_was_made_good_is_no_failure_any_more(journal: Journal) -> None:
    one = unit("okx", "funding", "ETH-USDT-SWAP")
    journal.begin(one, NOW)
    journal.fail(one.id, "transient", "timed out", NOW)
    journal.begin(one, NOW)
    journal.finish(one, Status.DONE, NOW)
    (found,) = unit_status(journal)
    assert (found["failed"], found["done"], found["latest_failure"]) == (0, 1, None)


def test_yesterdays_failure_counts_until_a_later_day_was_read(journal: Journal) -> None:
    def chart(pool: str, number: int) -> WorkUnit:
        return WorkUnit(Demand("defillama", "chart", pool), day(number), day(number + 1))

    for pool, number in (("a", 1), ("b", 1), ("a", 2)):
        journal.begin(chart(pool, number), NOW)
        journal.fail(chart(pool, number).id, "transient", f"{pool} of {number}", NOW)
    assert unit_status(journal)[0]["failed"] == 3
    journal.begin(chart("a", 3), NOW)
    journal.finish(chart("a", 3), Status.DONE, NOW)
    (found,) = unit_status(journal)
    assert (found["done"], found["failed"], found["latest_failure"]) == (1, 1, "b 2024-01-02: b of 1")
    # A month is asked for again until it is there: its failure stands, whatever comes after it.
    journal.begin(unit("binance", "funding", "E", 1), NOW)
    journal.fail(unit("binance", "funding", "E", 1).id, "transient", "timed out", NOW)
    journal.begin(unit("binance", "funding", "E", 2), NOW)
    journal.finish(unit("binance", "funding", "E", 2), Status.DONE, NOW)
    assert unit_status(journal)[0]["failed"] == 1
