from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aegis_yield.monitoring.longrun import N_COSINES, mean_test, student_cdf, student_quantile


@pytest.mark.parametrize("degrees", [2, 4, 6, 10])
@pytest.mark.parametrize("value", [-4.0, -0.3, 0.0, 0.7, 2.132, 9.0])
def test_students_distribution_is_that_of_scipy(value: float, degrees: int) -> None:
    assert student_cdf(value, degrees) == pytest.approx(stats.t.cdf(value, degrees), abs=1e-12)


def test_quantiles_invert_the_distribution() -> None:
    assert student_quantile(0.95, 4) == pytest.approx(stats.t.ppf(0.95, 4), abs=1e-9)
    assert student_quantile(0.05, 4) == pytest.approx(-student_quantile(0.95, 4), abs=1e-9)
    with pytest.raises(ValueError, match="even"):
        student_cdf(0.0, 3)


def test_the_mean_is_the_mean_and_the_bound_lies_below_it() -> None:
    series = np.array([1.0, 2.0, 0.5, 1.5, 1.0, 2.5, 0.0, 1.0])
    found = mean_test(series)
    assert found.mean == pytest.approx(series.mean())
    assert found.lower_bound(0.05) < found.mean < found.lower_bound(0.95)
    assert found.p_above == pytest.approx(1 - stats.t.cdf(found.statistic, N_COSINES), abs=1e-12)
    assert mean_test(-series).p_above == pytest.approx(1 - found.p_above)


def test_shifting_moves_the_mean_and_leaves_the_error() -> None:
    series = np.random.default_rng(1).normal(size=30)
    assert mean_test(series + 3.0).standard_error == pytest.approx(mean_test(series).standard_error)


def test_a_constant_series_is_certain_and_nothing_is_nothing() -> None:
    assert mean_test(np.full(12, 0.5)).p_above == 0.0
    assert mean_test(np.zeros(12)).p_above == 0.5


def test_a_series_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 6"):
        mean_test(np.zeros(5))


@pytest.mark.parametrize(("n", "rho"), [(12, 0.0), (12, 0.5), (26, 0.5), (52, 0.5)])
def test_the_level_is_kept_under_autocorrelation(n: int, rho: float) -> None:
    rng = np.random.default_rng(7)
    noise = rng.standard_t(5, (1500, n + 60))
    series = np.zeros_like(noise)
    for day in range(1, n + 60):
        series[:, day] = rho * series[:, day - 1] + noise[:, day]
    share = np.mean([mean_test(row).p_above < 0.05 for row in series[:, 60:]])
    assert share <= 0.05


def test_a_higher_assumed_autocorrelation_only_makes_it_more_careful() -> None:
    series = np.random.default_rng(2).normal(size=20)
    errors = [mean_test(series, assumed).standard_error for assumed in (0.0, 0.3, 0.6, 0.8)]
    assert errors == sorted(errors)
