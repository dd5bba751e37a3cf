from __future__ import annotations

import datetime as dt
import math
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_makers import TODAY, day, faults_of, market_table, strategies_table, yields_table

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.errors import TableFaultsError
from aegis_yield.preprocessing import contract
from aegis_yield.preprocessing.contract import MARKET_NUMBERS, YIELD_NUMBERS, validate

NAN, INF = math.nan, math.inf
ABOVE = "must be above -1000 (apy is a fraction: 0.05 is 5 %)"
FINITE = "must be finite (no NaN, no infinity)"
NOT_NULL = "must not be null"
A_DATE = "must be a UTC date such as 2025-09-30"


def test_good_tables_have_no_faults() -> None:
    assert faults_of("yields", yields_table()) == []
    assert faults_of("strategies", strategies_table()) == []
    assert faults_of("market", market_table()) == []


def test_a_good_table_comes_back_with_its_rows_and_columns() -> None:
    frame = yields_table(note=["x", "y", "z", None], tvl_usd=[1, 2, None, 4])
    checked = validate("yields", frame, TODAY)
    assert checked.columns == frame.columns
    assert checked["tvl_usd"].to_list() == [1.0, 2.0, None, 4.0]
    assert checked.drop("tvl_usd").equals(frame.drop("tvl_usd"))


@pytest.mark.parametrize("column", ["strategy_id", "date", "apy"])
def test_a_missing_column_of_yields_is_named(column: str) -> None:
    (fault,) = faults_of("yields", yields_table(**{column: None}))
    assert fault[0] == column
    assert fault[1].startswith("column is missing (received: ")


@pytest.mark.parametrize("column", ["strategy_id", "project", "chain", "symbol", "category"])
def test_a_missing_column_of_strategies_is_named(column: str) -> None:
    (fault,) = faults_of("strategies", strategies_table(**{column: None}))
    assert (fault[0], fault[1][:17]) == (column, "column is missing")


def test_a_market_without_dates_is_refused() -> None:
    assert [fault[0] for fault in faults_of("market", market_table(date=None))] == ["date"]


@pytest.mark.parametrize("column", [*YIELD_NUMBERS, "is_outlier", "source"])
def test_optional_columns_may_be_absent_or_null(column: str) -> None:
    assert faults_of("yields", yields_table(**{column: [None] * 4})) == []
    assert column in validate("yields", yields_table(**{column: [None] * 4}), TODAY).columns


def test_duplicate_keys_are_listed_with_every_row() -> None:
    frame = yields_table(date=[day(1), day(1), day(1), day(2)])
    assert faults_of("yields", frame) == [("strategy_id + date", "must be unique, received duplicate keys", (0, 1))]


def test_duplicate_strategies_and_market_days_are_listed() -> None:
    assert faults_of("strategies", strategies_table(strategy_id=["a", "a"]))[0][0] == "strategy_id"
    assert faults_of("market", market_table(date=[day(1), day(2), day(2)])) == [
        ("date", "must be unique, received duplicate keys", (1, 2))
    ]


def test_dates_must_rise_within_a_strategy() -> None:
    frame = yields_table(date=[day(2), day(1), day(1), day(2)])
    rule = "must rise from row to row within a strategy; sort by strategy_id, date"
    assert faults_of("yields", frame) == [("date", rule, (1,))]


def test_dates_of_the_market_must_rise() -> None:
    frame = market_table(date=[day(3), day(1), day(2)])
    assert faults_of("market", frame) == [("date", "must rise from row to row; sort by date", (1,))]


def test_strategies_may_be_interleaved_as_long_as_each_rises() -> None:
    assert (
        faults_of("yields", yields_table(strategy_id=["a", "b", "a", "b"], date=[day(1), day(1), day(2), day(2)])) == []
    )


