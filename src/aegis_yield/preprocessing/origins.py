"""What is known at an origin: the inputs of every eligible strategy, and later the outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from aegis_yield.domain.forecast import ForecastKeys
from aegis_yield.domain.targets import realised_apy, realised_volatility
from aegis_yield.preprocessing.features import LOOKBACK_DAYS, WINDOW_DAYS, compute_features
from aegis_yield.preprocessing.features.context import FILL_LIMIT_DAYS, fill_limited
from aegis_yield.preprocessing.panel import Panel
from aegis_yield.utils.typing import FloatArray, IntArray

HISTORY_DAYS: Final = 120
"""Days of recent history that simple baselines get to see."""

_MAX_SPAN_DAYS: Final = 120


@dataclass(frozen=True)
class ModelInputs:
    """Inputs of n forecasts, whatever their origins.

    Attributes
    ----------
    windows : ndarray of float32, shape (n, WINDOW_DAYS, n_features)
        Features of the days D-6 ... D, not yet scaled.
    last_apy : ndarray of shape (n,)
        APY of the origin's own day.
    local_scale : ndarray of shape (n,)
        Typical absolute daily change, in apy units.
    history : ndarray of shape (n, HISTORY_DAYS)
        APY of the days up to D, carried over short gaps; NaN where unknown.
    """

    windows: FloatArray
    last_apy: FloatArray
    local_scale: FloatArray
    history: FloatArray

    def __len__(self) -> int:
        return len(self.last_apy)

    def subset(self, chosen: IntArray) -> ModelInputs:
        """Return the inputs at these positions only."""
        return ModelInputs(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True)
class OriginBatch:
    """Inputs and keys of all eligible strategies at one origin."""

    day: int
    keys: ForecastKeys
    inputs: ModelInputs
    rows: IntArray

    def subset(self, chosen: IntArray) -> OriginBatch:
        """Return the forecasts at these positions only."""
        keys = self.keys
        return OriginBatch(
            day=self.day,
            keys=ForecastKeys(keys.strategy_id[chosen], keys.origin[chosen], keys.category[chosen]),
            inputs=self.inputs.subset(chosen),
            rows=self.rows[chosen],
        )


def joined(batches: Sequence[OriginBatch]) -> tuple[ForecastKeys, ModelInputs]:
    """Return the keys and inputs of at least one batch as one: networks are faster on many rows at once."""

    def together(name: str, parts: Sequence[ForecastKeys] | Sequence[ModelInputs]) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    keys, inputs = [batch.keys for batch in batches], [batch.inputs for batch in batches]
    return (
        ForecastKeys(*(together(field.name, keys) for field in fields(ForecastKeys))),
        ModelInputs(*(together(field.name, inputs) for field in fields(ModelInputs))),
    )


def walk_origins(panel: Panel, days: list[int]) -> Iterator[OriginBatch]:
    """Yield the inputs at each origin, in time order.

    Parameters
    ----------
    panel : Panel
        Begins no later than :func:`history_before` the first origin, for complete inputs.
    days : list of int
        Day numbers of the origins, rising, inside the panel.

    Yields
    ------
    OriginBatch
        Origins without an eligible strategy yield an empty batch.
    """
    eligible = panel.eligible()
    filled = fill_limited(panel.series["apy"])[0]
    for group in _spans(days):
        start = panel.column_of(group[0]) - WINDOW_DAYS + 1
        stop = panel.column_of(group[-1]) + 1
        rows = np.flatnonzero(eligible[:, [panel.column_of(day) for day in group]].any(axis=1))
        block = compute_features(panel, max(start, 0), stop)
        for day in group:
            column = panel.column_of(day)
            wanted = rows[eligible[rows, column]]
            window = slice(column - WINDOW_DAYS + 1 - block.start, column + 1 - block.start)
            inputs = ModelInputs(
                windows=block.values[wanted, window],
                last_apy=panel.series["apy"][wanted, column],
                local_scale=block.scale[wanted, column - block.start],
                history=_recent(filled[wanted], column),
            )
            yield OriginBatch(day=day, keys=_keys(panel, wanted, day), inputs=inputs, rows=wanted)


def outcomes(panel: Panel, rows: IntArray, day: int, horizon_days: int) -> tuple[FloatArray, FloatArray]:
    """Return what was paid over the horizon after an origin.

    Parameters
    ----------
    panel : Panel
    rows : ndarray of int, shape (n,)
        Strategies, as rows of the panel.
    day : int
        Day number of the origin.
    horizon_days : int
        Days ahead.

    Returns
    -------
    apy, volatility : ndarray of shape (n,)
        NaN unless all days of the horizon are in the table.
    """
    column = panel.column_of(day)
    future = panel.series["apy"][rows, column : column + horizon_days + 1]
    if future.shape[1] < horizon_days + 1:
        unknown = np.full(len(rows), np.nan)
        return unknown, unknown.copy()
    return realised_apy(future[:, 1:]), realised_volatility(future)


def history_before(day: int) -> int:
    """Return the first day number a panel must cover so that the inputs at ``day`` are complete."""
    return day - max(LOOKBACK_DAYS + WINDOW_DAYS, HISTORY_DAYS + FILL_LIMIT_DAYS)


def _spans(days: list[int]) -> Iterator[list[int]]:
    group: list[int] = []
    for day in days:
        if group and day - group[0] >= _MAX_SPAN_DAYS:
            yield group
            group = []
        group.append(day)
    if group:
        yield group


def _recent(filled: FloatArray, column: int) -> FloatArray:
    start = column + 1 - HISTORY_DAYS
    recent = filled[:, max(start, 0) : column + 1]
    return np.pad(recent, ((0, 0), (max(0, -start), 0)), constant_values=np.nan)


def _keys(panel: Panel, rows: IntArray, day: int) -> ForecastKeys:
    return ForecastKeys(
        strategy_id=panel.strategy_ids[rows],
        origin=np.full(len(rows), day, dtype="datetime64[D]"),
        category=panel.categories[rows],
    )
