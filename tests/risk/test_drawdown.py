from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aegis_yield.domain.errors import RequestError
from aegis_yield.risk.drawdown import (
    compounded_cdar,
    compounded_drawdowns,
    drawdown_probability,
    longest_under_water_days,
    max_drawdown,
    share_under_water,
    simple_returns,
    uncompounded_cdar,
    uncompounded_drawdowns,
)
from aegis_yield.risk.measures import conditional_value_at_risk

NAV = np.array([100.0, 110.0, 99.0, 104.5, 121.0, 60.5, 121.0, 133.1, 119.79])
PATHS = st.integers(2, 12).flatmap(lambda n: arrays(float, n, elements=st.integers(1, 30).map(float)))


def naive_drawdowns(values: np.ndarray) -> list[float]:
    return [1.0 - value / max(values[: day + 1]) for day, value in enumerate(values)]


def naive_uncompounded(values: np.ndarray) -> list[float]:
    total, peak, found = 0.0, 0.0, [0.0]
    for before, after in itertools.pairwise(values):
        total += after / before - 1.0
        peak = max(peak, total)
        found.append(peak - total)
    return found


def naive_longest(values: np.ndarray) -> int:
    longest = spell = 0
    for day, value in enumerate(values):
        spell = spell + 1 if value < max(values[: day + 1]) else 0
        longest = max(longest, spell)
    return longest


@given(PATHS)
def test_all_follow_their_definitions(values: np.ndarray) -> None:
    drawdowns = naive_drawdowns(values)
    np.testing.assert_allclose(compounded_drawdowns(values), drawdowns, atol=1e-15)
    np.testing.assert_allclose(uncompounded_drawdowns(values), naive_uncompounded(values), atol=1e-12)
    assert max_drawdown(values) == max(drawdowns)
    assert longest_under_water_days(values) == naive_longest(values)
    assert share_under_water(values) == pytest.approx(np.mean([d > 0 for d in drawdowns[1:]]))


def test_a_path_by_hand() -> None:
    np.testing.assert_allclose(compounded_drawdowns(NAV), [0, 0, 0.1, 0.05, 0, 0.5, 0, 0, 0.1], atol=1e-15)
    assert max_drawdown(NAV) == 0.5
    assert longest_under_water_days(NAV) == 2.0
    assert share_under_water(NAV) == 0.5
    # The worst quarter of eight days is the two worst: 0.5 and 0.1.
    assert compounded_cdar(NAV, 0.75) == pytest.approx(0.3)
    assert compounded_cdar(NAV, 0.0) == pytest.approx(0.75 / 8)


def test_the_two_kinds_differ_after_a_gain_or_a_second_loss() -> None:
    halved_twice = np.array([1.0, 0.5, 0.25])
    assert compounded_drawdowns(halved_twice)[-1] == 0.75
    assert uncompounded_drawdowns(halved_twice)[-1] == 1.0
    assert compounded_cdar(halved_twice, 0.5) == pytest.approx(0.75)
    assert uncompounded_cdar(halved_twice, 0.5) == pytest.approx(1.0)


@given(PATHS, st.sampled_from([0.0, 0.5, 0.9]))
def test_cdar_of_one_path_is_cvar_of_its_days(values: np.ndarray, level: float) -> None:
    for cdar, drawdowns in [(compounded_cdar, compounded_drawdowns), (uncompounded_cdar, uncompounded_drawdowns)]:
        expected = conditional_value_at_risk(drawdowns(values)[1:], level)
        assert cdar(values, level) == pytest.approx(float(expected), abs=1e-12)


@given(PATHS, st.sampled_from([0.01, 7.0]))
def test_drawdown_lies_between_average_and_worst_and_knows_no_unit(values: np.ndarray, unit: float) -> None:
    levels = [float(compounded_cdar(values, level)) for level in (0.0, 0.5, 0.9, 1 - 1e-6)]
    assert levels == pytest.approx(sorted(levels), abs=1e-9)
    assert levels[-1] == pytest.approx(float(max_drawdown(values)), abs=1e-6)
    assert max_drawdown(unit * values) == pytest.approx(float(max_drawdown(values)), abs=1e-12)


