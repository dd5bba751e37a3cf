"""What cannot be true is set aside with its reason: every rule of every table, broken once."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.collection.checks import CLOCK_SKEW, sift
from aegis_yield.collection.history import stamped
from aegis_yield.collection.schemas import TABLES

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
DAY, HOUR = dt.date(2026, 2, 27), dt.datetime(2026, 2, 27, 8, tzinfo=dt.UTC)
NAN, INF = float("nan"), float("inf")

GOOD: dict[str, dict[str, Any]] = {
    "pools": {
        "pool": "p", "date": DAY, "project": "aave-v3", "chain": "Ethereum", "symbol": "USDC", "tvl_usd": 1e6,
        "apy": 0.03, "apy_base": 0.03, "apy_reward": None,
    },
    "protocols": {"slug": "aave-v3", "date": DAY, "name": "Aave", "category": "Lending"},
    "pool_days": {"pool": "p", "date": DAY, "apy": 0.03, "apy_base": 0.03, "apy_reward": 0.0, "tvl_usd": 1e6},
    "pool_lending_days": {
        "pool": "p", "date": DAY, "total_supply_usd": 2.0, "total_borrow_usd": 1.0, "borrow_apy": 0.05,
    },
    "series_days": {"source": "fred", "series": "DFF", "date": DAY, "value": 4.33},
    "funding": {"venue": "binance", "symbol": "ETH", "time": HOUR, "rate": 0.0001, "mark_price": 3000.0},
    "candles": {
        "venue": "bybit", "symbol": "ETH", "interval": "1h", "time": HOUR, "open": 3.0, "high": 4.0, "low": 2.0,
        "close": 3.5, "volume": 10.0,
    },
    "gas_days": {"chain": "ethereum", "date": DAY, "base_fee_gwei": 5.0, "priority_fee_gwei": 0.1, "n_blocks": 7150},
    "chain_blocks": {"chain": "ethereum", "block_number": 21, "block_hash": "0x1", "time": HOUR},
    "log_scans": {"chain": "ethereum", "subject": "0x1", "date": DAY, "from_block": 20, "to_block": 21},
    "aave_updates": {
        "chain": "ethereum", "reserve": "0x1", "log_index": 3, "block_number": 21, "block_hash": "0x1", "time": HOUR,
        "liquidity_rate_ray": "1",
    },
    "aave_states": {
        "chain": "ethereum", "reserve": "0x1", "date": DAY, "block_number": 21, "reserve_factor": 0.1, "supply": 2.0,
        "debt": 1.0, "supply_cap": 0.0,
    },
    "lido_rebases": {
        "chain": "ethereum", "log_index": 3, "block_number": 21, "block_hash": "0x1", "time": HOUR,
        "time_elapsed_s": 86400,
    },
    "share_prices": {"chain": "ethereum", "vault": "0x1", "date": DAY, "block_number": 21, "assets_per_share": 1.05},
}  # fmt: skip

# Beside the common rules: table, what is wrong with a row, and the words that must be said.
BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("pools", {"apy": -0.01}, "apy must lie in 0 … 10000 (a fraction a year)"),
    ("pools", {"tvl_usd": -1.0}, "tvl_usd must be at least 0"),
    ("pools", {"project": None}, "project must be known"),
    ("pools", {"chain": None}, "chain must be known"),
    ("pools", {"symbol": None}, "symbol must be known"),
    ("pool_days", {"apy": -1e-9}, "apy must lie in 0 … 10000 (a fraction a year)"),
    ("pool_days", {"apy": 10_000.1}, "apy must lie in 0 … 10000 (a fraction a year)"),
    ("pool_days", {"apy": None}, "apy must be known"),
    ("pool_days", {"tvl_usd": -1.0}, "tvl_usd must be at least 0"),
    ("pool_lending_days", {"total_supply_usd": -1.0}, "total_supply_usd must be at least 0"),
    ("pool_lending_days", {"total_borrow_usd": -1.0}, "total_borrow_usd must be at least 0"),
    ("series_days", {"value": None}, "value must be known"),
    ("series_days", {"series": "price:ethereum", "value": 0.0}, "a price must be above 0"),
    ("series_days", {"series": "chain_tvl:Ethereum", "value": -1.0}, "an amount must be at least 0"),
    ("series_days", {"series": "fear_greed", "value": 101.0}, "fear_greed must lie in 0 … 100"),
    ("funding", {"rate": None}, "rate must be known"),
    ("funding", {"rate": -0.11}, "|rate| must be at most 0.1 an interval"),
    ("funding", {"rate": 0.11}, "|rate| must be at most 0.1 an interval"),
    ("funding", {"mark_price": 0.0}, "mark_price must be above 0"),
    ("candles", {"close": None}, "close must be known"),
    ("candles", {"open": 0.0}, "open must be above 0"),
    ("candles", {"low": -1.0}, "low must be above 0"),
    ("candles", {"close": 0.0}, "close must be above 0"),
    ("candles", {"volume": -1.0}, "volume must be at least 0"),
    ("candles", {"high": 1.0}, "high must not be below low"),
    ("gas_days", {"base_fee_gwei": -1.0}, "base_fee_gwei must be at least 0"),
    ("gas_days", {"priority_fee_gwei": -1.0}, "priority_fee_gwei must be at least 0"),
    ("gas_days", {"n_blocks": 0}, "n_blocks must be above 0"),
    ("chain_blocks", {"time": None}, "time must be known"),
    ("log_scans", {"to_block": 19}, "to_block must not be below from_block"),
    ("aave_states", {"supply": -1.0}, "supply must be at least 0"),
    ("aave_states", {"debt": -1.0}, "debt must be at least 0"),
    ("lido_rebases", {"time_elapsed_s": 0}, "time_elapsed_s must be above 0"),
    ("share_prices", {"assets_per_share": None}, "assets_per_share must be known"),
    ("share_prices", {"assets_per_share": 0.0}, "assets_per_share must be above 0"),
]


def rows(table: str, *changes: dict[str, Any]) -> pl.DataFrame:
    """Good rows of a table, each with its changes."""
    cells = [GOOD[table] | {"is_final": True} | change for change in changes]
    types = {name: kind for name, kind in TABLES[table].columns.items() if any(name in row for row in cells)}
    return stamped(pl.DataFrame(cells, schema=types), table, "raw-1", NOW)


def reasons(table: str, change: dict[str, Any]) -> list[str]:
    """What is said of a row that has a change; beside it lies a good one, which must stay good."""
    good, bad = sift(TABLES[table], rows(table, {}, change))
    assert good["row_no"].to_list() == ([0] if bad.height else [0, 1])
    return bad["reason"].to_list()


@pytest.mark.parametrize("table", TABLES)
def test_a_good_row_is_good(table: str) -> None:
    good, bad = sift(TABLES[table], rows(table, {}))
    assert good.equals(rows(table, {}))
    assert (bad.height, bad.columns[-1]) == (0, "reason")


@pytest.mark.parametrize(("table", "change", "words"), BROKEN, ids=lambda part: str(part)[:40])
def test_a_broken_rule_is_named(table: str, change: dict[str, Any], words: str) -> None:
    assert reasons(table, change) == [words]


def test_every_rule_is_broken_here_once() -> None:
    stated = {(name, rule.words) for name, spec in TABLES.items() for rule in spec.rules}
    assert {(table, words) for table, _, words in BROKEN} == stated


@pytest.mark.parametrize("table", TABLES)
def test_what_holds_for_all_tables_holds_for_this_one(table: str) -> None:
    spec = TABLES[table]
    for key in spec.keys:
        assert f"{key} must be known" in reasons(table, {key: None})[0]
    assert reasons(table, {"is_final": None}) == ["is_final must be known"]
    for name, kind in {**spec.keys, **spec.values}.items():
        if kind == pl.Float64:
            for value in (NAN, INF, -INF):
                assert f"{name} must be a finite number" in reasons(table, {name: value})[0]
        if kind == pl.Date:
            assert reasons(table, {name: dt.date(2014, 12, 31)}) == [f"{name} must not lie before 2015-01-01"]
            assert reasons(table, {name: dt.date(2026, 3, 2)}) == [f"{name} must not lie in the future"]
            assert reasons(table, {name: dt.date(2015, 1, 1)}) == reasons(table, {name: dt.date(2026, 3, 1)}) == []
        if isinstance(kind, pl.Datetime):
            first, skewed = dt.datetime(2015, 1, 1, tzinfo=dt.UTC), NOW + CLOCK_SKEW
            tick = dt.timedelta(microseconds=1)
            assert reasons(table, {name: first - tick}) == [f"{name} must not lie before 2015-01-01"]
            assert reasons(table, {name: skewed + tick}) == [f"{name} must not lie in the future"]
            assert reasons(table, {name: first}) == reasons(table, {name: skewed}) == []


def test_a_day_may_begin_a_little_early_at_the_source() -> None:
    table = rows("pool_days", {"date": dt.date(2026, 3, 2)})
    late = table.with_columns(pl.lit(dt.datetime(2026, 3, 1, 23, 55, tzinfo=dt.UTC)).alias("ingested_at"))
    early = table.with_columns(pl.lit(dt.datetime(2026, 3, 1, 23, 54, 59, tzinfo=dt.UTC)).alias("ingested_at"))
    assert sift(TABLES["pool_days"], late)[1].height == 0
    assert sift(TABLES["pool_days"], early)[1].height == 1


def test_all_that_is_wrong_with_a_row_is_said() -> None:
    change = {"pool": None, "apy": None, "tvl_usd": -INF, "date": dt.date(1970, 1, 1)}
    assert reasons("pool_days", change)[0].split("; ") == [
        "pool must be known", "tvl_usd must be a finite number", "date must not lie before 2015-01-01",
        "apy must be known", "tvl_usd must be at least 0",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["apy_base", "apy_reward", "tvl_usd"])
def test_what_is_optional_may_be_unknown(name: str) -> None:
    assert reasons("pool_days", {name: None}) == []


def test_the_edges_are_allowed() -> None:
    assert reasons("pool_days", {"apy": 0.0, "tvl_usd": 0.0}) == []
    assert reasons("pool_days", {"apy": 10_000.0}) == []
    assert reasons("funding", {"rate": 0.1}) == reasons("funding", {"rate": -0.1}) == []
    assert reasons("candles", {"high": 2.0, "low": 2.0}) == []
    assert reasons("series_days", {"series": "fear_greed", "value": 100.0}) == []
    assert reasons("series_days", {"value": -0.5}) == []  # a rate of interest may be negative


@given(st.lists(st.sampled_from([0.01, -1.0, NAN, None, 2e4]), max_size=12))
def test_no_row_is_lost_or_moved(values: list[float | None]) -> None:
    table = rows("pool_days", *({"apy": value} for value in values)) if values else rows("pool_days", {}).clear()
    good, bad = sift(TABLES["pool_days"], table)
    together = pl.concat([good, bad.drop("reason")]).sort("row_no")
    assert together.equals(table, null_equal=True)
    assert good["apy"].to_list() == [value for value in values if value == 0.01]
    assert good["row_no"].is_sorted()
    assert bad["row_no"].is_sorted()
