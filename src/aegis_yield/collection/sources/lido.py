"""Lido on Ethereum: what each rebase paid, from TokenRebased logs.

Facts (lido core; sources.md 2.3): the oracle reports about once a day, around noon; the share rates before and after a
report are net of the protocol's fee; a late report covers more than a day and says so; a slashing makes a negative
one. Before Lido V2 (May 2023) the legacy oracle told something else (``PostTotalShares``, without the share rate
before): it is not read.

A unit is a month, searched forward block by block; the cursor is the next block to search.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from aegis_yield.collection.abi import from_hex, words
from aegis_yield.collection.blocks import Chain, start_of
from aegis_yield.collection.chain import CHAIN, HOST, Log
from aegis_yield.collection.datasets import Cadence, DatasetSpec, Session, utc_from_s
from aegis_yield.collection.logs import LogFilter, search_forward
from aegis_yield.collection.rpc import answered
from aegis_yield.collection.schemas import TABLES
from aegis_yield.collection.units import Page, WorkUnit

STETH: Final = "0xae7ab96520de3a18e5e111b5eaab095312d7fe84"
TOKEN_REBASED: Final = "0xff08c3ef606d198e316ef5b822193c489965899eb4e3c248cea1a4626c3eda50"
_N_VALUES: Final = 6


async def _fetch(unit: WorkUnit, session: Session) -> None:
    chain = Chain(session)
    begin, now = start_of(max(unit.start, session.since)), int(session.now.timestamp())
    before = (await chain.blocks_at([begin])).get(begin) if begin <= now else None
    if before is not None:
        last = await chain.last_block(min(start_of(unit.end), now))
        await search_forward(session, LogFilter(STETH, (TOKEN_REBASED,)), before + 1, last)


def parse(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read rebases."""
    rows = [_rebase(log) for _, logs in answered(page) for log in logs]
    kinds = {name: kind for name, kind in TABLES["lido_rebases"].columns.items() if name != "is_final"}
    return {"lido_rebases": pl.DataFrame(rows, schema=kinds, orient="row")}


def _rebase(log: Log) -> dict[str, Any]:
    elapsed, pre_shares, pre_ether, post_shares, post_ether, _ = words(log.data, _N_VALUES)
    return {
        "chain": CHAIN,
        "log_index": log.log_index,
        "block_number": log.block_number,
        "block_hash": log.block_hash,
        # A report is of the noon before it: both are of the same day unless it came half a day late.
        "time": log.time or utc_from_s(from_hex(log.topics[1])),
        "time_elapsed_s": elapsed,
        "pre_shares": str(pre_shares),
        "pre_ether": str(pre_ether),
        "post_shares": str(post_shares),
        "post_ether": str(post_ether),
    }


DATASETS: Final = (DatasetSpec("lido", "rebases", HOST, _fetch, parse, Cadence.MONTHS, 10.0),)
"""What this source offers."""
