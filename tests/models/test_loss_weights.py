from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aegis_yield.domain.limits import MAX_HORIZON_DAYS
from aegis_yield.models.batches import BatchSource, fit_scaler
from aegis_yield.models.loss_weights import HORIZONS, LEAST_LOSS, LEAST_ROWS, PRIOR_ROWS, LossWeights
from aegis_yield.models.recipes import AnchoredRecipe
from aegis_yield.models.scores import MIN_VOLATILITY
from aegis_yield.models.volatility_recipe import LARGEST_LOG_GAP
from aegis_yield.preprocessing.windows import WindowSet

LAST_DAY = 180


@pytest.fixture(scope="module")
def mixed(toy: WindowSet) -> WindowSet:
    """Two categories; the second strategy jumps once, the third lacks a hundred days, the fourth never moves."""
    apy = toy.apy.copy()
    apy[toy.strategy.size // 4 + 100] += 5.0
    apy[np.flatnonzero(toy.strategy == 3)] = 0.05
    eligible = toy.eligible & ~((toy.strategy == 2) & (toy.day < 130))
    return replace(toy, apy=apy, category=toy.strategy // 2, eligible=eligible)


def rows_and_limits(data: WindowSet) -> tuple[np.ndarray, np.ndarray]:
    rows = data.origins_between(0, LAST_DAY)
    return rows, data.horizon_limit(rows, LAST_DAY)


def losses_of(data: WindowSet, row: int, horizon: int) -> tuple[float, float]:
    """Absolute log error and bounded QLIKE of the local scale, by hand."""
    changes = np.diff(data.apy[row : row + horizon + 1])
    daily = max(float(np.sqrt(np.mean(changes**2))), MIN_VOLATILITY / np.sqrt(365))
    gap = np.log(daily / (data.scale[row] + MIN_VOLATILITY / np.sqrt(365)))
    bound = LARGEST_LOG_GAP
    loss = np.exp(2 * gap) if gap < bound else np.exp(2 * bound) * (1 + 2 * (gap - bound))
    return abs(gap), loss - 2 * gap - 1


def expected(data: WindowSet, strategy: int, horizon: int) -> np.ndarray:
    """One strategy's weights, row by row."""
    rows, limit = rows_and_limits(data)
    told = rows[limit >= horizon]
    found = {row: losses_of(data, row, horizon) for row in told}
    category = data.category[data.strategy == strategy][0]
    prior = np.mean([found[row] for row in told if data.category[row] == category], axis=0)
    own = [found[row] for row in told if data.strategy[row] == strategy]
    mean = (np.sum(own, axis=0) + PRIOR_ROWS * prior) / (len(own) + PRIOR_ROWS)
    alike = 1 / np.maximum(np.bincount(data.strategy[rows]), LEAST_ROWS)
    return np.asarray(alike[strategy] / alike[data.strategy[rows]].mean() / np.maximum(mean, LEAST_LOSS))


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("strategy", range(4))
def test_weights_are_one_over_the_mean_loss_of_the_local_scale(mixed: WindowSet, strategy: int, horizon: int) -> None:
    weights = LossWeights.fit(mixed, *rows_and_limits(mixed))
    found = weights.of(np.array([strategy]), np.array([horizon]))[0]
    np.testing.assert_allclose(found, expected(mixed, strategy, horizon), rtol=1e-9)


def test_other_horizons_take_the_nearest(mixed: WindowSet) -> None:
    weights = LossWeights.fit(mixed, *rows_and_limits(mixed))
    assert weights.table.shape == (4, MAX_HORIZON_DAYS, 2)
    for horizon, nearest in ((2, 3), (4, 3), (6, 7), (10, 14), (21, 30), (29, 30)):
        np.testing.assert_allclose(weights.table[:, horizon - 1], weights.table[:, nearest - 1])


def test_a_strategy_that_jumped_counts_less(mixed: WindowSet) -> None:
    table = LossWeights.fit(mixed, *rows_and_limits(mixed)).table
    assert (table[1, :, 1] < 0.8 * table[0, :, 1]).all()


def test_nothing_after_the_last_day_is_read(mixed: WindowSet) -> None:
    later = replace(mixed, apy=mixed.apy.copy())
    later.apy[np.flatnonzero(mixed.day > LAST_DAY)] += np.linspace(0, 9, int((mixed.day > LAST_DAY).sum()))
    before, after = (LossWeights.fit(data, *rows_and_limits(data)).table for data in (mixed, later))
    assert np.array_equal(before, after)
    later.apy[np.flatnonzero(mixed.day == LAST_DAY)] += 1.0
    assert not np.array_equal(before, LossWeights.fit(later, *rows_and_limits(later)).table)


def test_horizons_without_an_outcome_count_alike(toy: WindowSet) -> None:
    rows = toy.origins_between(0, 40)
    table = LossWeights.fit(toy, rows, np.minimum(toy.horizon_limit(rows, 40), 7)).table
    np.testing.assert_allclose(table[:, 29], 1.0)
    assert np.isfinite(table).all()


def test_batches_carry_the_weights_of_their_rows(mixed: WindowSet) -> None:
    recipe = AnchoredRecipe()
    plain = BatchSource.build(mixed, fit_scaler(mixed, np.arange(100), recipe), recipe)
    weights = LossWeights.fit(mixed, *rows_and_limits(mixed))
    rows, horizons = np.array([50, 250, 700]), np.array([1, 7, 30])
    assert plain.targets(rows, horizons).weight is None
    held = replace(plain, weights=weights).targets(rows, horizons).weight
    assert held is not None
    np.testing.assert_array_equal(held, [weights.table[0, 0], weights.table[1, 6], weights.table[3, 29]])
