"""The Fear & Greed index: all text, newest first, errors with HTTP 200."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from harness import Bench
from indicator_servers import DAY, in_turn, land, real_now, reasons, statuses, unix
from pytest_httpserver import HTTPServer

from aegis_yield.collection.units import Demand

NOW = real_now()
TODAY = NOW.date()
INDEX = Demand("fear_greed", "index", "*")

MakeBench = Callable[..., Bench]


def body(*values: tuple[dt.date, Any], error: Any = None) -> dict[str, Any]:
    data = [
        {"value": value, "value_classification": "Neutral", "timestamp": str(unix(day))}
        for day, value in sorted(values, reverse=True)
    ]
    if data:
        data[0]["time_until_update"] = "25675"
    return {"name": "Fear and Greed Index", "data": data, "metadata": {"error": error}}


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench(now=NOW, since=TODAY - 10 * DAY)


def days(bench: Bench) -> list[tuple[dt.date, float, bool]]:
    return bench.history.latest("series_days").sort("date").select("date", "value", "is_final").rows()


def test_the_index_is_read_whole_and_today_is_provisional(bench: Bench, httpserver: HTTPServer) -> None:
    content = body((dt.date(2018, 2, 1), "30"), (TODAY - 3 * DAY, "47"), (TODAY - DAY, 52), (TODAY, "55"))
    httpserver.expect_request("/fng/", query_string="limit=0&format=json").respond_with_json(content)
    bench.collect([INDEX])
    assert bench.failures == []
    assert days(bench) == [
        (dt.date(2018, 2, 1), 30.0, True), (TODAY - 3 * DAY, 47.0, True), (TODAY - DAY, 52.0, True),
        (TODAY, 55.0, False),
    ]  # fmt: skip
    assert bench.history.latest("series_days").select("source", "series").unique().rows() == [("fear_greed",) * 2]


def test_today_becomes_final_when_it_is_over(bench: Bench) -> None:
    day, noon = dt.date(2024, 3, 10), dt.datetime(2024, 3, 10, 12, tzinfo=dt.UTC)
    land(bench, INDEX, body((day - DAY, "40"), (day, "50")), noon)
    assert days(bench) == [(day - DAY, 40.0, True), (day, 50.0, False)]
    before = bench.history.latest("series_days")
    land(bench, INDEX, body((day - DAY, "40"), (day, "50"), (day + DAY, "60")), noon + DAY)
    assert days(bench) == [(day - DAY, 40.0, True), (day, 50.0, True), (day + DAY, 60.0, False)]
    assert bench.history.latest("series_days", as_of=noon).equals(before)
    assert bench.history.revisions("series_days")["revision"].to_list() == [1, 1, 2, 1]


@pytest.mark.parametrize(
    ("error", "verdict", "n_requests"),
    [
        ("Rate limit reached", "transient", 5),
        ("Service temporarily unavailable", "transient", 5),
        ("Limit must be an integer", "final", 1),
    ],
)
def test_an_error_with_status_200_is_an_error(
    bench: Bench, httpserver: HTTPServer, error: str, verdict: str, n_requests: int
) -> None:
    httpserver.expect_request("/fng/").respond_with_json(body(error=error))
    bench.collect([INDEX])
    (failure,) = bench.failures
    assert failure.verdict == verdict
    assert error in failure.reason
    assert len(httpserver.log) == n_requests
    assert days(bench) == []


def test_an_error_that_passes_is_asked_again(bench: Bench, httpserver: HTTPServer) -> None:
    answers = in_turn(body(error="rate limit"), body((TODAY - DAY, "44")))
    httpserver.expect_request("/fng/").respond_with_handler(answers)
    bench.collect([INDEX])
    assert bench.failures == []
    assert days(bench) == [(TODAY - DAY, 44.0, True)]


@pytest.mark.parametrize("content", [[], {"data": {}}, {}, {"metadata": None}, 5])
def test_an_answer_of_another_shape_is_refused(bench: Bench, httpserver: HTTPServer, content: Any) -> None:
    httpserver.expect_request("/fng/").respond_with_json(content)
    bench.collect([INDEX])
    assert [failure.verdict for failure in bench.failures] == ["final"]


def test_what_cannot_be_is_set_aside(bench: Bench, httpserver: HTTPServer) -> None:
    day, range_words = str(unix(TODAY - DAY)), "fear_greed must lie in 0 … 100"
    bad: list[tuple[dict[str, Any], str]] = [
        ({"value": "101", "timestamp": day}, range_words),
        ({"value": "-1", "timestamp": day}, range_words),
        ({"value": "", "timestamp": day}, "value must be known"),
        ({"value": "high", "timestamp": day}, f"value must be a finite number; {range_words}"),
        ({"value": "50", "timestamp": "04-27-2026"}, "date must be known"),  # what date_format would make of it
        ({"value": "50", "timestamp": str(unix(TODAY + 3 * DAY))}, "date must not lie in the future"),
        ({}, "date must be known; value must be known"),
    ]
    content = body((TODAY - 2 * DAY, "47"))
    content["data"][:0] = [row for row, _ in bad]
    httpserver.expect_request("/fng/").respond_with_json(content)
    bench.collect([INDEX])
    assert sorted(reasons(bench, "series_days")) == sorted(reason for _, reason in bad)
    assert days(bench) == [(TODAY - 2 * DAY, 47.0, True)]


def test_no_data_is_empty(bench: Bench, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/fng/").respond_with_json(body())
    bench.collect([INDEX])
    assert (bench.failures, statuses(bench)) == ([], ["empty"])
