"""Bybit: what only Bybit does; what every exchange has in common is in test_exchanges."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable

import pytest
from exchange_servers import DAY_MS, HOUR_MS, NOW, SINCE, Bybit, hours, ms, settlements, switching_times
from harness import Bench
from pytest_httpserver import HTTPServer
from werkzeug import Response


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(NOW, SINCE, environment={"AEGIS_SRC__BYBIT__CONCURRENCY": "1"})


@pytest.fixture
def bybit(httpserver: HTTPServer) -> Bybit:
    return Bybit(httpserver, settlements(switching_times()))


def test_a_start_without_an_end_is_an_error_and_never_sent(bybit: Bybit, bench: Bench, httpserver: HTTPServer) -> None:
    url = httpserver.url_for(f"{bybit.path}?category=linear&symbol=ETHUSDT&startTime={ms(2024, 1, 5)}")
    with urllib.request.urlopen(url) as reply:
        assert json.load(reply)["retMsg"] == "Time is invalid"
    bybit.asked.clear()
    bench.collect([bybit.demand])
    assert bench.failures == []
    assert bybit.asked
    assert all({"startTime", "endTime", "category", "symbol"} <= set(asked) for asked in bybit.asked)


def test_a_month_of_hourly_settlements_fits_into_pages_of_eight_days(bybit: Bybit, bench: Bench) -> None:
    bybit.truth = settlements(hours(ms(2023, 12, 1), ms(2024, 3, 21)))
    bench.collect([bybit.demand])
    assert bybit.collected(bench) == bybit.expected()
    january = [(first, last) for first, last in bybit.pages() if last < ms(2024, 2, 1)]
    starts = [ms(2024, 1, 5) + n * 8 * DAY_MS for n in range(4)]
    assert january == [(start, min(start + 8 * DAY_MS, ms(2024, 2, 1)) - 1) for start in starts]


def test_more_settlements_than_a_page_holds_are_walked_through_backwards(bybit: Bybit, bench: Bench) -> None:
    bybit.truth = settlements(hours(ms(2024, 1, 1), ms(2024, 3, 21)))
    bybit.largest_page = 150
    bench.collect([bybit.demand])
    assert bybit.collected(bench) == bybit.expected()
    piece = [(first, last) for first, last in bybit.pages() if first == ms(2024, 1, 5)]
    assert piece == [(ms(2024, 1, 5), ms(2024, 1, 13) - 1), (ms(2024, 1, 5), ms(2024, 1, 13) - 150 * HOUR_MS - 1)]


def test_the_cursor_is_the_newest_row_of_all_pages(bybit: Bybit, make_bench: Callable[..., Bench]) -> None:
    bybit.truth = settlements(hours(ms(2024, 3, 1), ms(2024, 3, 8)))
    bybit.largest_page = 100
    bench = make_bench(NOW.replace(day=8, hour=0, minute=0), SINCE)
    bench.collect([bybit.demand])
    assert len([first for first, _ in bybit.pages() if first == ms(2024, 3, 1)]) == 2
    bybit.asked.clear()
    bench.collect([bybit.demand])
    assert [first for first, _ in bybit.pages()] == [ms(2024, 3, 7, 23) - 16 * HOUR_MS]


@pytest.mark.parametrize("code", [10006, "10006", 10000, 10016, 10018])
def test_too_many_visits_said_with_a_200_are_asked_again(bybit: Bybit, bench: Bench, code: object) -> None:
    bybit.instead.append(bybit.envelope([], code, "Too many visits!"))  # type: ignore[arg-type]
    bench.collect([bybit.demand])
    assert (bench.failures, bench.figures["bybit"].retries) == ([], 1)
    assert bybit.collected(bench) == bybit.expected()


@pytest.mark.parametrize("code", [10001, 10017, "x", None])
def test_another_error_said_with_a_200_is_final(bybit: Bybit, bench: Bench, code: object) -> None:
    bybit.instead.append(bybit.envelope([], code, "params error"))  # type: ignore[arg-type]
    bench.collect([bybit.demand])
    assert [failure.reason for failure in bench.failures] == [f"bybit: retCode {code}: params error"]
    assert bench.figures["bybit"].retries == 0


def test_a_success_may_say_its_code_as_text(bybit: Bybit, bench: Bench) -> None:
    answer = bybit.answer
    bybit.answer = lambda asked: Response(  # type: ignore[method-assign]
        answer(asked).get_data().replace(b'"retCode": 0', b'"retCode": "0"'), content_type="application/json"
    )
    bench.collect([bybit.demand])
    assert bench.failures == []
    assert bybit.collected(bench) == bybit.expected()


@pytest.mark.parametrize("banned", ["403", "10009"])
def test_a_ban_stops_all_requests(bybit: Bybit, bench: Bench, banned: str) -> None:
    page = Response("<html>access too frequent</html>", 403, content_type="text/html")
    bybit.instead.append(page if banned == "403" else bybit.envelope([], 10009, "IP has been banned."))
    bench.collect([bybit.demand])
    assert len(bybit.asked) == 1
    assert [failure.verdict for failure in bench.failures] == ["banned"] * 3
    assert ["left alone" in failure.reason for failure in bench.failures].count(True) == 2
    bench.collect([bybit.demand])  # a new run, after the ban
    assert bench.failures == []
    assert bybit.collected(bench) == bybit.expected()
