"""SES, AutoETS and AutoTheta (statsforecast): fitted anew to each strategy's own last days at every origin.

Their daily paths are averaged over the horizon as the target is (mean log growth). Their own intervals are for single
days and assume normal errors; as intervals of the mean they get the same rolling conformal scores as the other point
forecasters, on the local scale, which serves them better.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import polars as pl

from aegis_yield.domain.limits import MAX_HORIZON_DAYS
from aegis_yield.domain.targets import log_growth
from aegis_yield.pipelines.walk import BURN_IN_DAYS
from aegis_yield.preprocessing.features.context import fill_limited
from aegis_yield.preprocessing.origins import OriginBatch
from aegis_yield.preprocessing.panel import Panel, build_panel, to_date
from aegis_yield.utils.typing import FloatArray, IntArray
from benchmarks.race.cqr import RollingCqr
from benchmarks.race.store import digest
from benchmarks.race.task import LEVELS, QuantileWalk, Run, Task, joined, panel_around

CONTEXT_DAYS: Final = 150
BURN_IN_STEP_DAYS: Final = 7
CHUNK_ORIGINS: Final = 4
"""Origins whose paths are kept together: what a killed run loses at most."""

PATH: Final = [f"d{day}" for day in range(1, MAX_HORIZON_DAYS + 1)]


def run_ses(task: Task) -> Run:
    """Race simple exponential smoothing with the best smoothing of each strategy's own past."""
    from statsforecast.models import SimpleExponentialSmoothingOptimized

    return _run(task, SimpleExponentialSmoothingOptimized())


def run_ets(task: Task) -> Run:
    """Race AutoETS without season, as it is used on daily rates."""
    from statsforecast.models import AutoETS

    return _run(task, AutoETS(season_length=1))


def run_theta(task: Task) -> Run:
    """Race AutoTheta without season."""
    from statsforecast.models import AutoTheta

    return _run(task, AutoTheta(season_length=1))


def burn_in_days(origins: Sequence[int]) -> list[int]:
    """Return origins before the first one, from which conformal scores are learned."""
    first = origins[0]
    return sorted(range(first - BURN_IN_STEP_DAYS, first - BURN_IN_DAYS - 1, -BURN_IN_STEP_DAYS))


def _run(task: Task, model: Any) -> Run:
    days = [*burn_in_days(task.origins), *task.origins]
    panel = panel_around(task.dataset, days, max(task.horizons))
    paths = _all_paths(task, model, days)
    tables = {}
    for horizon in task.horizons:
        walk = QuantileWalk("", horizon, path_reader(paths, horizon), RollingCqr(LEVELS), corrects_point=False)
        tables[horizon] = joined(list(walk.over(panel, days, task.origins[0])), horizon).to_frame()
    seconds = paths.group_by("day").agg(pl.col("seconds").sum())["seconds"].to_numpy()
    return Run(tables, {"fit": 0.0, "origin": float(np.median(seconds))})


def path_reader(paths: pl.DataFrame, horizon_days: int) -> Callable[[OriginBatch], FloatArray]:
    """Return a function that looks up each strategy's path and averages its first days.

    A path with a value that is not finite stands for a model that failed: the last value takes its place.
    """
    location = np.expm1(log_growth(paths.select(PATH[:horizon_days]).to_numpy()).mean(axis=1))
    held = dict(zip(zip(paths["strategy_id"], paths["day"], strict=True), location.tolist(), strict=True))

    def read(batch: OriginBatch) -> FloatArray:
        found = np.array([held[strategy, batch.day] for strategy in batch.keys.strategy_id.tolist()])
        found = np.where(np.isfinite(found), found, batch.inputs.last_apy)
        return np.repeat(found[:, None], len(LEVELS), axis=1)

    return read


def _all_paths(task: Task, model: Any, days: list[int]) -> pl.DataFrame:
    chunks = [days[start : start + CHUNK_ORIGINS] for start in range(0, len(days), CHUNK_ORIGINS)]
    tables = []
    for done, chunk in enumerate(chunks, start=1):
        name = f"paths-{digest({'version': task.version, 'days': chunk})}"
        tables.append(task.store.remembered(name, partial(_paths_at, task, model, chunk)))
        task.say(done, len(chunks))
    return pl.concat(tables)


def _paths_at(task: Task, model: Any, days: list[int]) -> pl.DataFrame:
    panel = build_panel(task.dataset, start=to_date(days[0] - 2 * CONTEXT_DAYS), end=to_date(days[-1]))
    filled = fill_limited(panel.series["apy"])[0]
    return pl.concat([_paths_of_day(panel, filled, model, day) for day in days])


def _paths_of_day(panel: Panel, filled: FloatArray, model: Any, day: int) -> pl.DataFrame:
    column = panel.column_of(day)
    rows: IntArray = np.flatnonzero(panel.eligible()[:, column])
    began = time.perf_counter()
    paths = [one_path(model, filled[row, column + 1 - CONTEXT_DAYS : column + 1]) for row in rows]
    seconds = (time.perf_counter() - began) / max(len(rows), 1)
    table = pl.DataFrame(np.array(paths).reshape(len(rows), len(PATH)), schema=dict.fromkeys(PATH, pl.Float64))
    return table.with_columns(
        pl.Series("strategy_id", panel.strategy_ids[rows].tolist(), dtype=pl.String),
        pl.lit(day, dtype=pl.Int64).alias("day"),
        pl.lit(seconds, dtype=pl.Float64).alias("seconds"),
    )


def one_path(model: Any, history: FloatArray) -> FloatArray:
    """Return a strategy's daily path over the longest horizon, NaN where the model fails.

    Parameters
    ----------
    model : object
        A statsforecast model.
    history : ndarray of shape (n_days,)
        Days up to the origin; unknown ones are left out.
    """
    known = np.ascontiguousarray(history[~np.isnan(history)])
    if np.ptp(known) == 0.0:
        return np.full(MAX_HORIZON_DAYS, known[-1])
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return np.asarray(model.forecast(y=known, h=MAX_HORIZON_DAYS)["mean"], dtype=float)
    except (ValueError, FloatingPointError, ZeroDivisionError, IndexError, RuntimeError):
        return np.full(MAX_HORIZON_DAYS, np.nan)