def test_a_date_after_today_is_refused_and_today_is_not() -> None:
    tomorrow = TODAY + dt.timedelta(days=1)
    assert faults_of("yields", yields_table(date=[day(1), TODAY, day(1), TODAY])) == []
    rule = "must not lie in the future (after 2025-01-31, UTC)"
    assert faults_of("yields", yields_table(date=[day(1), tomorrow, day(1), day(2)])) == [("date", rule, (1,))]
    assert faults_of("market", market_table(date=[day(1), day(2), tomorrow])) == [("date", rule, (2,))]


def test_by_default_today_is_the_current_utc_day() -> None:
    today = dt.datetime.now(dt.UTC).date()
    validate("market", market_table(date=[day(1), day(2), today]))
    with pytest.raises(TableFaultsError, match="future"):
        validate("market", market_table(date=[day(1), day(2), today + dt.timedelta(days=2)]))


@pytest.mark.parametrize("date", [dt.date(2009, 1, 2), dt.date(1970, 1, 1), dt.date(1, 1, 1)])
def test_a_date_before_any_chain_is_refused(date: dt.date) -> None:
    frame = yields_table(date=[date, day(2), day(1), day(2)])
    assert faults_of("yields", frame) == [("date", "must not lie before 2009-01-03", (0,))]


@pytest.mark.parametrize(
    ("value", "faults"),
    [
        (None, [("apy", NOT_NULL, (2,))]),
        (NAN, [("apy", NOT_NULL, (2,)), ("apy", FINITE, (2,))]),
        (INF, [("apy", FINITE, (2,))]),
        (-INF, [("apy", FINITE, (2,)), ("apy", ABOVE, (2,))]),
        (-1000.0, [("apy", ABOVE, (2,))]),
        (-999.9, []),
        (35_000.0, []),
        (0.0, []),
    ],
)
def test_apy_must_be_a_finite_number(value: float | None, faults: list[object]) -> None:
    assert faults_of("yields", yields_table(apy=[0.1, 0.2, value, 0.4])) == faults


@pytest.mark.parametrize("column", YIELD_NUMBERS)
@pytest.mark.parametrize("value", [NAN, INF])
def test_optional_numbers_must_be_finite(column: str, value: float) -> None:
    faults = faults_of("yields", yields_table(**{column: [None, 1.0, value, 1.0]}))
    assert (column, FINITE, (2,)) in faults


@pytest.mark.parametrize("column", YIELD_NUMBERS)
def test_only_rates_may_be_negative(column: str) -> None:
    faults = faults_of("yields", yields_table(**{column: [None, 1.0, -0.5, 1.0]}))
    rates = {"apy_base", "apy_reward", "borrow_apy"}
    assert faults == ([] if column in rates else [(column, "must not be negative", (2,))])


def test_an_unknown_category_is_refused_with_those_allowed() -> None:
    (fault,) = faults_of("strategies", strategies_table(category=["lending", "Staking"]))
    assert fault == ("category", f"must be one of {', '.join(CATEGORIES)}", (1,))


@pytest.mark.parametrize("table", ["yields", "strategies", "market"])
def test_an_empty_table_is_refused(table: str) -> None:
    good = {"yields": yields_table, "strategies": strategies_table, "market": market_table}[table]()
    assert [fault[0] for fault in faults_of(table, good.clear())] == ["(table)"]
    assert {fault[0] for fault in faults_of(table, pl.DataFrame())} > {"(table)"}


@pytest.mark.parametrize("empty", ["", None])
def test_a_strategy_without_a_name_is_refused(empty: str | None) -> None:
    rule = NOT_NULL if empty is None else "must not be empty text"
    assert faults_of("yields", yields_table(strategy_id=["a", "a", "b", empty])) == [("strategy_id", rule, (3,))]
    assert faults_of("strategies", strategies_table(strategy_id=["a", empty])) == [("strategy_id", rule, (1,))]


def test_text_in_apy_is_listed_without_hiding_the_other_faults_of_the_column() -> None:
    frame = yields_table(apy=["5%", "0.2", None, "inf"])
    assert faults_of("yields", frame) == [
        ("apy", "must be a number", (0,)),
        ("apy", NOT_NULL, (2,)),
        ("apy", FINITE, (3,)),
    ]


