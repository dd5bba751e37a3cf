"""A local Ethereum node: blocks by arithmetic, logs, contract state, fees; answers JSON-RPC over real sockets.

Made to be told how to misbehave: caps on ranges and results, answers out of order, items that fail, blocks reorganised,
state or finality unknown.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import itertools
import json
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from eth_abi.abi import decode, encode
from harness import Bench
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from aegis_yield.collection.client import Client
from aegis_yield.collection.runner import UnitSession
from aegis_yield.collection.units import Demand, WorkUnit

Result = TypeVar("Result")
_SERIAL = itertools.count()

MERGE_BLOCK, MERGE_TIME = 15_537_394, 1_663_224_179
SLOT_S = 12
MULTICALL3 = "0xca11bde05977b3631167028862be2a173976ca11"

LogEntry = Mapping[str, Any]
"""``block``, ``index``, ``address``, ``topics``, ``data`` (bytes); optional ``removed``."""

ContractFunction = Callable[[bytes, int], bytes]
"""From the arguments and the block number to the answer; raises RevertError."""

Fees = Callable[[int], tuple[int, int, float]]
"""From a block number to its base fee and median tip in wei and the part of its gas limit used."""


class RevertError(Exception):
    """A contract refuses a call."""


class RpcError(Exception):
    """A node refuses a call."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Slots:
    """Block numbers and times: a block every 12 s, except in missed slots.

    Parameters
    ----------
    missed_every : int
        Every so many-th slot is missed; 0 for none.
    missed : sequence of int
        Further missed slots, sorted, counted from the first block; not among those of ``missed_every``.
    """

    first_block: int = MERGE_BLOCK
    first_time: int = MERGE_TIME
    missed_every: int = 140
    missed: Sequence[int] = ()

    def block_at(self, time: int) -> int:
        """The last block at or before a time."""
        if time < self.first_time:
            return self.first_block - 1 - (self.first_time - time - 1) // 13
        slot = (time - self.first_time) // SLOT_S
        return self.first_block + slot - self._missed_until(slot)

    def time_of(self, block: int) -> int:
        if block < self.first_block:
            return max(0, self.first_time - 13 * (self.first_block - block))
        order = block - self.first_block
        slot = order
        while slot != (later := order + self._missed_until(slot)):
            slot = later
        return self.first_time + SLOT_S * slot

    def _missed_until(self, slot: int) -> int:
        regular = slot // self.missed_every if self.missed_every else 0
        return regular + bisect_right(self.missed, slot)


@dataclass
class Habits:
    """How a node behaves; change any of it at any time.

    Attributes
    ----------
    max_range, max_results : int
        Caps of eth_getLogs, 0 for none; what is beyond is refused with -32005.
    max_batch : int
        More calls in one request are refused as a whole with HTTP 500; 0 for no limit.
    max_fee_blocks : int
        eth_feeHistory answers with no more blocks, the newest ones.
    state_depth : int or None
        State is kept for so many blocks below the newest; None for an archive.
    with_log_times : bool
        Whether logs carry ``blockTimestamp``.
    knows_finality : bool
        Whether the tags "safe" and "finalized" are known.
    shuffles : bool
        Answers a batch in reverse order.
    refuse_item : callable, optional
        From a method and its parameters to ``(code, message)``, or None to answer.
    refuse_request : callable, optional
        From the decoded body to a whole HTTP response, or None to answer.
    """

    max_range: int = 0
    max_results: int = 0
    max_batch: int = 0
    max_fee_blocks: int = 1024
    state_depth: int | None = None
    with_log_times: bool = False
    knows_finality: bool = True
    shuffles: bool = False
    refuse_item: Callable[[str, Sequence[Any]], tuple[int, str] | None] | None = None
    refuse_request: Callable[[Any], Response | None] | None = None


