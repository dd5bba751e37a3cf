"""What every rate curve answers: the rate a pool pays after one's own deposit, and where its income bends.

A curve says what suppliers are paid, per year, once ``x`` more dollars are in the pool: ``rate(x)``. Income per
year is ``x * rate(x)``; what the last dollar adds is the marginal income ``rate(x) + x * rate'(x)``, below the rate
wherever a deposit lowers it. Borrowers are held fixed: they would come as the rate falls, so dilution is at most this.

**Units of a rate.** A curve speaks the annual rate of its parameters and never converts. Protocols state simple rates
(APR); forecasts are effective (apy). ``scaled_to(rate)`` keeps a curve's shape and lets it pass through any forecast.
Income of a horizon is linear in the *simple* rate over that horizon, ``simple_rate(apy, days)``, so scale a curve to
that where income of high rates is compared, and bring the answer back with ``effective_rate``.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.utils.typing import FloatArray

_DAYS_A_YEAR = 365.0
_SMALLEST_GROWTH = 1e-6


class RateCurve(Protocol):
    """What a pool pays its suppliers after a further deposit by us.

    All methods are vectorised over deposits; NaN deposits give NaN rates. A negative deposit is our withdrawal.
    """

    @property
    def capacity_usd(self) -> float:
        """The largest further deposit that the pool takes; infinite where it has no cap."""

    def rate(self, deposit_usd: FloatArray) -> FloatArray:
        """Return the rate per year paid to suppliers after a further deposit, same shape."""

    def marginal(self, deposit_usd: FloatArray) -> FloatArray:
        """Return the derivative of ``deposit * rate(deposit)``: what one more dollar adds a year, same shape.

        On a kink it is the derivative from the right.
        """

    def kinks_usd(self, limit_usd: float) -> tuple[float, ...]:
        """Return the deposits strictly inside (0, limit) at which the rate has a corner, rising."""

    def is_concave(self, limit_usd: float) -> bool:
        """Tell whether the income ``x * rate(x)`` is concave on [0, limit]."""

    def scaled_to(self, rate: float) -> RateCurve:
        """Return the same shape, multiplied so that ``rate(0)`` is the one given.

        A rate at or below zero has no shape to scale: it becomes a constant, since a loss is not diluted.
        """


def simple_rate(apy: FloatArray, horizon_days: float) -> FloatArray:
    """Return the simple annual rate that pays over the horizon what an effective one pays.

    Parameters
    ----------
    apy : ndarray
        Effective annual rates, any shape; below -1 they are floored at a total loss. NaN stays NaN.
    horizon_days : float
        Days of the horizon, above 0.

    Returns
    -------
    ndarray
        ``((1 + apy)**(h / 365) - 1) * 365 / h``, same shape.
    """
    years = horizon_days / _DAYS_A_YEAR
    rate: FloatArray = (
        np.expm1(years * np.log(np.maximum(1.0 + np.asarray(apy, dtype=float), _SMALLEST_GROWTH))) / years
    )
    return rate


def effective_rate(rate: FloatArray, horizon_days: float) -> FloatArray:
    """Return the apy of a simple annual rate paid over the horizon: the inverse of ``simple_rate``."""
    years = horizon_days / _DAYS_A_YEAR
    growth = np.maximum(1.0 + np.asarray(rate, dtype=float) * years, _SMALLEST_GROWTH**years)
    apy: FloatArray = np.expm1(np.log(growth) / years)
    return apy


def income_usd(curve: RateCurve, deposit_usd: FloatArray) -> FloatArray:
    """Return the income per year of deposits into a pool, same shape."""
    deposits = np.asarray(deposit_usd, dtype=float)
    income: FloatArray = deposits * curve.rate(deposits)
    return income


def at_least(name: str, value: float, least: float) -> None:
    """Refuse a parameter that is NaN, or below its least value; infinity passes."""
    if not value >= least:
        raise RequestError(name, value, f"a number, at least {least:g}")


def between(name: str, value: float, least: float, most: float) -> None:
    """Refuse a parameter that is NaN or outside [least, most]."""
    if not least <= value <= most:
        raise RequestError(name, value, f"a number from {least:g} to {most:g}")


def within(points: tuple[float, ...], limit_usd: float) -> tuple[float, ...]:
    """Return the points strictly inside (0, limit), rising."""
    return tuple(sorted(point for point in points if 0.0 < point < limit_usd))


def factor_to(curve: RateCurve, rate: float) -> float:
    """Return by how much a curve is multiplied so that it pays this rate now.

    Raises
    ------
    RequestError
        If the rate is not a finite number, or the curve pays nothing now, so that no multiple of it does.
    """
    if not np.isfinite(rate):
        raise RequestError("rate", rate, "a finite number")
    now = float(curve.rate(np.zeros(1))[0])
    if now <= 0.0:
        raise RequestError("rate", rate, f"0 for a curve that pays {now:g} now: no multiple of it pays anything else")
    return rate / now
