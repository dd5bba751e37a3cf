"""The tables of yields and strategies: every strategy's days from its best source, checked against the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from aegis_yield.collection.assemble.carry import carry_days
from aegis_yield.collection.assemble.feeds import COLUMNS, feed_days
from aegis_yield.collection.assemble.flags import flagged
from aegis_yield.collection.assemble.pools import pool_days
from aegis_yield.collection.assemble.view import View
from aegis_yield.collection.catalogue import Catalogue, Feed, Listed, PriceOf
from aegis_yield.collection.universe import categorised, strategy_id

ENOUGH_SHARE: Final = 0.5
"""The preferred source gives the rates if it has at least this share of the days of the longest one."""

_SCHEMA: Final = {
    "strategy_id": pl.String,
    "date": pl.Date,
    **dict.fromkeys((*COLUMNS, "price"), pl.Float64),
    "source": pl.String,
    "other_apy": pl.Float64,
}


@dataclass(frozen=True)
class Tables:
    """The tables of yields and of strategies, as the data contract has them."""

    yields: pl.DataFrame
    strategies: pl.DataFrame


def yield_tables(catalogue: Catalogue, view: View) -> Tables:
    """Return what is known of all strategies: those of the catalogue, and every other pool with a history.

    Returns
    -------
    Tables
        ``yields`` sorted by strategy and date with ``quality_flags``; ``strategies`` holds exactly those with rows.
    """
    frames: dict[str, pl.DataFrame] = {}
    for listed in catalogue.strategies:
        if listed.carry is None:
            frames[listed.id] = _from_feeds(listed, view)
    for listed in catalogue.strategies:
        if listed.carry is not None:
            days = carry_days(listed.carry, frames[listed.carry.long], frames[listed.carry.short])
            frames[listed.id] = _completed(days.with_columns(pl.lit("legs").alias("source")), listed.id)
    others, described = _followed_pools(catalogue, view)
    yields = pl.concat([*(_priced(frames[name.id], name.price, view) for name in catalogue.strategies), others])
    yields = flagged(yields.sort("strategy_id", "date"))
    strategies = pl.concat([_described(catalogue), described], how="diagonal").unique("strategy_id", keep="first")
    return Tables(yields, strategies.join(yields, on="strategy_id", how="semi").sort("strategy_id"))


def _from_feeds(listed: Listed, view: View) -> pl.DataFrame:
    """Rates from one feed, never mixed; what the others know beside rates is added, and their rates are a check."""
    found = [(feed, feed_days(feed, view)) for feed in listed.feeds]
    longest = max(days.height for _, days in found)
    order = sorted(found, key=lambda item: item[1].height < ENOUGH_SHARE * longest)  # stable: preference within
    (main, days), *others = [item for item in order if item[1].height] or order
    days = _in_dollars(days, listed.price, view)
    if others:
        days = days.join(others[0][1].select("date", pl.col("apy").alias("other_apy")), on="date", how="left")
    for _, other in others:
        days = _filled_up(days, _in_dollars(other, listed.price, view))
    return _completed(days.with_columns(pl.lit(main.demand.source).alias("source")), listed.id)


def _filled_up(days: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Add what another source knows of the same days, except its rates; that of borrowing only where there is none."""
    has_own = "borrow_apy" in days.columns and days["borrow_apy"].count() > 0
    more = [name for name in COLUMNS[3:] if name in other.columns and not (name == "borrow_apy" and has_own)]
    joined = days.join(other.select("date", *more), on="date", how="left", suffix="_other")
    filled = [pl.coalesce(name, f"{name}_other").alias(name) for name in more if f"{name}_other" in joined.columns]
    return joined.with_columns(filled).select(pl.exclude("^.*_other$"))


def _in_dollars(days: pl.DataFrame, price: PriceOf | None, view: View) -> pl.DataFrame:
    """Turn amounts of tokens into US dollars, where the token's price is known."""
    if "supply" not in days.columns:
        return days
    if price is None:
        return days.drop("supply", "debt")
    usd = view.series("defillama", f"price:{price.of}").rename({"value": "_usd"})
    return (
        days.join(usd, on="date", how="left")
        .with_columns(
            (pl.col("supply") * pl.col("_usd")).alias("total_supply_usd"),
            (pl.col("debt") * pl.col("_usd")).alias("total_borrow_usd"),
            ((pl.col("supply") - pl.col("debt")).clip(lower_bound=0.0) * pl.col("_usd")).alias("tvl_usd"),
        )
        .drop("supply", "debt", "_usd")
    )


