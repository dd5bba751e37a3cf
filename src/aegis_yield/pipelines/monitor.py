"""Monitor: score what was forecast, look at feeds and inputs, bring alarms up to date, report."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.limits import DEFAULT_HORIZON_DAYS
from aegis_yield.models.bundle import Bundle
from aegis_yield.monitoring.alarms import (
    AlarmState,
    Event,
    Hysteresis,
    Reading,
    advance,
    states_from_plain,
    states_to_plain,
)
from aegis_yield.monitoring.drift import WINDOW_DAYS, Drift, DriftWatch
from aegis_yield.monitoring.feeds import ALL, Feeds, FeedWatch
from aegis_yield.monitoring.records import KeptForecast, Outcome, World
from aegis_yield.monitoring.rolling import ALARM_WINDOW_DAYS, CategoryScore, Outcomes, category_scores, score_readings
from aegis_yield.monitoring.store import ForecastStore
from aegis_yield.pipelines.inputs import Span, count_inputs
from aegis_yield.pipelines.recalibrate import Change, recalibrate
from aegis_yield.preprocessing.origins import history_before, outcomes
from aegis_yield.preprocessing.panel import Panel, build_panel, to_date, to_day

REFERENCE_DAYS: Final = 365
"""Of training, before its last day: what inputs and rates are compared with."""

CATCH_UP_DAYS: Final = 45
"""A first or late run looks at so many days at most."""

STALE_DAYS: Final = 3
LOST_DAYS: Final = 30
"""An outcome that is not complete so long after its horizon never will be."""

SHOWN_DRIFTS: Final = 12
LOGGED_CHANGE: Final = 0.05
"""Of the width of a category's intervals: a smaller one since the last entry is not worth another."""

RULES: Final[Mapping[str, Hysteresis]] = {
    "stale": Hysteresis(raise_days=1, clear_days=1, clear_below=1.0),
    "inputs": Hysteresis(raise_days=3),
    "coverage": Hysteresis(raise_days=3, clear_below=0.8),
}
"""Kinds of alarm with a rule of their own."""


@dataclass(frozen=True)
class MonitorOrder:
    """What to look at.

    Attributes
    ----------
    dataset : Dataset
        The newest tables.
    bundle : Bundle
        The model at work: its training says what is usual.
    model_version : str
        Its name.
    store : ForecastStore
        Forecasts made, and the state of alarms.
    today : datetime.date
        For the age of the data.
    """

    dataset: Dataset
    bundle: Bundle
    model_version: str
    store: ForecastStore
    today: dt.date


@dataclass(frozen=True)
class MonitorReport:
    """How everything stands.

    Attributes
    ----------
    today, data_end : datetime.date
        The day of the report, and the newest day of the tables.
    model_version : str
        The model at work.
    simulated : bool
        Whether the tables are simulated.
    counts : mapping
        Forecasts recorded, scored, open.
    scores : tuple of CategoryScore
        By category and window.
    drifts : tuple of Drift
        The strongest drifts of inputs.
    recalibration : tuple of Change
        What outcomes that the model does not know yet change in the intervals, by category.
    alarms : tuple of AlarmState
        All alarms that were ever looked at, raised ones first.
    news : tuple of Event
        What this run raised and cleared.
    events : tuple of mapping
        What was raised and cleared lately, newest first.
    notes : tuple of str
        What a reader must know.
    """

    today: dt.date
    data_end: dt.date
    model_version: str
    simulated: bool
    counts: Mapping[str, int]
    scores: tuple[CategoryScore, ...]
    drifts: tuple[Drift, ...]
    recalibration: tuple[Change, ...]
    alarms: tuple[AlarmState, ...]
    news: tuple[Event, ...]
    events: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...] = ()

    @property
    def data_age_days(self) -> int:
        """Days between the newest row and today."""
        return (self.today - self.data_end).days

    @property
    def raised(self) -> tuple[AlarmState, ...]:
        """The alarms that are raised."""
        return tuple(alarm for alarm in self.alarms if alarm.active)


