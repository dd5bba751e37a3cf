"""Interest of an Aave v3 reserve in the contract's own integers (WadRayMath, MathUtils, ReserveLogic).

Between two updates the supply index grows linearly and the index of debt by a third-order binomial, rounded half up
to 1e-27. Later versions of the contract compute debt by a series of ``e^x``: 3e-13 away after a day at 5 % a year.
"""

from __future__ import annotations

import math
from typing import Final

RAY: Final = 10**27
SECONDS_A_YEAR: Final = 31_536_000
_HALF_RAY: Final = RAY // 2
_DAYS_A_YEAR: Final = 365


def ray_mul(a: int, b: int) -> int:
    """Multiply two rays, rounding half up."""
    return (a * b + _HALF_RAY) // RAY


def linear_interest(rate: int, seconds: int) -> int:
    """Return the growth of one ray at a yearly rate without compounding."""
    return RAY + rate * seconds // SECONDS_A_YEAR


def compounded_interest(rate: int, seconds: int) -> int:
    """Return the growth of one ray at a yearly rate compounded every second, to third order."""
    if seconds == 0:
        return RAY
    squared = ray_mul(rate, rate) // SECONDS_A_YEAR**2
    cubed = ray_mul(squared, rate) // SECONDS_A_YEAR
    pairs = seconds * (seconds - 1)
    triples = pairs * max(0, seconds - 2)
    return RAY + rate * seconds // SECONDS_A_YEAR + pairs * squared // 2 + triples * cubed // 6


def supply_index(index: int, rate: int, seconds: int) -> int:
    """Return the liquidity index so long after an update (``getReserveNormalizedIncome``)."""
    return ray_mul(linear_interest(rate, seconds), index)


def debt_index(index: int, rate: int, seconds: int) -> int:
    """Return the variable borrow index so long after an update (``getReserveNormalizedVariableDebt``)."""
    return ray_mul(compounded_interest(rate, seconds), index)


def yearly(before: int, after: int) -> float:
    """Return the rate a year, compounded, of an index that went from one value to the other within a day.

    The difference is taken in integers: a float of either index would cost five of the twelve digits.
    """
    return math.expm1(_DAYS_A_YEAR * math.log1p((after - before) / before))
