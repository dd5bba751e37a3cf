"""One strategy's days from one of its sources, whatever kind of source it is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from aegis_yield.collection.assemble import aave, erc4626, lido
from aegis_yield.collection.assemble.pools import pool_days
from aegis_yield.collection.assemble.rates import compounded, funding_days
from aegis_yield.collection.assemble.view import View
from aegis_yield.collection.catalogue import Feed
from aegis_yield.collection.sources.aave import subject_of
from aegis_yield.domain.errors import CollectionError

COLUMNS: Final = (
    "apy", "apy_base", "apy_reward", "tvl_usd", "borrow_apy", "utilization", "total_supply_usd", "total_borrow_usd",
)  # fmt: skip
"""What a source may say of a day; only ``apy`` is certain."""


def feed_days(feed: Feed, view: View) -> pl.DataFrame:
    """Return the days of one feed.

    Parameters
    ----------
    feed : Feed
        Of a strategy of the catalogue.
    view : View
        The history.

    Returns
    -------
    polars.DataFrame
        ``date`` and those of :data:`COLUMNS` that the source knows, sorted by date; amounts of tokens may come as
        ``supply`` and ``debt``.
    """
    kind = feed.demand.dataset
    if kind not in _KINDS:
        raise CollectionError(f"{feed.demand.source}/{kind}: received a source that pays no yield")
    days = _KINDS[kind](feed, view)
    if feed.rate == "apr":
        days = days.with_columns(compounded(pl.col("apy")).alias("apy"))
    return days.sort("date")


def _chart(feed: Feed, view: View) -> pl.DataFrame:
    return pool_days(view, [feed.demand.entity]).drop("pool")


def _funding(feed: Feed, view: View) -> pl.DataFrame:
    mine = (pl.col("venue") == feed.demand.source) & (pl.col("symbol") == feed.demand.entity)
    payments = view.final("funding", mine)
    return _over(funding_days(payments), payments)


def _over(days: pl.DataFrame, *witnesses: pl.DataFrame) -> pl.DataFrame:
    """Keep the days that were over when the newest of the rows came: more could be paid on the one under way."""
    came = pl.concat([rows.select("ingested_at") for rows in witnesses]).to_series()
    if came.is_empty():
        return days
    ends = pl.col("date").cast(came.dtype) + dt.timedelta(days=1)
    return days.filter(ends <= pl.lit(came.max(), came.dtype))


def _lido_api(feed: Feed, view: View) -> pl.DataFrame:
    return view.series(feed.demand.source, f"{feed.demand.entity}.apr").rename({"value": "apy"})


def _aave(feed: Feed, view: View) -> pl.DataFrame:
    reserve = feed.demand.entity.lower()
    updates = view.final("aave_updates", pl.col("reserve") == reserve)
    blocks = view.final("chain_blocks", pl.col("block_number").is_in(updates["block_number"].unique().to_list()))
    scans = view.final("log_scans", pl.col("subject") == subject_of(reserve))
    states = view.final("aave_states", pl.col("reserve") == reserve)
    return aave.daily_rates(updates, scans, blocks, states)


def _lido(feed: Feed, view: View) -> pl.DataFrame:  # noqa: ARG001 - there is one stETH
    rebases = view.final("lido_rebases")
    # A day's only report comes at noon; the list of pools, taken in every run, shows that the day went by since.
    return _over(lido.daily_rates(rebases), rebases, view.newest("pools"))


def _vault(feed: Feed, view: View) -> pl.DataFrame:
    vaults = [vault.lower() for vault in (feed.demand.entity, *feed.through)]
    return erc4626.daily_rates(view.final("share_prices", pl.col("vault").is_in(vaults)), vaults)


_KINDS: Final[Mapping[str, Callable[[Feed, View], pl.DataFrame]]] = {
    "chart": _chart,
    "funding": _funding,
    "apr": _lido_api,
    "reserve": _aave,
    "rebases": _lido,
    "share_price": _vault,
}
