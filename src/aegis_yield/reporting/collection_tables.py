"""Tables of collection for the terminal: the plan, what a run brought, and how a collection stands."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aegis_yield.collection.history import Appended
from aegis_yield.collection.plan import Plan
from aegis_yield.collection.runner import Failure
from aegis_yield.pipelines.collect import Collected, CollectionStatus

MAX_FAILURES: Final = 12
"""So many kinds of failure are listed; the rest are counted."""

MAX_REASON_CHARS: Final = 110


def plan_table(plan: Plan) -> RenderableType:
    """Return what would be asked of whom, and for how long."""
    total = sum(planned.n_requests for planned in plan.sources)
    title = f"Plan: {len(plan.units):,} units, about {total:,} requests, at least {_minutes(plan.minutes)}"
    table = _table(title, "source", "dataset", ("units", "right"), ("requests", "right"), ("time", "right"))
    for planned in plan.sources:
        counts = (f"{planned.n_units:,}", f"{planned.n_requests:,}", _minutes(planned.minutes))
        table.add_row(planned.source, planned.dataset, *counts)
    return _with_lines(table, [f"left out: {name}: {why}" for name, why in plan.left_out.items()])


def collected_table(result: Collected) -> RenderableType:
    """Return what a run brought, by dataset, and what failed and why."""
    failed = Counter((f.unit.demand.source, f.unit.demand.dataset) for f in result.failures)
    asked = Counter((unit.demand.source, unit.demand.dataset) for unit in result.plan.units)
    names = list(dict.fromkeys([*asked, *result.appended, *failed]))
    columns = [(name, "right") for name in ("units", "failed", "new rows", "revised", "unchanged", "set aside")]
    table = _table("Collected", "source", "dataset", *columns)
    for name in names:
        rows = result.appended.get(name, Appended())
        counts = (asked[name], failed[name], rows.new, rows.revised, rows.unchanged, rows.rejected)
        table.add_row(*name, *(f"{count:,}" for count in counts), style="red" if failed[name] else None)
    lines = [f"left out: {name}: {why}" for name, why in result.plan.left_out.items()]
    return _with_lines(table, [*lines, *_failure_lines(result)])


def _failure_lines(result: Collected) -> list[str]:
    """Return one line per dataset and kind of failure, with its first case: a host that is down fails many units."""
    kinds: dict[tuple[str, str, str], list[Failure]] = {}
    for failure in result.failures:
        demand = failure.unit.demand
        kinds.setdefault((demand.source, demand.dataset, failure.verdict), []).append(failure)
    lines = []
    for (source, dataset, verdict), cases in list(kinds.items())[:MAX_FAILURES]:
        first = cases[0]
        case = f"{first.unit.demand.entity} {first.unit.start}: {first.reason[:MAX_REASON_CHARS]}"
        noun = "unit" if len(cases) == 1 else "units"
        lines.append(f"failed ({verdict}): {source}/{dataset}, {len(cases)} {noun}, first {case}")
    if len(kinds) > MAX_FAILURES:
        lines.append(f"… and {len(kinds) - MAX_FAILURES} more kinds: aegis collect status")
    return lines


def host_table(result: Collected) -> Table:
    """Return how often each host was asked and how long it made us wait."""
    columns = [(name, "right") for name in ("requests", "retries", "told to slow down", "waited", "received")]
    table = _table("Hosts", "host", *columns)
    for host, figures in result.figures.items():
        waited, size = f"{figures.waited_s:,.0f} s", f"{figures.received_bytes / 1024**2:,.1f} MiB"
        table.add_row(host, f"{figures.requests:,}", f"{figures.retries:,}", f"{figures.limited:,}", waited, size)
    return table


def status_tables(status: CollectionStatus) -> list[RenderableType]:
    """Return how a collection stands: the history, the units, the flags of the tables."""
    columns = [(name, "right") for name in ("series", "rows", "newest", "age", "complete", "revised", "set aside")]
    history = _table("History", "source", "table", *columns)
    for row in status.tables:
        age = "" if row.age_days is None else f"{row.age_days} d"
        share = "" if row.completeness is None else f"{100 * row.completeness:.1f}%"
        newest = "" if row.newest is None else str(row.newest)
        counts = (f"{row.n_entities:,}", f"{row.n_rows:,}", newest, age, share)
        history.add_row(row.source, row.table, *counts, f"{row.n_revised:,}", f"{row.n_quarantined:,}")
    names = [(name, "right") for name in ("done", "empty", "open", "failed")]
    units = _table("Units", "source", "dataset", *names, "last run (UTC)")
    for unit in status.units:
        tallies = [f"{unit[name]:,}" for name, _ in names]
        style = "red" if unit["failed"] else None
        units.add_row(unit["source"], unit["dataset"], *tallies, unit["last_run"][:16].replace("T", " "), style=style)
    failures = [f"{unit['source']}/{unit['dataset']}: {unit['latest_failure']}" for unit in status.units]
    failures = [line for line, unit in zip(failures, status.units, strict=True) if unit["latest_failure"]]
    return [history, _with_lines(units, failures), *([_tables_written(status.manifest)] if status.manifest else [])]


def _tables_written(manifest: dict[str, Any]) -> Table:
    first, last = manifest["days"]
    rows = manifest["rows"]
    title = f"Tables: {rows['yields']:,} rows of {rows['strategies']:,} strategies, {first} … {last}"
    table = _table(title, "odd rows", ("count", "right"))
    for flag, count in manifest["flags"].items():
        table.add_row(flag.replace("_", " "), f"{count:,}")
    return table


def _table(title: str, *columns: str | tuple[str, str]) -> Table:
    # As wide as its title at least, which would be broken otherwise.
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, min_width=len(title))
    for column in columns:
        name, justify = column if isinstance(column, tuple) else (column, "left")
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    return table


def _with_lines(table: Table, lines: list[str]) -> RenderableType:
    """Put lines below a table: not as its caption, which would be broken at the table's width."""
    return Group(table, Text("\n".join(lines))) if lines else table


def _minutes(minutes: float) -> str:
    return f"{60 * minutes:.0f} s" if minutes < 2.0 else f"{minutes:,.0f} min"
