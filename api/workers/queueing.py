"""Who is served next: free workers, requests that wait in the order they came, and how long that may take."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from api.workers.failures import DeadlineError, QueueFullError, StoppingError
from api.workers.worker import Worker

FIRST_GUESS_S: Final = 3.0
"""How long a decision or a start takes, before any was seen."""

_MEMORY: Final = 0.3
"""Weight of the newest duration in the usual one."""


@dataclass
class Durations:
    """How long things usually take."""

    _usual: dict[str, float] = field(default_factory=dict)

    def saw(self, kind: str, seconds: float) -> None:
        """Learn from one that has ended."""
        known = self._usual.get(kind, seconds)
        self._usual[kind] = known + _MEMORY * (seconds - known)

    def usual(self, kind: str) -> float:
        """Return how long one usually takes."""
        return self._usual.get(kind, FIRST_GUESS_S)


@dataclass(frozen=True)
class Busyness:
    """A worker's present work.

    Attributes
    ----------
    kind : str
        What it decides.
    began, deadline : float
        By the loop's clock.
    """

    kind: str
    began: float
    deadline: float

    def remaining_s(self, now: float, durations: Durations) -> float:
        """Return how long it will probably go on; never beyond its deadline."""
        left, usual = max(0.0, self.deadline - now), durations.usual(self.kind)
        expected = usual - (now - self.began)
        if expected <= 0.0:  # longer than usual already: nobody knows, the middle of what is left
            expected = left / 2.0
        return min(expected, left)


class Counter:
    """Free workers and the line before them.

    Parameters
    ----------
    workers : iterable of Worker
        All of them, free.
    waiting : int
        How many may wait.
    """

    def __init__(self, workers: Iterable[Worker], waiting: int) -> None:
        self._free = list(workers)
        self._most = waiting
        self._line: deque[asyncio.Future[Worker]] = deque()

    @property
    def n_waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    @property
    def is_full(self) -> bool:
        """Whether another one could neither be served nor wait."""
        return not self._free and len(self._line) >= self._most

    async def take(self, deadline: float, seconds: float) -> Worker:
        """Wait for a worker.

        Raises
        ------
        DeadlineError
            If none becomes free in time.
        StoppingError
            If the service ends.
        """
        if self._free:
            return self._free.pop()  # the one used last: others may grow idle and be given up
        ticket: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._line.append(ticket)
        try:
            async with asyncio.timeout_at(deadline):
                return await ticket
        except TimeoutError:
            self._leave(ticket)
            raise DeadlineError(seconds, "no worker became free in that time; nothing was calculated") from None
        except asyncio.CancelledError:
            self._leave(ticket)
            raise

    def give(self, worker: Worker) -> bool:
        """Hand a worker to the first who waits; False if nobody does and it is free now."""
        while self._line:
            ticket = self._line.popleft()
            if not ticket.done():
                ticket.set_result(worker)
                return True
        self._free.append(worker)
        return False

    def close(self) -> None:
        """Send away all who wait."""
        while self._line:
            ticket = self._line.popleft()
            if not ticket.done():
                ticket.set_exception(StoppingError())

    def _leave(self, ticket: asyncio.Future[Worker]) -> None:
        if ticket.done() and not ticket.cancelled() and ticket.exception() is None:
            self.give(ticket.result())  # it was served and left in the same moment
        elif ticket in self._line:
            self._line.remove(ticket)


def queue_full(counter: Counter, works: Iterable[Busyness], durations: Durations) -> QueueFullError:
    """Return the refusal for a full line, with an honest estimate of when there will be a place in it."""
    now = asyncio.get_running_loop().time()
    remaining = min((work.remaining_s(now, durations) for work in works), default=1.0)
    return QueueFullError(counter.n_waiting, max(1.0, math.ceil(remaining)))
