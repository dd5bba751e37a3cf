"""Walk forward through time: at each origin forecast, and learn only from outcomes already known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.forecast import QUANTILE_LEVELS, Forecasts
from aegis_yield.models.base import LocationScaleModel
from aegis_yield.models.calibration import Calibrator, ScorePool, scores_of
from aegis_yield.preprocessing.origins import OriginBatch, outcomes, walk_origins
from aegis_yield.preprocessing.panel import Panel
from aegis_yield.utils.typing import FloatArray

BURN_IN_DAYS: Final = 182
"""Forecasters walk this long before the first scored origin, so that their calibration is warm."""


@dataclass(frozen=True)
class Contender:
    """A forecaster in a walk.

    Attributes
    ----------
    model : LocationScaleModel
        Fitted before the walk.
    calibrator : Calibrator
        With whatever scores it brings along.
    learns_from_day : int
        Origins before this day leave no score: the model was trained on them.
    label : str
        Name in tables, where the model's own would not tell contenders apart.
    """

    model: LocationScaleModel
    calibrator: Calibrator
    learns_from_day: int = 0
    label: str = ""

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.label or self.model.name


@dataclass(frozen=True)
class Walk:
    """All forecasts of one contender, and what happened.

    Attributes
    ----------
    name : str
        The contender's.
    forecasts : Forecasts
        n rows, in order of origin, then strategy.
    actual_apy, actual_volatility : ndarray of shape (n,)
        NaN unless all days of the horizon are in the table.
    """

    name: str
    forecasts: Forecasts
    actual_apy: FloatArray
    actual_volatility: FloatArray


@dataclass(frozen=True)
class Course:
    """Where a walk goes.

    Attributes
    ----------
    scored_days : tuple of int
        Origins whose forecasts are kept, rising day numbers.
    horizon_days : int
        Days ahead.
    burn_in_step_days : int
        Distance of the origins before the first scored one.
    """

    scored_days: tuple[int, ...]
    horizon_days: int
    burn_in_step_days: int

    def burn_in_days(self, panel: Panel) -> list[int]:
        """Return the origins before the first scored one, as far back as the panel allows."""
        first = self.scored_days[0]
        step = max(1, self.burn_in_step_days)
        earliest = max(panel.first_day, first - BURN_IN_DAYS)
        return sorted(range(first - step, earliest - 1, -step))


def walk_forward(
    panel: Panel,
    contenders: list[Contender],
    course: Course,
    on_origin: Callable[[int], None] = lambda _: None,
) -> list[Walk]:
    """Let contenders forecast the same strategies at the same origins.

    Parameters
    ----------
    panel : Panel
        May reach beyond the last origin: outcomes are read there, features are not.
    contenders : list of Contender
    course : Course
    on_origin : callable
        Called with the number of origins passed, for progress.

    Returns
    -------
    list of Walk
        One for each contender, rows aligned.
    """
    runners = [_Runner(contender, course.horizon_days) for contender in contenders]
    scored = set(course.scored_days)
    days = [*course.burn_in_days(panel), *course.scored_days]
    for number, batch in enumerate(walk_origins(panel, days), start=1):
        apy, volatility = outcomes(panel, batch.rows, batch.day, course.horizon_days)
        for runner in runners:
            runner.step(batch, apy, volatility, keep=batch.day in scored)
        on_origin(number)
    return [runner.walk() for runner in runners]


class _Runner:
    """One contender on its way."""

    def __init__(self, contender: Contender, horizon_days: int) -> None:
        self._contender = contender
        self._calibrator = contender.calibrator
        self._horizon = horizon_days
        self._kept: list[Forecasts] = []
        self._apy: list[FloatArray] = []
        self._volatility: list[FloatArray] = []

    def step(self, batch: OriginBatch, apy: FloatArray, volatility: FloatArray, keep: bool) -> None:
        if not len(batch.keys) or not (keep or batch.day >= self._contender.learns_from_day):
            return
        raw = self._contender.model.locate(batch.inputs, self._horizon)
        if keep:
            self._kept.append(self._calibrator.forecasts(raw, batch.keys, self._horizon, QUANTILE_LEVELS))
            self._apy.append(apy)
            self._volatility.append(volatility)
        # The calibrator looks only at scores whose outcome is known on the day it is asked.
        scores = scores_of(raw, batch.keys, apy, self._horizon)
        if batch.day >= self._contender.learns_from_day:
            self._calibrator = self._calibrator.updated(scores)

    def walk(self) -> Walk:
        return Walk(
            name=self._contender.name,
            forecasts=Forecasts.joined(self._kept, self._horizon, QUANTILE_LEVELS),
            actual_apy=np.concatenate([*self._apy, np.empty(0)]),
            actual_volatility=np.concatenate([*self._volatility, np.empty(0)]),
        )


def fresh(model: LocationScaleModel) -> Contender:
    """Return a contender that brings no scores and learns from every origin of the walk."""
    return Contender(model=model, calibrator=Calibrator(ScorePool.empty()))
