"""Evaluate: rolling-origin forecasts of a bundle and its baselines, scored on the same origins."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import HistoryError, RequestError
from aegis_yield.domain.limits import DEFAULT_HORIZON_DAYS, check_horizon
from aegis_yield.models.base import LocationScaleModel
from aegis_yield.models.baselines import Ewma, LastValue, MovingMean
from aegis_yield.models.bundle import Bundle
from aegis_yield.pipelines.scoring import Frame, scorecard
from aegis_yield.pipelines.walk import BURN_IN_DAYS, Contender, Course, Walk, fresh, walk_forward
from aegis_yield.preprocessing.origins import history_before
from aegis_yield.preprocessing.panel import Panel, build_panel, to_date, to_day

DEFAULT_EVERY_DAYS = 7
DEFAULT_SPAN_DAYS = 182


@dataclass(frozen=True)
class EvaluationOrder:
    """What to evaluate.

    Attributes
    ----------
    dataset : Dataset
        Validated tables; they may reach beyond ``end``: outcomes are read there.
    bundle : Bundle
        The model.
    start, end : datetime.date, optional
        First and last origin; by default the last half year whose outcomes are known.
    every_days : int
        Distance of origins.
    horizon_days : int
        Days ahead.
    peers : sequence of LocationScaleModel
        Further forecasters to race on the same origins.
    rivals : mapping of str to Bundle
        Other bundles to race, by their name in tables.
    """

    dataset: Dataset
    bundle: Bundle
    start: dt.date | None = None
    end: dt.date | None = None
    every_days: int = DEFAULT_EVERY_DAYS
    horizon_days: int = DEFAULT_HORIZON_DAYS
    peers: Sequence[LocationScaleModel] = ()
    rivals: Mapping[str, Bundle] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse impossible orders."""
        check_horizon(self.horizon_days)
        if not 1 <= self.every_days <= 365:
            raise RequestError("every", self.every_days, "a whole number of days from 1 to 365")
        start, end = self.span
        if start > end:
            raise RequestError("start", start.isoformat(), f"a date not after the end {end}")

    @property
    def span(self) -> tuple[dt.date, dt.date]:
        """First and last origin, defaults filled in."""
        end = self.end or self.dataset.last_date - dt.timedelta(days=self.horizon_days)
        return self.start or dt.date.fromordinal(max(1, end.toordinal() - DEFAULT_SPAN_DAYS)), end

    @property
    def origins(self) -> tuple[int, ...]:
        """Day numbers of the origins inside the data: beyond it, nothing can be forecast."""
        start, end = self.span
        first, last = to_day(self.dataset.first_date), to_day(self.dataset.last_date)
        days = range(to_day(start), min(to_day(end), last) + 1, self.every_days)
        return tuple(day for day in days if day >= first)


@dataclass(frozen=True)
class Evaluation:
    """Forecasts and scores.

    Attributes
    ----------
    forecasts : polars.DataFrame
        The table of DESIGN section 5, one row per strategy and origin.
    walks : list of Walk
        The model first, then its baselines and peers.
    scores : dict
        Plain values, ready for JSON.
    panel : Panel
        The series that were walked, for pictures.
    """

    forecasts: pl.DataFrame
    walks: list[Walk]
    scores: dict[str, Any]
    panel: Panel


def evaluate(order: EvaluationOrder, on_progress: Callable[[int, int], None] = lambda *_: None) -> Evaluation:
    """Walk a bundle and its baselines over the origins and score them.

    Parameters
    ----------
    order : EvaluationOrder
        What to evaluate.
    on_progress : callable
        Called with origins passed and origins in all.

    Raises
    ------
    HistoryError
        If no strategy can be forecast at any origin.
    """
    origins = order.origins
    if not origins:
        raise _nothing_to_forecast(order)
    first_needed = to_date(history_before(origins[0]) - BURN_IN_DAYS)
    panel = build_panel(order.dataset, start=first_needed, end=to_date(origins[-1] + order.horizon_days))
    course = Course(
        scored_days=origins,
        horizon_days=order.horizon_days,
        burn_in_step_days=max(order.every_days, DEFAULT_EVERY_DAYS),
    )
    n_origins = len(course.scored_days) + len(course.burn_in_days(panel))
    walks = walk_forward(panel, _contenders(order), course, lambda done: on_progress(done, n_origins))
    model, naive = walks[0], walks[1]
    if not len(model.forecasts.keys):
        raise _nothing_to_forecast(order)
    frame = Frame.of(naive)
    start, end = order.span
    scores = {
        "model": order.bundle.provenance,
        "data": {"name": order.dataset.name, "simulated": order.dataset.is_simulated},
        "start": start.isoformat(),
        "end": end.isoformat(),
        "every_days": order.every_days,
        "horizon_days": order.horizon_days,
        "n_origins": len(course.scored_days),
        "n_forecasts": len(model.forecasts.keys),
        "n_known_outcomes": int(frame.known.sum()),
        "n_scored_strategies": int(frame.scored.sum()),
        "share_of_eligible_forecast": _share_forecast(panel, course, model),
        "seen_in_training": any(
            bundle.data_end >= start.isoformat() for bundle in (order.bundle, *order.rivals.values())
        ),
        "scores": {walk.name: scorecard(walk, frame) for walk in walks},
    }
    return Evaluation(forecast_table(model), walks, scores, panel)


def forecast_table(walk: Walk) -> pl.DataFrame:
    """Return the forecast table of DESIGN section 5; actuals are null where not all days are known."""
    return walk.forecasts.to_frame().with_columns(
        pl.Series("actual_apy", walk.actual_apy, nan_to_null=True),
        pl.Series("actual_volatility", walk.actual_volatility, nan_to_null=True),
    )


def _nothing_to_forecast(order: EvaluationOrder) -> HistoryError:
    start, end = order.span
    return HistoryError(
        f"{order.dataset.name}: no strategy can be forecast between {start} and {end} (needed: a row on the "
        f"origin and 30 rows in 60 days); the data covers {order.dataset.first_date} … {order.dataset.last_date}"
    )


def _contenders(order: EvaluationOrder) -> list[Contender]:
    baselines: list[LocationScaleModel] = [LastValue(), MovingMean(), Ewma()]
    horizon, own = order.horizon_days, order.bundle
    rivals = [_contender(bundle, horizon, label) for label, bundle in order.rivals.items()]
    return [_contender(own, horizon), *(fresh(model) for model in baselines), *rivals, *map(fresh, order.peers)]


def _contender(bundle: Bundle, horizon_days: int, label: str = "") -> Contender:
    # Only origins after its training may add to its scores, and only outcomes that no calibration since has added.
    trained, known = (to_day(dt.date.fromisoformat(day)) for day in (bundle.trained_to, bundle.data_end))
    return Contender(bundle.model, bundle.calibrator, max(trained, known - horizon_days + 1), label)


def _share_forecast(panel: Panel, course: Course, walk: Walk) -> float:
    columns = [panel.column_of(day) for day in course.scored_days]
    n_eligible = int(panel.eligible()[:, columns].sum())
    return len(walk.forecasts.keys) / n_eligible if n_eligible else float("nan")
