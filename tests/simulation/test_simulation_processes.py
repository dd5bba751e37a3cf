from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.simulation.processes import ar1, decaying, hold, log_uniform, sigmoid, trailing_mean
from aegis_yield.simulation.streams import Purpose, Streams
from aegis_yield.simulation.term import days_to_maturity

NOISE = np.random.default_rng(1).standard_normal((3, 50))


def test_jumps_fade_as_in_a_loop() -> None:
    expected = NOISE.copy()
    for day in range(1, 50):
        for row, share in enumerate((0.0, 0.5, 0.9)):
            expected[row, day] += share * expected[row, day - 1]
    np.testing.assert_allclose(decaying(NOISE, np.array([[0.0], [0.5], [0.9]])), expected)


def test_an_autoregression_has_its_steady_variance_from_the_first_day() -> None:
    noise = np.random.default_rng(2).standard_normal((40_000, 4))
    variance = ar1(noise, 0.8).var(axis=0)
    assert variance == pytest.approx([1.0 / (1.0 - 0.64)] * 4, rel=0.05)


@given(window=st.integers(1, 60))
def test_trailing_mean_as_in_a_loop(window: int) -> None:
    expected = [[row[max(0, day - window + 1) : day + 1].mean() for day in range(50)] for row in NOISE]
    np.testing.assert_allclose(trailing_mean(NOISE, window), expected, atol=1e-12)


def test_values_are_held_until_the_next_renewal() -> None:
    values = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    renewed = np.array([[False, False, True, False, True]])
    assert hold(values, renewed).tolist() == [[1.0, 1.0, 3.0, 3.0, 5.0]]


def test_log_uniform_hits_its_ends_and_its_geometric_middle() -> None:
    assert log_uniform(1.0, 100.0, np.array([0.0, 0.5, 1.0])) == pytest.approx([1.0, 10.0, 100.0])


def test_sigmoid_is_safe_far_out() -> None:
    assert sigmoid(np.array([-1e6, 0.0, 1e6])).tolist() == [0.0, 0.5, 1.0]


def test_days_to_maturity_count_down_and_roll() -> None:
    left = days_to_maturity(np.array([[10.0]]), np.array([[0.0]]), 12)
    assert left.tolist() == [[10, 9, 8, 7, 7, 7, 7, 7, 7, 7, 10, 9]]


def test_a_strategy_draws_the_same_numbers_in_any_company() -> None:
    alone = Streams(7, Purpose.MECHANISM, [5])
    together = Streams(7, Purpose.MECHANISM, [2, 5, 9])
    assert np.array_equal(alone.traits(3)[:, 0], together.traits(3)[:, 1])
    assert np.array_equal(alone.normal(20)[0], together.normal(20)[1])
    assert np.array_equal(alone.jumps(20, 0.3)[0], together.jumps(20, 0.3)[1])


def test_purposes_and_seeds_do_not_share_numbers() -> None:
    first = Streams(7, Purpose.MECHANISM, [5]).normal(20)
    assert not np.array_equal(first, Streams(7, Purpose.LIFECYCLE, [5]).normal(20))
    assert not np.array_equal(first, Streams(8, Purpose.MECHANISM, [5]).normal(20))


def test_a_flagship_is_typical_in_every_trait() -> None:
    streams = Streams(7, Purpose.MECHANISM, [0, 1], [True, False])
    traits = streams.traits(4)
    assert (traits[:, 0] == 0.5).all()
    assert (traits[:, 1] != 0.5).all()


def test_heavy_tails_have_unit_variance() -> None:
    drawn = Streams(7, Purpose.MECHANISM, range(50)).heavy(4_000, dof=6.0)
    assert drawn.var() == pytest.approx(1.0, rel=0.05)
    assert np.mean((drawn / drawn.std()) ** 4) > 4.0
