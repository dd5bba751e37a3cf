"""Gas on Ethereum: the median block of each day, from eth_feeHistory.

Facts (execution-apis; sources.md 2.5): one call covers at most 1,024 blocks and may answer fewer, the newest of those
asked for; base fees have one item more than there are blocks, that of the next block; the tip of an empty block is 0
and means nothing. No old state is needed, but a node may have pruned old blocks.

A day is one batch of about seven calls and so one answer in the raw zone; where a node gives shorter answers, the whole
day is asked for again in shorter pieces. A unit is a month; the cursor is the last day done.
"""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from aegis_yield.collection.blocks import Chain, days_over, end_of, start_of
from aegis_yield.collection.chain import CHAIN, HOST, FeeHistory
from aegis_yield.collection.datasets import Cadence, DatasetSpec, Session
from aegis_yield.collection.rpc import Call, Outcome, answered, exchange, results
from aegis_yield.collection.schemas import empty_rows
from aegis_yield.collection.units import Page, WorkUnit
from aegis_yield.collection.verdicts import Verdict
from aegis_yield.domain.errors import SourceError

PIECE_BLOCKS: Final = 1024
MIN_PIECE_BLOCKS: Final = 100
"""A node that gives less is not asked: a day would take too many calls."""

_MEDIAN: Final = (50,)
_WEI_A_GWEI: Final = 1e9


async def _fetch(unit: WorkUnit, session: Session) -> None:
    if unit.demand.entity != CHAIN:
        raise SourceError(f"expected {CHAIN!r}, received {unit.demand.entity!r}", Verdict.FINAL)
    days = days_over(unit, session, with_eve=False)
    blocks = await Chain(session).blocks_at(sorted({at for day in days for at in (start_of(day), end_of(day))}))
    piece = PIECE_BLOCKS
    for day in days:
        if end_of(day) in blocks:
            wanted = _Day(day, blocks[start_of(day)] + 1, blocks[end_of(day)], piece)
            await _fetch_day(session, wanted)
            piece = wanted.piece
            session.checkpoint(day.isoformat())


@dataclass
class _Day:
    """The blocks of one day, asked for in pieces as long as the node gives them."""

    date: dt.date
    first: int
    last: int
    piece: int

    @property
    def ranges(self) -> list[tuple[int, int]]:
        starts = range(self.first, self.last + 1, self.piece)
        return [(start, min(start + self.piece - 1, self.last)) for start in starts]

    def calls(self) -> list[Call]:
        about = {"date": self.date.isoformat(), "from_block": self.first, "to_block": self.last}
        return [Call("eth_feeHistory", (hex(to - start + 1), hex(to), _MEDIAN), about) for start, to in self.ranges]

    def given(self, found: Sequence[Outcome]) -> int:
        """Return how many blocks the node gives in a piece: as many as were asked for, or fewer."""
        answers = zip(results(found), self.ranges, strict=True)
        short = [len(fees.tips) for fees, (start, to) in answers if len(_by_block([fees], start, to)) <= to - start]
        return min([self.piece, *short])


async def _fetch_day(session: Session, day: _Day) -> None:
    """Land a whole day in one answer, if need be in shorter pieces."""
    shorter = day.piece

    def judge(found: Sequence[Outcome]) -> None:
        nonlocal shorter
        shorter = day.given(found)
        if shorter < day.piece:
            verdict = Verdict.TOO_LARGE if shorter >= MIN_PIECE_BLOCKS else Verdict.PROVIDER
            raise SourceError(f"{day.date}: received only {shorter} of {day.piece} blocks in a piece", verdict)

    while True:
        try:
            await exchange(session.ask, day.calls(), judge, is_whole=True)
        except SourceError as error:
            if error.verdict != Verdict.TOO_LARGE or shorter == day.piece:
                raise
            day.piece = shorter
        else:
            return


def _by_block(answers: Sequence[FeeHistory], first: int, last: int) -> dict[int, tuple[int, int, float]]:
    """Return base fee, tip and gas used of every block of a day that the answers hold."""
    return {
        block: values
        for fees in answers
        for block, values in enumerate(zip(fees.base_fees, fees.tips, fees.gas_used, strict=True), fees.oldest)
        if first <= block <= last
    }


def parse(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read one day; an answer that does not cover it whole has no median of it."""
    found = list(answered(page))
    about = page.context["about"][0]
    fees = _by_block([answer for _, answer in found], about["from_block"], about["to_block"])
    if not fees or len(fees) < about["to_block"] - about["from_block"] + 1:
        return {"gas_days": empty_rows("gas_days")}
    tips = [tip for _, tip, used in fees.values() if used > 0]
    row = {
        "chain": CHAIN,
        "date": dt.date.fromisoformat(about["date"]),
        "base_fee_gwei": statistics.median(base for base, _, _ in fees.values()) / _WEI_A_GWEI,
        "priority_fee_gwei": statistics.median(tips) / _WEI_A_GWEI if tips else None,
        "n_blocks": len(fees),
    }
    return {"gas_days": pl.DataFrame([row], schema_overrides={"priority_fee_gwei": pl.Float64})}


DATASETS: Final = (DatasetSpec("gas", "fees", HOST, _fetch, parse, Cadence.MONTHS, 230.0),)
"""What this source offers; requests are counted as the nodes count them, by call."""
