from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.models.recipes import Targets
from aegis_yield.models.scores import MIN_VOLATILITY, qlike
from aegis_yield.models.torch_runtime import torch
from aegis_yield.models.volatility import VolatilityDesign
from aegis_yield.models.volatility_recipe import (
    LARGEST_LOG_GAP,
    RESOLUTION,
    VolatilityRecipe,
    bounded_qlike,
    log_size,
)

N = 400
SCALE = 1e-3


def targets_of_sizes(log_sizes: np.ndarray, weight: np.ndarray | None = None) -> Targets:
    """Outcomes whose daily changes are these powers of e of the local scale."""
    n = len(log_sizes)
    daily = (SCALE + RESOLUTION) * np.exp(log_sizes)
    return Targets(np.zeros(n), np.full(n, SCALE), np.zeros(n), np.sqrt(365) * daily, weight)


def best_constant(log_sizes: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """The two outputs with the least loss, if every window gets the same ones."""
    grid = np.linspace(-3.0, 3.0, 2_401)
    losses = []
    for value in grid:
        outputs = torch.full((len(log_sizes), 2), float(value))
        parts = []
        for column in range(2):
            chosen = np.zeros((len(log_sizes), 2))
            chosen[:, column] = 1.0 if weight is None else weight[:, column]
            parts.append(float(VolatilityRecipe().loss(outputs, targets_of_sizes(log_sizes, chosen))))
        losses.append(parts)
    return np.asarray(grid[np.argmin(losses, axis=0)])


def design(n: int, horizon: int = 7, recent: float = 0.05) -> VolatilityDesign:
    return VolatilityDesign(np.full(n, SCALE), np.full(n, recent), np.zeros(n, dtype=int), np.full(n, horizon))


def test_the_outputs_with_least_loss_are_the_median_and_the_root_mean_square() -> None:
    sizes = np.random.default_rng(0).normal(-0.5, 0.5, N + 1)
    median, mean = best_constant(sizes)
    assert median == pytest.approx(np.median(sizes), abs=0.005)
    assert mean == pytest.approx(np.log(np.mean(np.exp(2 * sizes))) / 2, abs=0.005)


def test_a_weight_counts_as_so_many_rows() -> None:
    sizes = np.random.default_rng(1).normal(0.0, 0.5, 60)
    times = np.random.default_rng(2).integers(1, 5, 60)
    weighted = best_constant(sizes, np.stack([times, times], axis=1).astype(float))
    np.testing.assert_allclose(weighted, best_constant(np.repeat(sizes, times)), atol=0.005)


def test_without_weights_all_rows_count_alike() -> None:
    sizes, outputs = np.linspace(-2, 2, 30), torch.linspace(-1, 1, 60).reshape(30, 2)
    plain = VolatilityRecipe().loss(outputs, targets_of_sizes(sizes))
    assert plain == VolatilityRecipe().loss(outputs, targets_of_sizes(sizes, np.ones((30, 2))))


def test_the_loss_of_the_mean_is_qlike_up_to_the_largest_gap() -> None:
    gap = np.linspace(-5.0, LARGEST_LOG_GAP, 100)
    np.testing.assert_allclose(bounded_qlike(gap), qlike(np.exp(gap), np.ones(100)), rtol=1e-9, atol=1e-9)


def test_beyond_the_largest_gap_it_is_a_straight_line_without_a_kink() -> None:
    step = 1e-5
    beyond = LARGEST_LOG_GAP + step * np.arange(4)
    slope = np.diff(bounded_qlike(beyond)) / step
    np.testing.assert_allclose(slope, 2.0 * np.exp(2.0 * LARGEST_LOG_GAP) - 2.0, rtol=1e-4)
    assert np.isfinite(bounded_qlike(np.array([1e4]))).all()


def test_a_rate_that_stood_still_has_the_size_of_its_resolution() -> None:
    still = log_size(np.array([0.0, MIN_VOLATILITY / 2, MIN_VOLATILITY]), np.zeros(3))
    np.testing.assert_allclose(still, 0.0, atol=1e-12)


def test_outputs_of_zero_without_ewma_say_the_local_scale() -> None:
    served = VolatilityRecipe(ewma_share=0.0).volatility(np.zeros((3, 2)), design(3))
    np.testing.assert_allclose(served, np.sqrt(365) * (SCALE + RESOLUTION))


@pytest.mark.parametrize(("mean_share", "column"), [(0.0, 0), (1.0, 1)])
def test_the_share_decides_which_output_is_served(mean_share: float, column: int) -> None:
    outputs = np.random.default_rng(3).normal(size=(20, 2))
    served = VolatilityRecipe(mean_share, 0.0, 0.0).volatility(outputs, design(20))
    np.testing.assert_allclose(log_size(served, np.full(20, SCALE)), outputs[:, column])


@pytest.mark.parametrize(("horizon", "share"), [(1, 0.6), (7, 0.6 - 0.1 * np.log(7)), (30, 0.6 - 0.1 * np.log(30))])
def test_the_share_falls_with_the_logarithm_of_the_horizon(horizon: int, share: float) -> None:
    outputs = np.tile([0.0, 1.0], (2, 1))
    served = VolatilityRecipe(0.6, 0.1, 0.0).volatility(outputs, design(2, horizon))
    np.testing.assert_allclose(log_size(served, np.full(2, SCALE)), share)


def test_the_share_stays_between_nothing_and_all() -> None:
    outputs = np.tile([0.0, 1.0], (2, 1))
    served = VolatilityRecipe(0.5, 1.0, 0.0).volatility(outputs, design(2, 30))
    np.testing.assert_allclose(log_size(served, np.full(2, SCALE)), 0.0, atol=1e-12)


def test_the_ewma_is_mixed_in_as_a_geometric_mean() -> None:
    outputs, recent = np.random.default_rng(4).normal(size=(10, 2)), 0.7
    alone = VolatilityRecipe(ewma_share=0.0).volatility(outputs, design(10))
    mixed = VolatilityRecipe(ewma_share=0.4).volatility(outputs, design(10, recent=recent))
    np.testing.assert_allclose(mixed, alone**0.6 * recent**0.4)
    only = VolatilityRecipe(ewma_share=1.0).volatility(outputs, design(10, recent=recent))
    np.testing.assert_allclose(only, recent)


@settings(deadline=None)
@given(size=st.floats(0.0, 1e6), horizon=st.integers(1, 30), recent=st.floats(0.0, 1e5))
def test_a_served_volatility_is_positive_and_finite_whatever_the_outputs(
    size: float, horizon: int, recent: float
) -> None:
    outputs = size * np.random.default_rng(5).standard_normal((20, 2))
    served = VolatilityRecipe().volatility(outputs, design(20, horizon, recent))
    assert np.isfinite(served).all()
    assert (served > 0).all()


def test_a_recipe_can_be_made_again_from_its_state() -> None:
    recipe = VolatilityRecipe(0.4, 0.05, 0.2)
    assert VolatilityRecipe(**recipe.to_state()) == recipe
