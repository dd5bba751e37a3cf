"""Daily rates of an Aave v3 reserve from its updates: indices at midnights, and what they grew by."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from aegis_yield.collection.accrual import debt_index, supply_index, yearly
from aegis_yield.collection.blocks import end_of

SCHEMA: Final = {
    "date": pl.Date,
    "apy": pl.Float64,
    "borrow_apy": pl.Float64,
    "utilization": pl.Float64,
    "supply": pl.Float64,
    "debt": pl.Float64,
}

_ONE_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True)
class _Midnight:
    """Indices at the end of a day, in rays, and the utilization that the rates then imply, but for the factor."""

    supply_index: int
    debt_index: int
    rate_share: float | None


def daily_rates(updates: pl.DataFrame, scans: pl.DataFrame, blocks: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    """Return what suppliers of a reserve earned and borrowers paid, day by day.

    Parameters
    ----------
    updates, scans, blocks, states : polars.DataFrame
        Newest rows of ``aave_updates``, ``log_scans``, ``chain_blocks`` and ``aave_states`` of one reserve.

    Returns
    -------
    polars.DataFrame
        ``date``; ``apy`` and ``borrow_apy``, the growth of the indices over the day, compounded to a year;
        ``utilization`` from the state at the day's end, else from the rates then and the nearest known reserve factor;
        ``supply`` and ``debt`` in whole tokens where the state is known. A day is absent unless the last update before
        both of its midnights is known for sure.
    """
    midnights = _midnights(updates, scans, blocks)
    days = [day for day in midnights if day - _ONE_DAY in midnights]
    rates = pl.DataFrame(
        {
            "date": days,
            "apy": [yearly(midnights[day - _ONE_DAY].supply_index, midnights[day].supply_index) for day in days],
            "borrow_apy": [yearly(midnights[day - _ONE_DAY].debt_index, midnights[day].debt_index) for day in days],
            "_share": [midnights[day].rate_share for day in days],
        },
        schema={"date": pl.Date, "apy": pl.Float64, "borrow_apy": pl.Float64, "_share": pl.Float64},
    )
    states = states.sort("date")
    factors = states.select("date", "reserve_factor").drop_nulls()
    known = rates.sort("date").join(states.select("date", "supply", "debt"), on="date", how="left")
    known = known.join_asof(factors, on="date", strategy="nearest")
    counted = pl.when(pl.col("supply") > 0).then(pl.col("debt") / pl.col("supply"))
    implied = pl.when(pl.col("reserve_factor") < 1).then(pl.col("_share") / (1 - pl.col("reserve_factor")))
    return known.with_columns(pl.coalesce(counted, implied).alias("utilization")).select(
        pl.col(name).cast(kind) for name, kind in SCHEMA.items()
    )


def _midnights(updates: pl.DataFrame, scans: pl.DataFrame, blocks: pl.DataFrame) -> dict[dt.date, _Midnight]:
    """Return the indices at the end of each day whose last update is known, by day in order."""
    # Of several updates in one block the last one holds; its time must come from a header with the same hash.
    last = updates.sort("block_number", "log_index").unique("block_number", keep="last", maintain_order=True)
    headers = blocks.select("block_number", "block_hash", pl.col("time").alias("_header_time"))
    last = last.join(headers, on=["block_number", "block_hash"], how="left", maintain_order="left")
    last = last.with_columns(pl.coalesce("time", "_header_time").alias("time")).drop("_header_time")
    searched = _searched(scans)
    found = searched.join_asof(last, left_on="to_block", right_on="block_number", strategy="backward", coalesce=False)
    sure = found.filter((pl.col("block_number") >= pl.col("_searched_from")) & pl.col("time").is_not_null())
    return {row["date"]: _midnight(row) for row in sure.sort("date").iter_rows(named=True)}


def _searched(scans: pl.DataFrame) -> pl.DataFrame:
    """Return, for each day's end, from which block on everything up to it was searched, one search joining another."""
    rows = scans.sort("to_block", "from_block").select("date", "from_block", "to_block")
    reach: list[int] = []
    for first, last_before in zip(rows["from_block"], rows["to_block"].shift(1), strict=True):
        joins = last_before is not None and first <= last_before + 1
        reach.append(min(first, reach[-1]) if joins else first)
    return rows.select("date", "to_block", pl.Series("_searched_from", reach, dtype=pl.Int64))


def _midnight(row: dict[str, Any]) -> _Midnight:
    seconds = end_of(row["date"]) - int(row["time"].timestamp())
    supply_rate, debt_rate = int(row["liquidity_rate_ray"]), int(row["variable_borrow_rate_ray"])
    return _Midnight(
        supply_index(int(row["liquidity_index_ray"]), supply_rate, seconds),
        debt_index(int(row["variable_borrow_index_ray"]), debt_rate, seconds),
        supply_rate / debt_rate if debt_rate else None,
    )
