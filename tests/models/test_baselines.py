from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.models.base import LocationScaleModel
from aegis_yield.models.baselines import (
    EWMA_ALPHA,
    VOLATILITY_DECAY,
    Ewma,
    LastValue,
    MovingMean,
    ewma,
    ewma_volatility,
)
from aegis_yield.preprocessing.origins import HISTORY_DAYS, ModelInputs


@pytest.fixture
def gappy(inputs: ModelInputs) -> ModelInputs:
    """Histories with unknown days and unknown beginnings."""
    history = inputs.history.copy()
    history[:, :-3][np.random.default_rng(0).random((len(inputs), HISTORY_DAYS - 3)) < 0.3] = np.nan
    history[:10, :40] = np.nan
    return replace(inputs, history=history)


def weighted_mean(history: np.ndarray, alpha: float) -> float:
    total = weight = 0.0
    for value in history:
        total, weight = total * (1 - alpha), weight * (1 - alpha)
        if not np.isnan(value):
            total, weight = total + value, weight + 1.0
    return total / weight


def test_the_last_value_is_the_last_value(gappy: ModelInputs) -> None:
    for horizon in (1, 30):
        assert np.array_equal(LastValue().locate(gappy, horizon).location, gappy.last_apy)


@pytest.mark.parametrize("window", [1, 7, 28])
def test_the_moving_mean_is_that_of_the_known_days(gappy: ModelInputs, window: int) -> None:
    raw = MovingMean(window).locate(gappy, 7)
    for row, location in zip(gappy.history, raw.location, strict=True):
        known = [value for value in row[-window:] if not np.isnan(value)]
        assert location == pytest.approx(sum(known) / len(known))


def test_ewma_is_the_recursion_over_the_whole_history(inputs: ModelInputs) -> None:
    location = Ewma().locate(inputs, 7).location
    for row, found in zip(inputs.history, location, strict=True):
        level = row[0]
        for value in row[1:]:
            level = EWMA_ALPHA * value + (1 - EWMA_ALPHA) * level
        assert found == pytest.approx(level, rel=1e-7)  # the start's weight is (1 - alpha)^64


@pytest.mark.parametrize("alpha", [0.06, 0.3, 1.0])
def test_unknown_days_carry_no_weight(gappy: ModelInputs, alpha: float) -> None:
    expected = [weighted_mean(row, alpha) for row in gappy.history]
    np.testing.assert_allclose(ewma(gappy.history, alpha), expected, rtol=1e-10)


@settings(deadline=None)
@given(
    values=st.lists(st.floats(-1, 5) | st.none(), min_size=1, max_size=80).filter(lambda v: v[-1] is not None),
    alpha=st.floats(0.05, 0.9),
)
def test_ewma_agrees_with_polars(values: list[float | None], alpha: float) -> None:
    peer = pl.Series(values, dtype=pl.Float64).ewm_mean(alpha=alpha, adjust=True, ignore_nulls=False)[-1]
    assert ewma(np.array([values], dtype=float), alpha)[0] == pytest.approx(peer, abs=1e-9)


def test_volatility_is_riskmetrics_over_the_known_changes(gappy: ModelInputs) -> None:
    for row, found in zip(gappy.history, ewma_volatility(gappy.history), strict=True):
        variance = weighted_mean((row[1:] - row[:-1]) ** 2, 1 - VOLATILITY_DECAY)
        assert found == pytest.approx(np.sqrt(365 * variance))


def test_riskmetrics_decay_is_the_published_one() -> None:
    assert VOLATILITY_DECAY == 0.94  # J.P. Morgan, RiskMetrics Technical Document (1996), daily data


def test_a_rate_that_stood_still_has_a_small_positive_volatility() -> None:
    volatility = ewma_volatility(np.full((1, HISTORY_DAYS), 0.04))
    assert 0 < volatility[0] < 1e-4


@pytest.mark.parametrize("model", [LastValue(), MovingMean(), Ewma()])
def test_a_baseline_forecasts_and_spreads_by_the_local_scale(model: LocationScaleModel, gappy: ModelInputs) -> None:
    assert isinstance(model, LocationScaleModel)
    raw = model.locate(gappy, 7)
    assert np.array_equal(raw.scale, gappy.local_scale)
    assert np.array_equal(raw.volatility, ewma_volatility(gappy.history))


def test_names_say_what_they_are() -> None:
    assert [m.name for m in (LastValue(), MovingMean(28), Ewma(0.25))] == ["last value", "mean 28 days", "EWMA 0.25"]
