"""What every mechanism hands over: one block of strategies, all days, before births, gaps and deaths."""

from __future__ import annotations

from dataclasses import dataclass

from aegis_yield.utils.typing import FloatArray


@dataclass(frozen=True)
class LendingBook:
    """Both sides of a lending pool.

    Attributes
    ----------
    borrow_apy : ndarray of shape (n_strategies, n_days)
        What borrowers pay, decimal fraction per year, not compounded.
    utilization : ndarray of shape (n_strategies, n_days)
        Share of the supply that is lent out, in [0, 1].
    supply_usd : ndarray of shape (n_strategies, n_days)
        Deposits, US dollars.
    """

    borrow_apy: FloatArray
    utilization: FloatArray
    supply_usd: FloatArray

    @property
    def borrow_usd(self) -> FloatArray:
        """Loans, US dollars, shape (n_strategies, n_days)."""
        return self.supply_usd * self.utilization


@dataclass(frozen=True)
class Paths:
    """Daily paths of a block of strategies, each array of shape (n_strategies, n_days).

    Attributes
    ----------
    apy_base : ndarray
        Yield from the strategy's own business, decimal fraction per year.
    apy_reward : ndarray
        Yield paid in incentive tokens, decimal fraction per year.
    tvl_usd : ndarray
        Capital that could be withdrawn or is deposited, US dollars.
    price : ndarray
        Value of one unit of principal in its numeraire; 1.0 is at peg.
    book : LendingBook, optional
        Both sides of the pool, for lending.
    """

    apy_base: FloatArray
    apy_reward: FloatArray
    tvl_usd: FloatArray
    price: FloatArray
    book: LendingBook | None = None