@pytest.mark.parametrize(
    "values", [[True, False, True, False], [day(1)] * 4, [[0.1]] * 4, [{"a": 0.1}] * 4, [b"0.1"] * 4, [dt.time(1)] * 4]
)
def test_what_is_no_number_is_not_taken_for_one(values: list[object]) -> None:
    assert faults_of("yields", yields_table(apy=values)) == [("apy", "must be a number", (0, 1, 2, 3))]


@pytest.mark.parametrize(
    "values",
    [
        ["today", "01.02.2025", "2025-02-30", "20250101"],
        [20250101, 20250102, 20250101, 20250102],
        [1735689600.0] * 4,
        [True] * 4,
        [b"2025-01-01"] * 4,
        [["2025-01-01"]] * 4,
        [dt.time(12)] * 4,
    ],
)
def test_what_is_no_date_is_not_taken_for_one(values: list[object]) -> None:
    assert faults_of("yields", yields_table(date=values)) == [("date", A_DATE, (0, 1, 2, 3))]


def test_two_dates_that_are_none_are_not_called_duplicates() -> None:
    frame = yields_table(date=["x", "y", None, None], strategy_id=["a"] * 4)
    assert faults_of("yields", frame) == [("date", A_DATE, (0, 1)), ("date", NOT_NULL, (2, 3))]


@pytest.mark.parametrize("number", [2**31 - 1, -(2**31), 3_000_000, -719_528])
def test_a_date_beyond_the_calendar_is_refused(number: int) -> None:
    dates = pl.Series([number, 20_090, 20_089, 20_090], dtype=pl.Int32).cast(pl.Date)
    assert faults_of("yields", yields_table(date=dates)) == [("date", A_DATE, (0,))]


def test_iso_text_and_midnight_timestamps_are_dates() -> None:
    text = yields_table(date=["2025-01-01", "2025-01-02"] * 2)
    stamps = yields_table(date=[dt.datetime(2025, 1, 1), dt.datetime(2025, 1, 2)] * 2)
    zoned = stamps.with_columns(pl.col("date").dt.replace_time_zone("UTC"))
    for frame in (text, stamps, zoned):
        assert validate("yields", frame, TODAY).equals(yields_table())


@pytest.mark.parametrize(
    "values", [[True, False, None, True], ["True", "false", None, "TRUE"], ["1", "0", None, "1"], [1, 0, None, 1]]
)
def test_a_flag_may_be_written_in_the_usual_ways(values: list[object]) -> None:
    checked = validate("yields", yields_table(is_outlier=values), TODAY)
    assert checked["is_outlier"].to_list() == [True, False, None, True]


def test_a_flag_of_another_kind_is_refused() -> None:
    frame = yields_table(is_outlier=["yes", "", "true", None])
    assert faults_of("yields", frame) == [("is_outlier", "must be true or false", (0, 1))]


@pytest.mark.parametrize("dtype", [pl.Float32, pl.Int64, pl.UInt8, pl.Decimal(10, 2), pl.String])
def test_numbers_of_any_kind_become_floats(dtype: pl.DataType) -> None:
    frame = yields_table(apy=[1, 2, 3, 4]).with_columns(pl.col("apy").cast(dtype))
    assert validate("yields", frame, TODAY)["apy"].equals(pl.Series("apy", [1.0, 2.0, 3.0, 4.0]))


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["a", "b"])])
def test_text_of_any_kind_becomes_text(dtype: pl.DataType) -> None:
    frame = yields_table().with_columns(pl.col("strategy_id").cast(dtype))
    assert validate("yields", frame, TODAY).equals(yields_table())


@pytest.mark.parametrize("column", MARKET_NUMBERS)
def test_text_in_a_market_column_that_is_used_is_refused(column: str) -> None:
    frame = market_table(**{column: ["1.5", "n/a", None]})
    assert faults_of("market", frame) == [(column, "must be a number", (1,))]


