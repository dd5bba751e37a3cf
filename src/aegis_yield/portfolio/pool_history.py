"""What is known of a pool's past, and what can be read from it without a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.utils.typing import BoolArray, FloatArray

_SMALLEST_RATE = 1e-4
_MOST_KEPT_BY_PROTOCOL = 0.95


@dataclass(frozen=True)
class PoolHistory:
    """What is known of a pool's past, oldest day first; each array of shape (n_days,), NaN where unknown.

    Attributes
    ----------
    apy : ndarray
        What suppliers earned, without rewards where those are known apart; effective per year.
    borrow_apy : ndarray
        What borrowers paid, effective per year.
    utilization : ndarray
        Borrowed over supplied, 0 … 1.
    total_supply_usd, total_borrow_usd, tvl_usd : ndarray
        Supplied, borrowed, and (for lending) what is not borrowed.
    """

    apy: FloatArray
    borrow_apy: FloatArray
    utilization: FloatArray
    total_supply_usd: FloatArray
    total_borrow_usd: FloatArray
    tvl_usd: FloatArray

    def __post_init__(self) -> None:
        for name in ("borrow_apy", "utilization", "total_supply_usd", "total_borrow_usd", "tvl_usd"):
            shape = np.shape(getattr(self, name))
            if np.ndim(self.apy) != 1 or shape != np.shape(self.apy):
                raise RequestError(name, shape, f"the shape of apy, {np.shape(self.apy)}, one value a day")
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float))
        object.__setattr__(self, "apy", np.asarray(self.apy, dtype=float))

    def told(self, rate: FloatArray) -> BoolArray:
        """Return on which days a rate and the utilisation behind it are known and possible, shape (n_days,)."""
        used = self.utilization
        known: BoolArray = np.isfinite(used) & np.isfinite(rate) & (used > 0.0) & (used <= 1.0) & (rate >= 0.0)
        return known

    def reserve_factor(self, days: int) -> float:
        """Return the median share of interest kept from suppliers over the last days, 0 … 0.95; NaN if unknown."""
        last = slice(max(len(self.apy) - days, 0), None)
        earned = np.log1p(np.maximum(self.apy[last], -0.99))
        gross = self.utilization[last] * np.log1p(np.maximum(self.borrow_apy[last], 0.0))
        known = np.isfinite(earned) & (gross > _SMALLEST_RATE)
        if not known.any():
            return float("nan")
        return float(np.clip(np.median(1.0 - earned[known] / gross[known]), 0.0, _MOST_KEPT_BY_PROTOCOL))

    def latest_size(self) -> tuple[float, float] | None:
        """Return the latest supply and borrowing, USD; None if never known.

        Where the supply was not told it follows from tvl, which is what is not borrowed, and the utilisation.
        """
        used, supply = self.utilization, self.total_supply_usd
        with np.errstate(divide="ignore", invalid="ignore"):
            supply = np.where(np.isfinite(supply), supply, np.where(used < 1.0, self.tvl_usd / (1.0 - used), np.nan))
        borrow = np.where(np.isfinite(self.total_borrow_usd), self.total_borrow_usd, used * supply)
        known = np.flatnonzero(np.isfinite(supply) & np.isfinite(borrow) & (supply > 0.0) & (borrow >= 0.0))
        if not len(known):
            return None
        last = known[-1]
        return float(supply[last]), float(min(borrow[last], supply[last]))


def latest(values: FloatArray) -> float:
    """Return the last finite value; NaN if there is none."""
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else float("nan")
