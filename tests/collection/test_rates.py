"""Daily rates from funding payments and candles, against plain loops over the same rows."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.collection.assemble.rates import closes, compounded, funding_days, realised_volatility

START = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
TIME = pl.Datetime("us", "UTC")
Payment = tuple[dt.datetime, float]


def payments(hours: Sequence[float], rate: float = 1e-4) -> list[Payment]:
    """Payments so many hours after the start, each a little different from the others."""
    return [(START + HOUR * hour, rate * (1 + n % 7)) for n, hour in enumerate(hours)]


def days_of(rows: Sequence[Payment]) -> dict[dt.date, float]:
    times, rates = [time for time, _ in rows], [rate for _, rate in rows]
    frame = pl.DataFrame({"time": times, "rate": rates}, schema={"time": TIME, "rate": pl.Float64})
    found = funding_days(frame)
    assert found.columns == ["date", "apy"]
    assert found["date"].is_sorted()
    return dict(found.iter_rows())


def sums_of(rows: Sequence[Payment]) -> dict[dt.date, float]:
    """Each day's payments added up in a loop and taken times 365."""
    found: dict[dt.date, float] = {}
    for time, rate in rows:
        found[time.date()] = found.get(time.date(), 0.0) + rate
    return {day: 365 * total for day, total in found.items()}


def day(number: int) -> dt.date:
    return (START + dt.timedelta(days=number)).date()


@pytest.mark.parametrize("interval", [1, 2, 4, 8])
def test_a_venue_of_any_interval_pays_the_sum_of_its_day(interval: int) -> None:
    rows = payments(range(0, 10 * 24, interval))
    assert days_of(rows) == pytest.approx(sums_of(rows), rel=1e-14)
    assert len(days_of(rows)) == 10


def test_the_examples_of_the_venues_documents_make_ten_point_ninety_five_percent() -> None:
    every_8_hours = [(START + HOUR * hour, 0.0001) for hour in range(0, 48, 8)]
    every_hour = [(START + HOUR * hour, 0.0000125) for hour in range(48)]
    for rows in (every_8_hours, every_hour):
        assert list(days_of(rows).values()) == pytest.approx([0.1095, 0.1095], rel=1e-12)


@pytest.mark.parametrize("change_at", [0, 8, 16])
def test_a_change_from_eight_hours_to_one_in_the_middle_of_history_needs_no_setting(change_at: int) -> None:
    switch = 5 * 24 + change_at
    rows = payments([*range(0, switch, 8), *range(switch, 10 * 24)])
    assert days_of(rows) == pytest.approx(sums_of(rows), rel=1e-14)
    assert len(days_of(rows)) == 10


def test_the_change_that_hyperliquid_made_loses_no_day() -> None:
    # Two hours without a payment, and a pair of 8.4 and 7.6 hours, as its recorded answers have it.
    early: list[float] = [*range(0, 4 * 24, 8)]
    early[6] += 0.4
    rows = payments([*early, *(hour for hour in range(4 * 24, 8 * 24) if hour != 4 * 24 + 1)])
    assert days_of(rows) == pytest.approx(sums_of(rows), rel=1e-14)
    assert len(days_of(rows)) == 8


def test_the_day_on_which_the_interval_grows_longer_is_absent_because_it_was_paid_for_seventeen_hours() -> None:
    # The payment at midnight was for the hour before it, and that of the last eight hours comes at the next midnight.
    rows = payments([*range(3 * 24), *range(3 * 24, 6 * 24, 8)])
    expected = sums_of(rows)
    del expected[day(3)]
    assert days_of(rows) == pytest.approx(expected, rel=1e-14)


def test_a_day_that_lost_one_payment_of_three_is_absent() -> None:
    rows = payments([hour for hour in range(0, 6 * 24, 8) if hour != 2 * 24 + 8])
    expected = sums_of(rows)
    del expected[day(2)]
    assert days_of(rows) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("lost", [[5], [5, 6], [5, 6, 7], [0], [23]])
