"""Recalibrate: let a bundle's calibration learn from outcomes that it does not know yet, and say what that changed."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.forecast import QUANTILE_LEVELS, Forecasts
from aegis_yield.models.bundle import Bundle
from aegis_yield.models.calibration import scores_of
from aegis_yield.preprocessing.origins import history_before, outcomes, walk_origins
from aegis_yield.preprocessing.panel import build_panel, to_date, to_day
from aegis_yield.utils.typing import FloatArray

STEP_DAYS: Final = 7
MAX_DAYS: Final = 182
"""Older outcomes than this weigh next to nothing."""

INTERVAL: Final = 0.90


@dataclass(frozen=True)
class Change:
    """What recalibration changed in one category.

    Attributes
    ----------
    category : str
        Which.
    n_outcomes : int
        New ones that the calibration learned from.
    width_factor : float
        Median width of the 90 % interval after, over that before.
    shift : float
        Median move of the interval's middle, in widths before.
    """

    category: str
    n_outcomes: int
    width_factor: float
    shift: float

    def __str__(self) -> str:
        change = f"{100 * abs(self.width_factor - 1):.0f} % {'wider' if self.width_factor >= 1 else 'narrower'}"
        learned = "1 new outcome makes" if self.n_outcomes == 1 else f"{self.n_outcomes:,} new outcomes make"
        return (
            f"{self.category}: {learned} 90 % intervals {change} "
            f"and move them by {100 * self.shift:+.0f} % of their width"
        )


def recalibrate(bundle: Bundle, dataset: Dataset, horizon_days: int) -> tuple[Bundle, list[Change]]:
    """Return a bundle whose calibration knows the outcomes since its training, and what that changes today.

    Parameters
    ----------
    bundle : Bundle
        As it was trained, or as it was recalibrated last.
    dataset : Dataset
        The newest tables. Weekly origins since :func:`first_unlearned`, half a year of them at most, are forecast and
        compared with what came.
    horizon_days : int
        Of the forecasts learned from.
    """
    days = _origins(bundle, dataset, horizon_days)
    last = to_day(dataset.last_date)
    start = history_before(days[0] if days else last)
    panel = build_panel(dataset, start=to_date(start), end=dataset.last_date)
    calibrator, learned = bundle.calibrator, np.zeros(len(CATEGORIES), dtype=int)
    for batch in walk_origins(panel, days):
        if len(batch.keys):
            apy, _ = outcomes(panel, batch.rows, batch.day, horizon_days)
            raw = bundle.model.locate(batch.inputs, horizon_days)
            calibrator = calibrator.updated(scores_of(raw, batch.keys, apy, horizon_days))
            learned += np.bincount(batch.keys.category[np.isfinite(apy)], minlength=len(CATEGORIES))
    adapted = replace(bundle, calibrator=calibrator)
    (today,) = walk_origins(panel, [last])
    if not len(today.keys) or not learned.any():
        return adapted, []
    raw = bundle.model.locate(today.inputs, horizon_days)
    before, after = (
        one.calibrator.forecasts(raw, today.keys, horizon_days, QUANTILE_LEVELS) for one in (bundle, adapted)
    )
    codes = [int(code) for code in np.unique(today.keys.category) if learned[code]]
    return adapted, [_change(before, after, code, int(learned[code])) for code in codes]


def first_unlearned(bundle: Bundle, horizon_days: int) -> int:
    """Return the first origin whose outcome a bundle cannot know: after its training, known after its last calibration.

    An origin before the last calibration counts if its outcome came only after it. Otherwise a bundle that is
    recalibrated every week would never learn how forecasts over a month turned out.

    Raises
    ------
    ValueError
        If the bundle does not say to which day it was trained.
    """
    trained, known = (to_day(dt.date.fromisoformat(day)) for day in (bundle.trained_to, bundle.data_end))
    return max(trained + 1, known - horizon_days + 1)


def _origins(bundle: Bundle, dataset: Dataset, horizon_days: int) -> list[int]:
    last = to_day(dataset.last_date) - horizon_days
    try:
        unlearned = first_unlearned(bundle, horizon_days)
    except ValueError:
        return []
    first = max(unlearned, to_day(dataset.first_date), last - MAX_DAYS)
    return sorted(range(last, first - 1, -STEP_DAYS))


def _change(before: Forecasts, after: Forecasts, code: int, n_outcomes: int) -> Change:
    rows = before.keys.category == code
    old, new = (_interval(one)[:, rows] for one in (before, after))
    width = np.maximum(old[1] - old[0], 1e-9)
    return Change(
        category=CATEGORIES[code],
        n_outcomes=n_outcomes,
        width_factor=float(np.median((new[1] - new[0]) / width)),
        shift=float(np.median((new.sum(axis=0) - old.sum(axis=0)) / 2 / width)),
    )


def _interval(forecasts: Forecasts) -> FloatArray:
    return np.stack(forecasts.interval(INTERVAL))