@dataclass
class ChainServer:
    """One node.

    Parameters
    ----------
    now : datetime
        The newest block is the last one at or before it.
    slots : Slots
        When blocks are.
    logs : sequence of LogEntry or callable
        All logs, or a function from first and last block to those in between.
    functions : mapping
        Contract functions by ``(address, selector)``, both lower-case hex. Multicall3 is built in.
    fees : callable
        Of each block.
    habits : Habits
        How it behaves.
    """

    now: dt.datetime
    slots: Slots = field(default_factory=Slots)
    logs: Sequence[LogEntry] | Callable[[int, int], Sequence[LogEntry]] = ()
    functions: Mapping[tuple[str, str], ContractFunction] = field(default_factory=dict)
    fees: Fees = lambda block: (10**9, 10**7, 0.5)
    habits: Habits = field(default_factory=Habits)
    fork_block: int = 2**62
    fork: str = ""

    def __post_init__(self) -> None:
        self.http_requests = 0
        self.calls: Counter[str] = Counter()
        self.asked: list[tuple[str, Sequence[Any]]] = []
        self._sorted: tuple[int, list[int], list[LogEntry]] = (-1, [], [])
        self._answers: dict[str, Callable[[Sequence[Any]], Any]] = {
            "eth_chainId": lambda params: "0x1",
            "eth_blockNumber": lambda params: hex(self.newest),
            "eth_getBlockByNumber": self._block,
            "eth_getLogs": self._logs,
            "eth_call": self._call,
            "eth_feeHistory": self._fee_history,
        }

    def install(self, server: HTTPServer, path: str = "/") -> str:
        """Answer at a path of a server; return the URL."""
        server.expect_request(path, method="POST").respond_with_handler(self.respond)
        return server.url_for(path).rstrip("/")

    @property
    def newest(self) -> int:
        return self.slots.block_at(int(self.now.timestamp()))

    @property
    def finalized(self) -> int:
        return self.newest - 64

    def reorganise(self, from_block: int, fork: str) -> None:
        """Give every block from one on another hash. Its logs are for the caller to change."""
        self.fork_block, self.fork = from_block, fork

    def block_hash(self, block: int) -> str:
        fork = self.fork if block >= self.fork_block else ""
        return "0x" + hashlib.sha256(f"{block}{fork}".encode()).hexdigest()

    # Answering

    def respond(self, request: Request) -> Response:
        self.http_requests += 1
        body = json.loads(request.get_data())
        habits = self.habits
        refusal = habits.refuse_request(body) if habits.refuse_request else None
        if refusal is not None:
            return refusal
        items = body if isinstance(body, list) else [body]
        if habits.max_batch and len(items) > habits.max_batch:
            error = {"code": 31, "message": f"Batch of more than {habits.max_batch} requests are not allowed"}
            return Response(json.dumps([error]), status=500, content_type="application/json")
        answers = [self._item(item) for item in items]
        answers = answers[::-1] if habits.shuffles else answers
        return Response(json.dumps(answers if isinstance(body, list) else answers[0]), content_type="application/json")

    def _item(self, item: Mapping[str, Any]) -> dict[str, Any]:
        method, params = item["method"], item["params"]
        self.calls[method] += 1
        self.asked.append((method, params))
        envelope = {"jsonrpc": "2.0", "id": item["id"]}
        refusal = self.habits.refuse_item(method, params) if self.habits.refuse_item else None
        if refusal is not None:
            return {**envelope, "error": {"code": refusal[0], "message": refusal[1]}}
        if method not in self._answers:
            return {**envelope, "error": {"code": -32601, "message": f"the method {method} does not exist"}}
        try:
            return {**envelope, "result": self._answers[method](params)}
        except RpcError as error:
            return {**envelope, "error": {"code": error.code, "message": str(error)}}
        except RevertError as error:
            return {**envelope, "error": {"code": 3, "message": f"execution reverted: {error}", "data": "0x08c379a0"}}

    def _number(self, tag: str) -> int:
        depths = {"latest": 0, "pending": 0, "safe": 32, "finalized": 64, "earliest": self.newest}
        if tag in ("safe", "finalized") and not self.habits.knows_finality:
            raise RpcError(-32602, f"invalid argument 0: unknown tag {tag}")
        return self.newest - depths[tag] if tag in depths else int(tag, 16)

    def _block(self, params: Sequence[Any]) -> dict[str, Any] | None:
        number = self._number(params[0])
        if number > self.newest:
            return None
        return {
            "number": hex(number),
            "hash": self.block_hash(number),
            "parentHash": self.block_hash(number - 1),
            "timestamp": hex(self.slots.time_of(number)),
            "baseFeePerGas": hex(self.fees(number)[0]),
            "transactions": ["0x" + "ab" * 32] * 3,
        }

    def _logs(self, params: Sequence[Any]) -> list[dict[str, Any]]:
        (wanted,) = params
        first, last = self._number(wanted["fromBlock"]), self._number(wanted["toBlock"])
        habits = self.habits
        if first > last:
            raise RpcError(-32602, "invalid block range params")
        if last > self.newest:
            raise RpcError(-32602, "block range extends beyond current head block")
        if habits.max_range and last - first + 1 > habits.max_range:
            raise RpcError(-32005, f"exceed maximum block range: {habits.max_range}")
        found = [log for log in self._between(first, last) if _matches(log, wanted)]
        if habits.max_results and len(found) > habits.max_results:
            raise RpcError(-32005, f"query returned more than {habits.max_results} results")
        return [self._log(log) for log in found]

    def _between(self, first: int, last: int) -> Sequence[LogEntry]:
        if callable(self.logs):
            return self.logs(first, last)
        if self._sorted[0] != id(self.logs):
            ordered = sorted(self.logs, key=lambda log: (log["block"], log["index"]))
            self._sorted = (id(self.logs), [log["block"] for log in ordered], ordered)
        _, blocks, ordered = self._sorted
        return ordered[bisect_left(blocks, first) : bisect_right(blocks, last)]

    def _log(self, log: LogEntry) -> dict[str, Any]:
        block = log["block"]
        times = {"blockTimestamp": hex(self.slots.time_of(block))} if self.habits.with_log_times else {}
        return {
            "address": log["address"],
            "topics": list(log["topics"]),
            "data": "0x" + log["data"].hex(),
            "blockNumber": hex(block),
            "blockHash": self.block_hash(block),
            "transactionHash": "0x" + hashlib.sha256(f"{block}.{log['index']}".encode()).hexdigest(),
            "transactionIndex": "0x0",
            "logIndex": hex(log["index"]),
            "removed": log.get("removed", False),
            **times,
        }

    def _call(self, params: Sequence[Any]) -> str:
        asked, tag = params
        block = self._number(tag)
        depth = self.habits.state_depth
        if block > self.newest:
            raise RpcError(-32000, "header not found")
        if depth is not None and block < self.newest - depth:
            raise RpcError(-32000, f"missing trie node {self.block_hash(block)[2:]} (path ) state is not available")
        return "0x" + self._execute(asked["to"].lower(), bytes.fromhex(asked["data"][2:]), block).hex()

    def _execute(self, to: str, data: bytes, block: int) -> bytes:
        if to == MULTICALL3:
            return self._aggregate(data[4:], block)
        function = self.functions.get((to, "0x" + data[:4].hex()))
        return function(data[4:], block) if function else b""

    def _aggregate(self, arguments: bytes, block: int) -> bytes:
        (calls,) = decode(["(address,bool,bytes)[]"], arguments)
        answers = []
        for to, may_fail, data in calls:
            try:
                answers.append((True, self._execute(to, data, block)))
            except RevertError as error:
                if not may_fail:
                    raise
                answers.append((False, str(error).encode()))
        return encode(["(bool,bytes)[]"], [answers])

    def _fee_history(self, params: Sequence[Any]) -> dict[str, Any]:
        count, newest = min(int(params[0], 16), self.habits.max_fee_blocks), self._number(params[1])
        if newest > self.newest:
            raise RpcError(-32000, f"request beyond head block: requested {newest}, head {self.newest}")
        oldest = max(0, newest - count + 1)
        fees = [self.fees(block) for block in range(oldest, newest + 2)]
        return {
            "oldestBlock": hex(oldest),
            "baseFeePerGas": [hex(base) for base, _, _ in fees],  # one more than blocks: the next block's
            "gasUsedRatio": [used for _, _, used in fees[:-1]],
            "reward": [[hex(tip)] * len(params[2]) for _, tip, _ in fees[:-1]],
        }


