"""Aave v3 on Ethereum: supply and borrow indices from ReserveDataUpdated logs.

Facts (aave-v3-origin; sources.md 2.1): the Pool's address never changed, those of its data providers did. Every change
of a reserve ends in ``ReserveDataUpdated`` with the indices and rates that hold from there on; from the last one before
a midnight the indices at that midnight follow by arithmetic, so that no node needs old state. What was supplied and
borrowed does need it: nodes that keep none leave those columns empty.

A unit is a month. The ends of its days are looked up ten at a time: the last event before each, the headers of those
events' blocks where the node's logs tell no time, and the reserve's state there. The cursor is the last day done.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import polars as pl

from aegis_yield.collection.abi import (
    MULTICALL3,
    address_of,
    aggregate3,
    aggregated,
    call_data,
    is_address,
    padded,
    words,
)
from aegis_yield.collection.blocks import Chain, days_over, ends_of
from aegis_yield.collection.chain import CHAIN, HOST, Header, Log
from aegis_yield.collection.datasets import Cadence, DatasetSpec, Session, utc_from_s
from aegis_yield.collection.logs import LogFilter, Search, range_of, search_back
from aegis_yield.collection.rpc import (
    Call,
    answered,
    ask,
    ask_keepers,
    contract_call,
    header_call,
    probe,
    results,
)
from aegis_yield.collection.schemas import TABLES
from aegis_yield.collection.units import Page, WorkUnit
from aegis_yield.collection.verdicts import Verdict
from aegis_yield.domain.errors import SourceError

POOL: Final = "0x87870bca3f3fd6335c3f4ce8392d69350b4fa4e2"
POOL_BLOCK: Final = 16_291_127
"""The Pool was not there before."""

RESERVE_DATA_UPDATED: Final = "0x804c9b842b2748a22bb64b345453a3de7ca54a6ca45ce00d415894979e22897a"
QUIET_BLOCKS: Final = 650_000
"""Three months: a reserve that nobody touched for longer has no rate until somebody does."""

DAYS_AT_ONCE: Final = 10
_GET_RESERVE_DATA: Final = "0x35ea6a75"
_TOTAL_SUPPLY: Final = "0x18160ddd"
_STATE_WORDS: Final = 15
_N_RATES: Final = 5


async def _fetch(unit: WorkUnit, session: Session) -> None:
    reserve = unit.demand.entity.lower()
    if not is_address(reserve):
        raise SourceError(f"expected the address of a token, received {unit.demand.entity!r}", Verdict.FINAL)
    chain = Chain(session)
    ends = await ends_of(days_over(unit, session, with_eve=True), chain)
    ends = {day: block for day, block in ends.items() if block >= POOL_BLOCK}
    if not ends:
        return
    tokens = await _tokens(session, reserve)
    floor = await _block_before(session, chain)
    days = iter(ends)
    while batch := list(islice(days, DAYS_AT_ONCE)):
        searches = []
        for day in batch:
            # Below the end of the day before lies what that day's search found.
            lowest = max(POOL_BLOCK, ends[day] - QUIET_BLOCKS if floor is None else floor + 1)
            about = {"date": day.isoformat(), "top": ends[day], "floor": lowest}
            searches.append(Search(ends[day], lowest, about))
            floor = ends[day]
        await search_back(session, LogFilter(POOL, (RESERVE_DATA_UPDATED, padded(reserve))), searches)
        await _fetch_times(session, searches)
        await ask_keepers(session, [_state_call(reserve, tokens, day, ends[day]) for day in batch])
        session.checkpoint(batch[-1].isoformat())


async def _block_before(session: Session, chain: Chain) -> int | None:
    """Return the block at which the last day done ended, None at a unit's beginning."""
    if not session.cursor:
        return None
    day = dt.date.fromisoformat(session.cursor)
    return (await ends_of([day], chain))[day]


async def _tokens(session: Session, reserve: str) -> tuple[str, str]:
    """Return the addresses of the tokens that stand for what was supplied and what was borrowed."""
    data = call_data(_GET_RESERVE_DATA, ["address"], [reserve])
    (answer,) = results(await probe(session, [contract_call(POOL, data, "latest")]))
    state = words(answer, _STATE_WORDS) if answer else [0] * _STATE_WORDS
    if not state[8]:
        raise SourceError(f"{reserve} is no reserve of Aave v3 on Ethereum", Verdict.FINAL)
    return address_of(state[8]), address_of(state[10])


