"""Returns for the risk taken, on 365 days a year: annualised return, Calmar and Sortino ratios of NAV paths.

Crypto has no weekends: 252 trading days would overstate every figure here. A path is the daily value of a
position along the last axis, its starting value first, as in :mod:`aegis_yield.risk.drawdown`.

Where a path has no downside at all, the ratio is infinite if it gained and NaN (not defined) if it did not:
a lending position that only ever accrues has no finite ratio, and none is made up for it.
"""

from __future__ import annotations

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.domain.targets import DAYS_PER_YEAR
from aegis_yield.risk.drawdown import max_drawdown, simple_returns
from aegis_yield.utils.typing import FloatArray


def annualised_return(nav: FloatArray) -> FloatArray:
    """Return the compounded growth of each path per year of 365 days.

    Parameters
    ----------
    nav : ndarray of shape (..., n_days + 1)
        Values of the position, the starting value first; at least one day.

    Returns
    -------
    ndarray of shape (...)
        Decimal fraction; -1 for a path that ends at 0. Short paths give wild figures (a day of 1 % is 3,678 %).

    Raises
    ------
    RequestError
        If a path does not start above 0, falls below 0, is not finite, or has no day.
    """
    values = np.asarray(nav, dtype=float)
    n_days = simple_returns(values).shape[-1]
    if n_days == 0:
        raise RequestError("nav", values.shape, "a starting value and at least one day after it")
    return np.asarray(np.power(values[..., -1] / values[..., 0], DAYS_PER_YEAR / n_days) - 1.0)


def calmar_ratio(nav: FloatArray) -> FloatArray:
    """Return the annualised return over the largest compounded drawdown of the same days, shape (...).

    It falls with the length of the path, whose drawdown can only grow: quote it with the horizon. Without any
    drawdown it is infinite after a gain and NaN for a path that never moved.
    """
    return _ratio(annualised_return(nav), max_drawdown(nav))


def sortino_ratio(nav: FloatArray, target_apy: float = 0.0) -> FloatArray:
    r"""Return the annualised mean return above a target, over the deviation below it.

    .. math:: 365\,\overline{(r - g)} \Big/ \sqrt{365\,\overline{\min(r - g, 0)^2}}, \quad g = (1+target)^{1/365} - 1

    Parameters
    ----------
    nav : ndarray of shape (..., n_days + 1)
        Values of the position, the starting value first; at least one day.
    target_apy : float
        Least acceptable return, effective per year, above -1.

    Returns
    -------
    ndarray of shape (...)
        Infinite where no day fell short of the target and some beat it; NaN where all days met it exactly.
    """
    if not target_apy > -1.0:
        raise RequestError("target_apy", target_apy, "a decimal fraction above -1")
    returns = simple_returns(nav)
    if returns.shape[-1] == 0:
        raise RequestError("nav", np.shape(nav), "a starting value and at least one day after it")
    excess = returns - ((1.0 + target_apy) ** (1.0 / DAYS_PER_YEAR) - 1.0)
    downside = np.sqrt(DAYS_PER_YEAR * np.mean(np.minimum(excess, 0.0) ** 2, axis=-1))
    return _ratio(DAYS_PER_YEAR * excess.mean(axis=-1), downside)


def _ratio(gain: FloatArray, risk: FloatArray) -> FloatArray:
    without = np.where(gain > 0.0, np.inf, np.nan)
    return np.divide(gain, risk, out=without, where=risk > 0.0)
