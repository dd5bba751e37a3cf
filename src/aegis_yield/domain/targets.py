r"""What is forecast: the APY a depositor earns and the normal volatility of the rate.

For origin D and horizon h (DESIGN section 2), with ``r_k`` the APY of day D+k:

.. math::
    \text{apy} = \Bigl(\prod_{k=1}^{h} (1 + r_k)^{1/365}\Bigr)^{365/h} - 1
    \qquad
    \text{volatility} = \sqrt{\frac{365}{h} \sum_{k=1}^{h} (r_k - r_{k-1})^2}
"""

from __future__ import annotations

from typing import Final

import numpy as np

from aegis_yield.utils.typing import FloatArray

DAYS_PER_YEAR: Final = 365
GROWTH_FLOOR: Final = 1e-6
"""Least growth factor 1+apy: a bad day of funding, annualised simply, can read below -1."""


def realised_apy(daily_apy: FloatArray) -> FloatArray:
    """Return what a depositor of these days earned, annualised.

    Parameters
    ----------
    daily_apy : ndarray of shape (..., horizon_days)
        APY of the days D+1 ... D+h, decimal fractions.

    Returns
    -------
    ndarray of shape (...,)
        The geometric mean of 1+apy, less one. NaN where any day is NaN.
    """
    return np.asarray(np.expm1(log_growth(daily_apy).mean(axis=-1)))


def realised_volatility(daily_apy: FloatArray) -> FloatArray:
    """Return the annualised normal volatility of the rate.

    Parameters
    ----------
    daily_apy : ndarray of shape (..., horizon_days + 1)
        APY of the days D ... D+h: the day of the origin comes first.

    Returns
    -------
    ndarray of shape (...,)
        Square root of 365 times the mean squared daily change. NaN where any day is NaN.
    """
    changes = np.diff(daily_apy, axis=-1)
    return np.asarray(np.sqrt(DAYS_PER_YEAR * np.mean(changes**2, axis=-1)))


def log_growth(daily_apy: FloatArray) -> FloatArray:
    """Return ``log(1 + apy)`` with the growth factor floored at :data:`GROWTH_FLOOR`."""
    return np.asarray(np.log(np.maximum(1.0 + np.asarray(daily_apy), GROWTH_FLOOR)))
