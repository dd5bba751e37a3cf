"""Searches blocks for events: forward through a window, or back from a block to the last event before it.

Nodes cap how many blocks or events one answer may cover, each in its own way, and refuse what is beyond: a range that
is refused is halved, one that is answered grows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aegis_yield.collection.abi import from_hex
from aegis_yield.collection.chain import Log
from aegis_yield.collection.datasets import Session
from aegis_yield.collection.rpc import Call, Outcome, ask, has_failed
from aegis_yield.collection.verdicts import Verdict
from aegis_yield.domain.errors import SourceError

MAX_BLOCKS: Final = 50_000
"""Of one range; about a week."""

FORWARD_BLOCKS: Final = 10_000
BACK_BLOCKS: Final = 300

_PATIENCE: Final = 6
"""After so many answers at a width that may not grow, a wider one is tried again."""


@dataclass(frozen=True)
class LogFilter:
    """Which events: of one contract, with these first topics."""

    address: str
    topics: tuple[str, ...]

    def call(self, first: int, last: int, about: Mapping[str, Any] | None = None) -> Call:
        """Return the call for the events of a range of blocks, both ends included."""
        params = {
            "address": self.address,
            "topics": list(self.topics),
            "fromBlock": hex(first),
            "toBlock": hex(last),
        }
        return Call("eth_getLogs", (params,), about or {})


def range_of(call: Call) -> tuple[int, int]:
    """Return the blocks that a call for events covers."""
    return from_hex(call.params[0]["fromBlock"]), from_hex(call.params[0]["toBlock"])


async def search_forward(session: Session, wanted: LogFilter, first: int, last: int) -> None:
    """Land all events of a window, from the cursor on; the cursor is the next block to search."""
    start = max(first, int(session.cursor or 0))
    width = _Width(FORWARD_BLOCKS)
    while start <= last:
        stop = min(start + width.blocks, last + 1)
        (outcome,) = await ask(session, [wanted.call(start, stop - 1)])
        if has_failed(outcome):
            width.halve(outcome, stop - start)
            continue
        width.grow(1.5)
        session.checkpoint(str(stop))
        start = stop


class _Width:
    """How many blocks to ask for at once."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self._answered, self._refused, self._held = 0, 2 * MAX_BLOCKS, 0

    def grow(self, factor: float) -> None:
        """Take more next time, but not as many as were refused before, unless that is a while ago."""
        self._answered = self.blocks
        for wider in (math.ceil(self.blocks * factor), math.ceil(self.blocks * 1.5)):
            if wider < self._refused:
                self.blocks = min(MAX_BLOCKS, wider)
                return
        self._held += 1
        if self._held == _PATIENCE:
            # It may have been a crowd of events and not the node's limit.
            self._refused, self._held = 2 * self._refused, 0

    def halve(self, failure: SourceError, n_blocks: int) -> None:
        """Take less of a range that was refused as too large: as much as was answered before, or half.

        Raises
        ------
        SourceError
            If it was refused for another reason, or cannot be halved.
        """
        if failure.verdict != Verdict.TOO_LARGE or n_blocks == 1:
            raise failure
        half = n_blocks // 2
        self.blocks = self._answered if half < self._answered < n_blocks else half
        self._refused, self._held = n_blocks, 0


@dataclass
class Search:
    """A search back from a block for the last event at or before it.

    Attributes
    ----------
    top, floor : int
        Begins at ``top`` and ends at ``floor``, both included.
    about : mapping
        Travels with every call.
    found : Log or None
        The last event, once it is found.
    """

    top: int
    floor: int
    about: Mapping[str, Any]
    found: Log | None = None
    _next: int = field(init=False)
    _width: _Width = field(init=False)

    def __post_init__(self) -> None:
        self._next, self._width = self.top, _Width(BACK_BLOCKS)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to search or no need to."""
        return self.found is not None or self._next < self.floor

    def call(self, wanted: LogFilter) -> Call:
        """Return the next call: always the blocks just below those already searched."""
        return wanted.call(max(self.floor, self._next - self._width.blocks + 1), self._next, self.about)

    def take(self, call: Call, outcome: Outcome) -> None:
        """Go on from what came of a call.

        Raises
        ------
        SourceError
            If the call failed for good.
        """
        first, last = range_of(call)
        if has_failed(outcome):
            self._width.halve(outcome, last - first + 1)
            return
        self.found = outcome[-1] if outcome else None
        self._next = first - 1
        self._width.grow(4.0)


async def search_back(session: Session, wanted: LogFilter, searches: Sequence[Search]) -> None:
    """Work through several searches side by side, one range of each in a batch."""
    while going := [search for search in searches if not search.is_over]:
        calls = [search.call(wanted) for search in going]
        for search, call, outcome in zip(going, calls, await ask(session, calls), strict=True):
            search.take(call, outcome)
