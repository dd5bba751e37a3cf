"""Gas: a day's median block from fee histories, however short the node's answers are."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from chain_server import ChainServer, Habits, Slots, nodes
from harness import Bench
from pytest_httpserver import HTTPServer
from werkzeug import Response

from aegis_yield.collection.sources.gas import parse
from aegis_yield.collection.units import Demand, Page

DEMAND = Demand("gas", "fees", "ethereum")
SLOTS = Slots()
NOW = dt.datetime(2024, 3, 5, 9, tzinfo=dt.UTC)
SINCE = dt.date(2024, 3, 2)
MakeBench = Callable[..., Bench]


def fees(block: int) -> tuple[int, int, float]:
    """Base fee, tip, gas used: a third of the blocks are empty."""
    noise = int(hashlib.sha256(str(block).encode()).hexdigest()[:6], 16)
    if noise % 3 == 0:
        return 2 * 10**9 + noise, 0, 0.0
    return 3 * 10**9 + 40 * noise, 10**7 + noise, 0.5


def blocks_of(day: dt.date) -> range:
    begin, end = (
        SLOTS.block_at(int(dt.datetime.combine(day + dt.timedelta(days=n), dt.time(), dt.UTC).timestamp()))
        for n in (0, 1)
    )
    return range(begin + 1, end + 1)


def expected(day: dt.date) -> tuple[float, float, int]:
    of_day = [fees(block) for block in blocks_of(day)]
    tips = [tip for _, tip, used in of_day if used]
    return statistics.median(base for base, _, _ in of_day) / 1e9, statistics.median(tips) / 1e9, len(of_day)


def node_of(now: dt.datetime = NOW, **habits: Any) -> ChainServer:
    return ChainServer(now, SLOTS, fees=fees, habits=Habits(**habits))


def days(*numbers: int) -> list[dt.date]:
    return [dt.date(2024, 3, number) for number in numbers]


def assert_days(bench: Bench, wanted: list[dt.date]) -> None:
    found = bench.history.latest("gas_days")
    assert found["date"].to_list() == wanted
    for day, *values in found.select("date", "base_fee_gwei", "priority_fee_gwei", "n_blocks").iter_rows():
        assert values == pytest.approx(expected(day), rel=1e-12)


@pytest.mark.parametrize("most", [1024, 1000, 100])
def test_days_are_whole_however_short_the_answers(make_bench: MakeBench, httpserver: HTTPServer, most: int) -> None:
    node = node_of(max_fee_blocks=most, shuffles=True)
    bench = make_bench(NOW, SINCE, environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert bench.failures == []
    assert_days(bench, days(2, 3, 4))
    asked = sum(-(-len(blocks_of(day)) // most) for day in days(2, 3, 4))
    assert node.calls["eth_feeHistory"] == asked + (0 if most == 1024 else -(-len(blocks_of(SINCE)) // 1024))
    # One answer a day, so that each can be read by itself.
    pages = [page for page in map(bench.raw.page, bench.raw.files()) if page]
    assert [page.context["about"][0]["date"] for page in pages] == ["2024-03-02", "2024-03-03", "2024-03-04"]


@pytest.mark.parametrize("most", [0, 1, 99])
def test_answers_too_short_to_go_on_are_another_nodes_business(
    make_bench: MakeBench, httpserver: HTTPServer, most: int
) -> None:
    now = dt.datetime(2024, 3, 3, 9, tzinfo=dt.UTC)
    pruned, whole = node_of(now, max_fee_blocks=most), node_of(now)
    bench = make_bench(now, SINCE, environment=nodes(httpserver, pruned, whole))
    bench.collect([DEMAND])
    assert_days(bench, days(2))
    alone = make_bench(now, SINCE, environment=nodes(httpserver, pruned))
    alone.collect([DEMAND])
    assert f"received only {most} of 1024 blocks" in alone.failures[0].reason


def test_a_node_with_small_batches_gives_way_to_another(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    now = dt.datetime(2024, 3, 3, 9, tzinfo=dt.UTC)
    small, whole = node_of(now, max_batch=3), node_of(now)
    bench = make_bench(now, SINCE, environment=nodes(httpserver, small, whole))
    bench.collect([DEMAND])
    assert_days(bench, days(2))


def test_one_failing_call_repeats_the_day(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = node_of(dt.datetime(2024, 3, 3, 9, tzinfo=dt.UTC))
    left = [1]

    def refuse(method: str, params: Any) -> tuple[int, str] | None:
        if method == "eth_feeHistory" and len(node.asked) % 4 == 0 and left[0]:
            left[0] -= 1
            return -32000, "request timed out"
        return None

    node.habits.refuse_item = refuse
    bench = make_bench(node.now, SINCE, environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert left == [0]
    assert_days(bench, days(2))
    assert bench.figures["ethereum"].retries == 1


def test_a_killed_run_goes_on_after_the_last_day(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = node_of()
    edge = blocks_of(dt.date(2024, 3, 3))[-1]

    def refuse(body: Any) -> Response | None:
        late = isinstance(body, list) and "feeHistory" in body[0]["method"] and int(body[0]["params"][1], 16) > edge
        return Response("gone", 404) if late else None

    node.habits.refuse_request = refuse
    bench = make_bench(NOW, SINCE, environment=nodes(httpserver, node))
    bench.collect([DEMAND])
    assert len(bench.failures) == 1
    assert_days(bench, days(2, 3))
    node.habits.refuse_request = None
    before = node.calls["eth_feeHistory"]
    bench.reopen()
    bench.collect([DEMAND])
    assert_days(bench, days(2, 3, 4))
    assert node.calls["eth_feeHistory"] == before + 7
    assert bench.history.revisions("gas_days")["revision"].max() == 1


def test_only_ethereum_has_gas(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    bench = make_bench(NOW, SINCE, environment=nodes(httpserver, node_of()))
    bench.collect([Demand("gas", "fees", "base")])
    assert "'base'" in bench.failures[0].reason


def page_of(*answers: dict[str, Any], first: int, last: int) -> Page:
    about = {"date": "2024-03-02", "from_block": first, "to_block": last}
    body = [{"id": n, "method": "eth_feeHistory", "params": []} for n in range(1, len(answers) + 1)]
    content = [{"id": n, "result": answer} for n, answer in enumerate(answers, 1)]
    request = {"body": body, "context": {"about": [about] * len(answers)}}
    return Page("raw", DEMAND, "unit", request, NOW, json.dumps(content).encode())


def answer(oldest: int, bases: list[int], tips: list[int]) -> dict[str, Any]:
    return {
        "oldestBlock": hex(oldest),
        "baseFeePerGas": [hex(base) for base in [*bases, 10**15]],
        "gasUsedRatio": [float(tip > 0) for tip in tips],
        "reward": [[hex(tip)] for tip in tips],
    }


def test_the_next_block_and_empty_blocks_do_not_count() -> None:
    page = page_of(answer(5, [10**9, 3 * 10**9], [0, 8]), answer(7, [2 * 10**9], [6]), first=5, last=7)
    (row,) = parse(page)["gas_days"].iter_rows(named=True)
    assert (row["base_fee_gwei"], row["priority_fee_gwei"], row["n_blocks"]) == (2.0, 7e-9, 3)


def test_a_day_of_empty_blocks_has_no_tip() -> None:
    (row,) = parse(page_of(answer(5, [7], [0]), first=5, last=5))["gas_days"].iter_rows(named=True)
    assert row["priority_fee_gwei"] is None


def test_an_answer_that_is_not_the_whole_day_has_no_row() -> None:
    assert parse(page_of(answer(5, [7, 7], [1, 1]), first=5, last=7))["gas_days"].height == 0
    assert parse(page_of(answer(6, [7, 7], [1, 1]), first=5, last=7))["gas_days"].height == 0
    assert parse(page_of(answer(4, [7] * 9, [1] * 9), first=5, last=7))["gas_days"]["n_blocks"].item() == 3
