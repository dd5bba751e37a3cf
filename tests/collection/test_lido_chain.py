"""Lido on the chain: rebases of a month in few requests, and what a day of them pays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from chain_server import ChainServer, Habits, LogEntry, Slots, nodes
from harness import Bench
from pytest_httpserver import HTTPServer

from aegis_yield.collection.assemble.lido import daily_rates
from aegis_yield.collection.sources.lido import TOKEN_REBASED
from aegis_yield.collection.units import Demand

STETH = "0xae7ab96520DE3A18E5e111B5EaAb095312D7fE84"
DEMAND = Demand("lido", "rebases", "steth")
SLOTS = Slots()
YEAR = 31_536_000
MakeBench = Callable[..., Bench]


def unix(moment: dt.datetime) -> int:
    return int(moment.timestamp())


def rebase(report: dt.datetime, landed: dt.datetime, values: Sequence[int], index: int = 5) -> LogEntry:
    """``values``: seconds covered, shares and ether before, shares and ether after, shares minted as fees."""
    return {
        "block": SLOTS.block_at(unix(landed)),
        "index": index,
        "address": STETH,
        "topics": [TOKEN_REBASED, "0x" + unix(report).to_bytes(32, "big").hex()],
        "data": b"".join(value.to_bytes(32, "big") for value in values),
    }


def reports(first: dt.date, n_days: int) -> list[LogEntry]:
    shares, ether = 8_000_000 * 10**18, 9_200_000 * 10**18
    logs = []
    for n in range(n_days):
        noon = dt.datetime.combine(first + dt.timedelta(days=n), dt.time(12, 0, 23), dt.UTC)
        after = (shares + 10**18 * (n % 7), ether * (365_000_000 + 27_000 + 311 * n) // 365_000_000)
        logs.append(rebase(noon, noon + dt.timedelta(minutes=20), (86_400, shares, ether, *after, 10**17)))
        shares, ether = after[0] + 5 * 10**20, after[1] + 6 * 10**20
    return logs


def apy_of(log: LogEntry) -> float:
    elapsed, pre_shares, pre_ether, post_shares, post_ether = (
        int.from_bytes(log["data"][at : at + 32], "big") for at in range(0, 160, 32)
    )
    growth = Fraction(post_ether, post_shares) / Fraction(pre_ether, pre_shares)
    return float(growth) ** (YEAR / elapsed) - 1


NOW = dt.datetime(2024, 4, 3, 9, tzinfo=dt.UTC)
FIRST = dt.date(2024, 2, 20)
LOGS = reports(FIRST, 43)


def collected(bench: Bench) -> pl.DataFrame:
    return daily_rates(bench.history.latest("lido_rebases"))


@pytest.mark.parametrize("with_log_times", [False, True], ids=["report times", "block times"])
def test_two_months_of_rebases(make_bench: MakeBench, httpserver: HTTPServer, with_log_times: bool) -> None:
    node = ChainServer(NOW, SLOTS, LOGS, habits=Habits(max_range=20_000, with_log_times=with_log_times))
    bench = make_bench(NOW, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    assert len(bench.collect([DEMAND])) == 2
    assert bench.failures == []
    found = collected(bench)
    assert found["date"].to_list() == [dt.date(2024, 3, 1) + dt.timedelta(days=n) for n in range(33)]
    assert found["apy"].to_list() == pytest.approx([apy_of(log) for log in LOGS[10:]], rel=1e-9)
    assert found["apy"].is_between(0.02, 0.06).all()
    assert node.http_requests <= 40
    times = bench.history.latest("lido_rebases")["time"]
    assert set(times.dt.minute()) == ({20} if with_log_times else {0})


def test_an_open_month_goes_on_and_repeats_nothing(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(dt.datetime(2024, 3, 14, 6, tzinfo=dt.UTC), SLOTS, LOGS)
    bench = make_bench(node.now, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert collected(bench)["date"].max() == dt.date(2024, 3, 13)
    before = bench.history.revisions("lido_rebases")
    asked = node.calls["eth_getLogs"]
    bench.collect([DEMAND])
    assert node.calls["eth_getLogs"] == asked

    node.now += dt.timedelta(days=5)
    bench.collect([DEMAND], now=node.now)
    after = bench.history.revisions("lido_rebases")
    assert after.head(before.height).equals(before)
    assert collected(bench).height == 18
    last = [params for method, params in node.asked if method == "eth_getLogs"][asked:]
    assert int(last[0][0]["fromBlock"], 16) > before["block_number"].max()  # type: ignore[operator]


def test_a_report_that_is_not_final_waits(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    """It lies in a block that is reorganised before the next run, and the report lands later."""
    now = dt.datetime(2024, 3, 5, 12, 25, tzinfo=dt.UTC)
    node = ChainServer(now, SLOTS, LOGS)
    bench = make_bench(now, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert collected(bench)["date"].max() == dt.date(2024, 3, 4)

    late = {**LOGS[14], "block": LOGS[14]["block"] + 9}
    node.logs = [*LOGS[:14], late]
    node.now += dt.timedelta(hours=1)
    bench.collect([DEMAND], now=node.now)
    found = bench.history.revisions("lido_rebases")
    assert found["block_number"].to_list()[-1] == late["block"]
    assert found.height == 5


def test_a_month_that_has_hardly_begun_has_nothing_yet(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    now = dt.datetime(2024, 3, 1, 0, 5, tzinfo=dt.UTC)
    node = ChainServer(now, SLOTS, LOGS)
    bench = make_bench(now, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert bench.failures == []
    assert node.calls["eth_getLogs"] == 0


def test_it_never_reads_beyond_the_moment_of_the_run(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW, SLOTS, LOGS)
    bench = make_bench(
        dt.datetime(2024, 3, 9, 1, tzinfo=dt.UTC), dt.date(2024, 3, 5), environment=nodes(httpserver, node)
    )
    bench.collect([DEMAND])
    found = collected(bench)["date"]
    assert (found.min(), found.max()) == (dt.date(2024, 3, 5), dt.date(2024, 3, 8))
    asked = [params[0] for method, params in node.asked if method == "eth_getLogs"]
    assert int(asked[0]["fromBlock"], 16) == SLOTS.block_at(unix(dt.datetime(2024, 3, 5, tzinfo=dt.UTC))) + 1
    assert int(asked[-1]["toBlock"], 16) == SLOTS.block_at(unix(bench.moment.now))


# Assembling


def rows(*values: tuple[dt.datetime, int, int, int, int, int]) -> pl.DataFrame:
    names = ("time", "time_elapsed_s", "pre_shares", "pre_ether", "post_shares", "post_ether")
    kinds: dict[str, Any] = dict.fromkeys(names, pl.String)
    kinds |= {"time": pl.Datetime("us", "UTC"), "time_elapsed_s": pl.Int64}
    made = [(time, elapsed, *map(str, amounts)) for time, elapsed, *amounts in values]
    return pl.DataFrame(made, schema=kinds, orient="row")


def test_reports_of_one_day_count_together_over_the_time_they_cover() -> None:
    day = dt.datetime(2024, 3, 5, tzinfo=dt.UTC)
    ether = 10**25
    first = (day + dt.timedelta(hours=1), 3 * 86_400, ether, ether, ether, ether + ether // 10_000)
    second = (day + dt.timedelta(hours=20), 86_400, 2 * ether, 2 * ether, ether, ether + ether // 20_000)
    found = daily_rates(rows(first, second))
    assert found.rows() == [
        (day.date(), pytest.approx((1.0001 * 1.00005) ** (365 / 4) - 1, rel=1e-9)),
    ]


def test_a_slashing_pays_less_than_nothing() -> None:
    noon = dt.datetime(2024, 3, 5, 12, tzinfo=dt.UTC)
    found = daily_rates(rows((noon, 86_400, 10**25, 10**25, 10**25, 10**25 - 10**21)))
    assert found["apy"].to_list() == pytest.approx([0.9999**365 - 1], rel=1e-9)


def test_days_without_a_report_are_absent() -> None:
    assert daily_rates(rows()).rows() == []
    noon = dt.datetime(2024, 3, 5, 12, tzinfo=dt.UTC)
    assert daily_rates(rows((noon, 86_400, 0, 0, 10**25, 10**25))).rows() == []


def test_growth_is_taken_in_integers() -> None:
    """A float of the share rate would lose the last digits of a day's growth."""
    noon = dt.datetime(2024, 3, 5, 12, tzinfo=dt.UTC)
    shares, ether = 8_123_456_789_012_345_678_901_234, 9_234_567_890_123_456_789_012_345
    found = daily_rates(rows((noon, 86_400, shares, ether, shares, ether + 10**15)))
    assert found["apy"].item() == pytest.approx(365 * 10**15 / ether, rel=1e-6)
