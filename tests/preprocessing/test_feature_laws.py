"""What must hold for every feature: no look-ahead, no leakage between strategies, finite memory, finite values."""

from __future__ import annotations

import dataclasses
import datetime as dt
import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.dataset import Dataset
from aegis_yield.preprocessing.contract import MARKET_NUMBERS
from aegis_yield.preprocessing.features import (
    FEATURE_NAMES,
    LOOKBACK_DAYS,
    FeatureBlock,
    compute_features,
    describe_features,
)
from aegis_yield.preprocessing.features.shared import CROSS_SECTION_FEATURES, MARKET_FEATURES
from aegis_yield.preprocessing.panel import SERIES, Panel, build_panel, to_date

CROSS = [FEATURE_NAMES.index(name) for name in CROSS_SECTION_FEATURES]
MARKET = [FEATURE_NAMES.index(name) for name in MARKET_FEATURES]
ALONE = [channel for channel in range(len(FEATURE_NAMES)) if channel not in CROSS]


def features(dataset: Dataset, start: dt.date | None = None, end: dt.date | None = None) -> FeatureBlock:
    panel = build_panel(dataset, start, end)
    return compute_features(panel, 0, panel.n_days)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=True)


def with_another_future(dataset: Dataset, day: dt.date, rng: np.random.Generator) -> Dataset:
    """Rows after ``day`` get random values in every column, and some of them disappear."""

    def scramble(table: pl.DataFrame) -> pl.DataFrame:
        numeric = [name for name, kind in table.schema.items() if kind.is_numeric()]
        noise = [
            pl.when(pl.col("date") > day)
            .then(pl.Series(rng.normal(0, 50, table.height)))
            .otherwise(pl.col(name))
            .alias(name)
            for name in numeric
        ]
        kept = (pl.col("date") <= day) | pl.Series(rng.random(table.height) < 0.6)
        return table.with_columns(noise).filter(kept)

    return dataclasses.replace(dataset, yields=scramble(dataset.yields), market=scramble(dataset.market))


@settings(max_examples=12, deadline=None)
@given(cut=st.integers(1, 298), seed=st.integers(0, 10**6))
def test_no_feature_depends_on_the_future(rough: Dataset, cut: int, seed: int) -> None:
    day = rough.first_date + dt.timedelta(days=cut)
    other = with_another_future(rough, day, np.random.default_rng(seed))
    born = rough.known_at(day).yields["strategy_id"].unique().sort().to_list()
    before, after = (build_panel(d, rough.first_date, rough.last_date) for d in (rough, other))
    for panel in (before, after):
        assert set(born) <= set(panel.strategy_ids)
    rows = [np.isin(panel.strategy_ids, born) for panel in (before, after)]
    blocks = [compute_features(panel, 0, panel.n_days) for panel in (before, after)]
    values = [block.values[kept, : cut + 1] for block, kept in zip(blocks, rows, strict=True)]
    scales = [block.scale[kept, : cut + 1] for block, kept in zip(blocks, rows, strict=True)]
    assert same(*values)
    assert same(*scales)


@settings(max_examples=6, deadline=None)
@given(cut=st.integers(40, 398), seed=st.integers(0, 10**6))
def test_neither_does_one_of_the_simulated_market(small_market: Dataset, cut: int, seed: int) -> None:
    day = small_market.first_date + dt.timedelta(days=cut)
    other = with_another_future(small_market, day, np.random.default_rng(seed))
    blocks = [features(d.known_at(to_date(10**5)), small_market.first_date, day) for d in (small_market, other)]
    assert same(blocks[0].values, blocks[1].values)
    assert same(features(other.known_at(day)).values, blocks[0].values)