def test_a_day_of_hourly_payments_may_lose_up_to_three(lost: list[int]) -> None:
    rows = payments([hour for hour in range(5 * 24) if hour - 2 * 24 not in lost])
    assert days_of(rows) == pytest.approx(sums_of(rows), rel=1e-14)
    assert day(2) in days_of(rows)


def test_a_day_of_hourly_payments_that_lost_four_is_absent() -> None:
    rows = payments([hour for hour in range(5 * 24) if hour - 2 * 24 not in (5, 6, 7, 8)])
    assert set(days_of(rows)) == {day(0), day(1), day(3), day(4)}


@pytest.mark.parametrize(("interval", "first"), [(8, 8), (8, 16), (4, 4), (1, 4)])
def test_a_first_day_that_began_late_is_absent(interval: int, first: int) -> None:
    rows = payments(range(first, 4 * 24, interval))
    assert set(days_of(rows)) == {day(1), day(2), day(3)}


@pytest.mark.parametrize(("interval", "last"), [(8, 8), (4, 12), (1, 19)])
def test_a_last_day_under_way_is_absent(interval: int, last: int) -> None:
    rows = payments(range(0, 3 * 24 + last + 1, interval))
    assert set(days_of(rows)) == {day(0), day(1), day(2)}


def test_payments_a_moment_late_belong_to_the_day_in_which_they_were_made() -> None:
    jitter = [0.0, 1.6e-5, 3.3e-6]
    rows = payments([hour + jitter[n % 3] for n, hour in enumerate(range(0, 6 * 24, 8))])
    assert days_of(rows) == pytest.approx(sums_of(rows), rel=1e-14)
    assert len(days_of(rows)) == 6


def test_a_week_without_payments_leaves_a_hole_and_no_other_mark() -> None:
    rows = payments([hour for hour in range(0, 20 * 24, 8) if not 5 * 24 <= hour < 12 * 24])
    assert days_of(rows) == pytest.approx(sums_of(rows), rel=1e-14)
    assert day(4) in days_of(rows)
    assert day(12) in days_of(rows)
    assert len(days_of(rows)) == 13


@pytest.mark.parametrize("step", [16, 24, 48])
def test_payments_that_lost_their_neighbours_do_not_stand_for_whole_days(step: int) -> None:
    assert days_of(payments(range(0, 20 * 24, step))) == {}


@pytest.mark.parametrize("hours", [[], [0]])
def test_no_payment_and_one_payment_make_no_day(hours: list[int]) -> None:
    assert days_of(payments(hours)) == {}


@settings(max_examples=60, deadline=None)
@given(
    intervals=st.lists(st.sampled_from([1, 2, 4, 8]), min_size=4, max_size=14),
    rates=st.lists(st.floats(-0.02, 0.02), min_size=1, max_size=40),
    lost=st.sets(st.integers(0, 14 * 24), max_size=25),
    order=st.randoms(use_true_random=False),
)
def test_whatever_the_venue_does_a_day_that_is_there_is_the_sum_of_its_payments(
    intervals: list[int], rates: list[float], lost: set[int], order: Random
) -> None:
    hours = [24 * n + hour for n, interval in enumerate(intervals) for hour in range(0, 24, interval)]
    rows = [(START + HOUR * hour, rates[n % len(rates)]) for n, hour in enumerate(hours) if hour not in lost]
    expected = sums_of(rows)
    order.shuffle(rows)  # the order of rows means nothing
    found = days_of(rows)
    assert found == pytest.approx({day: expected[day] for day in found}, rel=1e-9, abs=1e-12)
    untouched = [not {24 * n + hour for hour in range(24)} & lost for n in range(len(intervals))]
    middle = {
        day(n)
        for n in range(1, len(intervals) - 1)
        if all(untouched[n - 1 : n + 2]) and intervals[n] <= intervals[n - 1]  # a longer one: see above
    }
    assert middle <= set(found)


