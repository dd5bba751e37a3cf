"""fracast zero-shot: the one foundation model for series whose package ships its weights.

It gives nine quantiles (0.1 … 0.9) of each coming day, not of their mean. Two ways lead from days to the mean:
averaging each level over the days (exact if all days move together), or forecasting the trailing h-day mean
of the rate and reading its h-th step, whose quantiles are those of the target. ``settings["of"]`` chooses,
``"days"`` or ``"mean"``; the default did better on origins of 2023-07 … 2024-09.
Levels between its own are interpolated, those beyond them get exponential tails through the outermost two.
"""

from __future__ import annotations

import importlib
import time
from functools import partial
from typing import Any, Final

import numpy as np
import polars as pl

from aegis_yield.domain.forecast import QUANTILE_COLUMNS
from aegis_yield.domain.targets import log_growth
from aegis_yield.preprocessing.features.context import fill_limited
from aegis_yield.preprocessing.panel import Panel, build_panel, to_date
from aegis_yield.preprocessing.rolling import trailing_sum
from aegis_yield.utils.typing import FloatArray, IntArray
from benchmarks.race.store import digest
from benchmarks.race.task import LEVELS, Run, Task, least_apy

CONTEXT_DAYS: Final = 512
BATCH_ROWS: Final = 16


def run(task: Task) -> Run:
    """Race fracast without any fitting, with its own quantiles."""
    model = _load()
    tables: dict[int, list[pl.DataFrame]] = {horizon: [] for horizon in task.horizons}
    seconds = []
    for done, day in enumerate(task.origins, start=1):
        name = f"fracast-{digest({'version': task.version, 'day': day, 'horizons': task.horizons})}"
        everything = task.store.remembered(name, partial(_at_origin, task, model, day))
        seconds.append(float(everything["seconds"][0]) / len(task.horizons) if everything.height else 0.0)
        for horizon in task.horizons:
            tables[horizon].append(everything.filter(pl.col("horizon_days") == horizon).drop("seconds"))
        task.say(done, len(task.origins))
    joined = {horizon: pl.concat(parts) for horizon, parts in tables.items()}
    return Run(joined, {"fit": 0.0, "origin": float(np.median(seconds))})


def _load() -> Any:
    import torch

    torch.set_num_threads(1)
    return importlib.import_module("fracast").FracastModel.from_pretrained()


def _at_origin(task: Task, model: Any, day: int) -> pl.DataFrame:
    panel = build_panel(task.dataset, start=to_date(day - CONTEXT_DAYS - 60), end=to_date(day))
    rows = np.flatnonzero(panel.eligible()[:, -1])
    parts = []
    began = time.perf_counter()
    filled = fill_limited(panel.series["apy"])[0][rows]
    known = {h: forecast_mean(model, filled, h, str(task.settings.get("of", "days"))) for h in task.horizons}
    seconds = time.perf_counter() - began
    for horizon, quantiles in known.items():
        parts.append(_table(panel, rows, day, horizon, quantiles).with_columns(pl.lit(seconds).alias("seconds")))
    return pl.concat(parts)


def _table(panel: Panel, rows: IntArray, day: int, horizon_days: int, quantiles: FloatArray) -> pl.DataFrame:
    quantiles = np.maximum(quantiles, least_apy(panel.categories[rows])[:, None])
    columns = {
        "strategy_id": panel.strategy_ids[rows].tolist(),
        "origin": np.full(len(rows), day, dtype="datetime64[D]"),
        "horizon_days": np.full(len(rows), horizon_days, dtype=np.int32),
        "apy": quantiles[:, len(LEVELS) // 2],
        "volatility": np.full(len(rows), np.nan),
    }
    columns |= dict(zip(QUANTILE_COLUMNS, quantiles.T, strict=True))
    return pl.DataFrame(columns).with_columns(pl.col("strategy_id").cast(pl.String))


def forecast_mean(model: Any, filled: FloatArray, horizon_days: int, of: str) -> FloatArray:
    """Return quantiles of the mean of the next days at the race's levels, shape (n, n_levels).

    Parameters
    ----------
    model : fracast.FracastModel
    filled : ndarray of shape (n, n_days)
        APY up to the origin, carried over short gaps; NaN where unknown.
    horizon_days : int
        Days ahead.
    of : {"days", "mean"}
        Whether days are forecast and averaged, or the trailing mean itself is forecast.
    """
    growth = log_growth(filled)
    if of == "mean" and horizon_days > 1:
        growth = trailing_sum(growth, horizon_days, growth.shape[1] - horizon_days + 1) / horizon_days
    context = np.expm1(growth[:, -CONTEXT_DAYS:])
    blocks = [
        model.forecast_batch(context[start : start + BATCH_ROWS], horizon=horizon_days)
        for start in range(0, len(context), BATCH_ROWS)
    ]
    steps = np.concatenate([*blocks, np.empty((0, horizon_days, len(model.quantiles)))]).astype(float)
    own = steps[:, -1] if of == "mean" else np.expm1(log_growth(steps).mean(axis=1))
    return at_levels(np.sort(own, axis=1), np.asarray(model.quantiles), LEVELS)


def at_levels(quantiles: FloatArray, own_levels: FloatArray, levels: FloatArray) -> FloatArray:
    """Return quantiles at other levels: interpolated inside, with exponential tails outside.

    Parameters
    ----------
    quantiles : ndarray of shape (n, n_own)
        Rising along a row, the median among them.
    own_levels, levels : ndarray
        Rising levels, had and wanted.

    Returns
    -------
    ndarray of shape (n, n_levels)
        Beyond the outermost own level p0 a quantile lies ``b log(p0 / p)`` further out, with b such that the tail
        begins at the median (as a Laplace distribution's does).
    """
    inside = (
        np.stack([np.interp(levels, own_levels, row) for row in quantiles])
        if len(quantiles)
        else np.empty((0, len(levels)))
    )
    middle = quantiles[:, int(np.argmin(np.abs(own_levels - 0.5)))]
    low, high = own_levels[0], own_levels[-1]
    left = (middle - quantiles[:, 0]) / np.log(0.5 / low)
    right = (quantiles[:, -1] - middle) / np.log(0.5 / (1.0 - high))
    below = np.log(np.maximum(low / levels, 1.0))
    above = np.log(np.maximum((1.0 - high) / (1.0 - levels), 1.0))
    return np.asarray(inside - left[:, None] * below + right[:, None] * above)
