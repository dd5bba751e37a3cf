"""Candidates: each strategy's rate curve, size, liquidity, groups and costs, read from its own table."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from bundles import market
from changed_tables import AAVE, COMPOUND, DELTA, LIDO, POOL, SUSDE, on_tables, scrambled_after, with_values

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import HistoryError
from aegis_yield.pipelines.candidates import Made, Workshop, made_from
from aegis_yield.pipelines.costs import load_habits
from aegis_yield.pipelines.predict import Forecaster, Question, StrategyForecast
from aegis_yield.portfolio.impact import FundingDepth, KinkedCurve, PriceTaker, ProRata
from aegis_yield.risk.events import exposures
from aegis_yield.risk.hazards import load_hazards

LAST = market().last_date
HAZARDS = load_hazards()
LENDING_COLUMNS = ("borrow_apy", "utilization", "total_supply_usd", "total_borrow_usd")
OPTIONAL = (*LENDING_COLUMNS, "apy_base", "apy_reward", "tvl_usd", "price")


def workshop(dataset: Dataset, horizon: int = 30, as_of: dt.date = LAST) -> Workshop:
    habits = load_habits(dataset.known_at(as_of).market)
    return Workshop(dataset, habits, exposures(dataset.strategies, HAZARDS), horizon, as_of)


@pytest.fixture(scope="module")
def rows(forecaster: Forecaster) -> dict[str, StrategyForecast]:
    return {row.strategy_id: row for row in forecaster.ask(Question(None, 30)).rows}


def described(**texts: str | None) -> Dataset:
    """Change the description of Aave's pool."""
    own = pl.col("strategy_id") == AAVE
    changed = [pl.when(own).then(pl.lit(text)).otherwise(pl.col(name)).alias(name) for name, text in texts.items()]
    return replace(market(), strategies=market().strategies.with_columns(changed))


def last_row(strategy: str) -> dict[str, float]:
    return market().yields.filter(pl.col("strategy_id") == strategy).sort("date").row(-1, named=True)


def rate(made: Made, *deposits_usd: float) -> list[float]:
    return [float(value) for value in made.candidate.curve.rate(np.array(deposits_usd))]


@pytest.mark.parametrize("horizon", [1, 7, 30])
def test_every_curve_pays_the_forecast_as_a_simple_rate_before_any_deposit(
    rows: dict[str, StrategyForecast], horizon: int
) -> None:
    made, left_out = made_from(workshop(market(), horizon), list(rows.values()))
    assert left_out == {}
    assert [one.candidate.strategy_id for one in made] == list(rows)
    for one, row in zip(made, rows.values(), strict=True):
        simple = ((1 + row.apy) ** (horizon / 365) - 1) * 365 / horizon
        assert rate(one, 0.0) == pytest.approx([simple], rel=1e-9, abs=1e-12)
        assert (one.candidate.apy, one.candidate.apy_low) == (row.apy, row.low)


@pytest.mark.parametrize("category", ["staking", "savings_rate", "rwa"])
def test_what_is_paid_from_outside_is_not_diluted(rows: dict[str, StrategyForecast], category: str) -> None:
    made = workshop(market()).candidate(replace(rows[LIDO], category=category))
    assert isinstance(made.candidate.curve, PriceTaker)
    assert (made.curve_quality, made.kept_low, made.kept_high) == ("price taker", 1.0, 1.0)
    assert len(set(rate(made, 0.0, 1e6, 1e10))) == 1


@pytest.mark.parametrize(("tvl", "depth"), [(4e8, 1e9), (3e9, 3e9), (None, 1e9)])
def test_funding_falls_with_ones_own_share_of_open_interest(
    rows: dict[str, StrategyForecast], tvl: float | None, depth: float
) -> None:
    made = workshop(with_values(SUSDE, tvl_usd=tvl)).candidate(replace(rows[SUSDE], apy=0.2))
    curve = made.candidate.curve
    assert isinstance(curve, FundingDepth)
    assert (curve.open_interest_usd, curve.capacity_usd) == (depth, 0.05 * depth)
    before, after = rate(made, 0.0, 0.04 * depth)
    assert before - after == pytest.approx(0.5 * 0.04)
    assert made.candidate.tvl_usd == tvl
    assert made.kept_low == made.kept_high == pytest.approx(1 - 0.5 * 0.1 * (tvl or depth) / depth / 0.2)
    assert made.curve_quality == "assumed"


