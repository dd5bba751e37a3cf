"""The copula: correlations against loops and the truth that made the data, draws against the correlation asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aegis_yield.domain.errors import RequestError
from aegis_yield.risk.copula import check_correlation, fit_correlation, nearest_correlation, sample_ranks

TWO_BLOCKS = np.repeat([0, 1], 10)


def block_correlation(within: tuple[float, float], across: float) -> np.ndarray:
    truth = np.full((20, 20), across)
    truth[:10, :10], truth[10:, 10:] = within
    np.fill_diagonal(truth, 1.0)
    return truth


def pits(truth: np.ndarray, n_rows: int, seed: int, missing: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = stats.norm.cdf(rng.multivariate_normal(np.zeros(len(truth)), truth, size=n_rows))
    found[rng.random(found.shape) < missing] = np.nan
    return found


def sample_correlation(found: np.ndarray, a: int, b: int) -> float:
    both = np.isfinite(found[:, a]) & np.isfinite(found[:, b])
    return float(np.corrcoef(stats.norm.ppf(found[both][:, [a, b]]), rowvar=False)[0, 1])


def test_with_much_data_the_estimate_is_the_pairwise_sample_correlation() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(12, 3))
    truth = factors @ factors.T + np.eye(12)
    truth = truth / np.sqrt(np.outer(np.diag(truth), np.diag(truth)))
    found = pits(truth, 4_000, 1, missing=0.3)
    fitted = fit_correlation(found)
    loop = np.array([[1.0 if a == b else sample_correlation(found, a, b) for b in range(12)] for a in range(12)])
    assert np.abs(fitted - loop).max() < 0.01
    assert np.abs(fitted - truth).max() < 0.07


def test_equal_correlations_are_shrunk_to_their_mean() -> None:
    truth = np.full((15, 15), 0.4) + 0.6 * np.eye(15)
    found = pits(truth, 40, 2)
    fitted = fit_correlation(found)
    sample = np.corrcoef(stats.norm.ppf(found), rowvar=False)
    off = ~np.eye(15, dtype=bool)
    assert np.std(fitted[off]) < 0.35 * np.std(sample[off])
    assert np.abs(fitted - truth)[off].mean() < 0.7 * np.abs(sample - truth)[off].mean()


def test_shrinkage_beats_the_sample_where_overlaps_are_short() -> None:
    truth = block_correlation((0.7, 0.3), 0.1)
    ratios = []
    for seed in range(8):
        found = pits(truth, 30, seed, missing=0.4)
        sample = np.array([[1.0 if a == b else sample_correlation(found, a, b) for b in range(20)] for a in range(20)])
        ratios.append(np.square(fit_correlation(found, TWO_BLOCKS) - truth).sum() / np.square(sample - truth).sum())
    assert max(ratios) < 0.6


def test_a_strategy_without_past_takes_the_correlation_of_its_category() -> None:
    truth = block_correlation((0.8, 0.8), 0.0)
    found = pits(truth, 400, 3)
    found[:, 9] = np.nan
    found[2:, 19] = np.nan  # two outcomes are as good as none
    fitted = fit_correlation(found, TWO_BLOCKS)
    assert np.isfinite(fitted).all()
    np.testing.assert_allclose(fitted[9, :9], 0.8, atol=0.08)
    np.testing.assert_allclose(fitted[9, 10:19], 0.0, atol=0.08)
    np.testing.assert_allclose(fitted[19, 10:19], 0.8, atol=0.08)


def test_a_shorter_overlap_is_shrunk_more() -> None:
    truth = np.full((12, 12), 0.2) + 0.8 * np.eye(12)
    truth[0, 1] = truth[1, 0] = truth[2, 3] = truth[3, 2] = 0.9
    found = pits(truth, 300, 5)
    found[12:, 3] = np.nan
    fitted = fit_correlation(found)
    moved = {pair: abs(fitted[pair] - sample_correlation(found, *pair)) for pair in ((0, 1), (2, 3))}
    assert moved[2, 3] > 3 * moved[0, 1]
    # Outcomes that overlap count for less: the same data, further to the mean.
    assert fit_correlation(found, rows_per_outcome=7.0)[0, 1] < fitted[0, 1]


@pytest.mark.parametrize("found", [np.full((5, 3), np.nan), np.empty((0, 3)), np.full((50, 3), 0.5)])
def test_without_evidence_errors_are_independent(found: np.ndarray) -> None:
    np.testing.assert_allclose(fit_correlation(found), np.eye(3), atol=1e-12)


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(0, 30), st.floats(0, 0.9))
@settings(max_examples=60, deadline=None)
def test_fits_are_correlations_whatever_is_missing(seed: int, n: int, rows: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 3, size=(rows, n)) / 2.0  # zeros and ones among them
    found[rng.random(found.shape) < missing] = np.nan
    fitted = fit_correlation(found, rng.integers(0, 3, size=n))
    check_correlation(fitted, n)
    assert np.linalg.eigvalsh(fitted)[0] > 0
    order = rng.permutation(n)
    groups = np.arange(n) % 2
    expected = fit_correlation(found, groups)[np.ix_(order, order)]
    np.testing.assert_allclose(fit_correlation(found[:, order], groups[order]), expected, atol=1e-7)


def test_the_nearest_correlation_of_a_correlation_is_itself() -> None:
    truth = block_correlation((0.7, 0.3), 0.1)
    np.testing.assert_array_equal(nearest_correlation(truth), truth)


def test_an_impossible_matrix_is_mended() -> None:
    impossible = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    mended = nearest_correlation(impossible)
    check_correlation(mended, 3)
    np.testing.assert_array_equal(np.diag(mended), 1.0)
    # Known for this pattern: clipping -0.8 of eigenvalues (-0.8, 1.9, 1.9) and rescaling leaves ±1/2.
    np.testing.assert_allclose(mended, [[1, 0.5, -0.5], [0.5, 1, 0.5], [-0.5, 0.5, 1]], atol=1e-6)


def test_a_matrix_that_is_not_positive_semidefinite_is_refused_with_its_eigenvalue() -> None:
    with pytest.raises(
        RequestError, match=r"correlation: received 'smallest eigenvalue -0\.8'.*positive semi-definite"
    ):
        check_correlation(np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]]), 3)


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (np.eye(2), "shape"),
        (np.array([[1, np.nan, 0], [np.nan, 1, 0], [0, 0, 1]]), "NaN"),
        (np.array([[1, 0.5, 0], [0.4, 1, 0], [0, 0, 1]]), "symmetric"),
        (2 * np.eye(3), "diagonal"),
    ],
)
def test_what_is_no_correlation_is_refused(matrix: np.ndarray, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        check_correlation(matrix, 3)


@pytest.mark.parametrize("n_scenarios", [1, 2, 7, 500, 1_000])
def test_every_rank_appears_once(n_scenarios: int) -> None:
    ranks = sample_ranks(block_correlation((0.7, 0.3), 0.1), n_scenarios, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(ranks, axis=0), np.tile(np.arange(n_scenarios)[:, None], (1, 20)))


def test_draws_have_the_correlation_asked_for() -> None:
    truth = block_correlation((0.7, 0.3), 0.1)
    ranks = sample_ranks(truth, 1_000, np.random.default_rng(0))
    plain = np.random.default_rng(0).multivariate_normal(np.zeros(20), truth, size=1_000)

    def miss(scores: np.ndarray) -> float:
        return float(np.sqrt(np.square(np.corrcoef(scores, rowvar=False) - truth).mean()))

    assert miss(stats.norm.ppf((ranks + 0.5) / 1_000)) < min(0.006, 0.3 * miss(plain))
    # Spearman's correlation of a Gaussian copula in closed form: 6/pi asin(r/2).
    spearman = np.corrcoef(ranks, rowvar=False)
    np.testing.assert_allclose(spearman, 6 / np.pi * np.arcsin(truth / 2), atol=0.05)


def test_perfect_dependence_gives_equal_and_opposite_ranks() -> None:
    together = np.array([[1.0, 1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
    ranks = sample_ranks(together, 100, np.random.default_rng(0))
    np.testing.assert_array_equal(ranks[:, 0], ranks[:, 1])
    np.testing.assert_array_equal(ranks[:, 0], 99 - ranks[:, 2])


def test_more_strategies_than_scenarios_can_be_drawn() -> None:
    ranks = sample_ranks(np.eye(60), 20, np.random.default_rng(0))
    assert ranks.shape == (20, 60)
    assert np.abs(np.corrcoef(ranks, rowvar=False)[~np.eye(60, dtype=bool)]).mean() < 0.35


def test_half_the_scenarios_mirror_the_other() -> None:
    ranks = sample_ranks(block_correlation((0.7, 0.3), 0.1), 400, np.random.default_rng(6))
    np.testing.assert_array_equal(ranks[:200], 399 - ranks[200:])


def test_a_seed_decides_the_draw() -> None:
    draw = [sample_ranks(np.eye(5), 50, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draw[0], draw[1])
    assert (draw[0] != draw[2]).any()
    with pytest.raises(RequestError, match="n_scenarios"):
        sample_ranks(np.eye(2), 0, np.random.default_rng(0))
