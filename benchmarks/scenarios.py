"""How fast: joint scenarios of a horizon and their NAV paths.

    python benchmarks/scenarios.py

Medians of repeated runs on invented forecasts and histories; the events come from ``configs/hazards.toml``. "paths"
are the NAVs of every scenario on every day.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.risk.copula import fit_correlation
from aegis_yield.risk.events import EventTable, enumerate_events, exposures
from aegis_yield.risk.hazards import load_hazards
from aegis_yield.risk.paths import History
from aegis_yield.risk.scenarios import Draw, JointForecast, build

HORIZON_DAYS = 30
SIZES = ((20, 1_000), (200, 1_000), (200, 5_000), (2_000, 1_000))
HISTORY_DAYS = 365
PAST_ORIGINS = 100
STRATEGIES_A_PROTOCOL = 5
TARGET_S = 0.3


@dataclass(frozen=True)
class Figure:
    """Median seconds for one size.

    Attributes
    ----------
    strategies, scenarios, rows : int
        Rows are the ordinary scenarios and those of the events.
    fit_s, draw_s, paths_s : float
        To fit the copula, to build the scenarios, to lay out their paths.
    ordinary_s : float
        To build and lay out the ordinary scenarios alone: the figure with a target.
    """

    strategies: int
    scenarios: int
    rows: int
    fit_s: float
    draw_s: float
    paths_s: float
    ordinary_s: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each size")
    chosen = parser.parse_args()
    figures = [measure(n, s, chosen.repeats) for n, s in SIZES]
    if chosen.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
        return
    Console().print(table_of(figures))


def measure(n: int, n_scenarios: int, repeats: int) -> Figure:
    """Time one size."""
    rng = np.random.default_rng(7)
    pit = rng.random((PAST_ORIGINS, n))
    pit[rng.random(pit.shape) < 0.3] = np.nan
    correlation = fit_correlation(pit)
    strategies = tuple(f"protocol-{i // STRATEGIES_A_PROTOCOL}:ethereum:usdc-{i}" for i in range(n))
    quantiles = 0.05 + np.sort(rng.normal(scale=0.02, size=(n, len(QUANTILE_LEVELS))), axis=1)
    forecast = JointForecast(
        strategies, HORIZON_DAYS, QUANTILE_LEVELS, np.maximum(quantiles, 0), correlation, np.zeros(n)
    )
    history = History(rng.normal(0, 1e-3, (HISTORY_DAYS, n)), rng.normal(0, 1e-2, (HISTORY_DAYS, n)))
    events = _events(strategies)
    draw = Draw(n_scenarios)
    whole = build(forecast, history, events, draw)
    return Figure(
        strategies=n,
        scenarios=n_scenarios,
        rows=len(whole.scenarios.probability),
        fit_s=_median(lambda: fit_correlation(pit), repeats),
        draw_s=_median(lambda: build(forecast, history, events, draw), repeats),
        paths_s=_median(whole.nav, repeats),
        ordinary_s=_median(lambda: build(forecast, history, None, draw).nav(), repeats),
    )


def _events(strategies: tuple[str, ...]) -> EventTable:
    parts = [strategy.split(":") for strategy in strategies]
    table = pl.DataFrame(
        {
            "strategy_id": strategies,
            # A real universe of 200 has some forty protocols; more would need a shorter horizon.
            "project": [f"protocol-{int(project.split('-')[1]) % 40}" for project, _, _ in parts],
            "chain": ["Ethereum"] * len(parts),
            "symbol": ["USDC"] * len(parts),
            "category": ["lending"] * len(parts),
        }
    )
    hazards = load_hazards()
    return enumerate_events(exposures(table, hazards), hazards, HORIZON_DAYS)


def _median(work: Callable[[], object], repeats: int) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def table_of(figures: list[Figure]) -> Table:
    """Return the figures for people."""
    table = Table(
        title=f"Scenarios over {HORIZON_DAYS} days, seconds (target for 200 strategies, 1000 scenarios: {TARGET_S})"
    )
    for name in ("strategies", "scenarios", "with events", "fit copula", "draw", "paths", "draw + paths, no events"):
        table.add_column(name, justify="right")
    for f in figures:
        counts = (f.strategies, f.scenarios, f.rows)
        seconds = (f.fit_s, f.draw_s, f.paths_s, f.ordinary_s)
        table.add_row(*map(str, counts), *(f"{value:.3f}" for value in seconds))
    return table


if __name__ == "__main__":
    main()
