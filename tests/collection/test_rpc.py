"""JSON-RPC: answers by id, failures of a whole batch and of single calls, and what each error means."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from chain_server import ChainServer, Habits, RevertError, in_session, nodes
from harness import Bench
from pytest_httpserver import HTTPServer
from werkzeug import Response

from aegis_yield.collection.abi import aggregate3, aggregated, call_data, from_hex, padded, words
from aegis_yield.collection.chain import Header, fees_of, logs_of
from aegis_yield.collection.rpc import (
    Call,
    ask,
    ask_keepers,
    contract_call,
    has_failed,
    header_call,
    probe,
    results,
    verdict_of_error,
)
from aegis_yield.collection.runner import UnitSession
from aegis_yield.collection.verdicts import Verdict
from aegis_yield.domain.errors import SourceError

NOW = dt.datetime(2024, 3, 20, 6, 30, tzinfo=dt.UTC)
FIRST = 19_000_000
TOKEN = "0x" + "12" * 20
MakeBench = Callable[..., Bench]
Refusal = tuple[int, str] | None


def headers(n: int) -> list[Call]:
    return [header_call(FIRST + order) for order in range(n)]


def numbers(session: UnitSession, n: int) -> Any:
    async def work() -> list[int]:
        return [header.number for header in results(await probe(session, headers(n)))]

    return work()


def test_answers_belong_to_their_ids_whatever_their_order(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW, habits=Habits(shuffles=True))
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    found = in_session(bench, lambda session: probe(session, headers(7)))
    times = [node.slots.time_of(FIRST + order) for order in range(7)]
    assert found == [Header(FIRST + n, time, node.block_hash(FIRST + n)) for n, time in enumerate(times)]
    assert node.http_requests == 1


def test_ids_may_come_back_as_text(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW)

    def as_text(body: Any) -> Response:
        answers = [{**node._item(item), "id": str(item["id"])} for item in body]
        return Response(json.dumps(answers), content_type="application/json")

    node.habits.refuse_request = as_text
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    assert in_session(bench, lambda session: numbers(session, 2)) == [FIRST, FIRST + 1]


def test_what_fails_in_passing_is_called_again_alone(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW)
    failing = {hex(FIRST + 2): 1, hex(FIRST + 4): 2}

    def refuse(method: str, params: Sequence[Any]) -> Refusal:
        if failing.get(params[0], 0) > 0:
            failing[params[0]] -= 1
            return -32005, "daily request count exceeded, request rate limited"
        return None

    node.habits.refuse_item = refuse
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    assert in_session(bench, lambda session: numbers(session, 6)) == [FIRST + n for n in range(6)]
    asked = [from_hex(params[0]) - FIRST for _, params in node.asked]
    assert asked == [0, 1, 2, 3, 4, 5, 2, 4, 4]


def test_an_answer_missing_from_a_batch_is_asked_for_again(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW)

    def forget_one(body: Any) -> Response | None:
        if not isinstance(body, list):
            return None
        return Response(json.dumps([node._item(item) for item in body[:-1]]), content_type="application/json")

    node.habits.refuse_request = forget_one
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    assert in_session(bench, lambda session: numbers(session, 3)) == [FIRST, FIRST + 1, FIRST + 2]


def test_a_batch_that_fails_as_a_whole_is_asked_again_patiently(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW)
    left = [3]

    def refuse(body: Any) -> Response | None:
        left[0] -= 1
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32097, "message": "limit exceeded"}}
        return Response(json.dumps(error), content_type="application/json") if left[0] >= 0 else None

    node.habits.refuse_request = refuse
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    assert in_session(bench, lambda session: numbers(session, 3)) == [FIRST, FIRST + 1, FIRST + 2]
    assert bench.figures["ethereum"].retries == 3


def test_a_node_that_takes_small_batches_only_gets_small_ones(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW, habits=Habits(max_batch=3))  # refuses with HTTP 500 and the reason in the body
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    assert in_session(bench, lambda session: numbers(session, 8)) == [FIRST + n for n in range(8)]
    assert bench.figures["ethereum"].retries == 0
    assert node.http_requests == 1 + 2 + 4


def test_calls_weigh_as_many_as_they_are(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW)
    environment = nodes(httpserver, node) | {"AEGIS_SRC__ETHEREUM__REQUESTS_PER_SECOND": "100"}
    bench = make_bench(NOW, NOW.date(), environment=environment)
    began = dt.datetime.now(dt.UTC)
    in_session(bench, lambda session: numbers(session, 120))
    assert dt.datetime.now(dt.UTC) - began > dt.timedelta(seconds=0.15)  # 100 at once, 20 more at 100 a second


def test_a_forbidden_archive_is_no_ban(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    refusing, keeping = ChainServer(NOW), ChainServer(NOW)
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32002, "message": "Archive requests are not available."}}
    refusing.habits.refuse_request = lambda body: Response(json.dumps(error), 403, content_type="application/json")
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, refusing, keeping))
    for _ in range(2):
        assert in_session(bench, lambda session: numbers(session, 1)) == [FIRST]
    assert (refusing.http_requests, keeping.http_requests) == (2, 2)


def test_a_plain_403_stays_a_ban(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW)
    node.habits.refuse_request = lambda body: Response('{"message": "Forbidden"}', 403, content_type="application/json")
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    with pytest.raises(SourceError, match="HTTP 403") as caught:
        in_session(bench, lambda session: numbers(session, 1))
    assert caught.value.verdict == Verdict.BANNED
    assert node.http_requests == 1


def test_a_status_of_too_many_keeps_its_retry_after(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = ChainServer(NOW)
    left = [1]

    def refuse(body: Any) -> Response | None:
        left[0] -= 1
        error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "Too Many Requests"}}
        headers = {"retry-after": "0.4"}
        return Response(json.dumps(error), 429, headers, content_type="application/json") if left[0] >= 0 else None

    node.habits.refuse_request = refuse
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    assert in_session(bench, lambda session: numbers(session, 1)) == [FIRST]
    assert bench.figures["ethereum"].waited_s >= 0.4


def test_a_block_that_a_node_does_not_have_is_asked_of_another(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    pruned, whole = ChainServer(NOW), ChainServer(NOW)
    pruned.slots = type(pruned.slots)(first_block=1, first_time=int(NOW.timestamp()) - 12_000)  # 1,000 blocks
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, pruned, whole))
    assert in_session(bench, lambda session: numbers(session, 2)) == [FIRST, FIRST + 1]
    assert (pruned.http_requests, whole.http_requests) == (1, 1)


def test_an_unreadable_answer_is_asked_of_another(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    broken, whole = ChainServer(NOW), ChainServer(NOW)
    broken._answers["eth_getBlockByNumber"] = lambda params: {"number": 19_000_000, "timestamp": None}
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, broken, whole))
    assert in_session(bench, lambda session: numbers(session, 2)) == [FIRST, FIRST + 1]


@pytest.mark.parametrize("content", ["[]", "null", '"busy"', "[1]", "{}"])
def test_what_is_no_json_rpc_is_an_error(make_bench: MakeBench, httpserver: HTTPServer, content: str) -> None:
    node = ChainServer(NOW)
    node.habits.refuse_request = lambda body: Response(content, content_type="application/json")
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    with pytest.raises(SourceError):
        in_session(bench, lambda session: numbers(session, 2))


# State


def double(arguments: bytes, block: int) -> bytes:
    return (2 * block).to_bytes(32, "big")


def state_calls(blocks: Sequence[int]) -> list[Call]:
    return [contract_call(TOKEN, call_data("0x18160ddd"), block, {"block": block}) for block in blocks]


def keeper(depth: int | None) -> ChainServer:
    return ChainServer(NOW, functions={(TOKEN, "0x18160ddd"): double}, habits=Habits(state_depth=depth))


def test_missing_state_is_asked_of_another_node(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    full, archive = keeper(128), keeper(None)
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, full, archive))
    found = in_session(bench, lambda session: ask_keepers(session, state_calls([FIRST, FIRST + 1])))
    assert [words(one, 1)[0] for one in found] == [2 * FIRST, 2 * FIRST + 2]
    assert (full.http_requests, archive.http_requests) == (1, 1)


def test_state_that_no_node_keeps_fails_alone(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    one, other = keeper(128), keeper(300)
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, one, other))
    calls = state_calls([FIRST, one.newest - 200, one.newest - 5])
    found = in_session(bench, lambda session: ask_keepers(session, calls))
    assert [has_failed(each) for each in found] == [True, True, False]
    assert found[0].verdict == Verdict.PROVIDER


def test_state_that_is_lost_everywhere_is_no_failure_of_the_asking(
    make_bench: MakeBench, httpserver: HTTPServer
) -> None:
    full, banned = keeper(128), keeper(None)
    banned.habits.refuse_request = lambda body: Response("busy", 503)
    environment = nodes(httpserver, full, banned) | {"AEGIS_SRC__CLIENT__ATTEMPTS": "2"}
    bench = make_bench(NOW, NOW.date(), environment=environment)
    found = in_session(bench, lambda session: ask_keepers(session, state_calls([FIRST, FIRST + 1])))
    assert [has_failed(each) for each in found] == [True, True]
    assert (full.http_requests, banned.http_requests) == (1, 2)


def test_nodes_that_fail_otherwise_fail_the_asking(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = keeper(None)
    node.habits.refuse_item = lambda method, params: (-32603, "internal error")
    environment = nodes(httpserver, node) | {"AEGIS_SRC__CLIENT__ATTEMPTS": "2"}
    bench = make_bench(NOW, NOW.date(), environment=environment)
    with pytest.raises(SourceError, match="internal error"):
        in_session(bench, lambda session: ask_keepers(session, state_calls([FIRST, FIRST + 1])))


def test_a_reverted_call_fails_alone_and_for_good(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    node = keeper(None)
    node.habits.refuse_item = lambda method, params: (3, "execution reverted") if params[1] == hex(FIRST) else None
    bench = make_bench(NOW, NOW.date(), environment=nodes(httpserver, node))
    found = in_session(bench, lambda session: ask(session, state_calls([FIRST, FIRST + 1])))
    assert found[0].verdict == Verdict.FINAL
    assert words(found[1], 1) == [2 * FIRST + 2]
    assert node.http_requests == 1


# What errors mean: as nodes and providers word them


@pytest.mark.parametrize(
    ("method", "code", "message", "verdict"),
    [
        ("eth_getLogs", -32005, "query returned more than 10000 results", Verdict.TOO_LARGE),
        ("eth_getLogs", -32005, "query timeout exceeded", Verdict.TOO_LARGE),
        ("eth_getLogs", -32000, "exceed maximum block range: 50000", Verdict.TOO_LARGE),
        ("eth_getLogs", -32600, "Query exceeds max block range of 10000", Verdict.TOO_LARGE),
        ("eth_getLogs", -32600, "you can make eth_getLogs requests with up to a 10 block range", Verdict.TOO_LARGE),
        ("eth_getLogs", -32602, "Log response size exceeded. this block range should work", Verdict.TOO_LARGE),
        ("eth_getLogs", 35, "ranges over 10000 blocks are not supported on freetier", Verdict.TOO_LARGE),
        ("eth_getLogs", -32000, "block range is too wide", Verdict.TOO_LARGE),
        ("eth_getLogs", -32602, "query exceeds max results 20000", Verdict.TOO_LARGE),
        ("eth_getLogs", -32602, "block range extends beyond current head block", Verdict.PROVIDER),
        ("eth_getLogs", -32602, "invalid block range params", Verdict.FINAL),
        ("eth_getLogs", -32005, "limit exceeded", Verdict.TRANSIENT),
        ("eth_getLogs", -32701, "History has been pruned for this block.", Verdict.PROVIDER),
        ("eth_call", -32005, "query returned more than 10000 results", Verdict.TRANSIENT),
        ("eth_call", -32097, "limit exceeded", Verdict.TRANSIENT),
        ("eth_call", 429, "Your app has exceeded its compute units per second capacity", Verdict.TRANSIENT),
        ("eth_call", -32000, "request timed out", Verdict.TRANSIENT),
        ("eth_call", -32603, "Internal error", Verdict.TRANSIENT),
        ("eth_call", 3, "execution reverted: Pausable: paused", Verdict.FINAL),
        ("eth_call", -32000, "execution reverted", Verdict.FINAL),
        ("eth_call", -32602, "missing value for required argument 0", Verdict.FINAL),
        ("eth_call", -32000, "missing trie node 7a (path ) state 0x7a is not available", Verdict.PROVIDER),
        ("eth_call", -32000, "header not found", Verdict.PROVIDER),
        ("eth_call", -32000, "historical state 9f is not available", Verdict.PROVIDER),
        ("eth_call", -32602, "Archive requests require a personal token", Verdict.PROVIDER),
        ("eth_call", -32000, "required historical state unavailable (reexec=128)", Verdict.PROVIDER),
        ("eth_call", -32601, "the method eth_call does not exist", Verdict.PROVIDER),
        ("eth_call", 12, "Can't route your request to suitable provider", Verdict.PROVIDER),
        ("eth_call", -32000, "something that nobody ever saw", Verdict.PROVIDER),
        ("eth_call", None, "something that nobody ever saw", Verdict.TRANSIENT),
        ("eth_call", 31, "Batch of more than 3 requests are not allowed on free tier", Verdict.TOO_LARGE),
    ],
)
def test_what_an_error_means(method: str, code: int | None, message: str, verdict: Verdict) -> None:
    assert verdict_of_error(method, code, message.lower()) == verdict


# Words


def test_topics_and_arguments_are_words() -> None:
    assert padded("0x" + "ab" * 20) == "0x" + "00" * 12 + "ab" * 20
    data = call_data("0x35ea6a75", ["address"], ["0x" + "ab" * 20])
    assert data.hex() == "35ea6a75" + "00" * 12 + "ab" * 20
    assert words(bytes(31) + b"\x07" + b"\xff" * 32, 2) == [7, 2**256 - 1]
    with pytest.raises(ValueError, match="received 31 bytes"):
        words(bytes(31), 1)


def test_a_failed_call_among_several_in_one_leaves_the_others() -> None:
    node = keeper(None)
    node.functions = {**node.functions, (TOKEN, "0x313ce567"): _reverting}
    data = aggregate3([(TOKEN, call_data("0x18160ddd")), (TOKEN, call_data("0x313ce567"))])
    answer = node._execute("0xca11bde05977b3631167028862be2a173976ca11", data, 7)
    assert aggregated(answer, 2) == [(14).to_bytes(32, "big"), None]
    with pytest.raises(ValueError, match="3 answers"):
        aggregated(answer, 3)
    with pytest.raises(ValueError, match="answers in one"):
        aggregated(b"\x01", 2)


def _reverting(arguments: bytes, block: int) -> bytes:
    raise RevertError("no decimals")


def test_removed_logs_are_left_out_and_times_are_optional() -> None:
    log = {
        "address": TOKEN,
        "topics": ["0x01"],
        "data": "0x05",
        "blockNumber": "0x10",
        "blockHash": "0xaa",
        "logIndex": "0x2",
    }
    timed = {**log, "logIndex": "0x1", "blockTimestamp": "0x64", "removed": False}
    found = logs_of([log, {**log, "removed": True}, timed])
    assert [(one.log_index, one.time) for one in found] == [
        (1, dt.datetime(1970, 1, 1, 0, 1, 40, tzinfo=dt.UTC)),
        (2, None),
    ]


def test_fees_of_the_next_block_are_not_this_ones() -> None:
    answer = {
        "oldestBlock": "0x1312901",
        "baseFeePerGas": ["0x3b9aca00", "0x3b9aca01", "0x3b9aca02"],
        "gasUsedRatio": [0.48, 0],
        "reward": [["0x1"], ["0x0"]],
    }
    fees = fees_of(answer)
    assert (fees.oldest, fees.base_fees, fees.tips, fees.gas_used) == (
        0x1312901,
        (10**9, 10**9 + 1),
        (1, 0),
        (0.48, 0.0),
    )
    with pytest.raises(ValueError, match="as many fees as blocks"):
        fees_of({**answer, "reward": [["0x1"]]})
