"""Tables of collection as a reader sees them: every figure in its place, failures counted and named."""

from __future__ import annotations

import datetime as dt
from io import StringIO
from typing import Any

import pytest
from rich.console import Console, RenderableType

from aegis_yield.collection.history import Appended
from aegis_yield.collection.limits import HostFigures
from aegis_yield.collection.plan import Plan, PlannedSource
from aegis_yield.collection.runner import Failure
from aegis_yield.collection.status import TableStatus
from aegis_yield.collection.units import Demand, WorkUnit
from aegis_yield.pipelines.collect import Collected, CollectionStatus
from aegis_yield.reporting.collection_tables import (
    MAX_FAILURES,
    collected_table,
    host_table,
    plan_table,
    status_tables,
)

DAY = dt.date(2024, 6, 1)


def lines(table: RenderableType, width: int = 200) -> list[str]:
    """What a terminal of this width shows, each line with single blanks."""
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    return [" ".join(line.split()) for line in shown.splitlines() if line.strip()]


def unit(source: str = "binance", dataset: str = "funding", entity: str = "ETHUSDT") -> WorkUnit:
    return WorkUnit(Demand(source, dataset, entity), DAY, DAY + dt.timedelta(days=30))


def collected(**parts: Any) -> Collected:
    plain: dict[str, Any] = {"plan": Plan([], []), "appended": {}, "failures": [], "figures": {}, "tables": None}
    return Collected(**(plain | parts))


# The plan


def test_the_plan_shows_requests_and_time_by_source_and_in_all() -> None:
    sources = [
        PlannedSource("binance", "funding", "binance", 25, 1250, 14.0),
        PlannedSource("defillama", "chart", "defillama_yields", 3, 3, 0.025),
    ]
    plan = Plan([unit()] * 28, sources, {"fred/observations": "needs a key: set AEGIS_SRC__FRED__API_KEY"})
    shown = lines(plan_table(plan))
    assert shown[0] == "Plan: 28 units, about 1,253 requests, at least 14 min"
    assert shown[1] == "source dataset units requests time"
    assert "binance funding 25 1,250 14 min" in shown
    assert "defillama chart 3 3 2 s" in shown
    assert shown[-1] == "left out: fred/observations: needs a key: set AEGIS_SRC__FRED__API_KEY"


def test_a_plan_of_nothing_says_so() -> None:
    assert lines(plan_table(Plan([], [])))[0] == "Plan: 0 units, about 0 requests, at least 0 s"


@pytest.mark.parametrize(("minutes", "words"), [(0.5, "30 s"), (1.99, "119 s"), (2.0, "2 min"), (1234.4, "1,234 min")])
def test_time_is_in_seconds_below_two_minutes(minutes: float, words: str) -> None:
    plan = Plan([], [PlannedSource("a", "b", "h", 1, 1, minutes)])
    assert lines(plan_table(plan))[0].endswith(f"at least {words}")


# What a run brought


def test_each_dataset_shows_units_rows_and_failures() -> None:
    result = collected(
        plan=Plan([unit(), unit(entity="BTCUSDT"), unit("okx", "funding", "E")], []),
        appended={("binance", "funding"): Appended(1200, 3, 40, 2), ("fred", "observations"): Appended(1)},
        failures=[Failure(unit("okx", "funding", "E"), "transient", "HTTP 502: bad gateway")],
    )
    shown = lines(collected_table(result))
    assert shown[0] == "Collected"
    assert shown[1] == "source dataset units failed new rows revised unchanged set aside"
    assert "binance funding 2 0 1,200 3 40 2" in shown
    assert "okx funding 1 1 0 0 0 0" in shown
    assert "fred observations 0 0 1 0 0 0" in shown  # landed by an earlier run, read by this one
    assert shown[-1] == "failed (transient): okx/funding, 1 unit, first E 2024-06-01: HTTP 502: bad gateway"


def test_a_host_that_is_down_is_one_line_with_its_first_case() -> None:
    failures = [Failure(unit("lido", "rebases", f"e{n}"), "banned", f"HTTP 403: no. {n}") for n in range(40)]
    failures += [Failure(unit("lido", "rebases", "other"), "final", "HTTP 404: gone")]
    shown = lines(collected_table(collected(failures=failures)))
    assert [line for line in shown if line.startswith("failed")] == [
        "failed (banned): lido/rebases, 40 units, first e0 2024-06-01: HTTP 403: no. 0",
        "failed (final): lido/rebases, 1 unit, first other 2024-06-01: HTTP 404: gone",
    ]
    assert "lido rebases 0 41 0 0 0 0" in shown


