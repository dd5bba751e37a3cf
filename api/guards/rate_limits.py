"""Rate limits: so many requests a second for each key, or for each address where there are no keys."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.guards.addresses import client_of
from api.guards.routes import EXPENSIVE, HEALTH, path_of
from api.problems import problem
from api.settings import AccessSettings

MAX_REMEMBERED: Final = 100_000
_FIRST_SWEEP: Final = 1_024


@dataclass(frozen=True)
class Rate:
    """A bucket's size and how fast it fills.

    Attributes
    ----------
    name : str
        As it appears in headers.
    per_s : float
        Requests a second in the long run; 0 for no limit.
    burst : int
        Requests at once after a pause.
    """

    name: str
    per_s: float
    burst: int

    @property
    def policy(self) -> bytes:
        """Return the ``RateLimit-Policy`` header's value."""
        return b'"%s";q=%d;w=%d' % (self.name.encode(), self.burst, math.ceil(self.burst / self.per_s))


@dataclass(frozen=True)
class Taken:
    """What taking from a bucket gave: how long to wait (0: taken), what is left, when it is full again."""

    wait_s: float
    left: int
    full_in_s: float


class Rates:
    """Token buckets by name, one number each: the moment at which the bucket will be full again."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._every_s = 1.0 / rate.per_s
        self._depth_s = rate.burst / rate.per_s
        self._full_at: dict[str, float] = {}
        self._sweep_at = _FIRST_SWEEP

    def take(self, name: str) -> Taken:
        """Take one token from a name's bucket, if there is one."""
        now = time.monotonic()
        full_at = max(self._full_at.get(name, now), now) + self._every_s
        wait_s = full_at - now - self._depth_s
        if wait_s > 1e-9:
            return Taken(wait_s, 0, full_at - self._every_s - now)
        self._full_at[name] = full_at
        if len(self._full_at) >= self._sweep_at:
            self._sweep(now)
        return Taken(0.0, int((self._depth_s - (full_at - now)) * self.rate.per_s + 1e-9), full_at - now)

    def _sweep(self, now: float) -> None:
        """Forget full buckets: they are as good as new ones. More names than can be remembered start anew."""
        self._full_at = {name: full_at for name, full_at in self._full_at.items() if full_at > now}
        if len(self._full_at) >= MAX_REMEMBERED:
            self._full_at = {}
        self._sweep_at = max(_FIRST_SWEEP, 2 * len(self._full_at))


class RateLimits:
    """Counts requests against the bucket of their key or address; expensive ones have a bucket of their own."""

    def __init__(self, app: ASGIApp, settings: AccessSettings) -> None:
        self.app = app
        self.reads = _rates(Rate("read", settings.read_per_s, settings.read_burst))
        self.optimisations = _rates(Rate("optimize", settings.optimize_per_s, settings.optimize_burst))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 429 with the time to wait."""
        path = path_of(scope) if scope["type"] == "http" else ""
        rates = self.optimisations if path in EXPENSIVE else self.reads
        if not path or rates is None or path in HEALTH:
            await self.app(scope, receive, send)
            return
        state = scope["state"]
        key_name = state.get("key_name")
        taken = rates.take(f"key {key_name}" if key_name else client_of(scope))
        state["answer_headers"] += (
            (b"ratelimit-policy", rates.rate.policy),
            (b"ratelimit", b'"%s";r=%d;t=%d' % (rates.rate.name.encode(), taken.left, math.ceil(taken.full_in_s))),
        )
        if taken.wait_s:
            await refusal(rates.rate, taken.wait_s)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def refusal(rate: Rate, wait_s: float) -> Response:
    """Return the answer to one request too many."""
    wait = max(1, math.ceil(wait_s))
    detail = f"too many requests: allowed are {rate.per_s:g} a second, {rate.burst} at once; try again in {wait} s"
    return problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"retry-after": str(wait)})


def _rates(rate: Rate) -> Rates | None:
    return Rates(rate) if rate.per_s else None