def test_the_scrambled_future_does_change_later_features(rough: Dataset) -> None:
    day = rough.first_date + dt.timedelta(days=200)
    other = with_another_future(rough, day, np.random.default_rng(0))
    before, after = (features(d, rough.first_date, rough.last_date) for d in (rough, other))
    changed = (before.values[:, 201:] != after.values[:, 201:]).any(axis=(0, 1))
    constant = {name for name in FEATURE_NAMES if name.startswith("is_")} | {"age", "outlier"}
    assert {FEATURE_NAMES[channel] for channel in np.flatnonzero(~changed)} <= constant


@pytest.mark.parametrize("kept", [["lend-0", "pool-0"], ["lend-0", "lend-1", "lend-2", "stake-0", "vault-0"]])
def test_other_strategies_change_the_cross_section_only(rough: Dataset, kept: list[str]) -> None:
    few = dataclasses.replace(rough, yields=rough.yields.filter(pl.col("strategy_id").is_in(kept)))
    panel = build_panel(rough)
    rows = np.isin(panel.strategy_ids, kept)
    many = compute_features(panel, 0, panel.n_days)
    alone = features(few, rough.first_date, rough.last_date)
    assert same(many.values[rows][:, :, ALONE], alone.values[:, :, ALONE])
    assert same(many.scale[rows], alone.scale)
    assert not same(many.values[rows][:, :, CROSS], alone.values[:, :, CROSS])


@pytest.mark.parametrize("column", [150, 185, 214, 229, 250, 299])
def test_a_trimmed_table_gives_the_features_of_the_full_one(rough: Dataset, rough_panel: Panel, column: int) -> None:
    day = to_date(rough_panel.first_day + column)
    full = compute_features(rough_panel, 0, rough_panel.n_days)
    trimmed_panel = build_panel(rough, start=day - dt.timedelta(days=LOOKBACK_DAYS), end=day)
    trimmed = compute_features(trimmed_panel, trimmed_panel.n_days - 1, trimmed_panel.n_days)
    rows = np.isin(rough_panel.strategy_ids, trimmed_panel.strategy_ids)
    assert same(trimmed.values[:, 0], full.values[rows, column])
    assert same(trimmed.scale[:, 0], full.scale[rows, column])


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 300), (3, 9), (100, 101), (127, 130), (129, 290), (299, 300)])
def test_a_stretch_of_days_is_a_cut_of_all_days(rough_panel: Panel, start: int, stop: int) -> None:
    full, part = compute_features(rough_panel, 0, 300), compute_features(rough_panel, start, stop)
    assert part.start == start
    assert same(part.values, full.values[:, start:stop])
    assert same(part.scale, full.scale[:, start:stop])


EXTREMES = np.array([np.nan, 0.0, 0.05, -0.05, 1e-300, -1e-9, 2e-6, -1.0, -999.9, 35.0, 1e6, 1e12, 1e100])


def extreme_panel(seed: int, n_days: int = 150) -> Panel:
    rng = np.random.default_rng(seed)
    series = {name: rng.choice(EXTREMES, (6, n_days)) for name in SERIES}
    for name in ("tvl_usd", "utilization", "is_outlier"):
        series[name] = np.abs(series[name])
    market = {name: rng.choice(EXTREMES, n_days) for name in MARKET_NUMBERS}
    return Panel(np.array(list("abcdef")), np.array([0, 0, 0, 3, 3, 3]), 20_000, np.arange(-3, 3), series, market)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_features_are_finite_and_within_ten_whatever_the_values(seed: int) -> None:
    values = compute_features(extreme_panel(seed), 0, 150).values
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert np.abs(values).max() == 10


def test_real_looking_features_are_not_all_at_the_limit(small_market: Dataset) -> None:
    block = features(small_market)
    assert np.isfinite(block.values).all()
    assert np.abs(block.values).max() <= 10
    assert (np.abs(block.values) >= 9.99).mean() < 0.001


