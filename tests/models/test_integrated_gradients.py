"""The axioms of integrated gradients, closed forms, and a plain sum of thousands of gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.models.integrated_gradients import N_NODES, RampFunction, integrate_gradients
from aegis_yield.models.torch_runtime import torch

Tensor = torch.Tensor
SEEDS = st.integers(0, 2**32 - 1)


def linear(weights: np.ndarray, bias: float = 0.0) -> RampFunction:
    """``weights · x + bias`` as the difference of two ramps."""

    def units(points: Tensor) -> Tensor:
        value = points.flatten(1) @ torch.from_numpy(weights.ravel())
        return torch.stack([value, -value], dim=1)

    return RampFunction(units, np.array([1.0, -1.0]), bias)


def bent(rng: np.random.Generator, n_inputs: int, n_units: int = 12) -> RampFunction:
    """Random ramps of random smooth functions that cross zero again and again."""
    first, second = rng.normal(size=(n_inputs, 20)), rng.normal(size=(20, n_units))
    shift = rng.normal(size=n_units)

    def units(points: Tensor) -> Tensor:
        hidden = torch.tanh(points.flatten(1) @ torch.from_numpy(first))
        return hidden @ torch.from_numpy(second) + torch.from_numpy(shift)

    return RampFunction(units, rng.normal(size=n_units), float(rng.normal()))


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_a_linear_function_gives_each_input_its_weight_times_its_change(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, start, end = rng.normal(size=(4, 3)), rng.normal(size=(5, 4, 3)), rng.normal(size=(5, 4, 3))
    found = integrate_gradients(linear(weights, 0.7), start, end)
    np.testing.assert_allclose(found.attributions, weights * (end - start), atol=1e-12)
    np.testing.assert_allclose(found.start_value, (start * weights).sum(axis=(1, 2)) + 0.7)


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_a_ramp_counts_for_the_part_of_the_path_on_which_it_is_on(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, end, threshold = rng.normal(size=6), rng.normal(size=6), rng.normal()

    def units(points: Tensor) -> Tensor:
        return (points @ torch.from_numpy(weights))[:, None] - threshold

    found = integrate_gradients(RampFunction(units, np.ones(1), 0.0), np.zeros((1, 6)), end[None])
    alpha = (np.arange(200_000) + 0.5) / 200_000
    share_on = np.mean(alpha * (weights @ end) > threshold)
    np.testing.assert_allclose(found.attributions[0], weights * end * share_on, atol=1e-4)
    assert found.gap[0] == pytest.approx(0.0, abs=1e-9)


def test_inputs_that_act_together_share_what_they_do() -> None:
    def units(points: Tensor) -> Tensor:
        return (points[:, 0] * points[:, 1] + 100.0)[:, None]

    found = integrate_gradients(RampFunction(units, np.ones(1), 0.0), np.zeros((1, 3)), np.array([[2.0, 5.0, 9.0]]))
    np.testing.assert_allclose(found.attributions, [[5.0, 5.0, 0.0]], atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_attributions_add_up_to_the_change(seed: int) -> None:
    rng = np.random.default_rng(seed)
    function, start, end = bent(rng, 6), rng.normal(size=(7, 2, 3)), rng.normal(size=(7, 2, 3))
    found = integrate_gradients(function, start, end)
    change = function(end) - function(start)
    np.testing.assert_allclose(found.end_value - found.start_value, change, atol=1e-12)
    total = found.attributions.sum(axis=(1, 2))
    assert (np.abs(total - change) <= 1e-6 * np.maximum(np.abs(change), 1e-4)).all()
    np.testing.assert_allclose(found.gap, total - change, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_attributions_are_the_mean_gradient_times_the_change(seed: int) -> None:
    rng = np.random.default_rng(seed)
    function, start, end = bent(rng, 5), rng.normal(size=(1, 5)), 2 * rng.normal(size=(1, 5))
    alpha = ((np.arange(50_000) + 0.5) / 50_000)[:, None]
    points = torch.from_numpy(start + alpha * (end - start)).requires_grad_(True)
    value = torch.relu(function.units(points)) @ torch.from_numpy(function.weights)
    (gradient,) = torch.autograd.grad(value.sum(), points)
    expected = gradient.numpy().mean(axis=0) * (end - start)[0]
    found = integrate_gradients(function, start, end).attributions[0]
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_an_input_that_is_ignored_or_did_not_change_gets_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inner, start, end = bent(rng, 4), rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    end[:, 1] = start[:, 1]
    function = RampFunction(lambda points: inner.units(points[:, :4]), inner.weights, inner.bias)
    found = integrate_gradients(function, start, end).attributions
    assert (found[:, [1, 4]] == 0.0).all()
    assert (np.abs(found[:, [0, 2, 3]]) > 0).any()


@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_inputs_that_play_the_same_part_get_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inner, start, end = bent(rng, 4), rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    start[:, 4], end[:, 4] = start[:, 0], end[:, 0]

    def units(points: Tensor) -> Tensor:
        return inner.units(torch.cat([points[:, :1] + points[:, 4:], points[:, 1:4]], dim=1))

    found = integrate_gradients(RampFunction(units, inner.weights, inner.bias), start, end).attributions
    np.testing.assert_allclose(found[:, 0], found[:, 4], atol=1e-12)


def test_pairs_do_not_influence_one_another_and_none_are_no_error() -> None:
    rng = np.random.default_rng(3)
    function, start, end = bent(rng, 6), rng.normal(size=(40, 6)), rng.normal(size=(40, 6))
    together = integrate_gradients(function, start, end)
    alone = integrate_gradients(function, start[17:18], end[17:18])
    np.testing.assert_allclose(together.attributions[17], alone.attributions[0], atol=1e-12)
    assert integrate_gradients(function, start[:0], end[:0]).attributions.shape == (0, 6)


def test_from_a_point_to_itself_nothing_is_attributed() -> None:
    rng = np.random.default_rng(4)
    point = rng.normal(size=(2, 6))
    assert not integrate_gradients(bent(rng, 6), point, point).attributions.any()


def test_a_function_too_sharp_for_the_nodes_is_admitted_in_the_gap() -> None:
    def units(points: Tensor) -> Tensor:
        return 2.0 + torch.tanh(1e5 * (points - 0.31))

    found = integrate_gradients(RampFunction(units, np.ones(1), 0.0), np.zeros((1, 1)), np.ones((1, 1)))
    assert found.n_nodes[0] == N_NODES[-1]
    assert abs(found.gap[0]) > 1e-3
    assert found.gap[0] == pytest.approx(found.attributions.sum() - 2.0)
