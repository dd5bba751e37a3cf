"""How close the simulated market comes to the real one: stylised facts of both, category by category.

::

    python benchmarks/stylised_facts.py [--data DIR] [--seed N] [--strategies N] [--days N] [--json]

Rates are decimal fractions per year. Real data is read from ``--data``, else ``AEGIS_REFERENCE_DATA``,
else ``../shared/data/defi`` beside the checkout; without it the simulated columns stand alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from aegis_yield.domain.errors import RequestError
from aegis_yield.simulation import MarketSpec, simulate_market
from aegis_yield.simulation.facts import MIN_ROWS, stylised_facts
from aegis_yield.utils.project import project_root

NOT_AVAILABLE = "not available: set AEGIS_REFERENCE_DATA"

LABELS = {
    "n_strategies": "strategies",
    "median": "median apy",
    "ac_1": "autocorrelation, 1 day",
    "ac_7": "autocorrelation, 7 days",
    "ac_30": "autocorrelation, 30 days",
    "vol_week": "normal volatility, typical week",
    "vol_life": "normal volatility, whole life",
    "negative": "share of negative days",
    "unchanged": "share of unchanged days",
    "q01": "apy, 1 % quantile",
    "q05": "apy, 5 % quantile",
    "q95": "apy, 95 % quantile",
    "q99": "apy, 99 % quantile",
}

Facts = dict[str, dict[str, float | None]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        spec = MarketSpec(n_strategies=options.strategies, n_days=options.days, seed=options.seed)
        real = _real_facts(options.data)
    except (RequestError, FileNotFoundError) as error:
        parser.error(str(error))
    market = simulate_market(spec)
    simulated = _by_category(stylised_facts(market.yields, market.strategies))
    if options.json:
        print(json.dumps({"seed": spec.seed, "simulated": simulated, "real": real}, indent=2))
    else:
        _show(spec, simulated, real)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Stylised facts of the simulated market beside the real one.")
    parser.add_argument("--data", type=Path, help="folder with yields.parquet and strategies.parquet")
    parser.add_argument("--seed", type=int, default=MarketSpec.seed, help="seed of the simulated market")
    parser.add_argument("--strategies", type=int, default=1_000, help="size of the simulated market")
    parser.add_argument("--days", type=int, default=MarketSpec.n_days, help="days of the simulated market")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def _real_facts(chosen: Path | None) -> Facts | None:
    """Facts of the real data; None where there is none and none was asked for."""
    from_environment = os.environ.get("AEGIS_REFERENCE_DATA")
    usual = Path(from_environment) if from_environment else project_root().parent / "shared" / "data" / "defi"
    folder = chosen or usual
    if not (folder / "yields.parquet").is_file():
        if chosen or from_environment:
            raise FileNotFoundError(f"no yields.parquet in {folder}")
        return None
    yields = pl.read_parquet(folder / "yields.parquet", columns=["strategy_id", "date", "apy"])
    return _by_category(stylised_facts(yields, pl.read_parquet(folder / "strategies.parquet")))


def _by_category(facts: pl.DataFrame) -> Facts:
    return {row.pop("category"): row for row in facts.to_dicts()}


def _show(spec: MarketSpec, simulated: Facts, real: Facts | None) -> None:
    console = Console()
    console.print(
        f"Simulated data: {spec.n_strategies:,} strategies over {spec.n_days:,} days, seed {spec.seed}. "
        f"Strategies with at least {MIN_ROWS} rows; medians over strategies; quantiles over rows."
    )
    if real is None:
        console.print(f"Real data {NOT_AVAILABLE}")
    for category in sorted(simulated.keys() | (real or {}).keys()):
        console.print(_table(category, simulated, real))


def _table(category: str, simulated: Facts, real: Facts | None) -> Table:
    table = Table(title=category, title_justify="left")
    table.add_column("fact")
    table.add_column("simulated", justify="right")
    table.add_column("real", justify="right")
    for key, label in LABELS.items():
        beside = NOT_AVAILABLE if real is None else _cell(key, real.get(category))
        table.add_row(label, _cell(key, simulated.get(category)), beside)
    return table


def _cell(key: str, facts: dict[str, float | None] | None) -> str:
    value = None if facts is None else facts[key]
    if value is None:
        return "n/a"
    return f"{value:,.0f}" if key == "n_strategies" else f"{value:,.4f}"


if __name__ == "__main__":
    sys.exit(main())
