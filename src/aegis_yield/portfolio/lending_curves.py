"""Curves of lending pools: what suppliers are paid as their own deposit lowers the utilisation.

With S supplied and B borrowed, a deposit x leaves the utilisation ``U = B / (S + x)``.

- ``KinkedCurve`` (Aave v3's DefaultReserveInterestRateStrategyV2, Compound v2): borrowers pay ``b(U)``, kinked at U*;
  suppliers get ``U b(U) (1 - reserve_factor)``.
- ``SeparateSupplyCurve`` (Compound v3): suppliers have their own kinked line in U.

Income ``x r(x)`` is concave on each side of the kink for as long as it rises: with ``b = c0 + c1 U`` it turns down at
``S (c0 + c1 U0) / (c1 U0 - c0)`` and bends up only at ``S (c0 + 2 c1 U0) / (c1 U0 - c0)``, later. Across the kink
marginal income jumps *up*, because the rate falls more slowly below it: such a pool has two best deposits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.flow_curves import PriceTaker
from aegis_yield.portfolio.rate_curve import at_least, between, factor_to, within
from aegis_yield.utils.typing import FloatArray


@dataclass(frozen=True)
class KinkedCurve:
    """Supply rate under a kinked borrow rate.

    Attributes
    ----------
    supply_usd, borrow_usd : float
        S above 0 and B from 0 to S, before our deposit.
    base, slope1, slope2 : float
        Borrow rate at U = 0, its rise up to the kink and its further rise up to U = 1; rates per year, at least 0.
    optimal : float
        U*, inside (0, 1).
    reserve_factor : float
        The protocol's share of interest, 0 … 1.
    capacity_usd : float
        The largest further deposit (a supply cap less what is supplied).
    scale : float
        Multiplies the rate; set by ``scaled_to``.
    """

    supply_usd: float
    borrow_usd: float
    base: float
    slope1: float
    slope2: float
    optimal: float
    reserve_factor: float = 0.0
    capacity_usd: float = math.inf
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_pool(self.supply_usd, self.borrow_usd, self.optimal)
        for name in ("base", "slope1", "slope2", "capacity_usd", "scale"):
            at_least(name, getattr(self, name), 0.0)
        between("reserve_factor", self.reserve_factor, 0.0, 1.0)

    def borrow_rate(self, utilization: FloatArray) -> FloatArray:
        """Return what borrowers pay per year at a utilisation, same shape, unscaled."""
        below = np.minimum(utilization, self.optimal) * (self.slope1 / self.optimal)
        above = np.maximum(utilization - self.optimal, 0.0) * (self.slope2 / (1.0 - self.optimal))
        paid: FloatArray = self.base + below + above
        return paid

    def rate(self, deposit_usd: FloatArray) -> FloatArray:
        """Return the supply rate after a deposit; at most what is not borrowed can be withdrawn."""
        used = utilization_after(self.supply_usd, self.borrow_usd, deposit_usd)
        paid: FloatArray = self._keep * used * self.borrow_rate(used)
        return paid

    def marginal(self, deposit_usd: FloatArray) -> FloatArray:
        """Return what one more dollar adds a year."""
        used = utilization_after(self.supply_usd, self.borrow_usd, deposit_usd)
        borrow_rate = self.borrow_rate(used)
        slope = np.where(used > self.optimal, self.slope2 / (1.0 - self.optimal), self.slope1 / self.optimal)
        left = others_share(self.supply_usd, deposit_usd)  # S / (S + x) is 1 minus our own share
        added: FloatArray = self._keep * used * (borrow_rate * left - used * slope * (1.0 - left))
        return added

    def kinks_usd(self, limit_usd: float) -> tuple[float, ...]:
        """Return the deposit that brings the pool down to its kink, where it lies inside (0, limit)."""
        return within((self.borrow_usd / self.optimal - self.supply_usd,), limit_usd)

    def is_concave(self, limit_usd: float) -> bool:
        """Tell whether income is concave on [0, limit]: no upward jump at the kink, no bend after the turn."""
        low, high = self.slope1 / self.optimal, self.slope2 / (1.0 - self.optimal)
        kinks = self.kinks_usd(limit_usd)
        if kinks and high > low:
            return False
        above = (self.base + self.slope1 - high * self.optimal, high)
        starts_above = self.borrow_usd / self.supply_usd > self.optimal
        parts = [(above, kinks[0] if kinks else limit_usd)] if starts_above else []
        if kinks or not starts_above:
            parts.append(((self.base, low), limit_usd))
        return all(end <= self._bends_at(*line) for line, end in parts)

    def scaled_to(self, rate: float) -> KinkedCurve | PriceTaker:
        """Return the same shape through another rate; see ``RateCurve.scaled_to``."""
        if rate <= 0.0:
            return PriceTaker(rate, self.capacity_usd)
        return replace(self, scale=self.scale * factor_to(self, rate))

    @property
    def _keep(self) -> float:
        return self.scale * (1.0 - self.reserve_factor)

    def _bends_at(self, constant: float, slope: float) -> float:
        """Return the deposit at which income stops being concave while borrowers pay ``constant + slope * U``."""
        rising = slope * self.borrow_usd / self.supply_usd
        if rising <= constant:
            return math.inf
        return self.supply_usd * (constant + 2.0 * rising) / (rising - constant)


@dataclass(frozen=True)
class SeparateSupplyCurve:
    """Supply rate as its own kinked line in the utilisation (Compound v3).

    Attributes
    ----------
    supply_usd, borrow_usd : float
        S above 0 and B from 0 to S, before our deposit.
    base : float
        Supply rate per year at U = 0, at least 0.
    slope_low, slope_high : float
        Rise of the rate per unit of utilisation, below and above the kink, at least 0.
    kink : float
        Inside (0, 1).
    capacity_usd, scale : float
        As for ``KinkedCurve``.
    """

    supply_usd: float
    borrow_usd: float
    base: float
    slope_low: float
    slope_high: float
    kink: float
    capacity_usd: float = math.inf
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_pool(self.supply_usd, self.borrow_usd, self.kink)
        for name in ("base", "slope_low", "slope_high", "capacity_usd", "scale"):
            at_least(name, getattr(self, name), 0.0)

    def rate(self, deposit_usd: FloatArray) -> FloatArray:
        """Return the supply rate after a deposit; at most what is not borrowed can be withdrawn."""
        used = utilization_after(self.supply_usd, self.borrow_usd, deposit_usd)
        above = self.slope_high * np.maximum(used - self.kink, 0.0)
        paid: FloatArray = self.scale * (self.base + self.slope_low * np.minimum(used, self.kink) + above)
        return paid

    def marginal(self, deposit_usd: FloatArray) -> FloatArray:
        """Return what one more dollar adds a year."""
        used = utilization_after(self.supply_usd, self.borrow_usd, deposit_usd)
        slope = np.where(used > self.kink, self.slope_high, self.slope_low)
        ours = 1.0 - others_share(self.supply_usd, deposit_usd)
        added: FloatArray = self.rate(deposit_usd) - self.scale * slope * used * ours
        return added

    def kinks_usd(self, limit_usd: float) -> tuple[float, ...]:
        """Return the deposit that brings the pool down to its kink, where it lies inside (0, limit)."""
        return within((self.borrow_usd / self.kink - self.supply_usd,), limit_usd)

    def is_concave(self, limit_usd: float) -> bool:
        """Tell whether income is concave on [0, limit]: each side of the kink is, a rise in slope across it is not."""
        return not (self.kinks_usd(limit_usd) and self.slope_high > self.slope_low)

    def scaled_to(self, rate: float) -> SeparateSupplyCurve | PriceTaker:
        """Return the same shape through another rate; see ``RateCurve.scaled_to``."""
        if rate <= 0.0:
            return PriceTaker(rate, self.capacity_usd)
        return replace(self, scale=self.scale * factor_to(self, rate))


def check_pool(supply_usd: float, borrow_usd: float, optimal: float) -> None:
    """Refuse a lending pool that cannot be.

    Raises
    ------
    RequestError
        If the supply is not a finite number above 0.
    RequestError
        If the borrowed amount is not from 0 to the supply.
    RequestError
        If the kink is not inside (0, 1).
    """
    if not 0.0 < supply_usd < math.inf:
        raise RequestError("supply_usd", supply_usd, "a finite number above 0")
    between("borrow_usd", borrow_usd, 0.0, supply_usd)
    if not 0.0 < optimal < 1.0:
        raise RequestError("optimal", optimal, "a utilisation inside (0, 1)")


def utilization_after(supply_usd: float, borrow_usd: float, deposit_usd: FloatArray) -> FloatArray:
    """Return the utilisation after a deposit, same shape; 1 once all that is not borrowed is withdrawn."""
    floor = borrow_usd if borrow_usd > 0.0 else supply_usd * 1e-12
    used: FloatArray = borrow_usd / np.maximum(supply_usd + np.asarray(deposit_usd, dtype=float), floor)
    return used


def others_share(supply_usd: float, deposit_usd: FloatArray) -> FloatArray:
    """Return the others' share of the supply after a deposit, same shape."""
    total = np.maximum(supply_usd + np.asarray(deposit_usd, dtype=float), supply_usd * 1e-12)
    left: FloatArray = supply_usd / total
    return left
