"""A forecast as a value: location, volatility and quantiles for many strategies and origins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from aegis_yield.utils.typing import FloatArray, IntArray

QUANTILE_LEVELS: Final[tuple[float, ...]] = (0.025, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.975)
"""Levels every forecast carries, in rising order."""

QUANTILE_COLUMNS: Final[tuple[str, ...]] = ("q025", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "q975")
"""Column of a forecast table for each of :data:`QUANTILE_LEVELS`."""


@dataclass(frozen=True)
class ForecastKeys:
    """Which strategy at which origin: the rows of a forecast.

    Attributes
    ----------
    strategy_id : ndarray of str, shape (n,)
    origin : ndarray of datetime64[D], shape (n,)
    category : ndarray of int, shape (n,)
        Positions in :data:`aegis_yield.domain.categories.CATEGORIES`.
    """

    strategy_id: np.ndarray
    origin: np.ndarray
    category: IntArray

    def __len__(self) -> int:
        return len(self.strategy_id)


@dataclass(frozen=True)
class Forecasts:
    """Forecasts for n strategy-origin pairs at one horizon.

    Attributes
    ----------
    keys : ForecastKeys
        The n rows.
    horizon_days : int
        Days ahead.
    levels : tuple of float
        Rising quantile levels, :data:`QUANTILE_LEVELS` unless others were asked for.
    apy : ndarray of shape (n,)
        Point forecast, decimal fraction per year.
    volatility : ndarray of shape (n,)
        Annualised normal volatility of the rate, same unit.
    quantiles : ndarray of shape (n, n_levels)
        Quantiles of ``apy`` at ``levels``, never falling along a row.
    """

    keys: ForecastKeys
    horizon_days: int
    levels: tuple[float, ...]
    apy: FloatArray
    volatility: FloatArray
    quantiles: FloatArray

    def __post_init__(self) -> None:
        """Refuse forecasts that no reader could trust."""
        n = len(self.keys)
        shapes = (self.apy.shape, self.volatility.shape, self.quantiles.shape)
        if shapes != ((n,), (n,), (n, len(self.levels))):
            raise ValueError(f"shapes {shapes} do not fit {n} rows and {len(self.levels)} levels")
        if not all(np.isfinite(a).all() for a in (self.apy, self.volatility, self.quantiles)):
            raise ValueError("a forecast is NaN or infinite; every eligible strategy must get a finite one")
        if (np.diff(self.quantiles, axis=1) < 0).any():
            raise ValueError("quantiles cross")

    @classmethod
    def joined(cls, parts: Sequence[Forecasts], horizon_days: int, levels: tuple[float, ...]) -> Forecasts:
        """Return forecasts of one horizon and the same levels as one; of none, an empty one."""
        return cls(
            keys=ForecastKeys(
                strategy_id=np.concatenate([*(p.keys.strategy_id for p in parts), np.empty(0, dtype=object)]),
                origin=np.concatenate([*(p.keys.origin for p in parts), np.empty(0, dtype="datetime64[D]")]),
                category=np.concatenate([*(p.keys.category for p in parts), np.empty(0, dtype=np.int64)]),
            ),
            horizon_days=horizon_days,
            levels=levels,
            apy=np.concatenate([*(p.apy for p in parts), np.empty(0)]),
            volatility=np.concatenate([*(p.volatility for p in parts), np.empty(0)]),
            quantiles=np.concatenate([*(p.quantiles for p in parts), np.empty((0, len(levels)))]),
        )

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Return the lower and upper end of the central interval at a level, each of shape (n,).

        Raises
        ------
        KeyError
            If the forecast does not carry the two quantiles (see :func:`levels_for`).
        """
        column = {round(p, 6): i for i, p in enumerate(self.levels)}
        low, high = interval_levels(level)
        return self.quantiles[:, column[low]], self.quantiles[:, column[high]]

    def to_frame(self) -> pl.DataFrame:
        """Return the forecast table of DESIGN section 5, without the actuals."""
        columns = {
            "strategy_id": self.keys.strategy_id.tolist(),
            "origin": self.keys.origin,
            "horizon_days": np.full(len(self.keys), self.horizon_days, dtype=np.int32),
            "apy": self.apy,
            "volatility": self.volatility,
        }
        position = {level: i for i, level in enumerate(self.levels)}
        columns |= {
            name: self.quantiles[:, position[level]]
            for name, level in zip(QUANTILE_COLUMNS, QUANTILE_LEVELS, strict=True)
        }
        return pl.DataFrame(columns).with_columns(pl.col("strategy_id").cast(pl.String))


def interval_levels(level: float) -> tuple[float, float]:
    """Return the two quantile levels that bound the central interval at ``level``."""
    return round((1.0 - level) / 2.0, 6), round((1.0 + level) / 2.0, 6)


def levels_for(level: float) -> tuple[float, ...]:
    """Return :data:`QUANTILE_LEVELS` with the two of a central interval added, rising."""
    return tuple(sorted({*QUANTILE_LEVELS, *interval_levels(level)}))
