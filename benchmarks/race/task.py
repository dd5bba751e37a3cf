"""What a racer is asked for and what it gives back: data, cut-off, origins and horizons; forecasts and seconds."""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from aegis_yield.domain.categories import CATEGORIES, NEVER_NEGATIVE
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.forecast import QUANTILE_LEVELS, Forecasts
from aegis_yield.domain.targets import GROWTH_FLOOR
from aegis_yield.models.baselines import ewma_volatility
from aegis_yield.pipelines.walk import Walk
from aegis_yield.preprocessing.origins import OriginBatch, history_before, outcomes, walk_origins
from aegis_yield.preprocessing.panel import Panel, build_panel, to_date, to_day
from aegis_yield.preprocessing.windows import WindowSet, build_windows
from aegis_yield.utils.typing import FloatArray, IntArray
from benchmarks.race.cqr import RollingCqr
from benchmarks.race.store import Store

LEVELS = np.array(QUANTILE_LEVELS)


@dataclass(frozen=True)
class Assignment:
    """One horizon's forecasts wanted from a model trained at one cut-off.

    Attributes
    ----------
    dataset : Dataset
        All tables: what lies after the cut-off is not trained on, what lies after an origin not forecast from.
    cutoff : datetime.date
        Last day of training outcomes.
    origins : sequence of datetime.date
        Rising, after the cut-off.
    horizon_days : int
        Days ahead.
    held_out : frozenset of str
        Strategies left out of training.
    """

    dataset: Dataset
    cutoff: dt.date
    origins: Sequence[dt.date]
    horizon_days: int
    held_out: frozenset[str] = frozenset()

    def panel(self) -> Panel:
        """Return the series around the origins, outcomes included."""
        return panel_around(self.dataset, [to_day(origin) for origin in self.origins], self.horizon_days)

    def training_data(self) -> Dataset:
        """Return what may be learned from."""
        return without(self.dataset, self.held_out).known_at(self.cutoff)

    def training_windows(self) -> WindowSet:
        """Return features and outcomes of what may be learned from."""
        return build_windows(build_panel(self.training_data()))


@dataclass(frozen=True)
class Task:
    """What one worker is asked for.

    Attributes
    ----------
    dataset : Dataset
        All tables.
    cutoff : int or None
        Day number of the last row to learn from; None for what needs no training.
    origins : tuple of int
        Rising day numbers.
    horizons : tuple of int
        Days ahead.
    held_out : frozenset of str
        Strategies left out of training.
    settings : mapping
        The method's own.
    store : Store
        For results worth keeping on the way.
    version : str
        Names everything that the method's results depend on, for keys in the store.
    say : callable
        Receives steps done and steps in all.
    """

    dataset: Dataset
    cutoff: int | None
    origins: tuple[int, ...]
    horizons: tuple[int, ...]
    held_out: frozenset[str]
    settings: Mapping[str, Any]
    store: Store
    version: str
    say: Callable[[int, int], None]

    def assignment(self, horizon_days: int) -> Assignment:
        """Return the part of one horizon; for methods that are trained."""
        if self.cutoff is None:
            raise ValueError("a trained method was asked to run without a cut-off")
        dates = [to_date(day) for day in self.origins]
        return Assignment(self.dataset, to_date(self.cutoff), dates, horizon_days, self.held_out)


@dataclass(frozen=True)
class Run:
    """What a racer gives back.

    Attributes
    ----------
    tables : dict of int to polars.DataFrame
        By horizon: the forecast table of DESIGN section 5 without actuals; null where a method does not say.
    seconds : dict of str to float
        ``fit`` in all, ``origin``: one origin's forecasts for all strategies from histories or inputs in memory.
    """

    tables: dict[int, pl.DataFrame]
    seconds: dict[str, float] = field(default_factory=dict)


def held_out_strategies(dataset: Dataset, share: float) -> frozenset[str]:
    """Return about this share of the strategies, by a hash of their names: the same in every run and dataset."""
    names = dataset.strategies["strategy_id"].to_list()
    return frozenset(n for n in names if int(hashlib.sha256(n.encode()).hexdigest()[:8], 16) < share * 2**32)


