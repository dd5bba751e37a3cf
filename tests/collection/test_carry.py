"""The carry trade against its closed form and against a position kept day by day in dollars."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.collection.assemble.carry import carry_days, cost_a_year, margin_share
from aegis_yield.collection.catalogue import Carry

DAY = dt.date(2024, 5, 1)
FREE = Carry("long", "short", leverage=3.0, round_trip_cost_bps=0.0)


def leg(rates: Mapping[int, float]) -> pl.DataFrame:
    """A leg's days, by their number after the first."""
    days = [DAY + dt.timedelta(days=number) for number in rates]
    return pl.DataFrame({"date": days, "apy": list(rates.values())}, schema={"date": pl.Date, "apy": pl.Float64})


def traded(carry: Carry, long: float, short: float) -> dict[str, float]:
    row = carry_days(carry, leg({0: long}), leg({0: short})).row(0, named=True)
    assert row.pop("date") == DAY
    return dict(row)


def compounded(apr: float) -> float:
    return (1 + apr / 365) ** 365 - 1


STAKING, FUNDING = compounded(0.028), 0.1095


def test_the_documented_example_before_costs() -> None:
    # Staking 2.8 % and funding 10.95 % on 1.333 of capital.
    assert traded(FREE, STAKING, FUNDING)["apy"] == pytest.approx((0.028 + 0.1095) / (4 / 3), rel=1e-12)
    assert traded(FREE, STAKING, FUNDING)["apy"] == pytest.approx(0.103, abs=5e-4)


def test_the_documented_example_after_a_round_trip_of_twenty_basis_points_held_thirty_days() -> None:
    carry = replace(FREE, round_trip_cost_bps=20.0, holding_days=30.0)
    cost = cost_a_year(carry) / (1 + margin_share(carry))
    assert cost == pytest.approx(0.018, abs=5e-4)
    assert traded(carry, STAKING, FUNDING)["apy"] == pytest.approx(0.1375 / (4 / 3) - cost, rel=1e-12)
    assert traded(carry, STAKING, FUNDING)["apy"] == pytest.approx(0.085, abs=5e-4)


def test_without_leverage_the_staked_position_is_the_margin_and_capital_is_the_notional() -> None:
    bare = replace(FREE, leverage=0.0)
    assert margin_share(bare) == 0.0
    assert traded(bare, STAKING, FUNDING)["apy"] == pytest.approx(0.1375, rel=1e-12)


@pytest.mark.parametrize(("ratio", "leverage", "margin"), [(1.0, 3.0, 1 / 3), (0.5, 5.0, 0.1), (1.2, 1.0, 1.2)])
def test_the_hedge_ratio_scales_funding_and_margin(ratio: float, leverage: float, margin: float) -> None:
    carry = replace(FREE, hedge_ratio=ratio, leverage=leverage)
    assert margin_share(carry) == pytest.approx(margin)
    row = traded(carry, STAKING, FUNDING)
    assert row["apy_base"] == pytest.approx(0.028 / (1 + margin), rel=1e-12)
    assert row["apy_reward"] == pytest.approx(ratio * FUNDING / (1 + margin), rel=1e-12)


def test_borrowed_margin_costs_its_rate_on_the_margin_alone() -> None:
    borrowed = replace(FREE, margin_borrow_apy=0.06)
    difference = traded(FREE, STAKING, FUNDING)["apy"] - traded(borrowed, STAKING, FUNDING)["apy"]
    assert difference == pytest.approx(0.06 * (1 / 3) / (4 / 3), rel=1e-9)
    assert traded(replace(borrowed, leverage=0.0), STAKING, FUNDING)["apy"] == pytest.approx(0.1375, rel=1e-12)


def test_rebalancing_costs_its_basis_points_a_year_on_the_notional() -> None:
    hedged = replace(FREE, rebalance_cost_bps_a_year=10.0)
    difference = traded(FREE, STAKING, FUNDING)["apy"] - traded(hedged, STAKING, FUNDING)["apy"]
    assert difference == pytest.approx(0.001 / (4 / 3), rel=1e-9)


def test_days_that_either_leg_misses_are_absent() -> None:
    days = carry_days(FREE, leg({5: 0.03, 1: 0.03, 2: 0.03, 9: 0.03}), leg({1: 0.1, 9: -0.2, 4: 0.1, 5: 0.1}))
    assert days["date"].to_list() == [DAY + dt.timedelta(days=number) for number in (1, 5, 9)]
    assert days["apy"].to_list()[2] < 0
    assert carry_days(FREE, leg({}), leg({1: 0.1})).height == 0


def test_a_leg_that_lost_more_than_all_of_itself_still_gives_a_number() -> None:
    # A catalogue may name funding as the long leg; 1 + apy is floored at 1e-6, as the targets floor it.
    row = traded(FREE, -3.0, 0.0)
    assert row["apy"] == pytest.approx(365 * (1e-6 ** (1 / 365) - 1) / (4 / 3), rel=1e-12)


@settings(max_examples=150, deadline=None)
@given(
    long=st.floats(-0.5, 3.0),
    short=st.floats(-5.0, 5.0),
    carry=st.builds(
        Carry,
        long=st.just("long"),
        short=st.just("short"),
        hedge_ratio=st.floats(0, 2),
        leverage=st.one_of(st.just(0.0), st.floats(0.5, 20)),
        round_trip_cost_bps=st.floats(0, 200),
        holding_days=st.floats(1, 400),
        rebalance_cost_bps_a_year=st.floats(0, 300),
        margin_borrow_apy=st.floats(0, 1),
    ),
)
def test_a_day_is_what_a_dollar_position_earned_and_the_shares_add_up(long: float, short: float, carry: Carry) -> None:
    # One million dollars of staked ether, opened in the morning and accounted for in the evening.
    notional = 1_000_000.0
    hedge = carry.hedge_ratio * notional
    margin = hedge / carry.leverage if carry.leverage else 0.0
    staked = notional * ((1 + long) ** (1 / 365) - 1)
    funding = hedge * short / 365
    opening_and_closing = notional * carry.round_trip_cost_bps / 10_000 / carry.holding_days
    hedging = notional * carry.rebalance_cost_bps_a_year / 10_000 / 365
    interest = margin * carry.margin_borrow_apy / 365
    earned = staked + funding - opening_and_closing - hedging - interest
    row = traded(carry, long, short)
    assert row["apy"] == pytest.approx(365 * earned / (notional + margin), rel=1e-9, abs=1e-9)
    on_capital = cost_a_year(carry) / (1 + margin_share(carry))
    assert row["apy"] == pytest.approx(row["apy_base"] + row["apy_reward"] - on_capital, rel=1e-9, abs=1e-9)
    assert row["apy_reward"] == pytest.approx(365 * funding / (notional + margin), rel=1e-9, abs=1e-9)
