"""What may be asked for: horizons, interval levels, and how much history a forecast needs."""

from __future__ import annotations

from typing import Final, SupportsFloat

from aegis_yield.domain.errors import RequestError

MIN_HORIZON_DAYS: Final = 1
MAX_HORIZON_DAYS: Final = 30
DEFAULT_HORIZON_DAYS: Final = 7
DEFAULT_LEVEL: Final = 0.90
MIN_LEVEL: Final = 0.50
MAX_LEVEL: Final = 0.98

ELIGIBILITY_WINDOW_DAYS: Final = 60
ELIGIBILITY_MIN_ROWS: Final = 30
"""A strategy is forecast at D if it has a row at D and this many rows in the window that ends at D."""


def check_horizon(horizon_days: int) -> int:
    """Return ``horizon_days`` if it is a whole number from 1 to 30.

    Raises
    ------
    RequestError
        If it is anything else.
    """
    whole = isinstance(horizon_days, int) and not isinstance(horizon_days, bool)
    if not whole or not MIN_HORIZON_DAYS <= horizon_days <= MAX_HORIZON_DAYS:
        raise RequestError(
            "horizon_days", horizon_days, f"a whole number from {MIN_HORIZON_DAYS} to {MAX_HORIZON_DAYS}"
        )
    return horizon_days


def check_level(level: float) -> float:
    """Return the interval ``level`` if it lies within what the calibration can promise.

    Raises
    ------
    RequestError
        If it is outside [0.50, 0.98] or not a number.
    """
    number = isinstance(level, SupportsFloat)
    if not number or not MIN_LEVEL <= level <= MAX_LEVEL:  # also refuses NaN
        raise RequestError("level", level, f"a fraction from {MIN_LEVEL:g} to {MAX_LEVEL:g}")
    return level
