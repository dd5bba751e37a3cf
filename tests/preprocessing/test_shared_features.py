from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.preprocessing.features import FEATURE_NAMES, compute_features
from aegis_yield.preprocessing.features.shared import MARKET_FEATURES, cross_section_features, market_features
from aegis_yield.preprocessing.panel import Panel

N_DAYS = 150
STEADY = {
    "eth_price": 3000 * np.exp(0.01 * np.arange(N_DAYS)),
    "btc_price": 60_000 * np.exp(-0.02 * np.arange(N_DAYS)),
    "gas_gwei": np.full(N_DAYS, 10.0),
    "defi_tvl_usd": 1e11 * np.exp(0.001 * np.arange(N_DAYS)),
    "stablecoin_supply_usd": 1e11 * np.exp(0.002 * np.arange(N_DAYS)),
    "fear_greed": np.full(N_DAYS, 75.0),
    "vix": np.full(N_DAYS, 40.0),
    "fed_funds_pct": np.full(N_DAYS, 5.33),
}


def named(market: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip(MARKET_FEATURES, market_features(market, N_DAYS).T, strict=True))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("eth_return_1", 0.01),
        ("eth_return_7", 0.07),
        ("eth_return_30", 0.30),
        ("eth_volatility_7", 0.0),
        ("eth_volatility_30", math.log(math.sqrt(365) * 0.01 / 0.6)),
        ("btc_return_7", -0.14),
        ("gas_level", 0.0),
        ("gas_gwei", 0.0),
        ("defi_tvl_change_7", 0.007),
        ("defi_tvl_change_30", 0.03),
        ("stablecoin_change_30", 0.06),
        ("fear_greed", 0.25),
        ("vix", math.log(2.0)),
        ("fed_funds", 0.533),
        ("market_known", 1.0),
    ],
)
def test_a_steady_market_has_closed_forms(name: str, expected: float) -> None:
    assert named(STEADY)[name][-1] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_volatility_and_gas_level_against_plain_loops() -> None:
    rng = np.random.default_rng(1)
    eth, gas = 3000 * np.exp(np.cumsum(rng.normal(0, 0.03, N_DAYS))), np.exp(rng.normal(3, 1, N_DAYS))
    features = named({"eth_price": eth, "gas_gwei": gas})
    returns = np.diff(np.log(eth))
    day = 120
    week, month, long = (math.sqrt(365 * np.mean(returns[day - n : day] ** 2)) for n in (7, 30, 60))
    assert features["eth_volatility_7"][day] == pytest.approx(math.log(week / long))
    assert features["eth_volatility_30"][day] == pytest.approx(math.log(month / 0.6))
    logs = [math.log(g) for g in gas[day - 89 : day + 1]]
    assert features["gas_level"][day] == pytest.approx(logs[-1] - sum(logs) / 90)


def test_a_market_value_is_carried_ten_days_and_no_longer() -> None:
    fear = np.full(N_DAYS, np.nan)
    fear[20] = 100.0
    assert np.flatnonzero(named({"fear_greed": fear})["fear_greed"]).tolist() == list(range(20, 31))
    assert np.flatnonzero(named({"vix": fear})["vix"]).tolist() == list(range(21, 32))  # published a day late


@pytest.mark.parametrize("name", [name for name in STEADY if name != "fed_funds_pct"])
@pytest.mark.parametrize("nonsense", [0.0, -5.0])
def test_a_price_of_nothing_is_unknown(name: str, nonsense: float) -> None:
    assert not market_features({name: np.full(N_DAYS, nonsense)}, N_DAYS).any()


def test_interest_may_be_zero() -> None:
    assert named({"fed_funds_pct": np.zeros(N_DAYS)})["market_known"][-1] == 1 / 8


def test_an_unknown_market_is_all_neutral() -> None:
    assert not market_features({}, N_DAYS).any()


def test_the_cross_section_against_a_plain_loop() -> None:
    rng = np.random.default_rng(2)
    z = np.where(rng.random((9, 26)) < 0.5, np.nan, rng.normal(0, 3, (9, 26)))
    categories = np.array([0, 0, 0, 0, 0, 3, 3, 3, 1])
    result = cross_section_features(z, categories, 20)
    for code in range(len(CATEGORIES)):
        for out in range(20):
            week = [today(z[categories == code, out + 6 - age]) for age in range(7)]
            expected = (week[0][0], sum(median for median, _ in week), week[0][1])
            assert result[code, out] == pytest.approx(expected, abs=1e-12)
    assert result.shape == (9, 20, 3)


def today(moves: np.ndarray) -> tuple[float, float]:
    """Median and log activity of those that moved; nothing of fewer than three."""
    known = [float(move) for move in moves if not math.isnan(move)]
    if len(known) < 3:
        return 0.0, 0.0
    return statistics.median(known), math.log(sum(map(abs, known)) / len(known) + 0.1)


def test_the_category_step_is_the_median_step_of_its_strategies(rough_panel: Panel) -> None:
    block = compute_features(rough_panel, 0, rough_panel.n_days)
    lending = rough_panel.categories == CATEGORIES.index("lending")
    step = np.sinh(block.values[lending, :, FEATURE_NAMES.index("apy_step")].astype(float))  # in scales
    reported = block.values[lending, :, FEATURE_NAMES.index("category_step_1")]
    row_yesterday = np.pad(rough_panel.observed[lending], ((0, 0), (1, 0)))[:, :-1]
    all_moved = (rough_panel.observed[lending] & row_yesterday).all(axis=0) & (np.abs(step) < 10).all(axis=0)
    assert all_moved.sum() > 10
    assert reported[:, all_moved] == pytest.approx(np.tile(np.median(step[:, all_moved], axis=0), (4, 1)), rel=1e-4)


def test_the_market_is_the_same_for_every_strategy(rough_panel: Panel) -> None:
    values = compute_features(rough_panel, 100, 110).values
    channels = [FEATURE_NAMES.index(name) for name in MARKET_FEATURES]
    assert (values[:, :, channels] == values[:1, :, channels]).all()
