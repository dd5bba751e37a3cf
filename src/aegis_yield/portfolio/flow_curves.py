"""Curves of pools without borrowers: shared flows, takers of a price, and the market for funding."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.rate_curve import at_least, between, factor_to, within
from aegis_yield.utils.typing import FloatArray

_SMALLEST_SHARE = 1e-9


@dataclass(frozen=True)
class PriceTaker:
    """A rate that one's own deposit does not move, up to a capacity: staking, treasury bills.

    Beyond the capacity further money earns nothing, so the average rate falls and income stays flat.

    Attributes
    ----------
    apy : float
        Rate per year, any finite number.
    capacity_usd : float
        The largest deposit that earns it, above 0; infinite unless given.
    """

    apy: float
    capacity_usd: float = math.inf

    def __post_init__(self) -> None:
        between("apy", self.apy, -1e6, 1e6)
        at_least("capacity_usd", self.capacity_usd, 0.0)

    def rate(self, deposit_usd: FloatArray) -> FloatArray:
        """Return the rate after a deposit."""
        deposits = np.asarray(deposit_usd, dtype=float)
        earning = np.minimum(deposits, self.capacity_usd)
        full = self.apy + 0.0 * deposits  # keeps NaN
        rate: FloatArray = np.where(
            deposits > self.capacity_usd, full * earning / np.where(deposits, deposits, 1.0), full
        )
        return rate

    def marginal(self, deposit_usd: FloatArray) -> FloatArray:
        """Return what one more dollar adds a year."""
        deposits = np.asarray(deposit_usd, dtype=float)
        added: FloatArray = np.where(deposits >= self.capacity_usd, 0.0, self.apy + 0.0 * deposits)
        return added

    def kinks_usd(self, limit_usd: float) -> tuple[float, ...]:
        """Return the capacity, where it lies inside (0, limit)."""
        return within((self.capacity_usd,), limit_usd)

    def is_concave(self, limit_usd: float) -> bool:
        """Tell whether income is concave: a negative rate bends upwards at the capacity."""
        return self.apy >= 0.0 or limit_usd <= self.capacity_usd

    def scaled_to(self, rate: float) -> PriceTaker:
        """Return the taker of another rate."""
        return replace(self, apy=rate)


@dataclass(frozen=True)
class ProRata:
    """A fixed flow shared by all deposits, ``A T / (T + x)``, over a part that nothing dilutes.

    Emissions and trading fees are such flows; the part beneath may be the yield of the deposited token itself.

    Attributes
    ----------
    tvl_usd : float
        T, deposits that share the flow now, above 0.
    shared_apy : float
        A, what the flow pays each of them now, at least 0.
    base_apy : float
        The undiluted part, any finite number.
    capacity_usd : float
        The largest further deposit.
    """

    tvl_usd: float
    shared_apy: float
    base_apy: float = 0.0
    capacity_usd: float = math.inf

    def __post_init__(self) -> None:
        at_least("shared_apy", self.shared_apy, 0.0)
        at_least("capacity_usd", self.capacity_usd, 0.0)
        between("base_apy", self.base_apy, -1e6, 1e6)
        if not 0.0 < self.tvl_usd < math.inf:
            raise RequestError("tvl_usd", self.tvl_usd, "a finite number above 0")

    def _share(self, deposit_usd: FloatArray) -> FloatArray:
        total = self.tvl_usd + np.asarray(deposit_usd, dtype=float)
        share: FloatArray = self.tvl_usd / np.maximum(total, _SMALLEST_SHARE * self.tvl_usd)
        return share

    def rate(self, deposit_usd: FloatArray) -> FloatArray:
        """Return the rate after a deposit."""
        paid: FloatArray = self.base_apy + self.shared_apy * self._share(deposit_usd)
        return paid

    def marginal(self, deposit_usd: FloatArray) -> FloatArray:
        """Return what one more dollar adds a year: ``A T² / (T + x)²`` over the undiluted part."""
        added: FloatArray = self.base_apy + self.shared_apy * self._share(deposit_usd) ** 2
        return added

    def kinks_usd(self, limit_usd: float) -> tuple[float, ...]:  # noqa: ARG002 - the protocol's signature
        """Return nothing: the curve is smooth."""
        return ()

    def is_concave(self, limit_usd: float) -> bool:  # noqa: ARG002 - the protocol's signature
        """Tell that income is concave, always."""
        return True

    def scaled_to(self, rate: float) -> ProRata | PriceTaker:
        """Return the same shape through another rate; see ``RateCurve.scaled_to``."""
        if rate <= 0.0:
            return PriceTaker(rate, self.capacity_usd)
        factor = factor_to(self, rate)
        return replace(self, shared_apy=self.shared_apy * factor, base_apy=self.base_apy * factor)


@dataclass(frozen=True)
class FundingDepth:
    """A funding rate that one's own short position pushes down, linearly in its share of open interest.

    ``rate(x) = apy - drop_apy * x / open_interest_usd``. Funding may be zero or negative, where multiplying a curve
    would turn the impact's sign, so ``scaled_to`` shifts the level and keeps the drop.

    Attributes
    ----------
    apy : float
        Funding received per year now, any finite number.
    open_interest_usd : float
        Open interest of the market, above 0.
    drop_apy : float
        By how much the annual rate falls when one's own size equals the open interest, at least 0.
    max_share : float
        The largest own size as a share of open interest, above 0 up to 1.
    """

    apy: float
    open_interest_usd: float
    drop_apy: float
    max_share: float = 0.05

    def __post_init__(self) -> None:
        between("apy", self.apy, -1e6, 1e6)
        between("drop_apy", self.drop_apy, 0.0, 1e6)
        if not 0.0 < self.open_interest_usd < math.inf:
            raise RequestError("open_interest_usd", self.open_interest_usd, "a finite number above 0")
        if not 0.0 < self.max_share <= 1.0:
            raise RequestError("max_share", self.max_share, "a share above 0, up to 1")

    @property
    def capacity_usd(self) -> float:
        """The largest own size."""
        return self.max_share * self.open_interest_usd

    def rate(self, deposit_usd: FloatArray) -> FloatArray:
        """Return the rate after a deposit."""
        share = np.asarray(deposit_usd, dtype=float) / self.open_interest_usd
        paid: FloatArray = self.apy - self.drop_apy * share
        return paid

    def marginal(self, deposit_usd: FloatArray) -> FloatArray:
        """Return what one more dollar adds a year."""
        share = np.asarray(deposit_usd, dtype=float) / self.open_interest_usd
        added: FloatArray = self.apy - 2.0 * self.drop_apy * share
        return added

    def kinks_usd(self, limit_usd: float) -> tuple[float, ...]:  # noqa: ARG002 - the protocol's signature
        """Return nothing: the curve is smooth."""
        return ()

    def is_concave(self, limit_usd: float) -> bool:  # noqa: ARG002 - the protocol's signature
        """Tell that income is concave, always."""
        return True

    def scaled_to(self, rate: float) -> FundingDepth:
        """Return the same depth at another level of funding."""
        return replace(self, apy=rate)
