"""Input counts: how the model's features fell into bins, day by day, in training and since."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.monitoring.drift import N_BINS, InputCounts, edges_of, histogram
from aegis_yield.preprocessing.features import FEATURE_NAMES, MARKET_FEATURES, compute_features
from aegis_yield.preprocessing.panel import Panel
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

MARKET: Final = "market"
CHUNK_DAYS: Final = 30
SAMPLE_DAYS: Final = 7
"""Every so many days of training go into the edges of bins."""

_NOT_WATCHED: Final = frozenset({"age", "staleness", "market_known"})
"""They move with the calendar, or say only what is missing."""


@dataclass(frozen=True)
class Span:
    """Columns of a panel to count: days of training from ``first`` to before ``trained_until``, and recent days.

    Days between training and ``recent_from`` are left out: nobody asks about them.
    """

    first: int
    last: int
    trained_until: int
    recent_from: int = 0

    @property
    def columns(self) -> list[int]:
        """The columns to count."""
        return [n for n in range(self.first, self.last + 1) if n < self.trained_until or n >= self.recent_from]

    @property
    def trained_days(self) -> int:
        """Days of training among the counted ones."""
        return max(0, min(self.trained_until, self.last + 1) - self.first)


def count_inputs(panel: Panel, span: Span) -> list[InputCounts]:
    """Count features by bin, day and group: every category with the strategies' own features, and the market's.

    Parameters
    ----------
    panel : Panel
        The tables.
    span : Span
        Days; edges of bins come from those of training alone.
    """
    if span.trained_days < 1:
        return []
    own, shared = _channels()
    alive = panel.eligible()
    groups = [(CATEGORIES[int(code)], panel.categories == code, own) for code in np.unique(panel.categories)]
    groups.append((MARKET, np.arange(panel.n_strategies) == 0, shared))
    samples: list[list[FloatArray]] = [[] for _ in groups]
    for column, values in _days(panel, span.columns[: span.trained_days : SAMPLE_DAYS]):
        for place, (name, rows, channels) in enumerate(groups):
            samples[place].append(_picked(values, rows if name == MARKET else rows & alive[:, column], channels))
    edges = [_edges(np.concatenate(parts)) for parts in samples]
    counts = [np.zeros((span.last - span.first + 1, len(channels), N_BINS), int) for _, _, channels in groups]
    for column, values in _days(panel, span.columns):
        for place, (name, rows, channels) in enumerate(groups):
            picked = _picked(values, rows if name == MARKET else rows & alive[:, column], channels)
            if edges[place] is not None:
                counts[place][column - span.first] = _histograms(picked, edges[place])
    return [
        InputCounts(
            name,
            tuple(FEATURE_NAMES[n] for n in channels),
            counts[place],
            span.trained_days,
            panel.n_strategies if name == MARKET else int(rows.sum()),
        )
        for place, (name, rows, channels) in enumerate(groups)
        if edges[place] is not None
    ]


def _channels() -> tuple[list[int], list[int]]:
    watched = [n for n, name in enumerate(FEATURE_NAMES) if name not in _NOT_WATCHED and not name.startswith("is_")]
    return (
        [n for n in watched if FEATURE_NAMES[n] not in MARKET_FEATURES],
        [n for n in watched if FEATURE_NAMES[n] in MARKET_FEATURES],
    )


def _days(panel: Panel, columns: Sequence[int]) -> Iterator[tuple[int, FloatArray]]:
    """Yield the features of days, neighbours computed together in chunks that bound the memory."""
    start = 0
    while start < len(columns):
        stop = start + 1
        while stop < len(columns) and columns[stop] == columns[stop - 1] + 1 and stop - start < CHUNK_DAYS:
            stop += 1
        block = compute_features(panel, columns[start], columns[stop - 1] + 1).values
        yield from ((column, block[:, place]) for place, column in enumerate(columns[start:stop]))
        start = stop


def _picked(values: FloatArray, rows: BoolArray, channels: list[int]) -> FloatArray:
    return values[rows][:, channels]


def _edges(sample: FloatArray) -> list[FloatArray] | None:
    return [edges_of(sample[:, n]) for n in range(sample.shape[1])] if len(sample) else None


def _histograms(values: FloatArray, edges: list[FloatArray] | None) -> IntArray:
    return np.stack([histogram(values[:, n], edge) for n, edge in enumerate(edges or [])])
