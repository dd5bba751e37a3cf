"""How the collection stands: per dataset how fresh, how complete, how often revised, and what failed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from aegis_yield.collection.datasets import Cadence
from aegis_yield.collection.history import History
from aegis_yield.collection.journal import Journal
from aegis_yield.collection.schemas import TABLES, TIME, TableSpec
from aegis_yield.collection.sources import DATASETS

RECENT_DAYS: Final = 90
"""Completeness is that of so many days before the newest one."""

_SOURCE_COLUMNS: Final = {"series_days": "source", "funding": "venue", "candles": "venue"}
"""Tables that hold several sources, and the column that says which."""

_SOURCES: Final = {
    "pools": "defillama", "protocols": "defillama", "pool_days": "defillama", "pool_lending_days": "defillama",
    "gas_days": "gas", "chain_blocks": "ethereum", "log_scans": "ethereum", "aave_updates": "aave",
    "aave_states": "aave", "lido_rebases": "lido", "share_prices": "erc4626",
}  # fmt: skip
"""Tables that hold one source."""


@dataclass(frozen=True)
class TableStatus:
    """How what one source brought to one table of the history stands.

    Attributes
    ----------
    source, table : str
        Which.
    n_entities, n_rows : int
        Series, and rows in their newest revision.
    newest : date or None
        The newest day that any series has.
    age_days : int or None
        How long ago that was.
    completeness : float or None
        Share of days present over the last 90 days of each series, None where days have no meaning.
    n_revised, n_quarantined : int
        Final values that the source changed afterwards, and rows set aside as impossible.
    """

    source: str
    table: str
    n_entities: int
    n_rows: int
    newest: dt.date | None
    age_days: int | None
    completeness: float | None
    n_revised: int
    n_quarantined: int


def table_status(history: History, today: dt.date) -> list[TableStatus]:
    """Return how every source's rows of every table stand, by source."""
    found = [status for table in TABLES for status in _by_source(history, table, today)]
    return sorted(found, key=lambda status: status.source)


def _by_source(history: History, table: str, today: dt.date) -> Iterator[TableStatus]:
    revisions = _with_source(table, history.revisions(table))
    rejected = _with_source(table, history.quarantined(table))
    for source in sorted({*revisions["_source"], *rejected["_source"]}):
        mine = pl.col("_source") == source
        yield _status(TABLES[table], source, revisions.filter(mine), (rejected.filter(mine).height, today))


def _with_source(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    if not rows.height:
        return pl.DataFrame(schema={**rows.schema, "_source": pl.String})
    named = pl.col(_SOURCE_COLUMNS[table]) if table in _SOURCE_COLUMNS else pl.lit(_SOURCES[table])
    return rows.with_columns(named.fill_null("unknown").alias("_source"))


def _status(spec: TableSpec, source: str, revisions: pl.DataFrame, others: tuple[int, dt.date]) -> TableStatus:
    n_quarantined, today = others
    latest = revisions.unique([*spec.keys], keep="last", maintain_order=True)
    finals = revisions.filter("is_final")
    kind = spec.keys[spec.when]
    day = pl.col(spec.when).dt.date() if kind == TIME else pl.col(spec.when)
    newest: Any = None
    completeness = None
    if kind in (pl.Date, TIME) and latest.height:
        days = latest.select(*spec.entity, day.alias("_day")).unique()
        newest = days["_day"].max()
        completeness = _completeness(days, list(spec.entity))
    return TableStatus(
        source=source,
        table=spec.name,
        n_entities=latest.select(spec.entity).unique().height if spec.entity else 0,
        n_rows=latest.height,
        newest=newest,
        age_days=(today - newest).days if newest else None,
        completeness=completeness,
        n_revised=finals.height - finals.select(*spec.keys).unique().height,
        n_quarantined=n_quarantined,
    )


def _completeness(days: pl.DataFrame, entity: list[str]) -> float:
    """Return the share of days present, over each series' own last 90 days, of all series together."""
    last = pl.col("_day").max().over(entity)
    recent = days.filter(pl.col("_day") > last - dt.timedelta(days=RECENT_DAYS))
    spans = recent.group_by(entity).agg(
        pl.len().alias("n"), ((pl.col("_day").max() - pl.col("_day").min()).dt.total_days() + 1).alias("span")
    )
    return float(sum(spans["n"].to_list()) / sum(spans["span"].to_list()))


def unit_status(journal: Journal) -> list[dict[str, Any]]:
    """Return how the units of each dataset stand: counted by status, when last done, and the latest failure."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for unit in journal.units():
        groups.setdefault((unit["source"], unit["dataset"]), []).append(unit)
    return [_unit_status(*name, units) for name, units in sorted(groups.items())]


def _unit_status(source: str, dataset: str, units: list[Mapping[str, Any]]) -> dict[str, Any]:
    spec = DATASETS.get((source, dataset))
    units = _standing(units) if spec is not None and spec.cadence == Cadence.WHOLE else units
    counts = {status: sum(unit["status"] == status for unit in units) for status in ("done", "empty", "open", "failed")}
    failed = max(
        (unit for unit in units if unit["status"] == "failed"), key=lambda unit: unit["updated_at"], default=None
    )
    return {
        "source": source,
        "dataset": dataset,
        **counts,
        "last_run": max(unit["updated_at"] for unit in units),
        "latest_failure": f"{failed['entity']} {failed['start']}: {failed['reason']}" if failed else None,
    }


def _standing(units: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out failures that a later day made good: what is read whole is not asked for again for the day before."""
    good = {unit["entity"]: unit["start"] for unit in sorted(units, key=_start) if unit["status"] in ("done", "empty")}
    return [unit for unit in units if unit["status"] != "failed" or unit["start"] > good.get(unit["entity"], "")]


def _start(unit: Mapping[str, Any]) -> str:
    return str(unit["start"])
