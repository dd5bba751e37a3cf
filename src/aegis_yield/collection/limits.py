"""How hard a host is asked: a rate, a number at once, and leaving it alone after a ban."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Final

from aiolimiter import AsyncLimiter

from aegis_yield.collection.settings import HostSettings
from aegis_yield.collection.verdicts import Verdict
from aegis_yield.domain.errors import SourceError

LOST_IN_A_ROW: Final = 8
"""A host that let so many questions down, each after all its retries, is taken to be down."""

_BURST_S: Final = 1.0
"""So many seconds' worth of requests may be made at once."""


class Breaker:
    """Opens when a host bans us and refuses everything until the ban's time is over.

    Parameters
    ----------
    ban_s : float
        How long it stays open, unless the host says longer.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, ban_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ban_s, self._clock = ban_s, clock
        self._open_until, self._reason = 0.0, ""

    def check(self) -> None:
        """Raise if the host is to be left alone.

        Raises
        ------
        SourceError
            Banned, with what the host said.
        """
        left = self._open_until - self._clock()
        if left > 0:
            raise SourceError(f"left alone for {left:.0f} s more after: {self._reason}", Verdict.BANNED)

    def trip(self, error: SourceError) -> None:
        """Leave the host alone from now on."""
        self._open_until = self._clock() + max(self._ban_s, error.retry_after_s or 0.0)
        self._reason = str(error)


@dataclass
class HostFigures:
    """What happened at one host in one run.

    Attributes
    ----------
    requests, retries, limited : int
        Questions asked, questions asked again, and answers that said "too many".
    waited_s : float
        Spent waiting for the rate limit and for retries.
    received_bytes : int
        Of bodies.
    """

    requests: int = 0
    retries: int = 0
    limited: int = 0
    waited_s: float = 0.0
    received_bytes: int = 0

    def __add__(self, other: HostFigures) -> HostFigures:
        return HostFigures(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


def seconds_to_hold(headers: Mapping[str, str], now_s: float) -> float:
    """Return how long to hold back because a host says that its limit is nearly used up; 0 if it does not.

    Binance counts weight by the minute (``x-mbx-used-weight-1m``), Bybit tells what is left and when it is reset
    (``x-bapi-limit-status``, ``x-bapi-limit-reset-timestamp``), others what remains (``x-ratelimit-remaining``).
    """
    used = _whole(headers.get("x-mbx-used-weight-1m"))
    if used is not None and used >= _BINANCE_WEIGHT_A_MINUTE:
        return 60.0 - now_s % 60.0
    if _whole(headers.get("x-bapi-limit-status")) == 0:
        reset = _whole(headers.get("x-bapi-limit-reset-timestamp"))
        return min(_LONGEST_HOLD_S, max(0.0, (reset or 0) / 1000 - now_s))
    return 1.0 if _whole(headers.get("x-ratelimit-remaining")) == 0 else 0.0


_BINANCE_WEIGHT_A_MINUTE: Final = 2200
"""Of 2,400 allowed."""

_LONGEST_HOLD_S: Final = 60.0


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdecimal() else None


class Gate:
    """Lets requests to one address through at its rate, so many at once, and none while it bans us."""

    def __init__(self, host: HostSettings, ban_s: float, figures: HostFigures) -> None:
        rate = host.requests_per_second
        capacity = max(1.0, rate * _BURST_S)
        self._limiter = AsyncLimiter(capacity, capacity / rate) if rate > 0 else None
        self._capacity = capacity
        self._slots = asyncio.Semaphore(host.concurrency)
        self._not_before = 0.0
        self._lost = 0
        self.breaker = Breaker(ban_s)
        self.figures = figures

    def count_lost(self, error: SourceError) -> None:
        """Count a question given up on; after several in a row the host counts as down and is left alone."""
        self._lost = self._lost + 1 if error.verdict == Verdict.TRANSIENT else 0
        if self._lost >= LOST_IN_A_ROW:
            self.breaker.trip(error)

    def forget_lost(self) -> None:
        """Note that the host answers."""
        self._lost = 0

    def hold(self, seconds: float) -> None:
        """Let nobody through for so long: the host asked for it."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    @asynccontextmanager
    async def passing(self, weight: int) -> AsyncIterator[None]:
        """Hold a slot and take ``weight`` off the rate.

        Raises
        ------
        SourceError
            Banned, if the host is to be left alone.
        """
        self.breaker.check()
        began = time.monotonic()
        async with self._slots:
            # A request heavier than the bucket takes several fillings of it.
            left = float(weight)
            while self._limiter is not None and left > 0:
                await self._limiter.acquire(min(left, self._capacity))
                left -= self._capacity
            # Last, because the host may ask everybody to wait while this request waits for its turn.
            while (early := self._not_before - time.monotonic()) > 0:
                await asyncio.sleep(early)
            self.figures.waited_s += time.monotonic() - began
            self.breaker.check()
            yield
