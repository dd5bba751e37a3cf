"""Which block was the last at a moment, and which blocks are final: nothing beyond those is ever read.

Found by asking for headers between known ones, all moments at once; a final answer is remembered for good. Slots are
12 s apart and some are missed, so that time alone does not give the number.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

from aegis_yield.collection.chain import CHAIN, Header
from aegis_yield.collection.datasets import Session
from aegis_yield.collection.rpc import Outcome, exchange, header_call, probe, results
from aegis_yield.collection.units import WorkUnit
from aegis_yield.collection.verdicts import Verdict
from aegis_yield.domain.errors import SourceError

DEPTH: Final = 64
"""Two epochs: on a node that does not know which block is final, one so far below the newest counts as final."""

MAX_AGE: Final = dt.timedelta(days=1)
"""A node whose last final block is older is not in step with the chain."""

_MERGE: Final = (15_537_394, 1_663_224_179)
"""The first block of 12 s slots and its time: only the first guess builds on it."""

_NEAR_S: Final = 600
_ROUNDS_OF_GUESSES: Final = 6


class Chain:
    """The chain as one unit sees it.

    Parameters
    ----------
    session : Session
        Asks, and remembers blocks.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._head: Header | None = None
        self._is_behind = False

    async def head(self) -> Header:
        """Return the last final block.

        Raises
        ------
        SourceError
            If no node knows one that is younger than a day.
        """
        if self._head is None:
            self._head = await self._final_header()
        return self._head

    async def last_block(self, moment: int) -> int:
        """Return the last final block at or before a UNIX time."""
        found = await self.blocks_at([moment])
        return found[moment] if found else (await self.head()).number

    async def blocks_at(self, moments: Sequence[int]) -> dict[int, int]:
        """Return the last block at or before each UNIX time, for those times at which it is final."""
        found = {at: block for at in moments if (block := self._session.blocks.block(CHAIN, at)) is not None}
        missing = [at for at in moments if at not in found]
        if missing:
            head = await self.head()
            known = _Rungs(head)
            missing = [at for at in missing if at <= head.time]
            await self._bisect(known, missing)
            for at in missing:
                found[at] = known.last_at(at)
                self._session.blocks.remember_block(CHAIN, at, found[at])
        return found

    async def _bisect(self, known: _Rungs, moments: Sequence[int]) -> None:
        turn = 0
        while wanted := sorted({block for at in moments for block in known.guesses(at, turn >= _ROUNDS_OF_GUESSES)}):
            for header in results(await probe(self._session, [header_call(block) for block in wanted])):
                known.add(header)
            turn += 1

    async def _final_header(self) -> Header:
        try:
            return await self._header("finalized")
        except SourceError as error:
            # A node that knows which block is final, and it is an old one, gives no leave to read beyond it.
            if self._is_behind or error.verdict not in (Verdict.FINAL, Verdict.PROVIDER):
                raise
        newest = await self._header("latest")
        return await self._header(max(0, newest.number - DEPTH))

    async def _header(self, block: int | str) -> Header:
        def judge(found: Sequence[Outcome]) -> None:
            (header,) = results(found)
            moment = dt.datetime.fromtimestamp(header.time, dt.UTC)
            if moment < self._session.now - MAX_AGE:
                self._is_behind = True
                words = f"this node is behind: its block {block} is of {moment:%Y-%m-%d %H:%M}"
                raise SourceError(words, Verdict.PROVIDER)

        found = await exchange(self._session.probe, [header_call(block)], judge)
        header: Header = found[0]
        return header


class _Rungs:
    """Headers known so far, by number and so by time."""

    def __init__(self, head: Header) -> None:
        self._numbers, self._times = [0, head.number], [0, head.time]

    def add(self, header: Header) -> None:
        at = bisect_left(self._numbers, header.number)
        if self._numbers[at : at + 1] != [header.number]:
            self._numbers.insert(at, header.number)
            self._times.insert(at, header.time)

    def last_at(self, moment: int) -> int:
        return self._numbers[bisect_right(self._times, moment) - 1]

    def guesses(self, moment: int, halve: bool) -> list[int]:
        """Return the blocks to ask for next; none once the last block at the moment is known."""
        above = bisect_right(self._times, moment)
        if above == len(self._numbers) or self._numbers[above] - self._numbers[above - 1] == 1:
            return []
        (low, low_time), (high, high_time) = ((self._numbers[at], self._times[at]) for at in (above - 1, above))
        origin, origin_time = _MERGE if low == 0 and high > _MERGE[0] and moment > _MERGE[1] else (low, low_time)
        guess = origin + (moment - origin_time) * (high - origin) // max(1, high_time - origin_time)
        guess = min(max(guess, low + 1), high - 1)
        # Near the goal a pair of neighbours usually settles it at once.
        is_near = min(moment - low_time, high_time - moment) < _NEAR_S
        found = {guess, min(guess + 1, high - 1)} if is_near else {guess}
        return [*found, (low + high) // 2] if halve else [*found]


def days_over(unit: WorkUnit, session: Session, with_eve: bool) -> list[dt.date]:
    """Return the days of a month whose ends are still to be looked at: after the cursor and over by now.

    Parameters
    ----------
    unit : WorkUnit
        A calendar month.
    session : Session
        Its cursor is the last day done.
    with_eve : bool
        Whether to begin with the end of the day before, which is where the first day begins.
    """
    first = max(unit.start, session.since) - dt.timedelta(days=int(with_eve))
    if session.cursor:
        first = max(first, dt.date.fromisoformat(session.cursor) + dt.timedelta(days=1))
    last = min(unit.end, session.now.date()) - dt.timedelta(days=1)
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]


def start_of(day: dt.date) -> int:
    """Return the UNIX time of the midnight at which a UTC day begins."""
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())


def end_of(day: dt.date) -> int:
    """Return the UNIX time of the midnight at which a UTC day ends."""
    return start_of(day + dt.timedelta(days=1))


async def ends_of(days: Sequence[dt.date], chain: Chain) -> dict[dt.date, int]:
    """Return the last block of each day, for those days whose last block is final."""
    found = await chain.blocks_at([end_of(day) for day in days])
    return {day: found[end_of(day)] for day in days if end_of(day) in found}
