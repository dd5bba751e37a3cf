"""CoinGecko: daily prices of one granularity only, "now" kept apart."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from harness import Bench
from indicator_servers import DAY, in_turn, land, page_of, real_now, reasons, statuses, unix
from pytest_httpserver import HTTPServer

from aegis_yield.collection.sources import dataset_of
from aegis_yield.collection.sources.coingecko import parse_market_chart
from aegis_yield.collection.units import Demand

NOW = real_now()
TODAY = NOW.date()
KEY = "CG-0123456789abcdefABCDEF"
ETHER = Demand("coingecko", "market_chart", "ethereum")
PATH = "/api/v3/coins/ethereum/market_chart"

MakeBench = Callable[..., Bench]


def body(*prices: tuple[dt.date | dt.datetime, Any]) -> dict[str, Any]:
    points = [[unix(when) * 1000, price] for when, price in prices]
    return {"prices": points, "market_caps": points, "total_volumes": points}


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench(now=NOW, since=TODAY - 200 * DAY, environment={"AEGIS_SRC__COINGECKO__API_KEY": KEY})


def days(bench: Bench) -> list[tuple[dt.date, float, bool]]:
    found = bench.history.latest("series_days").sort("date")
    assert set(found.select("source", "series").rows()) <= {("coingecko", "price:ethereum")}
    return found.select("date", "value", "is_final").rows()


def test_a_midnight_point_is_the_close_of_the_day_before(bench: Bench, httpserver: HTTPServer) -> None:
    content = body((TODAY - 4 * DAY, 3010.5), (TODAY - 2 * DAY, 3050.25), (TODAY - DAY, 3000), (NOW, 2999.0))
    httpserver.expect_request(PATH, headers={"x-cg-demo-api-key": KEY}).respond_with_json(content)
    bench.collect([ETHER])
    assert bench.failures == []
    found = days(bench)
    assert found[:3] == [
        (TODAY - 5 * DAY, 3010.5, True), (TODAY - 3 * DAY, 3050.25, True), (TODAY - 2 * DAY, 3000.0, True),
    ]  # fmt: skip
    assert [final for *_, final in found[3:]] == [False]


@pytest.mark.parametrize(("n_days", "asked"), [(1, 91), (90, 91), (91, 92), (364, 365), (900, 365)])
def test_as_many_days_are_asked_for_as_make_the_answer_daily(
    make_bench: MakeBench, httpserver: HTTPServer, n_days: int, asked: int
) -> None:
    httpserver.expect_request(PATH).respond_with_json(body())
    bench = make_bench(now=NOW, since=TODAY - n_days * DAY)
    bench.collect([ETHER])
    ((request, _),) = httpserver.log
    assert dict(request.args) == {"vs_currency": "usd", "days": str(asked), "interval": "daily"}
    assert statuses(bench) == ["empty"]


@pytest.mark.parametrize("step", [dt.timedelta(minutes=5), dt.timedelta(hours=1), dt.timedelta(hours=8)])
def test_any_other_granularity_is_refused(bench: Bench, httpserver: HTTPServer, step: dt.timedelta) -> None:
    begin = dt.datetime.combine(TODAY - 3 * DAY, dt.time(), dt.UTC)
    httpserver.expect_request(PATH).respond_with_json(body(*((begin + n * step, 3000.0) for n in range(6))))
    bench.collect([ETHER])
    (failure,) = bench.failures
    assert failure.verdict == "final"
    assert "expected one point a day at 00:00 UTC" in failure.reason
    assert days(bench) == []


def test_now_is_provisional_and_gives_way_to_the_close(bench: Bench) -> None:
    day, noon = dt.date(2024, 3, 10), dt.datetime(2024, 3, 10, 12, tzinfo=dt.UTC)
    land(bench, ETHER, body((day - DAY, 1.0), (day, 2.0), (noon, 2.5)), noon)
    assert days(bench) == [(day - 2 * DAY, 1.0, True), (day - DAY, 2.0, True), (day, 2.5, False)]
    later = noon + DAY
    land(bench, ETHER, body((day - DAY, 1.0), (day, 2.0), (day + DAY, 3.0), (later, 3.5)), later)
    assert days(bench)[2:] == [(day, 3.0, True), (day + DAY, 3.5, False)]


@pytest.mark.parametrize(("minutes", "final"), [(1, False), (34, False), (35, True), (120, True)])
def test_a_close_settles_35_minutes_after_midnight(minutes: int, final: bool) -> None:
    midnight = dt.datetime(2024, 3, 11, tzinfo=dt.UTC)
    now = midnight + dt.timedelta(minutes=minutes)
    rows = parse_market_chart(page_of(ETHER, body((midnight, 3.0), (now, 4.0)), now))["series_days"]
    assert rows.row(0, named=True)["date"] == dt.date(2024, 3, 10)
    assert rows.row(0, named=True)["is_final"] is final
    # Within minutes of midnight "now" is as good a close as any; afterwards it belongs to the new day.
    assert rows.row(1, named=True)["date"] == dt.date(2024, 3, 10 if minutes == 1 else 11)
    assert rows.row(1, named=True)["is_final"] is False


@pytest.mark.parametrize(
    ("content", "verdict", "n_requests"),
    [
        ({"status": {"error_code": 429, "error_message": "You've exceeded the Rate Limit."}}, "transient", 5),
        ({"error": {"status": {"error_code": 10012, "error_message": "allowed time range exceeded"}}}, "final", 1),
        ({"error": "coin not found"}, "final", 1),
        ([], "final", 1),
        ({"prices": None}, "final", 1),
    ],
)
def test_an_error_with_status_200_is_an_error(
    bench: Bench, httpserver: HTTPServer, content: Any, verdict: str, n_requests: int
) -> None:
    httpserver.expect_request(PATH).respond_with_json(content)
    bench.collect([ETHER])
    (failure,) = bench.failures
    assert (failure.verdict, len(httpserver.log)) == (verdict, n_requests)
    assert days(bench) == []


def test_a_limit_that_passes_is_waited_for(bench: Bench, httpserver: HTTPServer) -> None:
    limit = {"status": {"error_code": 429, "error_message": "Rate Limit"}}
    httpserver.expect_request(PATH).respond_with_handler(in_turn(limit, body((TODAY - DAY, 5.0))))
    bench.collect([ETHER])
    assert bench.failures == []
    assert days(bench) == [(TODAY - 2 * DAY, 5.0, True)]


def test_what_cannot_be_is_set_aside(bench: Bench, httpserver: HTTPServer) -> None:
    day = unix(TODAY - 2 * DAY) * 1000
    bad: list[tuple[list[Any], str]] = [
        ([day, None], "value must be known"),
        ([day, 0.0], "a price must be above 0"),
        ([day, "x"], "value must be a finite number"),
        (["x", 1.0], "date must be known"),
        ([unix(TODAY + 9 * DAY) * 1000, 1.0], "date must not lie in the future"),
    ]
    content = body((TODAY - 5 * DAY, 1.0), (TODAY - 4 * DAY, 2.0))
    content["prices"] += [point for point, _ in bad]
    httpserver.expect_request(PATH).respond_with_json(content)
    bench.collect([ETHER])
    assert sorted(reasons(bench, "series_days")) == sorted(reason for _, reason in bad)
    assert [value for _, value, _ in days(bench)] == [1.0, 2.0]


def test_it_needs_a_key() -> None:
    assert dataset_of("coingecko", "market_chart").needs_key
