"""Connections, below HTTP: clients that stop half-way, talk nonsense or are too many."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from guarded import answer_in, connected, heard, listening, problem_in
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.guards import middleware
from api.settings import LifeSettings, ServiceSettings

LIFE = LifeSettings(
    header_timeout_s=0.4, body_timeout_s=0.4, write_timeout_s=0.5, keep_alive_s=1, max_header_bytes=4_096,
    max_connections=8, read_per_s=0,
)  # fmt: skip
SETTINGS = ServiceSettings(service=LIFE, max_body_bytes=100_000)
HEAD = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n"
MUCH = 20_000_000


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({"n": len(await request.body())})


async def much(_: Request) -> Response:
    return Response(b"x" * MUCH)


async def wait(_: Request) -> Response:
    await asyncio.sleep(1.5)
    return Response(b"done")


@pytest.fixture(params=[H11Protocol, AutoHTTPProtocol], ids=["h11", "fast"])
def port(request: pytest.FixtureRequest, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    routes = [Route("/echo", echo, methods=["GET", "POST"]), Route("/much", much), Route("/wait", wait)]
    app = Starlette(routes=routes, middleware=middleware(SETTINGS))
    with listening(app, LIFE, request.param) as found:
        yield found


def exchanged(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send parts with pauses, then listen until the other side closes."""
    with connected(port) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause_s)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it closed while we were talking: what it said before can still be heard
        return heard(connection)


def whole(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_a_good_request_is_answered_and_its_connection_kept_for_a_while(port: int) -> None:
    with connected(port) as connection:
        for size in (5, 50_000, 0):
            connection.sendall(whole(b"x" * size))
            assert answer_in(connection.recv(65_536))[0] == 200
            time.sleep(0.6)  # longer than a head may take: nobody has begun one
        assert heard(connection) == b""


def test_a_head_that_does_not_end_is_a_408(port: int) -> None:
    assert "head not complete" in problem_in(exchanged(port, HEAD), 408)["detail"]


def test_a_head_in_drops_is_a_408(port: int) -> None:
    drops = [b"X-%d: 1\r\n" % number for number in range(12)]
    began = time.monotonic()
    problem_in(exchanged(port, HEAD, *drops, pause_s=0.1), 408)
    assert time.monotonic() - began < 10


def test_a_second_head_in_drops_is_a_408_too(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(whole(b"x"))
        assert answer_in(connection.recv(65_536))[0] == 200
        connection.sendall(HEAD)
        problem_in(heard(connection), 408)


def test_who_says_nothing_is_closed_without_a_word(port: int) -> None:
    assert exchanged(port) == b""


def test_a_body_that_does_not_end_is_a_408(port: int) -> None:
    text = exchanged(port, HEAD + b"Content-Length: 100\r\n\r\n", b"x" * 10)
    assert problem_in(text, 408)["detail"] == "body: not complete after 0.4 s"
    assert answer_in(text)[1]["connection"] == "close"


def test_a_body_in_drops_is_a_408(port: int) -> None:
    problem_in(exchanged(port, HEAD + b"Content-Length: 100\r\n\r\n", *[b"x"] * 20, pause_s=0.1), 408)


def test_a_head_without_end_is_a_431_or_400(port: int) -> None:
    text = exchanged(port, HEAD, *[b"X-%d: %s\r\n" % (n, b"y" * 1_000) for n in range(200)])
    assert answer_in(text)[0] in (400, 431)
    problem_in(text, answer_in(text)[0])


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTP/1.1\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        HEAD + b"Bad Header: 1\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_a_400(port: int, nonsense: bytes) -> None:
    problem_in(exchanged(port, nonsense), 400)


def test_a_refused_body_may_run_out(port: int) -> None:
    """Who cannot listen before all is sent still reads why it was refused."""
    with connected(port) as connection:
        connection.sendall(HEAD + b"Content-Length: 5000000\r\n\r\n")
        connection.sendall(b"x" * 5_000_000)
        problem_in(connection.recv(65_536), 413)
        connection.sendall(whole(b"next"))
        assert answer_in(connection.recv(65_536))[0] == 200


def test_a_refused_body_may_not_run_for_ever(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(HEAD + b"Content-Length: 5000000000\r\n\r\n")
        assert not endured(connection, 15)


def endured(connection: socket.socket, seconds: float) -> bool:
    """Send for so long, or until the other side has had enough."""
    give_up = time.monotonic() + seconds
    try:
        while time.monotonic() < give_up:
            connection.send(b"x" * 1_000)
            time.sleep(0.01)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def test_a_chunked_body_is_counted_while_it_comes(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(11):
            connection.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        problem_in(connection.recv(65_536), 413)


def test_a_client_that_stops_reading_is_cut(port: int) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /much HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(2.5)
        assert len(heard(connection)) < MUCH


def test_a_slow_but_steady_reader_gets_all(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(b"GET /much HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        n_bytes = 0
        while part := connection.recv(1_000_000):
            n_bytes += len(part)
            time.sleep(0.005)
        assert n_bytes > MUCH


def test_idle_connections_make_room(port: int) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(connected(port)) for _ in range(LIFE.max_connections)]
        for connection in idle[1:]:
            connection.sendall(HEAD)
        time.sleep(0.1)
        text = exchanged(port, HEAD + b"Connection: close\r\nContent-Length: 1\r\n\r\nx")
        assert answer_in(text)[0] == 200
        assert heard(idle[0]) == b""  # the one that waited longest went


def test_connections_at_work_are_not_cut_for_new_ones(port: int) -> None:
    with ExitStack() as stack:
        busy = [stack.enter_context(connected(port)) for _ in range(LIFE.max_connections)]
        for connection in busy:
            connection.sendall(b"GET /wait HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        time.sleep(0.3)
        text = exchanged(port)
        assert problem_in(text, 503)["detail"] == "too many connections"
        assert answer_in(text)[1]["retry-after"] == "1"
        assert [answer_in(heard(connection))[0] for connection in busy] == [200] * LIFE.max_connections
        assert answer_in(exchanged(port, HEAD + b"Connection: close\r\n\r\n"))[0] == 200
