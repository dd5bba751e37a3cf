from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import laplace, norm

from aegis_yield.models.scores import (
    MIN_COVERED,
    MIN_NAIVE_ERROR,
    MIN_ORIGINS,
    MIN_VOLATILITY,
    by_strategy,
    coverage_by_strategy,
    coverage_gap,
    geometric_mean,
    laplace_crps,
    pinball,
    qlike,
    quantile_crps,
    relative_scores,
    scored_strategies,
    winkler,
)

rates = st.floats(-1.0, 1.0)


def one(*values: float) -> np.ndarray:
    return np.array(values)


@given(actual=rates, quantile=rates, level=st.floats(0.01, 0.99))
def test_pinball_charges_each_side_its_share(actual: float, quantile: float, level: float) -> None:
    by_hand = level * (actual - quantile) if actual >= quantile else (1 - level) * (quantile - actual)
    assert pinball(one(actual), one(quantile)[:, None], one(level))[0, 0] == pytest.approx(by_hand, abs=1e-15)


def test_pinball_is_least_at_the_samples_own_quantile() -> None:
    sample = np.random.default_rng(0).gamma(2.0, size=4_001)
    grid = np.linspace(0.0, 8.0, 801)
    loss = [pinball(sample, np.full((len(sample), 1), q), one(0.9)).mean() for q in grid]
    assert grid[int(np.argmin(loss))] == pytest.approx(np.quantile(sample, 0.9), abs=0.02)


def test_an_unknown_outcome_has_no_loss() -> None:
    loss = pinball(one(np.nan, 0.1), np.zeros((2, 3)), one(0.1, 0.5, 0.9))
    assert np.isnan(loss[0]).all()
    assert np.isfinite(loss[1]).all()


@pytest.mark.parametrize(("actual", "scale"), [(0.0, 1.0), (0.4, 1.0), (-3.0, 1.0), (0.02, 0.005)])
def test_laplace_crps_is_the_integral_that_defines_it(actual: float, scale: float) -> None:
    location = 0.01

    def squared(x: float) -> float:
        return float((laplace.cdf(x, location, scale) - (x >= actual)) ** 2)

    low, high = min(actual, location) - 40 * scale, max(actual, location) + 40 * scale
    integral, _ = quad(squared, low, high, points=[actual, location], limit=200)
    assert laplace_crps(one(actual), one(location), one(scale))[0] == pytest.approx(integral, rel=1e-6)


@pytest.mark.parametrize("actual", [-1.5, 0.0, 0.3])
def test_quantile_crps_converges_to_the_normal_closed_form(actual: float) -> None:
    exact = actual * (2 * norm.cdf(actual) - 1) + 2 * norm.pdf(actual) - 1 / math.sqrt(math.pi)
    errors = []
    for k in (10, 100, 10_000):
        levels = (np.arange(k) + 0.5) / k
        errors.append(abs(quantile_crps(one(actual), norm.ppf(levels)[None], levels)[0] - exact))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4


@pytest.mark.parametrize(("actual", "score"), [(0.05, 0.04), (0.02, 0.04 + 20 * 0.01), (0.10, 0.04 + 20 * 0.03)])
def test_winkler_is_the_width_and_twice_the_miss_over_alpha(actual: float, score: float) -> None:
    assert winkler(one(actual), one(0.03), one(0.07), 0.9)[0] == pytest.approx(score)


def test_winkler_is_two_pinballs_over_alpha() -> None:
    rng = np.random.default_rng(1)
    actual, low = rng.normal(size=(2, 200))
    high = low + rng.uniform(0, 2, 200)
    both = pinball(actual, np.stack([low, high], axis=1), one(0.1, 0.9)).sum(axis=1)
    np.testing.assert_allclose(winkler(actual, low, high, 0.8), 2 / 0.2 * both, atol=1e-12)


@given(volatility=st.floats(MIN_VOLATILITY, 10.0))
def test_qlike_is_zero_for_a_perfect_volatility(volatility: float) -> None:
    assert qlike(one(volatility), one(volatility))[0] == 0.0


def test_qlike_by_hand_and_worse_for_too_little_than_too_much() -> None:
    too_little, too_much = qlike(one(0.2, 0.2), one(0.1, 0.4))
    assert too_little == pytest.approx(4 - math.log(4) - 1)
    assert too_much == pytest.approx(0.25 + math.log(4) - 1)
    assert too_little > too_much > 0


def test_qlike_compares_no_finer_than_a_basis_point() -> None:
    assert qlike(one(0.0), one(MIN_VOLATILITY / 10))[0] == 0.0
    assert np.isfinite(qlike(one(0.0, 1.0), one(1.0, 0.0))).all()


def test_by_strategy_is_the_mean_of_each() -> None:
    rng = np.random.default_rng(2)
    values, strategy = rng.normal(size=100), rng.integers(0, 4, 100)
    expected = [values[strategy == code].mean() for code in range(4)]
    means = by_strategy(values, strategy, 6)
    np.testing.assert_allclose(means[:4], expected)
    assert np.isnan(means[4:]).all()


def test_a_strategy_counts_with_enough_origins_and_an_error_that_is_not_nil() -> None:
    n, least = MIN_ORIGINS, MIN_NAIVE_ERROR
    cases = {0: (n, 1.0), 1: (n - 1, 1.0), 2: (n, 0.99 * least), 3: (n, 1.01 * least), 4: (0, 1.0)}
    strategy = np.concatenate([np.full(count, code) for code, (count, _) in cases.items()])
    naive = np.array([cases[code][1] for code in strategy])
    assert scored_strategies(naive, strategy, 5).tolist() == [True, False, False, True, False]


def test_eligibility_is_the_promised_one() -> None:
    assert (MIN_ORIGINS, MIN_NAIVE_ERROR) == (10, 1e-6)


def test_relative_scores_divide_means_of_the_same_rows() -> None:
    rng = np.random.default_rng(3)
    loss, naive = rng.uniform(0.1, 1.0, (2, 90))
    strategy = rng.integers(0, 3, 90)
    expected = [loss[strategy == c].sum() / naive[strategy == c].sum() for c in range(3)]
    np.testing.assert_allclose(relative_scores(loss, naive, strategy, 3), expected)


def test_relative_scores_of_perfect_unmoved_and_absent_strategies() -> None:
    ratios = relative_scores(one(0.0, 1.0), one(1.0, 0.0), np.array([0, 1]), 3)
    assert 0 < ratios[0] <= 1e-3  # one lucky strategy cannot carry a geometric mean
    assert np.isnan(ratios[1:]).all()


def test_the_geometric_mean_leaves_unknown_ratios_out() -> None:
    assert geometric_mean(one(0.5, np.nan, 2.0, 8.0)) == pytest.approx(2.0)
    assert math.isnan(geometric_mean(one(np.nan)))
    assert math.isnan(geometric_mean(one()))


def test_coverage_is_told_of_strategies_with_enough_outcomes() -> None:
    strategy = np.repeat([0, 1, 2], [MIN_COVERED, MIN_COVERED - 1, 2 * MIN_COVERED])
    inside = np.ones(len(strategy), dtype=bool)
    inside[-MIN_COVERED // 2 :] = False
    covered = coverage_by_strategy(inside, strategy, 4)
    np.testing.assert_array_equal(covered, [1.0, np.nan, 0.75, np.nan])
    assert coverage_gap(covered, 0.9) == pytest.approx((0.1 + 0.15) / 2)
    assert np.isnan(coverage_gap(covered[[1, 3]], 0.9))
