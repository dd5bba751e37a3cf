"""Binance: what only Binance does; what every exchange has in common is in test_exchanges."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

import pytest
from exchange_servers import (
    HOUR_MS,
    NOW,
    SINCE,
    Binance,
    BinanceCandles,
    candles,
    hours,
    json_answer,
    ms,
    settlements,
    switching_times,
    utc,
)
from harness import Bench
from pytest_httpserver import HTTPServer
from werkzeug import Response

from aegis_yield.collection.sources.binance import parse_candles
from aegis_yield.collection.units import Demand, Page


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(NOW, SINCE, environment={"AEGIS_SRC__BINANCE__CONCURRENCY": "1"})


@pytest.fixture
def binance(httpserver: HTTPServer) -> Binance:
    return Binance(httpserver, settlements(switching_times(), mark=True))


def test_a_month_is_one_request_with_all_that_it_needs(binance: Binance, bench: Bench) -> None:
    bench.collect([binance.demand])
    assert binance.asked == [
        {"symbol": "ETHUSDT", "startTime": str(first), "endTime": str(last), "limit": "1000"}
        for first, last in (
            (ms(2024, 1, 5), ms(2024, 2, 1) - 1),
            (ms(2024, 2, 1), ms(2024, 3, 1) - 1),
            (ms(2024, 3, 1), ms(2024, 3, 20, 13, 30)),
        )
    ]


def test_an_old_settlement_without_a_mark_price_has_none(binance: Binance, bench: Bench) -> None:
    binance.truth = [(time, rate, mark if time >= ms(2024, 2, 1) else None) for time, rate, mark in binance.truth]
    bench.collect([binance.demand])
    assert binance.collected(bench) == binance.expected()
    is_known = [row[4] is not None for row in binance.collected(bench)]
    assert is_known == [row[2] >= utc(ms(2024, 2, 1)) for row in binance.collected(bench)]


def test_milliseconds_of_jitter_do_not_move_the_hour(binance: Binance, bench: Bench) -> None:
    exact = binance.expected()
    binance.truth = [(time + place % 17, rate, mark) for place, (time, rate, mark) in enumerate(binance.truth)]
    bench.collect([binance.demand])
    assert binance.collected(bench) == exact


def test_a_clock_that_runs_ahead_does_not_take_the_place_of_the_hour_before(binance: Binance, bench: Bench) -> None:
    exact = binance.expected()[1:]  # the first is now stamped on the day before `since`
    binance.truth = [(time - 3, rate, mark) for time, rate, mark in binance.truth]
    bench.collect([binance.demand])
    assert binance.collected(bench) == exact


def test_too_many_requests_are_answered_with_the_patience_asked_for(binance: Binance, bench: Bench) -> None:
    binance.instead.append(json_answer({"code": -1003, "msg": "Too many requests"}, 429, {"Retry-After": "1"}))
    began = dt.datetime.now(dt.UTC)
    bench.collect([binance.demand])
    assert (dt.datetime.now(dt.UTC) - began).total_seconds() >= 1.0
    assert bench.failures == []
    assert bench.figures["binance"].limited == 1
    assert binance.collected(bench) == binance.expected()


@pytest.mark.parametrize("code", [-1001, -1003, -1007, -1008, "-1003"])
def test_an_error_in_passing_said_with_a_200_is_asked_again(binance: Binance, bench: Bench, code: object) -> None:
    binance.instead.append(json_answer({"code": code, "msg": "later"}))
    bench.collect([binance.demand])
    assert (bench.failures, bench.figures["binance"].retries) == ([], 1)
    assert binance.collected(bench) == binance.expected()


def test_another_error_said_with_a_200_is_final(binance: Binance, bench: Bench) -> None:
    binance.instead.append(json_answer({"code": -1121, "msg": "Invalid symbol."}))
    bench.collect([binance.demand])
    assert [failure.reason for failure in bench.failures] == ["binance: code -1121: Invalid symbol."]
    assert bench.figures["binance"].retries == 0


def test_a_ban_stops_all_requests(binance: Binance, bench: Bench) -> None:
    binance.instead.append(Response("banned", 418, {"Retry-After": "120"}))
    bench.collect([binance.demand])
    assert len(binance.asked) == 1
    assert [failure.verdict for failure in bench.failures] == ["banned"] * 3
    bench.collect([binance.demand])  # a new run, after the ban
    assert bench.failures == []
    assert binance.collected(bench) == binance.expected()


def test_candles_are_asked_for_with_the_smallest_limit_that_holds_them(httpserver: HTTPServer, bench: Bench) -> None:
    market = BinanceCandles(httpserver, candles(hours(ms(2024, 1, 1), ms(2024, 3, 21))))
    bench.collect([market.demand])
    assert [asked["limit"] for asked in market.asked] == [str(24 * 27), str(24 * 29), str(24 * 19 + 14)]


def test_a_candle_is_final_once_it_has_closed() -> None:
    first = ms(2024, 3, 1)
    body = json.dumps([[first + n * HOUR_MS, "1", "2", "1", "2", "5", 0] for n in range(3)]).encode()
    context = {"context": {"from_ms": first, "to_ms": first + 9 * HOUR_MS}}
    demand = Demand("binance", "candles", "ETHUSDT")
    for minutes, is_final in ((119, [True, False, False]), (120, [True, True, False]), (180, [True, True, True])):
        page = Page("r", demand, "u", context, utc(first) + dt.timedelta(minutes=minutes), body)
        assert parse_candles(page)["candles"]["is_final"].to_list() == is_final


def test_an_open_candle_is_followed_by_its_final_self(httpserver: HTTPServer, make_bench: Callable[..., Bench]) -> None:
    # Times of now: whether a candle is closed is judged by when its answer came.
    now = dt.datetime.now(dt.UTC)
    opening = int(now.timestamp() * 1000) // HOUR_MS * HOUR_MS
    market = BinanceCandles(httpserver, candles(hours(opening - 5 * HOUR_MS, opening + HOUR_MS)))
    bench = make_bench(now, (now - dt.timedelta(days=1)).date())
    bench.collect([market.demand])
    market.truth[-1] = (*market.truth[-1][:4], "1999", "7")  # the last price and the volume went on
    bench.collect([market.demand])
    rows = bench.history.revisions("candles").sort("time", "revision")
    assert rows["revision"].to_list() == [1, 1, 1, 1, 1, 1, 2]
    assert rows["volume"][-1] == 7.0
    assert rows["is_final"].to_list()[:5] == [True] * 5
    ends = rows["time"] + dt.timedelta(hours=1)
    assert rows["is_final"].to_list() == (ends <= rows["ingested_at"]).to_list()
