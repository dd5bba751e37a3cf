"""How past forecasts turned out: the PITs from which the joint behaviour of errors is learned."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

import numpy as np

from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.pipelines.predict import Forecaster
from aegis_yield.preprocessing.origins import outcomes, walk_origins
from aegis_yield.preprocessing.panel import build_panel, to_day
from aegis_yield.risk.marginals import pit
from aegis_yield.utils.typing import FloatArray

ORIGINS: Final = 26
STEP_DAYS: Final = 7
"""Half a year of weekly origins."""


def past_pits(forecaster: Forecaster, strategy_ids: Sequence[str], horizon_days: int, as_of: dt.date) -> FloatArray:
    """Return where past outcomes fell in the forecasts that the model makes for their origins.

    Parameters
    ----------
    forecaster : Forecaster
        Tables and model. A model that was trained on those days knows their level, not how strategies move together.
    strategy_ids : sequence of str
        Columns wanted, in this order.
    horizon_days : int
        Of the forecasts.
    as_of : date
        Nothing after it is looked at: the last origin lies a horizon before it.

    Returns
    -------
    ndarray of shape (n_origins, n)
        NaN where a strategy could not be forecast or its outcome is not known.
    """
    remembered = forecaster.worked_out
    key = ("pits", horizon_days, as_of)
    if key not in remembered:
        remembered[key] = _all_pits(forecaster, horizon_days, as_of)
    everyone, columns = remembered[key]
    absent = everyone.shape[1] - 1  # a column of NaN
    return np.asarray(everyone[:, [columns.get(name, absent) for name in strategy_ids]])


def _all_pits(forecaster: Forecaster, horizon_days: int, as_of: dt.date) -> tuple[FloatArray, dict[str, int]]:
    """Return the PITs of all strategies, then a column of NaN; and each strategy's column.

    All at once: a strategy's figures do not depend on who else is asked for, and the next question costs nothing.
    """
    panel = build_panel(forecaster.dataset.known_at(as_of))
    last = to_day(as_of) - horizon_days
    days = sorted(day for day in range(last, last - ORIGINS * STEP_DAYS, -STEP_DAYS) if day >= panel.first_day)
    columns = {name: place for place, name in enumerate(panel.strategy_ids.astype(str).tolist())}
    matrix = np.full((len(days), len(columns) + 1), np.nan)
    for row, batch in enumerate(walk_origins(panel, days)):
        if not len(batch.keys):
            continue
        raw = forecaster.bundle.model.locate(batch.inputs, horizon_days)
        made = forecaster.bundle.calibrator.forecasts(raw, batch.keys, horizon_days, QUANTILE_LEVELS)
        apy, _ = outcomes(panel, batch.rows, batch.day, horizon_days)
        places = [columns[name] for name in batch.keys.strategy_id.astype(str)]
        matrix[row, places] = pit(QUANTILE_LEVELS, made.quantiles, apy)
    return matrix, columns
