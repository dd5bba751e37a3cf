from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.categories import CATEGORIES, CATEGORY_CODE
from aegis_yield.models.baselines import ewma_volatility
from aegis_yield.models.volatility import EWMA_SHARE, MARGIN, VolatilityDesign, VolatilityMap, fit_volatility_map
from aegis_yield.preprocessing.origins import ModelInputs

N = 20_000
INTERCEPT, SLOPE, HORIZON_SLOPE = -0.4, 0.8, 0.15
DEPARTURE = np.linspace(-0.6, 0.6, len(CATEGORIES))


def design_of(n: int, seed: int = 0) -> VolatilityDesign:
    rng = np.random.default_rng(seed)
    return VolatilityDesign(
        local_scale=np.exp(rng.normal(-6.0, 1.0, n)),
        recent_volatility=np.zeros(n),
        category=rng.integers(0, len(CATEGORIES), n),
        horizon_days=rng.choice([1, 3, 7, 14, 30], n),
    )


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, VolatilityDesign, np.ndarray]:
    rng = np.random.default_rng(1)
    design, log_scale = design_of(N), rng.normal(0.5, 0.7, N)
    log_ratio = INTERCEPT + SLOPE * log_scale + HORIZON_SLOPE * np.log(design.horizon_days)
    log_ratio += DEPARTURE[design.category] + rng.laplace(0.0, 0.3, N)
    return log_scale, design, np.sqrt(365) * design.local_scale * np.exp(log_ratio)


def check(found: VolatilityMap, tolerance: float) -> None:
    assert found.coefficients[1] == pytest.approx(SLOPE, abs=tolerance)
    assert found.coefficients[2] == pytest.approx(HORIZON_SLOPE, abs=tolerance)
    np.testing.assert_allclose(found.coefficients[0] + found.coefficients[3:], INTERCEPT + DEPARTURE, atol=tolerance)


def test_fitting_recovers_what_was_planted(planted: tuple[np.ndarray, VolatilityDesign, np.ndarray]) -> None:
    check(fit_volatility_map(*planted), tolerance=0.05)


def test_jumps_in_a_tenth_of_the_outcomes_do_not_move_it(
    planted: tuple[np.ndarray, VolatilityDesign, np.ndarray],
) -> None:
    log_scale, design, volatility = planted
    jumped = np.where(np.arange(N) % 20 == 0, 100.0 * volatility, volatility)
    still = np.where(np.arange(N) % 20 == 10, 0.0, jumped)
    check(fit_volatility_map(log_scale, design, still), tolerance=0.1)


def test_a_category_without_outcomes_has_no_departure(
    planted: tuple[np.ndarray, VolatilityDesign, np.ndarray],
) -> None:
    log_scale, design, volatility = planted
    seen = design.category != CATEGORY_CODE["rwa"]
    part = VolatilityDesign(*(getattr(design, name)[seen] for name in VolatilityDesign.__dataclass_fields__))
    fitted = fit_volatility_map(log_scale[seen], part, volatility[seen])
    assert fitted.coefficients[3 + CATEGORY_CODE["rwa"]] == pytest.approx(0.0, abs=1e-9)


def test_the_identity_reads_the_spread_as_the_daily_change() -> None:
    design, log_scale = design_of(50), np.linspace(-2, 2, 50)
    expected = MARGIN * np.sqrt(365) * design.local_scale * np.exp(log_scale)
    np.testing.assert_allclose(VolatilityMap.identity().volatility(log_scale, design), expected)


def test_recent_volatility_adds_in_squares() -> None:
    design, log_scale = design_of(50), np.zeros(50)
    recent = np.linspace(0.0, 1.0, 50)
    alone = VolatilityMap.identity().volatility(log_scale, design)
    with_recent = VolatilityDesign(design.local_scale, recent, design.category, design.horizon_days)
    both = VolatilityMap.identity().volatility(log_scale, with_recent)
    np.testing.assert_allclose(both**2 - alone**2, EWMA_SHARE * recent**2, atol=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 999), size=st.floats(0.1, 1e3))
def test_a_volatility_is_positive_and_finite_whatever_the_output(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    mapping = VolatilityMap(rng.normal(0.0, size, 3 + len(CATEGORIES)))
    volatility = mapping.volatility(size * rng.standard_normal(20), design_of(20, seed))
    assert np.isfinite(volatility).all()
    assert (volatility > 0).all()


def test_the_design_is_read_off_the_inputs(inputs: ModelInputs) -> None:
    category = np.arange(len(inputs)) % len(CATEGORIES)
    design = VolatilityDesign.of(inputs, category, 14)
    assert np.array_equal(design.recent_volatility, ewma_volatility(inputs.history))
    assert np.array_equal(design.local_scale, inputs.local_scale)
    assert (design.horizon_days == 14).all()


def test_joined_designs_are_one_after_the_other() -> None:
    first, second = design_of(3, 1), design_of(4, 2)
    joined = VolatilityDesign.joined([first, second])
    log_scale = np.linspace(-1, 1, 7)
    apart = np.concatenate([first.matrix(log_scale[:3]), second.matrix(log_scale[3:])])
    assert np.array_equal(joined.matrix(log_scale), apart)
