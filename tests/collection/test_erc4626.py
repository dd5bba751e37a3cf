"""Share prices of vaults: from whichever node keeps old state, in full digits, composed for vaults over vaults."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from chain_server import ChainServer, Habits, RevertError, Slots, nodes
from harness import Bench
from pytest_httpserver import HTTPServer

from aegis_yield.collection.assemble.erc4626 import daily_rates
from aegis_yield.collection.units import Demand

VAULT, ASSET = "0x9D39A5DE30e57443BfF2A8307A4256c8797A3497", "0x" + "ee" * 20
DEMAND = Demand("erc4626", "share_price", VAULT)
SLOTS = Slots()
NOW = dt.datetime(2024, 4, 3, 9, tzinfo=dt.UTC)
MakeBench = Callable[..., Bench]


def midnight(day: dt.date) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())


def block_of(day: dt.date) -> int:
    """The block at the end of a day."""
    return SLOTS.block_at(midnight(day + dt.timedelta(days=1)))


BORN = block_of(dt.date(2024, 1, 1))


def price_at(block: int) -> tuple[int, int]:
    """Assets per share as a fraction: grows by about 8 % a year."""
    return 10**12 + (block - BORN) * 32_000, 10**12


def functions(share_decimals: int = 18, asset_decimals: int = 18, born: int = BORN) -> dict[tuple[str, str], Any]:
    def convert(arguments: bytes, block: int) -> bytes:
        numerator, denominator = price_at(block)
        shares = int.from_bytes(arguments, "big")
        assets = shares * 10**asset_decimals * numerator // (denominator * 10**share_decimals)
        return assets.to_bytes(32, "big") if block >= born else b""

    vault = VAULT.lower()
    return {
        (vault, "0x07a2d13a"): convert,
        (vault, "0x313ce567"): lambda arguments, block: share_decimals.to_bytes(32, "big"),
        (vault, "0x38d52e0f"): lambda arguments, block: bytes.fromhex(ASSET[2:]).rjust(32, b"\0"),
        (ASSET, "0x313ce567"): lambda arguments, block: asset_decimals.to_bytes(32, "big"),
    }


def node_of(now: dt.datetime = NOW, **habits: Any) -> ChainServer:
    return ChainServer(now, SLOTS, functions=functions(), habits=Habits(**habits))


def days(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]


def prices(bench: Bench) -> pl.DataFrame:
    return bench.history.latest("share_prices")


@pytest.mark.parametrize(("share_decimals", "asset_decimals"), [(18, 18), (18, 6), (6, 6), (24, 6), (0, 27)])
def test_a_month_of_prices_in_full_digits(
    make_bench: MakeBench, httpserver: HTTPServer, share_decimals: int, asset_decimals: int
) -> None:
    node = node_of()
    node.functions = functions(share_decimals, asset_decimals)
    bench = make_bench(NOW, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert bench.failures == []
    found = prices(bench)
    assert found["date"].to_list() == days(dt.date(2024, 2, 29), dt.date(2024, 4, 2))
    assert found["block_number"].to_list() == [block_of(day) for day in found["date"]]
    expected = [price_at(block)[0] / price_at(block)[1] for block in found["block_number"]]
    assert found["assets_per_share"].to_list() == pytest.approx(expected, rel=1e-15)
    assert found["vault"].unique().to_list() == [VAULT.lower()]
    assert node.http_requests <= 20

    rates = daily_rates(found, [VAULT])
    assert rates["date"].to_list() == days(dt.date(2024, 3, 1), dt.date(2024, 4, 2))
    growth = [(after / before) ** 365 - 1 for before, after in pairwise(expected)]
    assert rates["apy"].to_list() == pytest.approx(growth, rel=1e-9)


def test_one_whole_share_is_asked_for_where_that_says_enough(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = node_of(dt.datetime(2024, 3, 2, 9, tzinfo=dt.UTC))
    bench = make_bench(node.now, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    asked = {params[0]["data"] for method, params in node.asked if params and "0x07a2d13a" in str(params[0])}
    assert asked == {"0x07a2d13a" + (10**18).to_bytes(32, "big").hex()}


def test_old_days_come_from_a_node_that_keeps_them(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    full, archive = node_of(state_depth=128), node_of()
    bench = make_bench(NOW, dt.date(2024, 3, 1), environment=nodes(httpserver, full, archive))
    bench.collect([DEMAND])
    assert bench.failures == []
    assert prices(bench).height == 34
    assert archive.calls["eth_getBlockByNumber"] == 0


def test_days_that_no_node_keeps_are_skipped(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    depth = 3 * 7_200
    now = dt.datetime(2024, 3, 20, 9, tzinfo=dt.UTC)
    bench = make_bench(
        now,
        dt.date(2024, 3, 1),
        environment=nodes(httpserver, node_of(now, state_depth=depth), node_of(now, state_depth=9)),
    )
    bench.collect([DEMAND])
    assert bench.failures == []
    assert prices(bench)["date"].to_list() == days(dt.date(2024, 3, 17), dt.date(2024, 3, 19))


def test_a_month_that_no_node_keeps_fails_and_says_why(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    bench = make_bench(NOW, dt.date(2024, 2, 1), environment=nodes(httpserver, node_of(state_depth=128)))
    bench.collect([DEMAND])
    assert [failure.verdict for failure in bench.failures] == ["provider"] * 3
    assert "2024-01-31 … 2024-02-29" in bench.failures[0].reason
    assert "archive" in bench.failures[0].reason
    assert "missing trie node" in bench.failures[0].reason

    archive = node_of()
    # The same folder, with another node.
    later = Bench(bench.folder, httpserver, NOW, dt.date(2024, 2, 1), nodes(httpserver, archive))
    later.collect([DEMAND])
    assert later.failures == []
    assert prices(later)["date"].to_list() == days(dt.date(2024, 1, 31), dt.date(2024, 4, 2))
    later.close()


def test_before_the_vault_was_there_it_has_no_price(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = node_of()
    node.functions = functions(born=block_of(dt.date(2024, 3, 10)))
    bench = make_bench(NOW, dt.date(2024, 2, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert bench.failures == []
    assert prices(bench)["date"].min() == dt.date(2024, 3, 10)


def test_a_day_on_which_the_vault_refuses_has_no_price(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = node_of()
    paused = block_of(dt.date(2024, 3, 10))
    convert = node.functions[(VAULT.lower(), "0x07a2d13a")]

    def pausing(arguments: bytes, block: int) -> bytes:
        if block == paused:
            raise RevertError("Pausable: paused")
        return convert(arguments, block)

    node.functions = {**node.functions, (VAULT.lower(), "0x07a2d13a"): pausing}
    bench = make_bench(NOW, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert bench.failures == []
    missing = set(days(dt.date(2024, 2, 29), dt.date(2024, 4, 2))) - set(prices(bench)["date"])
    assert missing == {dt.date(2024, 3, 10)}
    rates = daily_rates(prices(bench), [VAULT])
    assert dt.date(2024, 3, 10) not in rates["date"]
    assert dt.date(2024, 3, 11) not in rates["date"]


@pytest.mark.parametrize("entity", ["susde", ASSET])
def test_what_is_no_vault_fails_and_says_so(make_bench: MakeBench, httpserver: HTTPServer, entity: str) -> None:
    bench = make_bench(NOW, dt.date(2024, 4, 1), environment=nodes(httpserver, node_of()))
    bench.collect([Demand("erc4626", "share_price", entity)])
    assert [failure.verdict for failure in bench.failures] == ["final"]
    assert entity in bench.failures[0].reason
    assert prices(bench).height == 0


def test_an_open_month_goes_on(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = node_of(dt.datetime(2024, 3, 9, 9, tzinfo=dt.UTC))
    bench = make_bench(node.now, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    calls = node.calls["eth_call"]
    bench.collect([DEMAND])
    assert node.calls["eth_call"] == calls
    node.now += dt.timedelta(days=2)
    bench.collect([DEMAND], now=node.now)
    assert node.calls["eth_call"] == calls + 5
    assert prices(bench)["date"].to_list() == days(dt.date(2024, 2, 29), dt.date(2024, 3, 10))
    assert bench.history.revisions("share_prices")["revision"].max() == 1


def test_prices_of_a_vault_over_a_vault_multiply() -> None:
    day = dt.date(2024, 3, 5)
    rows = [
        ("0xa", day, 1.1),
        ("0xa", day + dt.timedelta(days=1), 1.1 * 1.0001),
        ("0xb", day, 1.2),
        ("0xb", day + dt.timedelta(days=1), 1.2 * 1.0002),
        ("0xb", day + dt.timedelta(days=2), 1.3),
        ("0xc", day, 7.0),
    ]
    table = pl.DataFrame(rows, schema=["vault", "date", "assets_per_share"], orient="row")
    found = daily_rates(table, ["0xA", "0xb"])
    assert found["date"].to_list() == [day + dt.timedelta(days=1)]
    assert found["apy"].item() == pytest.approx((1.0001 * 1.0002) ** 365 - 1, rel=1e-9)
    assert daily_rates(table, ["0xb"]).height == 2
    assert daily_rates(table.clear(), ["0xa"]).rows() == []
