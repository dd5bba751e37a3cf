from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.domain.targets import DAYS_PER_YEAR, log_growth, realised_apy, realised_volatility

RATES = st.floats(-0.99, 40.0, allow_nan=False)
ANY_RATES = st.floats(-900.0, 5_000.0, allow_nan=False)


def naive_apy(rates: list[float]) -> float:
    growth = 1.0
    for rate in rates:
        growth *= max(1.0 + rate, 1e-6) ** (1 / 365)
    return float(growth ** (365 / len(rates)) - 1.0)


def naive_volatility(rates: list[float]) -> float:
    total = 0.0
    for before, after in itertools.pairwise(rates):
        total += (after - before) ** 2
    return math.sqrt(365 * total / (len(rates) - 1))


@given(st.lists(ANY_RATES, min_size=1, max_size=30))
def test_apy_is_the_compounded_growth_of_the_days(rates: list[float]) -> None:
    expected = naive_apy(rates)
    assert 1 + realised_apy(np.array(rates)) == pytest.approx(1 + expected, rel=1e-9)


@given(st.lists(ANY_RATES, min_size=2, max_size=31))
def test_volatility_is_the_root_mean_square_daily_change_annualised(rates: list[float]) -> None:
    assert realised_volatility(np.array(rates)) == pytest.approx(naive_volatility(rates), rel=1e-9)


@given(RATES, st.integers(1, 30))
def test_a_constant_rate_is_its_own_apy_without_volatility(rate: float, days: int) -> None:
    assert realised_apy(np.full(days, rate)) == pytest.approx(rate, rel=1e-12, abs=1e-14)
    assert realised_volatility(np.full(days + 1, rate)) == 0.0


def test_two_days_give_the_geometric_mean() -> None:
    assert realised_apy(np.array([0.21, 0.0])) == pytest.approx(0.1, rel=1e-14)  # sqrt(1.21) = 1.1


def test_order_does_not_matter_to_apy() -> None:
    rates = np.array([0.02, 3.0, -0.4, 0.07])
    assert realised_apy(rates) == pytest.approx(realised_apy(rates[::-1]), rel=1e-14)


def test_volatility_by_hand() -> None:
    # Changes of +1 and -2 percentage points: mean square 2.5e-4, times 365 = 0.09125.
    assert realised_volatility(np.array([0.05, 0.06, 0.04])) == pytest.approx(math.sqrt(0.09125), rel=1e-12)


@given(st.floats(-0.1, 0.1), st.integers(1, 30))
def test_a_steady_slope_has_root_365_times_its_step(step: float, days: int) -> None:
    rates = 0.05 + step * np.arange(days + 1)
    assert realised_volatility(rates) == pytest.approx(math.sqrt(365) * abs(step), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("rate", [-1.0, -1.5, -400.0])
def test_growth_is_floored_at_a_millionth(rate: float) -> None:
    assert realised_apy(np.array([rate])) == pytest.approx(1e-6 - 1.0, rel=1e-12)
    assert log_growth(np.array([rate])) == pytest.approx([math.log(1e-6)])


def test_the_floor_touches_the_bad_day_only() -> None:
    expected = (1e-6 * 1.05**6) ** (1 / 7) - 1
    assert realised_apy(np.array([0.05] * 3 + [-3.0] + [0.05] * 3)) == pytest.approx(expected, rel=1e-12)


def test_the_floor_does_not_touch_volatility() -> None:
    assert realised_volatility(np.array([0.0, -3.0])) == pytest.approx(math.sqrt(365) * 3.0)


@pytest.mark.parametrize("hole", range(4))
def test_a_missing_day_makes_both_targets_unknown(hole: int) -> None:
    rates = np.array([0.01, 0.02, 0.03, 0.04])
    rates[hole] = np.nan
    assert np.isnan(realised_apy(rates))
    assert np.isnan(realised_volatility(rates))


def test_every_row_of_a_batch_is_its_own() -> None:
    rates = np.random.default_rng(0).normal(0.1, 0.2, (3, 4, 8))
    assert realised_apy(rates).shape == realised_volatility(rates).shape == (3, 4)
    assert realised_apy(rates)[2, 1] == pytest.approx(naive_apy(rates[2, 1].tolist()))
    assert realised_volatility(rates)[2, 1] == pytest.approx(naive_volatility(rates[2, 1].tolist()))


def test_a_year_has_365_days() -> None:
    assert DAYS_PER_YEAR == 365
