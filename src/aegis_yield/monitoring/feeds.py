"""Whether rates still behave as they did: sudden levels, volatility, wrong units, feeds that stand still or end.

Each watch compares the last days with a strategy's own past and counts over the strategies of a category. What is
usual is learned from the days of training; a strategy that is found to stand still or to be in wrong units is left out
of the other watches, so that one fault raises one alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.monitoring.alarms import Reading
from aegis_yield.monitoring.windows import delayed, run_lengths, runs_of_equals, trailing_mean, trailing_median
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

RATE_UNIT: Final = 0.02
"""Rates well below count by their difference, rates well above by their ratio."""

ALL: Final = "all data"
MIN_USUAL_DAYS: Final = 120
"""Days of training that must be at hand to say what is usual."""

_RECENT_DAYS: Final = 5
_BEFORE_DAYS: Final = 28
_VOLATILITY_DAYS: Final = 10
_ALLOWANCE: Final = 0.3
"""Beyond the most extreme day of training, as a share of its distance from the middle; more for few strategies."""

_ALLOWANCE_ALONE: Final = 2.0
_LEAST_LEVEL: Final = 1.0
_LEAST_VOLATILITY: Final = 0.20
_MAX_LOG_RATIO: Final = 2.0
_TINY: Final = 1e-7

_UNIT_LOG10: Final = 2.0
_UNIT_TOLERANCE: Final = (0.15, 0.35)
"""A single strategy must have jumped by just about a hundred, many together by roughly a hundred."""

_UNIT_USUAL: Final = (0.8, 1.2)
_UNIT_TOGETHER: Final = 0.3
_LEAST_TOGETHER: Final = 3.0
"""Strategies of a category: fewer may end or rest by themselves."""

_LEAST_RUN_DAYS: Final = 7
_ALONE_RUN_DAYS: Final = 12
_LONGEST_USUAL_RUN_DAYS: Final = 10
_LEAST_PAST_DAYS: Final = 60
_SILENT_DAYS: Final = 3
_SILENT_SHARE: Final = 0.5


@dataclass(frozen=True)
class Feeds:
    """Daily rates of all strategies.

    Attributes
    ----------
    apy : ndarray of shape (n_strategies, n_days)
        NaN where there is no row.
    category : ndarray of int, shape (n_strategies,)
        Positions in ``CATEGORIES``.
    names : ndarray of str, shape (n_strategies,)
        Strategy ids.
    trained_columns : int
        Columns before this one are days of training: what is usual.
    """

    apy: FloatArray
    category: IntArray
    names: np.ndarray
    trained_columns: int

    def groups(self) -> Iterator[tuple[str, BoolArray]]:
        """Yield every category with its rows, and all data."""
        for code in np.unique(self.category):
            yield CATEGORIES[int(code)], self.category == code
        yield ALL, np.ones(len(self.category), dtype=bool)


class FeedWatch:
    """All watches over the rates, computed once for every day.

    A reading of a day depends on rows up to that day only, and on the days of training.
    """

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds
        self._alone, self._together = _wrong_units(feeds)
        self._frozen = _frozen(feeds)
        self._runs = runs_of_equals(feeds.apy)
        self._silent, self._lately = _silent(feeds)
        odd = _lasting(self._alone | self._together | self._frozen)
        trained, sound = feeds.trained_columns, np.where(odd, np.nan, feeds.apy)
        level, volatility = _level(sound, trained), _volatility(sound, trained)
        self._levels: dict[str, _Course] = {}
        self._volatilities: dict[str, _Course] = {}
        if trained >= MIN_USUAL_DAYS:
            for name, rows in feeds.groups():
                size = int(rows.sum())
                self._levels[name] = _Course.of(_over_strategies(level[rows], np.nanmedian), trained, size)
                self._volatilities[name] = _Course.of(_over_strategies(volatility[rows], np.nanmean), trained, size)

    def readings(self, column: int) -> list[Reading]:
        """Return how rates stand on the day of a column."""
        found = []
        for name, rows in self._feeds.groups():
            if name != ALL:
                found += [self._units(name, rows, column), self._stands_still(name, rows, column)]
                found += [self._ends(name, rows, column)]
            if name in self._levels:
                found += [self._shift(name, column), self._spread(name, column)]
        return [reading for reading in found if np.isfinite(reading.severity)]

    def _units(self, name: str, rows: BoolArray, column: int) -> Reading:
        alone, together = self._alone[rows, column], self._together[rows, column]
        enough = max(_LEAST_TOGETHER, _UNIT_TOGETHER * float((~np.isnan(self._feeds.apy[rows, column])).sum()))
        severity = max(float(alone.sum()), float(together.sum()) / enough)
        which = alone | together
        return Reading("units", name, severity, _counted(
            f"{name}: {which.sum()} of {rows.sum()} strategies pay about 100 times as much or as little as before: "
            "a unit was mixed up", self._feeds.names[rows][which],
        ))  # fmt: skip

    def _stands_still(self, name: str, rows: BoolArray, column: int) -> Reading:
        which = self._frozen[rows, column]
        longest = int(self._runs[rows, column][which].max()) if which.any() else 0
        severity = max(which.sum() / _LEAST_TOGETHER, longest / _ALONE_RUN_DAYS)
        return Reading("frozen", name, float(severity), _counted(
            f"{name}: {which.sum()} of {rows.sum()} strategies have not changed for up to {longest} days, "
            "which they never did", self._feeds.names[rows][which],
        ))  # fmt: skip

    def _ends(self, name: str, rows: BoolArray, column: int) -> Reading:
        silent, lately = int(self._silent[rows, column].sum()), int(self._lately[rows, column].sum())
        severity = silent / max(_LEAST_TOGETHER, _SILENT_SHARE * lately)
        text = f"{name}: {silent} of {lately} strategies have had no row for {_SILENT_DAYS} days"
        return Reading("silent", name, float(severity), text)

    def _shift(self, name: str, column: int) -> Reading:
        course = self._levels[name]
        now = float(course.values[column])
        bound = max(_LEAST_LEVEL, course.widest * course.allowance)
        text = (
            f"{name}: rates moved by {now:+.1f} of their usual monthly moves in {_RECENT_DAYS} days, "
            f"at most {course.widest:.1f} in training"
        )
        return Reading("level", name, abs(now) / bound, text)

    def _spread(self, name: str, column: int) -> Reading:
        course = self._volatilities[name]
        now = float(course.values[column]) - course.middle
        bound = max(_LEAST_VOLATILITY, (course.top - course.middle) * course.allowance)
        text = (
            f"{name}: daily moves over {_VOLATILITY_DAYS} days are {np.exp(now):.1f} times the usual, "
            f"at most {np.exp(course.top - course.middle):.1f} times in training"
        )
        return Reading("volatility", name, now / bound, text)


@dataclass(frozen=True)
class _Course:
    """A group's figure on every day, and what it was in training: its middle, its top, its widest from zero."""

    values: FloatArray
    middle: float
    top: float
    widest: float
    allowance: float

    @classmethod
    def of(cls, values: FloatArray, trained: int, n_strategies: int) -> _Course:
        usual = values[:trained][np.isfinite(values[:trained])]
        middle = float(np.median(usual)) if len(usual) else 0.0
        return cls(
            values=values,
            middle=middle,
            top=float(usual.max(initial=middle)),
            widest=float(np.abs(usual).max(initial=0.0)),
            allowance=1.0 + _ALLOWANCE + _ALLOWANCE_ALONE / n_strategies,
        )


