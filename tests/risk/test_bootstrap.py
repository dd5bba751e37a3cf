"""The stationary bootstrap: laws of its blocks, against a loop that follows the paper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.errors import RequestError
from aegis_yield.risk.bootstrap import stationary_indices, sums_over


def loop(n_rows: int, shape: tuple[int, int], mean_block: float, rng: np.random.Generator) -> np.ndarray:
    """Politis & Romano, one step after the other, from the same random numbers."""
    new, start = rng.random(shape) < 1 / mean_block, rng.integers(n_rows, size=shape)
    rows = np.empty(shape, dtype=int)
    for path in range(shape[0]):
        for step in range(shape[1]):
            fresh = step == 0 or new[path, step]
            rows[path, step] = start[path, step] if fresh else (rows[path, step - 1] + 1) % n_rows
    return rows


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 30), st.floats(1, 50), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_rows_are_those_of_the_loop(n_rows: int, paths: int, steps: int, mean_block: float, seed: int) -> None:
    ours = stationary_indices(n_rows, (paths, steps), mean_block, np.random.default_rng(seed))
    theirs = loop(n_rows, (paths, steps), mean_block, np.random.default_rng(seed))
    np.testing.assert_array_equal(ours, theirs)


def test_blocks_have_the_expected_length_and_rows_are_used_equally() -> None:
    rows = stationary_indices(365, (4_000, 60), 10.0, np.random.default_rng(1))
    goes_on = (np.diff(rows, axis=1) % 365) == 1
    # A new block starts with probability 1/10, and goes on by chance in one of 365 starts.
    assert goes_on.mean() == pytest.approx(0.9 + 0.1 / 365, abs=0.002)
    counts = np.bincount(rows.ravel(), minlength=365)
    assert counts.min() > 0.7 * counts.mean()
    assert counts.max() < 1.3 * counts.mean()


def test_the_autocorrelation_of_a_series_survives_blocks_and_dies_without() -> None:
    rng = np.random.default_rng(2)
    series = np.empty(3_000)
    series[0] = 0.0
    for t in range(1, len(series)):
        series[t] = 0.8 * series[t - 1] + rng.normal()

    def first_autocorrelation(mean_block: float) -> float:
        drawn = series[stationary_indices(len(series), (2_000, 30), mean_block, np.random.default_rng(3))]
        return float(np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1])

    # The bootstrap keeps (1 - 1/L) of the first autocorrelation (Politis & Romano 1994, section 2).
    assert first_autocorrelation(20.0) == pytest.approx(0.95 * 0.8, abs=0.03)
    assert first_autocorrelation(1.0) == pytest.approx(0.0, abs=0.03)


def test_sums_over_rows_are_those_of_indexing() -> None:
    rng = np.random.default_rng(4)
    rows, values = rng.integers(50, size=(20, 30)), rng.normal(size=(50, 7))
    np.testing.assert_allclose(sums_over(rows, values), values[rows].sum(axis=1), atol=1e-12)


@pytest.mark.parametrize(("n_rows", "mean_block"), [(0, 10.0), (10, 0.5), (10, float("nan"))])
def test_nonsense_is_refused(n_rows: int, mean_block: float) -> None:
    with pytest.raises(RequestError, match="received"):
        stationary_indices(n_rows, (2, 2), mean_block, np.random.default_rng(0))
