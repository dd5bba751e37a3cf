"""Searching for events: ranges adapt to what a node allows, nothing is lost, nothing beyond what is final is read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from chain_server import ChainServer, Habits, LogEntry, in_session, nodes
from harness import Bench
from pytest_httpserver import HTTPServer
from werkzeug import Response

from aegis_yield.collection.logs import LogFilter, Search, search_back, search_forward
from aegis_yield.collection.rpc import answered
from aegis_yield.collection.runner import UnitSession
from aegis_yield.collection.verdicts import Verdict
from aegis_yield.domain.errors import SourceError

NOW = dt.datetime(2024, 3, 20, 6, 30, tzinfo=dt.UTC)
FIRST = 19_000_000
N_BLOCKS = 60_000
CONTRACT, OTHER = "0x" + "12" * 20, "0x" + "34" * 20
TOPIC = "0x" + "ab" * 32
WANTED = LogFilter(CONTRACT, (TOPIC,))
MakeBench = Callable[..., Bench]


def event(block: int, index: int = 0, **more: Any) -> LogEntry:
    return {"block": block, "index": index, "address": CONTRACT, "topics": [TOPIC], "data": bytes(32), **more}


def landed(bench: Bench) -> list[tuple[int, int]]:
    """Block and index of every log in the answers that are read into the history, in order."""
    pages = [bench.raw.page(path) for path in bench.raw.files()]
    return [(log.block_number, log.log_index) for page in pages if page for _, logs in answered(page) for log in logs]


def forward(bench: Bench, first: int = FIRST, last: int = FIRST + N_BLOCKS - 1) -> None:
    in_session(bench, lambda session: search_forward(session, WANTED, first, last))


@pytest.mark.parametrize(
    "habits",
    [
        Habits(),
        Habits(max_results=40),
        Habits(max_range=999),
        Habits(max_range=20_000, max_results=15),
        Habits(max_range=10_000, shuffles=True),
    ],
    ids=["no caps", "results", "range", "both", "just the first range"],
)
def test_every_event_is_landed_once(make_bench: MakeBench, httpserver: HTTPServer, habits: Habits) -> None:
    rng = np.random.default_rng(1)
    blocks = rng.choice(N_BLOCKS, 300, replace=False)
    crowd = [event(FIRST + 30_000, index) for index in range(15)]  # as many in one block as the tightest cap allows
    logs = [event(FIRST + int(block), int(rng.integers(100, 200))) for block in blocks if block != 30_000] + crowd
    noise = [{**event(FIRST + 5), "address": OTHER}, {**event(FIRST + 6), "topics": ["0x" + "cd" * 32]}]
    node = ChainServer(NOW, logs=[*logs, *noise, event(FIRST - 1), event(FIRST + N_BLOCKS)], habits=habits)
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    forward(bench)
    assert landed(bench) == sorted((log["block"], log["index"]) for log in logs)


def test_ranges_grow_while_they_are_answered(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW)
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    forward(bench, FIRST, FIRST + 216_000)
    assert node.http_requests <= 8


def test_a_range_once_refused_is_seldom_tried_again(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW, habits=Habits(max_range=999))
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    forward(bench)
    widths = [last - first + 1 for first, last in ranges(node)]
    refused = [width for width in widths if width > 999]
    assert refused[:4] == [10_000, 5_000, 2_500, 1_250]
    assert len(refused) <= 4 + len(widths) // 6
    assert len(widths) <= 4 + 1.3 * N_BLOCKS / 999


def test_a_crowd_of_events_is_soon_forgotten(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    crowd = [event(FIRST + 1_000, index) for index in range(20)] + [event(FIRST + 1_001)]
    node = ChainServer(NOW, logs=crowd, habits=Habits(max_results=20))
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    forward(bench)
    assert landed(bench) == [(log["block"], log["index"]) for log in crowd]
    assert node.http_requests < 160  # down to one block at a time and up again


def test_a_block_with_too_many_events_fails_and_says_so(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW, logs=[event(FIRST, index) for index in range(5)], habits=Habits(max_results=4))
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    with pytest.raises(SourceError, match="more than 4 results") as caught:
        forward(bench, FIRST, FIRST + 100)
    assert caught.value.verdict == Verdict.TOO_LARGE


def test_beyond_the_head_is_another_nodes_business(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    behind, current = ChainServer(NOW - dt.timedelta(days=400)), ChainServer(NOW, logs=[event(FIRST + 7)])
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, behind, current))
    assert behind.newest < FIRST
    forward(bench, FIRST, FIRST + 100)
    assert landed(bench) == [(FIRST + 7, 0)]

    alone = make_bench(NOW, NOW.date(), environment=nodes(httpserver, behind))
    with pytest.raises(SourceError, match="beyond current head"):
        forward(alone, FIRST, FIRST + 100)


def test_events_taken_back_are_left_out(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW, logs=[event(FIRST + 1), event(FIRST + 2, removed=True)])
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    forward(bench, FIRST, FIRST + 10)
    assert landed(bench) == [(FIRST + 1, 0)]


def test_goes_on_where_it_was_stopped(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    logs = [event(FIRST + order * 100) for order in range(N_BLOCKS // 100)]
    node = ChainServer(NOW, logs=logs)

    def fail_late(body: Any) -> Response | None:
        return Response("gone", 404) if int(body["params"][0]["fromBlock"], 16) > FIRST + 20_000 else None

    node.habits.refuse_request = fail_late
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    with pytest.raises(SourceError, match="404"):
        forward(bench)
    before = landed(bench)
    assert 0 < len(before) < len(logs)

    node.habits.refuse_request = None
    bench.reopen()
    forward(bench)
    assert landed(bench) == [(log["block"], 0) for log in logs]  # no event twice, none lost
    requests = node.http_requests
    forward(bench)
    assert node.http_requests == requests


# Backward


def back(bench: Bench, searches: Sequence[Search]) -> None:
    async def work(session: UnitSession) -> None:
        await search_back(session, WANTED, searches)

    in_session(bench, work)


def ranges(node: ChainServer) -> list[tuple[int, int]]:
    return [(int(one["fromBlock"], 16) - FIRST, int(one["toBlock"], 16) - FIRST) for _, (one,) in node.asked]


def test_the_last_event_is_found_in_the_first_range_that_has_one(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    logs = [event(FIRST + 8_500), event(FIRST + 9_700, 3), event(FIRST + 9_700, 5), event(FIRST + 10_001)]
    node = ChainServer(NOW, logs=logs)
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    search = Search(FIRST + 10_000, FIRST, {})
    back(bench, [search])
    assert search.found is not None
    assert (search.found.block_number, search.found.log_index) == (FIRST + 9_700, 5)
    assert ranges(node) == [(9_701, 10_000), (8_501, 9_700)]


def test_several_searches_share_a_batch_and_each_ends_by_itself(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW, logs=[event(FIRST + 9_990), event(FIRST + 29_000)])
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    searches = [
        Search(FIRST + 10_000, FIRST + 5_000, {}),
        Search(FIRST + 20_000, FIRST + 19_000, {}),  # nothing between its ends
        Search(FIRST + 30_000, FIRST + 20_001, {}),
    ]
    back(bench, searches)
    assert [search.found and search.found.block_number - FIRST for search in searches] == [9_990, None, 29_000]
    assert node.http_requests == 2
    assert ranges(node)[3:] == [(19_000, 19_700), (28_501, 29_700)]


def test_a_refused_range_is_halved_and_no_block_is_skipped(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW, logs=[event(FIRST + 1_234)], habits=Habits(max_range=500))
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    search = Search(FIRST + 10_000, FIRST, {})
    back(bench, [search])
    assert search.found is not None
    assert search.found.block_number == FIRST + 1_234
    answered_ranges = [pair for pair in ranges(node) if pair[1] - pair[0] < 500]
    assert answered_ranges[0][1] == 10_000
    assert all(low[1] == high[0] - 1 for high, low in pairwise(answered_ranges))
    assert answered_ranges[-1][0] <= 1_234


def test_one_refused_range_does_not_hold_up_the_others(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    crowd = [event(FIRST + 9_800 + order) for order in range(100)]
    node = ChainServer(NOW, logs=[*crowd, event(FIRST + 19_990)], habits=Habits(max_results=60))
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    searches = [Search(FIRST + 10_000, FIRST, {}), Search(FIRST + 20_000, FIRST + 10_001, {})]
    back(bench, searches)
    assert [search.found and search.found.block_number - FIRST for search in searches] == [9_899, 19_990]
    assert ranges(node)[2:] == [(9_851, 10_000)]
