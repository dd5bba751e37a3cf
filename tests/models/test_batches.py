from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.limits import DEFAULT_HORIZON_DAYS, MAX_HORIZON_DAYS
from aegis_yield.domain.targets import realised_apy, realised_volatility
from aegis_yield.models.batches import DEFAULT_HORIZON_SHARE, BatchSource, draw_horizons, epoch_batches, fit_scaler
from aegis_yield.models.recipes import AnchoredRecipe
from aegis_yield.models.scaling import horizon_channel
from aegis_yield.preprocessing.features import WINDOW_DAYS
from aegis_yield.preprocessing.windows import WindowSet


@pytest.fixture
def source(toy: WindowSet) -> BatchSource:
    recipe = AnchoredRecipe()
    return BatchSource.build(toy, fit_scaler(toy, np.arange(100), recipe), recipe)


def drawn(rng: np.random.Generator, n: int, limit: int = MAX_HORIZON_DAYS) -> np.ndarray:
    return draw_horizons(rng, np.full(n, limit))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), limit=st.lists(st.integers(1, MAX_HORIZON_DAYS), max_size=200))
def test_a_horizon_is_a_whole_number_within_its_limit(seed: int, limit: list[int]) -> None:
    horizons = draw_horizons(np.random.default_rng(seed), np.array(limit, dtype=np.int64))
    assert horizons.shape == (len(limit),)
    assert ((horizons >= 1) & (horizons <= np.array(limit, dtype=int))).all()


def test_every_horizon_is_drawn() -> None:
    assert set(drawn(np.random.default_rng(0), 20_000)) == set(range(1, MAX_HORIZON_DAYS + 1))


def test_horizons_are_log_uniform_with_more_weight_on_the_default() -> None:
    n = 200_000
    share = np.bincount(drawn(np.random.default_rng(1), n), minlength=MAX_HORIZON_DAYS + 1)[1:] / n
    h = np.arange(1, MAX_HORIZON_DAYS + 1)
    expected = (1 - DEFAULT_HORIZON_SHARE) * np.log((h + 1) / h) / np.log(MAX_HORIZON_DAYS + 1)
    expected[DEFAULT_HORIZON_DAYS - 1] += DEFAULT_HORIZON_SHARE
    np.testing.assert_allclose(share, expected, atol=5 * 0.5 / np.sqrt(n))


@settings(deadline=None)
@given(n=st.integers(1, 300), size=st.integers(1, 400), seed=st.integers(0, 99))
def test_an_epoch_takes_each_row_at_most_once_in_full_batches(n: int, size: int, seed: int) -> None:
    rows = np.arange(1_000, 1_000 + n)
    batches = [r for r, _ in epoch_batches(np.random.default_rng(seed), rows, np.full(n, 30), size)]
    taken = np.concatenate(batches)
    assert {len(batch) for batch in batches} == {min(size, n)}
    assert len(set(taken)) == len(taken) > n - min(size, n)
    assert set(taken) <= set(rows)


def test_each_row_keeps_its_own_limit() -> None:
    rows = np.arange(500)
    limit = 1 + rows % MAX_HORIZON_DAYS
    for chosen, horizons in epoch_batches(np.random.default_rng(2), rows, limit, 64):
        assert (horizons <= limit[chosen]).all()


def test_the_generator_decides_order_and_horizons() -> None:
    def epoch(seed: int) -> list[list[int]]:
        batches = epoch_batches(np.random.default_rng(seed), np.arange(100), np.full(100, 30), 25)
        return [np.stack(batch).tolist() for batch in batches]

    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4)


def test_windows_are_scaled_rows_and_the_horizon(source: BatchSource, toy: WindowSet) -> None:
    rows, horizons = np.array([250, 31, 700]), np.array([7, 1, 30])
    batch = source.windows(rows, horizons).numpy()
    scaled = fit_scaler(toy, np.arange(100), AnchoredRecipe()).transform(toy.features)
    for window, row, horizon in zip(batch, rows, horizons, strict=True):
        assert np.array_equal(window[:, :-1], scaled[row - WINDOW_DAYS + 1 : row + 1])
        assert (window[:, -1] == horizon_channel(horizon)).all()


def test_windows_are_laid_over_the_rows_without_a_copy(source: BatchSource, toy: WindowSet) -> None:
    assert source.view.untyped_storage().nbytes() == toy.features.astype(np.float32).nbytes


def test_targets_are_the_outcomes_of_the_days_after_each_row(source: BatchSource, toy: WindowSet) -> None:
    rows, horizons = np.array([40, 77, 390, 168]), np.array([1, 7, 9, 30])
    targets = source.targets(rows, horizons)
    paid = [realised_apy(toy.apy[r + 1 : r + 1 + h]) for r, h in zip(rows, horizons, strict=True)]
    moved = [realised_volatility(toy.apy[r : r + 1 + h]) for r, h in zip(rows, horizons, strict=True)]
    np.testing.assert_allclose(targets.apy, paid, rtol=1e-12)
    np.testing.assert_allclose(targets.volatility, moved, rtol=1e-12)
    assert np.array_equal(targets.anchor, toy.apy[rows])
    assert np.array_equal(targets.scale, toy.scale[rows])


def test_the_longest_horizons_of_a_market_have_outcomes(windows: WindowSet) -> None:
    rows = np.flatnonzero(windows.eligible & (windows.max_horizon >= 1))
    targets = BatchSource(windows, view=None).targets(rows, windows.max_horizon[rows])
    assert np.isfinite(targets.apy).all()
    assert np.isfinite(targets.volatility).all()
