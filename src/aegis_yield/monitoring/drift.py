"""Drift of inputs: the population stability index of each feature against the days of training.

The index compares how the values of the last days fall into the deciles of training. Features move slowly, so that
any fortnight differs from the years around it; what counts is whether it differs more than fortnights of training did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.monitoring.alarms import Reading
from aegis_yield.utils.typing import FloatArray, IntArray

N_BINS: Final = 10
WINDOW_DAYS: Final = 14
LEAST_INDEX: Final = 0.25
"""By convention, less is no shift worth a look."""

ALLOWANCE: Final = 1.5
ALLOWANCE_ALONE: Final = 3.0
"""Times the largest index of any window of training; more for a group of few strategies, by their number."""

EVENLY: Final = 0.1
"""Share of the values spread over all bins, so that an empty bin is a surprise and not an infinite one."""

MIN_WINDOWS: Final = 90
"""Windows of training (one ends each day) that must be at hand to say what is usual."""

SEVERAL: Final = 4
"""Inputs that must have drifted, unless one has drifted three times as far."""

FAR: Final = 3.0

LEAST_STRATEGIES: Final = 5
"""A smaller group has its indices, but raises no alarm: each strategy that comes or goes moves it."""


def edges_of(values: FloatArray) -> FloatArray:
    """Return the inner edges of bins that hold about equal shares of a sample, shape (N_BINS - 1,)."""
    return np.asarray(np.quantile(values, np.arange(1, N_BINS) / N_BINS))


def histogram(values: FloatArray, edges: FloatArray) -> IntArray:
    """Count values by bin, shape (N_BINS,); the outer bins are open."""
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=N_BINS)


def stability_index(expected: IntArray, found: IntArray) -> FloatArray:
    """Return the population stability index of counts, over the last axis.

    Parameters
    ----------
    expected, found : ndarray of shape (..., n_bins)
        Counts by bin: of training, and of the days in question.

    Returns
    -------
    ndarray of shape (...,)
        ``sum((q - p) log(q / p))`` of the smoothed shares; 0 if they are equal.
    """
    p, q = _shares(expected), _shares(found)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


def _shares(counts: IntArray) -> FloatArray:
    total = np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return np.asarray((1.0 - EVENLY) * counts / total + EVENLY / counts.shape[-1])


@dataclass(frozen=True)
class InputCounts:
    """How the values of features fell into bins, day by day, for one group of strategies.

    Attributes
    ----------
    group : str
        A category, or the market.
    features : tuple of str
        Names.
    counts : ndarray of int, shape (n_days, n_features, N_BINS)
        Days one after another.
    trained_days : int
        So many of them are days of training.
    n_strategies : int
        In the group.
    """

    group: str
    features: tuple[str, ...]
    counts: IntArray
    trained_days: int
    n_strategies: int


@dataclass(frozen=True)
class Drift:
    """One feature's drift on one day.

    Attributes
    ----------
    group, feature : str
        Of what.
    index : float
        Population stability index of the last days.
    usual : float
        The largest of any window of training.
    severity : float
        1 is the threshold.
    """

    group: str
    feature: str
    index: float
    usual: float
    severity: float


class DriftWatch:
    """The drift of one group's features on every day."""

    def __init__(self, inputs: InputCounts) -> None:
        self._inputs = inputs
        total = np.cumsum(np.pad(inputs.counts, ((WINDOW_DAYS, 0), (0, 0), (0, 0))), axis=0)
        windows = total[WINDOW_DAYS:] - total[:-WINDOW_DAYS]
        expected = inputs.counts[: inputs.trained_days].sum(axis=0)
        self._index = stability_index(expected[None], windows)
        self._index[windows.sum(axis=2) == 0] = np.nan
        trained = self._index[WINDOW_DAYS - 1 : inputs.trained_days]
        self._usual = np.nanmax(trained, axis=0, initial=0.0) if len(trained) else np.zeros(len(inputs.features))
        self.knows = len(trained) >= MIN_WINDOWS

    def drifts(self, day: int) -> list[Drift]:
        """Return every feature's drift on a day (a position among the counted ones), strongest first."""
        allowance = ALLOWANCE + ALLOWANCE_ALONE / max(1, self._inputs.n_strategies)
        bound = np.maximum(LEAST_INDEX, allowance * self._usual)
        found = [
            Drift(self._inputs.group, name, float(index), float(usual), float(index / limit))
            for name, index, usual, limit in zip(
                self._inputs.features, self._index[day], self._usual, bound, strict=True
            )
            if np.isfinite(index)
        ]
        return sorted(found, key=lambda drift: -drift.severity)

    def reading(self, day: int) -> Reading | None:
        """Return how the group's inputs stand on a day; None where training or the group is too small to say."""
        drifts = self.drifts(day)
        if not self.knows or not drifts or self._inputs.n_strategies < LEAST_STRATEGIES:
            return None
        several = drifts[min(SEVERAL, len(drifts)) - 1].severity
        severity = max(several, drifts[0].severity / FAR)
        beyond = [drift for drift in drifts if drift.severity >= 1]
        first = drifts[0]
        text = (
            f"{self._inputs.group}: {len(beyond)} of {len(drifts)} inputs lie further from training than any "
            f"{WINDOW_DAYS} days of it, {first.feature} most (index {first.index:.2f}, at most {first.usual:.2f})"
        )
        return Reading("inputs", self._inputs.group, severity, text)
