"""The curve of a Morpho market, whose rate drifts for as long as the utilisation is off its target.

Morpho's AdaptiveCurveIRM charges ``rateAtTarget * c(e)`` with the error ``e = (U - 0.9) / (0.9 or 0.1)`` in -1 … 1,
``c(e) = 1 + 3 e`` above the target and ``1 + 0.75 e`` below (steepness 4), and moves ``rateAtTarget`` by
``exp(50 e t)``, t in years, inside [0.1 %, 200 %]. A deposit lowers U at once and the rate then keeps falling, so the
curve is the *average* over the horizon with U held: from U = 0.9 a deposit of 10 % of the supply leaves 0.85 of the
rate at once, 0.71 on average over 30 days. Borrowers would come back as the rate falls, so this is the most that a
deposit dilutes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from aegis_yield.portfolio.flow_curves import PriceTaker
from aegis_yield.portfolio.lending_curves import check_pool, others_share, utilization_after
from aegis_yield.portfolio.rate_curve import at_least, between, factor_to, within
from aegis_yield.utils.typing import FloatArray

TARGET: Final = 0.9
STEEPNESS: Final = 4.0
SPEED_A_YEAR: Final = 50.0
RATE_AT_TARGET_BOUNDS: Final = (0.001, 2.0)
_SERIES_BELOW: Final = 1e-3
_CONCAVITY_POINTS: Final = 257
_CONCAVITY_SLACK: Final = 1e-9


@dataclass(frozen=True)
class AdaptiveCurve:
    """Average supply rate of a Morpho market over the horizon.

    Attributes
    ----------
    supply_usd, borrow_usd : float
        S above 0 and B from 0 to S, before our deposit.
    rate_at_target : float
        Borrow rate per year at 90 % utilisation now, 0.001 … 2.
    horizon_days : float
        Days over which the rate is averaged; 0 asks for the rate at once.
    fee : float
        The market's share of interest, 0 … 1.
    capacity_usd, scale : float
        As for ``KinkedCurve``.
    """

    supply_usd: float
    borrow_usd: float
    rate_at_target: float
    horizon_days: float
    fee: float = 0.0
    capacity_usd: float = math.inf
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_pool(self.supply_usd, self.borrow_usd, TARGET)
        between("rate_at_target", self.rate_at_target, *RATE_AT_TARGET_BOUNDS)
        between("horizon_days", self.horizon_days, 0.0, 3650.0)
        between("fee", self.fee, 0.0, 1.0)
        at_least("capacity_usd", self.capacity_usd, 0.0)
        at_least("scale", self.scale, 0.0)

    def rate(self, deposit_usd: FloatArray) -> FloatArray:
        """Return the average supply rate after a deposit."""
        used = utilization_after(self.supply_usd, self.borrow_usd, deposit_usd)
        paid: FloatArray = self._keep * used * self._borrow_rate(used)[0]
        return paid

    def marginal(self, deposit_usd: FloatArray) -> FloatArray:
        """Return what one more dollar adds a year."""
        used = utilization_after(self.supply_usd, self.borrow_usd, deposit_usd)
        borrow_rate, slope = self._borrow_rate(used)
        left = others_share(self.supply_usd, deposit_usd)
        added: FloatArray = self._keep * used * (borrow_rate * left - used * slope * (1.0 - left))
        return added

    def kinks_usd(self, limit_usd: float) -> tuple[float, ...]:
        """Return the deposit that brings the pool down to its target, where it lies inside (0, limit)."""
        return within((self.borrow_usd / TARGET - self.supply_usd,), limit_usd)

    def is_concave(self, limit_usd: float) -> bool:
        """Tell whether income is concave on [0, limit]: sampled at 257 deposits, closer at first."""
        if self.borrow_usd == 0.0:
            return True
        steps = np.linspace(0.0, 1.0, _CONCAVITY_POINTS)
        marginal = self.marginal(limit_usd * steps**2)
        slack = _CONCAVITY_SLACK * float(np.max(np.abs(marginal)))
        return not self.kinks_usd(limit_usd) and bool((np.diff(marginal) <= slack).all())

    def scaled_to(self, rate: float) -> AdaptiveCurve | PriceTaker:
        """Return the same shape through another rate; see ``RateCurve.scaled_to``."""
        if rate <= 0.0:
            return PriceTaker(rate, self.capacity_usd)
        return replace(self, scale=self.scale * factor_to(self, rate))

    @property
    def _keep(self) -> float:
        return self.scale * (1.0 - self.fee)

    def _borrow_rate(self, utilization: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the average borrow rate at a utilisation, and its derivative by utilisation."""
        above = utilization > TARGET
        width = np.where(above, 1.0 - TARGET, TARGET)
        error = (utilization - TARGET) / width
        steep = np.where(above, STEEPNESS - 1.0, 1.0 - 1.0 / STEEPNESS)
        factor = 1.0 + steep * error
        average, by_error = self._average_rate_at_target(error)
        borrow_rate: FloatArray = factor * average
        slope: FloatArray = (steep * average + factor * by_error) / width
        return borrow_rate, slope

    def _average_rate_at_target(self, error: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the horizon's average of the drifting rate, and its derivative by the error.

        The rate drifts until it meets a bound, at ``moving`` (a share of the horizon), and then rests.
        """
        years = self.horizon_days / 365.0
        drift = SPEED_A_YEAR * years * error  # log change over the whole horizon, were there no bounds
        low, high = RATE_AT_TARGET_BOUNDS
        bound = np.where(drift > 0.0, high, low)
        room = np.log(bound / self.rate_at_target)  # the same sign as the drift, or 0
        moving = np.where(np.abs(drift) > np.abs(room), room / np.where(drift, drift, 1.0), 1.0)
        moved = drift * moving
        average: FloatArray = self.rate_at_target * moving * _growth_mean(moved) + (1.0 - moving) * bound
        by_drift = self.rate_at_target * moving**2 * _growth_moment(moved)
        by_error: FloatArray = by_drift * SPEED_A_YEAR * years
        return average, by_error


def _growth_mean(k: FloatArray) -> FloatArray:
    """Return the mean of ``exp(k s)`` over s in [0, 1]."""
    safe = np.where(k, k, 1.0)
    mean: FloatArray = np.where(k, np.expm1(safe) / safe, 1.0)
    return mean


def _growth_moment(k: FloatArray) -> FloatArray:
    """Return the mean of ``s exp(k s)`` over s in [0, 1]."""
    small = np.abs(k) < _SERIES_BELOW
    safe = np.where(small, 1.0, k)
    exact = (np.exp(safe) * (safe - 1.0) + 1.0) / safe**2
    moment: FloatArray = np.where(small, 0.5 + k / 3.0 + k**2 / 8.0 + k**3 / 30.0, exact)
    return moment
