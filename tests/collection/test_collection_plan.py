"""The plan: what a wish asks for, what is left out and why, how many requests and how long, nothing that is done."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from harness import Bench, local_environment
from pytest_httpserver import HTTPServer

from aegis_yield.collection.catalogue import Catalogue, load_catalogue, spec_of
from aegis_yield.collection.plan import POOL_LISTS, Plan, PlannedSource, Wish, demands_of, planned, without_keyless
from aegis_yield.collection.runner import units_to_do
from aegis_yield.collection.settings import CollectionSettings, load_settings
from aegis_yield.collection.units import Demand, WorkUnit
from aegis_yield.domain.errors import OfflineError, RequestError, UnknownStrategyError

NOW = dt.datetime(2024, 6, 17, 12, tzinfo=dt.UTC)
URL = "http://127.0.0.1:9"
TEXT = """
[defaults]
history_days = 100

[[strategy]]
id = "lend"
project = "p"
chain = "c"
symbol = "s"
category = "lending"
sources = [{ dataset = "defillama/chart", entity = "pool-a" }]

[[strategy]]
id = "stake"
project = "p"
chain = "c"
symbol = "s"
category = "staking"
sources = [{ dataset = "lido_api/apr", entity = "steth" }, { dataset = "defillama/chart", entity = "pool-l" }]

[[strategy]]
id = "short"
project = "p"
chain = "c"
symbol = "s"
category = "delta_neutral"
sources = [{ dataset = "binance/funding", entity = "ETHUSDT" }]

[[strategy]]
id = "trade"
project = "p"
chain = "c"
symbol = "s"
category = "delta_neutral"
[strategy.carry]
long = "stake"
short = "short"

