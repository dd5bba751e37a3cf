"""A small dataset with everything that is awkward in real ones: gaps, births, deaths, spikes, frozen stretches."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from aegis_yield.domain.dataset import Dataset

N_DAYS = 300
FIRST = dt.date(2024, 3, 1)
CATEGORIES = {
    **{f"lend-{k}": "lending" for k in range(4)},
    **{f"pool-{k}": "amm_lp" for k in range(3)},
    "stake-0": "staking",
    "fund-0": "delta_neutral",
    "vault-0": "vault",
}
LIVES = {"lend-1": (0, 170), "lend-2": (120, N_DAYS), "vault-0": (60, 260)}
LONG_GAPS = {"lend-3": (140, 185), "pool-1": (200, 229), "stake-0": (150, 181), "fund-0": (10, 45)}
"""Rows missing from one day up to another: longer than, just within, and at the fill limit."""


def rough_dataset(seed: int = 5) -> Dataset:
    rng = np.random.default_rng(seed)
    yields = pl.concat([_strategy(rng, name) for name in CATEGORIES])
    strategies = pl.DataFrame(
        {
            "strategy_id": list(CATEGORIES),
            "project": "p",
            "chain": "Ethereum",
            "symbol": "X",
            "category": CATEGORIES.values(),
        }
    )
    return Dataset(yields.sort("strategy_id", "date"), strategies, _market(rng), "rough market")


def _strategy(rng: np.random.Generator, name: str) -> pl.DataFrame:
    step = {"lending": 0.003, "amm_lp": 0.2, "staking": 2e-4, "delta_neutral": 0.08, "vault": 0.01}[CATEGORIES[name]]
    apy = 0.05 + np.cumsum(rng.normal(0, step, N_DAYS)) * (rng.random(N_DAYS) < 0.9)
    apy[rng.random(N_DAYS) < 0.01] *= 50
    if name == "vault-0":
        apy[100:160] = 0.04  # frozen by an administrator
    tvl = np.exp(15 + np.cumsum(rng.normal(0, 0.03, N_DAYS)))
    has_use = CATEGORIES[name] == "lending"
    frame = pl.DataFrame(
        {
            "strategy_id": [name] * N_DAYS,
            "date": pl.date_range(FIRST, FIRST + dt.timedelta(days=N_DAYS - 1), eager=True),
            "apy": apy,
            "apy_reward": _with_holes(rng, np.abs(apy) * 0.4, 0.5),
            "tvl_usd": _with_holes(rng, tvl, 0.2),
            "borrow_apy": _with_holes(rng, np.abs(apy) * 2, 0.1 if has_use else 1.0),
            "utilization": _with_holes(rng, rng.uniform(0.5, 1.0, N_DAYS), 0.1 if has_use else 1.0),
            "is_outlier": [True if u < 0.03 else None if u < 0.1 else False for u in rng.random(N_DAYS)],
        }
    )
    return frame.filter(pl.Series(_alive(rng, name)))


def _with_holes(rng: np.random.Generator, values: np.ndarray, share: float) -> list[float | None]:
    return [None if missing else float(v) for v, missing in zip(values, rng.random(N_DAYS) < share, strict=True)]


def _alive(rng: np.random.Generator, name: str) -> np.ndarray:
    days = np.arange(N_DAYS)
    first, last = LIVES.get(name, (0, N_DAYS))
    alive = (days >= first) & (days < last) & (rng.random(N_DAYS) < 0.93)
    gap = LONG_GAPS.get(name)
    if gap:
        alive &= ~((days >= gap[0]) & (days < gap[1]))
        alive[[gap[0] - 1, gap[1]]] = True
    alive[[first, last - 1]] = True
    return alive


def _market(rng: np.random.Generator) -> pl.DataFrame:
    n = N_DAYS + 100
    dates = pl.date_range(FIRST - dt.timedelta(days=100), FIRST + dt.timedelta(days=N_DAYS - 1), eager=True)
    walk = lambda start, step: start * np.exp(np.cumsum(rng.normal(0, step, n)))  # noqa: E731
    frame = pl.DataFrame(
        {
            "date": dates,
            "eth_price": walk(3000, 0.03),
            "btc_price": walk(60_000, 0.02),
            "gas_gwei": walk(20, 0.1),
            "defi_tvl_usd": walk(1e11, 0.01),
            "stablecoin_supply_usd": walk(1.5e11, 0.002),
            "fear_greed": rng.integers(5, 95, n),
            "vix": walk(18, 0.05),
            "fed_funds_pct": np.round(rng.uniform(0, 5.4, n), 2),
        }
    )
    business = pl.col("date").dt.weekday() <= 5
    closed = [pl.when(business).then(pl.col(name)).alias(name) for name in ("vix", "fed_funds_pct")]
    return frame.with_columns(*closed, pl.when(pl.col("date").dt.ordinal_day() % 40 > 14).then(pl.col("gas_gwei")))
