"""How fast: whole allocations, with dilution, fees, gas and limits, from scenarios to certified dollars.

    python benchmarks/whole_allocation.py                       # 20 and 200 candidates
    python benchmarks/whole_allocation.py --candidates 2000 --repeats 1

Pools of 1 to 100 million dollars whose income is shared with one's own deposit, 5 million dollars for 30 days, 1,000
ordinary scenarios and one loss event for each candidate, at most half in one of ten protocols, mean-CVaR. Medians
without imports, one thread; "gap" is what the answer is proven to be within.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from itertools import product

import numpy as np
from rich.console import Console
from rich.table import Table

from aegis_yield.portfolio.allocate import Allocation, allocate
from aegis_yield.portfolio.impact import ProRata
from aegis_yield.portfolio.problem import Candidate, Holdings, Limits, Problem, TradeCost
from aegis_yield.risk.scenarios_value import Scenarios

ORDINARY = 1_000
LOST_SHARE = 0.5
HAZARD = 0.8
"""Probability that one of all candidates is struck: at most; a thousandth each where they are few."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, nargs="+", default=[20, 200], help="numbers of candidates")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    rows = [_timed(n, gas, options.repeats) for n, gas in product(options.candidates, (0.0, 5.0))]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(title=f"Whole allocations, {ORDINARY:,} scenarios and one event per candidate, medians")
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.2g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)


def _timed(n: int, gas_usd: float, repeats: int) -> dict[str, object]:
    problem, took, found = draw(n, gas_usd), [], None
    for _ in range(repeats):
        started = time.perf_counter()
        found = allocate(problem)
        took.append(time.perf_counter() - started)
    assert isinstance(found, Allocation)
    return {
        "candidates": n,
        "gas, USD": gas_usd,
        "seconds": statistics.median(took),
        "positions": int((found.positions_usd > 0).sum()),
        "certified": found.certificate.certified,
        "gap": found.certificate.gap,
    }


def draw(n: int, gas_usd: float, seed: int = 0) -> Problem:
    """Draw a problem of n candidates."""
    rng = np.random.default_rng(seed)
    apy = rng.uniform(0.02, 0.15, n)
    ordinary = np.maximum(apy * (1.0 + 0.3 * rng.standard_normal((ORDINARY, n))), -0.05)
    each = min(1e-3, HAZARD / n)
    shape = (ORDINARY + n, n)
    names = tuple(f"s{i}" for i in range(n))
    scenarios = Scenarios(
        strategy_ids=names,
        horizon_days=30,
        apy=np.concatenate([ordinary, np.tile(apy, (n, 1))]),
        price_return=np.zeros(shape),
        loss=np.concatenate([np.zeros((ORDINARY, n)), LOST_SHARE * np.eye(n)]),
        probability=np.concatenate([np.full(ORDINARY, (1.0 - n * each) / ORDINARY), np.full(n, each)]),
        label=("",) * ORDINARY + names,
    )
    candidates = tuple(
        Candidate(
            strategy_id=name,
            groups={"protocol": f"p{i % 10}"},
            apy=float(rate),
            apy_low=0.6 * float(rate),
            curve=ProRata(10.0 ** rng.uniform(6, 8), float(rate)),
            tvl_usd=1e8,
            cost=TradeCost(gas_usd, 0.0005, 0.0005),
        )
        for i, (name, rate) in enumerate(zip(names, apy, strict=True))
    )
    return Problem(candidates, Holdings(5e6), scenarios, Limits(max_group_share={"protocol": 0.5}))


if __name__ == "__main__":
    main()