async def _fetch_times(session: Session, searches: Sequence[Search]) -> None:
    """Land the headers of the blocks of the events found, where the logs tell no time."""
    untimed = {search.found.block_number for search in searches if search.found and search.found.time is None}
    if untimed:
        results(await ask(session, [header_call(block) for block in sorted(untimed)]))


def _state_call(reserve: str, tokens: tuple[str, str], day: dt.date, block: int) -> Call:
    reserve_data = call_data(_GET_RESERVE_DATA, ["address"], [reserve])
    supplies = [(token, call_data(_TOTAL_SUPPLY)) for token in tokens]
    # Three calls in one, so that all three answers are of the same block and cost one request of the node's limit.
    data = aggregate3([(POOL, reserve_data), *supplies])
    return contract_call(MULTICALL3, data, block, {"date": day.isoformat(), "block": block})


def parse(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read what was landed of a reserve: its updates and which blocks were searched, headers, or states."""
    reserve = page.demand.entity.lower()
    rows: dict[str, list[dict[str, Any]]] = {}
    for call, answer in answered(page):
        if call.method == "eth_getLogs":
            rows.setdefault("aave_updates", []).extend(_update(reserve, log) for log in answer)
            rows.setdefault("log_scans", []).extend(_scan(reserve, call, answer))
        elif call.method == "eth_getBlockByNumber":
            rows.setdefault("chain_blocks", []).append(_block(answer))
        else:
            rows.setdefault("aave_states", []).extend(_state(reserve, call, answer))
    return {table: _frame(table, found) for table, found in rows.items()}


def _frame(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    kinds = {name: kind for name, kind in TABLES[table].columns.items() if name != "is_final"}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def _update(reserve: str, log: Log) -> dict[str, Any]:
    liquidity_rate, _, borrow_rate, liquidity_index, borrow_index = words(log.data, _N_RATES)
    return {
        "chain": CHAIN,
        "reserve": reserve,
        "log_index": log.log_index,
        "block_number": log.block_number,
        "block_hash": log.block_hash,
        "time": log.time,
        "liquidity_rate_ray": str(liquidity_rate),
        "variable_borrow_rate_ray": str(borrow_rate),
        "liquidity_index_ray": str(liquidity_index),
        "variable_borrow_index_ray": str(borrow_index),
    }


def _scan(reserve: str, call: Call, logs: Sequence[Log]) -> Iterator[dict[str, Any]]:
    """Yield a search once it is over: everything from here up to the day's end was searched by then."""
    first, _ = range_of(call)
    if logs or first <= call.about["floor"]:
        yield {
            "chain": CHAIN,
            "subject": subject_of(reserve),
            "date": dt.date.fromisoformat(call.about["date"]),
            "from_block": first,
            "to_block": call.about["top"],
        }


def subject_of(reserve: str) -> str:
    """Return the name under which searches for a reserve's events are kept."""
    return f"aave:{reserve.lower()}"


def _block(header: Header) -> dict[str, Any]:
    return {
        "chain": CHAIN,
        "block_number": header.number,
        "block_hash": header.hash,
        "time": utc_from_s(header.time),
    }


def _state(reserve: str, call: Call, answer: bytes) -> Iterator[dict[str, Any]]:
    """Yield a reserve's state, unless it was not there yet or one of its parts could not be read."""
    parts = aggregated(answer, 3) if answer else [None]
    if not all(parts):
        return
    reserve_data, supply, debt = (part or b"" for part in parts)
    config = words(reserve_data, _STATE_WORDS)[0]
    unit = 10 ** _bits(config, 48, 55)
    yield {
        "chain": CHAIN,
        "reserve": reserve,
        "date": dt.date.fromisoformat(call.about["date"]),
        "block_number": call.about["block"],
        "reserve_factor": _bits(config, 64, 79) / 10_000,
        "supply": words(supply, 1)[0] / unit,
        "debt": words(debt, 1)[0] / unit,
        "supply_cap": float(_bits(config, 116, 151)) or None,  # 0 means none
        "is_frozen": bool(_bits(config, 57, 57)),
        "is_paused": bool(_bits(config, 60, 60)),
    }


def _bits(number: int, first: int, last: int) -> int:
    return number >> first & (1 << last - first + 1) - 1


DATASETS: Final = (DatasetSpec("aave", "reserve", HOST, _fetch, parse, Cadence.MONTHS, 200.0),)
"""What this source offers; requests are counted as the nodes count them, by call."""
