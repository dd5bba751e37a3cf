"""The load generator: it counts what it should, and a server that stands still does not get away with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from benchmarks.loading.generator import Figures, Load, ask_once, at_rate, flat_out, predict_bytes

Answerer = Callable[[int], Awaitable[bytes]]
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


def measured(answer: Answerer, ask: Callable[[int], Awaitable[Figures]]) -> tuple[Figures, int]:
    """What is measured of a server that answers its n-th request with ``answer(n)``; and how many it saw."""
    seen = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
                seen += 1
                content = await answer(seen)
                if not content:
                    break
                writer.write(content)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def both() -> Figures:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            return await ask(server.sockets[0].getsockname()[1])

    return asyncio.run(both()), seen


async def good(number: int) -> bytes:
    return GOOD


def test_every_request_of_a_steady_rate_is_sent() -> None:
    figures, seen = measured(good, lambda port: at_rate(Load(port, predict_bytes(["a"]), 4, 0.5), 100.0))
    assert (figures.n_requests, figures.n_errors, seen) == (50, 0, 50)


def test_a_pause_counts_for_all_who_waited_behind_it() -> None:
    async def with_a_pause(number: int) -> bytes:
        if number == 5:
            await asyncio.sleep(0.5)
        return GOOD

    figures, _ = measured(with_a_pause, lambda port: at_rate(Load(port, predict_bytes(["a"]), 1, 1.0), 50.0))
    assert figures.n_requests == 50
    assert figures.longest_ms >= 450.0
    assert figures.p50_ms > 5.0  # half of all were due during the pause


def test_flat_out_asks_again_and_again() -> None:
    figures, seen = measured(good, lambda port: flat_out(Load(port, predict_bytes(["a"]), 2, 0.2)))
    assert figures.n_requests == seen > 4
    once, seen = measured(good, lambda port: flat_out(Load(port, predict_bytes(["a"]), 3, 0.0)))
    assert once.n_requests == seen == 3


def test_refusals_and_broken_connections_are_errors() -> None:
    async def trouble(number: int) -> bytes:
        return {1: BUSY, 2: b""}.get(number, GOOD)

    figures, _ = measured(trouble, lambda port: at_rate(Load(port, predict_bytes(["a"]), 1, 0.1), 100.0))
    assert (figures.n_requests, figures.n_errors) == (8, 2)


def test_one_question_must_be_answered_well() -> None:
    async def busy(number: int) -> bytes:
        return BUSY

    async def ask(port: int) -> Figures:
        with pytest.raises(RuntimeError, match="503"):
            await ask_once(port, predict_bytes(["a"]))
        return await flat_out(Load(port, predict_bytes(["a"]), 1, 0.0))

    figures, _ = measured(busy, ask)
    assert (figures.n_requests, figures.n_errors) == (0, 1)
