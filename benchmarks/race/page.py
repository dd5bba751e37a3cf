"""The race as one page of tables and pictures, in the style of the project's reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aegis_yield.reporting.forecast_page import SIMULATED_BANNER
from aegis_yield.reporting.html import Page
from benchmarks.race.pictures import coverage_lines, forest, heat_map, horizon_lines
from benchmarks.race.rows import LOSSES
from benchmarks.race.standings import OURS
from benchmarks.race.tables import LOSS_NAMES, TextTable

_SLICES: Final = {"month": "by month", "tercile": "by tercile of EWMA volatility"}
_COVERED: Final = {"month": "by month of origin", "own_tercile": "by tercile of its own volatility"}


def write_race_page(results: Mapping[str, Any], tables: Sequence[TextTable], path: Path) -> None:
    """Write a race as one HTML file.

    Parameters
    ----------
    results : mapping
        As :func:`benchmarks.race.race.run_race` returns them.
    tables : sequence of TextTable
        All tables, in order.
    path : Path
        Where the page goes.
    """
    course = results["course"]
    page = Page(
        title="The race: our forecasts against what would be used instead",
        lead=f"{course['n_origins']} origins {course['start']} … {course['end']}, every {course['every_days']} days; "
        f"trained anew at {', '.join(course['refits'])}. Data: {course['data']['name']}. "
        f"Code: {course['commit']}.",
        banner=SIMULATED_BANNER if course["data"]["simulated"] else "",
    )
    for failure in results["failures"]:
        page.paragraph(f"FAILED and left out: {failure['job']}")
    page.heading("Pictures")
    for loss in LOSSES:
        page.figure(horizon_lines(f"{LOSS_NAMES[loss]} by horizon (last value = 1)", results["horizons"], loss))
    for horizon, found in results["horizons"].items():
        _pictures(page, f"{horizon} d", found)
    page.heading("Tables")
    for table in tables:
        page.table(table.header, table.rows, caption=f"{table.title}. {table.note}".strip())
    page.write(path)


def _pictures(page: Page, days: str, found: Mapping[str, Any]) -> None:
    if found.get("pairs"):
        page.figure(forest(f"{days}: ours over each peer, 95 % intervals of the block bootstrap", found["pairs"]))
    for loss in LOSSES:
        own = {key: _column(entry["by_category"], loss) for key, entry in found["scores"].items()}
        page.figure(heat_map(f"{days}: {LOSS_NAMES[loss]} by category (last value = 1)", own))
    for kind, words in _SLICES.items():
        own = {key: _column(entry[kind], "crps") for key, entry in found["slices"].items()}
        page.figure(heat_map(f"{days}: relCRPS {words} (last value = 1)", own))
    for kind, words in _COVERED.items():
        if OURS in found["slices"]:
            page.figure(coverage_lines(f"{days}: our coverage {words}", found["slices"][OURS][kind]))


def _column(entries: Mapping[str, Mapping[str, float]], name: str) -> dict[str, float]:
    return {label: entry[name] for label, entry in entries.items()}
