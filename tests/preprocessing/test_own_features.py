from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from naive_features import NAIVE, NaiveStrategy, naive_feature

from aegis_yield.domain.dataset import Dataset
from aegis_yield.preprocessing.features import FEATURE_NAMES, FeatureBlock, compute_features
from aegis_yield.preprocessing.features.own import OWN_FEATURES
from aegis_yield.preprocessing.panel import SERIES, Panel, to_day

DAYS_CHECKED = [0, 1, 5, 44, 45, 60, 121, 159, 170, 180, 185, 200, 215, 228, 229, 265, 299]
"""Columns: first days, inside, at the end of and after the long gaps, before births, after deaths."""


@pytest.fixture(scope="module")
def strategies(rough: Dataset) -> dict[str, NaiveStrategy]:
    rows = rough.yields.with_columns(pl.col("is_outlier").cast(pl.Float64)).sort("strategy_id", "date")
    found: dict[str, dict[int, dict[str, float | None]]] = {}
    for row in rows.iter_rows(named=True):
        found.setdefault(row["strategy_id"], {})[to_day(row["date"])] = row
    return {name: NaiveStrategy(own) for name, own in found.items()}


@pytest.fixture(scope="module")
def block(rough_panel: Panel) -> FeatureBlock:
    return compute_features(rough_panel, 0, rough_panel.n_days)


def test_there_is_a_naive_version_of_every_own_feature() -> None:
    assert list(NAIVE) == [feature.name for feature in OWN_FEATURES]


@pytest.mark.parametrize("name", list(NAIVE))
def test_the_feature_is_what_a_plain_loop_gives(
    name: str, rough_panel: Panel, block: FeatureBlock, strategies: dict[str, NaiveStrategy]
) -> None:
    values = block.values[:, :, FEATURE_NAMES.index(name)]
    expected = np.array(
        [
            [naive_feature(name, strategies[s], rough_panel.first_day + d) for d in DAYS_CHECKED]
            for s in rough_panel.strategy_ids
        ]
    )
    assert values[:, DAYS_CHECKED] == pytest.approx(expected, rel=2e-6, abs=2e-6)
    assert np.unique(expected).size > 1  # the case is not empty


def test_the_scale_is_what_a_plain_loop_gives(
    rough_panel: Panel, block: FeatureBlock, strategies: dict[str, NaiveStrategy]
) -> None:
    for row, name in enumerate(rough_panel.strategy_ids):
        for column in range(0, rough_panel.n_days, 3):
            expected = strategies[name].scale(rough_panel.first_day + column)
            expected = math.nan if expected is None else expected
            assert block.scale[row, column] == pytest.approx(expected, rel=1e-9, nan_ok=True)


def of_one(apy: np.ndarray, **others: np.ndarray) -> dict[str, np.ndarray]:
    """Features of a single strategy with this history, by name."""
    series = {name: np.full((1, len(apy)), np.nan) for name in SERIES}
    series |= {"apy": apy[None]} | {name: values[None] for name, values in others.items()}
    panel = Panel(np.array(["a"]), np.array([0]), 20_000, np.array([0]), series, {})
    return dict(zip(FEATURE_NAMES, compute_features(panel, 0, len(apy)).values[0].T, strict=True))


def test_a_constant_rate_is_at_rest() -> None:
    features = of_one(np.full(200, 0.05))
    at_rest = [
        "apy_step",
        "gap_mean_28",
        "gap_ewma_5",
        "momentum_7",
        "zscore_28",
        "rsi",
        "position_28",
        "week_surprise",
    ]
    assert all((np.abs(features[name]) < 1e-6).all() for name in at_rest)
    assert features["zero_share_28"][1:].tolist() == [1.0] * 199
    assert features["apy_level"] == pytest.approx(np.full(200, math.asinh(1.0)), rel=1e-6)
    assert features["log_scale"] == pytest.approx(np.full(200, math.log10(0.002 * 0.05) + 3), rel=1e-6)


def test_a_steady_climb_has_closed_forms() -> None:
    # Every step is s, so the local scale is s (the level is low enough not to floor it).
    s = 0.001
    features = {name: values[-1] for name, values in of_one(s * np.arange(1, 301.0)).items()}
    assert features["apy_step"] == pytest.approx(math.asinh(1), rel=1e-6)
    assert features["momentum_7"] == pytest.approx(math.asinh(7), rel=1e-6)
    assert features["gap_mean_7"] == pytest.approx(math.asinh(3), rel=1e-6)
    assert features["gap_median_7"] == pytest.approx(math.asinh(3), rel=1e-6)
    assert features["gap_min_28"] == pytest.approx(math.asinh(27), rel=1e-6)
    assert features["zscore_28"] == pytest.approx(13.5 / math.sqrt((28**2 - 1) / 12), rel=1e-5)
    assert (features["rsi"], features["position_28"], features["autocorrelation_28"]) == pytest.approx((0.5, 0.5, 1.0))
    assert features["week_surprise"] == pytest.approx(math.asinh(4), rel=1e-6)


def test_a_zigzag_has_closed_forms() -> None:
    features = {name: values[-1] for name, values in of_one(0.05 + 0.001 * (np.arange(300) % 2)).items()}
    assert features["apy_step"] == pytest.approx(math.asinh(1), rel=1e-5)
    assert features["autocorrelation_28"] == pytest.approx(-1.0, rel=1e-5)
    assert features["momentum_28"] == pytest.approx(0.0, abs=1e-6)
    assert features["tail_weight"] == pytest.approx(0.0, abs=1e-6)


def test_scaling_a_rate_leaves_the_shape_features_alone() -> None:
    apy = 0.05 + np.cumsum(np.random.default_rng(0).normal(0, 0.002, 300))
    one, ten = of_one(apy), of_one(10 * apy)
    absolute = {"apy_level", "log_scale"}
    for name in set(FEATURE_NAMES) - absolute:
        assert ten[name] == pytest.approx(one[name], rel=1e-4, abs=1e-5)
    assert ten["log_scale"] == pytest.approx(one["log_scale"] + 1, rel=1e-5)


def test_a_value_is_carried_over_thirty_days_and_no_longer() -> None:
    apy, tvl = np.full(100, 0.05), np.full(100, np.nan)
    tvl[20] = 1e7
    features = of_one(apy, tvl_usd=tvl)
    assert np.flatnonzero(features["tvl_known"]).tolist() == list(range(20, 51))
    assert features["tvl_log"][20:52].tolist() == [1.0] * 31 + [0.0]
