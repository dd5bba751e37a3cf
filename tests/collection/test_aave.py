"""Aave v3: the index arithmetic equals the contract's, and a simulated reserve comes back day by day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from chain_server import ChainServer, Habits, LogEntry, Slots, nodes
from harness import Bench
from pytest_httpserver import HTTPServer

from aegis_yield.collection.accrual import compounded_interest, debt_index, linear_interest, supply_index, yearly
from aegis_yield.collection.assemble.aave import daily_rates
from aegis_yield.collection.journal import Status
from aegis_yield.collection.sources.aave import POOL, POOL_BLOCK, QUIET_BLOCKS, RESERVE_DATA_UPDATED, subject_of
from aegis_yield.collection.units import Demand, monthly_units

RESERVE = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"
ATOKEN, DEBT_TOKEN = "0x" + "a1" * 20, "0x" + "d1" * 20
DEMAND = Demand("aave", "reserve", RESERVE)
MakeBench = Callable[..., Bench]
RAY = 10**27
YEAR = 365 * 24 * 3600


# The contract, written down once more: WadRayMath and MathUtils


def contract_ray_mul(a: int, b: int) -> int:
    if a == 0 or b == 0:
        return 0
    product, half = a * b, 500_000_000_000_000_000_000_000_000
    return (product + half) // 1_000_000_000_000_000_000_000_000_000


def contract_linear(rate: int, last: int, now: int) -> int:
    result = rate * (now - last)
    result = result // YEAR
    return RAY + result


def contract_compounded(rate: int, last: int, now: int) -> int:
    exp = now - last
    if exp == 0:
        return RAY
    minus_one = exp - 1
    minus_two = exp - 2 if exp > 2 else 0
    base_power_two = contract_ray_mul(rate, rate) // (YEAR * YEAR)
    base_power_three = contract_ray_mul(base_power_two, rate) // YEAR
    second = exp * minus_one * base_power_two
    second //= 2
    third = exp * minus_one * minus_two * base_power_three
    third //= 6
    return RAY + (rate * exp) // YEAR + second + third


def contract_exponential(rate: int, last: int, now: int) -> int:
    """As later versions of the contract compute debt."""
    x = rate * (now - last) // YEAR
    return RAY + x + contract_ray_mul(x, x // 2 + contract_ray_mul(x, x // 6))


def cases(n: int) -> list[tuple[int, int, int]]:
    rng = np.random.default_rng(0)
    indices = (RAY * rng.uniform(1.0, 8.0, n)).tolist()
    rates = (RAY * 10 ** rng.uniform(-9.0, 1.0, n)).tolist()
    seconds = (10 ** rng.uniform(0.0, 8.0, n)).tolist()
    noise = rng.integers(0, 2**31, (n, 2)).tolist()
    found = [
        (int(i) + low, int(r) + high, int(s))
        for i, r, s, (low, high) in zip(indices, rates, seconds, noise, strict=True)
    ]
    return [*found, (RAY, 0, 0), (RAY, RAY, 0), (RAY, RAY, 1), (2**128 - 1, 2**128 - 1, 2**31)]


def test_indices_equal_the_contracts_on_random_cases() -> None:
    worst_formula = worst = 0
    for index, rate, seconds in cases(20_000):
        exact = contract_ray_mul(contract_linear(rate, 1_700_000_000, 1_700_000_000 + seconds), index)
        formula = index + index * rate * seconds // (YEAR * RAY)
        worst = max(worst, abs(supply_index(index, rate, seconds) - exact))
        if index < 10 * RAY:
            worst_formula = max(worst_formula, abs(formula - exact))
        debt = contract_ray_mul(contract_compounded(rate, 5, 5 + seconds), index)
        worst = max(worst, abs(debt_index(index, rate, seconds) - debt))
    assert worst == 0
    assert worst_formula <= 8  # up to the index itself, in units of 1e-27: the interest is rounded before it


def test_interest_has_known_values() -> None:
    assert linear_interest(RAY // 20, YEAR) == RAY + RAY // 20
    assert compounded_interest(0, 10**6) == RAY
    a_year = compounded_interest(RAY // 20, YEAR) / RAY
    assert a_year == pytest.approx(np.exp(0.05), abs=1e-5)  # third order, whose term is cut to 1e-27
    a_day = compounded_interest(RAY // 20, 86_400)
    assert abs(a_day - contract_exponential(RAY // 20, 0, 86_400)) / RAY < 3e-13


@pytest.mark.parametrize("growth", [0, 1, 10**20, 10**23, 10**24, 3 * 10**25])
def test_a_days_growth_becomes_a_yearly_rate_to_twelve_digits(growth: int) -> None:
    before = 1_137_289_422_906_101_847_346_112_345
    with localcontext(prec=80):
        exact = (Decimal(before + growth) / Decimal(before)) ** 365 - 1
    assert yearly(before, before + growth) == pytest.approx(float(exact), rel=1e-12, abs=0)


# A simulated reserve


@dataclass
class Reserve:
    """Accrues as the contract does and remembers an event per change."""

    slots: Slots
    liquidity: int = 1_050_000_000_123_456_789_012_345_678
    debt: int = 1_080_000_000_987_654_321_098_765_432
    rates: tuple[int, int] = (0, 0)
    time: int = 0
    logs: list[LogEntry] = field(default_factory=list)
    changes: list[tuple[int, int, int, tuple[int, int]]] = field(default_factory=list)

    def change(self, block: int, index: int, rates: tuple[int, int]) -> None:
        now = self.slots.time_of(block)
        if self.time and now != self.time:
            self.liquidity = contract_ray_mul(contract_linear(self.rates[0], self.time, now), self.liquidity)
            self.debt = contract_ray_mul(contract_compounded(self.rates[1], self.time, now), self.debt)
        self.time, self.rates = now, rates
        self.changes.append((now, self.liquidity, self.debt, rates))
        words = (rates[0], 0, rates[1], self.liquidity, self.debt)
        self.logs.append(
            {
                "block": block,
                "index": index,
                "address": "0x87870Bca3F3fD6335C3F4ce8392D69350B4fA4E2",
                "topics": [RESERVE_DATA_UPDATED, "0x" + RESERVE.lower()[2:].rjust(64, "0")],
                "data": b"".join(word.to_bytes(32, "big") for word in words),
            }
        )

    def indices_at(self, moment: int) -> tuple[int, int]:
        """What the contract itself would answer at a moment."""
        time, liquidity, debt, rates = [change for change in self.changes if change[0] <= moment][-1]
        return (
            contract_ray_mul(contract_linear(rates[0], time, moment), liquidity),
            contract_ray_mul(contract_compounded(rates[1], time, moment), debt),
        )

    def apys(self, day: dt.date) -> tuple[float, float]:
        begin, end = (self.indices_at(midnight(day + dt.timedelta(days=n))) for n in (0, 1))
        with localcontext(prec=60):
            first, second = ((Decimal(b) / Decimal(a)) ** 365 - 1 for a, b in zip(begin, end, strict=True))
        return float(first), float(second)


def midnight(day: dt.date) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())


def busy_reserve(first: dt.date, n_days: int, quiet: Sequence[dt.date] = (), seed: int = 0) -> Reserve:
    """A reserve with some hundred changes a day, except on quiet days; often several in a block."""
    rng = np.random.default_rng(seed)
    slots = Slots()
    reserve = Reserve(slots)
    blocks: list[int] = []
    for n in range(n_days):
        day = first + dt.timedelta(days=n)
        begin, end = (slots.block_at(midnight(day + dt.timedelta(days=m))) for m in (0, 1))
        count = 0 if day in quiet else 150
        blocks += np.sort(rng.integers(begin + 1, end + 1, count)).tolist()
    for order, block in enumerate(blocks):
        rate = float(rng.uniform(0.01, 0.2))
        reserve.change(block, order, (int(RAY * rate * 0.8), int(RAY * rate)))
    return reserve


def token_functions(reserve: Reserve) -> dict[tuple[str, str], Callable[[bytes, int], bytes]]:
    config = 6 << 48 | 1 << 56 | 1_000 << 64 | 2_000_000 << 116

    def reserve_data(arguments: bytes, block: int) -> bytes:
        if arguments[-20:].hex() != RESERVE.lower()[2:]:
            return bytes(480)
        words = [config, 0, 0, 0, 0, 0, 0, 3, int(ATOKEN, 16), 0, int(DEBT_TOKEN, 16), 0, 0, 0, 0]
        return b"".join(word.to_bytes(32, "big") for word in words)

    return {
        (POOL, "0x35ea6a75"): reserve_data,
        (ATOKEN, "0x18160ddd"): lambda arguments, block: (block * 1_000_000).to_bytes(32, "big"),
        (DEBT_TOKEN, "0x18160ddd"): lambda arguments, block: (block * 750_000).to_bytes(32, "big"),
    }


def node_of(reserve: Reserve, now: dt.datetime, **habits: Any) -> ChainServer:
    return ChainServer(now, reserve.slots, reserve.logs, token_functions(reserve), habits=Habits(**habits))


def rates_of(bench: Bench) -> pl.DataFrame:
    latest = bench.history.latest
    return daily_rates(latest("aave_updates"), latest("log_scans"), latest("chain_blocks"), latest("aave_states"))


def assert_equals_contract(found: pl.DataFrame, reserve: Reserve, days: Sequence[dt.date]) -> None:
    assert found["date"].to_list() == list(days)
    for day, apy, borrow_apy in found.select("date", "apy", "borrow_apy").iter_rows():
        expected = reserve.apys(day)
        assert apy == pytest.approx(expected[0], rel=1e-12)
        assert borrow_apy == pytest.approx(expected[1], rel=1e-12)


def days(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]


MARCH = days(dt.date(2024, 3, 1), dt.date(2024, 3, 31))
APRIL_2 = dt.datetime(2024, 4, 2, 9, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def march() -> Reserve:
    return busy_reserve(dt.date(2024, 2, 28), 35, quiet=(dt.date(2024, 3, 9), dt.date(2024, 3, 10)))


@pytest.mark.parametrize("with_log_times", [False, True], ids=["headers", "times in logs"])
def test_a_month_equals_the_contract_and_takes_few_requests(
    make_bench: MakeBench, httpserver: HTTPServer, march: Reserve, with_log_times: bool
) -> None:
    node = node_of(march, APRIL_2, with_log_times=with_log_times, shuffles=True)
    bench = make_bench(APRIL_2, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    assert len(bench.collect([DEMAND])) == 2
    assert bench.failures == []
    found = rates_of(bench)
    assert_equals_contract(found, march, [*MARCH, dt.date(2024, 4, 1)])
    assert bench.history.latest("chain_blocks").height == (0 if with_log_times else 31)
    assert found["utilization"].to_list() == pytest.approx([0.75] * 32)
    block = march.slots.block_at(midnight(dt.date(2024, 3, 6)))
    by_day = {row["date"]: row for row in found.iter_rows(named=True)}
    assert by_day[dt.date(2024, 3, 5)]["supply"] == block
    state = bench.history.latest("aave_states").row(0, named=True)
    assert (state["reserve_factor"], state["supply_cap"], state["is_frozen"]) == (0.1, 2_000_000.0, False)
    assert node.http_requests <= 40
    # On quiet days the search ends where that of the day before began.
    eve = march.slots.block_at(midnight(dt.date(2024, 3, 9)))
    assert all(first > eve for first, last in searched(node) if last > eve)


def searched(node: ChainServer) -> list[tuple[int, int]]:
    asked = [params[0] for method, params in node.asked if method == "eth_getLogs"]
    return [(int(one["fromBlock"], 16), int(one["toBlock"], 16)) for one in asked]


def test_nothing_is_asked_again_and_no_row_is_added_twice(
    make_bench: MakeBench, httpserver: HTTPServer, march: Reserve
) -> None:
    now = dt.datetime(2024, 3, 12, 5, tzinfo=dt.UTC)
    node = node_of(march, now)
    bench = make_bench(now, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    before = {table: bench.history.revisions(table) for table in ("aave_updates", "log_scans", "aave_states")}
    asked = node.calls["eth_getLogs"]
    bench.collect([DEMAND])
    assert node.calls["eth_getLogs"] == asked
    for table, rows in before.items():
        assert bench.history.revisions(table).equals(rows)

    node.now = now + dt.timedelta(days=2)
    bench.collect([DEMAND], now=node.now)
    assert_equals_contract(rates_of(bench), march, days(dt.date(2024, 3, 1), dt.date(2024, 3, 13)))


def test_a_day_is_left_to_the_next_run_until_its_end_is_final(
    make_bench: MakeBench, httpserver: HTTPServer, march: Reserve
) -> None:
    now = dt.datetime(2024, 3, 6, 0, 5, tzinfo=dt.UTC)
    node = node_of(march, now)
    bench = make_bench(now, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert rates_of(bench)["date"].to_list() == days(dt.date(2024, 3, 1), dt.date(2024, 3, 4))
    node.now += dt.timedelta(minutes=15)
    bench.collect([DEMAND], now=node.now)
    assert rates_of(bench)["date"].to_list() == days(dt.date(2024, 3, 1), dt.date(2024, 3, 5))


def test_it_never_reads_beyond_the_moment_of_the_run(
    make_bench: MakeBench, httpserver: HTTPServer, march: Reserve
) -> None:
    node = node_of(march, APRIL_2)
    now = dt.datetime(2024, 3, 6, 0, 5, tzinfo=dt.UTC)
    bench = make_bench(now, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert rates_of(bench)["date"].to_list() == days(dt.date(2024, 3, 1), dt.date(2024, 3, 5))


def test_a_reorganisation_between_two_runs_changes_nothing(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    """Blocks above the final one are replaced, with other events: none of the old ones was read."""
    now = dt.datetime(2024, 3, 6, 0, 10, tzinfo=dt.UTC)
    first, second = (busy_reserve(dt.date(2024, 2, 28), 10, seed=seed) for seed in (1, 2))
    node = node_of(first, now)
    final = node.finalized
    kept = Reserve(first.slots)
    for log, change in zip(first.logs, first.changes, strict=True):
        if log["block"] <= final:
            kept.change(log["block"], log["index"], change[3])
    for log, change in zip(second.logs, second.changes, strict=True):
        if log["block"] > final:
            kept.change(log["block"], log["index"], change[3])
    bench = make_bench(now, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    before = {table: bench.history.revisions(table) for table in ("aave_updates", "log_scans", "chain_blocks")}
    assert before["aave_updates"]["block_number"].max() <= final  # type: ignore[operator]

    node.logs, node.now = kept.logs, now + dt.timedelta(days=2, hours=6)
    node.reorganise(final + 1, "other")
    bench.collect([DEMAND], now=node.now)
    for table, rows in before.items():
        after = bench.history.revisions(table)
        assert after.join(rows, on=rows.columns, how="semi", nulls_equal=True).height == rows.height
        assert after["revision"].max() == 1
    assert_equals_contract(rates_of(bench), kept, days(dt.date(2024, 3, 1), dt.date(2024, 3, 7)))


def test_a_run_that_was_cut_off_goes_on(make_bench: MakeBench, httpserver: HTTPServer, march: Reserve) -> None:
    node = node_of(march, APRIL_2)
    edge = march.slots.block_at(midnight(dt.date(2024, 3, 17)))

    def refuse(method: str, params: Sequence[Any]) -> tuple[int, str] | None:
        is_late = method == "eth_getLogs" and int(params[0]["toBlock"], 16) > edge
        return (-32602, "invalid argument") if is_late else None

    node.habits.refuse_item = refuse
    bench = make_bench(APRIL_2, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert len(bench.failures) == 2
    assert "invalid argument" in bench.failures[0].reason
    done = rates_of(bench)["date"].to_list()
    assert MARCH[:8] == done[:8]
    assert done[-1] < MARCH[-1]

    node.habits.refuse_item = None
    node.asked.clear()
    bench.reopen()
    bench.collect([DEMAND])
    assert bench.failures == []
    assert_equals_contract(rates_of(bench), march, [*MARCH, dt.date(2024, 4, 1)])
    lowest = min(first for first, _ in searched(node))
    assert lowest > march.slots.block_at(midnight(dt.date(2024, 3, 9)))
    for table in ("aave_updates", "log_scans", "aave_states", "chain_blocks"):
        assert bench.history.revisions(table)["revision"].max() == 1


def test_caps_failing_items_and_missing_state_cost_no_day(
    make_bench: MakeBench, httpserver: HTTPServer, march: Reserve
) -> None:
    node = node_of(march, APRIL_2, max_range=200, max_results=12, state_depth=128, shuffles=True, max_batch=7)
    seen: set[str] = set()

    def refuse(method: str, params: Sequence[Any]) -> tuple[int, str] | None:
        key = f"{method}{params}"
        if hash(key) % 3 == 0 and key not in seen:
            seen.add(key)
            return -32005, "limit exceeded"
        return None

    node.habits.refuse_item = refuse
    environment = nodes(httpserver, node) | {"AEGIS_SRC__CLIENT__ATTEMPTS": "20"}
    bench = make_bench(APRIL_2, dt.date(2024, 3, 1), environment=environment)
    bench.collect([DEMAND])
    assert bench.failures == []
    found = rates_of(bench)
    assert_equals_contract(found, march, [*MARCH, dt.date(2024, 4, 1)])
    assert bench.history.latest("aave_states").height == 0
    assert found["supply"].null_count() == found["utilization"].null_count() == found.height
    march_unit = monthly_units(DEMAND, bench.moment.since, bench.moment.today)[0]
    assert bench.journal.status(march_unit) == Status.DONE


def test_state_comes_from_a_node_that_keeps_it(make_bench: MakeBench, httpserver: HTTPServer, march: Reserve) -> None:
    now = dt.datetime(2024, 3, 6, 7, tzinfo=dt.UTC)
    full, archive = node_of(march, now, state_depth=128), node_of(march, now)
    bench = make_bench(now, dt.date(2024, 3, 1), environment=nodes(httpserver, full, archive))
    bench.collect([DEMAND])
    assert bench.failures == []
    assert bench.history.latest("aave_states")["date"].to_list() == days(dt.date(2024, 2, 29), dt.date(2024, 3, 5))
    assert archive.calls["eth_getLogs"] == 0


def test_before_a_token_was_listed_there_is_no_state(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    reserve = busy_reserve(dt.date(2024, 3, 3), 3)
    now = dt.datetime(2024, 3, 6, 7, tzinfo=dt.UTC)
    node = node_of(reserve, now)
    listed = reserve.slots.block_at(midnight(dt.date(2024, 3, 3)))
    functions = dict(node.functions)
    for token in (ATOKEN, DEBT_TOKEN):
        functions[(token, "0x18160ddd")] = lambda arguments, block: (
            (block).to_bytes(32, "big") if block > listed else b""
        )
    node.functions = functions
    bench = make_bench(now, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert bench.failures == []
    assert bench.history.latest("aave_states")["date"].to_list() == days(dt.date(2024, 3, 3), dt.date(2024, 3, 5))
    assert_equals_contract(rates_of(bench), reserve, days(dt.date(2024, 3, 4), dt.date(2024, 3, 5)))
    # The search for an event before the first day ends somewhere.
    lowest = min(first for first, _ in searched(node))
    assert lowest == reserve.slots.block_at(midnight(dt.date(2024, 3, 1))) - QUIET_BLOCKS
    assert node.http_requests <= 40


def test_the_search_ends_where_the_pool_began(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    slots = Slots()
    begun = dt.datetime.fromtimestamp(slots.time_of(POOL_BLOCK), dt.UTC)
    node = node_of(Reserve(slots), begun + dt.timedelta(days=3))
    bench = make_bench(node.now, begun.date() - dt.timedelta(days=5), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert bench.failures == []
    scans = bench.history.latest("log_scans")
    assert scans["from_block"].min() == POOL_BLOCK
    states = [int(params[1], 16) for method, params in node.asked if method == "eth_call" and params[1] != "latest"]
    assert min(states) > POOL_BLOCK
    assert scans["date"].to_list() == days(begun.date(), begun.date() + dt.timedelta(days=2))
    assert scans.select("date", "to_block").rows() == [
        (day, slots.block_at(midnight(day + dt.timedelta(days=1)))) for day in scans["date"]
    ]
    assert rates_of(bench).height == 0


def test_the_tables_can_be_made_again_from_the_answers(
    make_bench: MakeBench, httpserver: HTTPServer, march: Reserve
) -> None:
    now = dt.datetime(2024, 3, 12, 5, tzinfo=dt.UTC)
    bench = make_bench(now, dt.date(2024, 3, 1), environment=nodes(httpserver, node_of(march, now)))
    bench.collect([DEMAND])
    before = {
        table: bench.history.latest(table) for table in ("aave_updates", "log_scans", "chain_blocks", "aave_states")
    }
    again = bench.reader.rebuild(lambda done, total: None)
    for table, rows in before.items():
        assert rows.height > 0
        assert again.latest(table).equals(rows)


@pytest.mark.parametrize("entity", ["USDC", "0x1234", "0x" + "77" * 20])
def test_what_is_no_reserve_fails_and_says_so(
    make_bench: MakeBench, httpserver: HTTPServer, march: Reserve, entity: str
) -> None:
    now = dt.datetime(2024, 3, 6, 7, tzinfo=dt.UTC)
    bench = make_bench(now, dt.date(2024, 3, 1), environment=nodes(httpserver, node_of(march, now)))
    bench.collect([Demand("aave", "reserve", entity)])
    assert entity in bench.failures[0].reason
    assert bench.failures[0].verdict == "final"


# Assembling


def tables(**changes: Any) -> dict[str, pl.DataFrame]:
    """Two days of a reserve that paid 10 % and 20 %, and one before."""
    noons = [dt.datetime(2024, 3, n, 12, tzinfo=dt.UTC) for n in (1, 2, 3)]
    updates = pl.DataFrame(
        {
            "log_index": [0, 0, 1],
            "block_number": [100, 200, 300],
            "block_hash": ["0xa", "0xb", "0xc"],
            "time": noons,
            "liquidity_rate_ray": [str(RAY // 10), str(RAY // 5), "0"],
            "variable_borrow_rate_ray": [str(RAY // 5), str(RAY // 4), "0"],
            "liquidity_index_ray": [str(RAY)] * 3,
            "variable_borrow_index_ray": [str(RAY)] * 3,
        }
    )
    scans = pl.DataFrame(
        {
            "date": [dt.date(2024, 3, n) for n in (1, 2, 3)],
            "from_block": [90, 190, 290],
            "to_block": [150, 250, 350],
        }
    )
    blocks = pl.DataFrame(
        {"block_number": [200], "block_hash": ["0xb"], "time": noons[1:2]},
    )
    states = pl.DataFrame(
        schema={"date": pl.Date, "reserve_factor": pl.Float64, "supply": pl.Float64, "debt": pl.Float64}
    )
    return {"updates": updates, "scans": scans, "blocks": blocks, "states": states, **changes}


def test_days_between_known_midnights_have_rates() -> None:
    found = daily_rates(**tables())
    assert found["date"].to_list() == [dt.date(2024, 3, 2), dt.date(2024, 3, 3)]
    half_a_day = [1 + 0.1 / 730, 1 + 0.2 / 730, 1.0]
    expected = [(after / before) ** 365 - 1 for before, after in pairwise(half_a_day)]
    assert found["apy"].to_list() == pytest.approx(expected, rel=1e-9)
    assert found["utilization"].to_list() == [None, None]


def test_the_time_of_an_event_may_come_from_its_header_only_if_that_is_the_same_block() -> None:
    made = tables()
    untimed = made["updates"].with_columns(
        pl.when(pl.col("block_number") == 200).then(None).otherwise(pl.col("time")).alias("time")
    )
    assert daily_rates(**tables(updates=untimed)).equals(daily_rates(**made))
    other = made["blocks"].with_columns(pl.lit("0xother").alias("block_hash"))
    assert daily_rates(**tables(updates=untimed, blocks=other)).height == 0


def test_a_midnight_whose_last_event_is_not_sure_makes_no_day() -> None:
    made = tables()
    scans = made["scans"].with_columns(
        pl.when(pl.col("to_block") == 250).then(220).otherwise(pl.col("from_block")).alias("from_block")
    )
    assert daily_rates(**tables(scans=scans)).height == 0
    # ... but searches that join make it sure.
    joined = scans.with_columns(
        pl.when(pl.col("to_block") == 250).then(151).otherwise(pl.col("from_block")).alias("from_block")
    )
    updates = made["updates"].filter(pl.col("block_number") != 200)
    assert daily_rates(**tables(scans=joined, updates=updates))["date"].to_list() == [
        dt.date(2024, 3, 2),
        dt.date(2024, 3, 3),
    ]


def test_utilization_comes_from_the_state_or_from_the_rates() -> None:
    states = pl.DataFrame(
        {"date": [dt.date(2024, 3, 3)], "reserve_factor": [0.1], "supply": [200.0], "debt": [90.0]},
    )
    found = daily_rates(**tables(states=states))
    assert found["utilization"].to_list() == pytest.approx([0.2 / (0.25 * 0.9), 0.45])
    assert found["supply"].to_list() == [None, 200.0]


def test_nothing_collected_is_no_days(make_bench: MakeBench) -> None:
    bench = make_bench(APRIL_2, dt.date(2024, 3, 1))
    assert rates_of(bench).height == 0
    assert rates_of(bench).columns == ["date", "apy", "borrow_apy", "utilization", "supply", "debt"]


def test_a_subject_is_lower_case() -> None:
    assert subject_of(RESERVE) == f"aave:{RESERVE.lower()}"
