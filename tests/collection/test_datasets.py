"""How values of JSON become numbers, texts and times, and how datasets are cut into units."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_source import DAY, TOYS, months, whole

from aegis_yield.collection.datasets import number, percent, text, utc_from_ms, utc_from_s
from aegis_yield.collection.units import daily_unit, monthly_units

anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3.0), (3.29, 3.29), ("3.29", 3.29), (" -1e-3 ", -0.001), (0, 0.0), (None, None), ("", None)],
)
def test_numbers_come_as_numbers_or_as_text(value: Any, expected: float | None) -> None:
    assert number(value) == expected


@pytest.mark.parametrize("value", ["high", ".", "1,5", [], {}, [3], True, False, "nan", 10**400])
def test_what_is_no_number_is_set_aside_later_as_not_finite(value: Any) -> None:
    found = number(value)
    assert found is not None
    assert math.isnan(found)


@given(anything)
def test_every_value_is_a_number_or_nothing(value: Any) -> None:
    assert number(value) is None or isinstance(number(value), float)
    assert percent(value) is None or isinstance(percent(value), float)
    assert text(value) is None or isinstance(text(value), str)


@pytest.mark.parametrize(("value", "expected"), [(3.5, 0.035), ("100", 1.0), (0, 0.0), (None, None)])
def test_percent_becomes_a_fraction(value: Any, expected: float | None) -> None:
    assert percent(value) == pytest.approx(expected) if expected is not None else percent(value) is None


def test_text_of_nothing_is_nothing() -> None:
    assert (text(None), text(""), text(7), text("ETH")) == (None, "", "7", "ETH")


@given(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2200, 1, 1)).map(lambda t: t.replace(microsecond=0)))
def test_times_come_back(moment: dt.datetime) -> None:
    utc = moment.replace(tzinfo=dt.UTC)
    seconds = int(utc.timestamp())
    assert utc_from_s(seconds) == utc_from_s(str(seconds)) == utc_from_s(float(seconds)) == utc
    assert utc_from_ms(1000 * seconds) == utc_from_ms(str(1000 * seconds)) == utc
    assert utc_from_ms(1000 * seconds + 7) == utc + dt.timedelta(milliseconds=7)


@pytest.mark.parametrize("value", [None, "", "soon", [], {}, 10**30, -(10**30), float("inf"), float("nan")])
def test_what_is_no_time_is_nothing(value: Any) -> None:
    assert utc_from_ms(value) is None
    assert utc_from_s(value) is None


@given(anything)
def test_no_value_breaks_the_reading_of_times(value: Any) -> None:
    for found in (utc_from_ms(value), utc_from_s(value)):
        assert found is None or found.tzinfo == dt.UTC


def test_a_dataset_is_cut_as_its_cadence_says() -> None:
    since, today = dt.date(2026, 1, 15), dt.date(2026, 3, 20)
    assert TOYS["toy", "whole"].units(whole("a"), since, today) == [daily_unit(whole("a"), today)]
    assert TOYS["toy", "months"].units(months("a"), since, today) == monthly_units(months("a"), since, today)
    assert TOYS["toy", "months"].units(months("a"), today + DAY, today) == monthly_units(months("a"), today, today)
