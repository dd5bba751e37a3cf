"""Weights that integrate only where a unit is on: against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aegis_yield.models.gated_quadrature import GaussRule, gated_weights


def weights_of(values: np.ndarray, rule: GaussRule) -> np.ndarray:
    """Return the weights of one unit on one line."""
    return gated_weights(rule, values[None, :, None])[0, :, 0]


@pytest.mark.parametrize("n_nodes", [2, 5, 24, 96])
def test_a_unit_that_is_always_on_gets_the_rules_own_weights(n_nodes: int) -> None:
    rule = GaussRule.of(n_nodes)
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    np.testing.assert_allclose(rule.points, (nodes + 1) / 2)
    np.testing.assert_allclose(weights_of(1.0 + rule.points, rule), weights / 2, atol=1e-15)
    np.testing.assert_array_equal(weights_of(-1.0 - rule.points, rule), np.zeros(n_nodes))


@settings(deadline=None, max_examples=50)
@given(places=st.lists(st.floats(0.02, 0.98), min_size=1, max_size=4), rises=st.booleans(), power=st.integers(0, 11))
def test_polynomials_are_integrated_exactly_over_the_parts_that_are_on(
    places: list[float], rises: bool, power: int
) -> None:
    edges = sorted(places)
    assume(
        min(np.diff([0.0, *edges, 1.0])) >= 0.02
    )  # two crossings in one cell of the search grid (here 0.016) are missed
    rule = GaussRule.of(12)
    unit = np.prod(rule.points[:, None] - np.array(edges), axis=1) * (1 if rises else -1)
    # The sign changes at every edge and is that of ``rises`` behind the last one.
    ends = [0.0, *edges, 1.0]
    on = [(len(edges) - piece) % 2 == (0 if rises else 1) for piece in range(len(ends) - 1)]
    pieces = zip(ends[:-1], ends[1:], on, strict=True)
    expected = sum((b ** (power + 1) - a ** (power + 1)) / (power + 1) for a, b, is_on in pieces if is_on)
    assert weights_of(unit, rule) @ rule.points**power == pytest.approx(expected, abs=1e-12)


def test_smooth_functions_are_integrated_to_rounding_over_many_parts() -> None:
    rule = GaussRule.of(48)
    ends = [0.0, *((2 * n + 1) * np.pi / 60 for n in range(10) if (2 * n + 1) * np.pi / 60 < 1), 1.0]
    expected = sum(np.exp(b) - np.exp(a) for a, b in zip(ends[::2], ends[1::2], strict=True))
    found = weights_of(np.cos(30 * rule.points), rule) @ np.exp(rule.points)
    assert found == pytest.approx(expected, abs=1e-12)
    plain = rule.weights @ np.where(np.cos(30 * rule.points) > 0, np.exp(rule.points), 0.0)
    assert abs(plain - expected) > 1e-3  # what the plain rule makes of jumps


def test_every_line_and_unit_is_treated_by_itself() -> None:
    rule, rng = GaussRule.of(16), np.random.default_rng(0)
    places = rng.uniform(0.1, 0.9, (3, 1, 4))
    units = (rule.points[None, :, None] - places) * np.array([1.0, -1.0, 2.0, -0.1])
    found = gated_weights(rule, units)
    assert found.shape == (3, 16, 4)
    for line in range(3):
        for unit in range(4):
            np.testing.assert_allclose(found[line, :, unit], weights_of(units[line, :, unit], rule), atol=1e-14)
    share = np.where(np.array([True, False, True, False]), 1.0 - places[:, 0], places[:, 0])
    np.testing.assert_allclose(found.sum(axis=1), share, atol=1e-13)
