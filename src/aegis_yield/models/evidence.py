"""What the calibration block teaches: conformal scores and the volatility map.

Everything here is learned from networks that have not seen the block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.targets import DAYS_PER_YEAR
from aegis_yield.models.calibration import HORIZON_GRID, LocationScale, ScorePool, scores_of
from aegis_yield.models.lstm import LstmModel
from aegis_yield.models.validation import rows_as_inputs, rows_as_keys
from aegis_yield.models.volatility import VolatilityDesign, VolatilityMap, fit_volatility_map
from aegis_yield.preprocessing.origins import ModelInputs
from aegis_yield.preprocessing.windows import WindowSet, mean_log_growth, mean_square_change
from aegis_yield.utils.typing import FloatArray, IntArray

STEP_DAYS: Final = 3
"""Calibration origins lie this many days apart: neighbours share most of their outcome."""

MAX_SCORES_PER_HORIZON: Final = 6_000


@dataclass(frozen=True)
class Evidence:
    """What was learned on the calibration block.

    Attributes
    ----------
    scores : ScorePool
        Conformal scores.
    volatility_map : VolatilityMap
        From the second output to volatility.
    """

    scores: ScorePool
    volatility_map: VolatilityMap


@dataclass(frozen=True)
class _Outcomes:
    """The scouts' forecasts at one horizon and what happened."""

    horizon_days: int
    rows: IntArray
    inputs: ModelInputs
    raw: LocationScale
    apy: FloatArray
    mean_square_change: FloatArray


def gather_evidence(scouts: LstmModel, data: WindowSet, first_day: int, last_day: int) -> Evidence:
    """Let the scouts forecast the calibration block and learn from their errors.

    Parameters
    ----------
    scouts : LstmModel
        Networks that have not seen the block.
    data : WindowSet
        Rows to forecast from.
    first_day, last_day : int
        Origins from ``first_day`` whose outcome is known by ``last_day``.
    """
    outcomes = [_outcomes(scouts, data, (first_day, last_day), horizon) for horizon in HORIZON_GRID]
    outcomes = [one for one in outcomes if len(one.rows)]
    if not outcomes:
        return Evidence(ScorePool.empty(), VolatilityMap.identity())
    pool = ScorePool.empty()
    for one in outcomes:
        pool = pool.extended(scores_of(one.raw, rows_as_keys(data, one.rows), one.apy, one.horizon_days))
    return Evidence(pool, _fit_volatility(outcomes, data))


def _outcomes(scouts: LstmModel, data: WindowSet, block: tuple[int, int], horizon_days: int) -> _Outcomes:
    first, last = block
    rows = data.origins_between(first, last)
    rows = rows[(data.day[rows] - last) % STEP_DAYS == 0]
    rows = _thinned(rows[data.horizon_limit(rows, last) >= horizon_days])
    inputs = rows_as_inputs(data, rows)
    futures, horizons = data.futures()[rows], np.full(len(rows), horizon_days)
    apy = np.expm1(mean_log_growth(futures, horizons))
    raw = scouts.locate(inputs, horizon_days)
    return _Outcomes(horizon_days, rows, inputs, raw, apy, mean_square_change(futures, horizons))


def _thinned(rows: IntArray) -> IntArray:
    """Return at most so many rows that a bundle stays a small file, drawn at random.

    Every n-th row would pick the same strategies each day wherever n divides their number.
    """
    if len(rows) <= MAX_SCORES_PER_HORIZON:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MAX_SCORES_PER_HORIZON, replace=False))


def _fit_volatility(outcomes: list[_Outcomes], data: WindowSet) -> VolatilityMap:
    designs = [VolatilityDesign.of(one.inputs, data.category[one.rows], one.horizon_days) for one in outcomes]
    log_scale = np.concatenate([np.log(one.raw.scale / one.inputs.local_scale) for one in outcomes])
    volatility = np.sqrt(DAYS_PER_YEAR * np.concatenate([one.mean_square_change for one in outcomes]))
    return fit_volatility_map(log_scale, VolatilityDesign.joined(designs), volatility)
