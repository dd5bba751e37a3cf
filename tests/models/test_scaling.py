from __future__ import annotations

import numpy as np
import pytest

from aegis_yield.domain.limits import MAX_HORIZON_DAYS
from aegis_yield.models.batches import fit_scaler
from aegis_yield.models.recipes import AnchoredRecipe
from aegis_yield.models.scaling import INPUT_CLIP, FeatureScaler, horizon_channel
from aegis_yield.preprocessing.windows import WindowSet


def test_scaled_training_rows_have_mean_zero_and_deviation_one() -> None:
    rows = np.random.default_rng(0).normal([3.0, -100.0], [0.5, 20.0], (5_000, 2)).astype(np.float32)
    scaled = FeatureScaler.fit(rows).transform(rows)
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(axis=0), 1.0, atol=1e-4)


def test_statistics_do_not_lose_digits_in_single_precision() -> None:
    rows = (1e4 + np.random.default_rng(1).standard_normal((200_000, 1))).astype(np.float32)
    scaler = FeatureScaler.fit(rows)
    assert scaler.mean[0] == pytest.approx(rows.astype(float).mean(), abs=1e-3)
    assert scaler.std[0] == pytest.approx(rows.astype(float).std(), rel=1e-5)


def test_only_training_rows_are_looked_at(toy: WindowSet) -> None:
    chosen = np.arange(50, 120)
    scaler = fit_scaler(toy, chosen, AnchoredRecipe())
    np.testing.assert_allclose(scaler.mean, toy.features[chosen].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(scaler.std, toy.features[chosen].std(axis=0), rtol=1e-5)


def test_a_channel_that_never_moved_in_training_stays_finite() -> None:
    scaler = FeatureScaler.fit(np.full((30, 1), 2.0, dtype=np.float32))
    assert scaler.transform(np.array([[2.0]], dtype=np.float32)) == 0.0
    assert scaler.transform(np.array([[9.0]], dtype=np.float32)) == INPUT_CLIP


def test_the_unheard_of_is_clipped() -> None:
    scaler = FeatureScaler(np.zeros(2, dtype=np.float32), np.ones(2, dtype=np.float32))
    scaled = scaler.transform(np.array([[1e30, -1e30], [1.5, -1.5]], dtype=np.float32))
    assert scaled.tolist() == [[INPUT_CLIP, -INPUT_CLIP], [1.5, -1.5]]


def test_windows_scale_like_their_rows_and_are_left_alone() -> None:
    raw = np.random.default_rng(2).standard_normal((4, 7, 3)).astype(np.float32)
    before = raw.copy()
    scaler = FeatureScaler.fit(raw.reshape(-1, 3))
    scaled = scaler.transform(raw)
    assert scaled.dtype == np.float32
    assert np.array_equal(scaled.reshape(-1, 3), scaler.transform(raw.reshape(-1, 3)))
    assert np.array_equal(raw, before)


def test_scaled_features_of_a_market_are_finite(windows: WindowSet) -> None:
    scaled = fit_scaler(windows, np.arange(200), AnchoredRecipe()).transform(windows.features)
    assert np.isfinite(scaled).all()
    assert np.abs(scaled).max() <= INPUT_CLIP


def test_the_horizon_channel_is_a_shifted_logarithm() -> None:
    horizons = np.arange(1, MAX_HORIZON_DAYS + 1)
    channel = horizon_channel(horizons)
    np.testing.assert_allclose(channel - channel[0], np.log(horizons), atol=1e-6)
    assert channel[6] == horizon_channel(7)
