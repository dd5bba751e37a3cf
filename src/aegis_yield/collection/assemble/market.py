"""The market table: one column per series of the catalogue, each day from the first of its sources that has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from aegis_yield.collection.assemble.rates import closes, realised_volatility
from aegis_yield.collection.assemble.view import View
from aegis_yield.collection.catalogue import Catalogue, Feed, MarketColumn


def market_table(catalogue: Catalogue, view: View) -> pl.DataFrame:
    """Return the market table.

    Returns
    -------
    polars.DataFrame
        ``date`` and one column per series of the catalogue that has any day; null where no source has the day.
    """
    columns = [frame for column in catalogue.market if (frame := _column(column, view)).height]
    table = pl.DataFrame(schema={"date": pl.Date})
    for frame in columns:
        table = table.join(frame, on="date", how="full", coalesce=True)
    return table.sort("date")


def _column(column: MarketColumn, view: View) -> pl.DataFrame:
    found = pl.DataFrame(schema={"date": pl.Date, "value": pl.Float64})
    for feed in column.feeds:
        more = _series(column.column, feed, view).join(found, on="date", how="anti")
        found = pl.concat([found, more])
    return found.sort("date").rename({"value": column.column})


def _series(column: str, feed: Feed, view: View) -> pl.DataFrame:
    demand = feed.demand
    if demand.dataset == "candles":
        mine = (pl.col("venue") == demand.source) & (pl.col("symbol") == demand.entity)
        candles = view.final("candles", mine)
        return realised_volatility(candles) if column.endswith("_volatility") else closes(candles)
    if demand.dataset == "fees":
        days = view.final("gas_days", pl.col("chain") == demand.entity)
        total = pl.col("base_fee_gwei") + pl.col("priority_fee_gwei").fill_null(0.0)
        return days.select("date", total.alias("value"))
    name = _SERIES_NAMES.get((demand.source, demand.dataset), _as_it_is)
    return view.series(demand.source, name(demand.entity))


def _as_it_is(entity: str) -> str:
    return entity


_SERIES_NAMES: Final[Mapping[tuple[str, str], Callable[[str], str]]] = {
    ("fear_greed", "index"): lambda _: "fear_greed",
    ("coingecko", "market_chart"): lambda coin: f"price:{coin}",
    ("defillama", "price"): lambda coin: f"price:{coin}",
    ("defillama", "protocol_tvl"): lambda slug: f"protocol_tvl:{slug}",
    ("defillama", "chain_tvl"): lambda chain: f"chain_tvl:{chain}",
    ("defillama", "stablecoins"): lambda _: "stablecoins:*",
}
"""How the series of a dataset are named in ``series_days``."""
