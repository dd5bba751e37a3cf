"""How good: the split of capital by income, exact against what people use, on random lending markets.

    python benchmarks/allocation.py

Each market is ten pools of Sturdy-Subnet's generator, nearly all with a pool above its kink; capital goes from a tenth
of one pool to twice all ten. A figure is income as a share of the best income that any method found on that market:
mean and worst over markets. The exact split also proves its own: the last column is the largest gap it left open. Times
are medians, one thread; the last table times larger problems.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import minimize

from aegis_yield.portfolio.impact import KinkedCurve, ProRata, RateCurve, income_usd
from aegis_yield.portfolio.income import best_split
from aegis_yield.utils.typing import FloatArray

N_POOLS = 10
CAPITALS = (0.1, 0.5, 2.0, 5.0, 20.0)  # in pools
CHUNKS = 100
SIZES = (10, 50, 200)
REPEATS = 5

Method = Callable[[Sequence[RateCurve], float], FloatArray]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markets", type=int, default=300, help="markets per amount of capital")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    arguments = parser.parse_args()
    quality = [row for capital in CAPITALS for row in _compare(arguments.markets, capital)]
    speed = _time_larger()
    if arguments.json:
        print(json.dumps({"quality": quality, "speed": speed}, indent=2))
        return
    console = Console()
    console.print(_table(f"Income, % of the best found, {arguments.markets} markets of {N_POOLS} pools", quality))
    console.print(_table("Exact split, larger problems", speed))


def _table(title: str, rows: list[dict[str, object]]) -> Table:
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    return table


def _compare(n_markets: int, capital: float) -> list[dict[str, object]]:
    earned: dict[str, list[float]] = {name: [] for name in METHODS}
    took: dict[str, list[float]] = {name: [] for name in METHODS}
    gaps = []
    for seed in range(n_markets):
        market = draw_market(seed, N_POOLS)
        for name, method in METHODS.items():
            started = time.perf_counter()
            deposits = method(market, capital)
            took[name].append(time.perf_counter() - started)
            earned[name].append(_total(market, deposits))
        gaps.append(best_split(market, capital).relative_gap)
    best = np.max(list(earned.values()), axis=0)
    return [
        {
            "capital, pools": capital,
            "method": name,
            "mean %": 100.0 * float(np.mean(values / best)),
            "worst %": 100.0 * float(np.min(values / best)),
            "off > 0.1 %, %": 100.0 * float(np.mean(values < 0.999 * best)),
            "ms": 1e3 * statistics.median(took[name]),
            "largest gap": max(gaps) if name == "exact" else "-",
        }
        for name, values in ((name, np.array(values)) for name, values in earned.items())
    ]


def draw_market(seed: int, n_pools: int) -> list[KinkedCurve]:
    """Draw pools of size 1 in the ranges of ``sturdy/constants.py`` (Sturdy-Subnet/sturdy-subnet, MIT)."""
    rng = np.random.default_rng([4, seed])

    def steps(start: float, stop: float, step: float) -> float:
        return start + step * int(rng.integers(0, round((stop - start) / step) + 1))

    return [
        KinkedCurve(
            supply_usd=1.0,
            borrow_usd=steps(0.55, 0.95, 0.05),
            base=steps(0.01, 0.05, 0.01),
            slope1=steps(0.01, 0.1, 0.001),
            slope2=steps(0.15, 1.0, 0.001),
            optimal=steps(0.65, 0.95, 0.05),
        )
        for _ in range(n_pools)
    ]


def _total(market: Sequence[RateCurve], deposits: FloatArray) -> float:
    return float(sum(income_usd(pool, deposits[i : i + 1])[0] for i, pool in enumerate(market)))


def _exact(market: Sequence[RateCurve], capital: float) -> FloatArray:
    return best_split(market, capital).deposit_usd


def _rates(market: Sequence[RateCurve]) -> FloatArray:
    return np.array([float(pool.rate(np.zeros(1))[0]) for pool in market])


def _sizes(market: Sequence[RateCurve]) -> FloatArray:
    return np.array([pool.supply_usd for pool in market if isinstance(pool, KinkedCurve)])


def _slsqp(market: Sequence[RateCurve], capital: float) -> FloatArray:
    """Climb from equal weights with exact gradients: a local solver, one start."""

    def negative(x: FloatArray) -> tuple[float, FloatArray]:
        slopes = [float(pool.marginal(x[i : i + 1])[0]) for i, pool in enumerate(market)]
        return -_total(market, x), -np.array(slopes)

    start = np.full(len(market), capital / len(market))
    found = minimize(
        negative,
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, capital)] * len(market),
        constraints={"type": "ineq", "fun": lambda x: capital - x.sum(), "jac": lambda x: -np.ones(len(x))},
        options={"ftol": 1e-12, "maxiter": 300},
    )
    deposits = np.clip(found.x, 0.0, capital)
    fitting: FloatArray = deposits * min(1.0, capital / max(float(deposits.sum()), 1e-300))
    return fitting


def _greedy(market: Sequence[RateCurve], capital: float) -> FloatArray:
    """Give each hundredth of the capital to the pool whose income it raises most."""
    chunk = capital / CHUNKS
    ladder = [income_usd(pool, chunk * np.arange(CHUNKS + 1)) for pool in market]
    held = np.zeros(len(market), dtype=int)
    for _ in range(CHUNKS):
        gains = [steps[n + 1] - steps[n] for steps, n in zip(ladder, held, strict=True)]
        if max(gains) <= 0.0:
            break
        held[int(np.argmax(gains))] += 1
    return chunk * held


def _quadratic(market: Sequence[RateCurve], capital: float) -> FloatArray:
    """Read income as ``a x (1 - x / size)`` (Sety-project/YieldOptimizer); a cut-off solves it."""
    rates, sizes = _rates(market), _sizes(market)
    low, high = 0.0, float(rates.max())
    for _ in range(60):
        middle = 0.5 * (low + high)
        wanted = float((0.5 * sizes * np.maximum(1.0 - middle / rates, 0.0)).sum())
        low, high = (middle, high) if wanted > capital else (low, middle)
    deposits: FloatArray = 0.5 * sizes * np.maximum(1.0 - high / rates, 0.0)
    return deposits


def _proportional(market: Sequence[RateCurve], capital: float) -> FloatArray:
    rates = _rates(market)
    deposits: FloatArray = capital * rates / rates.sum()
    return deposits


def _equal(market: Sequence[RateCurve], capital: float) -> FloatArray:
    return np.full(len(market), capital / len(market))


def _highest(market: Sequence[RateCurve], capital: float) -> FloatArray:
    deposits: FloatArray = capital * (np.arange(len(market)) == int(np.argmax(_rates(market)))).astype(float)
    return deposits


METHODS: dict[str, Method] = {
    "exact": _exact,
    "SLSQP, one start": _slsqp,
    "greedy, 1 % chunks": _greedy,
    "quadratic (Sety)": _quadratic,
    "proportional to apy": _proportional,
    "equal weight": _equal,
    "highest apy": _highest,
}


def _time_larger() -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for n_pools, kind in product(SIZES, ("shared pro rata", "lending, many above the kink")):
        sizes = np.exp(rng.uniform(0.0, 6.0, n_pools))
        pools: Sequence[RateCurve] = (
            [ProRata(float(size), float(apy)) for size, apy in zip(sizes, rng.uniform(0.01, 0.3, n_pools), strict=True)]
            if kind == "shared pro rata"
            else draw_market(5, n_pools)
        )
        capital = 0.5 * float(sizes.sum() if kind == "shared pro rata" else n_pools)
        took = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            found = best_split(pools, capital)
            took.append(time.perf_counter() - started)
        rows.append(
            {
                "pools": n_pools,
                "kind": kind,
                "ms": 1e3 * statistics.median(took),
                "branches": found.branches,
                "proved gap": found.relative_gap,
            }
        )
    return rows


if __name__ == "__main__":
    main()
