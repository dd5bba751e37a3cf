r"""From the spread of the rate to the volatility of DESIGN section 2, where no network is taught it.

Bundles with volatility members ask those (see :mod:`aegis_yield.models.volatility_recipe`); this map serves bundles
without, and reads the volatility off the second output of the others.

The spread of a horizon's mean and the size of daily changes are different things: where a rate reverts, days
move a lot and weeks little. A robust log-linear regression on the calibration block maps one to the other,
per category:

.. math:: \log (v / s) = \alpha + \alpha_{category} + \beta_1 \log b + \beta_2 \log h

with ``v`` the root mean squared daily change over the horizon, ``s`` the local scale and ``log b`` the output.
That is the *typical* size. Rates stand still for weeks and then jump, and a variance is a mean, so the served
volatility adds what has been seen: ``v² = (margin · typical)² + share · ewma²``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.targets import DAYS_PER_YEAR
from aegis_yield.models.baselines import ewma_volatility
from aegis_yield.preprocessing.origins import ModelInputs
from aegis_yield.utils.typing import FloatArray, IntArray

MARGIN: Final = 1.5
EWMA_SHARE: Final = 0.3
"""Chosen on 2024 data, where they beat RiskMetrics' volatility on QLIKE's median and on log error."""

LEAST_RATIO: Final = 0.02
"""Daily changes are told apart down to this fraction of the local scale."""

_CATEGORY_PENALTY: Final = 20.0
_STEPS: Final = 30
_SMALLEST_RESIDUAL: Final = 0.1
_MAX_LOG: Final = 7.0


@dataclass(frozen=True)
class VolatilityDesign:
    """What the map sees besides the network's output, for n forecasts.

    Attributes
    ----------
    local_scale : ndarray of shape (n,)
        In apy units.
    recent_volatility : ndarray of shape (n,)
        RiskMetrics volatility of the daily change, annualised.
    category : ndarray of int, shape (n,)
        Category codes.
    horizon_days : ndarray of int, shape (n,)
        Days ahead.
    """

    local_scale: FloatArray
    recent_volatility: FloatArray
    category: IntArray
    horizon_days: IntArray

    @classmethod
    def of(cls, inputs: ModelInputs, category: IntArray, horizon_days: int) -> VolatilityDesign:
        """Read the design off model inputs at one horizon."""
        horizons = np.full(len(inputs), horizon_days)
        return cls(inputs.local_scale, ewma_volatility(inputs.history), category, horizons)

    @classmethod
    def joined(cls, parts: list[VolatilityDesign]) -> VolatilityDesign:
        """Return several designs as one."""
        return cls(
            np.concatenate([part.local_scale for part in parts]),
            np.concatenate([part.recent_volatility for part in parts]),
            np.concatenate([part.category for part in parts]),
            np.concatenate([part.horizon_days for part in parts]),
        )

    def matrix(self, log_scale: FloatArray) -> FloatArray:
        """Return the design matrix, shape (n, 3 + n_categories)."""
        common = np.stack([np.ones(len(log_scale)), log_scale, np.log(self.horizon_days)], axis=1)
        return np.concatenate([common, np.eye(len(CATEGORIES))[self.category]], axis=1)


@dataclass(frozen=True)
class VolatilityMap:
    """The fitted regression.

    Attributes
    ----------
    coefficients : ndarray of shape (3 + n_categories,)
        Intercept, slopes in log scale and log horizon, and each category's own departure.
    """

    coefficients: FloatArray

    def volatility(self, log_scale: FloatArray, design: VolatilityDesign) -> FloatArray:
        """Return annualised normal volatilities, shape (n,).

        Parameters
        ----------
        log_scale : ndarray of shape (n,)
            The network's second output: log spread in units of the local scale.
        design : VolatilityDesign
            The rest of what the map sees.
        """
        log_ratio = np.clip(design.matrix(log_scale) @ self.coefficients, -_MAX_LOG, _MAX_LOG)
        typical = design.local_scale * np.sqrt(DAYS_PER_YEAR) * np.exp(log_ratio)
        return np.asarray(np.sqrt((MARGIN * typical) ** 2 + EWMA_SHARE * design.recent_volatility**2))

    @classmethod
    def identity(cls) -> VolatilityMap:
        """Return the map of an unfitted model: daily changes are as large as the spread says."""
        coefficients = np.zeros(3 + len(CATEGORIES))
        coefficients[1] = 1.0
        return cls(coefficients)


def fit_volatility_map(log_scale: FloatArray, design: VolatilityDesign, volatility: FloatArray) -> VolatilityMap:
    """Fit the regression by least absolute deviations (iteratively reweighted, lightly ridged).

    Parameters
    ----------
    log_scale : ndarray of shape (n,)
        The network's second output.
    design : VolatilityDesign
        The rest of what the map sees.
    volatility : ndarray of shape (n,)
        Realised annualised normal volatility over each horizon.
    """
    x = design.matrix(log_scale)
    ratio = volatility / (np.sqrt(DAYS_PER_YEAR) * design.local_scale)
    y = np.log(np.maximum(ratio, LEAST_RATIO))
    penalty = np.diag(np.r_[1e-6, 1.0, 1.0, np.full(len(CATEGORIES), _CATEGORY_PENALTY)])
    weight = np.ones(len(y))
    beta = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        beta = np.linalg.solve(x.T @ (weight[:, None] * x) + penalty, x.T @ (weight * y))
        weight = 1.0 / np.maximum(np.abs(y - x @ beta), _SMALLEST_RESIDUAL)
    return VolatilityMap(beta)