@pytest.mark.parametrize("kept", [[], ["apy_reward"], ["tvl_usd", "is_outlier"], ["utilization"], ["borrow_apy"]])
def test_absent_columns_are_neutral_and_masked(rough: Dataset, kept: list[str]) -> None:
    few = dataclasses.replace(rough, yields=rough.yields.select("strategy_id", "date", "apy", *kept))
    block, whole = features(few), features(rough)
    known = {"apy_reward": "reward_known", "tvl_usd": "tvl_known", "utilization": "utilization_known"}
    for column, mask in known.items():
        channel = FEATURE_NAMES.index(mask)
        assert block.values[:, :, channel].any() == (column in kept)
    from_apy = [FEATURE_NAMES.index(name) for name, group, _ in describe_features() if group in ("momentum", "market")]
    assert same(block.values[:, :, from_apy], whole.values[:, :, from_apy])


@pytest.mark.parametrize("kept", [[], ["eth_price"], ["gas_gwei", "vix"]])
def test_absent_market_columns_are_neutral_and_counted(rough: Dataset, kept: list[str]) -> None:
    market = rough.market.select("date", *kept) if kept else rough.market.select("date").clear()
    block, whole = features(dataclasses.replace(rough, market=market)), features(rough)
    others = [channel for channel in range(len(FEATURE_NAMES)) if channel not in MARKET]
    assert same(block.values[:, :, others], whole.values[:, :, others])
    assert block.values[:, :, FEATURE_NAMES.index("market_known")].max() == len(kept) / 8
    assert not block.values[:, :, FEATURE_NAMES.index("btc_return_7")].any()


LATE = {
    "vix": "vix",
    "fed_funds_pct": "fed_funds",
    "defi_tvl_usd": "defi_tvl_change_7",
    "stablecoin_supply_usd": "stablecoin_change_30",
}
PROMPT = {"eth_price": "eth_return_1", "btc_price": "btc_return_7", "gas_gwei": "gas_gwei", "fear_greed": "fear_greed"}


def first_changed_day(dataset: Dataset, column: str, day: dt.date) -> dict[str, dt.date]:
    """The first day on which each feature differs if the market column had another value on ``day``."""
    bumped = pl.when(pl.col("date") == day).then(pl.lit(1.37) * pl.col(column)).otherwise(pl.col(column)).alias(column)
    other = dataclasses.replace(dataset, market=dataset.market.with_columns(bumped))
    differs = (features(dataset).values != features(other).values).any(axis=0)
    days = {name: np.flatnonzero(differs[:, channel]) for channel, name in enumerate(FEATURE_NAMES)}
    return {name: dataset.first_date + dt.timedelta(days=int(found[0])) for name, found in days.items() if len(found)}


@pytest.mark.parametrize(("column", "feature"), [*LATE.items(), *PROMPT.items()])
def test_late_sources_count_from_the_day_after(rough: Dataset, column: str, feature: str) -> None:
    day = dt.date(2024, 9, 25)  # a Wednesday with every column known
    first = first_changed_day(rough, column, day)
    assert first[feature] == min(first.values()) == day + dt.timedelta(days=1 if column in LATE else 0)
    assert set(first) <= set(MARKET_FEATURES)


def test_features_are_described_by_name_in_channel_order() -> None:
    described = describe_features()
    assert [name for name, _, _ in described] == list(FEATURE_NAMES)
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)
    assert all(group and meaning for _, group, meaning in described)
    promised = {
        "apy window",
        "protocol tvl",
        "market",
        "moving averages",
        "momentum",
        "rolling volatility",
        "oscillator",
        "distance",
    }
    assert promised <= {group for _, group, _ in described}


def test_categories_are_one_hot(rough: Dataset, rough_panel: Panel) -> None:
    hot = features(rough).values[:, :, -9:]
    assert (hot.sum(axis=2) == 1).all()
    assert (hot.argmax(axis=2) == rough_panel.categories[:, None]).all()


def test_features_give_no_warning_on_awkward_data(rough: Dataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features(rough)