def _matches(log: LogEntry, wanted: Mapping[str, Any]) -> bool:
    addresses = wanted.get("address", [])
    addresses = addresses if isinstance(addresses, list) else [addresses]
    if addresses and log["address"].lower() not in [address.lower() for address in addresses]:
        return False
    topics = wanted.get("topics", [])
    if len(topics) > len(log["topics"]):
        return False
    return all(
        one is None or there in (one if isinstance(one, list) else [one])
        for one, there in zip(topics, log["topics"], strict=False)
    )


def nodes(server: HTTPServer, *chain_servers: ChainServer) -> dict[str, str]:
    """Install nodes that stand in for each other; return the setting that names them in this order."""
    urls = [node.install(server, f"/node{next(_SERIAL)}") for node in chain_servers]
    return {"AEGIS_SRC__ETHEREUM__BASE_URL": " ".join(urls)}


def in_session(bench: Bench, work: Callable[[UnitSession], Awaitable[Result]], unit: WorkUnit | None = None) -> Result:
    """Do something that needs a session, as the fetching of a unit would."""
    start = bench.moment.since.replace(day=1)
    unit = unit or WorkUnit(Demand("lido", "rebases", "steth"), start, start + dt.timedelta(days=31))

    async def run() -> Result:
        async with Client(bench.settings, bench.raw) as client:
            session = UnitSession(unit, client, bench.journal, bench.moment)
            bench.journal.begin(unit, bench.moment.now)
            try:
                return await work(session)
            finally:
                bench.figures = client.figures

    return asyncio.run(run())
