from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from aegis_yield.preprocessing.rolling import (
    decay_weights,
    fill_forward,
    lagged,
    masked_mean,
    masked_std,
    trailing_extreme,
    trailing_median,
    trailing_sum,
    trailing_weighted,
)

N_DAYS, WINDOW, N_OUT = 30, 7, 20
VALUES = st.one_of(st.floats(-1e3, 1e3), st.just(float("nan")), st.sampled_from([0.0, 1.0, -1.0]))
SERIES = arrays.arrays(np.float64, (2, N_DAYS), elements=VALUES)
WHOLE = arrays.arrays(np.float64, (2, N_DAYS), elements=st.floats(-1e3, 1e3))


def windows(x: np.ndarray) -> list[tuple[int, int, list[float]]]:
    """Row, output position and the window's values, newest last, by plain slicing."""
    found = []
    for row in range(len(x)):
        for out in range(N_OUT):
            day = N_DAYS - N_OUT + out
            found.append((row, out, x[row, day - WINDOW + 1 : day + 1].tolist()))
    return found


def known(values: list[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


@pytest.mark.parametrize("lag", [0, 1, 5])
def test_lagged_days_are_those_so_many_days_before(lag: int) -> None:
    assert lagged(np.arange(10), lag, 4).tolist() == [6 - lag, 7 - lag, 8 - lag, 9 - lag]


def test_lagged_makes_no_copy() -> None:
    x = np.zeros((3, 10))
    assert np.shares_memory(lagged(x, 2, 5), x)


@settings(deadline=None)
@given(SERIES)
def test_trailing_sum_against_a_loop(x: np.ndarray) -> None:
    total = trailing_sum(x, WINDOW, N_OUT)
    for row, out, values in windows(x):
        assert total[row, out] == pytest.approx(sum(values), abs=1e-9, nan_ok=True)


@settings(deadline=None)
@given(WHOLE)
def test_trailing_weighted_against_a_loop(x: np.ndarray) -> None:
    weights = [0.5, 3.0, 0.0, 1.0, 0.25, 2.0, 1.5]
    total = trailing_weighted(x, np.array(weights), N_OUT)
    for row, out, values in windows(x):
        expected = sum(w * v for w, v in zip(weights, reversed(values), strict=True))
        assert total[row, out] == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(SERIES)
def test_masked_mean_against_a_loop(x: np.ndarray) -> None:
    weights = decay_weights(3.0, WINDOW)
    mean = masked_mean(x, ~np.isnan(x), weights, N_OUT)
    for row, out, values in windows(x):
        pairs = [(w, v) for w, v in zip(weights, reversed(values), strict=True) if not math.isnan(v)]
        expected = sum(w * v for w, v in pairs) / sum(w for w, _ in pairs) if pairs else math.nan
        assert mean[row, out] == pytest.approx(expected, abs=1e-9, nan_ok=True)


@settings(deadline=None)
@given(SERIES)
def test_masked_std_against_numpy(x: np.ndarray) -> None:
    std = masked_std(x, ~np.isnan(x), WINDOW, N_OUT)
    for row, out, values in windows(x):
        expected = np.std(known(values)) if known(values) else math.nan
        assert std[row, out] == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_masked_std_keeps_its_precision_beside_a_huge_value() -> None:
    quiet = 0.05 + 1e-7 * np.array([0.0, 1.0] * 15)
    spiked = np.concatenate([[3500.0], quiet])[None]
    assert masked_std(spiked, ~np.isnan(spiked), WINDOW, 5)[0] == pytest.approx(np.full(5, np.std(quiet[:7])), rel=1e-6)


@settings(deadline=None)
@given(SERIES)
def test_trailing_extremes_against_min_and_max(x: np.ndarray) -> None:
    low, high = trailing_extreme(x, WINDOW, N_OUT)
    for row, out, values in windows(x):
        expected = (min(known(values)), max(known(values))) if known(values) else (math.nan, math.nan)
        assert (low[row, out], high[row, out]) == pytest.approx(expected, nan_ok=True, abs=0)


@settings(deadline=None)
@given(SERIES, st.integers(1, 9))
def test_trailing_median_against_numpy(x: np.ndarray, window: int) -> None:
    median = trailing_median(x, window, N_OUT)
    for row in range(len(x)):
        for out in range(N_OUT):
            day = N_DAYS - N_OUT + out
            values = known(x[row, day - window + 1 : day + 1].tolist())
            expected = np.median(values) if values else math.nan
            assert median[row, out] == pytest.approx(expected, nan_ok=True, abs=1e-12)


def test_no_statistic_changes_its_input() -> None:
    x = np.random.default_rng(0).normal(size=(2, N_DAYS))
    x[0, ::4] = np.nan
    before = x.copy()
    trailing_sum(x, 5, N_OUT), trailing_extreme(x, 5, N_OUT), trailing_median(x, 5, N_OUT), fill_forward(x)
    masked_std(x, ~np.isnan(x), 5, N_OUT), masked_mean(x, ~np.isnan(x), np.ones(5), N_OUT)
    assert np.array_equal(x, before, equal_nan=True)


@settings(deadline=None)
@given(SERIES)
def test_filling_forward_against_a_loop(x: np.ndarray) -> None:
    filled, age = fill_forward(x)
    for row in range(len(x)):
        last, since = math.nan, N_DAYS
        for column in range(N_DAYS):
            if not math.isnan(x[row, column]):
                last, since = x[row, column], 0
            elif since < N_DAYS:
                since += 1
            assert filled[row, column] == pytest.approx(last, nan_ok=True, abs=0)
            assert age[row, column] == since


def test_weights_halve_at_the_halflife() -> None:
    weights = decay_weights(5.0, 28)
    assert len(weights) == 28
    assert weights[[0, 5, 10, 25]].tolist() == [1.0, 0.5, 0.25, 0.03125]
    assert np.ptp(weights[1:] / weights[:-1]) < 1e-12