def monitor(order: MonitorOrder) -> MonitorReport:
    """Bring monitoring up to date with the tables.

    Parameters
    ----------
    order : MonitorOrder
        What to look at. Running it again on the same tables and day changes nothing.
    """
    settle(order.store, order.dataset)
    data_end, world = order.dataset.last_date, world_of(order.dataset)
    key = world.note("alarms")
    note = order.store.note(key)
    states = states_from_plain(note.get("states", {}))
    days = _days_to_see(note, data_end)
    watch = _Watch(order, days[0] if days else data_end)
    events: list[Event] = []
    for day in days:
        states, more = _advanced(states, day, watch.readings(day))
        events += more
    states, more = _advanced(states, order.today, [_age(order)])
    events += more
    content = {"until": data_end.isoformat(), "states": states_to_plain(states)}
    changes = recalibrate(order.bundle, order.dataset, DEFAULT_HORIZON_DAYS)[1]
    order.store.keep_note(key, content, world, [asdict(event) for event in events])
    _log_changes(order, changes)
    return MonitorReport(
        today=order.today,
        data_end=data_end,
        model_version=order.model_version,
        simulated=order.dataset.is_simulated,
        counts=order.store.counts(world),
        scores=tuple(category_scores(watch.outcomes, data_end)),
        drifts=tuple(watch.drifts(data_end)),
        recalibration=tuple(changes),
        alarms=tuple(sorted(states.values(), key=lambda state: (not state.active, -state.severity, state.name))),
        news=tuple(events),
        events=tuple(order.store.events(world)),
        notes=(*watch.notes, *_others(order.store, world)),
    )


def _log_changes(order: MonitorOrder, changes: Sequence[Change]) -> None:
    """Log what recalibration changed where that differs from what was logged last."""
    world = world_of(order.dataset)
    key = world.note(f"recalibration {order.model_version}")
    logged = order.store.note(key)
    fresh = [one for one in changes if abs(one.width_factor - logged.get(one.category, 1.0)) >= LOGGED_CHANGE]
    day = order.dataset.last_date.isoformat()
    events = [Event(day, f"recalibration:{one.category}", "changed", str(one)) for one in fresh]
    content = {**logged, **{one.category: one.width_factor for one in fresh}}
    order.store.keep_note(key, content, world, [asdict(event) for event in events])


def world_of(dataset: Dataset) -> World:
    """Return of which market a dataset's tables tell."""
    return World(dataset.is_simulated, dataset.name)


def _others(store: ForecastStore, world: World) -> list[str]:
    """Say that forecasts were left out because they speak of another market."""
    n_others = store.counts()["forecasts"] - store.counts(world)["forecasts"]
    kind = "this simulated market" if world.simulated else "the real market"
    return [f"{n_others:,} recorded forecasts are left out: they are not of {kind}"] if n_others else []


def settle(store: ForecastStore, dataset: Dataset) -> int:
    """Write down the outcomes of recorded forecasts of the same market that the tables know, and return how many."""
    waiting = store.waiting(world_of(dataset), dataset.last_date)
    if not waiting:
        return 0
    origins = [one.made.origin for one in waiting]
    panel = build_panel(dataset, start=min(origins), end=max(one.made.due for one in waiting))
    row_of = {str(name): row for row, name in enumerate(panel.strategy_ids)}
    found = [
        outcome
        for (origin, horizon), group in _by_course(waiting).items()
        for outcome in _outcomes(panel, row_of, (origin, horizon), group)
        if outcome.apy is not None or origin + dt.timedelta(days=horizon + LOST_DAYS) <= dataset.last_date
    ]
    store.settle(found, dt.datetime.now(dt.UTC))
    return len(found)


def _by_course(waiting: Sequence[KeptForecast]) -> dict[tuple[dt.date, int], list[KeptForecast]]:
    groups: dict[tuple[dt.date, int], list[KeptForecast]] = {}
    for one in waiting:
        groups.setdefault((one.made.origin, one.made.horizon_days), []).append(one)
    return groups