def without(dataset: Dataset, strategies: frozenset[str]) -> Dataset:
    """Return the dataset as if these strategies did not exist."""
    if not strategies:
        return dataset
    others = ~pl.col("strategy_id").is_in(list(strategies))
    return replace(dataset, yields=dataset.yields.filter(others), strategies=dataset.strategies.filter(others))


def least_apy(category: IntArray) -> FloatArray:
    """Return the lowest possible ``apy`` of each row's category, shape (n,): nobody forecasts below it."""
    return np.array([0.0 if name in NEVER_NEGATIVE else GROWTH_FLOOR - 1.0 for name in CATEGORIES])[category]


def panel_around(dataset: Dataset, days: Sequence[int], horizon_days: int) -> Panel:
    """Return the panel that inputs at these rising days and their outcomes need."""
    return build_panel(dataset, start=to_date(history_before(days[0])), end=to_date(days[-1] + horizon_days))


@dataclass(frozen=True)
class QuantileWalk:
    """A walk of raw quantiles through time, corrected by what they missed before.

    Attributes
    ----------
    name : str
        In tables.
    horizon_days : int
        Days ahead.
    raw : callable
        From an origin's batch to quantiles of shape (n, n_levels); equal columns for a location alone.
    calibrator : RollingCqr or None
        With the scores it brings along; None leaves the quantiles as they are.
    corrects_point : bool
        Whether the point forecast is the corrected median, else the raw one.
    seconds : list of float
        Filled on the way: what each kept origin took, from inputs in memory to calibrated quantiles.
    """

    name: str
    horizon_days: int
    raw: Callable[[OriginBatch], FloatArray]
    calibrator: RollingCqr | None
    corrects_point: bool
    seconds: list[float] = field(default_factory=list)

    def over(self, panel: Panel, days: Sequence[int], keep_from: int = 0) -> Iterator[tuple[Forecasts, Outcome]]:
        """Yield the forecasts of each origin from day ``keep_from`` on; earlier ones only leave scores."""
        for batch in walk_origins(panel, list(days)):
            scale, keys = batch.inputs.local_scale, batch.keys
            apy, volatility = outcomes(panel, batch.rows, batch.day, self.horizon_days)
            began = time.perf_counter()
            raw = self.raw(batch)
            if batch.day >= keep_from:
                forecasts = self._forecasts(batch, raw)
                self.seconds.append(time.perf_counter() - began)
                yield forecasts, (apy, volatility)
            if self.calibrator is not None:
                known_day = np.full(len(keys), batch.day + self.horizon_days)
                self.calibrator.learn(raw, scale, apy, (keys.category, known_day))

    def _forecasts(self, batch: OriginBatch, raw: FloatArray) -> Forecasts:
        keys, scale = batch.keys, batch.inputs.local_scale
        floor = least_apy(keys.category)[:, None]
        quantiles = np.maximum.accumulate(raw, axis=1)
        if self.calibrator is not None:
            quantiles = self.calibrator.calibrated(raw, scale, keys.category, batch.day)
        middle = len(LEVELS) // 2
        point = np.maximum((quantiles if self.corrects_point else raw)[:, middle], floor[:, 0])
        spread = ewma_volatility(batch.inputs.history)
        return Forecasts(keys, self.horizon_days, QUANTILE_LEVELS, point, spread, np.maximum(quantiles, floor))


Outcome = tuple[FloatArray, FloatArray]
"""Realised apy and volatility of a batch."""


def joined(parts: Sequence[tuple[Forecasts, Outcome]], horizon_days: int) -> Forecasts:
    """Return the forecasts of several origins as one."""
    return Forecasts.joined([forecasts for forecasts, _ in parts], horizon_days, QUANTILE_LEVELS)


def as_walk(name: str, parts: Sequence[tuple[Forecasts, Outcome]], horizon_days: int) -> Walk:
    """Return the forecasts of several origins as one walk."""
    return Walk(
        name=name,
        forecasts=joined(parts, horizon_days),
        actual_apy=np.concatenate([*(apy for _, (apy, _) in parts), np.empty(0)]),
        actual_volatility=np.concatenate([*(volatility for _, (_, volatility) in parts), np.empty(0)]),
    )
