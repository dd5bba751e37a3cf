"""OKX: what only OKX does; what every exchange has in common is in test_exchanges."""

from __future__ import annotations

import datetime as dt
import json
import urllib.request
from collections.abc import Callable

import pytest
from exchange_servers import HOUR_MS, NOW, SINCE, Okx, hours, json_answer, ms, settlements, switching_times
from harness import Bench
from pytest_httpserver import HTTPServer


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(NOW, SINCE)


@pytest.fixture
def okx(httpserver: HTTPServer) -> Okx:
    return Okx(httpserver, settlements(switching_times()))


def test_the_local_exchange_takes_before_for_newer_and_after_for_older(okx: Okx, httpserver: HTTPServer) -> None:
    middle = ms(2024, 2, 15)
    for name, is_right in (("before", lambda time: time > middle), ("after", lambda time: time < middle)):
        url = httpserver.url_for(f"{okx.path}?instId={okx.entity}&limit=400&{name}={middle}")
        with urllib.request.urlopen(url) as reply:
            times = [int(row["fundingTime"]) for row in json.load(reply)["data"]]
        assert len(times) > 200
        assert all(map(is_right, times))
        assert times == sorted(times, reverse=True)


def test_pages_go_back_in_time_from_the_end_of_the_window(okx: Okx, bench: Bench) -> None:
    okx.truth = settlements(hours(ms(2023, 12, 1), ms(2024, 3, 21)))
    okx.largest_page = 100  # as it was until 2025
    bench.collect([okx.demand])
    assert okx.collected(bench) == okx.expected()
    first_piece = [int(asked["after"]) for asked in okx.asked if int(asked["after"]) <= ms(2024, 1, 21)]
    assert first_piece == [ms(2024, 1, 21) - n * 100 * HOUR_MS for n in range(4)]
    assert not any("before" in asked for asked in okx.asked)


def test_a_page_that_reaches_back_beyond_the_window_is_its_last(okx: Okx, bench: Bench) -> None:
    bench.collect([okx.demand])
    assert okx.collected(bench) == okx.expected()
    assert len(okx.asked) == 6  # two pieces of 16 days a month


def test_what_was_paid_is_read_and_not_the_forecast_of_it(okx: Okx, bench: Bench) -> None:
    bench.collect([okx.demand])
    assert okx.collected(bench) == okx.expected()  # the forecast is always 0.05 there
    assert all(rate != 0.05 for *_, rate, _, _ in okx.collected(bench))


def test_what_is_older_than_it_tells_is_empty_and_no_fault(okx: Okx, make_bench: Callable[..., Bench]) -> None:
    okx.truth = settlements(hours(ms(2023, 10, 1), ms(2024, 3, 21), 8))
    okx.keeps_from = ms(2023, 12, 20)
    bench = make_bench(NOW, dt.date(2023, 10, 1))
    bench.collect([okx.demand])
    assert bench.failures == []
    assert okx.collected(bench) == okx.expected(since=dt.date(2023, 12, 20))
    states = {unit["start"][:7]: unit["status"] for unit in bench.journal.units()}
    assert states == {
        "2023-10": "empty", "2023-11": "empty", "2023-12": "done", "2024-01": "done", "2024-02": "done",
        "2024-03": "open",
    }  # fmt: skip


@pytest.mark.parametrize("code", ["50011", "50013", 50011, "50001", "50004", "50026"])
def test_an_error_in_passing_is_asked_again(okx: Okx, bench: Bench, code: object) -> None:
    okx.instead.append(json_answer({"code": code, "msg": "Rate limit reached", "data": []}))
    bench.collect([okx.demand])
    assert (bench.failures, bench.figures["okx"].retries) == ([], 1)
    assert okx.collected(bench) == okx.expected()


def test_another_error_said_with_a_200_is_final(okx: Okx, bench: Bench) -> None:
    okx.instead.append(json_answer({"code": "51000", "msg": "Parameter after error", "data": []}))
    bench.collect([okx.demand])
    assert [failure.reason for failure in bench.failures] == ["okx: code 51000: Parameter after error"]
    assert bench.figures["okx"].retries == 0
