"""Luck is not counted, risk is."""

from __future__ import annotations

import numpy as np
import pytest
from small_problems import Make, draw_problem

from aegis_yield.portfolio.prudence import tempered


@pytest.mark.parametrize("seed", range(5))
def test_means_come_down_to_the_forecast_and_nothing_below_it_moves(seed: int) -> None:
    scenarios = draw_problem(seed, Make(n=4)).scenarios
    apy = np.array([0.01, 0.05, 0.09, 0.5])
    found = tempered(scenarios, apy)
    drawn_mean, mean = scenarios.probability @ scenarios.apy, scenarios.probability @ found.apy
    np.testing.assert_allclose(mean, np.minimum(drawn_mean, apy), atol=1e-12)
    below = scenarios.apy <= apy
    np.testing.assert_array_equal(found.apy[below], scenarios.apy[below])
    assert (found.apy <= scenarios.apy + 1e-15).all()
    np.testing.assert_array_equal(found.loss, scenarios.loss)


def test_order_within_a_strategy_stays() -> None:
    scenarios = draw_problem(1, Make(n=2)).scenarios
    found = tempered(scenarios, np.array([0.03, 0.03]))
    for column in range(2):
        order = np.argsort(scenarios.apy[:, column])
        assert (np.diff(found.apy[order, column]) >= -1e-15).all()
