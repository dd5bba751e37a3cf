from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.targets import realised_apy
from aegis_yield.models.baselines import LastValue
from aegis_yield.models.calibration import LocationScale
from aegis_yield.models.scores import MIN_ORIGINS, laplace_crps
from aegis_yield.models.validation import (
    VALIDATION_HORIZONS,
    VALIDATION_STEP_DAYS,
    relative_crps,
    rows_as_inputs,
    rows_as_keys,
)
from aegis_yield.preprocessing.origins import ModelInputs, walk_origins
from aegis_yield.preprocessing.panel import Panel, build_panel
from aegis_yield.preprocessing.splits import TimeSplit
from aegis_yield.preprocessing.windows import WindowSet, build_windows


@dataclass(frozen=True)
class Sure:
    """Forecasts the last value with another spread than the local scale."""

    factor: float
    name: str = "sure"

    def locate(self, inputs: ModelInputs, horizon_days: int) -> LocationScale:
        return LocationScale(inputs.last_apy, self.factor * inputs.local_scale, inputs.local_scale)


@pytest.fixture(scope="module")
def gappy(small_market: Dataset) -> Panel:
    """The market with a third of its rows missing."""
    kept = np.random.default_rng(0).random(small_market.yields.height) > 0.3
    return build_panel(replace(small_market, yields=small_market.yields.filter(pl.Series(kept))))


def crps_ratio(data: WindowSet, code: int, block: tuple[int, int], horizon: int) -> float | None:
    """What one strategy contributes, origin by origin."""
    losses, naive = [], []
    for row in np.flatnonzero(data.eligible & (data.strategy == code)):
        last_known = data.day[row] + horizon
        if data.day[row] < block[0] or last_known > block[1] or (data.day[row] - block[0]) % VALIDATION_STEP_DAYS:
            continue
        future = data.apy[row + 1 : row + 1 + horizon]
        if data.max_horizon[row] >= horizon:
            actual = np.array([realised_apy(future)])
            losses.append(laplace_crps(actual, data.apy[[row]], data.scale[[row]])[0])
            naive.append(abs(actual[0] - data.apy[row]))
    return sum(losses) / sum(naive) if len(naive) >= MIN_ORIGINS and np.mean(naive) > 1e-6 else None


def test_the_score_is_the_geometric_mean_over_strategies(windows: WindowSet, split: TimeSplit) -> None:
    block = (split.train_end, split.calibration_end)
    by_horizon = []
    for horizon in VALIDATION_HORIZONS:
        ratios = [crps_ratio(windows, code, block, horizon) for code in np.unique(windows.strategy)]
        logs = [math.log(ratio) for ratio in ratios if ratio is not None]
        by_horizon.append(math.exp(sum(logs) / len(logs)))
    found = relative_crps(LastValue(), windows, *block)
    assert found == pytest.approx(sum(by_horizon) / len(by_horizon), rel=1e-9)


def test_a_spread_of_nothing_scores_the_naive_error_and_a_vast_one_more(windows: WindowSet, split: TimeSplit) -> None:
    block = (split.train_end, split.calibration_end)
    assert relative_crps(Sure(1e-6), windows, *block) == pytest.approx(1.0, abs=1e-4)
    assert relative_crps(Sure(1e3), windows, *block) > 10.0


def test_a_block_where_nothing_can_be_scored_gives_one(windows: WindowSet, split: TimeSplit) -> None:
    last = split.calibration_end
    assert relative_crps(LastValue(), windows, last - 2, last) == 1.0
    assert relative_crps(LastValue(), windows, last, last) == 1.0


@pytest.mark.parametrize("offset", [70, 200, 390])
def test_training_and_serving_see_the_same_inputs(gappy: Panel, offset: int) -> None:
    """The flat rows that networks learn from equal what a walk through the panel gives, gaps included."""
    data, day = build_windows(gappy), gappy.first_day + offset
    (batch,) = walk_origins(gappy, [day])
    rows = np.array([np.flatnonzero((data.strategy == s) & (data.day == day))[0] for s in batch.rows])
    found = rows_as_inputs(data, rows)
    assert np.isnan(data.apy[rows[:, None] - np.arange(30)]).any()
    for name in ("windows", "last_apy", "local_scale", "history"):
        assert np.array_equal(getattr(found, name), getattr(batch.inputs, name), equal_nan=True), name


def test_keys_carry_strategy_day_and_category(gappy: Panel) -> None:
    windows = build_windows(gappy)
    rows = np.flatnonzero(windows.eligible)[::50]
    keys = rows_as_keys(windows, rows)
    apy = gappy.series["apy"][
        np.searchsorted(gappy.strategy_ids, keys.strategy_id), windows.day[rows] - gappy.first_day
    ]
    assert len(set(keys.strategy_id)) > 1
    assert np.array_equal(apy, windows.apy[rows])
    assert np.array_equal(keys.origin.astype(int), windows.day[rows])
    assert np.array_equal(keys.category, windows.category[rows])
