"""What every answer carries, what the log says of it, and that none takes for ever."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from guarded import connected, heard, listening, opened
from services import CountingLoader
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from test_predict_endpoint import PROMISED, problem_of

from aegis_yield.pipelines.predict import Forecaster
from api.guards import middleware
from api.guards.headers import DATA_POLICY, DOCUMENTATION_POLICY, PAGE_POLICY, SecurityHeaders
from api.guards.logs import JsonLines, TextLines
from api.ml_service import create_app
from api.settings import LifeSettings, ServiceSettings

SHORT_S = 0.2


@pytest.fixture(autouse=True)
def no_keys_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))


@pytest.fixture
def client(forecaster: Forecaster) -> Iterator[TestClient]:
    with opened(forecaster, {}) as client:
        yield client


def test_every_answer_tells_browsers_what_it_is(client: TestClient) -> None:
    for path in ("/strategies", "/nothing", "/docs", "/health/live"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "geolocation=()" in headers["permissions-policy"]
        assert "cache-control" in headers
        assert "server" not in headers
    assert client.get("/health/live").headers["content-security-policy"] == DATA_POLICY
    assert client.get("/docs").headers["content-security-policy"] == DOCUMENTATION_POLICY


def test_pages_run_their_own_scripts_only() -> None:
    async def page(request: Request) -> PlainTextResponse:
        own = {"content-security-policy": "default-src 'self'", "cache-control": "max-age=9"}
        given = own if "own" in request.query_params else {"etag": '"1"'}
        return PlainTextResponse("<p>", media_type="text/html", headers=given)

    with TestClient(SecurityHeaders(Starlette(routes=[Route("/", page)]))) as opened_page:
        headers = opened_page.get("/").headers
        assert headers["content-security-policy"] == PAGE_POLICY
        assert headers["cache-control"] == "no-cache"
        own = opened_page.get("/?own=1").headers
        assert (own["content-security-policy"], own["cache-control"]) == ("default-src 'self'", "max-age=9")
    script = next(part for part in PAGE_POLICY.split("; ") if part.startswith("script-src"))
    assert script == "script-src 'self'"


def test_a_good_request_id_is_kept_and_every_other_replaced(client: TestClient) -> None:
    kept = client.get("/strategies", headers={"X-Request-Id": "desk-7:a.b_c"})
    assert kept.headers["x-request-id"] == "desk-7:a.b_c"
    made = {client.get("/strategies").headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    for bad in ("", "a b", "a\tb", '"}', "x" * 129, "-a", "ä"):
        answer = client.get("/nothing", headers={"X-Request-Id": bad.encode("utf-8")})
        assert answer.headers["x-request-id"] != bad
        assert problem_of(answer, 404)["request_id"] == answer.headers["x-request-id"]


def test_a_surprise_is_a_500_with_everything_that_answers_carry(
    forecaster: Forecaster, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(ServiceSettings(), CountingLoader(forecaster))

    @app.get("/surprise")
    def surprise() -> None:
        raise ValueError("secret /etc/passwd")

    with caplog.at_level(logging.INFO), TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/surprise", headers={"X-Request-Id": "abc"})
    document = problem_of(answer, 500)
    assert (document["request_id"], answer.headers["x-request-id"]) == ("abc", "abc")
    assert "x-content-type-options" in answer.headers
    assert "secret" not in answer.text
    assert "secret /etc/passwd" in caplog.text  # the trace is in the log
    assert [record.fields["status"] for record in caplog.records if hasattr(record, "fields")] == [500]


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the service's loggers write, as JSON."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    ours = logging.getLogger("aegis_yield")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    yield written
    ours.removeHandler(handler)
    ours.setLevel(logging.NOTSET)


def test_a_request_is_one_line_of_json(client: TestClient, lines: io.StringIO) -> None:
    answer = client.post("/predict", json=PROMISED, headers={"X-Request-Id": "r1"})
    client.get('/nothing%0A{"level":"error"}?token=hush')
    first, second = map(json.loads, lines.getvalue().splitlines())
    assert first.pop("ms") > 0
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "info", "logger": "aegis_yield.access", "message": "request", "method": "POST", "route": "/predict",
        "status": 200, "bytes": len(answer.content), "client": "testclient", "request_id": "r1",
    }  # fmt: skip
    assert second["status"] == 404
    assert "hush" not in lines.getvalue()


def test_what_happens_for_a_request_is_logged_with_its_id(forecaster: Forecaster, lines: io.StringIO) -> None:
    app = create_app(ServiceSettings(), CountingLoader(forecaster))

    @app.get("/talk")
    def talk() -> None:
        logging.getLogger("aegis_yield.service").info("in a thread")

    with TestClient(app) as client:
        client.get("/talk", headers={"X-Request-Id": "r2"})
    talked = [json.loads(line) for line in lines.getvalue().splitlines() if "in a thread" in line]
    assert [one["request_id"] for one in talked] == ["r2"]


def test_a_trace_is_one_line_and_a_person_reads_text() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        raised = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("a", logging.ERROR, __file__, 1, "went\nwrong", None, raised)
    line = JsonLines().format(record)
    assert "\n" not in line
    assert "two\nlines" in json.loads(line)["exception"]
    told = logging.LogRecord("a", logging.INFO, __file__, 1, "request", None, None)
    told.fields = {"status": 200, "ms": 1.5}
    assert TextLines().format(told).endswith("INFO a request status=200 ms=1.5")


@pytest.fixture
def slow_app() -> Iterator[tuple[Starlette, threading.Event]]:
    """Routes that take too long, each in its own way, behind the guards."""
    freed = threading.Event()

    def stuck(_: Request) -> JSONResponse:  # in a thread: nothing can stop it
        freed.wait(20)
        return JSONResponse({"late": True})

    async def asleep(_: Request) -> JSONResponse:
        await asyncio.sleep(20)
        return JSONResponse({"late": True})

    async def part() -> AsyncIterator[bytes]:
        yield b"half"
        await asyncio.sleep(20)
        yield b"never"

    async def stream(_: Request) -> StreamingResponse:
        return StreamingResponse(part())

    async def quick(_: Request) -> JSONResponse:
        return JSONResponse({})

    routes = [Route(f"/{one.__name__}", one) for one in (stuck, asleep, stream, quick)]
    routes.append(Route("/optimize", quick))
    guards = middleware(ServiceSettings(service=LifeSettings(time_limit_s=SHORT_S)))
    yield Starlette(routes=routes, middleware=guards), freed
    freed.set()


@pytest.mark.parametrize("way", ["stuck", "asleep"])
def test_what_takes_too_long_is_a_504_at_once(slow_app: tuple[Starlette, threading.Event], way: str) -> None:
    app, freed = slow_app
    with listening(app, LifeSettings()) as port, httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(2):
            answer = client.get(f"/{way}", timeout=15)
            assert problem_of(answer, 504)["detail"] == f"no answer within {SHORT_S:g} s"
            assert answer.headers["x-request-id"]
        assert client.get("/quick").json() == {}  # on the same connection, while threads are stuck
        freed.set()
        assert client.get("/quick").json() == {}


def test_an_answer_that_stops_half_way_is_cut_not_ended(
    slow_app: tuple[Starlette, threading.Event], lines: io.StringIO
) -> None:
    with listening(slow_app[0], LifeSettings()) as port, connected(port) as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        text = heard(connection)
        assert b"half" in text
        assert not text.endswith(b"0\r\n\r\n")  # the last chunk, which would say that it is whole
        give_up = time.monotonic() + 10
        while '"cut": true' not in lines.getvalue() and time.monotonic() < give_up:
            time.sleep(0.01)
        assert '"cut": true' in lines.getvalue()
