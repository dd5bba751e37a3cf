"""DefiLlama's yields: the list of pools, each pool's chart, lending pools, kinds of protocols."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from harness import Bench
from indicator_servers import (
    CHART,
    DAY,
    POOL,
    chart_body,
    chart_row,
    in_turn,
    land,
    page_of,
    real_now,
    reasons,
    statuses,
)
from pytest_httpserver import HTTPServer
from werkzeug import Response

from aegis_yield.collection.sources import dataset_of
from aegis_yield.collection.sources.defillama import parse_chart, parse_lending, parse_pools
from aegis_yield.collection.units import Demand

NOW = real_now()
TODAY = NOW.date()
POOLS, PROTOCOLS = Demand("defillama", "pools", "*"), Demand("defillama", "protocols", "*")

POOL_ITEM: dict[str, Any] = {
    "chain": "Ethereum", "project": "aave-v3", "symbol": "USDC", "tvlUsd": 178734645, "apyBase": 3.29338,
    "apyReward": None, "apy": 3.29338, "rewardTokens": None, "pool": "aa70268e-4b52-42bf-a116-608b370f9501",
    "apyPct1D": -0.04, "apyPct7D": 0.3, "apyPct30D": None, "stablecoin": True, "ilRisk": "no", "exposure": "single",
    "predictions": {"predictedClass": "Stable/Up", "predictedProbability": 74, "binnedConfidence": 2},
    "poolMeta": None, "mu": 4.1, "sigma": 0.05, "count": 1141, "outlier": False,
    "underlyingTokens": ["0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"], "il7d": None, "apyBase7d": None,
    "apyMean30d": 3.1, "volumeUsd1d": None, "volumeUsd7d": None, "apyBaseInception": None,
}  # fmt: skip
"""As documented: exactly these 28 keys."""

MakeBench = Callable[..., Bench]


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench(now=NOW, since=TODAY - 400 * DAY)


def serve(server: HTTPServer, *answers: Any, path: str = f"/chart/{POOL}") -> None:
    server.expect_request(path).respond_with_handler(in_turn(*answers))


def days(bench: Bench) -> list[tuple[dt.date, float, bool]]:
    found = bench.history.latest("pool_days").sort("date")
    return [(day, round(apy, 12), final) for day, apy, final in found.select("date", "apy", "is_final").iter_rows()]


# Charts


def test_a_chart_becomes_days_in_fractions(bench: Bench, httpserver: HTTPServer) -> None:
    row = chart_row(TODAY - 5 * DAY, 5.5, apyBase=3.5, apyReward=2.0, tvlUsd=11074372760)
    bootstrapped = chart_row(TODAY - 9 * DAY, 3.6, clock="00:00:00.000")
    serve(httpserver, chart_body(bootstrapped, row, chart_row(TODAY, 2.7)))
    bench.collect([CHART])
    found = bench.history.latest("pool_days").filter(pl.col("date") == TODAY - 5 * DAY).row(0, named=True)
    assert (found["pool"], found["tvl_usd"]) == (POOL, 11074372760.0)
    assert [found["apy"], found["apy_base"], found["apy_reward"]] == pytest.approx([0.055, 0.035, 0.02], abs=1e-15)
    assert [day for day, _, _ in days(bench)] == [TODAY - 9 * DAY, TODAY - 5 * DAY, TODAY]  # missing days stay missing
    assert bench.failures == []
    assert statuses(bench) == ["done"]


def test_todays_row_is_provisional(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, chart_body(*(chart_row(TODAY - n * DAY, float(n)) for n in (2, 1, 0))))
    bench.collect([CHART])
    assert days(bench) == [(TODAY - 2 * DAY, 0.02, True), (TODAY - DAY, 0.01, True), (TODAY, 0.0, False)]


def test_a_copy_that_ends_yesterday_is_provisional_there_until_a_later_one_says_more(
    bench: Bench, httpserver: HTTPServer
) -> None:
    before = chart_row(TODAY - 2 * DAY, 2.0)
    serve(
        httpserver,
        chart_body(before, chart_row(TODAY - DAY, 3.0, clock="11:00:00.000")),
        chart_body(before, chart_row(TODAY - DAY, 3.5), chart_row(TODAY, 9.0)),
    )
    bench.collect([CHART])
    assert days(bench) == [(TODAY - 2 * DAY, 0.02, True), (TODAY - DAY, 0.03, False)]
    bench.collect([CHART], now=NOW + DAY)
    assert days(bench)[1:] == [(TODAY - DAY, 0.035, True), (TODAY, 0.09, False)]
    assert bench.history.latest("pool_days").sort("date")["revision"].to_list() == [1, 2, 1]


def test_a_day_becomes_final_once_it_is_over(bench: Bench) -> None:
    """Three answers of three days: a day in progress, a stale copy of it, the day when it is over."""
    day = dt.date(2024, 3, 10)
    noon = dt.datetime(2024, 3, 10, 12, tzinfo=dt.UTC)
    land(bench, CHART, chart_body(chart_row(day, 3.0, clock="11:00:00.000")), noon)
    land(bench, CHART, chart_body(chart_row(day, 3.0, clock="11:00:00.000")), noon + DAY)
    assert days(bench) == [(day, 0.03, False)]
    over = chart_body(chart_row(day, 3.4), chart_row(day + DAY, 5.0, clock="12:00:00.000"))
    land(bench, CHART, over, noon + DAY + dt.timedelta(hours=1))
    assert days(bench) == [(day, 0.034, True), (day + DAY, 0.05, False)]
    # A copy from the day before comes last: what was final stays as it was.
    land(bench, CHART, chart_body(chart_row(day, 3.0, clock="11:00:00.000")), noon + DAY + dt.timedelta(hours=2))
    assert days(bench)[0] == (day, 0.034, True)


def test_a_chart_that_ended_long_ago_is_final_to_its_end(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, chart_body(chart_row(TODAY - 40 * DAY, 1.0), chart_row(TODAY - 4 * DAY, 2.0)))
    bench.collect([CHART])
    assert [final for *_, final in days(bench)] == [True, True]


def test_of_two_rows_of_a_day_the_later_one_holds(bench: Bench, httpserver: HTTPServer) -> None:
    early, late = chart_row(TODAY - 3 * DAY, 1.0, clock="00:00:00.000"), chart_row(TODAY - 3 * DAY, 2.0)
    serve(httpserver, chart_body(late, early, chart_row(TODAY, 1.0)))
    bench.collect([CHART])
    assert days(bench)[0] == (TODAY - 3 * DAY, 0.02, True)
    assert bench.history.revisions("pool_days").height == 2


def test_a_rate_that_is_null_is_the_sum_of_its_parts_or_missing(bench: Bench, httpserver: HTTPServer) -> None:
    rows = [
        chart_row(TODAY - 5 * DAY, None, apyBase=1.5, apyReward=0.5),
        chart_row(TODAY - 4 * DAY, None, apyBase=1.5),
        chart_row(TODAY - 3 * DAY, None, apyBase=None, apyReward=0.5),
        chart_row(TODAY - 2 * DAY, None),
        chart_row(TODAY - 1 * DAY, 7.0, tvlUsd=None),
        chart_row(TODAY, 1.0),
    ]
    serve(httpserver, chart_body(*rows))
    bench.collect([CHART])
    assert [(day, apy) for day, apy, _ in days(bench)][:-1] == [
        (TODAY - 5 * DAY, 0.02), (TODAY - 4 * DAY, 0.015), (TODAY - 3 * DAY, 0.005), (TODAY - 1 * DAY, 0.07),
    ]  # fmt: skip
    assert reasons(bench, "pool_days") == []
    assert bench.history.latest("pool_days")["tvl_usd"].null_count() == 1


def test_numbers_may_come_as_text(bench: Bench, httpserver: HTTPServer) -> None:
    row = chart_row(TODAY - 2 * DAY, "3.5", apyBase="3.5", tvlUsd="1000000")
    serve(httpserver, chart_body(row, chart_row(TODAY, 1)))
    bench.collect([CHART])
    found = bench.history.latest("pool_days").row(0, named=True)
    assert (found["apy"], found["apy_base"], found["tvl_usd"]) == (0.035, 0.035, 1e6)


def test_unknown_fields_are_left_alone(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, chart_body(chart_row(TODAY - 2 * DAY, 3.5, rateType="new", nested={"a": [1]})) | {"more": 1})
    bench.collect([CHART])
    assert days(bench) == [(TODAY - 2 * DAY, 0.035, False)]


def test_what_cannot_be_is_set_aside_with_its_reason(bench: Bench, httpserver: HTTPServer) -> None:
    day, rate = TODAY - 5 * DAY, "apy must lie in 0 … 10000 (a fraction a year)"
    bad = [
        (chart_row(TODAY + 2 * DAY, 3.0), "date must not lie in the future"),
        (chart_row(dt.date(2014, 12, 31), 3.0), "date must not lie before 2015-01-01"),
        (chart_row(day, -0.1), rate),
        (chart_row(day, 1e6 + 1), rate),
        (chart_row(day, "n/a", apyBase=None), f"apy must be a finite number; {rate}"),
        (chart_row(day, 3.0, tvlUsd=-1), "tvl_usd must be at least 0"),
        (chart_row(day, 3.0, tvlUsd=10**400), "tvl_usd must be a finite number"),  # no float holds it
        (chart_row(day, 3.0) | {"timestamp": "yesterday"}, "date must be known"),
        (chart_row(day, 3.0) | {"timestamp": None}, "date must be known"),
        (chart_row(day, 3.0) | {"timestamp": 1700000000}, "date must be known"),
    ]
    good = [chart_row(TODAY - 7 * DAY, 1.0), chart_row(TODAY - 3 * DAY, 2.0)]
    serve(httpserver, chart_body(good[0], *(row for row, _ in bad), good[1]))
    bench.collect([CHART])
    assert sorted(reasons(bench, "pool_days")) == sorted(reason for _, reason in bad)
    assert [day for day, _, _ in days(bench)] == [TODAY - 7 * DAY, TODAY - 3 * DAY]
    assert bench.failures == []


def test_a_rewritten_past_is_a_revision_and_the_earlier_view_stays(bench: Bench, httpserver: HTTPServer) -> None:
    rows = [chart_row(TODAY - n * DAY, 3.0) for n in (4, 3, 2)]
    serve(httpserver, chart_body(*rows), chart_body(rows[0], chart_row(TODAY - 3 * DAY, 30.0), rows[2]))
    bench.collect([CHART])
    before = bench.history.latest("pool_days")
    between = dt.datetime.now(dt.UTC)
    bench.collect([CHART], now=NOW + DAY)
    assert [apy for _, apy, _ in days(bench)] == [0.03, 0.3, 0.03]
    assert bench.history.latest("pool_days").sort("date")["revision"].to_list() == [1, 2, 1]
    assert bench.history.latest("pool_days", as_of=between).equals(before)
    assert bench.history.revisions("pool_days").height == 4


def test_the_same_chart_again_adds_nothing(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, chart_body(*(chart_row(TODAY - n * DAY, 1 / 3) for n in range(30))))
    bench.collect([CHART])
    assert len(bench.collect([CHART], now=NOW + DAY)) == 1
    assert len(httpserver.log) == 2
    assert bench.history.revisions("pool_days")["revision"].to_list() == [1] * 30


def test_an_unknown_pool_is_empty_and_not_a_failure(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, chart_body())
    bench.collect([CHART])
    assert bench.failures == []
    assert statuses(bench) == ["empty"]
    assert bench.collect([CHART]) == []


def test_a_malformed_id_fails_in_the_sources_words(bench: Bench, httpserver: HTTPServer) -> None:
    bad = Demand("defillama", "chart", "not-a-uuid")
    serve(
        httpserver, Response('"invalid configID!"', status=400, mimetype="application/json"), path="/chart/not-a-uuid"
    )
    serve(httpserver, chart_body(chart_row(TODAY - 3 * DAY, 1.0)))
    bench.collect([bad, CHART])
    (failure,) = bench.failures
    assert (failure.unit.demand, failure.verdict) == (bad, "final")
    assert "invalid configID!" in failure.reason
    assert len(days(bench)) == 1
    assert sum(request.path == "/chart/not-a-uuid" for request, _ in httpserver.log) == 1


def test_an_error_in_a_good_answers_clothes_is_asked_again(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, {"status": "error", "message": "busy"}, chart_body(chart_row(TODAY - 3 * DAY, 1.0)))
    bench.collect([CHART])
    assert bench.failures == []
    assert len(days(bench)) == 1


@pytest.mark.parametrize("content", [{"status": "success"}, [], "gone", None, {"data": None}, {"data": {"a": 1}}])
def test_an_answer_of_another_shape_is_refused(bench: Bench, httpserver: HTTPServer, content: Any) -> None:
    serve(httpserver, content)
    bench.collect([CHART])
    (failure,) = bench.failures
    assert failure.verdict == "final"
    assert "expected an object with a list `data`" in failure.reason
    assert len(httpserver.log) == 1


def test_rows_of_another_shape_make_the_unit_fail_and_no_other(bench: Bench, httpserver: HTTPServer) -> None:
    other = Demand("defillama", "chart", "e880e828-ca59-4ec6-8d4f-27182a4dc23d")
    serve(httpserver, {"status": "success", "data": ["what?"]})
    serve(httpserver, chart_body(chart_row(TODAY - 3 * DAY, 1.0)), path=f"/chart/{other.entity}")
    bench.collect([CHART, other])
    (failure,) = bench.failures
    assert failure.unit.demand == CHART
    assert "unreadable" in failure.reason
    assert bench.history.latest("pool_days")["pool"].to_list() == [other.entity]


@pytest.mark.parametrize("stamp", ["2024-03-01T23:01:24.670Z", "2024-03-01T23:01:24Z", "2024-03-02T01:01:24+02:00"])
def test_every_form_of_a_time_is_read_as_utc(stamp: str) -> None:
    page = page_of(CHART, chart_body({"timestamp": stamp, "apy": 1}), NOW)
    assert parse_chart(page)["pool_days"]["date"].to_list() == [dt.date(2024, 3, 1)]


# Pools and protocols


def test_the_list_of_pools_becomes_rows_dated_today(bench: Bench, httpserver: HTTPServer) -> None:
    plain = {"pool": "b", "project": "p", "chain": "Base", "symbol": "X", "tvlUsd": "2500.5", "apy": "4.0", "new": {}}
    serve(httpserver, {"status": "success", "data": [POOL_ITEM, plain]}, path="/pools")
    bench.collect([POOLS])
    aave, other = bench.history.latest("pools").sort("pool").iter_rows(named=True)
    assert (aave["date"], aave["project"], aave["chain"], aave["symbol"]) == (TODAY, "aave-v3", "Ethereum", "USDC")
    assert (aave["tvl_usd"], aave["apy_reward"], aave["pool_meta"], aave["stablecoin"]) == (
        178734645.0,
        None,
        None,
        True,
    )
    assert (aave["apy"], aave["outlier"]) == (pytest.approx(0.0329338, abs=1e-15), False)
    assert aave["underlying_tokens"] == "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"
    assert (other["apy"], other["tvl_usd"], other["apy_base"], other["underlying_tokens"]) == (0.04, 2500.5, None, "")
    assert bench.failures == []


def test_a_pool_that_cannot_be_does_not_hurt_the_others(bench: Bench, httpserver: HTTPServer) -> None:
    bad = [
        POOL_ITEM | {"pool": "neg", "tvlUsd": -5},
        POOL_ITEM | {"pool": None},
        POOL_ITEM | {"pool": "x", "chain": None},
    ]
    serve(httpserver, {"status": "success", "data": [*bad, POOL_ITEM]}, path="/pools")
    bench.collect([POOLS])
    assert bench.history.latest("pools")["pool"].to_list() == [POOL_ITEM["pool"]]
    assert sorted(reasons(bench, "pools")) == [
        "chain must be known",
        "pool must be known",
        "tvl_usd must be at least 0",
    ]


def test_no_pools_are_no_rows() -> None:
    assert parse_pools(page_of(POOLS, chart_body(), NOW))["pools"].height == 0


def test_protocols_say_what_kind_they_are(bench: Bench, httpserver: HTTPServer) -> None:
    items = [{"slug": "lido", "name": "Lido", "category": "Liquid Staking", "tvl": 1}, {"slug": "x", "name": "X"}]
    serve(httpserver, items, path="/protocols")
    bench.collect([PROTOCOLS])
    found = bench.history.latest("protocols").sort("slug").select("slug", "name", "category", "date").rows()
    assert found == [("lido", "Lido", "Liquid Staking", TODAY), ("x", "X", None, TODAY)]


def test_a_list_of_protocols_that_is_none_is_refused(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, {"message": "gone"}, path="/protocols")
    bench.collect([PROTOCOLS])
    assert [failure.verdict for failure in bench.failures] == ["final"]


# Lending


def test_both_sides_of_a_lending_pool(bench: Bench, httpserver: HTTPServer) -> None:
    lending = Demand("defillama", "lending", POOL)
    row = {
        "timestamp": f"{TODAY - 3 * DAY}T23:00:11.000Z", "totalSupplyUsd": 5e9, "totalBorrowUsd": 4e9,
        "debtCeilingUsd": None, "apyBase": 3.0, "apyReward": None, "apyBaseBorrow": 4.5, "apyRewardBorrow": None,
    }  # fmt: skip
    serve(httpserver, chart_body(row, row | {"timestamp": f"{TODAY}T01:00:00.000Z", "apyBaseBorrow": None}),
          path=f"/chartLendBorrow/{POOL}")  # fmt: skip
    bench.collect([lending])
    found = bench.history.latest("pool_lending_days").sort("date")
    columns = ("date", "total_supply_usd", "total_borrow_usd", "borrow_apy", "is_final")
    assert found.select(columns).rows() == [
        (TODAY - 3 * DAY, 5e9, 4e9, 0.045, True), (TODAY, 5e9, 4e9, None, False),
    ]  # fmt: skip
    assert dataset_of("defillama", "lending").needs_key


def test_no_rows_of_lending_are_no_rows() -> None:
    page = page_of(Demand("defillama", "lending", POOL), chart_body(), NOW)
    assert parse_lending(page)["pool_lending_days"].height == 0
