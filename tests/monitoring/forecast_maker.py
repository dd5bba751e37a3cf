"""Forecasts with outcomes for tests: calibrated, or off in a chosen way."""

from __future__ import annotations

import datetime as dt
from statistics import NormalDist

import numpy as np

from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.monitoring.records import KeptForecast, Lineage, MadeForecast

ORIGIN = dt.date(2025, 1, 1)
LINEAGE = Lineage("lstm_v3.pth", "ab" * 32, "data/processed", "cd" * 32, simulated=False)
NORMAL = np.array([NormalDist().inv_cdf(level) for level in QUANTILE_LEVELS])


def made(strategy: str = "aave-v3:ethereum:usdc", origin: dt.date = ORIGIN, horizon: int = 7) -> MadeForecast:
    quantiles = tuple(0.05 + 0.01 * NORMAL)
    return MadeForecast(strategy, "lending", origin, horizon, 0.05, 0.06, 0.048, quantiles)


def outcomes(
    days: int, *, strategies: int = 10, spread: float = 1.0, bias: float = 0.0, every: int = 7, seed: int = 0
) -> list[KeptForecast]:
    """Forecasts of every week, normal outcomes whose spread is so many times that forecast; partly in common."""
    rng = np.random.default_rng(seed)
    found = []
    for day in range(0, days, every):
        common = rng.standard_normal()
        for n in range(strategies):
            z = np.sqrt(0.05) * common + np.sqrt(0.95) * rng.standard_normal()
            last = 0.05 + 0.012 * rng.standard_normal()
            one = MadeForecast(
                strategy_id=f"strategy {n}",
                category=("lending", "staking")[n % 2],
                origin=ORIGIN + dt.timedelta(days=day),
                horizon_days=7,
                apy=0.05 + bias,
                volatility=0.05,
                last_apy=last,
                quantiles=tuple(0.05 + bias + 0.01 * NORMAL),
            )
            found.append(KeptForecast(f"{day}-{n}", "2025-01-01", one, 0.05 + 0.01 * spread * z, 0.05, "2025-01-09"))
    return found