def test_negative_funding_has_nothing_to_keep(rows: dict[str, StrategyForecast]) -> None:
    made = workshop(market()).candidate(replace(rows[DELTA], apy=-0.2))
    assert (made.kept_low, made.kept_high) == (1.0, 1.0)
    assert rate(made, 1e7)[0] < rate(made, 0.0)[0] < 0.0


def kinked_pool(rewards: float = 0.0) -> tuple[Dataset, KinkedCurve]:
    """Let Aave's borrow rate be a kinked line of its utilisation, and say which."""
    rng = np.random.default_rng(0)
    n_rows = market().yields.filter(pl.col("strategy_id") == AAVE).height
    used = np.clip(0.80 + 0.16 * np.sin(np.arange(n_rows) / 9.0) + rng.normal(0, 0.01, n_rows), 0.5, 0.97)
    used[-1] = 0.85
    truth = KinkedCurve(1e8, 0.85e8, 0.01, 0.05, 0.6, 0.88, 0.1)
    paid = truth.borrow_rate(used)
    earned = np.expm1(0.9 * used * paid)
    table = {
        "apy": earned + rewards, "apy_base": earned, "borrow_apy": np.expm1(paid), "utilization": used,
        "total_supply_usd": np.full(n_rows, 1e8), "total_borrow_usd": 1e8 * used, "tvl_usd": 1e8 * (1 - used),
    }  # fmt: skip
    own = market().yields.filter(pl.col("strategy_id") == AAVE).with_columns(pl.Series(k, v) for k, v in table.items())
    others = market().yields.filter(pl.col("strategy_id") != AAVE)
    return replace(market(), yields=pl.concat([own, others]).sort("strategy_id", "date")), truth


@pytest.mark.parametrize("rewards", [0.0, 0.05])
def test_a_kinked_line_is_found_in_the_history_of_borrow_rates(
    rows: dict[str, StrategyForecast], rewards: float
) -> None:
    dataset, truth = kinked_pool(rewards)
    made = workshop(dataset).candidate(rows[AAVE])
    assert made.curve_quality == "fitted"
    deposits = np.array([0.0, 1e6, 5e6, 1e7])
    kept = truth.rate(deposits) / truth.rate(np.zeros(1))
    assert np.array(rate(made, *deposits)) / rate(made, 0.0)[0] == pytest.approx(kept, rel=0.03)
    assert made.kept_low <= made.kept_high < 1.0
    assert made.kept_low - 0.03 <= kept[-1] <= made.kept_high + 0.03


@pytest.mark.parametrize("columns", ["null", "absent"])
def test_without_borrow_rates_dilution_is_assumed(rows: dict[str, StrategyForecast], columns: str) -> None:
    absent = replace(market(), yields=market().yields.drop(LENDING_COLUMNS))
    thin = absent if columns == "absent" else with_values(AAVE, **dict.fromkeys(LENDING_COLUMNS))
    made = workshop(thin).candidate(rows[AAVE])
    assert isinstance(made.candidate.curve, ProRata)
    assert made.curve_quality == "assumed"
    tvl = last_row(AAVE)["tvl_usd"]
    assert rate(made, tvl)[0] == pytest.approx(rate(made, 0.0)[0] / 2)
    assert (made.candidate.tvl_usd, made.candidate.instant_usd) == (tvl, tvl)


def test_a_rate_that_does_not_follow_utilisation_is_assumed(rows: dict[str, StrategyForecast]) -> None:
    dataset = with_values(AAVE, borrow_apy=0.07, apy=0.05, apy_base=0.05, utilization=0.8)
    made = workshop(dataset).candidate(rows[AAVE])
    assert made.curve_quality == "assumed"
    assert made.curve_note != ""
    assert made.kept_low < made.kept_high < 1.0


def test_the_size_of_a_lending_pool_is_its_supply_and_its_liquidity_what_is_not_borrowed(
    rows: dict[str, StrategyForecast],
) -> None:
    candidate = workshop(market()).candidate(rows[AAVE]).candidate
    row = last_row(AAVE)
    assert (candidate.tvl_usd, candidate.instant_usd) == (row["total_supply_usd"], row["tvl_usd"])
    assert row["total_supply_usd"] > row["tvl_usd"]


def test_a_pool_that_is_all_borrowed_pays_nothing_out_at_once(rows: dict[str, StrategyForecast]) -> None:
    idle = pl.when(pl.col("date") == LAST).then(0.0).otherwise(pl.col("tvl_usd"))
    assert workshop(with_values(AAVE, tvl_usd=idle)).candidate(rows[AAVE]).candidate.instant_usd == 0.0
    unknown = workshop(with_values(AAVE, tvl_usd=None)).candidate(rows[AAVE]).candidate
    assert (unknown.tvl_usd, unknown.instant_usd) == (last_row(AAVE)["total_supply_usd"], None)


