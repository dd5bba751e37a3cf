"""What people use today: the last value and an exponentially weighted mean, as forecasters.

They need no fitting; their intervals come from the same calibration as the network's, with the local
scale of the rate as their spread, so that a race between them is fair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.targets import DAYS_PER_YEAR
from aegis_yield.models.calibration import LocationScale
from aegis_yield.preprocessing.origins import ModelInputs
from aegis_yield.utils.typing import FloatArray

EWMA_ALPHA: Final = 0.3
VOLATILITY_DECAY: Final = 0.94
"""RiskMetrics (1996): weight of yesterday's variance against today's squared change."""

_LEAST_VARIANCE: Final = 1e-12


@dataclass(frozen=True)
class LastValue:
    """Tomorrow is like today: the forecast every other one must beat."""

    name: str = "last value"

    def locate(self, inputs: ModelInputs, horizon_days: int) -> LocationScale:
        """Forecast the apy of the origin's day."""
        return _with_local_scale(inputs.last_apy, inputs)


@dataclass(frozen=True)
class MovingMean:
    """The mean of the last days."""

    window_days: int = 7

    @property
    def name(self) -> str:
        """``"mean 7 days"`` and the like."""
        return f"mean {self.window_days} days"

    def locate(self, inputs: ModelInputs, horizon_days: int) -> LocationScale:
        """Forecast the mean of the known days in the window."""
        return _with_local_scale(np.nanmean(inputs.history[:, -self.window_days :], axis=1), inputs)


@dataclass(frozen=True)
class Ewma:
    """Exponentially weighted mean of recent days, newest weighted ``alpha``."""

    alpha: float = EWMA_ALPHA

    @property
    def name(self) -> str:
        """``"EWMA 0.3"`` and the like."""
        return f"EWMA {self.alpha:g}"

    def locate(self, inputs: ModelInputs, horizon_days: int) -> LocationScale:
        """Forecast the weighted mean; unknown days carry no weight."""
        return _with_local_scale(ewma(inputs.history, self.alpha), inputs)


def ewma(history: FloatArray, alpha: float) -> FloatArray:
    """Return the exponentially weighted mean along the last axis, newest last.

    Parameters
    ----------
    history : ndarray of shape (n, n_days)
        NaN days carry no weight.
    alpha : float
        Weight of the newest day against all before it, in (0, 1].
    """
    weight = (1.0 - alpha) ** np.arange(history.shape[1])[::-1]
    known = ~np.isnan(history)
    return np.asarray((np.where(known, history, 0.0) @ weight) / (known @ weight))


def ewma_volatility(history: FloatArray) -> FloatArray:
    """Return RiskMetrics volatility of the daily change, annualised, shape (n,)."""
    square = np.diff(history, axis=1) ** 2
    return np.asarray(np.sqrt(DAYS_PER_YEAR * np.maximum(ewma(square, 1.0 - VOLATILITY_DECAY), _LEAST_VARIANCE)))


def _with_local_scale(location: FloatArray, inputs: ModelInputs) -> LocationScale:
    return LocationScale(
        location=np.asarray(location, dtype=float),
        scale=np.asarray(inputs.local_scale, dtype=float),
        volatility=ewma_volatility(inputs.history),
    )
