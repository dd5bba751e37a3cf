from __future__ import annotations

import polars as pl
import pytest

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.preprocessing.contract import validate
from aegis_yield.simulation import MarketSpec, SimulatedMarket, simulate_market

FLAGSHIPS = [
    "aave-v3:ethereum:usdc",
    "lido:ethereum:steth",
    "delta-neutral:binance:eth",
    "ethena-usde:ethereum:susde",
    "compound-v3:ethereum:usdc",
]
COLUMNS = [
    "strategy_id", "date", "apy", "apy_base", "apy_reward", "tvl_usd", "borrow_apy", "utilization",
    "total_supply_usd", "total_borrow_usd", "price", "is_outlier", "source",
]  # fmt: skip


def test_yields_have_the_columns_of_the_contract(market: SimulatedMarket) -> None:
    assert market.yields.columns == COLUMNS
    assert market.yields.schema["date"] == pl.Date
    assert market.yields.schema["apy"] == pl.Float64


@pytest.mark.parametrize("table", ["yields", "strategies", "market"])
def test_every_table_passes_the_data_contract(wide_market: SimulatedMarket, table: str) -> None:
    frame = getattr(wide_market, table)
    assert validate(table, frame).equals(frame)


def test_keys_are_unique_and_sorted(wide_market: SimulatedMarket) -> None:
    keys = wide_market.yields.select("strategy_id", "date")
    assert not keys.is_duplicated().any()
    assert keys.equals(keys.sort("strategy_id", "date"))


def test_every_row_says_that_it_is_simulated(wide_market: SimulatedMarket) -> None:
    assert wide_market.yields["source"].unique().to_list() == ["simulated"]
    assert wide_market.strategies["method"].unique().to_list() == ["simulated"]
    assert wide_market.strategies["sources"].unique().to_list() == ["simulated"]


def test_apy_is_a_finite_number_and_the_sum_of_its_parts(wide_market: SimulatedMarket) -> None:
    rows = wide_market.yields
    assert rows.select("apy", "apy_base", "apy_reward", "price").null_count().sum_horizontal().item() == 0
    assert rows.select(pl.all_horizontal(pl.col(pl.Float64).is_finite().fill_null(value=True)).all()).item()
    assert rows.select(((pl.col("apy_base") + pl.col("apy_reward")) == pl.col("apy")).all()).item()
    assert rows.select(pl.col("apy").min()).item() > -1000


def test_the_book_of_a_pool_adds_up(wide_market: SimulatedMarket) -> None:
    book = wide_market.yields.drop_nulls("total_supply_usd")
    lent_out = book["total_supply_usd"] * book["utilization"]
    assert book["utilization"].is_between(0.0, 1.0).all()
    assert ((book["total_borrow_usd"] - lent_out).abs() <= 1e-9 * lent_out).all()
    assert ((book["tvl_usd"] - (book["total_supply_usd"] - lent_out)).abs() <= 1e-6 * book["total_supply_usd"]).all()


def test_supply_rate_is_borrow_rate_times_utilisation_after_the_reserve(market: SimulatedMarket) -> None:
    lent = market.yields.filter(pl.col("strategy_id") == "aave-v3:ethereum:usdc")
    kept = 1.0 - lent["apy_base"] / (lent["borrow_apy"] * lent["utilization"])
    assert kept.max() == pytest.approx(0.10)
    assert kept.min() == pytest.approx(0.10)


def test_the_flagships_come_first_and_live_throughout(market: SimulatedMarket) -> None:
    assert market.strategies["strategy_id"].head(5).to_list() == FLAGSHIPS
    rows = market.yields.filter(pl.col("strategy_id").is_in(FLAGSHIPS)).group_by("strategy_id").len()
    assert rows["len"].to_list() == [1_200] * 5


def test_three_strategies_are_the_usual_three() -> None:
    made = simulate_market(MarketSpec(n_strategies=3, n_days=120))
    assert made.strategies["strategy_id"].to_list() == FLAGSHIPS[:3]
    assert made.strategies["category"].to_list() == ["lending", "staking", "delta_neutral"]
    assert made.yields.height == 360


def test_every_category_is_there_in_a_default_market(market: SimulatedMarket) -> None:
    assert set(market.strategies["category"]) == set(CATEGORIES)


def test_the_mix_of_a_large_market(wide_market: SimulatedMarket) -> None:
    counts = wide_market.strategies["category"].value_counts()
    share = {row["category"]: row["count"] / 2_000 for row in counts.to_dicts()}
    assert share["lending"] == pytest.approx(0.35, abs=0.01)
    assert share["amm_lp"] == pytest.approx(0.40, abs=0.01)
    assert share["delta_neutral"] == pytest.approx(0.08, abs=0.01)
    assert share["rwa"] == pytest.approx(0.01, abs=0.005)


def test_every_strategy_has_rows(wide_market: SimulatedMarket) -> None:
    assert set(wide_market.yields["strategy_id"]) == set(wide_market.strategies["strategy_id"])
    assert wide_market.strategies["strategy_id"].n_unique() == 2_000


def test_the_market_table_covers_every_day_from_120_days_before(market: SimulatedMarket) -> None:
    days = market.market["date"]
    assert days.equals(pl.date_range(days[0], days[-1], "1d", eager=True).alias("date"))
    assert len(days) == 1_200 + 120


def test_stock_and_policy_rates_exist_on_business_days_only(market: SimulatedMarket) -> None:
    is_weekend = market.market["date"].dt.weekday() > 5
    for name in ("vix", "fed_funds_pct"):
        assert (market.market[name].is_null() == is_weekend).all()
    assert market.market.drop("vix", "fed_funds_pct").null_count().sum_horizontal().item() == 0