# Compounding


@given(apr=st.floats(-0.9, 10.0))
@settings(max_examples=50, deadline=None)
def test_simple_interest_compounds_daily(apr: float) -> None:
    capital = 1.0
    for _ in range(365):
        capital += capital * apr / 365
    found = pl.DataFrame({"apr": [apr]}).select(compounded(pl.col("apr"))).item()
    assert found == pytest.approx(capital - 1.0, rel=1e-9, abs=1e-12)


# Candles


def candles(n_hours: int, seed: int = 1, lost: Sequence[int] = ()) -> pl.DataFrame:
    close = 3000.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, n_hours)))
    kept = [hour for hour in range(n_hours) if hour not in lost]
    times = [START + HOUR * hour for hour in kept]
    return pl.DataFrame({"time": times, "close": close[kept]}, schema={"time": TIME, "close": pl.Float64})


def volatility_by_hand(rows: pl.DataFrame) -> dict[dt.date, float]:
    """Squared returns of one hour, by the day in which the hour lies, in numpy; days that are over and have twenty."""
    times, close = rows["time"].to_list(), rows["close"].to_numpy()
    squares: dict[dt.date, list[float]] = {}
    for n in range(1, len(times)):
        if times[n] - times[n - 1] == HOUR:
            squares.setdefault(times[n].date(), []).append(float(np.log(close[n] / close[n - 1]) ** 2))
    end = times[-1] + HOUR
    is_over = {one: dt.datetime.combine(one, dt.time(), dt.UTC) + dt.timedelta(days=1) <= end for one in squares}
    return {
        one: math.sqrt(365 * 24 * np.mean(found)) for one, found in squares.items() if len(found) >= 20 and is_over[one]
    }


def test_volatility_is_that_of_the_hourly_returns() -> None:
    rows = candles(6 * 24)
    found = dict(realised_volatility(rows).iter_rows())
    assert found == pytest.approx(volatility_by_hand(rows), rel=1e-12)
    assert set(found) == {day(n) for n in range(6)}
    assert all(0.5 < value < 1.5 for value in found.values())  # 1 % an hour is 94 % a year


@given(lost=st.sets(st.integers(0, 6 * 24 - 1), max_size=30), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_hours_missing_lose_their_returns_and_at_worst_their_day(lost: set[int], seed: int) -> None:
    rows = candles(6 * 24, seed, sorted(lost)).sample(fraction=1.0, shuffle=True, seed=seed)
    found = dict(realised_volatility(rows).iter_rows())
    assert found == pytest.approx(volatility_by_hand(rows.sort("time")), rel=1e-12)
    assert dict(closes(rows).iter_rows()) == {time.date(): close for time, close in rows.iter_rows() if time.hour == 23}


@pytest.mark.parametrize("hours", [1, 20, 21, 23])
def test_a_day_under_way_has_neither_close_nor_volatility(hours: int) -> None:
    rows = candles(3 * 24 + hours)
    assert realised_volatility(rows)["date"].to_list() == [day(0), day(1), day(2)]
    assert closes(rows)["date"].to_list() == [day(0), day(1), day(2)]


def test_a_day_that_ends_now_has_both() -> None:
    rows = candles(3 * 24)
    assert realised_volatility(rows)["date"].to_list() == closes(rows)["date"].to_list() == [day(0), day(1), day(2)]


def test_a_day_that_lost_its_last_hour_has_a_volatility_and_no_close() -> None:
    rows = candles(3 * 24, lost=[24 + 23])
    assert realised_volatility(rows)["date"].to_list() == [day(0), day(1), day(2)]
    assert closes(rows)["date"].to_list() == [day(0), day(2)]


def test_without_candles_there_is_nothing() -> None:
    assert realised_volatility(candles(0)).height == closes(candles(0)).height == 0
