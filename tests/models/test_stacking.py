from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from scipy.special import huber

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.models import stacking as stacking_module
from aegis_yield.models.baselines import EWMA_ALPHA
from aegis_yield.models.stacking import (
    FOLLOW_NETWORK,
    LARGEST_WEIGHT,
    PRIOR_ROWS,
    Stacking,
    candidate_moves,
    fit_stacking,
)
from aegis_yield.preprocessing.origins import ModelInputs

Sample: TypeAlias = tuple[np.ndarray, np.ndarray]
LENDING, VAULT = CATEGORIES.index("lending"), CATEGORIES.index("vault")


def planted(n: int, weights: tuple[float, float], seed: int = 0) -> Sample:
    """Moves of both candidates, and outcomes that follow them this far, up to noise."""
    rng = np.random.default_rng(seed)
    moves = rng.laplace(size=(n, 2))
    return moves, moves @ np.asarray(weights) + 0.3 * rng.laplace(size=n)


def fitted_to(sample: Sample) -> np.ndarray:
    """The weights of a single category with these outcomes, each in units of one."""
    moves, actual = sample
    return fit_stacking(moves, actual, np.ones(len(actual)), np.zeros(len(actual), dtype=int)).weights[0]


def ewma_of(history: np.ndarray) -> float:
    weight = [(1.0 - EWMA_ALPHA) ** age for age in range(len(history))]
    known = [(w, x) for w, x in zip(weight, history[::-1], strict=True) if not np.isnan(x)]
    return sum(w * x for w, x in known) / sum(w for w, _ in known)


@pytest.fixture
def location(inputs: ModelInputs) -> np.ndarray:
    return inputs.last_apy + np.random.default_rng(1).normal(0.0, 0.01, len(inputs))


@pytest.fixture
def category(inputs: ModelInputs) -> np.ndarray:
    return np.arange(len(inputs)) % len(CATEGORIES)


@pytest.mark.parametrize("horizon", [1, 7, 30])
def test_following_the_network_changes_nothing(
    inputs: ModelInputs, location: np.ndarray, category: np.ndarray, horizon: int
) -> None:
    combined = Stacking.follow_network().combine(location, inputs, category, horizon)
    np.testing.assert_allclose(combined, location, rtol=0.0, atol=1e-15)


@pytest.mark.parametrize("horizon", [1, 7, 30])
def test_a_combination_is_that_of_the_rows_own_category(
    inputs: ModelInputs, location: np.ndarray, category: np.ndarray, horizon: int
) -> None:
    weights = np.random.default_rng(2).uniform(0.0, LARGEST_WEIGHT, (len(CATEGORIES), 2))
    expected = []
    for last, network, history, code in zip(inputs.last_apy, location, inputs.history, category, strict=True):
        reverting = np.log(horizon) / np.log(30) * (ewma_of(history) - last)
        expected.append(last + weights[code, 0] * (network - last) + weights[code, 1] * reverting)
    np.testing.assert_allclose(Stacking(weights).combine(location, inputs, category, horizon), expected, atol=1e-14)


def test_tomorrow_the_ewma_has_no_say(inputs: ModelInputs, location: np.ndarray, category: np.ndarray) -> None:
    assert (candidate_moves(location, inputs, 1)[:, 1] == 0.0).all()
    assert (candidate_moves(location, inputs, 2)[:, 1] != 0.0).all()
    all_ewma = Stacking(np.tile([1.0, LARGEST_WEIGHT], (len(CATEGORIES), 1)))
    np.testing.assert_allclose(all_ewma.combine(location, inputs, category, 1), location, atol=1e-15)


def test_big_categories_get_their_own_planted_weights() -> None:
    n, lending, vault = 40_000, (0.5, 0.3), (0.9, 0.6)
    moves, actual = (np.concatenate(pair) for pair in zip(planted(n, lending), planted(n, vault, seed=1), strict=True))
    found = fit_stacking(moves, actual, np.ones(2 * n), np.repeat([LENDING, VAULT], n)).weights
    np.testing.assert_allclose(found[[LENDING, VAULT]], [lending, vault], atol=0.02)
    others = np.delete(found, [LENDING, VAULT], axis=0)
    assert (others == FOLLOW_NETWORK).all()


