from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.simulation import SimulatedMarket
from aegis_yield.simulation.outliers import outlier_rule


def flags(apy: list[float]) -> list[bool]:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=day) for day in range(len(apy))]
    table = pl.DataFrame(
        {"strategy_id": ["a"] * len(apy), "date": days, "apy": apy}, schema_overrides={"apy": pl.Float64}
    )
    return table.select(outlier_rule())["is_outlier"].to_list()


def by_hand(apy: list[float]) -> list[bool]:
    found = []
    for row, value in enumerate(apy):
        past = apy[:row]
        moves = np.abs(np.diff(past))[-30:]
        is_far = False
        if len(moves) >= 5:
            is_far = abs(value - float(np.median(past[-7:]))) > max(0.05, 8.0 * float(np.mean(moves)))
        found.append(bool(is_far or value > 5.0 or value < -0.9))
    return found


def test_a_wandering_rate_with_spikes_as_in_a_loop() -> None:
    rng = np.random.default_rng(3)
    apy = np.abs(0.05 + np.cumsum(0.002 * rng.standard_normal(300)))
    apy[rng.integers(0, 300, 12)] *= rng.choice([0.0, 5.0, 100.0], 12)
    assert flags(apy.tolist()) == by_hand(apy.tolist())
    assert any(flags(apy.tolist()))


def test_the_day_after_a_glitch_is_not_an_outlier() -> None:
    apy = [0.04 + 0.001 * (day % 3) for day in range(40)]
    apy[30] = 4.0
    assert [row for row, flag in enumerate(flags(apy)) if flag] == [30]


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(1, 1_199), seed=st.integers(0, 1_000))
def test_scrambling_the_future_changes_no_earlier_flag(market: SimulatedMarket, cut: int, seed: int) -> None:
    rows = market.yields.filter(pl.col("strategy_id") == "delta-neutral:binance:eth")
    later = np.random.default_rng(seed).permutation(rows["apy"].to_numpy()[cut:]) * 3.0
    scrambled = rows.with_columns(apy=np.concatenate([rows["apy"].to_numpy()[:cut], later]))
    again = scrambled.with_columns(outlier_rule())["is_outlier"]
    assert again.head(cut).equals(rows["is_outlier"].head(cut))


def test_flags_of_the_table_are_those_of_the_rule(market: SimulatedMarket) -> None:
    assert market.yields.with_columns(outlier_rule()).equals(market.yields)


def test_glitches_exist_are_flagged_and_rare(wide_market: SimulatedMarket) -> None:
    flagged = wide_market.yields["is_outlier"]
    assert flagged.null_count() == 0
    assert 0.001 < flagged.mean() < 0.05
