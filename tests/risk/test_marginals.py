"""Distributions from quantiles: exact for what they assume, consistent with themselves for everything else."""

from __future__ import annotations

import datetime as dt
import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from aegis_yield.domain.errors import RequestError
from aegis_yield.domain.forecast import QUANTILE_COLUMNS, QUANTILE_LEVELS
from aegis_yield.risk.marginals import pit, pit_matrix, quantile_mean, quantile_weights

rising = st.lists(st.floats(-1, 5), min_size=9, max_size=9).map(sorted).map(np.array)


def values_at(quantiles: np.ndarray, at: np.ndarray) -> np.ndarray:
    return quantile_weights(QUANTILE_LEVELS, at) @ quantiles


@given(rising)
@settings(deadline=None)
def test_the_quantile_function_passes_through_the_quantiles_and_never_falls(quantiles: np.ndarray) -> None:
    np.testing.assert_allclose(values_at(quantiles, np.array(QUANTILE_LEVELS)), quantiles, atol=1e-12)
    assert (np.diff(values_at(quantiles, np.linspace(1e-6, 1 - 1e-6, 2_000))) >= -1e-9).all()


def test_weights_sum_to_one() -> None:
    weights = quantile_weights(QUANTILE_LEVELS, np.linspace(1e-5, 1 - 1e-5, 999))
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)


def test_tails_of_a_laplace_distribution_are_exact() -> None:
    laplace = stats.laplace(loc=0.04, scale=0.01)
    far = np.array([1e-6, 1e-4, 0.01, 0.025, 0.04, 0.05, 0.95, 0.97, 0.99, 0.9999])
    outside = (far <= 0.025) | (far >= 0.975)
    found = values_at(laplace.ppf(QUANTILE_LEVELS), far)
    np.testing.assert_allclose(found[outside], laplace.ppf(far)[outside], rtol=1e-10)


@given(rising)
@settings(max_examples=30, deadline=None)
def test_the_mean_is_the_integral_of_the_quantile_function(quantiles: np.ndarray) -> None:
    def value(u: float) -> float:
        return float(values_at(quantiles, np.array([u]))[0])

    edges = [1e-14, 1e-8, 1e-4, *QUANTILE_LEVELS, 1 - 1e-4, 1 - 1e-8, 1 - 1e-14]
    total = sum(integrate.quad(value, a, b)[0] for a, b in itertools.pairwise(edges))
    assert quantile_mean(QUANTILE_LEVELS, quantiles[None])[0] == pytest.approx(total, abs=1e-8)


def test_the_mean_of_a_symmetric_forecast_is_its_median() -> None:
    normal = stats.norm(0.05, 0.02).ppf(QUANTILE_LEVELS)
    assert quantile_mean(QUANTILE_LEVELS, normal[None])[0] == pytest.approx(0.05, abs=1e-12)


@given(rising, st.floats(1e-4, 1 - 1e-4))
@settings(max_examples=200, deadline=None)
def test_pit_undoes_the_quantile_function(quantiles: np.ndarray, u: float) -> None:
    quantiles = quantiles + np.arange(9) * 0.01  # strictly rising: no atoms
    value = values_at(quantiles, np.array([u]))
    assert pit(QUANTILE_LEVELS, quantiles[None], value)[0] == pytest.approx(u, abs=1e-6)


def test_atoms_get_the_middle_of_what_they_cover() -> None:
    levels = (0.1, 0.3, 0.5, 0.9)
    at_floor = np.array([[0.0, 0.0, 0.02, 0.05]])
    frozen = np.full((1, 4), 0.03)
    inside = np.array([[0.0, 0.01, 0.01, 0.05]])
    assert pit(levels, at_floor, np.array([0.0]))[0] == pytest.approx(0.15)
    assert pit(levels, frozen, np.array([0.03]))[0] == pytest.approx(0.5)
    assert pit(levels, inside, np.array([0.01]))[0] == pytest.approx(0.4)
    assert pit(levels, inside, np.array([0.0]))[0] == pytest.approx(0.1)


def test_beyond_a_tail_without_width_there_is_nothing() -> None:
    frozen = np.full((2, 9), 0.03)
    np.testing.assert_array_equal(pit(QUANTILE_LEVELS, frozen, np.array([0.029, 0.031])), [0.0, 1.0])


def test_what_is_not_known_has_no_pit() -> None:
    quantiles = np.tile(np.linspace(0, 1, 9), (2, 1))
    quantiles[1, 3] = np.nan
    assert np.isnan(pit(QUANTILE_LEVELS, quantiles, np.array([np.nan, 0.5]))).all()


def test_pits_of_a_right_forecast_are_uniform() -> None:
    rng = np.random.default_rng(0)
    quantiles = np.tile(stats.laplace.ppf(QUANTILE_LEVELS), (20_000, 1))
    found = pit(QUANTILE_LEVELS, quantiles, rng.laplace(size=20_000))
    for level in QUANTILE_LEVELS:
        assert (found <= level).mean() == pytest.approx(level, abs=0.012)


def table(rows: list[tuple[str, dt.date, float | None]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["strategy_id", "origin", "actual_apy"], orient="row")
    columns = [pl.lit(value).alias(name) for name, value in zip(QUANTILE_COLUMNS, QUANTILE_LEVELS, strict=True)]
    return frame.with_columns(pl.lit(7, dtype=pl.Int32).alias("horizon_days"), *columns)


def test_the_matrix_has_a_row_for_each_origin_and_looks_at_known_outcomes_only() -> None:
    first, second, third = dt.date(2025, 1, 1), dt.date(2025, 1, 8), dt.date(2025, 1, 15)
    frame = table([("b", second, 0.5), ("a", first, 0.3), ("c", first, 0.9), ("a", second, None), ("b", third, 0.1)])
    # The forecast distribution is uniform on [0, 1]: the outcome is its own PIT.
    found = pit_matrix(frame, ["a", "b", "z"])
    np.testing.assert_allclose(found, [[0.3, np.nan, np.nan], [np.nan, 0.5, np.nan], [np.nan, 0.1, np.nan]])
    np.testing.assert_allclose(pit_matrix(frame, ["b"], known_by=dt.date(2025, 1, 15)), [[0.5]])
    assert pit_matrix(frame, ["b"], known_by=dt.date(2025, 1, 14)).shape == (0, 1)


@pytest.mark.parametrize("levels", [(0.5,), (0.5, 0.1), (0.0, 0.5), (0.5, 1.0), (0.1, float("nan"), 0.9)])
def test_levels_that_make_no_distribution_are_refused(levels: tuple[float, ...]) -> None:
    with pytest.raises(RequestError, match="levels"):
        quantile_mean(levels, np.zeros((1, len(levels))))