def test_a_path_that_only_accrues_has_no_drawdown() -> None:
    nav = 1.05 ** (np.arange(91) / 365)
    assert max_drawdown(nav) == 0.0
    assert uncompounded_cdar(nav, 0.95) == 0.0
    assert longest_under_water_days(nav) == 0.0
    assert longest_under_water_days(np.ones(5)) == 0.0


def test_a_total_loss_is_a_drawdown_of_one() -> None:
    nav = np.array([1.0, 1.2, 0.0, 0.0])
    assert max_drawdown(nav) == 1.0
    np.testing.assert_allclose(simple_returns(nav), [0.2, -1.0, 0.0])
    np.testing.assert_allclose(uncompounded_drawdowns(nav), [0.0, 0.0, 1.0, 1.0])


def test_paths_weigh_by_their_probability() -> None:
    calm, crash = np.array([1.0, 1.0, 1.0]), np.array([1.0, 0.7, 0.7])
    paths, probability = np.stack([calm, crash]), np.array([0.98, 0.02])
    assert drawdown_probability(paths, 0.1, probability) == pytest.approx(0.02)
    assert drawdown_probability(paths, 0.3, probability) == pytest.approx(0.02)  # 1 - 0.7 is just above 0.3 in binary
    assert drawdown_probability(paths, 0.31, probability) == 0.0
    assert compounded_cdar(paths, 0.95, probability) == pytest.approx(0.02 * 0.3 / 0.05)
    repeated = np.repeat(paths, [49, 1], axis=0)
    assert compounded_cdar(paths, 0.9, probability) == pytest.approx(float(compounded_cdar(repeated, 0.9)))
    assert drawdown_probability(repeated, 0.1) == pytest.approx(0.02)


def test_leading_axes_are_measured_apart() -> None:
    rng = np.random.default_rng(3)
    paths = np.exp(np.cumsum(0.02 * rng.standard_normal((3, 5, 20)), axis=-1))
    probability = rng.dirichlet(np.ones(5))
    for measure in (
        lambda p: compounded_cdar(p, 0.9, probability),
        lambda p: uncompounded_cdar(p, 0.9, probability),
        lambda p: drawdown_probability(p, 0.05, probability),
    ):
        whole = measure(paths)
        assert whole.shape == (3,)
        assert whole == pytest.approx(np.array([float(measure(part)) for part in paths]))
    assert longest_under_water_days(paths).shape == share_under_water(paths).shape == (3, 5)


@pytest.mark.parametrize("bad", [[0.0, 1.0], [-1.0, 1.0], [1.0, -0.1], [1.0, np.nan], [np.inf, 1.0], []])
def test_what_is_no_nav_is_refused(bad: list[float]) -> None:
    for measure in (compounded_drawdowns, uncompounded_drawdowns, max_drawdown, longest_under_water_days):
        with pytest.raises(RequestError, match="nav"):
            measure(np.array(bad))


def test_other_bad_input_is_named() -> None:
    paths = np.ones((3, 4))
    for call, named in [
        (lambda: drawdown_probability(paths, 1.2), "limit: received 1.2"),
        (lambda: drawdown_probability(paths[0], 0.1), "several paths"),
        (lambda: drawdown_probability(paths, 0.1, np.array([0.5, 0.5])), "probability"),
        (lambda: compounded_cdar(paths, 1.0), "level"),
        (lambda: compounded_cdar(paths[:, :1], 0.9), "at least one day"),
        (lambda: share_under_water(np.array([1.0])), "at least one day"),
    ]:
        with pytest.raises(RequestError, match=named):
            call()
