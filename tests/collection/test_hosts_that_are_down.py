"""A host that is down, or drips its answer, costs a bounded time however many units wait for it."""

from __future__ import annotations

import datetime as dt
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from harness import Bench
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from aegis_yield.collection.limits import LOST_IN_A_ROW
from aegis_yield.collection.units import Demand

NOW, SINCE = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC), dt.date(2026, 11, 1)


def charts(n: int) -> list[Demand]:
    return [Demand("defillama", "chart", f"pool-{number}") for number in range(n)]


def test_a_host_that_never_answers_well_is_left_alone_after_a_while(
    make_bench: Callable[..., Bench], httpserver: HTTPServer
) -> None:
    asked: list[str] = []
    httpserver.expect_request("/fng/").respond_with_json({"data": [], "metadata": {"error": None}})

    def refuse(request: Request) -> Response:
        asked.append(request.path)
        return Response("down", status=503)

    for number in range(40):
        httpserver.expect_request(f"/chart/pool-{number}").respond_with_handler(refuse)
    bench = make_bench(now=NOW, since=SINCE, environment={"AEGIS_SRC__CLIENT__ATTEMPTS": "2"})
    bench.collect([*charts(40), Demand("fear_greed", "index", "*")])
    assert len(bench.failures) == 40
    assert len(asked) <= 2 * (LOST_IN_A_ROW + 1)  # another worker's question was under way
    assert {failure.verdict for failure in bench.failures} == {"transient", "banned"}
    assert any("left alone" in failure.reason and "503" in failure.reason for failure in bench.failures)


def test_one_good_answer_in_between_shows_that_it_is_not_down(
    make_bench: Callable[..., Bench], httpserver: HTTPServer
) -> None:
    good = {"status": "success", "data": [{"timestamp": "2026-11-01T23:00:00.000Z", "tvlUsd": 1, "apy": 1.0}]}
    for number in range(24):
        handler = httpserver.expect_request(f"/chart/pool-{number}")
        if number % 4 == 3:
            handler.respond_with_json(good)
        else:
            handler.respond_with_data("down", status=503)
    bench = make_bench(now=NOW, since=SINCE, environment={"AEGIS_SRC__CLIENT__ATTEMPTS": "1"})
    bench.collect(charts(24))
    assert {failure.verdict for failure in bench.failures} == {"transient"}
    assert len(bench.failures) == 18


@pytest.fixture
def dripping_url() -> Iterator[str]:
    """A server that sends a body of a hundred bytes, one every 50 ms."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def drip() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=send, args=(connection,), daemon=True).start()

        def send(connection: socket.socket) -> None:
            with closing(connection):
                try:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
                    for _ in range(100):
                        connection.sendall(b" ")
                        time.sleep(0.05)
                except OSError:
                    return

        threading.Thread(target=drip, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_answer_that_drips_is_given_up(make_bench: Callable[..., Bench], dripping_url: str) -> None:
    settings = {
        "AEGIS_SRC__FEAR_GREED__BASE_URL": dripping_url, "AEGIS_SRC__CLIENT__TRANSFER_S": "0.3",
        "AEGIS_SRC__CLIENT__ATTEMPTS": "2",
    }  # fmt: skip
    bench = make_bench(now=NOW, since=SINCE, environment=settings)
    began = time.monotonic()
    bench.collect([Demand("fear_greed", "index", "*")])
    assert 0.6 <= time.monotonic() - began < 3.0
    assert "no complete answer" in bench.failures[0].reason
