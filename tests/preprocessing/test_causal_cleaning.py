from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.dataset import Dataset
from aegis_yield.preprocessing.cleaning import FROZEN_ROWS, clean, quality_report

START = dt.date(2025, 1, 1)


def dataset(apy: list[float], days: list[int] | None = None, flags: list[bool | None] | None = None) -> Dataset:
    dates = [START + dt.timedelta(days=k) for k in (days or range(len(apy)))]
    yields = pl.DataFrame({"strategy_id": ["a"] * len(apy), "date": dates, "apy": apy})
    if flags is not None:
        yields = yields.with_columns(pl.Series("is_outlier", flags, dtype=pl.Boolean))
    return Dataset(yields, pl.DataFrame({"strategy_id": ["a"]}), pl.DataFrame({"date": dates}), "test")


def flagged(apy: list[float], flags: list[bool | None] | None = None) -> list[int]:
    return clean(dataset(apy, flags=flags)).yields["is_outlier"].arg_true().to_list()


def naive_outliers(apy: list[float]) -> list[int]:
    found = []
    for row in range(1, len(apy)):
        moves = [abs(apy[k] - apy[k - 1]) for k in range(max(1, row - 60), row)]
        move = abs(apy[row] - apy[row - 1])
        if len(moves) >= 20 and move > 20 * sum(moves) / len(moves) and move > max(0.02, 0.5 * abs(apy[row - 1])):
            found.append(row)
    return found


def calm(n: int, seed: int = 0) -> list[float]:
    return (0.05 + 0.001 * np.random.default_rng(seed).standard_normal(n)).tolist()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_outliers_are_those_of_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    apy = np.array(calm(150, seed))
    spikes = rng.random(150) < 0.03
    apy[spikes] += rng.uniform(-1, 3, spikes.sum())
    assert flagged(apy.tolist()) == naive_outliers(apy.tolist())


def test_a_jump_is_flagged_and_so_is_the_way_back() -> None:
    apy = calm(60)
    apy[40] = 5.0
    assert flagged(apy) == [40, 41]


def test_a_jump_among_the_first_rows_is_not_judged() -> None:
    apy = calm(30)
    apy[10] = 5.0
    assert flagged(apy) == []


def test_a_jump_after_a_frozen_stretch_is_flagged_if_it_is_large() -> None:
    assert flagged([0.05] * 30 + [0.08] * 30) == [30]
    assert flagged([0.05] * 30 + [0.069] * 30) == []


def test_flags_of_the_source_are_kept() -> None:
    flags: list[bool | None] = [None] * 60
    flags[3], flags[4] = True, False
    assert flagged(calm(60), flags) == [3]


def test_the_rule_adds_to_the_flags_of_the_source() -> None:
    apy = calm(60)
    apy[40] = 5.0
    assert flagged(apy, [False] * 60) == [40, 41]


def test_strategies_do_not_mix() -> None:
    low, high = dataset(calm(60)).yields, dataset([x + 50 for x in calm(60)]).yields
    both = pl.concat([low, high.with_columns(strategy_id=pl.lit("b"))])
    assert not clean(dataclasses.replace(dataset(calm(60)), yields=both)).yields["is_outlier"].any()


def test_nothing_but_the_flag_changes(rough: Dataset) -> None:
    cleaned = clean(rough)
    assert cleaned.yields.drop("is_outlier").equals(rough.yields.drop("is_outlier"))
    assert cleaned.market is rough.market
    assert cleaned.yields["is_outlier"].null_count() == 0


def test_cleaning_twice_is_cleaning_once(small_market: Dataset) -> None:
    once = clean(small_market)
    assert clean(once).yields.equals(once.yields)


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(30, 290), seed=st.integers(0, 10**6))
def test_the_future_changes_no_flag(rough: Dataset, cut: int, seed: int) -> None:
    day = rough.first_date + dt.timedelta(days=cut)
    raw = dataclasses.replace(rough, yields=rough.yields.drop("is_outlier"))
    noise = pl.Series("apy", np.random.default_rng(seed).normal(0, 100, raw.yields.height))
    scrambled = raw.yields.with_columns(pl.when(pl.col("date") > day).then(noise).otherwise(pl.col("apy")).alias("apy"))
    expected = clean(raw).yields.filter(pl.col("date") <= day)
    for future in (scrambled, raw.yields.filter(pl.col("date") <= day)):
        again = clean(dataclasses.replace(raw, yields=future)).yields.filter(pl.col("date") <= day)
        assert again["is_outlier"].equals(expected["is_outlier"])


def test_the_report_counts_gaps_and_missing_days_of_a_hand_made_table() -> None:
    report = quality_report(clean(dataset([0.1, 0.2, 0.3, 0.1, 0.2], days=[0, 1, 4, 5, 11])))  # 2 + 5 days missing
    assert (report.n_strategies, report.n_rows) == (1, 5)
    assert (report.n_gaps, report.n_missing_days) == (2, 7)
    assert (report.n_outliers, report.n_frozen_rows) == (0, 0)


@pytest.mark.parametrize(("equal_rows", "frozen"), [(1, 0), (13, 0), (14, 1), (15, 2), (40, 27)])
def test_the_report_counts_rows_that_repeat_thirteen_before(equal_rows: int, frozen: int) -> None:
    assert FROZEN_ROWS == 14
    apy = [0.1, 0.2, 0.3] + [0.5] * equal_rows + [0.1, 0.2]
    assert quality_report(clean(dataset(apy))).n_frozen_rows == frozen


def test_the_report_counts_outliers_of_source_and_rule() -> None:
    apy = calm(60)
    apy[40] = 5.0
    flags: list[bool | None] = [True, *[None] * 59]
    assert quality_report(clean(dataset(apy, flags=flags))).n_outliers == 3


def test_strategies_are_counted_apart() -> None:
    one = dataset([0.5] * 13)
    both = pl.concat([one.yields, one.yields.with_columns(strategy_id=pl.lit("b"))])
    report = quality_report(clean(dataclasses.replace(one, yields=both)))
    assert (report.n_strategies, report.n_gaps, report.n_frozen_rows) == (2, 0, 0)


def test_the_report_reads_as_a_sentence() -> None:
    text = str(quality_report(clean(dataset([0.1, 0.2, 0.3], days=[0, 1, 4]))))
    assert text == "3 rows of 1 strategies; 1 gaps (2 days), 0 outliers flagged, 0 frozen rows"
