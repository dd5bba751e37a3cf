from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.dataset import Dataset
from aegis_yield.preprocessing.panel import SERIES, Panel, build_panel, to_date, to_day


def cells(dataset: Dataset, name: str) -> dict[tuple[str, int], float]:
    """Every known value of a column by strategy and day number, row by row."""
    rows = dataset.yields.select("strategy_id", "date", pl.col(name).cast(pl.Float64)).iter_rows()
    return {(strategy, to_day(date)): value for strategy, date, value in rows if value is not None}


@given(st.dates())
def test_day_numbers_and_dates_are_each_others_inverse(date: dt.date) -> None:
    assert to_date(to_day(date)) == date
    assert to_day(date) == np.datetime64(date, "D").astype(int)


@pytest.mark.parametrize("name", SERIES)
def test_every_value_is_in_its_cell_and_nothing_elsewhere(rough: Dataset, rough_panel: Panel, name: str) -> None:
    known = cells(rough, name)
    for row, strategy in enumerate(rough_panel.strategy_ids):
        for column, day in enumerate(rough_panel.days):
            value = rough_panel.series[name][row, column]
            expected = known.pop((strategy, int(day)), np.nan)
            assert value == expected or (np.isnan(value) and np.isnan(expected))
    assert not known


def test_the_order_of_rows_does_not_matter(rough: Dataset, rough_panel: Panel) -> None:
    shuffled = dataclasses.replace(rough, yields=rough.yields.sample(fraction=1.0, shuffle=True, seed=1))
    again = build_panel(shuffled)
    assert again.strategy_ids.tolist() == rough_panel.strategy_ids.tolist() == sorted(rough_panel.strategy_ids)
    assert all(np.array_equal(again.series[name], rough_panel.series[name], equal_nan=True) for name in SERIES)


def test_categories_go_with_their_strategies(rough: Dataset, rough_panel: Panel) -> None:
    names = dict(rough.strategies.select("strategy_id", "category").iter_rows())
    assert [CATEGORIES[code] for code in rough_panel.categories] == [names[s] for s in rough_panel.strategy_ids]


def test_a_narrower_calendar_is_a_cut_of_the_wide_one(rough: Dataset, rough_panel: Panel) -> None:
    start, end = to_date(rough_panel.first_day + 100), to_date(rough_panel.first_day + 199)
    narrow = build_panel(rough, start, end)
    kept = np.isin(rough_panel.strategy_ids, narrow.strategy_ids)
    assert (narrow.first_day, narrow.n_days) == (to_day(start), 100)
    for name in SERIES:
        assert np.array_equal(narrow.series[name], rough_panel.series[name][kept, 100:200], equal_nan=True)
    for name, column in rough_panel.market.items():
        assert np.array_equal(narrow.market[name], column[100:200], equal_nan=True)


def test_a_wider_calendar_than_the_data_is_padded_with_unknown(rough: Dataset, rough_panel: Panel) -> None:
    wide = build_panel(rough, rough.first_date - dt.timedelta(days=5), rough.last_date + dt.timedelta(days=3))
    assert wide.n_days == rough_panel.n_days + 8
    assert not wide.observed[:, :5].any()
    assert not wide.observed[:, -3:].any()
    assert np.array_equal(wide.series["apy"][:, 5:-3], rough_panel.series["apy"], equal_nan=True)


def test_strategies_without_a_row_in_the_calendar_are_left_out(rough: Dataset) -> None:
    early = build_panel(rough, end=rough.first_date + dt.timedelta(days=119))
    assert "lend-2" not in early.strategy_ids  # born on day 120
    assert early.n_strategies == 9


@pytest.mark.parametrize("offset", [0, 50, 150])
def test_age_counts_from_the_first_row_of_the_dataset(rough: Dataset, offset: int) -> None:
    start = rough.first_date + dt.timedelta(days=offset)
    panel = build_panel(rough, start=start)
    for strategy, age in zip(panel.strategy_ids, panel.age_at_start, strict=True):
        first = rough.yields.filter(pl.col("strategy_id") == strategy)["date"].min()
        assert age == (start - first).days


def test_market_columns_are_on_the_same_calendar(rough: Dataset, rough_panel: Panel) -> None:
    for name, column in rough_panel.market.items():
        known = dict(rough.market.select("date", pl.col(name).cast(pl.Float64)).iter_rows())
        expected = [known[to_date(day)] for day in rough_panel.days]
        assert np.array_equal(column, np.array(expected, dtype=float), equal_nan=True)
    assert set(rough_panel.market) == set(rough.market.columns) - {"date"}


def test_market_columns_that_are_not_numbers_are_left_out_and_infinity_is_unknown(rough: Dataset) -> None:
    odd = rough.market.with_columns(comment=pl.lit("x"), vix=pl.lit(float("inf")))
    panel = build_panel(dataclasses.replace(rough, market=odd))
    assert "comment" not in panel.market
    assert np.isnan(panel.market["vix"]).all()


def test_an_empty_market_gives_no_columns(rough: Dataset) -> None:
    assert build_panel(dataclasses.replace(rough, market=rough.market.select("date").clear())).market == {}


def test_absent_columns_are_unknown_everywhere(rough: Dataset) -> None:
    panel = build_panel(dataclasses.replace(rough, yields=rough.yields.select("strategy_id", "date", "apy")))
    assert set(panel.series) == set(SERIES)
    assert all(np.isnan(panel.series[name]).all() for name in SERIES if name != "apy")


def test_eligibility_is_that_of_a_plain_loop(rough: Dataset, rough_panel: Panel) -> None:
    rows = {(strategy, to_day(date)) for strategy, date in rough.yields.select("strategy_id", "date").iter_rows()}
    eligible = rough_panel.eligible()
    for row, strategy in enumerate(rough_panel.strategy_ids):
        for column, day in enumerate(rough_panel.days.tolist()):
            recent = sum((strategy, d) in rows for d in range(day - 59, day + 1))
            assert eligible[row, column] == ((strategy, day) in rows and recent >= 30)
    assert 0 < eligible.sum() < eligible.size


def test_thirty_rows_are_enough_and_twenty_nine_are_not() -> None:
    observed = np.full((1, 120), np.nan)
    observed[0, 30:60] = 0.05
    observed[0, 88:90] = 0.05
    panel = Panel(np.array(["a"]), np.array([0]), 20_000, np.array([0]), {"apy": observed}, {})
    # Rows 30 ... 59 and 88, 89: day 59 sees 30 rows; day 88 sees rows 30 ... 59 and itself; day 89 sees 31.
    assert np.flatnonzero(panel.eligible()[0]).tolist() == [59, 88, 89]
    observed[0, 45] = np.nan
    assert np.flatnonzero(panel.eligible()[0]).tolist() == [88, 89]
