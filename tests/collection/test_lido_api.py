"""Lido's own API: the APR of each day's report, paged by number."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest
from harness import Bench
from indicator_servers import DAY, in_turn, page_of, real_now, reasons, statuses, unix
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from aegis_yield.collection.sources.lido_api import PAGE_SIZE, parse_apr
from aegis_yield.collection.units import Demand

STETH = Demand("lido_api", "apr", "steth")
PATH = "/v1/protocol/steth/apr"
META = {"symbol": "stETH", "address": "0xae7ab96520DE3A18E5e111B5EaAb095312D7fE84", "chainId": 1}
MARCH, APRIL, MAY = dt.date(2024, 3, 1), dt.date(2024, 4, 1), dt.date(2024, 5, 1)
LATER = dt.datetime(2024, 5, 10, tzinfo=dt.UTC)

MakeBench = Callable[..., Bench]


def item(when: dt.date, apr: Any, hour: float = 12.4) -> dict[str, Any]:
    return {"timeUnix": unix(when) + int(3600 * hour), "apr": apr}


def daily(first: dt.date, last: dt.date, per_day: int = 1) -> list[dict[str, Any]]:
    """Reports of days, oldest first; the last of a day says 3 + day/100 percent."""
    found, day = [], first
    while day <= last:
        hours = [24.0 * (n + 0.5) / per_day for n in range(per_day)]
        found += [item(day, 1.0, hour) for hour in hours[:-1]] + [item(day, 3 + day.day / 100, hours[-1])]
        day += DAY
    return found


class Lido:
    """Serves reports as the API does; may page wrongly on demand."""

    def __init__(self, server: HTTPServer, items: list[dict[str, Any]], newest_first: bool = False) -> None:
        self.items, self.newest_first = items, newest_first
        self.ignores_page = self.ignores_window = False
        self.fails_on_page = 0
        self.asked: list[dict[str, int]] = []
        server.expect_request(PATH).respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        asked = {name: int(value) for name, value in request.args.items()}
        self.asked.append(asked)
        if asked["page"] == self.fails_on_page:
            return Response("no such page", status=400)
        found = [
            one for one in self.items
            if self.ignores_window or asked["startTime"] <= one["timeUnix"] <= asked["endTime"]
        ]  # fmt: skip
        found.sort(key=lambda one: one["timeUnix"], reverse=self.newest_first)
        size, page = asked["pageSize"], 1 if self.ignores_page else asked["page"]
        pagination = {"page": page, "pageSize": size, "itemCount": len(found), "pageCount": -(-len(found) // size)}
        body = {"data": found[(page - 1) * size : page * size], "meta": META, "pagination": pagination}
        return Response(json.dumps(body), mimetype="application/json")


def days(bench: Bench) -> list[tuple[dt.date, float, bool]]:
    found = bench.history.latest("series_days").sort("date")
    assert set(found.select("source", "series").rows()) <= {("lido_api", "steth.apr")}
    return [(day, round(value, 12), final) for day, value, final in found.select("date", "value", "is_final").rows()]


def expected(first: dt.date, last: dt.date) -> list[tuple[dt.date, float, bool]]:
    n_days = (last - first).days + 1
    return [(day, round(0.03 + day.day / 10_000, 12), True) for day in (first + n * DAY for n in range(n_days))]


def test_every_month_is_asked_for_by_its_own_window(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    lido = Lido(httpserver, daily(dt.date(2024, 1, 1), dt.date(2024, 6, 30)))
    bench = make_bench(LATER, dt.date(2024, 3, 11))
    assert len(bench.collect([STETH])) == 3
    assert days(bench) == expected(dt.date(2024, 3, 11), dt.date(2024, 5, 9))
    windows = sorted((asked["startTime"], asked["endTime"]) for asked in lido.asked)
    assert windows == [
        (unix(dt.date(2024, 3, 11)), unix(APRIL) - 1), (unix(APRIL), unix(MAY) - 1), (unix(MAY), unix(LATER)),
    ]  # fmt: skip
    assert all((asked["page"], asked["pageSize"]) == (1, PAGE_SIZE) for asked in lido.asked)
    assert statuses(bench) == ["done", "done", "open"]
    assert bench.failures == []


def test_numbers_may_come_as_text_and_days_may_be_missing(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    items = [item(MARCH, 3.1), item(MARCH + DAY, "3.2"), item(MARCH + 4 * DAY, "2.9")]
    items[2]["timeUnix"] = int(items[2]["timeUnix"])
    Lido(httpserver, items)
    bench = make_bench(dt.datetime(2024, 4, 3, tzinfo=dt.UTC), MARCH)
    bench.collect([STETH])
    assert days(bench) == [(MARCH, 0.031, True), (MARCH + DAY, 0.032, True), (MARCH + 4 * DAY, 0.029, True)]


def test_times_may_come_as_text_and_a_slashing_is_negative() -> None:
    body = {"data": [{"timeUnix": str(unix(MARCH)), "apr": "-0.5"}], "meta": META}
    rows = parse_apr(page_of(STETH, body, LATER))["series_days"]
    assert rows.select("date", "value").rows() == [(MARCH, -0.005)]


@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_are_walked_to_the_last_and_the_last_report_of_a_day_holds(
    make_bench: MakeBench, httpserver: HTTPServer, newest_first: bool
) -> None:
    # 7 a day: 217 reports in March, and both page boundaries lie within a day.
    lido = Lido(httpserver, daily(MARCH, dt.date(2024, 3, 31), per_day=7), newest_first)
    bench = make_bench(dt.datetime(2024, 4, 2, tzinfo=dt.UTC), MARCH)
    bench.collect([STETH])
    assert bench.failures == []
    assert days(bench) == expected(MARCH, dt.date(2024, 3, 31))
    march = [asked["page"] for asked in lido.asked if asked["startTime"] < unix(APRIL)]
    assert march == ([1, 3, 2, 1] if newest_first else [1, 2, 3])


@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_that_repeat_are_refused(make_bench: MakeBench, httpserver: HTTPServer, newest_first: bool) -> None:
    lido = Lido(httpserver, daily(MARCH, dt.date(2024, 3, 31), per_day=7), newest_first)
    lido.ignores_page = True
    bench = make_bench(dt.datetime(2024, 4, 2, tzinfo=dt.UTC), MARCH)
    bench.collect([STETH])
    (failure,) = bench.failures
    assert (failure.verdict, failure.unit.start) == ("final", MARCH)
    assert "ignores its cursor" in failure.reason
    assert sum(asked["startTime"] < unix(APRIL) for asked in lido.asked) == 2


def test_a_host_that_ignores_the_window_does_no_harm(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    lido = Lido(httpserver, daily(dt.date(2023, 1, 1), dt.date(2024, 5, 30)))
    lido.ignores_window = True
    bench = make_bench(LATER, dt.date(2024, 3, 11))
    bench.collect([STETH])
    assert bench.failures == []
    assert days(bench) == expected(dt.date(2024, 3, 11), dt.date(2024, 5, 9))


def test_a_month_of_endless_pages_is_not_believed(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    body = {"data": daily(MARCH, MARCH), "meta": META, "pagination": {"page": 1, "pageCount": 10**9}}
    httpserver.expect_request(PATH).respond_with_json(body)
    bench = make_bench(dt.datetime(2024, 4, 3, tzinfo=dt.UTC), APRIL)
    bench.collect([STETH])
    assert [failure.verdict for failure in bench.failures] == ["final"]
    assert len(httpserver.log) == 1


def test_an_open_month_goes_on_three_days_before_where_it_stopped(
    make_bench: MakeBench, httpserver: HTTPServer
) -> None:
    lido = Lido(httpserver, daily(APRIL, dt.date(2024, 4, 9)))
    first = dt.datetime(2024, 4, 10, 9, tzinfo=dt.UTC)
    bench = make_bench(first, APRIL)
    bench.collect([STETH])
    bench.reopen()
    lido.items = daily(APRIL, dt.date(2024, 4, 19))
    lido.items[8] = item(dt.date(2024, 4, 9), 9.9)  # rewritten within the overlap
    bench.collect([STETH], now=first + 10 * DAY)
    assert lido.asked[1]["startTime"] == unix(first) - 3 * 86_400
    assert lido.asked[1]["endTime"] == unix(first + 10 * DAY)
    found = days(bench)
    assert len(found) == 19
    assert found[8] == (dt.date(2024, 4, 9), 0.099, True)
    assert bench.history.revisions("series_days")["revision"].to_list() == [1] * 9 + [2] + [1] * 10
    assert statuses(bench) == ["open"]


def test_a_month_that_broke_off_is_asked_for_again_with_no_row_twice(
    make_bench: MakeBench, httpserver: HTTPServer
) -> None:
    lido = Lido(httpserver, daily(MARCH, dt.date(2024, 3, 31), per_day=7))
    lido.fails_on_page = 3
    bench = make_bench(dt.datetime(2024, 4, 2, tzinfo=dt.UTC), MARCH)
    bench.collect([STETH])
    assert [failure.unit.start for failure in bench.failures] == [MARCH]
    assert statuses(bench)[0] == "failed"
    bench.reopen()
    lido.fails_on_page = 0
    bench.collect([STETH])
    assert bench.failures == []
    assert days(bench) == expected(MARCH, dt.date(2024, 3, 31))


def test_todays_report_is_provisional(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    now = real_now()
    today = now.date()
    items = [item(today - 2 * DAY, 3.0), item(today - DAY, 3.1), {"timeUnix": unix(now) - 1, "apr": 3.2}]
    Lido(httpserver, items if now.time() > dt.time(0, 0, 5) else items[:2])
    bench = make_bench(now, today - 2 * DAY)
    bench.collect([STETH])
    assert [final for *_, final in days(bench)] == [True, True, False][: len(days(bench))]
    assert [day for day, _, _ in days(bench)][:2] == [today - 2 * DAY, today - DAY]


def test_nothing_is_asked_for_that_lies_ahead(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    lido = Lido(httpserver, daily(MAY, dt.date(2024, 5, 31)))
    bench = make_bench(LATER, LATER.date() + DAY)
    bench.collect([STETH])
    assert (bench.failures, lido.asked) == ([], [])


def test_an_empty_month_is_no_failure(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    lido = Lido(httpserver, [])
    bench = make_bench(dt.datetime(2024, 4, 3, tzinfo=dt.UTC), MARCH)
    bench.collect([STETH])
    assert (bench.failures, days(bench), len(lido.asked)) == ([], [], 2)


def test_without_the_history_the_newest_month_falls_back_to_the_last_reports(
    make_bench: MakeBench, httpserver: HTTPServer
) -> None:
    httpserver.expect_request(PATH).respond_with_json({"message": "Cannot GET", "statusCode": 404}, status=404)
    aprs = [*daily(dt.date(2024, 5, 3), dt.date(2024, 5, 8)), item(dt.date(2024, 5, 9), "3.09")]
    body = {"data": {"aprs": aprs, "smaApr": 3.06}, "meta": META}
    httpserver.expect_request(f"{PATH}/sma").respond_with_json(body)
    bench = make_bench(LATER, APRIL)
    bench.collect([STETH])
    assert days(bench) == expected(dt.date(2024, 5, 3), dt.date(2024, 5, 9))
    (failure,) = bench.failures
    assert (failure.unit.start, failure.verdict) == (APRIL, "final")  # what is older cannot be had
    assert sum(request.path.endswith("/sma") for request, _ in httpserver.log) == 1
    # Once the history is there, the whole month is asked for: the fallback set no cursor.
    httpserver.clear()
    lido = Lido(httpserver, daily(APRIL, MAY + 9 * DAY))
    bench.collect([STETH])
    assert sorted(asked["startTime"] for asked in lido.asked) == [unix(APRIL), unix(MAY)]
    assert days(bench) == expected(APRIL, dt.date(2024, 5, 9))


@pytest.mark.parametrize("status", [400, 500])
def test_other_errors_do_not_fall_back(make_bench: MakeBench, httpserver: HTTPServer, status: int) -> None:
    httpserver.expect_request(PATH).respond_with_data("no", status=status)
    bench = make_bench(LATER, MAY)
    bench.collect([STETH])
    assert [failure.verdict for failure in bench.failures] == ["final" if status == 400 else "transient"]
    assert not any(request.path.endswith("/sma") for request, _ in httpserver.log)


@pytest.mark.parametrize("content", [{"data": None}, {"data": ["x"]}, [], {"data": {"aprs": []}}, {"error": "x"}])
def test_an_answer_of_another_shape_is_refused(make_bench: MakeBench, httpserver: HTTPServer, content: Any) -> None:
    httpserver.expect_request(PATH).respond_with_json(content)
    bench = make_bench(LATER, MAY)
    bench.collect([STETH])
    assert [failure.verdict for failure in bench.failures] == ["final"]
    assert len(httpserver.log) == 1


def test_an_average_of_another_shape_is_refused(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    httpserver.expect_request(PATH).respond_with_data("", status=404)
    httpserver.expect_request(f"{PATH}/sma").respond_with_json({"data": {"smaApr": 3.0}})
    bench = make_bench(LATER, MAY)
    bench.collect([STETH])
    assert ["expected a list `aprs`" in failure.reason for failure in bench.failures] == [True]


def test_what_cannot_be_is_set_aside(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    good = daily(MAY, MAY)
    bad = [{"timeUnix": None, "apr": 3.0}, item(MAY + DAY, None), item(MAY + 2 * DAY, "n/a"), {"timeUnix": "soon"}]
    httpserver.expect_request(PATH).respond_with_handler(in_turn({"data": [*bad, *good], "meta": META}))
    bench = make_bench(LATER, MAY)
    bench.collect([STETH])
    assert days(bench) == expected(MAY, MAY)
    assert sorted(reasons(bench, "series_days")) == [
        "date must be known", "date must be known; value must be known", "value must be a finite number",
        "value must be known",
    ]  # fmt: skip