def _outcomes(
    panel: Panel, row_of: Mapping[str, int], course: tuple[dt.date, int], group: Sequence[KeptForecast]
) -> list[Outcome]:
    origin, horizon = course
    known = [one for one in group if one.made.strategy_id in row_of]
    rows = np.array([row_of[one.made.strategy_id] for one in known], dtype=int)
    apy, volatility = outcomes(panel, rows, to_day(origin), horizon)
    found = [
        Outcome(one.id, float(rate), float(spread)) if math.isfinite(rate) else Outcome(one.id, None, None)
        for one, rate, spread in zip(known, apy, volatility, strict=True)
    ]
    return found + [Outcome(one.id, None, None) for one in group if one.made.strategy_id not in row_of]


def _days_to_see(note: Mapping[str, Any], data_end: dt.date) -> list[dt.date]:
    """Return the days since the last run, up to the newest of the tables."""
    first = data_end - dt.timedelta(days=CATCH_UP_DAYS - 1)
    if "until" in note:
        first = max(first, dt.date.fromisoformat(note["until"]) + dt.timedelta(days=1))
    return [first + dt.timedelta(days=n) for n in range((data_end - first).days + 1)]


def _advanced(
    states: dict[str, AlarmState], day: dt.date, readings: Sequence[Reading]
) -> tuple[dict[str, AlarmState], list[Event]]:
    events: list[Event] = []
    for reading in readings:
        states, more = advance(states, day, [reading], RULES.get(reading.kind))
        events += more
    return states, events


def _age(order: MonitorOrder) -> Reading:
    days = (order.today - order.dataset.last_date).days
    text = f"the newest row is of {order.dataset.last_date}, {days} days before {order.today}"
    return Reading("stale", ALL, days / STALE_DAYS, text)


class _Watch:
    """Everything that is looked at on a day, computed once for all days."""

    def __init__(self, order: MonitorOrder, first: dt.date) -> None:
        data_end = order.dataset.last_date
        first_due = min(first, data_end) - dt.timedelta(days=ALARM_WINDOW_DAYS)
        self.outcomes = Outcomes.of(order.store.scored(world_of(order.dataset), first_due, data_end))
        trained_until = _trained_until(order)
        start = max(min(trained_until, to_day(first)) - REFERENCE_DAYS, to_day(order.dataset.first_date))
        panel = build_panel(order.dataset, start=to_date(history_before(start)), end=data_end)
        trained = panel.column_of(trained_until) + 1
        feeds = Feeds(panel.series["apy"], panel.categories, panel.strategy_ids, trained)
        self._panel, self._start = panel, start
        self._feeds = FeedWatch(feeds)
        recent = panel.column_of(to_day(first)) - WINDOW_DAYS + 1
        span = Span(panel.column_of(start), panel.n_days - 1, trained, recent)
        self._inputs = [DriftWatch(counts) for counts in count_inputs(panel, span)]
        self.notes = self._what_is_unknown(order, span)

    def readings(self, day: dt.date) -> list[Reading]:
        """Return all readings of a day."""
        column = self._panel.column_of(to_day(day))
        inputs = [watch.reading(to_day(day) - self._start) for watch in self._inputs]
        return [
            *score_readings(self.outcomes, day),
            *self._feeds.readings(column),
            *(reading for reading in inputs if reading is not None),
        ]

    def drifts(self, day: dt.date) -> list[Drift]:
        """Return the strongest drifts of inputs on a day."""
        found = [drift for watch in self._inputs if watch.knows for drift in watch.drifts(to_day(day) - self._start)]
        return sorted(found, key=lambda drift: -drift.severity)[:SHOWN_DRIFTS]

    def _what_is_unknown(self, order: MonitorOrder, span: Span) -> tuple[str, ...]:
        if self._inputs and all(watch.knows for watch in self._inputs):
            return ()
        return (
            f"only {span.trained_days} days of the model's training (to {order.bundle.trained_to}) are in the tables: "
            "drift against training cannot be judged",
        )


def _trained_until(order: MonitorOrder) -> int:
    try:
        return to_day(dt.date.fromisoformat(order.bundle.trained_to))
    except ValueError:
        return to_day(order.dataset.first_date) - 1


def report_to_json(report: MonitorReport) -> dict[str, Any]:
    """Return a report as plain values; what is not known is None."""
    content = _plain(asdict(report))
    return {**content, "data_age_days": report.data_age_days, "n_raised": len(report.raised)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, dt.date):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
