from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from aegis_yield.domain.errors import RequestError
from aegis_yield.risk.measures import (
    conditional_value_at_risk,
    cvar_contributions,
    expected_loss,
    loss_probability,
    marginal_cvar,
    tail_weights,
    value_at_risk,
)

LEVELS = st.sampled_from([0.0, 0.05, 0.5, 0.75, 0.9, 0.95, 0.99, 1 - 1e-9])
LOSSES = st.lists(st.integers(-40, 40).map(lambda n: n / 8), min_size=1, max_size=25).map(np.array)


@st.composite
def weighted(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses with ties, how often each is counted (perhaps never), and the probabilities of that."""
    losses = draw(LOSSES)
    counts = draw(arrays(int, len(losses), elements=st.integers(0, 4)).filter(lambda c: c.sum() > 0))
    return losses, counts, counts / counts.sum()


def naive_cvar(losses: np.ndarray, level: float, probability: np.ndarray) -> float:
    """Walk down from the worst loss until 1 - level of probability is used up."""
    left = 1.0 - level
    total = 0.0
    for loss, p in sorted(zip(losses, probability, strict=True), reverse=True):
        taken = min(p, left)
        total += taken * loss
        left -= taken
    return float(total + left * losses[probability > 0].min()) / (1.0 - level)  # what rounding left over


def naive_var(losses: np.ndarray, level: float, probability: np.ndarray) -> float:
    for loss in np.unique(losses[probability > 0]):
        if probability[losses <= loss].sum() >= level - 1e-12:
            return float(loss)
    raise AssertionError("the probabilities do not reach the level")


@given(weighted(), LEVELS)
def test_both_measures_follow_their_definitions(sample: tuple[np.ndarray, ...], level: float) -> None:
    losses, _, probability = sample
    assert value_at_risk(losses, level, probability) == naive_var(losses, level, probability)
    expected = naive_cvar(losses, level, probability)
    # At the highest level the naive walk divides rounding by 1e-9.
    assert conditional_value_at_risk(losses, level, probability) == pytest.approx(expected, abs=1e-6)


@given(weighted(), LEVELS)
def test_weights_are_repetitions(sample: tuple[np.ndarray, ...], level: float) -> None:
    losses, counts, probability = sample
    repeated = np.repeat(losses, counts)
    for measure in (value_at_risk, conditional_value_at_risk):
        assert measure(losses, level, probability) == pytest.approx(measure(repeated, level), abs=1e-6)
    assert expected_loss(losses, probability) == pytest.approx(repeated.mean(), abs=1e-12)
    assert loss_probability(losses, 0.5, probability) == pytest.approx((repeated > 0.5).mean(), abs=1e-12)


@given(weighted(), LEVELS)
def test_the_measures_are_ordered(sample: tuple[np.ndarray, ...], level: float) -> None:
    losses, _, probability = sample
    possible = losses[probability > 0]
    low, high = value_at_risk(losses, level, probability), conditional_value_at_risk(losses, level, probability)
    assert possible.min() <= low <= high <= possible.max() + 1e-9
    assert high >= expected_loss(losses, probability) - 1e-9


@given(weighted(), LEVELS, LEVELS)
def test_a_higher_level_is_never_a_lower_risk(sample: tuple[np.ndarray, ...], one: float, other: float) -> None:
    losses, _, probability = sample
    for measure in (value_at_risk, conditional_value_at_risk):
        below, above = (measure(losses, level, probability) for level in sorted((one, other)))
        assert below <= above + 1e-6


@given(weighted(), LEVELS, st.integers(-9, 9), st.integers(0, 9))
def test_risk_moves_and_scales_with_losses(
    sample: tuple[np.ndarray, ...], level: float, shift: int, scale: int
) -> None:
    losses, _, probability = sample
    for measure in (value_at_risk, conditional_value_at_risk):
        expected = scale * measure(losses, level, probability) + shift
        assert measure(scale * losses + shift, level, probability) == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.9, 0.95]))
def test_cvar_of_a_sum_is_at_most_the_sum_of_cvars(seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    losses, probability = rng.integers(-5, 6, (40, 2)).astype(float), rng.dirichlet(np.full(40, 0.5))
    together = conditional_value_at_risk(losses.sum(axis=1), level, probability)
    assert together <= conditional_value_at_risk(losses, level, probability).sum() + 1e-9


@given(weighted(), LEVELS)
def test_cvar_is_the_minimum_of_rockafellar_and_uryasev(sample: tuple[np.ndarray, ...], level: float) -> None:
    losses, _, probability = sample
    objective = [a + probability @ np.maximum(losses - a, 0.0) / (1 - level) for a in losses[probability > 0]]
    assert conditional_value_at_risk(losses, level, probability) == pytest.approx(min(objective), abs=1e-6)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_a_gaussian_has_its_closed_form(level: float) -> None:
    mean, sd = 0.02, 0.3
    n = 400_000
    losses = -mean - sd * norm.ppf((np.arange(n) + 0.5) / n)  # quantiles at midpoints: no sampling error
    z = norm.ppf(level)
    assert value_at_risk(losses, level) == pytest.approx(z * sd - mean, abs=2e-5)
    assert conditional_value_at_risk(losses, level) == pytest.approx(norm.pdf(z) / (1 - level) * sd - mean, abs=2e-5)


@pytest.mark.parametrize(
    ("level", "var", "cvar"),
    [(0.90, 0.067847, 0.096975), (0.95, 0.090200, 0.115908), (0.99, 0.132128, 0.152977)],
)
def test_the_three_assets_of_rockafellar_and_uryasev(level: float, var: float, cvar: float) -> None:
    mean = np.array([0.0101110, 0.0043532, 0.0137058])
    covariance = np.array(
        [
            [0.00324625, 0.00022983, 0.00420395],
            [0.00022983, 0.00049937, 0.00019247],
            [0.00420395, 0.00019247, 0.00764097],
        ]
    )
    weights = np.array([0.452013, 0.115573, 0.432414])
    n = 400_000
    losses = -mean @ weights + np.sqrt(weights @ covariance @ weights) * norm.ppf((np.arange(n) + 0.5) / n)
    assert value_at_risk(losses, level) == pytest.approx(var, abs=5e-6)
    assert conditional_value_at_risk(losses, level) == pytest.approx(cvar, abs=5e-6)


@pytest.mark.parametrize(
    ("p", "loss", "level", "expected"),
    [
        (0.02, 0.5, 0.95, 0.20),
        (0.02, 0.5, 0.99, 0.50),
        (1 - np.exp(-0.05), 0.3, 0.95, 0.292623),  # 5 % a year as a hazard; simulated as 28.9 % in the reference
    ],
)
def test_a_rare_event_shows_in_cvar_and_not_in_var(p: float, loss: float, level: float, expected: float) -> None:
    losses, probability = np.array([0.0, loss]), np.array([1 - p, p])
    assert conditional_value_at_risk(losses, level, probability) == pytest.approx(expected, abs=1e-6)
    assert value_at_risk(losses, level, probability) == (0.0 if p < 1 - level else loss)
    assert expected_loss(losses, probability) == pytest.approx(p * loss)
    assert loss_probability(losses, probability=probability) == pytest.approx(p)


def test_the_atom_at_the_quantile_is_split() -> None:
    losses, probability = np.array([0.0, 1.0, 4.0]), np.array([0.90, 0.07, 0.03])
    assert conditional_value_at_risk(losses, 0.95, probability) == pytest.approx((0.03 * 4 + 0.02 * 1) / 0.05)
    np.testing.assert_allclose(tail_weights(losses, 0.95, probability), [0.0, 0.4, 0.6])


def test_levels_that_binary_cannot_write_pick_the_intended_scenario() -> None:
    for n in (20, 100, 1000):
        losses = np.arange(1.0, n + 1)
        for level in (0.8, 0.9, 0.95):
            assert value_at_risk(losses, level) == round(level * n)
            assert conditional_value_at_risk(losses, level) == pytest.approx(losses[round(level * n) :].mean())


def test_what_cannot_happen_is_no_quantile() -> None:
    losses, probability = np.array([-7.0, 1.0, 2.0, 9.0]), np.array([0.0, 0.5, 0.5, 0.0])
    assert value_at_risk(losses, 0.0, probability) == 1.0
    assert value_at_risk(losses, 0.999999999999999, probability) == 2.0


def test_a_loss_of_exactly_the_threshold_does_not_count() -> None:
    assert loss_probability(np.array([0.0, 0.01, 0.02, 0.03])) == 0.5


def test_columns_are_measured_apart() -> None:
    rng = np.random.default_rng(2)
    losses, probability = rng.normal(size=(50, 3, 2)), rng.dirichlet(np.ones(50))
    for measure in (
        lambda x: value_at_risk(x, 0.9, probability),
        lambda x: conditional_value_at_risk(x, 0.9, probability),
        lambda x: expected_loss(x, probability),
        lambda x: loss_probability(x, 0.3, probability),
    ):
        whole = measure(losses)
        assert whole.shape == (3, 2)
        for i, j in np.ndindex(3, 2):
            assert whole[i, j] == pytest.approx(float(measure(losses[:, i, j])), rel=1e-12)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.5, 0.9, 0.95]), st.booleans())
def test_contributions_add_up_to_the_portfolio(seed: int, level: float, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    losses = rng.integers(-2, 3, (30, 4)).astype(float) if ties else rng.normal(size=(30, 4))
    positions, probability = rng.normal(size=4), rng.dirichlet(np.full(30, 0.4))
    whole = conditional_value_at_risk(losses @ positions, level, probability)
    parts = cvar_contributions(losses, positions, level, probability)
    assert parts.sum() == pytest.approx(float(whole), abs=1e-9)
    assert tail_weights(losses @ positions, level, probability).sum() == pytest.approx(1.0, abs=1e-12)


def test_marginal_cvar_is_the_slope() -> None:
    rng = np.random.default_rng(8)
    losses, positions = rng.normal(size=(500, 3)), np.array([0.5, 0.2, 0.3])
    probability = rng.dirichlet(np.ones(500))
    step = 1e-7
    for i, slope in enumerate(marginal_cvar(losses, positions, 0.9, probability)):
        up, down = positions.copy(), positions.copy()
        up[i] += step
        down[i] -= step
        rise = [conditional_value_at_risk(losses @ w, 0.9, probability) for w in (up, down)]
        assert slope == pytest.approx(float(rise[0] - rise[1]) / (2 * step), abs=1e-5)


def test_a_hedge_contributes_less_than_nothing() -> None:
    losses = np.array([[1.0, -0.5], [0.0, 0.0], [0.0, 0.0], [0.0, 0.1]])
    parts = cvar_contributions(losses, np.array([1.0, 1.0]), 0.75)
    np.testing.assert_allclose(parts, [1.0, -0.5])


@pytest.mark.parametrize(
    ("losses", "level", "probability", "named"),
    [
        ([0.1, np.nan], 0.9, None, "losses: received nan"),
        ([0.1, np.inf], 0.9, None, "losses: received inf"),
        ([], 0.9, None, "losses: received \\(0,\\)"),
        (0.3, 0.9, None, "losses: received \\(\\)"),
        ([0.1, 0.2], 1.0, None, "level: received 1.0"),
        ([0.1, 0.2], -0.1, None, "level: received -0.1"),
        ([0.1, 0.2], np.nan, None, "level: received nan"),
        ([0.1, 0.2], 95, None, "level: received 95"),
        ([0.1, 0.2], 0.9, [0.5, 0.6], "probability: received 1.1"),
        ([0.1, 0.2], 0.9, [1.5, -0.5], "probability: received 1.0, allowed is numbers, at least 0"),
        ([0.1, 0.2], 0.9, [0.5, np.nan], "probability: received nan"),
        ([0.1, 0.2], 0.9, [1.0], "probability: received \\(1,\\)"),
    ],
)
def test_bad_input_is_named(losses: list[float], level: float, probability: list[float] | None, named: str) -> None:
    given_probability = None if probability is None else np.array(probability)
    for measure in (value_at_risk, conditional_value_at_risk):
        with pytest.raises(RequestError, match=named):
            measure(np.array(losses), level, given_probability)


def test_positions_must_fit_the_losses() -> None:
    with pytest.raises(RequestError, match="positions"):
        marginal_cvar(np.zeros((5, 3)), np.ones(2), 0.9)
    with pytest.raises(RequestError, match="positions"):
        cvar_contributions(np.zeros((5, 2)), np.array([1.0, np.nan]), 0.9)
    with pytest.raises(RequestError, match="one loss a scenario"):
        tail_weights(np.zeros((5, 2)), 0.9)