def test_many_kinds_of_failure_are_cut_and_counted() -> None:
    failures = [Failure(unit(f"source{n}"), "final", "x" * 500) for n in range(MAX_FAILURES + 3)]
    shown = lines(collected_table(collected(failures=failures)))
    assert sum(line.startswith("failed") for line in shown) == MAX_FAILURES
    assert shown[-1] == "… and 3 more kinds: aegis collect status"
    assert max(map(len, shown)) < 200


def test_what_a_host_said_is_shown_as_it_is_and_not_taken_for_markup() -> None:
    reason = "HTTP 500: [bold red]oops[/bold red] [link=http://x]y[/link]"
    shown = lines(collected_table(collected(failures=[Failure(unit(), "final", reason)])))
    assert "[bold red]oops[/bold red] [link=http://x]y[/link]" in shown[-1]


def test_hosts_show_what_was_asked_of_them() -> None:
    figures = {"binance": HostFigures(1500, 12, 3, 61.7, 5 * 1024**2), "lido": HostFigures()}
    shown = lines(host_table(collected(figures=figures)))
    assert shown[0] == "Hosts"
    assert "binance 1,500 12 3 62 s 5.0 MiB" in shown
    assert "lido 0 0 0 0 s 0.0 MiB" in shown


# How a collection stands


def status(**parts: Any) -> CollectionStatus:
    plain: dict[str, Any] = {"tables": [], "units": [], "runs": [], "manifest": None}
    return CollectionStatus(**(plain | parts))


def test_status_shows_freshness_completeness_revisions_and_failures_by_source() -> None:
    tables = [
        TableStatus("binance", "funding", 2, 12_345, DAY, 3, 0.98765, 7, 1),
        TableStatus("ethereum", "chain_blocks", 1, 9, None, None, None, 0, 0),
    ]
    units = [
        {
            "source": "binance", "dataset": "funding", "done": 24, "empty": 1, "open": 2, "failed": 3,
            "last_run": "2024-06-01T12:34:56.789+00:00", "latest_failure": "ETHUSDT 2024-05-01: HTTP 451: [not] here",
        },
        {
            "source": "gas", "dataset": "fees", "done": 1, "empty": 0, "open": 0, "failed": 0,
            "last_run": "2024-06-01T12:34:56+00:00", "latest_failure": None,
        },
    ]  # fmt: skip
    history, asked = status_tables(status(tables=tables, units=units))
    shown = lines(history)
    assert shown[1] == "source table series rows newest age complete revised set aside"
    assert "binance funding 2 12,345 2024-06-01 3 d 98.8% 7 1" in shown
    assert "ethereum chain_blocks 1 9 0 0" in shown
    shown = lines(asked)
    assert shown[1] == "source dataset done empty open failed last run (UTC)"
    assert "binance funding 24 1 2 3 2024-06-01 12:34" in shown
    assert "gas fees 1 0 0 0 2024-06-01 12:34" in shown
    assert shown[-1] == "binance/funding: ETHUSDT 2024-05-01: HTTP 451: [not] here"
    assert not any("None" in line for line in shown)


def test_status_shows_what_was_odd_in_the_tables_written_last() -> None:
    manifest = {
        "days": ["2023-02-01", "2024-06-01"],
        "rows": {"yields": 250_000, "strategies": 506, "market": 900},
        "flags": {"spike": 1234, "zero_run": 0},
    }
    *_, odd = status_tables(status(manifest=manifest))
    shown = lines(odd)
    assert shown[0] == "Tables: 250,000 rows of 506 strategies, 2023-02-01 … 2024-06-01"
    assert "spike 1,234" in shown
    assert "zero run 0" in shown
    assert len(status_tables(status())) == 2


def test_a_hundred_and_ten_columns_hold_the_longest_names_in_one_line() -> None:
    tables = [TableStatus("defillama", "pool_lending_days", 21_000, 9_123_456, DAY, 3, 0.98765, 71, 12)]
    shown = lines(status_tables(status(tables=tables))[0], width=110)
    assert "defillama pool_lending_days 21,000 9,123,456 2024-06-01 3 d 98.8% 71 12" in shown