def _over_strategies(values: FloatArray, how: Callable[..., FloatArray]) -> FloatArray:
    known = np.isfinite(values).any(axis=0)
    out = np.full(values.shape[1], np.nan)
    if known.any():
        out[known] = how(values[:, known], axis=0)
    return out


def _level(apy: FloatArray, trained: int) -> FloatArray:
    """Return how far the last days lie from the weeks before, in the strategy's own usual moves."""
    rate = np.arcsinh(apy / RATE_UNIT)
    gap = trailing_mean(rate, _RECENT_DAYS) - delayed(trailing_mean(rate, _BEFORE_DAYS), _RECENT_DAYS)
    known = np.isfinite(gap[:, :trained])
    square = np.where(known, gap[:, :trained], 0.0) ** 2
    usual = np.sqrt(square.sum(axis=1) / np.maximum(known.sum(axis=1), 1))
    # A strategy that was not there in training, or never moved, has no usual move.
    usual = np.where((known.sum(axis=1) >= _LEAST_PAST_DAYS) & (usual > 1e-4), usual, np.nan)
    return np.asarray(np.clip(gap / usual[:, None], -20.0, 20.0))


def _volatility(apy: FloatArray, trained: int) -> FloatArray:
    """Return the log of the last days' mean absolute change over the usual one."""
    change = np.abs(np.diff(np.arcsinh(apy / RATE_UNIT), axis=1, prepend=np.nan))
    recent = trailing_mean(change, _VOLATILITY_DAYS)
    known = np.isfinite(change[:, :trained])
    total = np.where(known, change[:, :trained], 0.0).sum(axis=1)
    usual = total / np.maximum(known.sum(axis=1), 1)
    usual = np.where((known.sum(axis=1) >= _LEAST_PAST_DAYS) & (usual > _TINY), usual, np.nan)
    ratio = np.log((recent + _TINY) / (usual[:, None] + _TINY))
    return np.asarray(np.clip(ratio, -_MAX_LOG_RATIO, _MAX_LOG_RATIO))


