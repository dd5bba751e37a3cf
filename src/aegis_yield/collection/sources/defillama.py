"""DefiLlama's yields: the list of live pools, each pool's history, both sides of lending pools, kinds of protocols.

Facts (DefiLlama/yield-server, api-docs): rates come in percent; ``tvlUsd`` of a lending pool is what is *not* lent
out; a chart holds the last sample of each UTC day, its last row being today so far; an unknown pool is a 200 with no
rows, a malformed id a 400. Copies of a chart may be a day old, so that a last row dated yesterday can still change.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from aegis_yield.collection.datasets import Cadence, DatasetSpec, Session, number, percent, text
from aegis_yield.collection.schemas import TABLES, empty_rows
from aegis_yield.collection.units import Page, Request, WorkUnit
from aegis_yield.collection.verdicts import Verdict, decoded
from aegis_yield.domain.errors import SourceError

SOURCE: Final = "defillama"
STALE_COPY: Final = dt.timedelta(hours=48)
"""A last row older than this cannot change any more, even if the copy of the chart was a day old."""


def _check_envelope(content: Any) -> None:
    if isinstance(content, dict) and content.get("status") not in (None, "success"):
        raise SourceError(f"status is not 'success': {str(content)[:120]}", Verdict.TRANSIENT)
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        raise SourceError(f"expected an object with a list `data`, received {str(content)[:120]}", Verdict.FINAL)


def _check_list(content: Any) -> None:
    if not isinstance(content, list):
        raise SourceError(f"expected a list, received {str(content)[:120]}", Verdict.FINAL)


async def _fetch_pools(unit: WorkUnit, session: Session) -> None:  # noqa: ARG001 - every fetch has this form
    await session.ask(Request("defillama_yields", "/pools"), _check_envelope)


async def _fetch_protocols(unit: WorkUnit, session: Session) -> None:  # noqa: ARG001
    await session.ask(Request("defillama_api", "/protocols"), _check_list)


async def _fetch_chart(unit: WorkUnit, session: Session) -> None:
    await session.ask(Request("defillama_yields", f"/chart/{unit.demand.entity}"), _check_envelope)


async def _fetch_lending(unit: WorkUnit, session: Session) -> None:
    await session.ask(Request("defillama_yields", f"/chartLendBorrow/{unit.demand.entity}"), _check_envelope)


def parse_pools(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read the list of live pools: one row per pool, dated the day it was fetched."""
    items = decoded(page.body)["data"]
    if not items:
        return {"pools": empty_rows("pools")}
    columns: dict[str, list[Any]] = {
        "pool": [text(item.get("pool")) for item in items],
        "project": [text(item.get("project")) for item in items],
        "chain": [text(item.get("chain")) for item in items],
        "symbol": [text(item.get("symbol")) for item in items],
        "pool_meta": [text(item.get("poolMeta")) for item in items],
        "exposure": [text(item.get("exposure")) for item in items],
        "il_risk": [text(item.get("ilRisk")) for item in items],
        "stablecoin": [_truth(item.get("stablecoin")) for item in items],
        "outlier": [_truth(item.get("outlier")) for item in items],
        "underlying_tokens": [" ".join(map(str, item.get("underlyingTokens") or ())) for item in items],
        "tvl_usd": [number(item.get("tvlUsd")) for item in items],
        "apy": [percent(item.get("apy")) for item in items],
        "apy_base": [percent(item.get("apyBase")) for item in items],
        "apy_reward": [percent(item.get("apyReward")) for item in items],
    }
    rows = pl.DataFrame(columns, schema_overrides=_overrides("pools", columns), strict=False)
    return {"pools": rows.with_columns(pl.lit(page.fetched_at.date()).alias("date"))}


def parse_protocols(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read the list of protocols: slug, name and category."""
    items = [item for item in decoded(page.body) if isinstance(item, dict)]
    rows = pl.DataFrame(
        {
            "slug": [text(item.get("slug")) for item in items],
            "name": [text(item.get("name")) for item in items],
            "category": [text(item.get("category")) for item in items],
        },
        schema={"slug": pl.String, "name": pl.String, "category": pl.String},
    )
    return {"protocols": rows.with_columns(pl.lit(page.fetched_at.date()).alias("date"))}


def parse_chart(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read a pool's history; of several rows of one day the later one holds."""
    items = decoded(page.body)["data"]
    apy = [_total_apy(item) for item in items]
    columns: dict[str, list[Any]] = {
        "_stamp": [text(item.get("timestamp")) for item in items],
        "apy": apy,
        "apy_base": [percent(item.get("apyBase")) for item in items],
        "apy_reward": [percent(item.get("apyReward")) for item in items],
        "tvl_usd": [number(item.get("tvlUsd")) for item in items],
    }
    return {"pool_days": _dated("pool_days", columns, page)}


def parse_lending(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read what was supplied to and borrowed from a pool, in US dollars, and the rate of borrowing."""
    items = decoded(page.body)["data"]
    columns: dict[str, list[Any]] = {
        "_stamp": [text(item.get("timestamp")) for item in items],
        "total_supply_usd": [number(item.get("totalSupplyUsd")) for item in items],
        "total_borrow_usd": [number(item.get("totalBorrowUsd")) for item in items],
        "borrow_apy": [percent(item.get("apyBaseBorrow")) for item in items],
    }
    return {"pool_lending_days": _dated("pool_lending_days", columns, page)}


def _total_apy(item: Mapping[str, Any]) -> float | None:
    """Return the rate that the source gives, else the sum of its parts as the source itself would make it."""
    total = percent(item.get("apy"))
    if total is not None:
        return total
    parts = [percent(item.get("apyBase")), percent(item.get("apyReward"))]
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _dated(table: str, columns: dict[str, list[Any]], page: Page) -> pl.DataFrame:
    """Return a chart's rows by UTC day; the last one counts as final only once no copy can be a provisional one."""
    if not columns["_stamp"]:
        return empty_rows(table)
    overrides = {"_stamp": pl.String, **_overrides(table, columns)}
    rows = pl.DataFrame(columns, schema_overrides=overrides, strict=False)
    stamp = pl.col("_stamp").str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    rows = rows.with_columns(stamp.alias("_time")).sort("_time", maintain_order=True)
    # A row without its rate has no value (the source drops such rows itself), in a table about rates.
    rows = rows.filter(pl.col("apy").is_not_null()) if "apy" in columns else rows
    day = pl.col("_time").dt.date()
    settled = day.cast(pl.Datetime("us", "UTC")) + dt.timedelta(days=1) + STALE_COPY <= page.fetched_at
    is_over = day < page.fetched_at.date()
    return rows.select(
        pl.lit(page.demand.entity).alias("pool"),
        day.alias("date"),
        pl.exclude("_stamp", "_time"),
        (is_over & ((day < day.max()) | settled)).fill_null(False).alias("is_final"),  # null: its time is no time
    )


def _overrides(table: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: kind for name, kind in TABLES[table].columns.items() if name in columns}


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


DATASETS: Final = (
    DatasetSpec(SOURCE, "pools", "defillama_yields", _fetch_pools, parse_pools),
    DatasetSpec(SOURCE, "protocols", "defillama_api", _fetch_protocols, parse_protocols),
    DatasetSpec(SOURCE, "chart", "defillama_yields", _fetch_chart, parse_chart),
    DatasetSpec(SOURCE, "lending", "defillama_yields", _fetch_lending, parse_lending, Cadence.WHOLE, 1.0, True),
)
"""What this source offers."""
