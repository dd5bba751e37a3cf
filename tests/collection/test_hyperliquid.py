"""Hyperliquid: what only Hyperliquid does; what every exchange has in common is in test_exchanges."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from itertools import pairwise

import pytest
from exchange_servers import (
    HOUR_MS,
    NOW,
    SINCE,
    Hyperliquid,
    HyperliquidCandles,
    candles,
    hours,
    ms,
    settlements,
    switching_times,
    utc,
)
from harness import Bench
from pytest_httpserver import HTTPServer

from aegis_yield.collection.sources.hyperliquid import DATASETS
from aegis_yield.collection.units import Demand


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(NOW, SINCE)


@pytest.fixture
def market(httpserver: HTTPServer) -> Hyperliquid:
    return Hyperliquid(httpserver, settlements(switching_times()))


def test_an_interval_that_goes_from_eight_hours_to_one_needs_no_setting(market: Hyperliquid, bench: Bench) -> None:
    bench.collect([market.demand])
    times = [row[2] for row in market.collected(bench)]
    steps = [(later - earlier) // dt.timedelta(hours=1) for earlier, later in pairwise(times)]
    switch = steps.index(1)
    assert steps[:switch] == [8] * switch
    assert times[switch] == utc(ms(2024, 2, 10))
    assert sorted(steps[switch:])[-2:] == [1, 2]  # the one gap stays a gap


def test_a_page_holds_500_and_the_next_goes_on_after_its_last(market: Hyperliquid, bench: Bench) -> None:
    jitter = 48
    market.truth = settlements(time + jitter for time in hours(ms(2023, 12, 1), ms(2024, 3, 21)))
    bench.collect([market.demand])
    assert market.collected(bench) == market.expected()
    february = [first for first, last in market.pages() if last == ms(2024, 3, 1) - 1]
    assert february == [ms(2024, 2, 1), ms(2024, 2, 1) + 499 * HOUR_MS + jitter + 1]
    assert market.asked[0].keys() == {"type", "coin", "startTime", "endTime"}


def test_a_settlement_belongs_to_the_full_hour_that_it_ended(
    market: Hyperliquid, make_bench: Callable[..., Bench]
) -> None:
    # Times as recorded from the real exchange: one 24 minutes late, the switch to hourly on 8 June.
    recorded = [1684800000022, 1684830233040, 1684857600079, 1686153600026, 1686182400254, 1686186000054]
    market.truth = settlements(recorded)
    bench = make_bench(dt.datetime(2023, 6, 9, tzinfo=dt.UTC), dt.date(2023, 5, 1))
    bench.collect([market.demand])
    may, june = dt.datetime(2023, 5, 23, tzinfo=dt.UTC), dt.datetime(2023, 6, 8, tzinfo=dt.UTC)
    assert [row[2] for row in market.collected(bench)] == [
        may, may + dt.timedelta(hours=8), may + dt.timedelta(hours=16),
        june - dt.timedelta(hours=8), june, june + dt.timedelta(hours=1),
    ]  # fmt: skip


def test_the_candle_that_was_open_at_the_beginning_of_a_window_is_left_out(
    httpserver: HTTPServer, bench: Bench
) -> None:
    shifted = candles(time + HOUR_MS // 2 for time in hours(ms(2024, 1, 1), ms(2024, 3, 21)))
    market = HyperliquidCandles(httpserver, shifted)
    bench.collect([market.demand])
    assert bench.failures == []
    assert market.collected(bench) == market.expected()
    assert bench.history.revisions("candles").height == len(market.expected())


def test_candles_of_another_interval_are_refused(httpserver: HTTPServer, bench: Bench) -> None:
    market = HyperliquidCandles(httpserver, candles(hours(ms(2024, 1, 1), ms(2024, 3, 21))))
    market.changed = lambda row: {**row, "i": "4h"}
    bench.collect([market.demand])
    assert len(bench.failures) == 3
    assert all("asked for i '1h', received ['4h']" in failure.reason for failure in bench.failures)


def test_every_page_takes_its_weight_off_the_limit(market: Hyperliquid, make_bench: Callable[..., Bench]) -> None:
    # 300 of weight a second: the first page finds the bucket full, then each takes 45 of it.
    rate = {"AEGIS_SRC__HYPERLIQUID__REQUESTS_PER_SECOND": "300"}
    bench = make_bench(dt.datetime(2024, 12, 31, tzinfo=dt.UTC), dt.date(2024, 1, 1), environment=rate)
    began = dt.datetime.now(dt.UTC)
    bench.collect([market.demand])
    spent = (dt.datetime.now(dt.UTC) - began).total_seconds()
    assert len(market.asked) == 14
    assert spent >= (14 * 45 - 300) / 300


def test_what_is_offered_is_demanded_by_coin() -> None:
    assert {(spec.source, spec.name, spec.host) for spec in DATASETS} == {
        ("hyperliquid", "funding", "hyperliquid"), ("hyperliquid", "candles", "hyperliquid"),
    }  # fmt: skip
    unit = DATASETS[0].units(Demand("hyperliquid", "funding", "ETH"), SINCE, NOW.date())[0]
    assert (unit.start, unit.end) == (dt.date(2024, 1, 1), dt.date(2024, 2, 1))