def _wrong_units(feeds: Feeds) -> tuple[BoolArray, BoolArray]:
    """Return where a strategy alone, and where one among many, has jumped by about a hundred."""
    size = np.log10(np.maximum(np.abs(feeds.apy), _TINY))
    size = np.where(np.abs(feeds.apy) > _TINY, size, np.nan)
    jump = np.abs(size - delayed(trailing_median(size, _BEFORE_DAYS), 1))
    past = np.where(np.isfinite(jump), jump, 0.0)
    largest_before = delayed(np.maximum.accumulate(past, axis=1), _BEFORE_DAYS)
    days_before = delayed(np.cumsum(np.isfinite(jump), axis=1).astype(float), _BEFORE_DAYS)
    known = np.nan_to_num(days_before) >= _BEFORE_DAYS
    alone, together = (
        known & (np.abs(jump - _UNIT_LOG10) < tolerance) & (largest_before < usual)
        for tolerance, usual in zip(_UNIT_TOLERANCE, _UNIT_USUAL, strict=True)
    )
    return np.asarray(alone), np.asarray(together)


def _frozen(feeds: Feeds) -> BoolArray:
    """Return where a rate other than zero stands still for much longer than it ever did."""
    runs = runs_of_equals(feeds.apy)
    # The run under way does not excuse itself: only what had ended before it began counts as usual.
    began = np.arange(runs.shape[1]) - runs
    longest = np.maximum.accumulate(runs, axis=1)
    before = np.take_along_axis(longest, np.maximum(began - 1, 0), axis=1)
    before = np.where(began > 0, before, 0)
    days = np.take_along_axis(np.cumsum(np.isfinite(feeds.apy), axis=1), np.maximum(began, 0), axis=1)
    usual = (before <= _LONGEST_USUAL_RUN_DAYS) & (days >= _LEAST_PAST_DAYS)
    return np.asarray(usual & (runs >= np.maximum(_LEAST_RUN_DAYS, 2 * before + 2)) & (feeds.apy != 0))


def _silent(feeds: Feeds) -> tuple[BoolArray, BoolArray]:
    """Return where a strategy has had no row for some days, and where it had one in the two weeks before."""
    missing = run_lengths(np.isnan(feeds.apy))
    lately = missing < 14
    return np.asarray((missing >= _SILENT_DAYS) & lately), np.asarray(lately)


def _lasting(odd: BoolArray) -> BoolArray:
    """Return the days on which a strategy was odd, and the month after them."""
    total = np.cumsum(np.pad(odd.astype(int), ((0, 0), (_BEFORE_DAYS + _RECENT_DAYS, 0))), axis=1)
    return np.asarray(total[:, _BEFORE_DAYS + _RECENT_DAYS :] - total[:, : -(_BEFORE_DAYS + _RECENT_DAYS)] > 0)


def _counted(text: str, names: np.ndarray) -> str:
    shown = ", ".join(str(name) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{text} ({shown}{more})" if len(names) else text
