"""How the collection stands: per dataset how fresh, how complete, how often revised, and what failed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from aegis_yield.collection.history import History
from aegis_yield.collection.journal import Journal
from aegis_yield.collection.schemas import TABLES, TIME

RECENT_DAYS: Final = 90
"""Completeness is that of so many days before the newest one."""


@dataclass(frozen=True)
class TableStatus:
    """How one table of the history stands.

    Attributes
    ----------
    table : str
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
        Rows that replaced an earlier value, and rows set aside as impossible.
    """

    table: str
    n_entities: int
    n_rows: int
    newest: dt.date | None
    age_days: int | None
    completeness: float | None
    n_revised: int
    n_quarantined: int


def table_status(history: History, today: dt.date) -> list[TableStatus]:
    """Return how every table with rows stands."""
    return [status for name in TABLES if (status := _status(history, name, today)).n_rows or status.n_quarantined]


def _status(history: History, table: str, today: dt.date) -> TableStatus:
    spec = TABLES[table]
    revisions = history.revisions(table)
    latest = revisions.unique([*spec.keys], keep="last", maintain_order=True)
    n_entities = latest.select(spec.entity).unique().height if spec.entity else 0
    kind = spec.keys[spec.when]
    day = pl.col(spec.when).dt.date() if kind == TIME else pl.col(spec.when)
    newest: Any = None
    completeness = None
    if kind in (pl.Date, TIME) and latest.height:
        days = latest.select(*spec.entity, day.alias("_day")).unique()
        newest = days["_day"].max()
        completeness = _completeness(days, [name for name in spec.entity if name != "log_index"])
    return TableStatus(
        table=table,
        n_entities=n_entities,
        n_rows=latest.height,
        newest=newest,
        age_days=(today - newest).days if newest else None,
        completeness=completeness,
        n_revised=revisions.height - latest.height,
        n_quarantined=history.quarantined(table).height,
    )


def _completeness(days: pl.DataFrame, entity: list[str]) -> float:
    """Return the share of days present, over each series' own last 90 days, of all series together."""
    last = pl.col("_day").max().over(entity)
    recent = days.filter(pl.col("_day") > last - dt.timedelta(days=RECENT_DAYS))
    spans = recent.group_by(entity).agg(
        pl.len().alias("n"), ((pl.col("_day").max() - pl.col("_day").min()).dt.total_days() + 1).alias("span")
    )
    return sum(spans["n"].to_list()) / sum(spans["span"].to_list())


def unit_status(journal: Journal) -> list[dict[str, Any]]:
    """Return how the units of each dataset stand: counted by status, when last done, and the latest failure."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for unit in journal.units():
        groups.setdefault((unit["source"], unit["dataset"]), []).append(unit)
    return [_unit_status(*name, units) for name, units in sorted(groups.items())]


def _unit_status(source: str, dataset: str, units: list[Mapping[str, Any]]) -> dict[str, Any]:
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
