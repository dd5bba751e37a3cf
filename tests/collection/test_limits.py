from __future__ import annotations

import asyncio
import time

import pytest

from aegis_yield.collection.limits import Breaker, Gate, HostFigures, seconds_to_hold
from aegis_yield.collection.settings import HostSettings
from aegis_yield.collection.verdicts import Verdict
from aegis_yield.domain.errors import SourceError

NOW_S = 1_790_000_030.0  # 50 seconds into a minute


def gate(rate: float = 0.0, concurrency: int = 100, ban_s: float = 60.0) -> Gate:
    host = HostSettings("a", ("http://127.0.0.1",), requests_per_second=rate, concurrency=concurrency)
    return Gate(host, ban_s, HostFigures())


async def passed(gate: Gate, n: int, weight: int = 1) -> list[float]:
    """Let ``n`` requests through, all wanted at once; return when each of them began, in seconds."""
    began = time.monotonic()
    times: list[float] = []

    async def one() -> None:
        async with gate.passing(weight):
            times.append(time.monotonic() - began)

    await asyncio.gather(*(one() for _ in range(n)))
    return sorted(times)


def test_a_rate_lets_one_second_worth_through_at_once_and_spaces_the_rest() -> None:
    times = asyncio.run(passed(gate(rate=40.0), 60))
    assert times[39] < 0.5  # spaced, it would be 0.98 s
    assert all(times[39 + n] >= n / 40 - 0.01 for n in range(1, 21))
    assert 0.49 <= times[-1] < 0.8


def test_a_slow_rate_is_kept_from_the_first_request_on() -> None:
    times = asyncio.run(passed(gate(rate=5.0), 6))  # 5 at once, then one every 0.2 s
    assert times[4] < 0.5  # spaced, it would be 0.8 s
    assert 0.19 <= times[5] < 0.4


def test_no_rate_means_no_waiting() -> None:
    assert asyncio.run(passed(gate(), 500))[-1] < 2.0  # at 20 a second, the fastest of any source, it would be 24 s


def test_weight_counts_even_where_one_request_is_heavier_than_a_second_worth() -> None:
    assert 0.24 <= asyncio.run(passed(gate(rate=200.0), 1, weight=250))[0] < 0.5
    times = asyncio.run(passed(gate(rate=200.0), 3, weight=100))
    assert times[1] < 0.2
    assert 0.49 <= times[2] < 0.8


def test_no_more_than_allowed_are_under_way() -> None:
    under_way: list[int] = []

    async def one(gate: Gate) -> None:
        async with gate.passing(1):
            under_way.append(under_way[-1] + 1 if under_way else 1)
            await asyncio.sleep(0.005)
            under_way.append(under_way[-1] - 1)

    async def all_of_them() -> None:
        shared = gate(concurrency=3)
        await asyncio.gather(*(one(shared) for _ in range(12)))

    asyncio.run(all_of_them())
    assert max(under_way) == 3
    assert under_way[-1] == 0


def test_an_error_gives_the_slot_back() -> None:
    async def scene() -> None:
        shared = gate(concurrency=1)
        with pytest.raises(SourceError, match="oops"):
            async with shared.passing(1):
                raise SourceError("oops", Verdict.FINAL)
        async with asyncio.timeout(1.0):
            await passed(shared, 1)

    asyncio.run(scene())


def test_a_hold_holds_everybody_also_who_waits_for_the_rate_already() -> None:
    async def scene() -> list[float]:
        shared = gate(rate=20.0, concurrency=30)
        waiting = asyncio.create_task(passed(shared, 22))  # the last two have to wait 0.05 and 0.1 s
        await asyncio.sleep(0.02)
        shared.hold(0.4)
        return await waiting

    times = asyncio.run(scene())
    assert times[19] < 0.02 + 0.1
    assert times[20] >= 0.4


def test_the_longer_of_two_holds_counts() -> None:
    async def scene() -> list[float]:
        shared = gate()
        shared.hold(0.2)
        shared.hold(0.05)
        return await passed(shared, 1)

    assert 0.19 <= asyncio.run(scene())[0] < 0.4


def test_waiting_is_counted() -> None:
    async def scene() -> float:
        shared = gate()
        shared.hold(0.1)
        await passed(shared, 2)
        return shared.figures.waited_s

    assert 0.19 <= asyncio.run(scene()) < 0.4


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(("asked_s", "open_s"), [(None, 600.0), (30.0, 600.0), (7200.0, 7200.0)])
def test_a_breaker_stays_open_for_the_ban_or_for_longer_if_asked(asked_s: float | None, open_s: float) -> None:
    clock = Clock()
    breaker = Breaker(600.0, clock)
    breaker.check()
    breaker.trip(SourceError("binance: HTTP 418: banned", Verdict.BANNED, asked_s))
    clock.now_s += open_s - 0.4
    with pytest.raises(SourceError) as caught:
        breaker.check()
    assert str(caught.value) == "left alone for 0 s more after: binance: HTTP 418: banned"
    assert caught.value.verdict == Verdict.BANNED
    clock.now_s += 0.4
    breaker.check()


def test_a_ban_reaches_who_stands_in_the_queue() -> None:
    async def scene() -> float:
        shared = gate(concurrency=1)
        outcomes: list[str] = []

        async def one() -> None:
            try:
                async with shared.passing(1):
                    await asyncio.sleep(0.05)
                    outcomes.append("asked")
                    shared.breaker.trip(SourceError("banned", Verdict.BANNED))
            except SourceError as error:
                outcomes.append(str(error.verdict))

        began = time.monotonic()
        await asyncio.gather(*(one() for _ in range(5)))
        assert outcomes == ["asked", *["banned"] * 4]
        return time.monotonic() - began

    assert asyncio.run(scene()) < 0.2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"x-mbx-used-weight-1m": "2199"}, 0.0),
        ({"x-mbx-used-weight-1m": "2200"}, 10.0),
        ({"x-mbx-used-weight-1m": "9999"}, 10.0),
        ({"x-bapi-limit-status": "1", "x-bapi-limit-reset-timestamp": "1790000035000"}, 0.0),
        ({"x-bapi-limit-status": "0", "x-bapi-limit-reset-timestamp": "1790000035000"}, 5.0),
        ({"x-bapi-limit-status": "0", "x-bapi-limit-reset-timestamp": "1790000029000"}, 0.0),
        ({"x-bapi-limit-status": "0", "x-bapi-limit-reset-timestamp": "9990000029000"}, 60.0),
        ({"x-bapi-limit-status": "0"}, 0.0),
        ({"x-ratelimit-remaining": "0"}, 1.0),
        ({"x-ratelimit-remaining": "1"}, 0.0),
        ({"x-ratelimit-remaining": "none"}, 0.0),
        ({"x-mbx-used-weight-1m": "²"}, 0.0),
        ({"x-mbx-used-weight-1m": ""}, 0.0),
    ],
)
def test_hosts_tell_in_headers_that_their_limit_is_near(headers: dict[str, str], seconds: float) -> None:
    assert seconds_to_hold(headers, NOW_S) == pytest.approx(seconds)
