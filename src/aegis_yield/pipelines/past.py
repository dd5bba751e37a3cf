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
    panel = build_panel(forecaster.dataset.known_at(as_of))
    last = to_day(as_of) - horizon_days
    days = sorted(day for day in range(last, last - ORIGINS * STEP_DAYS, -STEP_DAYS) if day >= panel.first_day)
    column = {strategy: code for code, strategy in enumerate(strategy_ids)}
    matrix = np.full((len(days), len(strategy_ids)), np.nan)
    calibrator = forecaster.bundle.calibrator
    for row, batch in enumerate(walk_origins(panel, days)):
        names = batch.keys.strategy_id.astype(str)
        chosen = np.flatnonzero([name in column for name in names])
        if not len(chosen):
            continue
        own = batch.subset(chosen)
        raw = forecaster.bundle.model.locate(own.inputs, horizon_days)
        made = calibrator.forecasts(raw, own.keys, horizon_days, QUANTILE_LEVELS)
        apy, _ = outcomes(panel, own.rows, own.day, horizon_days)
        matrix[row, [column[name] for name in own.keys.strategy_id.astype(str)]] = pit(
            QUANTILE_LEVELS, made.quantiles, apy
        )
    return matrix
