from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.domain.errors import RequestError
from aegis_yield.risk.drawdown import max_drawdown
from aegis_yield.risk.ratios import annualised_return, calmar_ratio, sortino_ratio


@given(st.floats(-0.9, 5.0), st.integers(1, 800), st.floats(0.01, 1e9))
def test_a_steady_apy_is_the_annualised_return(apy: float, n_days: int, start: float) -> None:
    nav = start * (1 + apy) ** (np.arange(n_days + 1) / 365)
    assert annualised_return(nav) == pytest.approx(apy, abs=1e-8, rel=1e-8)


def test_a_year_has_365_days() -> None:
    assert annualised_return(np.linspace(1.0, 1.1, 366)) == pytest.approx(0.1)
    assert annualised_return(np.array([1.0, 1.01])) == pytest.approx(1.01**365 - 1)
    assert annualised_return(np.array([1.0, 0.5, 0.0])) == -1.0


def test_calmar_by_hand() -> None:
    nav = np.ones(366)
    nav[100:200] = 0.8
    nav[-1] = 1.1
    assert calmar_ratio(nav) == pytest.approx(0.1 / 0.2)
    assert calmar_ratio(np.array([1.0, 0.0])) == -1.0


def test_sortino_by_hand() -> None:
    returns = np.array([0.01, -0.02, 0.03, -0.01])
    nav = np.concatenate([[1.0], np.cumprod(1 + returns)])
    downside = np.sqrt(365 * (0.02**2 + 0.01**2) / 4)
    assert sortino_ratio(nav) == pytest.approx(365 * 0.0025 / downside)
    daily = 1.5 ** (1 / 365) - 1
    short = np.minimum(returns - daily, 0.0)
    assert sortino_ratio(nav, 0.5) == pytest.approx(365 * (0.0025 - daily) / np.sqrt(365 * np.mean(short**2)))


def test_without_downside_a_ratio_is_infinite_or_undefined() -> None:
    accruing, still = np.array([1.0, 1.1, 1.2]), np.ones(3)
    for ratio in (calmar_ratio, sortino_ratio):
        assert ratio(accruing) == np.inf
        assert np.isnan(ratio(still))
    falling = np.array([1.0, 0.9, 0.8])
    assert -1.0 <= calmar_ratio(falling) * max_drawdown(falling) < 0
    assert sortino_ratio(falling) < 0


def test_paths_are_measured_apart() -> None:
    nav = np.exp(np.cumsum(0.01 * np.random.default_rng(1).standard_normal((2, 3, 50)), axis=-1))
    for ratio in (annualised_return, calmar_ratio, sortino_ratio):
        whole = ratio(nav)
        assert whole.shape == (2, 3)
        for i, j in np.ndindex(2, 3):
            assert whole[i, j] == pytest.approx(float(ratio(nav[i, j])))


def test_bad_input_is_named() -> None:
    for ratio in (annualised_return, calmar_ratio, sortino_ratio):
        for bad in ([1.0], [1.0, np.nan], [0.0, 1.0], []):
            with pytest.raises(RequestError, match="nav"):
                ratio(np.array(bad))
    with pytest.raises(RequestError, match="target_apy"):
        sortino_ratio(np.ones(4), -1.0)
