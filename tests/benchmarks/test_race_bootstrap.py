"""The paired block bootstrap against a loop that draws rows one block at a time, and against its own laws."""

from __future__ import annotations

import numpy as np
import pytest

from aegis_yield.models.scores import MIN_NAIVE_ERROR, geometric_mean, relative_scores
from benchmarks.race.bootstrap import Pairing


def example(seed: int, n: int = 400) -> tuple[Pairing, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    strategy, block = rng.integers(0, 7, n), rng.integers(0, 9, n)
    naive_error = rng.exponential(size=n)
    scored = np.array([True, True, False, True, True, True, True])
    return Pairing(strategy, block, naive_error, scored), rng.exponential(size=n), rng.exponential(size=n)


def by_loop(pairing: Pairing, loss: np.ndarray, other: np.ndarray, n_draws: int, seed: int) -> tuple[float, np.ndarray]:
    """Write every draw out as a list of rows and score it as a table of forecasts would be."""
    n = len(pairing.scored)
    keep = pairing.scored[pairing.strategy]
    blocks = np.unique(pairing.block[keep])
    rng = np.random.default_rng(seed)
    often = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), n_draws)

    def score(rows: np.ndarray) -> float:
        chosen = pairing.strategy[rows]
        ratio = relative_scores(loss[rows], other[rows], chosen, n)
        for code in range(n):
            own = pairing.naive_error[rows][chosen == code]
            if not pairing.scored[code] or not len(own) or own.mean() <= MIN_NAIVE_ERROR:
                ratio[code] = np.nan
        return geometric_mean(ratio)

    draws = []
    for counts in often:
        drawn = [np.flatnonzero(keep & (pairing.block == block)) for block, k in zip(blocks, counts, strict=True)
                 for _ in range(k)]  # fmt: skip
        draws.append(score(np.concatenate(drawn)))
    return score(np.flatnonzero(keep)), np.array(draws)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_agrees_with_a_loop_over_rows(seed: int) -> None:
    pairing, loss, other = example(seed)
    value, draws = by_loop(pairing, loss, other, 60, seed)
    got = pairing.ratio(loss, other, n_draws=60, seed=seed)
    assert got.value == pytest.approx(value, rel=1e-12)
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), rel=1e-12)
    assert (got.n_strategies, got.n_blocks) == (6, 9)


def test_a_strategy_that_stood_still_in_a_draw_does_not_count_in_it() -> None:
    pairing, loss, other = example(5)
    frozen = (pairing.strategy == 0) & (pairing.block > 0)
    error = np.where(frozen, 0.0, pairing.naive_error)
    pairing = Pairing(pairing.strategy, pairing.block, error, pairing.scored)
    loss[frozen], other[frozen] = 1e-9, 1e-14  # a ratio of nothing over nothing, which must not steer the interval
    value, draws = by_loop(pairing, loss, other, 80, 3)
    got = pairing.ratio(loss, other, n_draws=80, seed=3)
    assert (got.value, got.high) == pytest.approx((value, np.quantile(draws, 0.975)), rel=1e-12)
    assert got.high < 3.0


def test_a_method_against_itself_is_one_without_doubt() -> None:
    pairing, loss, _ = example(1)
    got = pairing.ratio(loss, loss)
    assert (got.value, got.low, got.high) == pytest.approx((1.0, 1.0, 1.0))


def test_a_method_half_as_wrong_everywhere_is_a_half_without_doubt() -> None:
    pairing, loss, _ = example(2)
    got = pairing.ratio(loss / 2, loss)
    assert (got.value, got.low, got.high) == pytest.approx((0.5, 0.5, 0.5))


def test_turning_the_pair_around_turns_the_interval_around() -> None:
    pairing, loss, other = example(3)
    there, back = pairing.ratio(loss, other), pairing.ratio(other, loss)
    assert (there.value, there.low, there.high) == pytest.approx(
        (1 / back.value, 1 / back.high, 1 / back.low), rel=0.01
    )


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Losses with a common shock by block: intervals of rows alone would be far too narrow."""
    rng = np.random.default_rng(0)
    strategy, block = np.tile(np.arange(20), 40), np.repeat(np.arange(40), 20)
    hits = []
    for _ in range(150):
        shock = np.exp(0.5 * rng.normal(size=40))[block]
        loss, other = shock * rng.exponential(size=800), rng.exponential(size=800)
        pairing = Pairing(strategy, block, np.ones(800), np.ones(20, dtype=bool))
        got = pairing.ratio(loss, other, n_draws=300)
        hits.append(got.low <= np.exp(0.125) <= got.high)
    assert 0.88 <= np.mean(hits) <= 0.99


def test_nothing_to_compare_gives_nothing() -> None:
    empty = np.empty(0, dtype=int)
    got = Pairing(empty, empty, np.empty(0), np.zeros(3, dtype=bool)).ratio(np.empty(0), np.empty(0))
    assert np.isnan(got.value)
    assert got.n_rows == 0
