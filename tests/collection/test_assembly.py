"""From the history to the tables: one source per strategy, final days only, any earlier view again, followed pools."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis_yield.collection.assemble.feeds import COLUMNS, feed_days
from aegis_yield.collection.assemble.flags import Flag
from aegis_yield.collection.assemble.market import market_table
from aegis_yield.collection.assemble.view import View
from aegis_yield.collection.assemble.yields import followed_pools, yield_tables
from aegis_yield.collection.catalogue import Carry, Catalogue, Feed, Listed, MarketColumn, PriceOf
from aegis_yield.collection.history import Appended, History, stamped
from aegis_yield.collection.schemas import TABLES
from aegis_yield.collection.units import Demand
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import CollectionError
from aegis_yield.preprocessing.tables import read_dataset, write_dataset

FIRST = dt.date(2024, 5, 1)
LATER = dt.datetime(2024, 9, 1, 3, tzinfo=dt.UTC)
POOL = "747c1d2a-c668-4682-b9f9-296708a3dd90"
CHART = Feed(Demand("defillama", "chart", POOL))
APR = Feed(Demand("lido_api", "apr", "steth"), rate="apr")
FUNDING = Feed(Demand("binance", "funding", "ETHUSDT"))
Rows = Sequence[Mapping[str, Any]]


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def hour(number: int, hours: float = 0.0) -> dt.datetime:
    return dt.datetime.combine(day(number), dt.time(), dt.UTC) + dt.timedelta(hours=hours)


class Past:
    """A history that tests write into, answer by answer."""

    def __init__(self, folder: Path) -> None:
        self.history = History(folder)
        self._serial = 0

    def add(self, table: str, rows: Rows, at: dt.datetime = LATER, **everywhere: Any) -> Appended:
        """Append rows as if an answer had brought them at a moment."""
        self._serial += 1
        spec = TABLES[table].columns
        kinds = {name: spec[name] for name in {*everywhere, *(name for row in rows for name in row)}}
        frame = pl.DataFrame([{**everywhere, **row} for row in rows], schema=kinds, orient="row")
        raw_id = f"{at:%Y%m%dT%H%M%S%f}-{self._serial:012d}"
        return self.history.append(table, stamped(frame, table, raw_id, at))

    def chart(self, apy: Mapping[int, float], pool: str = POOL, at: dt.datetime = LATER, **more: Any) -> None:
        """Days of a pool's chart; ``more`` are values of every day."""
        self.add(
            "pool_days", [{"date": day(number), "apy": rate} for number, rate in apy.items()], at, pool=pool, **more
        )

    def series(self, source: str, name: str, values: Mapping[int, float], at: dt.datetime = LATER, **more: Any) -> None:
        rows = [{"date": day(number), "value": value} for number, value in values.items()]
        self.add("series_days", rows, at, source=source, series=name, **more)

    def funding(self, hours: Iterable[int], rate: float, at: dt.datetime = LATER) -> None:
        rows = [{"time": hour(0, number), "rate": rate} for number in hours]
        self.add("funding", rows, at, venue="binance", symbol="ETHUSDT")

    def pools(self, date: dt.date, *pools: Mapping[str, Any]) -> None:
        """The list of live pools on a day."""
        plain = {"project": "yearn", "chain": "Base", "symbol": "USDC", "exposure": "single", "tvl_usd": 1e6}
        self.add("pools", [{**plain, "date": date, **pool} for pool in pools], LATER)

    def view(self, as_of: dt.datetime | None = None) -> View:
        return View(self.history, as_of)


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path / "history")


def listed(*feeds: Feed, name: str = "s", price: PriceOf | None = None, carry: Carry | None = None) -> Listed:
    return Listed(name, "project", "chain", "symbol", "staking", feeds, carry, price)


def catalogue(*strategies: Listed, market: Sequence[MarketColumn] = ()) -> Catalogue:
    return Catalogue(strategies, tuple(market))


def rows_of(past: Past, *strategies: Listed, as_of: dt.datetime | None = None) -> pl.DataFrame:
    return yield_tables(catalogue(*strategies), past.view(as_of)).yields


