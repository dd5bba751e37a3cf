"""One strategy's days from one of its sources, whatever kind of source it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from aegis_yield.collection.assemble.pools import pool_days
from aegis_yield.collection.assemble.rates import compounded, funding_days
from aegis_yield.collection.assemble.view import View
from aegis_yield.collection.catalogue import Feed
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
        days = days.with_columns(compounded(pl.col(name)).alias(name) for name in ("apy",))
    return days.sort("date")


def _chart(feed: Feed, view: View) -> pl.DataFrame:
    return pool_days(view, [feed.demand.entity]).drop("pool")


def _funding(feed: Feed, view: View) -> pl.DataFrame:
    mine = (pl.col("venue") == feed.demand.source) & (pl.col("symbol") == feed.demand.entity)
    return funding_days(view.final("funding", mine))


def _lido_api(feed: Feed, view: View) -> pl.DataFrame:
    return view.series(feed.demand.source, f"{feed.demand.entity}.apr").rename({"value": "apy"})


_KINDS: Final[Mapping[str, Callable[[Feed, View], pl.DataFrame]]] = {
    "chart": _chart,
    "funding": _funding,
    "apr": _lido_api,
}
