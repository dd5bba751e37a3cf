"""How fast: the portfolio of least CVaR, beside the libraries that people use for it, and how good the answers are.

    python benchmarks/optimizers.py                      # 20 and 200 assets
    python benchmarks/optimizers.py --assets 2000 --repeats 1

1,000 scenarios, level 0.95, long only, at most 10 % in one asset (15 % of 20 assets), alternating runs, medians without
imports and without the first run; "worse by" is how far an answer's CVaR, recomputed, is above the best one's. Ratios
carry over to other machines, seconds do not. skfolio, PyPortfolioOpt and Riskfolio-Lib are measured where they are
installed (requirements-bench.txt holds the first).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from rich.console import Console
from rich.table import Table

from aegis_yield.portfolio.engine import CVaR, Limit, Program, solve
from aegis_yield.utils.typing import FloatArray

SCENARIOS = 1_000
LEVEL = 0.95
REPEATS = 5
SEED = 1
_SMALL = 20

Solver: TypeAlias = Callable[[FloatArray, float], FloatArray]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, nargs="+", default=[20, 200], help="numbers of assets")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="timed runs of each library")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    rows = [row for n in options.assets for row in _race(n, options.repeats)]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(title=f"Least CVaR at {LEVEL}, {SCENARIOS:,} scenarios, medians")
    for name in ("assets", "library", "seconds", "times ours", "worse by"):
        table.add_column(name, justify="left" if name == "library" else "right")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


def market(n: int) -> FloatArray:
    """Return heavy-tailed daily returns of n assets with five common factors, shape (SCENARIOS, n)."""
    rng = np.random.default_rng(SEED)
    exposure = rng.normal(0, 0.5, (5, n))
    exposure[0] += 1
    common = rng.standard_t(5, (SCENARIOS, 5)) * 0.007
    return common @ exposure + rng.standard_t(5, (SCENARIOS, n)) * 0.015 + rng.normal(0.0005, 0.0005, n)


def _race(n: int, repeats: int) -> list[dict[str, object]]:
    """Return a row for each library at one number of assets."""
    returns, cap = market(n), 0.15 if n <= _SMALL else 0.10
    risk = CVaR(returns, np.full(SCENARIOS, 1 / SCENARIOS), LEVEL)
    runners = {name: build() for name, build in LIBRARIES.items()}
    seconds: dict[str, list[float]] = {name: [] for name, run in runners.items() if run}
    tails: dict[str, float] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries warn of each other's changes
        for _ in range(repeats + 1):
            for name, run in runners.items():
                if run is not None:
                    started = time.perf_counter()
                    weights = run(returns, cap)
                    seconds[name].append(time.perf_counter() - started)
                    tails[name] = risk.of(weights / weights.sum())
    median = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    ours, best = median["Aegis Yield"], min(tails.values())
    return [
        {
            "assets": n,
            "library": name,
            "seconds": f"{median[name]:.4f}" if name in median else "not installed",
            "times ours": f"{median[name] / ours:.1f}" if name in median else "",
            "worse by": f"{tails[name] / best - 1:.1e}" if name in tails else "",
        }
        for name in runners
    ]


def _ours() -> Solver:
    def run(returns: FloatArray, cap: float) -> FloatArray:
        s, n = returns.shape
        risk = CVaR(returns, np.full(s, 1 / s), LEVEL)
        found = solve(Program(np.zeros(n), np.full(n, cap), (Limit("budget", np.ones(n), 1.0, 1.0),), risk=risk))
        if not found.certified:
            raise RuntimeError(f"no certificate: {found.status}, gap {found.gap}")
        return found.values

    return run


def _skfolio() -> Solver | None:
    if not importlib.util.find_spec("skfolio"):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from skfolio import RiskMeasure
        from skfolio.optimization import MeanRisk

    def run(returns: FloatArray, cap: float) -> FloatArray:
        model = MeanRisk(risk_measure=RiskMeasure.CVAR, cvar_beta=LEVEL, min_weights=0.0, max_weights=cap)
        return np.asarray(model.fit(returns).weights_)

    return run


def _pypfopt() -> Solver | None:
    if not importlib.util.find_spec("pypfopt"):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pypfopt import EfficientCVaR  # type: ignore[import-not-found, unused-ignore]

    def run(returns: FloatArray, cap: float) -> FloatArray:
        model = EfficientCVaR(returns.mean(axis=0), returns, beta=LEVEL, weight_bounds=(0, cap))
        model.min_cvar()
        return np.asarray(model.weights)

    return run


def _riskfolio() -> Solver | None:
    if not importlib.util.find_spec("riskfolio"):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas as pd  # type: ignore[import-untyped, unused-ignore]
        import riskfolio  # type: ignore[import-not-found, unused-ignore]

    def run(returns: FloatArray, cap: float) -> FloatArray:
        portfolio: Any = riskfolio.Portfolio(returns=pd.DataFrame(returns), alpha=1 - LEVEL, upperlng=cap)
        portfolio.assets_stats(method_mu="hist", method_cov="hist")
        portfolio.solvers = ["CLARABEL"]
        weights = portfolio.optimization(model="Classic", rm="CVaR", obj="MinRisk", hist=True)
        return np.asarray(weights["weights"].to_numpy())

    return run


LIBRARIES: dict[str, Callable[[], Solver | None]] = {
    "Aegis Yield": _ours,
    "skfolio": _skfolio,
    "PyPortfolioOpt": _pypfopt,
    "Riskfolio-Lib": _riskfolio,
}


if __name__ == "__main__":
    main()
