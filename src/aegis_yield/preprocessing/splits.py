"""Time-ordered splits: train, validate, calibrate, with an embargo so that no outcome is shared.

An origin belongs to a block if its outcome is known inside the block: a training origin D with horizon h
needs ``D + h <= train_end``, and validation origins start at ``train_end``. The gap between the last
training origin and the first validation origin is therefore at least h days, for every h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aegis_yield.domain.errors import HistoryError

CALIBRATION_DAYS: Final = 120
VALIDATION_DAYS: Final = 60
MIN_TOTAL_DAYS: Final = 200
_CALIBRATION_SHARE: Final = 0.2
_VALIDATION_SHARE: Final = 0.1


@dataclass(frozen=True)
class TimeSplit:
    """Three consecutive blocks of days.

    Attributes
    ----------
    first_day : int
        First day number of the data.
    train_end : int
        Last day that a training outcome may use; first day of validation origins.
    validation_end : int
        Last day that a validation outcome may use; first day of calibration origins.
    calibration_end : int
        Last day of the data.
    """

    first_day: int
    train_end: int
    validation_end: int
    calibration_end: int

    def __post_init__(self) -> None:
        """Refuse blocks that are empty or out of order."""
        if not self.first_day < self.train_end < self.validation_end < self.calibration_end:
            raise ValueError(f"blocks must follow one another, received {self}")


def split_time(first_day: int, last_day: int) -> TimeSplit:
    """Split a span of days into training, validation and calibration.

    Parameters
    ----------
    first_day, last_day : int
        Day numbers of the first and last row.

    Returns
    -------
    TimeSplit
        The last 120 days calibrate and the 60 before them validate; on short histories a fifth and
        a tenth of the span.

    Raises
    ------
    HistoryError
        If there are fewer than 200 days: nothing could be learned and checked.
    """
    n_days = last_day - first_day + 1
    if n_days < MIN_TOTAL_DAYS:
        raise HistoryError(
            f"received {n_days} days of yields, training needs at least {MIN_TOTAL_DAYS}; collect more or use --data"
        )
    calibration = min(CALIBRATION_DAYS, int(n_days * _CALIBRATION_SHARE))
    validation = min(VALIDATION_DAYS, int(n_days * _VALIDATION_SHARE))
    return TimeSplit(
        first_day=first_day,
        train_end=last_day - calibration - validation,
        validation_end=last_day - calibration,
        calibration_end=last_day,
    )
