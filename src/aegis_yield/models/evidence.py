"""What the calibration block teaches: conformal scores, the volatility map, how far to follow the network.

Everything here is learned from networks that have not seen the block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from aegis_yield.domain.targets import DAYS_PER_YEAR
from aegis_yield.models.calibration import HORIZON_GRID, LocationScale, ScorePool, scores_of
from aegis_yield.models.lstm import LstmModel
from aegis_yield.models.scores import MIN_NAIVE_ERROR, by_strategy
from aegis_yield.models.stacking import Stacking, candidate_moves, fit_stacking
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
        Conformal scores of the combined locations.
    volatility_map : VolatilityMap
        From the second output to volatility.
    stacking : Stacking
        Combination of network and EWMA.
    """

    scores: ScorePool
    volatility_map: VolatilityMap
    stacking: Stacking


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
        Networks that have not seen the block, with no stacking yet.
    data : WindowSet
        Rows to forecast from.
    first_day, last_day : int
        Origins from ``first_day`` whose outcome is known by ``last_day``.
    """
    outcomes = [_outcomes(scouts, data, (first_day, last_day), horizon) for horizon in HORIZON_GRID]
    outcomes = [one for one in outcomes if len(one.rows)]
    if not outcomes:
        return Evidence(ScorePool.empty(), VolatilityMap.identity(), Stacking.follow_network())
    stacking = _fit_stacking(outcomes, data) if scouts.recipe.name == "anchored" else Stacking.follow_network()
    pool = ScorePool.empty()
    for one in outcomes:
        category = data.category[one.rows]
        location = stacking.combine(one.raw.location, one.inputs, category, one.horizon_days)
        raw = replace(one.raw, location=location)
        pool = pool.extended(scores_of(raw, rows_as_keys(data, one.rows), one.apy, one.horizon_days))
    return Evidence(pool, _fit_volatility(outcomes, data), stacking)


def _outcomes(scouts: LstmModel, data: WindowSet, block: tuple[int, int], horizon_days: int) -> _Outcomes:
    first, last = block
    rows = data.origins_between(first, last)
    rows = rows[(data.day[rows] - last) % STEP_DAYS == 0]
    rows = _thinned(data, rows[data.horizon_limit(rows, last) >= horizon_days])
    inputs = rows_as_inputs(data, rows)
    futures, horizons = data.futures()[rows], np.full(len(rows), horizon_days)
    apy = np.expm1(mean_log_growth(futures, horizons))
    raw = scouts.locate(inputs, horizon_days)
    return _Outcomes(horizon_days, rows, inputs, raw, apy, mean_square_change(futures, horizons))


def _thinned(data: WindowSet, rows: IntArray) -> IntArray:
    # Evenly, so that neither a strategy nor a month is favoured; a bundle stays a small file.
    step = max(1, -(-len(rows) // MAX_SCORES_PER_HORIZON))
    return rows[np.argsort(data.day[rows], kind="stable")][::step]


def _fit_stacking(outcomes: list[_Outcomes], data: WindowSet) -> Stacking:
    n_strategies = int(data.strategy.max()) + 1
    moves, actual, unit, category = [], [], [], []
    for one in outcomes:
        strategy = data.strategy[one.rows]
        move = one.apy - one.inputs.last_apy
        naive = by_strategy(np.abs(move), strategy, n_strategies)[strategy]
        moves.append(candidate_moves(one.raw.location, one.inputs, one.horizon_days))
        actual.append(move)
        unit.append(np.where(naive > MIN_NAIVE_ERROR, naive, 0.0))
        category.append(data.category[one.rows])
    return fit_stacking(*(np.concatenate(part) for part in (moves, actual, unit, category)))


def _fit_volatility(outcomes: list[_Outcomes], data: WindowSet) -> VolatilityMap:
    designs = [VolatilityDesign.of(one.inputs, data.category[one.rows], one.horizon_days) for one in outcomes]
    log_scale = np.concatenate([np.log(one.raw.scale / one.inputs.local_scale) for one in outcomes])
    volatility = np.sqrt(DAYS_PER_YEAR * np.concatenate([one.mean_square_change for one in outcomes]))
    return fit_volatility_map(log_scale, VolatilityDesign.joined(designs), volatility)
