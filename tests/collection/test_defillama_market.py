"""DefiLlama's TVL of protocols and chains, supply of stablecoins, prices of coins."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from harness import Bench
from indicator_servers import DAY, in_turn, land, page_of, real_now, reasons, statuses, unix
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from aegis_yield.collection.sources import dataset_of
from aegis_yield.collection.sources.defillama_market import parse_price, parse_stablecoins
from aegis_yield.collection.units import Demand

NOW = real_now()
TODAY = NOW.date()
AAVE = Demand("defillama", "protocol_tvl", "aave-v3")
ALL_CHAINS, ETHEREUM = Demand("defillama", "chain_tvl", "*"), Demand("defillama", "chain_tvl", "Ethereum")
STABLECOINS = Demand("defillama", "stablecoins", "*")
ETHER = Demand("defillama", "price", "coingecko:ethereum")
STETH = Demand("defillama", "price", "ethereum:0xae7ab96520de3a18e5e111b5eaab095312d7fe84")

MakeBench = Callable[..., Bench]
Row = tuple[dt.date, float, bool]


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench(now=NOW, since=TODAY - 20 * DAY)


def serve(server: HTTPServer, path: str, *answers: Any) -> None:
    server.expect_request(path).respond_with_handler(in_turn(*answers))


def days(bench: Bench, series: str) -> list[Row]:
    found = bench.history.latest("series_days").sort("date")
    assert found["source"].unique().to_list() in ([], ["defillama"])
    mine = [row for row in found.select("series", "date", "value", "is_final").iter_rows() if row[0] == series]
    return [(day, value, final) for _, day, value, final in mine]


# TVL of protocols


def protocol(*points: tuple[dt.date | dt.datetime, Any]) -> dict[str, Any]:
    tvl = [{"date": unix(when), "totalLiquidityUSD": value} for when, value in points]
    return {"id": "1599", "name": "Aave V3", "chains": ["Ethereum"], "chainTvls": {}, "tvl": tvl, "raises": []}


def test_a_protocols_tvl_ends_with_a_provisional_row(bench: Bench, httpserver: HTTPServer) -> None:
    body = protocol((TODAY - 5 * DAY, 1.5e10), (TODAY - 3 * DAY, 1.6e10), (TODAY - DAY, 1.7e10), (NOW, 1.8e10))
    serve(httpserver, "/protocol/aave-v3", body)
    bench.collect([AAVE])
    assert days(bench, "protocol_tvl:aave-v3") == [
        (TODAY - 5 * DAY, 1.5e10, True), (TODAY - 3 * DAY, 1.6e10, True), (TODAY - DAY, 1.7e10, True),
        (TODAY, 1.8e10, False),
    ]  # fmt: skip
    assert bench.failures == []


def test_of_two_points_of_a_day_the_one_at_midnight_holds(bench: Bench, httpserver: HTTPServer) -> None:
    tail = dt.datetime.combine(TODAY - 4 * DAY, dt.time(17, 12, 3), dt.UTC)
    serve(httpserver, "/protocol/aave-v3", protocol((TODAY - 5 * DAY, 1.0), (TODAY - 4 * DAY, 2.0), (tail, 3.0)))
    bench.collect([AAVE])
    assert days(bench, "protocol_tvl:aave-v3") == [(TODAY - 5 * DAY, 1.0, True), (TODAY - 4 * DAY, 2.0, True)]
    assert bench.history.revisions("series_days").height == 2


def test_a_tail_that_stands_alone_stays_provisional(bench: Bench, httpserver: HTTPServer) -> None:
    tail = dt.datetime.combine(TODAY - 4 * DAY, dt.time(17, 12, 3), dt.UTC)
    serve(httpserver, "/protocol/aave-v3", protocol((TODAY - 5 * DAY, 1.0), (tail, 3.0)))
    bench.collect([AAVE])
    assert days(bench, "protocol_tvl:aave-v3") == [(TODAY - 5 * DAY, 1.0, True), (TODAY - 4 * DAY, 3.0, False)]


def test_a_tail_gives_way_to_the_midnight_point_of_a_later_answer(bench: Bench, httpserver: HTTPServer) -> None:
    tail = dt.datetime.combine(TODAY - DAY, dt.time(17, 12, 3), dt.UTC)
    serve(
        httpserver,
        "/protocol/aave-v3",
        protocol((TODAY - 2 * DAY, 1.0), (tail, 3.0)),
        protocol((TODAY - 2 * DAY, 1.0), (TODAY - DAY, 2.5), (NOW, 4.0)),
    )
    bench.collect([AAVE])
    assert days(bench, "protocol_tvl:aave-v3")[-1] == (TODAY - DAY, 3.0, False)
    bench.collect([AAVE], now=NOW + DAY)
    assert days(bench, "protocol_tvl:aave-v3")[1:] == [(TODAY - DAY, 2.5, True), (TODAY, 4.0, False)]


def test_an_unknown_protocol_fails_in_the_sources_words(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, "/protocol/aave-v3", Response('{"message":"Protocol not found"}', status=404))
    serve(httpserver, "/protocol/lido", {"message": "Protocol is not in our database"})
    bench.collect([AAVE, Demand("defillama", "protocol_tvl", "lido")])
    assert [failure.verdict for failure in bench.failures] == ["final", "final"]
    assert "Protocol not found" in bench.failures[0].reason
    assert "not in our database" in bench.failures[1].reason


# TVL of chains


def chain(*points: tuple[dt.date | dt.datetime, Any]) -> list[dict[str, Any]]:
    return [{"date": unix(when), "tvl": value} for when, value in points]


def test_all_chains_and_one_chain_are_two_series(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, "/v2/historicalChainTvl", chain((TODAY - 2 * DAY, 9.0), (TODAY - DAY, 10.0), (TODAY, 11.0)))
    serve(httpserver, "/v2/historicalChainTvl/Ethereum", chain((TODAY - DAY, 5.0), (TODAY, "6")))
    bench.collect([ALL_CHAINS, ETHEREUM])
    assert days(bench, "chain_tvl:*") == [
        (TODAY - 2 * DAY, 9.0, True), (TODAY - DAY, 10.0, True), (TODAY, 11.0, False),
    ]  # fmt: skip
    assert days(bench, "chain_tvl:Ethereum") == [(TODAY - DAY, 5.0, True), (TODAY, 6.0, False)]


def test_a_record_of_tomorrow_is_set_aside_and_hurts_no_other(bench: Bench, httpserver: HTTPServer) -> None:
    body = chain((TODAY - 2 * DAY, 9.0), (TODAY - DAY, 10.0), (TODAY, 11.0), (TODAY + DAY, 12.0))
    serve(httpserver, "/v2/historicalChainTvl", body)
    bench.collect([ALL_CHAINS])
    assert [day for day, _, _ in days(bench, "chain_tvl:*")] == [TODAY - 2 * DAY, TODAY - DAY, TODAY]
    assert [final for *_, final in days(bench, "chain_tvl:*")] == [True, True, False]
    assert reasons(bench, "series_days") == ["date must not lie in the future"]
    assert bench.failures == []


def test_a_chart_that_ends_yesterday_may_be_an_old_copy(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, "/v2/historicalChainTvl", chain((TODAY - 2 * DAY, 9.0), (TODAY - DAY, 10.0)))
    serve(httpserver, "/v2/historicalChainTvl/Ethereum", chain((TODAY - 9 * DAY, 9.0), (TODAY - 4 * DAY, 10.0)))
    bench.collect([ALL_CHAINS, ETHEREUM])
    assert [final for *_, final in days(bench, "chain_tvl:*")] == [True, False]
    assert [final for *_, final in days(bench, "chain_tvl:Ethereum")] == [True, True]  # it ended


def test_a_chain_with_a_space_in_its_name_is_asked_for(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, "/v2/historicalChainTvl/OP Mainnet", chain((TODAY - 2 * DAY, 1.0)))
    bench.collect([Demand("defillama", "chain_tvl", "OP Mainnet")])
    assert len(days(bench, "chain_tvl:OP Mainnet")) == 1


def test_what_cannot_be_is_set_aside(bench: Bench, httpserver: HTTPServer) -> None:
    day = unix(TODAY - 3 * DAY)
    bad: list[tuple[dict[str, Any], str]] = [
        ({"date": day, "tvl": -1.0}, "an amount must be at least 0"),
        ({"date": day, "tvl": None}, "value must be known"),
        ({"date": day}, "value must be known"),
        ({"date": day, "tvl": "?"}, "value must be a finite number"),
        ({"date": "2024-01-01", "tvl": 1.0}, "date must be known"),
        ({"date": None, "tvl": 1.0}, "date must be known"),
        ({"date": 10**30, "tvl": 1.0}, "date must be known"),
        ({"date": day * 1000, "tvl": 1.0}, "date must be known"),  # milliseconds
        ({"date": 86_400, "tvl": 1.0}, "date must not lie before 2015-01-01"),
    ]
    records = [*chain((TODAY - 5 * DAY, 1.0)), *(record for record, _ in bad), *chain((TODAY, 2.0))]
    serve(httpserver, "/v2/historicalChainTvl", records)
    bench.collect([ALL_CHAINS])
    assert sorted(reasons(bench, "series_days")) == sorted(reason for _, reason in bad)
    assert [day for day, _, _ in days(bench, "chain_tvl:*")] == [TODAY - 5 * DAY, TODAY]


def test_no_records_are_empty(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, "/v2/historicalChainTvl", [])
    bench.collect([ALL_CHAINS])
    assert (bench.failures, statuses(bench)) == ([], ["empty"])


def test_a_chart_that_is_no_list_is_refused(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, "/v2/historicalChainTvl", {"message": "unknown chain"})
    bench.collect([ALL_CHAINS])
    (failure,) = bench.failures
    assert (failure.verdict, "unknown chain" in failure.reason) == ("final", True)


# Stablecoins


def supply(date: Any, **pegs: Any) -> dict[str, Any]:
    return {"date": date, "totalCirculating": pegs, "totalCirculatingUSD": pegs, "totalMintedUSD": 0}


def test_stablecoins_are_added_up_over_pegs_whatever_form_the_date_has(bench: Bench, httpserver: HTTPServer) -> None:
    serve(
        httpserver,
        "/stablecoincharts/all",
        [
            supply(str(unix(TODAY - 3 * DAY)), peggedUSD=1e11, peggedEUR=5e8),
            supply(unix(TODAY - 2 * DAY), peggedUSD="2e11", peggedEUR=None),
            supply(str(unix(TODAY)), peggedUSD=3e11),
        ],
    )
    bench.collect([STABLECOINS])
    assert days(bench, "stablecoins:*") == [
        (TODAY - 3 * DAY, 1.005e11, True), (TODAY - 2 * DAY, 2e11, True), (TODAY, 3e11, False),
    ]  # fmt: skip


@pytest.mark.parametrize("amounts", [None, {}, {"peggedUSD": None}])
def test_no_amounts_are_not_an_amount_of_nothing(amounts: Any) -> None:
    body = [{"date": unix(TODAY - 3 * DAY), "totalCirculatingUSD": amounts}]
    assert parse_stablecoins(page_of(STABLECOINS, body, NOW))["series_days"]["value"].to_list() == [None]


def test_a_plain_zero_in_place_of_pegs_is_zero() -> None:
    body = [{"date": unix(TODAY - 3 * DAY), "totalCirculatingUSD": 0}]
    assert parse_stablecoins(page_of(STABLECOINS, body, NOW))["series_days"]["value"].to_list() == [0.0]


# Prices


def coins(entity: str, *points: tuple[Any, Any], confidence: Any = 0.99) -> dict[str, Any]:
    prices = [{"timestamp": stamp, "price": price} for stamp, price in points]
    return {"coins": {entity: {"symbol": "ETH", "confidence": confidence, "prices": prices}}}


class Coins:
    """Serves daily prices as ``/chart`` does: ``span`` points from ``start`` on, none of them exactly where asked."""

    def __init__(self, server: HTTPServer, entity: str, offset_s: int = 97) -> None:
        self.asked: list[tuple[int, int]] = []
        self._entity, self._offset_s = entity, offset_s
        server.expect_request(f"/chart/{entity}").respond_with_handler(in_turn_of(self._answer))

    def _answer(self, request: Request) -> Any:
        start, span = int(request.args["start"]), int(request.args["span"])
        assert request.args["period"] == "1d"
        self.asked.append((start, span))
        stamps = [start + n * 86_400 for n in range(span)]
        return coins(self._entity, *((stamp + self._offset_s, price_at(stamp)) for stamp in stamps))


def price_at(midnight: int) -> float:
    return 2000.0 + midnight // 86_400 % 1000


def in_turn_of(answer: Callable[[Request], Any]) -> Callable[[Request], Response]:
    return lambda request: in_turn(answer(request))(request)


@pytest.mark.parametrize("offset_s", [97, -97, 0, 4 * 3600, -4 * 3600])
def test_prices_are_dated_the_day_that_ended(make_bench: MakeBench, httpserver: HTTPServer, offset_s: int) -> None:
    now, since = dt.datetime(2024, 4, 3, 15, tzinfo=dt.UTC), dt.date(2024, 1, 30)
    served = Coins(httpserver, ETHER.entity, offset_s)
    bench = make_bench(now, since)
    units = bench.collect([ETHER])
    found = days(bench, "price:coingecko:ethereum")
    assert len(units) == 4
    assert [day for day, _, _ in found] == [since + n * DAY for n in range(64)]  # to 2024-04-02, the last day over
    assert all(value == price_at(unix(day + DAY)) and final for day, value, final in found)
    assert sorted(served.asked) == [
        (unix(dt.date(2024, 1, 31)), 2), (unix(dt.date(2024, 2, 2)), 29), (unix(dt.date(2024, 3, 2)), 31),
        (unix(dt.date(2024, 4, 2)), 2),
    ]  # fmt: skip


def test_an_open_month_goes_on_where_it_stopped(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    served = Coins(httpserver, ETHER.entity)
    bench = make_bench(dt.datetime(2024, 4, 20, 1, tzinfo=dt.UTC), dt.date(2024, 4, 1))
    bench.collect([ETHER])
    assert statuses(bench) == ["open"]
    bench.reopen()
    bench.collect([ETHER], now=dt.datetime(2024, 4, 22, 1, tzinfo=dt.UTC))
    assert served.asked == [(unix(dt.date(2024, 4, 2)), 19), (unix(dt.date(2024, 4, 17)), 6)]
    assert len(days(bench, "price:coingecko:ethereum")) == 21
    bench.collect([ETHER], now=dt.datetime(2024, 5, 2, 1, tzinfo=dt.UTC))
    assert [row["status"] for row in bench.journal.units()] == ["done", "open"]
    assert [day for day, _, _ in days(bench, "price:coingecko:ethereum")] == [
        dt.date(2024, 4, 1) + n * DAY for n in range(31)
    ]
    assert bench.history.revisions("series_days")["revision"].unique().to_list() == [1]
    bench.collect([ETHER], now=dt.datetime(2024, 5, 2, 2, tzinfo=dt.UTC))
    assert served.asked[-1] == (unix(dt.date(2024, 5, 2)), 1)  # April is closed and asked for no more


def test_the_first_day_of_a_month_has_no_price_yet(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    served = Coins(httpserver, ETHER.entity)
    bench = make_bench(dt.datetime(2024, 4, 1, 15, tzinfo=dt.UTC), dt.date(2024, 4, 1))
    bench.collect([ETHER])
    assert (served.asked, bench.failures, statuses(bench)) == ([], [], ["open"])


def test_a_coin_that_is_absent_has_no_rows(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    bench = make_bench(dt.datetime(2024, 4, 20, tzinfo=dt.UTC), dt.date(2024, 3, 10))
    serve(httpserver, f"/chart/{STETH.entity}", {"coins": {}})
    bench.collect([STETH])
    assert bench.failures == []
    assert days(bench, f"price:{STETH.entity}") == []
    assert [unit.start for unit in bench.collect([STETH])] == [dt.date(2024, 4, 1)]  # March is closed all the same


def test_a_coin_is_found_however_its_address_is_written() -> None:
    body = coins("ethereum:0xae7ab96520DE3A18E5e111B5EaAb095312D7fE84", (unix(TODAY - 3 * DAY), 2000.0))
    rows = parse_price(page_of(STETH, body, NOW))["series_days"]
    assert rows.select("series", "date", "value").rows() == [(f"price:{STETH.entity}", TODAY - 4 * DAY, 2000.0)]


@pytest.mark.parametrize(("confidence", "n_rows"), [(0.99, 1), (0.5, 1), (0.49, 0), ("0.2", 0), (None, 1)])
def test_a_price_that_its_source_does_not_trust_is_left_out(confidence: Any, n_rows: int) -> None:
    body = coins(ETHER.entity, (unix(TODAY - 3 * DAY), 2000.0), confidence=confidence)
    assert parse_price(page_of(ETHER, body, NOW))["series_days"].height == n_rows


def test_the_point_nearest_to_midnight_holds_and_far_ones_fall_away(bench: Bench) -> None:
    end = unix(TODAY - 3 * DAY)
    body = coins(ETHER.entity, (end - 60, 1.0), (end + 5, 2.0), (end + 600, 3.0), (end + 5 * 3600, 4.0))
    land(bench, ETHER, body, NOW)
    assert days(bench, "price:coingecko:ethereum") == [(TODAY - 4 * DAY, 2.0, True)]


@pytest.mark.parametrize(("minutes", "final"), [(0, False), (59, False), (60, True), (61, True)])
def test_a_price_settles_an_hour_after_its_day(minutes: int, final: bool) -> None:
    end = dt.datetime(2024, 4, 2, tzinfo=dt.UTC)
    body = coins(ETHER.entity, (unix(end) - 30, 2000.0))
    rows = parse_price(page_of(ETHER, body, end + dt.timedelta(minutes=minutes)))["series_days"]
    assert rows.select("date", "is_final").rows() == [(dt.date(2024, 4, 1), final)]


def test_a_price_of_now_is_not_the_days_close() -> None:
    late = dt.datetime(2024, 4, 2, 22, tzinfo=dt.UTC)
    rows = parse_price(page_of(ETHER, coins(ETHER.entity, (unix(late), 2000.0)), late))["series_days"]
    assert rows.select("date", "is_final").rows() == [(dt.date(2024, 4, 2), False)]


def test_a_price_that_cannot_be_is_set_aside(bench: Bench) -> None:
    day = unix(TODAY - 3 * DAY)
    bad: list[tuple[tuple[Any, Any], str]] = [
        ((day, 0.0), "a price must be above 0"),
        ((day, None), "value must be known"),
        ((day, "-"), "value must be a finite number"),
        ((None, 1.0), "date must be known"),
        ((unix(TODAY + 5 * DAY), 1.0), "date must not lie in the future"),
    ]
    land(bench, ETHER, coins(ETHER.entity, (unix(TODAY - 4 * DAY), 1.0), *(point for point, _ in bad)), NOW)
    assert sorted(reasons(bench, "series_days")) == sorted(reason for _, reason in bad)
    assert [day for day, _, _ in days(bench, "price:coingecko:ethereum")] == [TODAY - 5 * DAY]


def test_an_answer_without_coins_is_refused(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    bench = make_bench(dt.datetime(2024, 4, 20, tzinfo=dt.UTC), dt.date(2024, 4, 10))
    serve(httpserver, f"/chart/{ETHER.entity}", {"message": "Internal server error"})
    bench.collect([ETHER])
    assert [failure.verdict for failure in bench.failures] == ["final"]


def test_the_datasets_of_both_modules_stand_side_by_side() -> None:
    names = ("pools", "protocols", "chart", "lending", "protocol_tvl", "chain_tvl", "stablecoins", "price")
    assert [dataset_of("defillama", name).name for name in names] == list(names)
    assert [dataset_of("defillama", name).needs_key for name in names] == [name == "lending" for name in names]
