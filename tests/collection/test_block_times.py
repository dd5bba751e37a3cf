"""Block by time: found by bisection, equal to looking at every block; never beyond what is final."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Callable

import numpy as np
import pytest
from chain_server import ChainServer, Habits, Slots, in_session, nodes
from harness import Bench
from pytest_httpserver import HTTPServer

from aegis_yield.collection.blocks import Chain, end_of
from aegis_yield.domain.errors import SourceError

NOW = dt.datetime(2024, 3, 20, 6, 30, tzinfo=dt.UTC)
MakeBench = Callable[..., Bench]


def month_ends() -> list[int]:
    return [end_of(dt.date(2024, 2, 10) + dt.timedelta(days=n)) for n in range(32)]


@pytest.mark.parametrize("seed", range(6))
def test_equals_looking_at_every_block(make_bench: MakeBench, httpserver: HTTPServer, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_slots, start = 40_000, int(NOW.timestamp()) - 40_000 * 12
    # From hardly any to nearly all slots missed, in runs as well.
    share = float(rng.choice([0.001, 0.05, 0.5, 0.95]))
    gone = rng.random(n_slots) < share
    gone[rng.integers(1, n_slots - 900) :][:800] = True
    gone[0] = gone[-1] = False
    node = ChainServer(NOW, Slots(1000, start, 0, np.flatnonzero(gone).tolist()))
    times = [start + 12 * slot for slot in np.flatnonzero(~gone).tolist()]
    final_time = times[-65 if times[-1] <= NOW.timestamp() else -66]
    moments = [*rng.integers(times[0], int(NOW.timestamp()), 20).tolist(), times[5], times[5] - 1, times[-40]]
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))

    found = in_session(bench, lambda session: Chain(session).blocks_at(moments))

    assert found == {at: 999 + bisect_right(times, at) for at in moments if at <= final_time}
    assert max(moments) > final_time


def test_a_month_of_midnights_takes_few_requests_and_is_remembered(
    make_bench: MakeBench, httpserver: HTTPServer
) -> None:
    node = ChainServer(NOW)
    bench = make_bench(NOW, dt.date(2024, 2, 1), environment=nodes(httpserver, node))

    found = in_session(bench, lambda session: Chain(session).blocks_at(month_ends()))

    assert found == {at: node.slots.block_at(at) for at in month_ends()}
    for at, block in found.items():
        assert node.slots.time_of(block) <= at < node.slots.time_of(block + 1)
    assert node.http_requests <= 8
    assert node.calls["eth_getBlockByNumber"] <= 200

    before = node.http_requests
    assert in_session(bench, lambda session: Chain(session).blocks_at(month_ends())) == found
    assert node.http_requests == before


def test_a_moment_that_is_not_final_has_no_block(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    midnight = end_of(dt.date(2024, 3, 19))
    node = ChainServer(dt.datetime.fromtimestamp(midnight + 600, dt.UTC))
    bench = make_bench(node.now, dt.date(2024, 3, 1), environment=nodes(httpserver, node))
    assert in_session(bench, lambda session: Chain(session).blocks_at([midnight])) == {}

    node.now += dt.timedelta(minutes=10)
    assert in_session(bench, lambda session: Chain(session).blocks_at([midnight])) == {
        midnight: node.slots.block_at(midnight)
    }


def test_without_the_tag_two_epochs_below_the_newest_count_as_final(
    make_bench: MakeBench, httpserver: HTTPServer
) -> None:
    node = ChainServer(NOW, habits=Habits(knows_finality=False))
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    head = in_session(bench, lambda session: Chain(session).head())
    assert (head.number, head.time) == (node.newest - 64, node.slots.time_of(node.newest - 64))


def test_a_node_out_of_step_gives_way_to_another(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    behind, current = ChainServer(NOW - dt.timedelta(days=2)), ChainServer(NOW)
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, behind, current))
    assert in_session(bench, lambda session: Chain(session).head()).number == current.finalized


def test_a_chain_that_is_not_final_is_not_read(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW - dt.timedelta(days=2))
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    with pytest.raises(SourceError, match="this node is behind"):
        in_session(bench, lambda session: Chain(session).head())
    assert {tuple(params) for _, params in node.asked} == {("finalized", False)}
