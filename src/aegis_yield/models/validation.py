"""How good a model is on a block of days it was not trained on."""

from __future__ import annotations

from typing import Final

import numpy as np

from aegis_yield.domain.forecast import ForecastKeys
from aegis_yield.models.base import LocationScaleModel
from aegis_yield.models.scores import geometric_mean, laplace_crps, relative_scores, scored_strategies
from aegis_yield.preprocessing.features import WINDOW_DAYS
from aegis_yield.preprocessing.features.context import FILL_LIMIT_DAYS, fill_limited
from aegis_yield.preprocessing.origins import HISTORY_DAYS, ModelInputs
from aegis_yield.preprocessing.windows import WindowSet, mean_log_growth
from aegis_yield.utils.typing import FloatArray, IntArray

VALIDATION_HORIZONS: Final = (1, 7, 30)
VALIDATION_STEP_DAYS: Final = 2


def relative_crps(model: LocationScaleModel, data: WindowSet, first_day: int, last_day: int) -> float:
    """Score a model on a block: geometric mean over strategies of CRPS over the naive absolute error.

    Parameters
    ----------
    model : LocationScaleModel
        Its location and spread are read as a Laplace distribution.
    data : WindowSet
        Rows to forecast from.
    first_day, last_day : int
        Origins from ``first_day`` whose outcome is known by ``last_day``.

    Returns
    -------
    float
        Mean over the validation horizons; lower is better. 1.0 where nothing can be scored.
    """
    scores = [_at_horizon(model, data, first_day, last_day, horizon) for horizon in VALIDATION_HORIZONS]
    known = [score for score in scores if np.isfinite(score)]
    return float(np.mean(known)) if known else 1.0


def _at_horizon(model: LocationScaleModel, data: WindowSet, first_day: int, last_day: int, horizon_days: int) -> float:
    rows = data.origins_between(first_day, last_day)
    rows = rows[(data.day[rows] - first_day) % VALIDATION_STEP_DAYS == 0]
    rows = rows[data.horizon_limit(rows, last_day) >= horizon_days]
    if not len(rows):
        return float("nan")
    actual = np.expm1(mean_log_growth(data.futures()[rows], np.full(len(rows), horizon_days)))
    raw = model.locate(rows_as_inputs(data, rows), horizon_days)
    naive = np.abs(actual - data.apy[rows])
    n_strategies = int(data.strategy.max()) + 1
    ratios = relative_scores(laplace_crps(actual, raw.location, raw.scale), naive, data.strategy[rows], n_strategies)
    ratios[~scored_strategies(naive, data.strategy[rows], n_strategies)] = np.nan
    return geometric_mean(ratios)


def rows_as_inputs(data: WindowSet, rows: IntArray) -> ModelInputs:
    """Return the model inputs of rows of a window set."""
    return ModelInputs(
        windows=np.ascontiguousarray(data.windows()[rows - (WINDOW_DAYS - 1)].transpose(0, 2, 1)),
        last_apy=data.apy[rows],
        local_scale=data.scale[rows],
        history=_history(data, rows),
    )


def rows_as_keys(data: WindowSet, rows: IntArray) -> ForecastKeys:
    """Return keys for rows of a window set."""
    return ForecastKeys(
        strategy_id=data.strategy_ids[data.strategy[rows]],
        origin=data.day[rows].astype("datetime64[D]"),
        category=data.category[rows],
    )


def _history(data: WindowSet, rows: IntArray) -> FloatArray:
    lags = np.arange(HISTORY_DAYS + FILL_LIMIT_DAYS)[::-1]  # what is carried into the history, too
    index = np.maximum(rows[:, None] - lags, 0)
    same = (data.strategy[index] == data.strategy[rows][:, None]) & (rows[:, None] >= lags)
    return fill_limited(np.where(same, data.apy[index], np.nan))[0][:, -HISTORY_DAYS:]