def test_unknown_columns_are_carried_along_unread() -> None:
    frame = market_table(comment=["ok", "NaN", None], nested=[[1], [], None], mood=[INF, NAN, None])
    assert validate("market", frame, TODAY).drop("vix").equals(frame.drop("vix"))


def test_every_fault_of_a_table_is_listed_at_once() -> None:
    frame = yields_table(
        date=[day(2), day(1), day(1), dt.date(2025, 2, 1)], apy=[NAN, 0.1, None, INF], tvl_usd=[1.0, -1.0, None, 0.0]
    ).drop("strategy_id")
    faults = {(column, rows) for column, _, rows in faults_of("yields", frame)}
    assert faults == {("strategy_id", ()), ("date", (3,)), ("apy", (0, 2)), ("apy", (0, 3)), ("tvl_usd", (1,))}


def test_only_the_first_rows_of_many_are_shown_and_all_are_counted() -> None:
    frame = pl.DataFrame({"strategy_id": ["a"] * 20, "date": [day(n) for n in range(1, 21)], "apy": [INF] * 20})
    with pytest.raises(TableFaultsError, match="and 15 more") as caught:
        validate("yields", frame, TODAY)
    (fault,) = caught.value.faults
    assert (fault.rows, fault.values, fault.n_rows) == ((0, 1, 2, 3, 4), ("inf",) * 5, 20)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([0.1, -3.0, None, NAN, INF, -INF, -2000.0]), min_size=1, max_size=12))
def test_exactly_the_bad_rows_are_reported(values: list[float | None]) -> None:
    frame = pl.DataFrame(
        {"strategy_id": ["a"] * len(values), "date": [day(n + 1) for n in range(len(values))], "apy": values},
        schema_overrides={"apy": pl.Float64},
    )
    bad = {row for row, value in enumerate(values) if value is None or not (math.isfinite(value) and value > -1000)}
    reported = {row for _, _, rows in faults_of("yields", frame) for row in rows}
    assert reported <= bad
    assert bool(reported) == bool(bad)
    if len(bad) <= 5:
        assert reported == bad


SPOILT = {
    "strategy_id": ["", None],
    "date": [None, TODAY + dt.timedelta(days=1), dt.date(2001, 1, 1)],
    "apy": [None, NAN, -INF, -1000.0, -2000.0],
    "tvl_usd": [NAN, -1.0],
    "borrow_apy": [INF],
}


@settings(deadline=None)
@given(data=st.data())
def test_the_quick_look_finds_a_fault_where_the_report_does(data: st.DataObject) -> None:
    frame = yields_table(tvl_usd=[1.0, None, 2.0, 0.0], borrow_apy=[-0.1, 0.2, None, 0.0])
    for column in data.draw(st.lists(st.sampled_from(list(SPOILT)), unique=True, max_size=2)):
        values = [*frame[column].to_list()[:3], data.draw(st.sampled_from(SPOILT[column]))]
        order = data.draw(st.permutations(values))
        frame = frame.with_columns(pl.Series(column, order, dtype=frame.schema[column]))
    columns = contract._columns("yields", TODAY)
    reported = contract._rule_faults(columns, frame, {})
    assert contract._holds(columns, frame) == (not reported)


@given(
    ids=st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=5),
    days=st.lists(st.integers(1, 4), min_size=5, max_size=5),
)
def test_rows_that_rise_are_neither_duplicate_nor_out_of_order(ids: list[str | None], days: list[int]) -> None:
    dates = [day(number) for number in days[: len(ids)]]
    frame = pl.DataFrame({"strategy_id": ids, "date": dates}, schema={"strategy_id": pl.String, "date": pl.Date})
    keys = list(zip(ids, dates, strict=True))
    rises = None not in ids and all(one < next_one for one, next_one in pairwise(keys))  # type: ignore[operator]
    assert contract._rises(frame, ("strategy_id", "date")) == rises
    if rises:
        assert contract._duplicate_faults(frame, ("strategy_id", "date")) == []
        assert contract._order_faults("yields", frame) == []
