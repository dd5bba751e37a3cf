"""What trading costs: gas at the market's last price, shares by chain and category, one's own numbers, broken files."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path

import polars as pl
import pytest
from bundles import market
from changed_tables import AAVE, SUSDE, edited

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.errors import DataError
from aegis_yield.pipelines.costs import load_habits
from aegis_yield.portfolio.problem import TradeCost

DAY = dt.date(2025, 9, 30)
GAS = {"lending": 230_000, "staking": 200_000, "delta_neutral": 350_000, "amm_lp": 450_000}
OWN = '[strategy."ethena-usde:ethereum:susde"]\nexit_days = 7.0'


def prices(gwei: list[float | None], eth_usd: list[float | None]) -> pl.DataFrame:
    days = [DAY + dt.timedelta(days=n) for n in range(len(gwei))]
    types = {"date": pl.Date, "gas_gwei": pl.Float64, "eth_price": pl.Float64}
    return pl.DataFrame({"date": days, "gas_gwei": gwei, "eth_price": eth_usd}, schema=types)


@pytest.mark.parametrize("category", GAS)
def test_gas_costs_units_times_gwei_times_ether(category: str) -> None:
    cost = load_habits(prices([50.0, 4.0], [1000.0, 2500.0])).cost("x", category, "Ethereum")
    assert cost.gas_usd == pytest.approx(GAS[category] * 4.0e-9 * 2500.0)


def test_the_last_day_of_the_market_table_counts() -> None:
    last = market().market.row(-1, named=True)
    expected = last["gas_gwei"] * 1e-9 * last["eth_price"]
    assert load_habits(market().market).usd_per_gas == pytest.approx(expected)


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf, -1.0])
def test_a_day_without_a_price_is_passed_over(unknown: float | None) -> None:
    assert load_habits(prices([3.0, unknown], [2000.0, unknown])).usd_per_gas == pytest.approx(3e-9 * 2000.0)
    assert load_habits(prices([unknown], [unknown])).usd_per_gas == pytest.approx(2e-9 * 3000.0)


def test_without_columns_the_defaults_of_the_file_count(tmp_path: Path) -> None:
    bare = pl.DataFrame({"date": [DAY]})
    assert load_habits(bare).usd_per_gas == pytest.approx(2e-9 * 3000.0)
    path = edited(tmp_path, "allocation.toml", ("default_gwei = 2.0", "default_gwei = 7"))
    assert load_habits(bare, path).usd_per_gas == pytest.approx(7e-9 * 3000.0)
    assert load_habits(prices([1.0], [None]), path).usd_per_gas == pytest.approx(1e-9 * 3000.0)


@pytest.mark.parametrize("chain", ["Base", "arbitrum", "CEX", "Solana"])
def test_other_chains_are_cheaper(chain: str) -> None:
    habits = load_habits(market().market)
    here, there = habits.cost("x", "lending", "ethereum"), habits.cost("x", "lending", chain)
    assert there.gas_usd == pytest.approx(0.02 * here.gas_usd)
    assert (there.entry, there.exit) == (here.entry, here.exit)
    assert habits.cost("x", "lending", "") == habits.cost("x", "lending", "ETHEREUM") == here


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_has_costs(category: str) -> None:
    habits = load_habits(market().market)
    cost = habits.cost("x", category, "Ethereum")
    assert cost.gas_usd > 0.0
    assert 0.0 <= cost.entry == cost.exit < 0.01
    assert 0.0 <= habits.days_to_leave("x", category) <= 30.0


def test_a_strategy_of_ones_own_goes_before_its_category(tmp_path: Path) -> None:
    own = f'{OWN}\n[strategy."{AAVE}"]\ngas = 100_000\nslippage = 0.003\n'
    habits = load_habits(prices([10.0], [1000.0]), edited(tmp_path, "allocation.toml", (OWN, own)))
    assert habits.cost(AAVE, "lending", "Ethereum") == TradeCost(100_000 * habits.usd_per_gas, 0.003, 0.003)
    assert habits.usd_per_gas == pytest.approx(10e-9 * 1000.0)
    assert habits.cost("x", "lending", "Ethereum").gas_usd == pytest.approx(2.3)
    assert (habits.days_to_leave(AAVE, "lending"), habits.days_to_leave("x", "lending")) == (0.0, 0.0)
    assert (habits.days_to_leave(SUSDE, "delta_neutral"), habits.days_to_leave("x", "delta_neutral")) == (7.0, 1.0)


def test_the_environment_names_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = edited(tmp_path, "allocation.toml", ("other_chains = 0.02", "other_chains = 0.5"))
    monkeypatch.setenv("AEGIS_ALLOCATION", str(path))
    assert load_habits(market().market).other_chains == 0.5


BROKEN: dict[str, tuple[str, str, str]] = {
    "no toml": ("[gas]", "[gas", "cannot be read as a TOML file of trading costs"),
    "a category is missing": ("amm_lp = 450_000\n", "", "gas.amm_lp: received None, allowed is a number, at least 0"),
    "text": ("amm_lp = 450_000", 'amm_lp = "much"', "gas.amm_lp: received 'much'"),
    "a truth": ("amm_lp = 450_000", "amm_lp = true", "gas.amm_lp: received True"),
    "negative": ("other_chains = 0.02", "other_chains = -0.02", "gas.other_chains: received -0.02"),
    "nan": ("other_chains = 0.02", "other_chains = nan", "gas.other_chains: received nan"),
    "infinite": ("drop_apy = 0.5", "drop_apy = inf", "funding.drop_apy: received inf"),
    "no funding": ("[funding]", "[fundings]", "funding.open_interest_usd: received None"),
    "no default": ("default_gwei = 2.0\n", "", "gas.default_gwei: received None"),
    "a number for a strategy": (OWN, "[strategy]\nsusde = 3", "strategy.susde: received 3, allowed is a table"),
    "a misspelt word": (
        "exit_days = 7.0",
        "exit_day = 7.0",
        "received 'exit_day', allowed is gas, slippage, exit_days",
    ),
    "slippage in percent": (
        "amm_lp = 0.0010",
        "amm_lp = 1",
        "slippage.amm_lp: received 1, allowed is a number, at least 0 and below 1",
    ),
    "own slippage in percent": ("exit_days = 7.0", "slippage = 5.0", f"strategy.{SUSDE}.slippage: received 5.0"),
    "a negative time": ("exit_days = 7.0", "exit_days = -7.0", f"strategy.{SUSDE}.exit_days: received -7.0"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_is_named_with_its_fault_in_one_line(fault: str, tmp_path: Path) -> None:
    old, new, said = BROKEN[fault]
    path = edited(tmp_path, "allocation.toml", (old, new))
    with pytest.raises(DataError) as refusal:
        load_habits(market().market, path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["gas", "slippage", "exit_days", "funding", "strategy"])
def test_a_number_is_no_table(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(f"{name} = 3\n")
    with pytest.raises(DataError, match=f"own.toml: {name}: received 3, allowed is a table"):
        load_habits(market().market, tmp_path / "own.toml")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.toml: cannot be read as a TOML file"):
        load_habits(market().market, tmp_path / "absent.toml")