def _priced(days: pl.DataFrame, price: PriceOf | None, view: View) -> pl.DataFrame:
    if price is None:
        return days
    value = view.series("defillama", f"price:{price.of}").rename({"value": "_price"})
    if price.over:
        unit = view.series("defillama", f"price:{price.over}").rename({"value": "_unit"})
        value = value.join(unit, on="date").select("date", (pl.col("_price") / pl.col("_unit")).alias("_price"))
    joined = days.join(value, on="date", how="left").with_columns(pl.col("_price").alias("price"))
    return joined.select(days.columns)


def _completed(days: pl.DataFrame, strategy: str) -> pl.DataFrame:
    """Return the days with every column of the table, in its order."""
    known = days.with_columns(pl.lit(strategy).alias("strategy_id"))
    absent = [pl.lit(None, kind).alias(name) for name, kind in _SCHEMA.items() if name not in known.columns]
    return known.with_columns(absent).select(pl.col(name).cast(kind) for name, kind in _SCHEMA.items())


def _followed_pools(catalogue: Catalogue, view: View) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return yields and descriptions of the pools that are followed without being in the catalogue."""
    described = followed_pools(view).filter(~pl.col("llama_id").is_in(_listed_pools(catalogue)))
    days = pool_days(view, described["llama_id"].to_list()).rename({"pool": "llama_id"})
    days = days.join(described.select("llama_id", "strategy_id"), on="llama_id")
    absent = [pl.lit(None, kind).alias(name) for name, kind in _SCHEMA.items() if name not in days.columns]
    yields = days.with_columns(absent).with_columns(pl.lit("defillama").alias("source"))
    return yields.select(pl.col(name).cast(kind) for name, kind in _SCHEMA.items()), described


def _listed_pools(catalogue: Catalogue) -> list[str]:
    return [feed.demand.entity for listed in catalogue.strategies for feed in listed.feeds if _is_chart(feed)]


def _is_chart(feed: Feed) -> bool:
    return (feed.demand.source, feed.demand.dataset) == ("defillama", "chart")


def followed_pools(view: View) -> pl.DataFrame:
    """Return every pool that has a history: ``llama_id``, ``strategy_id``, project, chain, symbol, category.

    Names are those under which a pool was first seen, its category is today's.
    """
    seen = view.newest("pool_days").select("pool").unique()
    pools = view.newest("pools").join(seen, on="pool", how="semi").sort("pool", "date")
    first = pools.unique("pool", keep="first", maintain_order=True).select("pool", strategy_id().alias("strategy_id"))
    newest = categorised(
        pools.unique("pool", keep="last"), view.newest("protocols").sort("slug", "date", descending=[False, True])
    )
    named = newest.join(first, on="pool").select(
        pl.col("pool").alias("llama_id"), "strategy_id", "project", "chain", "symbol", "category"
    )
    unnamed = seen.join(named, left_on="pool", right_on="llama_id", how="anti").select(
        pl.col("pool").alias("llama_id"),
        pl.concat_str(pl.lit("unknown:unknown:unknown:"), pl.col("pool").str.slice(0, 8)).alias("strategy_id"),
        *(pl.lit("unknown").alias(name) for name in ("project", "chain", "symbol")),
        pl.lit("other").alias("category"),
    )
    return pl.concat([named, unnamed]).with_columns(pl.lit("DefiLlama chart").alias("method")).sort("strategy_id")


def _described(catalogue: Catalogue) -> pl.DataFrame:
    rows = [
        {
            "strategy_id": listed.id,
            "project": listed.project,
            "chain": listed.chain,
            "symbol": listed.symbol,
            "category": listed.category,
            "llama_id": next((feed.demand.entity for feed in listed.feeds if _is_chart(feed)), None),
            "method": _method(listed),
        }
        for listed in catalogue.strategies
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(_DESCRIBED, pl.String))


_DESCRIBED: Final = ("strategy_id", "project", "chain", "symbol", "category", "llama_id", "method")


def _method(listed: Listed) -> str:
    if listed.carry is not None:
        return f"legs: {listed.carry.long} and {listed.carry.short}, net of costs, on capital"
    return ", else ".join(_words(listed.feeds))


def _words(feeds: Sequence[Feed]) -> list[str]:
    return [f"{feed.demand.source}/{feed.demand.dataset}" for feed in feeds]