[[market]]
column = "vix"
sources = [{ dataset = "fred/observations", entity = "VIXCLS" }]
"""
POOL_A, POOL_L = Demand("defillama", "chart", "pool-a"), Demand("defillama", "chart", "pool-l")
APR, FUNDING = Demand("lido_api", "apr", "steth"), Demand("binance", "funding", "ETHUSDT")
VIX = Demand("fred", "observations", "VIXCLS")


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    path = tmp_path / "catalogue.toml"
    path.write_text(TEXT)
    return load_catalogue(path)


def lending(*pools: str) -> list[Demand]:
    return [Demand("defillama", "lending", pool) for pool in pools]


def settings_with(**environment: str) -> CollectionSettings:
    return load_settings(environment=local_environment(URL, **environment))


# What a wish asks for


def test_by_default_everything_is_asked_for_once(catalogue: Catalogue) -> None:
    followed = ["pool-f", "pool-a"]
    assert demands_of(catalogue, Wish(), followed) == [
        *POOL_LISTS, POOL_A, APR, POOL_L, FUNDING, VIX, Demand("defillama", "chart", "pool-f"),
        *lending("pool-a", "pool-l", "pool-f"),
    ]  # fmt: skip


def test_only_these_sources(catalogue: Catalogue) -> None:
    wish = Wish(sources=("binance", "lido_api"))
    assert demands_of(catalogue, wish, ["pool-f"]) == [APR, FUNDING]
    assert demands_of(catalogue, Wish(sources=("defillama",)), []) == [
        *POOL_LISTS, POOL_A, POOL_L, *lending("pool-a", "pool-l"),
    ]  # fmt: skip


def test_only_these_strategies_and_the_market(catalogue: Catalogue) -> None:
    assert demands_of(catalogue, Wish(strategies=("lend",)), []) == [*POOL_LISTS, POOL_A, VIX, *lending("pool-a")]
    assert demands_of(catalogue, Wish(strategies=("trade",)), []) == [
        *POOL_LISTS, APR, POOL_L, FUNDING, VIX, *lending("pool-l"),
    ]  # fmt: skip
    assert demands_of(catalogue, Wish(strategies=("trade",), sources=("binance",)), []) == [FUNDING]


def test_pools_chosen_now_are_added_to_strategies_that_were_named(catalogue: Catalogue) -> None:
    wish = Wish(strategies=("short",), universe="tvl>1")
    assert demands_of(catalogue, wish, ["pool-n"]) == [
        *POOL_LISTS, FUNDING, VIX, Demand("defillama", "chart", "pool-n"), *lending("pool-n"),
    ]  # fmt: skip


def test_an_unknown_source_is_named_with_those_that_there_are(catalogue: Catalogue) -> None:
    with pytest.raises(RequestError, match=r"sources: received 'kraken', allowed is aave, binance, .*okx"):
        demands_of(catalogue, Wish(sources=("binance", "kraken")), [])


def test_an_unknown_strategy_is_named_with_what_may_have_been_meant(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownStrategyError, match=r"unknown strategy 'tak'; closest names: stake") as caught:
        demands_of(catalogue, Wish(strategies=("lend", "tak")), [])
    assert caught.value.closest == ("stake",)


def test_a_universe_needs_the_source_that_lists_it(catalogue: Catalogue) -> None:
    with pytest.raises(RequestError, match=r"sources: received 'binance, okx', allowed is defillama among them"):
        demands_of(catalogue, Wish(sources=("binance", "okx"), universe="tvl>1"), [])
    assert POOL_LISTS[0] in demands_of(catalogue, Wish(sources=("defillama",), universe="tvl>1"), [])


# How far back


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (None, dt.date(2024, 3, 1)),  # 100 days before is 9 March
        (dt.date(2024, 6, 17), dt.date(2024, 6, 1)),
        (dt.date(2023, 2, 1), dt.date(2023, 2, 1)),
        (dt.date(2015, 1, 1), dt.date(2015, 1, 1)),
    ],
)
def test_history_begins_with_a_whole_month(catalogue: Catalogue, since: dt.date | None, expected: dt.date) -> None:
    moment = Wish(since=since).moment(catalogue, NOW)
    assert (moment.now, moment.since) == (NOW, expected)


@pytest.mark.parametrize("since", [dt.date(2024, 6, 18), dt.date(2014, 12, 31)])
def test_history_from_the_future_or_before_there_was_a_chain_is_refused(catalogue: Catalogue, since: dt.date) -> None:
    with pytest.raises(RequestError, match=rf"since: received {since}, allowed is a day from 2015-01-01 to 2024-06-17"):
        Wish(since=since).moment(catalogue, NOW)


# What is left out


def test_what_needs_a_key_and_has_none_is_left_out_with_the_setting_that_would_bring_it(catalogue: Catalogue) -> None:
    demands = demands_of(catalogue, Wish(), [])
    kept, left_out = without_keyless(demands, settings_with())
    assert left_out == {
        "defillama/lending": "needs a key: set AEGIS_SRC__DEFILLAMA_YIELDS__API_KEY",
        "fred/observations": "needs a key: set AEGIS_SRC__FRED__API_KEY",
    }
    assert kept == [*POOL_LISTS, POOL_A, APR, POOL_L, FUNDING]


def test_with_the_key_it_is_asked(catalogue: Catalogue) -> None:
    demands = demands_of(catalogue, Wish(), [])
    keys = {"AEGIS_SRC__FRED__API_KEY": "k" * 32, "AEGIS_SRC__DEFILLAMA_YIELDS__API_KEY": "l" * 32}
    assert without_keyless(demands, settings_with(**keys)) == (demands, {})


def test_offline_mode_refuses_a_foreign_host_that_would_be_asked_and_no_other() -> None:
    foreign = settings_with(AEGIS_SRC__BINANCE__BASE_URL="https://fapi.binance.com")
    with pytest.raises(OfflineError, match=r"binance is at fapi\.binance\.com"):
        without_keyless([POOL_A, FUNDING], foreign)
    assert without_keyless([POOL_A, APR], foreign) == ([POOL_A, APR], {})


# How much and how long


def months(demand: Demand, n: int) -> list[WorkUnit]:
    starts = [dt.date(2023, month, 1) for month in range(1, n + 1)]
    return [WorkUnit(demand, start, (start + dt.timedelta(days=32)).replace(day=1)) for start in starts]


def whole(*demands: Demand) -> list[WorkUnit]:
    return [WorkUnit(demand, NOW.date(), NOW.date() + dt.timedelta(days=1)) for demand in demands]


def test_minutes_are_requests_over_the_rate_of_the_busiest_host() -> None:
    paced = settings_with(
        AEGIS_SRC__BINANCE__REQUESTS_PER_SECOND="0.5", AEGIS_SRC__DEFILLAMA_YIELDS__REQUESTS_PER_SECOND="2"
    )
    charts = [Demand("defillama", "chart", str(n)) for n in range(360)]
    candles = Demand("binance", "candles", "ETHUSDT")
    units = [*whole(POOL_LISTS[0], *charts), *months(FUNDING, 4), *months(candles, 6)]
    sources = planned(units, paced)
    assert [(one.source, one.dataset, one.host, one.n_units, one.n_requests) for one in sources] == [
        ("defillama", "pools", "defillama_yields", 1, 1),
        ("defillama", "chart", "defillama_yields", 360, 360),
        ("binance", "funding", "binance", 4, 4),
        ("binance", "candles", "binance", 6, 6),
    ]
    assert [one.minutes * 60 for one in sources] == pytest.approx([0.5, 180.0, 8.0, 12.0])
    # The hosts are asked side by side: 361 requests at 2 a second take longer than 10 at one in two seconds.
    assert Plan(units, sources).minutes * 60 == pytest.approx(180.5)
    slower = [replace(one, minutes=60.0 if one.dataset == "candles" else one.minutes) for one in sources]
    assert Plan(units, slower).minutes == pytest.approx(60 + 8 / 60)
    assert Plan([], []).minutes == 0.0


def test_a_unit_counts_for_as_many_requests_as_it_usually_takes() -> None:
    fees = Demand("gas", "fees", "ethereum")
    (one,) = planned(months(fees, 3), settings_with(AEGIS_SRC__ETHEREUM__REQUESTS_PER_SECOND="5"))
    assert one.n_requests == round(3 * spec_of(fees).requests_per_unit) > 100
    assert one.minutes == pytest.approx(one.n_requests / 5 / 60)


def test_a_host_without_a_limit_still_takes_a_moment() -> None:
    (one,) = planned(whole(*(Demand("defillama", "chart", str(n)) for n in range(600))), settings_with())
    assert 0 < one.minutes < 1
    assert isinstance(one, PlannedSource)


# What is done is not planned


def test_units_that_are_done_are_not_planned_and_open_ones_are(
    make_bench: Callable[..., Bench], httpserver: HTTPServer
) -> None:
    chart = {"status": "success", "data": []}
    httpserver.expect_request("/chart/pool-a").respond_with_json(chart)
    httpserver.expect_request("/chart/pool-l").respond_with_data("gone", status=404)
    httpserver.expect_request("/fapi/v1/fundingRate").respond_with_json([])
    bench = make_bench(NOW, dt.date(2024, 4, 1))
    demands = [POOL_A, POOL_L, FUNDING]
    planned_before = bench.collect(demands)
    assert [unit.start.isoformat() for unit in planned_before] == [
        "2024-06-17", "2024-06-17", "2024-04-01", "2024-05-01", "2024-06-01",
    ]  # fmt: skip
    left = units_to_do(demands, bench.moment, bench.journal)
    assert [(unit.demand.entity, unit.start) for unit in left] == [
        ("pool-l", NOW.date()),  # failed
        ("ETHUSDT", dt.date(2024, 6, 1)),  # goes on
    ]
    tomorrow = replace(bench.moment, now=NOW + dt.timedelta(days=1))
    again = units_to_do(demands, tomorrow, bench.journal)
    assert [(unit.demand.entity, unit.start) for unit in again] == [
        ("pool-a", tomorrow.today),
        ("pool-l", tomorrow.today),
        ("ETHUSDT", dt.date(2024, 6, 1)),
    ]


def test_an_earlier_beginning_finds_the_month_in_which_the_first_run_began_complete(
    make_bench: Callable[..., Bench], httpserver: HTTPServer, catalogue: Catalogue
) -> None:
    """A run since the middle of a month must not leave a hole that no later run fills."""
    httpserver.expect_request("/fapi/v1/fundingRate").respond_with_json([])
    since = Wish(since=dt.date(2024, 5, 20)).moment(catalogue, NOW).since
    make_bench(NOW, since).collect([FUNDING])
    asked = [int(request.args["startTime"]) for request, _ in httpserver.log]
    assert dt.datetime.fromtimestamp(min(asked) / 1000, dt.UTC) == dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
