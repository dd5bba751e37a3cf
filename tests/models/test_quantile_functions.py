"""Quantile functions against numpy's, scipy's and what interpolation must keep."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import laplace, norm

from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.models.quantile_functions import (
    laplace_quantiles,
    normal_quantiles,
    quantiles_between,
    weighted_quantile,
)

KNOWN = np.array(QUANTILE_LEVELS)
samples = st.lists(st.floats(-50, 50), min_size=1, max_size=60)


def test_laplace_quantiles_are_those_of_scipy() -> None:
    levels = np.linspace(0.001, 0.999, 99)
    np.testing.assert_allclose(laplace_quantiles(levels), laplace.ppf(levels), atol=1e-12)


def test_normal_quantiles_are_those_of_scipy() -> None:
    levels = np.array([0.0, 1e-300, 1e-9, *np.linspace(0.001, 0.999, 99), 1 - 1e-9, 1.0])
    np.testing.assert_allclose(normal_quantiles(levels), norm.ppf(levels), rtol=1e-12, atol=1e-15)
    assert normal_quantiles(levels[:0]).shape == (0,)


@given(data=st.data(), values=samples, level=st.floats(0, 1))
def test_any_weights_are_interpolation_between_all_middles(
    data: st.DataObject, values: list[float], level: float
) -> None:
    weights = data.draw(arrays(float, len(values), elements=st.floats(1e-6, 1e3)))
    ends = np.cumsum(weights)
    expected = np.interp(level * ends[-1], ends - weights / 2, np.sort(values))
    np.testing.assert_allclose(weighted_quantile(np.sort(values), weights, level), expected, rtol=1e-12, atol=1e-12)


@given(values=samples, level=st.floats(0, 1))
def test_equal_weights_are_hazens_rule(values: list[float], level: float) -> None:
    found = weighted_quantile(np.sort(values), np.full(len(values), 0.3), level)
    np.testing.assert_allclose(found, np.quantile(values, level, method="hazen"), atol=1e-9)


@given(data=st.data(), values=samples)
def test_quantiles_rise_with_the_level_and_stay_within_the_sample(data: st.DataObject, values: list[float]) -> None:
    weights = data.draw(arrays(float, len(values), elements=st.floats(1e-6, 1e3)))
    found = [weighted_quantile(np.sort(values), weights, level) for level in np.linspace(0, 1, 30)]
    assert (np.diff(found) >= 0).all()
    assert min(values) <= found[0]
    assert found[-1] <= max(values)


@given(data=st.data(), values=st.lists(st.floats(-50, 50), min_size=1, max_size=20, unique=True))
def test_a_whole_weight_is_a_repetition(data: st.DataObject, values: list[float]) -> None:
    count = data.draw(arrays(int, len(values), elements=st.integers(1, 9)))
    ordered = np.sort(values)
    middle = (np.cumsum(count) - count / 2) / count.sum()  # of each value's run of repetitions
    repeated = np.quantile(np.repeat(ordered, count), middle, method="hazen")
    found = [weighted_quantile(ordered, count * 0.7, level) for level in middle]
    np.testing.assert_allclose(found, repeated, atol=1e-9)


def test_a_weight_of_nothing_counts_for_nothing() -> None:
    assert weighted_quantile(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.0]), 0.5) == 2.0


def test_between_the_levels_a_normal_distribution_stays_normal() -> None:
    wanted = np.array([0.01, 0.03, 0.2, 0.5, 0.77, 0.99])
    known = 0.3 + np.array([[1.0], [0.2]]) * norm.ppf(KNOWN)
    found = quantiles_between(KNOWN, known, wanted)
    np.testing.assert_allclose(found, 0.3 + np.array([[1.0], [0.2]]) * norm.ppf(wanted), atol=1e-12)


@given(steps=arrays(float, len(QUANTILE_LEVELS), elements=st.floats(0, 10)), more=st.lists(st.floats(0.006, 0.994)))
def test_known_levels_come_back_and_order_is_kept(steps: np.ndarray, more: list[float]) -> None:
    known = np.cumsum(steps)[None]
    wanted = np.unique([*QUANTILE_LEVELS, *more])
    found = quantiles_between(KNOWN, known, wanted)[0]
    assert found[np.isin(wanted, KNOWN)].tolist() == known[0].tolist()
    assert (np.diff(found) >= -1e-9).all()