def test_a_small_category_stays_near_the_network() -> None:
    assert np.abs(fitted_to(planted(20, (0.2, 0.8))) - FOLLOW_NETWORK).max() < 0.05


def test_more_outcomes_lead_further_from_the_network() -> None:
    distance = [np.linalg.norm(fitted_to(planted(n, (0.2, 0.8))) - FOLLOW_NETWORK) for n in (20, 200, 2_000, 20_000)]
    assert distance == sorted(distance)
    assert distance[-1] > 0.9 * np.linalg.norm(np.subtract((0.2, 0.8), FOLLOW_NETWORK))


@pytest.mark.parametrize("wild", [(2.0, -1.0), (-1.0, 2.0)])
def test_weights_are_clipped(wild: tuple[float, float]) -> None:
    assert tuple(fitted_to(planted(20_000, wild))) == tuple(np.clip(wild, 0.0, LARGEST_WEIGHT))


def test_a_few_wild_outcomes_decide_little() -> None:
    moves, actual = planted(20_000, (0.6, 0.4))
    wild = np.where(np.arange(len(actual)) % 100 == 0, 1e6, actual)
    np.testing.assert_allclose(fitted_to((moves, wild)), fitted_to((moves, actual)), atol=0.02)


@pytest.mark.parametrize("unit", [0.0, -1.0, np.nan])
def test_rows_without_a_positive_unit_are_ignored(unit: float) -> None:
    moves, actual = planted(500, (0.6, 0.4))
    junk = np.full((300, 2), 7.0), np.full(300, -99.0)
    both = [np.concatenate(pair) for pair in zip((moves, actual), junk, strict=True)]
    units = np.repeat([1.0, unit], [500, 300])
    assert np.array_equal(fit_stacking(*both, units, np.zeros(800, dtype=int)).weights[0], fitted_to((moves, actual)))
    alone = fit_stacking(*junk, np.full(300, unit), np.zeros(300, dtype=int))
    assert np.array_equal(alone.weights, Stacking.follow_network().weights)


def test_quiet_and_loud_strategies_count_the_same() -> None:
    moves, actual = planted(1_000, (0.6, 0.4))
    factor = np.where(np.arange(1_000) % 2 == 0, 1_000.0, 1.0)  # two strategies, one of them a thousand times louder
    louder = fit_stacking(factor[:, None] * moves, factor * actual, factor, np.zeros(1_000, dtype=int))
    np.testing.assert_allclose(louder.weights[0], fitted_to((moves, actual)), rtol=1e-9)


def test_without_a_prior_the_fit_is_the_linear_programmes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Least absolute deviations: minimise the sum of u + v with y - x w = u - v and u, v not negative."""
    monkeypatch.setattr(stacking_module, "PRIOR_ROWS", 0.0)
    moves, actual = planted(80, (0.6, 0.4))
    cost, identity = np.r_[0.0, 0.0, np.ones(160)], np.eye(80)
    bounds = [(None, None)] * 2 + [(0.0, None)] * 160
    best = linprog(cost, A_eq=np.hstack([moves, identity, -identity]), b_eq=actual, bounds=bounds)
    found = fitted_to((moves, actual))
    np.testing.assert_allclose(found, best.x[:2], atol=0.02)
    assert np.abs(actual - moves @ found).sum() < 1.001 * best.fun


@pytest.mark.parametrize("n", [30, 300, 3_000])
def test_with_the_prior_the_fit_is_a_penalised_minimum(n: int) -> None:
    """The penalty grows with the curvature, so it is read off the solution and must then lead back to it."""
    x, y = planted(n, (0.6, 0.4))
    found, delta = fitted_to((x, y)), stacking_module._SMALLEST_RESIDUAL
    penalty = PRIOR_ROWS * np.mean(x**2 / np.maximum(np.abs(y - x @ found), delta)[:, None])

    def objective(w: np.ndarray) -> float:  # |residual|, rounded off below delta
        return huber(delta, y - x @ w).sum() / delta + penalty / 2 * np.sum((w - FOLLOW_NETWORK) ** 2)

    best = minimize(objective, FOLLOW_NETWORK, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    np.testing.assert_allclose(found, best.x, atol=2e-3)
