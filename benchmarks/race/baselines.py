"""Last value and EWMA, exactly as ``aegis evaluate`` runs them, calibrated by the project's own calibration."""

from __future__ import annotations

from aegis_yield.models.base import LocationScaleModel
from aegis_yield.models.baselines import Ewma, LastValue
from aegis_yield.pipelines.walk import BURN_IN_DAYS, Course, Walk, fresh, walk_forward
from aegis_yield.preprocessing.origins import history_before
from aegis_yield.preprocessing.panel import build_panel, to_date
from benchmarks.race.task import Run, Task

EVERY_DAYS = 7


def run_last_value(task: Task) -> Run:
    """Race "tomorrow is like today", the forecast that scores are relative to."""
    return _run(task, LastValue())


def run_ewma(task: Task) -> Run:
    """Race the exponentially weighted mean of recent days."""
    return _run(task, Ewma())


def _run(task: Task, model: LocationScaleModel) -> Run:
    tables = {}
    for done, horizon in enumerate(task.horizons, start=1):
        tables[horizon] = walk_of(task, model, horizon).forecasts.to_frame()
        task.say(done, len(task.horizons))
    return Run(tables, {"fit": 0.0, "origin": float("nan")})  # no work worth timing


def walk_of(task: Task, model: LocationScaleModel, horizon_days: int) -> Walk:
    """Return one model's walk over the task's origins, warmed up before the first."""
    start = to_date(history_before(task.origins[0]) - BURN_IN_DAYS)
    panel = build_panel(task.dataset, start=start, end=to_date(task.origins[-1] + horizon_days))
    course = Course(scored_days=task.origins, horizon_days=horizon_days, burn_in_step_days=EVERY_DAYS)
    return walk_forward(panel, [fresh(model)], course)[0]
