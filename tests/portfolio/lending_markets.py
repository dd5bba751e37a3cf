"""Random lending markets as Sturdy-Subnet's validator drew them, and a best known split found by other means.

The ranges are those of ``sturdy/constants.py`` and the drawing that of ``generate_assets_and_pools``
(Sturdy-Subnet/sturdy-subnet, MIT; in its history, lending allocation was removed later). Ten pools of size 1; the
supply rate is ``U b(U)``, without a reserve factor.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from aegis_yield.portfolio.impact import KinkedCurve

N_POOLS = 10


def _steps(rng: np.random.Generator, start: float, stop: float, step: float) -> float:
    return start + step * int(rng.integers(0, round((stop - start) / step) + 1))


def sturdy_market(seed: int, n_pools: int = N_POOLS) -> list[KinkedCurve]:
    """Draw one market."""
    rng = np.random.default_rng([4, seed])
    return [
        KinkedCurve(
            supply_usd=1.0,
            borrow_usd=_steps(rng, 0.55, 0.95, 0.05),
            base=_steps(rng, 0.01, 0.05, 0.01),
            slope1=_steps(rng, 0.01, 0.1, 0.001),
            slope2=_steps(rng, 0.15, 1.0, 0.001),
            optimal=_steps(rng, 0.65, 0.95, 0.05),
        )
        for _ in range(n_pools)
    ]


class Plain:
    """The incomes of a market, written out once more, with nothing taken from the package but parameters."""

    def __init__(self, market: list[KinkedCurve]) -> None:
        names = ("supply_usd", "borrow_usd", "base", "slope1", "slope2", "optimal")
        self.supply, self.borrow, self.base, self.slope1, self.slope2, self.optimal = (
            np.array([getattr(pool, name) for pool in market]) for name in names
        )

    def incomes(self, deposits: np.ndarray) -> np.ndarray:
        """Return incomes, deposits of shape (..., n_pools)."""
        used = self.borrow / (self.supply + deposits)
        low = self.base + used / self.optimal * self.slope1
        high = self.base + self.slope1 + (used - self.optimal) / (1 - self.optimal) * self.slope2
        return deposits * used * np.where(used > self.optimal, high, low)

    def total(self, deposits: np.ndarray) -> float:
        return float(self.incomes(deposits).sum())


def best_by_programme(market: list[KinkedCurve], capital: float, n_steps: int = 2000) -> np.ndarray:
    """Return the best split on a grid of capital, by dynamic programming, polished by SLSQP from there."""
    plain = Plain(market)
    grid = np.linspace(0.0, capital, n_steps + 1)
    table = plain.incomes(np.repeat(grid[:, None], len(market), axis=1))  # (steps, pools)
    best, taken = np.zeros(n_steps + 1), []
    for pool in range(len(market)):
        now, choice = best.copy(), np.zeros(n_steps + 1, dtype=int)
        for j in range(1, int(table[:, pool].argmax()) + 1):  # more than the best deposit never helps
            offer = best[: n_steps + 1 - j] + table[j, pool]
            better = offer > now[j:]
            now[j:][better] = offer[better]
            choice[j:][better] = j
        best = now
        taken.append(choice)
    left, steps = int(np.argmax(best)), np.zeros(len(market), dtype=int)
    for pool in range(len(market) - 1, -1, -1):
        steps[pool] = taken[pool][left]
        left -= steps[pool]
    return polished(plain, grid[steps], capital)


def polished(plain: Plain, start: np.ndarray, capital: float) -> np.ndarray:
    """Return the better of a start and what SLSQP makes of it."""
    found = minimize(
        lambda x: -plain.total(x),
        start,
        method="SLSQP",
        bounds=[(0.0, capital)] * len(start),
        constraints={"type": "ineq", "fun": lambda x: capital - x.sum()},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    end = np.clip(found.x, 0.0, None)
    end = end * min(1.0, capital / max(end.sum(), 1e-300))
    return end if plain.total(end) > plain.total(start) else start
