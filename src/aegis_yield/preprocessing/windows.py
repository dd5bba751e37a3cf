"""Input windows and targets: flat rows in memory, windows as views of them, targets cut on demand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from aegis_yield.domain.limits import MAX_HORIZON_DAYS
from aegis_yield.domain.targets import log_growth
from aegis_yield.preprocessing.features import WINDOW_DAYS, compute_features
from aegis_yield.preprocessing.panel import Panel
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class WindowSet:
    """Everything the training loop reads, one flat row per strategy and day.

    Attributes
    ----------
    features : ndarray of float32, shape (n_rows, n_features)
        Strategies one after another, days without gaps inside each.
    apy : ndarray of shape (n_rows + MAX_HORIZON_DAYS,)
        Daily APY, NaN on missing days; padded so that every window of the future exists.
    scale : ndarray of shape (n_rows,)
        Local scale of the rate, in apy units.
    day : ndarray of int, shape (n_rows,)
        Day number of each row.
    strategy, category : ndarray of int, shape (n_rows,)
        Codes of each row's strategy and category.
    eligible : ndarray of bool, shape (n_rows,)
        Where a strategy may be forecast.
    max_horizon : ndarray of int, shape (n_rows,)
        Consecutive known days after the row, at most 30: the longest horizon with a known outcome.
    strategy_ids : ndarray of str, shape (n_strategies,)
        The strategy of each code.
    """

    features: FloatArray
    apy: FloatArray
    scale: FloatArray
    day: IntArray
    strategy: IntArray
    category: IntArray
    eligible: BoolArray
    max_horizon: IntArray
    strategy_ids: np.ndarray

    def windows(self) -> FloatArray:
        """Return the input windows as a view, shape (n_rows - 6, n_features, WINDOW_DAYS).

        Item i ends with row i + 6: no copy is made.
        """
        return sliding_window_view(self.features, WINDOW_DAYS, axis=0)

    def futures(self) -> FloatArray:
        """Return each row's APY and that of the 30 days after it, as a view, shape (n_rows, 31).

        Days that belong to the next strategy are not masked: use them up to ``max_horizon`` only.
        """
        return sliding_window_view(self.apy, MAX_HORIZON_DAYS + 1)

    def origins_between(self, first_day: int, last_day: int) -> IntArray:
        """Return the rows that may be origins for outcomes known by ``last_day``.

        Returns
        -------
        ndarray of int
            Eligible rows dated ≥ ``first_day`` with at least one known day after them, dated ≤ ``last_day``.
        """
        usable = self.eligible & (self.day >= first_day) & (self.day < last_day) & (self.max_horizon >= 1)
        return np.flatnonzero(usable)

    def horizon_limit(self, rows: IntArray, last_day: int) -> IntArray:
        """Return the longest horizon of each row whose outcome is known by ``last_day``: the embargo."""
        return np.minimum(self.max_horizon[rows], last_day - self.day[rows])


def build_windows(panel: Panel) -> WindowSet:
    """Flatten a panel into rows and windows.

    Parameters
    ----------
    panel : Panel
        Days outside a strategy's life cost nothing: only the days between its first and last row are
        kept.

    Returns
    -------
    WindowSet
    """
    block = compute_features(panel, 0, panel.n_days)
    observed = panel.observed
    alive = _between_first_and_last(observed)
    strategy, column = np.nonzero(alive)
    run = _known_days_after(observed)
    return WindowSet(
        features=block.values[alive],
        apy=np.pad(panel.series["apy"][alive], (0, MAX_HORIZON_DAYS), constant_values=np.nan),
        scale=block.scale[alive],
        day=panel.first_day + column,
        strategy=strategy,
        category=panel.categories[strategy],
        eligible=panel.eligible()[alive],
        max_horizon=run[alive],
        strategy_ids=panel.strategy_ids,
    )


def mean_log_growth(futures: FloatArray, horizon_days: IntArray) -> FloatArray:
    """Return the mean log growth over each row's own horizon.

    Parameters
    ----------
    futures : ndarray of shape (n, MAX_HORIZON_DAYS + 1)
        APY of the days D ... D+30 (see :meth:`WindowSet.futures`).
    horizon_days : ndarray of int, shape (n,)
        Horizon of each row.

    Returns
    -------
    ndarray of shape (n,)
        ``expm1`` of it is the target ``apy``.
    """
    inside = np.arange(1, MAX_HORIZON_DAYS + 1) <= horizon_days[:, None]
    growth = np.where(inside, log_growth(np.where(inside, futures[:, 1:], 0.0)), 0.0)
    return np.asarray(growth.sum(axis=1) / horizon_days)


def mean_square_change(futures: FloatArray, horizon_days: IntArray) -> FloatArray:
    """Return the mean squared daily change over each row's own horizon, shape (n,)."""
    inside = np.arange(1, MAX_HORIZON_DAYS + 1) <= horizon_days[:, None]
    square = np.where(inside, np.diff(futures, axis=1) ** 2, 0.0)
    return np.asarray(square.sum(axis=1) / horizon_days)


def _between_first_and_last(observed: BoolArray) -> BoolArray:
    started = np.logical_or.accumulate(observed, axis=1)
    not_ended = np.logical_or.accumulate(observed[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(started & not_ended)


def _known_days_after(observed: BoolArray) -> IntArray:
    """Count the consecutive observed days right after each day, up to the longest horizon."""
    n_days = observed.shape[1]
    position = np.arange(n_days)
    missing = np.where(observed, n_days, position)
    next_missing = np.minimum.accumulate(missing[:, ::-1], axis=1)[:, ::-1]
    after = np.concatenate([next_missing[:, 1:], np.full((len(observed), 1), n_days)], axis=1)
    return np.asarray(np.minimum(after - position - 1, MAX_HORIZON_DAYS))