def rates_of(rows: pl.DataFrame) -> dict[dt.date, float]:
    return dict(rows.select("date", "apy").iter_rows())


def compounded(apr: float) -> float:
    return (1 + apr / 365) ** 365 - 1


# One source per strategy


PERCENTS = [n / 100 for n in range(30)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.dictionaries(st.integers(0, 30), st.sampled_from(PERCENTS), max_size=25),
    second=st.dictionaries(st.integers(0, 30), st.sampled_from(PERCENTS), max_size=25),
)
def test_rates_come_from_one_source_whichever_days_each_has(
    tmp_path_factory: pytest.TempPathFactory, first: dict[int, float], second: dict[int, float]
) -> None:
    past = Past(tmp_path_factory.mktemp("history"))
    past.series("lido_api", "steth.apr", first)
    past.chart(second)
    rows = rows_of(past, listed(APR, CHART))
    rates = {
        "lido_api": {day(n): compounded(apr) for n, apr in first.items()},
        "defillama": {day(n): apy for n, apy in second.items()},
    }
    prefers_first = bool(first) and len(first) >= 0.5 * max(len(first), len(second))
    main, other = ("lido_api", "defillama") if prefers_first else ("defillama", "lido_api")
    assert rates_of(rows) == pytest.approx(rates[main], rel=1e-12)
    assert set(rows["source"]) <= {main}
    disagreements = {
        date
        for date, apy in rates[main].items()
        if date in rates[other] and abs(apy - rates[other][date]) > max(0.0025, 0.2 * abs(apy))
    }
    marked = rows.filter(pl.col("quality_flags") // int(Flag.DISAGREEMENT) % 2 == 1)["date"].to_list()
    assert set(marked) == disagreements


@pytest.mark.parametrize(("n_first", "source"), [(10, "lido_api"), (5, "lido_api"), (4, "defillama"), (0, "defillama")])
def test_the_preferred_source_gives_the_rates_if_it_reaches_half_as_many_days(
    past: Past, n_first: int, source: str
) -> None:
    past.series("lido_api", "steth.apr", dict.fromkeys(range(n_first), 0.03))
    past.chart(dict.fromkeys(range(20, 30), 0.04))
    rows = rows_of(past, listed(APR, CHART))
    assert set(rows["source"]) == {source}
    assert rows.height == (n_first if source == "lido_api" else 10)


def test_another_source_fills_what_is_no_rate_and_never_a_rate(past: Past) -> None:
    past.series("lido_api", "steth.apr", {0: 0.03, 1: 0.03, 3: 0.03})
    past.chart({0: 0.04, 1: 0.04, 2: 0.04}, tvl_usd=5e6, apy_base=0.03, apy_reward=0.01)
    sides = [{"date": day(0), "total_supply_usd": 8e6, "total_borrow_usd": 6e6, "borrow_apy": 0.07}]
    past.add("pool_lending_days", sides, pool=POOL)
    rows = rows_of(past, listed(APR, CHART))
    assert rows["date"].to_list() == [day(0), day(1), day(3)]
    assert rows["apy"].to_list() == pytest.approx([compounded(0.03)] * 3)
    assert rows["tvl_usd"].to_list() == [5e6, 5e6, None]
    assert rows["utilization"].to_list() == [0.75, None, None]
    assert rows["total_supply_usd"].to_list() == [8e6, None, None]
    assert rows["borrow_apy"].to_list() == [0.07, None, None]  # the rate of borrowing: the main source knows none
    assert rows["apy_base"].null_count() == rows["apy_reward"].null_count() == 3


def test_what_the_main_source_knows_is_not_replaced_and_its_rate_of_borrowing_not_mixed(past: Past) -> None:
    other = Feed(Demand("defillama", "chart", "other"))
    past.chart({0: 0.03, 1: 0.03, 2: 0.03}, tvl_usd=1e6)
    past.chart({0: 0.05, 1: 0.05, 2: 0.05}, pool="other", tvl_usd=9e6)
    sides = {"total_supply_usd": 8e6, "total_borrow_usd": 6e6}
    past.add("pool_lending_days", [{"date": day(0), "borrow_apy": 0.02, **sides}], pool=POOL)
    past.add("pool_lending_days", [{"date": day(n), "borrow_apy": 0.09, **sides} for n in range(3)], pool="other")
    rows = rows_of(past, listed(CHART, other))
    assert rows["tvl_usd"].to_list() == [1e6] * 3
    assert rows["borrow_apy"].to_list() == [0.02, None, None]
    assert rows["total_supply_usd"].to_list() == [8e6] * 3


def test_the_check_is_the_first_other_source_that_has_days(past: Past) -> None:
    empty, third = Feed(Demand("defillama", "chart", "empty")), Feed(Demand("defillama", "chart", "third"))
    past.chart(dict.fromkeys(range(3), 0.05))
    past.series("lido_api", "steth.apr", {1: 0.09, 2: 0.05})
    past.chart(dict.fromkeys(range(3), 0.5), pool="third")
    rows = rows_of(past, listed(CHART, empty, APR, third))
    assert rows["quality_flags"].to_list() == [0, Flag.DISAGREEMENT, Flag.FROZEN]


def test_a_source_that_pays_no_yield_is_refused_by_name(past: Past) -> None:
    with pytest.raises(CollectionError, match=r"binance/candles: received a source that pays no yield"):
        feed_days(Feed(Demand("binance", "candles", "ETHUSDT")), past.view())


def test_a_source_that_was_never_collected_has_no_days_and_the_columns_of_its_kind(past: Past) -> None:
    vault = Feed(Demand("erc4626", "share_price", "0xa"), through=("0xb",))
    reserve, rebases = Feed(Demand("aave", "reserve", "0xA")), Feed(Demand("lido", "rebases", "steth"))
    for feed in (CHART, APR, FUNDING, vault, reserve, rebases):
        found = feed_days(feed, past.view())
        assert found.height == 0
        assert {"date", "apy"} <= set(found.columns) <= {"date", "supply", "debt", *COLUMNS}
    tables = yield_tables(catalogue(listed(CHART, APR), listed(reserve, rebases, vault, name="t")), past.view())
    assert tables.yields.height == tables.strategies.height == 0


# Sources on the chain


RESERVE = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
RAY = 10**27


def add_reserve(past: Past, states: Mapping[int, tuple[float, float]]) -> None:
    """One update before the first day, four days searched, and states at the ends of some."""
    update = {
        "log_index": 1, "block_number": 1000, "block_hash": "0x1", "time": hour(0),
        "liquidity_rate_ray": str(RAY // 20), "variable_borrow_rate_ray": str(RAY // 10),
        "liquidity_index_ray": str(RAY), "variable_borrow_index_ray": str(RAY),
    }  # fmt: skip
    scans = [
        {"date": day(n), "from_block": 1000 if n == 0 else 1000 + 10 * n, "to_block": 1010 + 10 * n} for n in range(4)
    ]
    past.add("aave_updates", [update], chain="ethereum", reserve=RESERVE)
    past.add("log_scans", scans, chain="ethereum", subject=f"aave:{RESERVE}")
    rows = [
        {"date": day(n), "block_number": 1010 + 10 * n, "reserve_factor": 0.1, "supply": supply, "debt": debt}
        for n, (supply, debt) in states.items()
    ]
    past.add("aave_states", rows, chain="ethereum", reserve=RESERVE)


def test_amounts_of_tokens_become_dollars_where_the_price_is_known_and_come_from_elsewhere_where_not(
    past: Past,
) -> None:
    add_reserve(past, {1: (100.0, 80.0), 2: (100.0, 101.0), 3: (100.0, 80.0)})
    past.series("defillama", "price:coingecko:usd-coin", {1: 1.01, 2: 0.99})
    past.chart(dict.fromkeys(range(5), 0.05), tvl_usd=777.0)
    strategy = listed(Feed(Demand("aave", "reserve", RESERVE.upper())), CHART, price=PriceOf("coingecko:usd-coin"))
    rows = rows_of(past, strategy)
    assert rows["date"].to_list() == [day(1), day(2), day(3)]  # the first day's beginning is before the search
    linear = [(1 + 0.05 * (n + 1) / 365) / (1 + 0.05 * n / 365) for n in (1, 2, 3)]
    assert rows["apy"].to_list() == pytest.approx([growth**365 - 1 for growth in linear], rel=1e-9)
    assert rows["total_supply_usd"].to_list() == pytest.approx([101.0, 99.0, None])
    assert rows["total_borrow_usd"].to_list() == pytest.approx([80.8, 99.99, None])
    assert rows["tvl_usd"].to_list() == pytest.approx([20.2, 0.0, 777.0])  # more lent than supplied leaves nothing
    assert rows["utilization"].to_list() == pytest.approx([0.8, 1.01, 0.8])
    assert rows["price"].to_list() == [1.01, 0.99, None]
    assert set(rows["source"]) == {"aave"}


def test_amounts_of_tokens_without_a_price_of_the_token_are_not_taken_for_dollars(past: Past) -> None:
    add_reserve(past, {1: (100.0, 80.0)})
    rows = rows_of(past, listed(Feed(Demand("aave", "reserve", RESERVE))))
    assert rows.select("tvl_usd", "total_supply_usd", "total_borrow_usd").null_count().row(0) == (3, 3, 3)
    assert rows["utilization"].to_list()[0] == 0.8


def rebase(number: int, hours: float, growth: float) -> dict[str, Any]:
    ether = 10**24
    return {
        "block_number": 100 + number, "log_index": 3, "block_hash": "0x", "time": hour(number, hours),
        "time_elapsed_s": 86_400, "pre_shares": str(ether), "pre_ether": str(ether), "post_shares": str(ether),
        "post_ether": str(int(ether * (1 + growth))),
    }  # fmt: skip


def test_todays_report_of_the_chain_waits_until_the_day_is_over(past: Past) -> None:
    rebases = Feed(Demand("lido", "rebases", "steth"))
    past.add("lido_rebases", [rebase(n, 12.5, 1e-4) for n in range(3)], at=hour(2, 13), chain="ethereum")
    assert feed_days(rebases, past.view())["date"].to_list() == [day(0), day(1)]
    # The next run comes before the next report: the list of pools shows that the day is over.
    past.add("pools", [{"pool": POOL, "date": day(3), "project": "p", "chain": "c", "symbol": "s"}], at=hour(3, 1))
    found = feed_days(rebases, past.view())
    assert found["date"].to_list() == [day(0), day(1), day(2)]
    assert found["apy"].to_list() == pytest.approx([1.0001**365 - 1] * 3, rel=1e-9)
    assert feed_days(rebases, past.view(hour(2, 14)))["date"].to_list() == [day(0), day(1)]


# Nothing provisional


def test_provisional_rows_reach_no_table(past: Past) -> None:
    past.chart({0: 0.03, 1: 0.03})
    past.chart({2: 0.9}, at=hour(2, 20), is_final=False, tvl_usd=9e9)
    past.series("fear_greed", "fear_greed", {0: 10.0, 1: 20.0})
    past.series("fear_greed", "fear_greed", {2: 99.0}, is_final=False)
    candles = [{"time": hour(0, n), "close": 3000.0 + n % 5} for n in range(72)]
    past.add("candles", candles[:71], venue="binance", symbol="ETHUSDT", interval="1h")
    past.add("candles", candles[71:], venue="binance", symbol="ETHUSDT", interval="1h", is_final=False)
    market = [
        MarketColumn("fear_greed", (Feed(Demand("fear_greed", "index", "*")),)),
        MarketColumn("eth_price", (Feed(Demand("binance", "candles", "ETHUSDT")),)),
        MarketColumn("eth_volatility", (Feed(Demand("binance", "candles", "ETHUSDT")),)),
    ]
    assert rows_of(past, listed(CHART))["date"].to_list() == [day(0), day(1)]
    table = market_table(catalogue(market=market), past.view())
    assert table.columns == ["date", "fear_greed", "eth_price", "eth_volatility"]
    assert table["date"].to_list() == [day(0), day(1)]
    assert table["fear_greed"].to_list() == [10.0, 20.0]


def test_a_day_that_turns_final_enters_and_a_late_provisional_copy_takes_nothing_back(past: Past) -> None:
    past.chart({0: 0.03}, at=hour(0, 20), is_final=False)
    assert rows_of(past, listed(CHART)).height == 0
    past.chart({0: 0.035}, at=hour(3))
    past.chart({0: 0.01}, at=hour(4), is_final=False)
    assert rates_of(rows_of(past, listed(CHART))) == {day(0): 0.035}


@pytest.mark.parametrize(("step", "seen_until"), [(1, 20), (1, 22), (8, 16), (4, 20)])
def test_funding_of_the_day_under_way_waits_until_it_is_over(past: Past, step: int, seen_until: int) -> None:
    # Enough of the day is paid to count as a whole one, and more may come.
    past.funding(range(0, 2 * 24 + seen_until + 1, step), 1e-5, at=hour(2, seen_until + 0.5))
    evening = rows_of(past, listed(FUNDING))
    assert evening["date"].to_list() == [day(0), day(1)]
    past.funding(range(2 * 24 + seen_until + step, 3 * 24 + 1, step), 5e-5, at=hour(3, 0.2))
    night = rows_of(past, listed(FUNDING))
    assert night["date"].to_list() == [day(0), day(1), day(2)]
    late = [5e-5 for n in range(seen_until + step, 24, step)]
    paid = 1e-5 * (24 / step - len(late)) + sum(late)
    assert rates_of(night)[day(2)] == pytest.approx(365 * paid)
    assert rows_of(past, listed(FUNDING), as_of=hour(2, 23)).equals(evening)


# Earlier views


def test_a_rewritten_past_shows_in_the_newest_view_and_not_in_earlier_ones(past: Past) -> None:
    past.chart({0: 0.03, 1: 0.04, 2: 0.05}, at=hour(10))
    before = rows_of(past, listed(CHART))
    past.chart({0: 0.03, 1: 0.0044, 2: 0.05, 3: 0.06}, at=hour(20))
    assert rates_of(rows_of(past, listed(CHART))) == {day(0): 0.03, day(1): 0.0044, day(2): 0.05, day(3): 0.06}
    for moment in (hour(10), hour(15), hour(19, 23)):
        assert rows_of(past, listed(CHART), as_of=moment).equals(before)
    assert rows_of(past, listed(CHART), as_of=hour(9)).height == 0
    assert rows_of(past, listed(CHART), as_of=hour(20)).equals(rows_of(past, listed(CHART)))


# Pools beside the catalogue


OTHER = "aa70268e-4b52-42bf-a116-608b370f9501"


def test_a_followed_pool_stays_in_the_tables_though_it_left_the_list_and_was_renamed(past: Past) -> None:
    past.pools(day(0), {"pool": OTHER, "project": "yearn-finance", "symbol": "USDC"}, {"pool": "never-followed"})
    past.add("protocols", [{"slug": "yearn", "date": day(1), "category": "Yield Aggregator"}])
    past.chart({0: 0.03}, pool=OTHER)
    first = yield_tables(catalogue(), past.view())
    assert first.strategies.select("strategy_id", "project", "category", "llama_id").rows() == [
        ("yearn-finance:base:usdc:aa70268e", "yearn-finance", "other", OTHER)
    ]
    past.pools(day(1), {"pool": OTHER, "project": "yearn", "symbol": "yvUSDC"})
    past.chart({1: 0.04}, pool=OTHER)
    past.pools(day(2), {"pool": "somebody-else"})
    past.chart({2: 0.05}, pool=OTHER)
    last = yield_tables(catalogue(), past.view())
    assert last.strategies.select("strategy_id", "project", "symbol", "category", "llama_id").rows() == [
        ("yearn-finance:base:usdc:aa70268e", "yearn", "yvUSDC", "vault", OTHER)
    ]
    assert last.yields.select("strategy_id", "date", "apy", "source").rows() == [
        ("yearn-finance:base:usdc:aa70268e", day(n), apy, "defillama") for n, apy in enumerate((0.03, 0.04, 0.05))
    ]


def test_a_pool_of_the_catalogue_is_not_there_twice_and_one_that_no_list_ever_named_has_a_name(past: Past) -> None:
    past.pools(day(0), {"pool": POOL, "project": "lido"})
    past.chart({0: 0.03})
    past.chart({0: 0.04}, pool=OTHER)
    tables = yield_tables(catalogue(listed(CHART, name="lido:ethereum:steth")), past.view())
    assert tables.strategies["strategy_id"].to_list() == ["lido:ethereum:steth", "unknown:unknown:unknown:aa70268e"]
    assert tables.strategies["category"].to_list() == ["staking", "other"]
    assert tables.yields["strategy_id"].to_list() == tables.strategies["strategy_id"].to_list()
    assert followed_pools(past.view())["llama_id"].to_list() == [POOL, OTHER]


def test_of_several_lists_of_protocols_the_newest_says_what_kind_a_pool_is(past: Past) -> None:
    past.pools(day(0), {"pool": OTHER, "project": "x"})
    past.chart({0: 0.03}, pool=OTHER)
    past.add("protocols", [{"slug": "x", "date": day(0), "category": "Lending"}])
    past.add("protocols", [{"slug": "x", "date": day(1), "category": "Dexs"}])
    assert yield_tables(catalogue(), past.view()).strategies["category"].to_list() == ["amm_lp"]


# Prices


def test_the_price_is_that_of_a_coin_or_the_ratio_of_two(past: Past) -> None:
    past.chart({0: 0.03, 1: 0.03, 2: 0.03})
    past.series("defillama", "price:steth", {0: 2990.0, 1: 3000.0, 3: 1.0})
    past.series("defillama", "price:eth", {0: 3000.0, 2: 3000.0})
    in_ether = rows_of(past, listed(CHART, price=PriceOf("steth", "eth")))
    assert in_ether["price"].to_list() == pytest.approx([2990 / 3000, None, None])
    in_dollars = rows_of(past, listed(CHART, price=PriceOf("steth")))
    assert in_dollars["price"].to_list() == [2990.0, 3000.0, None]
    assert rows_of(past, listed(CHART))["price"].null_count() == 3
    assert in_dollars["date"].to_list() == [day(0), day(1), day(2)]


# The trade


def test_the_trade_stands_beside_its_legs_on_the_days_that_both_have(past: Past) -> None:
    past.chart({0: 0.03, 1: 0.04, 2: 0.05})
    past.funding(range(24, 5 * 24, 8), 1e-4)
    carry = Carry("long", "short", leverage=2.0, round_trip_cost_bps=10.0, holding_days=10.0)
    rows = rows_of(past, listed(name="trade", carry=carry), listed(CHART, name="long"), listed(FUNDING, name="short"))
    trade = rows.filter(pl.col("strategy_id") == "trade")
    assert trade["date"].to_list() == [day(1), day(2)]
    by_hand = [(365 * ((1 + long) ** (1 / 365) - 1) + 0.1095 - 0.0365) / 1.5 for long in (0.04, 0.05)]
    assert trade["apy"].to_list() == pytest.approx(by_hand, rel=1e-12)
    assert set(trade["source"]) == {"legs"}
    assert rows["strategy_id"].unique(maintain_order=True).to_list() == ["long", "short", "trade"]
    described = yield_tables(
        catalogue(listed(name="trade", carry=carry), listed(CHART, name="long"), listed(FUNDING, name="short")),
        past.view(),
    ).strategies
    assert described["method"].to_list() == [
        "defillama/chart", "binance/funding", "legs: long and short, net of costs, on capital",
    ]  # fmt: skip


# The market


def test_a_market_column_is_each_day_from_the_first_source_that_has_it(past: Past) -> None:
    for venue, first, last, close in (("binance", 48, 96, 3000.0), ("bybit", 24, 96, 5000.0)):
        candles = [{"time": hour(0, n), "close": close} for n in range(first, last)]
        past.add("candles", candles, venue=venue, symbol="ETHUSDT", interval="1h")
    past.series("defillama", "price:coingecko:ethereum", {0: 7000.0, 1: 7000.0, 5: 7000.0})
    feeds = [Feed(Demand(venue, "candles", "ETHUSDT")) for venue in ("binance", "bybit")]
    price = MarketColumn("eth_price", (*feeds, Feed(Demand("defillama", "price", "coingecko:ethereum"))))
    table = market_table(catalogue(market=[price]), past.view())
    assert dict(table.iter_rows()) == {day(0): 7000.0, day(1): 5000.0, day(2): 3000.0, day(3): 3000.0, day(5): 7000.0}


def test_every_kind_of_series_finds_its_column_and_what_was_never_collected_makes_none(past: Past) -> None:
    gas = [{"date": day(0), "base_fee_gwei": 5.0, "priority_fee_gwei": 0.5}, {"date": day(1), "base_fee_gwei": 4.0}]
    past.add("gas_days", gas, chain="ethereum", n_blocks=7000)
    names = {
        ("fred", "observations", "DFF"): "DFF", ("coingecko", "market_chart", "bitcoin"): "price:bitcoin",
        ("defillama", "price", "coingecko:bitcoin"): "price:coingecko:bitcoin",
        ("defillama", "chain_tvl", "*"): "chain_tvl:*", ("defillama", "protocol_tvl", "lido"): "protocol_tvl:lido",
        ("defillama", "stablecoins", "*"): "stablecoins:*", ("fear_greed", "index", "*"): "fear_greed",
    }  # fmt: skip
    for n, ((source, _, _), series) in enumerate(names.items()):
        past.series(source, series, {0: 50.0 + n})
    columns = [MarketColumn(f"c{n}", (Feed(Demand(*demand)),)) for n, demand in enumerate(names)]
    columns += [MarketColumn("gas_gwei", (Feed(Demand("gas", "fees", "ethereum")),))]
    columns += [MarketColumn("vix", (Feed(Demand("fred", "observations", "VIXCLS")),))]
    table = market_table(catalogue(market=columns), past.view())
    assert table.columns == ["date", *(f"c{n}" for n in range(len(names))), "gas_gwei"]
    assert table.rows() == [(day(0), *(50.0 + n for n in range(len(names))), 5.5), (day(1), *[None] * len(names), 4.0)]
    assert market_table(catalogue(), past.view()).height == 0


# What comes out is a dataset


def test_the_tables_are_a_dataset_by_the_contract(past: Past, tmp_path: Path) -> None:
    add_reserve(past, {1: (100.0, 80.0)})
    past.chart(dict.fromkeys(range(4), 0.05), tvl_usd=1e6)
    past.chart({0: 0.0, 3: 1e4}, pool=OTHER)
    past.funding(range(0, 96, 8), -0.1)
    past.series("fear_greed", "fear_greed", {0: 10.0})
    found = yield_tables(
        catalogue(
            listed(Feed(Demand("aave", "reserve", RESERVE)), name="aave"),
            listed(CHART, name="lido"),
            listed(FUNDING, name="short"),
            listed(name="trade", carry=Carry("lido", "short")),
            listed(Feed(Demand("defillama", "chart", "nothing")), name="nothing"),
        ),
        past.view(),
    )
    market = market_table(
        catalogue(market=[MarketColumn("fear_greed", (Feed(Demand("fear_greed", "index", "*")),))]), past.view()
    )
    write_dataset(Dataset(found.yields, found.strategies, market, "made"), tmp_path / "made")
    read = read_dataset(tmp_path / "made", today=dt.date(2024, 9, 1))
    assert set(read.strategies["strategy_id"]) == {"aave", "lido", "short", "trade", "unknown:unknown:unknown:aa70268e"}
    assert read.yields.select("strategy_id", "date", "apy").equals(found.yields.select("strategy_id", "date", "apy"))
    assert read.yields["quality_flags"].to_list() == found.yields["quality_flags"].to_list()