def test_the_size_of_another_pool_is_its_tvl(rows: dict[str, StrategyForecast]) -> None:
    candidate = workshop(market()).candidate(rows[POOL]).candidate
    assert (candidate.tvl_usd, candidate.instant_usd) == (last_row(POOL)["tvl_usd"], None)
    assert isinstance(candidate.curve, ProRata)


def test_the_last_size_known_counts_for_a_year(rows: dict[str, StrategyForecast]) -> None:
    def known_until(days_ago: int) -> Dataset:
        early = pl.col("date") <= LAST - dt.timedelta(days=days_ago)
        return with_values(POOL, tvl_usd=pl.when(early).then(7e6))

    assert workshop(known_until(300)).candidate(rows[POOL]).candidate.tvl_usd == 7e6
    with pytest.raises(HistoryError, match="size was never known"):
        workshop(known_until(366)).candidate(rows[POOL])


def test_what_has_no_size_is_left_out_with_the_reason(rows: dict[str, StrategyForecast]) -> None:
    made, left_out = made_from(workshop(with_values(POOL, tvl_usd=None)), list(rows.values()))
    assert list(left_out) == [POOL]
    assert "size was never known" in left_out[POOL]
    assert [one.candidate.strategy_id for one in made] == [name for name in rows if name != POOL]


def test_optional_columns_may_all_be_absent(rows: dict[str, StrategyForecast]) -> None:
    bare = replace(market(), yields=market().yields.drop(OPTIONAL))
    made, left_out = made_from(workshop(bare), list(rows.values()))
    undiluted = {name for name, row in rows.items() if row.category in ("staking", "delta_neutral")}
    assert {one.candidate.strategy_id for one in made} == undiluted
    assert set(left_out) == set(rows) - undiluted
    assert {one.candidate.tvl_usd for one in made} == {None}


@pytest.mark.parametrize(
    ("symbol", "issuers"), [("USDC", {"circle"}), ("USDC-USDT", {"circle", "tether"}), ("WETH", set()), (None, set())]
)
def test_issuers_are_read_from_the_symbol(
    rows: dict[str, StrategyForecast], symbol: str | None, issuers: set[str]
) -> None:
    groups = workshop(described(symbol=symbol)).candidate(rows[AAVE]).candidate.groups
    assert set(filter(None, groups.get("issuer", "").split("+"))) == issuers


def test_groups_are_protocol_chain_and_category(rows: dict[str, StrategyForecast]) -> None:
    groups = workshop(market()).candidate(rows[LIDO]).candidate.groups
    assert groups == {"protocol": "lido", "chain": "ethereum", "category": "staking"}
    unknown = workshop(described(project=None, chain=None, symbol=None)).candidate(rows[AAVE]).candidate.groups
    assert unknown == {"protocol": AAVE, "chain": "", "category": "lending"}


def test_costs_and_times_are_those_of_the_habits(rows: dict[str, StrategyForecast]) -> None:
    habits = load_habits(market().market)
    for strategy, chain in ((LIDO, "ethereum"), (POOL, "base"), (SUSDE, "ethereum"), (DELTA, "cex")):
        candidate = workshop(market()).candidate(rows[strategy]).candidate
        category = rows[strategy].category
        assert candidate.cost == habits.cost(strategy, category, chain)
        assert candidate.exit_days == habits.days_to_leave(strategy, category)
    assert habits.cost(DELTA, "delta_neutral", "cex").gas_usd < habits.cost(SUSDE, "delta_neutral", "ethereum").gas_usd


@pytest.mark.parametrize("back", [1, 60, 200])
def test_later_rows_change_no_candidate(forecaster: Forecaster, back: int) -> None:
    day = LAST - dt.timedelta(days=back)
    changed = scrambled_after(day, back)
    question = Question([AAVE, COMPOUND, POOL, LIDO, SUSDE], 30, as_of=day)
    before = [workshop(market(), as_of=day).candidate(row) for row in forecaster.ask(question).rows]
    after = [workshop(changed, as_of=day).candidate(row) for row in on_tables(forecaster, changed).ask(question).rows]
    assert before == after
    whole = workshop(market()).candidate(forecaster.ask(Question([AAVE], 30)).rows[0])
    assert whole.candidate.curve != before[0].candidate.curve
