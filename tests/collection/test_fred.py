"""FRED: values as text, "." for a missing one, the key in the query."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from harness import Bench
from indicator_servers import DAY, in_turn, real_now, reasons, statuses
from pytest_httpserver import HTTPServer
from werkzeug import Response

from aegis_yield.collection.sources import dataset_of
from aegis_yield.collection.units import Demand

NOW = real_now()
TODAY = NOW.date()
SINCE = dt.date(2024, 1, 1)
KEY = "0123456789abcdef0123456789abcdef"
DFF, VIX = Demand("fred", "observations", "DFF"), Demand("fred", "observations", "VIXCLS")
PATH = "/fred/series/observations"

MakeBench = Callable[..., Bench]


def body(*values: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    today = TODAY.isoformat()
    items = [
        {"realtime_start": today, "realtime_end": today, "date": str(day), "value": value} for day, value in values
    ]
    head = {
        "realtime_start": today, "realtime_end": today, "observation_start": "2024-01-01",
        "observation_end": "9999-12-31", "units": "lin", "output_type": 1, "file_type": "json",
        "order_by": "observation_date", "sort_order": "asc", "count": len(items), "offset": 0, "limit": 100000,
    }  # fmt: skip
    return head | {"observations": items} | more


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench(now=NOW, since=SINCE, environment={"AEGIS_SRC__FRED__API_KEY": KEY})


def days(bench: Bench, series: str = "DFF") -> list[tuple[dt.date, float, bool]]:
    found = bench.history.latest("series_days").sort("date")
    rows = found.select("source", "series", "date", "value", "is_final").rows()
    return [row[2:] for row in rows if row[:2] == ("fred", series)]


def test_a_series_is_kept_as_published_and_a_point_is_a_missing_day(bench: Bench, httpserver: HTTPServer) -> None:
    rates = body((dt.date(2024, 1, 2), "5.33"), (dt.date(2024, 1, 3), "."), (dt.date(2024, 1, 4), "5.31"))
    vix = body((dt.date(2024, 1, 2), "13.20"), (dt.date(2024, 1, 3), "14.04"))
    for series, content in (("DFF", rates), ("VIXCLS", vix)):
        asked = {"series_id": series, "file_type": "json", "observation_start": "2024-01-01", "api_key": KEY}
        httpserver.expect_request(PATH, query_string=asked).respond_with_json(content)
    bench.collect([DFF, VIX])
    assert bench.failures == []
    assert days(bench) == [(dt.date(2024, 1, 2), 5.33, True), (dt.date(2024, 1, 4), 5.31, True)]
    assert days(bench, "VIXCLS") == [(dt.date(2024, 1, 2), 13.2, True), (dt.date(2024, 1, 3), 14.04, True)]
    assert reasons(bench, "series_days") == []


def test_a_rate_may_be_negative_and_today_is_provisional(bench: Bench, httpserver: HTTPServer) -> None:
    httpserver.expect_request(PATH).respond_with_json(body((TODAY - DAY, "-0.25"), (TODAY, "0.10")))
    bench.collect([DFF])
    assert days(bench) == [(TODAY - DAY, -0.25, True), (TODAY, 0.1, False)]


def test_a_holiday_that_gets_a_value_later_is_filled_in(bench: Bench, httpserver: HTTPServer) -> None:
    first, second = body(("2024-01-02", "5.33"), ("2024-01-03", ".")), body(("2024-01-02", "5.32"), ("2024-01-03", "5"))
    httpserver.expect_request(PATH).respond_with_handler(in_turn(first, second))
    bench.collect([DFF])
    before, between = bench.history.latest("series_days"), dt.datetime.now(dt.UTC)
    bench.collect([DFF], now=NOW + DAY)
    assert [value for _, value, _ in days(bench)] == [5.32, 5.0]
    assert bench.history.latest("series_days")["revision"].to_list() == [2, 1]
    assert bench.history.latest("series_days", as_of=between).equals(before)


def test_nothing_but_missing_days_is_empty(bench: Bench, httpserver: HTTPServer) -> None:
    httpserver.expect_request(PATH).respond_with_json(body(("2024-01-01", ".")))
    bench.collect([DFF])
    assert (bench.failures, statuses(bench)) == ([], ["empty"])


@pytest.mark.parametrize(
    ("error", "verdict", "n_requests"),
    [
        ({"error_code": 429, "error_message": "Too Many Requests.  Exceeded Rate Limit"}, "transient", 5),
        ({"error_code": 500, "error_message": "Internal Server Error"}, "transient", 5),
        ({"error_code": 400, "error_message": "Bad Request.  The series does not exist."}, "final", 1),
        ({"error_code": "?", "error_message": "what"}, "final", 1),
    ],
)
def test_errors_are_told_by_their_code(
    bench: Bench, httpserver: HTTPServer, error: dict[str, Any], verdict: str, n_requests: int
) -> None:
    httpserver.expect_request(PATH).respond_with_json(error)  # with status 200
    bench.collect([DFF])
    (failure,) = bench.failures
    assert failure.verdict == verdict
    assert error["error_message"][:11] in failure.reason
    assert len(httpserver.log) == n_requests


def test_a_key_that_is_quoted_in_an_error_is_not_repeated(bench: Bench, httpserver: HTTPServer) -> None:
    error = {"error_code": 400, "error_message": f"Bad Request. The value {KEY} of api_key is not registered."}
    httpserver.expect_request(PATH, query_string={**asked_of("DFF")}).respond_with_json(error, status=400)
    bench.collect([DFF])
    (failure,) = bench.failures
    assert "not registered" in failure.reason
    assert KEY not in repr(failure)


def asked_of(series: str) -> dict[str, str]:
    return {"series_id": series, "file_type": "json", "observation_start": str(SINCE), "api_key": KEY}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "expected an object"),
        ({"observations": None}, "expected a list `observations`"),
        (body(("2024-01-02", "1")) | {"count": 150_000}, "answer is cut"),
    ],
)
def test_an_answer_of_another_shape_is_refused(bench: Bench, httpserver: HTTPServer, content: Any, words: str) -> None:
    httpserver.expect_request(PATH).respond_with_json(content)
    bench.collect([DFF])
    (failure,) = bench.failures
    assert failure.verdict == "final"
    assert words in failure.reason


def test_xml_is_no_answer(bench: Bench, httpserver: HTTPServer) -> None:
    xml = Response('<?xml version="1.0" encoding="utf-8" ?><observations/>', mimetype="text/xml")
    httpserver.expect_request(PATH).respond_with_response(xml)
    bench.collect([DFF])
    assert [failure.verdict for failure in bench.failures] == ["transient"]


def test_what_cannot_be_is_set_aside(bench: Bench, httpserver: HTTPServer) -> None:
    bad = [
        ("2024-01-02", "n/a", "value must be a finite number"),
        ("2024-01-02", None, "value must be known"),
        ("January", "1.0", "date must be known"),
        (TODAY + 3 * DAY, "1.0", "date must not lie in the future"),
    ]
    content = body(*((day, value) for day, value, _ in bad), ("2024-01-05", "5.3"))
    content["observations"].append({"value": "1.0"})
    httpserver.expect_request(PATH).respond_with_json(content)
    bench.collect([DFF])
    assert sorted(reasons(bench, "series_days")) == sorted(["date must be known", *(reason for *_, reason in bad)])
    assert [day for day, _, _ in days(bench)] == [dt.date(2024, 1, 5)]


def test_it_needs_a_key() -> None:
    assert dataset_of("fred", "observations").needs_key
