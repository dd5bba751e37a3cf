"""Which tables a command works on, what identifies them, and what they hold."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from bundles import market
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import DataError, RequestError
from aegis_yield.pipelines.datasets import content_hash, open_dataset, strategy_listing
from aegis_yield.preprocessing.tables import read_dataset, write_dataset

Change = Callable[[Dataset], Dataset]


def test_an_empty_home_gets_the_simulated_market(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    dataset = open_dataset()
    assert dataset.is_simulated
    assert dataset.name == "simulated market (seed 7)"
    assert set(dataset.yields["source"]) == {"simulated"}


def test_collected_tables_take_the_simulated_markets_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured = replace(market(), yields=market().yields.with_columns(source=pl.lit("measured")))
    write_dataset(measured, tmp_path / "data" / "processed")
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    dataset = open_dataset()
    assert dataset.name == str(tmp_path / "data" / "processed")
    assert not dataset.is_simulated


def test_broken_collected_tables_are_refused_not_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    processed = tmp_path / "data" / "processed"
    processed.mkdir(parents=True)
    (processed / "yields.parquet").write_bytes(b"broken")
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    with pytest.raises(DataError, match=re.escape("yields.parquet: cannot be read as parquet")):
        open_dataset()


def test_a_folder_given_wins(tables: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    assert open_dataset(tables).name == str(tables)


def test_the_hash_is_the_same_wherever_the_tables_lie(tables: Path) -> None:
    assert content_hash(read_dataset(tables)) == content_hash(market())


def test_the_hash_ignores_the_name_and_the_order_of_columns() -> None:
    turned = replace(market(), name="elsewhere", yields=market().yields.select(reversed(market().yields.columns)))
    assert content_hash(turned) == content_hash(market())


@settings(max_examples=25, deadline=None)
@given(row=st.integers(0, market().yields.height - 1), column=st.sampled_from(market().yields.columns))
def test_the_hash_feels_any_cell_that_becomes_unknown(row: int, column: str) -> None:
    here = pl.int_range(pl.len()) == row
    changed = market().yields.with_columns(pl.when(~here).then(pl.col(column)).alias(column))
    same = changed.equals(market().yields)
    assert (content_hash(replace(market(), yields=changed)) == content_hash(market())) is same


CHANGES: dict[str, Change] = {
    "one value, in the last digit": lambda d: replace(d, yields=_set(d.yields, "apy", d.yields["apy"][9] + 1e-15)),
    "one text": lambda d: replace(d, yields=_set(d.yields, "source", "measured")),
    "one flag": lambda d: replace(d, yields=_set(d.yields, "is_outlier", not d.yields["is_outlier"][9])),
    "one date": lambda d: replace(d, market=_set(d.market, "date", dt.date(2001, 1, 1))),
    "one market value": lambda d: replace(d, market=_set(d.market, d.market.columns[-1], 1.5)),
    "one category": lambda d: replace(d, strategies=_set(d.strategies, "category", "other")),
    "a row less": lambda d: replace(d, yields=d.yields.head(-1)),
    "a column less": lambda d: replace(d, yields=d.yields.drop("price")),
    "a column's name": lambda d: replace(d, yields=d.yields.rename({"price": "prise"})),
    "a column's type": lambda d: replace(d, yields=d.yields.with_columns(pl.col("price").cast(pl.Float32))),
    "the order of rows": lambda d: replace(d, strategies=d.strategies.reverse()),
}


def _set(table: pl.DataFrame, column: str, value: object) -> pl.DataFrame:
    here = pl.int_range(pl.len()) == 9
    return table.with_columns(pl.when(here).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


@pytest.mark.parametrize("what", CHANGES)
def test_the_hash_feels(what: str) -> None:
    assert content_hash(CHANGES[what](market())) != content_hash(market())


def naive_hash(dataset: Dataset) -> str:
    """Value by value: what recorded forecasts and registered models already name their data by."""
    digest = hashlib.sha256()
    for table in (dataset.yields, dataset.strategies, dataset.market):
        for name in sorted(table.columns):
            dtype, values = table.schema[name], table[name].to_list()
            digest.update(f"{name}:{dtype}:".encode())
            if dtype == pl.Date:
                values = [None if value is None else (value - dt.date(1970, 1, 1)).days for value in values]
            if dtype == pl.String:
                digest.update("\x1f".join("\x00" if value is None else value for value in values).encode())
            else:
                digest.update(b"".join(struct.pack("=d", math.nan if v is None else float(v)) for v in values))
    return digest.hexdigest()


def test_the_hash_is_over_all_values_one_by_one() -> None:
    gaps = market().strategies.with_columns(chain=pl.when(pl.col("chain") != "Base").then("chain"))
    small = replace(market(), yields=market().yields.head(300), strategies=gaps)
    assert gaps["chain"].null_count()
    assert content_hash(small) == naive_hash(small)
    nothing = replace(small, yields=small.yields.clear())
    assert content_hash(nothing) == naive_hash(nothing)


def test_columns_of_any_type_can_be_hashed() -> None:
    odd = market().strategies.with_columns(
        tags=pl.concat_list("chain", "symbol"),
        ids=pl.struct("project", "chain"),
        raw=pl.col("symbol").cast(pl.Binary),
        kind=pl.col("category").cast(pl.Categorical),
        seen=pl.lit(dt.datetime(2025, 1, 1, tzinfo=dt.UTC)),
        nothing=pl.lit(None),
    )
    hashed = content_hash(replace(market(), strategies=odd))
    other = odd.with_columns(tags=pl.concat_list("symbol", "chain"))
    assert hashed == content_hash(replace(market(), strategies=odd.clone()))
    assert hashed != content_hash(replace(market(), strategies=other))


def test_the_listing_says_what_the_rows_say() -> None:
    listing = strategy_listing(market())
    assert [row["strategy_id"] for row in listing] == sorted(set(market().yields["strategy_id"]))
    for row in listing:
        own = market().yields.filter(pl.col("strategy_id") == row["strategy_id"]).sort("date").rows(named=True)
        assert (row["first_date"], row["last_date"]) == (own[0]["date"], own[-1]["date"])
        assert (row["n_rows"], row["last_apy"]) == (len(own), own[-1]["apy"])


def test_the_listing_of_a_category_holds_no_other() -> None:
    listing = strategy_listing(market(), "lending")
    expected = market().strategies.filter(pl.col("category") == "lending")["strategy_id"].sort().to_list()
    assert [row["strategy_id"] for row in listing] == expected
    assert strategy_listing(market(), "rwa") == []


def test_an_unknown_category_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(RequestError, match="category: received 'Lending', allowed is one of lending, staking"):
        strategy_listing(market(), "Lending")
