"""One client policy: what is asked again, what is not, how long it takes, and what is kept of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request as Asked
from werkzeug import Response

from aegis_yield.collection.client import USER_AGENT, Client, Reply
from aegis_yield.collection.limits import HostFigures
from aegis_yield.collection.raw import RawZone
from aegis_yield.collection.settings import load_settings
from aegis_yield.collection.units import Demand, Request, WorkUnit
from aegis_yield.collection.verdicts import Verdict
from aegis_yield.domain.errors import CollectionError, OfflineError, SourceError

UNIT = WorkUnit(Demand("binance", "funding", "ETHUSDT"), dt.date(2026, 2, 1), dt.date(2026, 3, 1))
ANSWER = {"rate": "0.0001", "n": 1}
QUESTION = Request("binance", "/x")

T = TypeVar("T")
Step = Response | Callable[[Asked], Response]


class Bed:
    """A client's surroundings: a raw zone, settings that point at local servers, and what came of asking."""

    def __init__(self, folder: Path, *urls: str) -> None:
        self.raw = RawZone(folder)
        self.urls = urls
        self.figures: dict[str, HostFigures] = {}

    def run(self, scene: Callable[[Client], Awaitable[T]], **environment: str) -> T:
        """Play a scene with a client whose host ``binance`` is at all urls and ``bybit`` at the first one."""
        names = {
            "BINANCE__BASE_URL": " ".join(self.urls), "BINANCE__REQUESTS_PER_SECOND": "0", "BINANCE__CONCURRENCY": "50",
            "BYBIT__BASE_URL": self.urls[0], "BYBIT__REQUESTS_PER_SECOND": "0", "CLIENT__BACKOFF_BASE_S": "0.01",
        } | environment  # fmt: skip
        settings = load_settings(environment={f"AEGIS_SRC__{name}": value for name, value in names.items()})

        async def play() -> T:
            async with Client(settings, self.raw) as client:
                try:
                    return await scene(client)
                finally:
                    self.figures = client.figures

        return asyncio.run(play())

    def ask(self, request: Request = QUESTION, check: Callable[[Any], None] | None = None, **environment: str) -> Reply:
        return self.run(lambda client: client.ask(UNIT, request, *([check] if check else [])), **environment)

    def refused(self, **environment: str) -> SourceError:
        """Ask, and return the error that it ends with."""
        with pytest.raises(SourceError) as caught:
            self.ask(**environment)
        return caught.value

    @property
    def landed(self) -> list[dict[str, Any]]:
        """The provenance of every answer in the raw zone, oldest first."""
        return [json.loads(gzip.decompress(path.read_bytes()).partition(b"\n")[0]) for path in self.raw.files()]


@pytest.fixture
def bed(tmp_path: Path, httpserver: HTTPServer) -> Bed:
    return Bed(tmp_path / "raw", httpserver.url_for("").rstrip("/"))


@pytest.fixture
def two(tmp_path: Path, httpserver: HTTPServer, threaded_server: HTTPServer) -> Bed:
    """A host at two addresses."""
    return Bed(tmp_path / "raw", httpserver.url_for("").rstrip("/"), threaded_server.url_for("").rstrip("/"))


def good(content: Any = ANSWER) -> Response:
    return Response(json.dumps(content), mimetype="application/json")


def bad(status: int, **headers: str) -> Response:
    return Response(f"status {status}", status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


class Script:
    """A handler that takes one step per request, the last one for ever, and knows when it was asked what."""

    def __init__(self, server: HTTPServer, *steps: Step, path: str = "/x") -> None:
        self.steps, self.times, self.asked = steps, [], []
        server.expect_request(path).respond_with_handler(self)

    def __call__(self, asked: Asked) -> Response:
        self.times.append(time.monotonic())
        self.asked.append(asked)
        step = self.steps[min(len(self.times), len(self.steps)) - 1]
        return step if isinstance(step, Response) else step(asked)

    @property
    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.times)]


def transient_if_busy(content: Any) -> None:
    if content.get("code") == "busy":
        raise SourceError("says busy", Verdict.TRANSIENT)


def wrong_node(content: Any) -> None:
    if content.get("node") == "pruned":
        raise SourceError("missing trie node", Verdict.PROVIDER)


# A good answer


def test_a_good_answer_is_returned_and_landed_as_it_is(bed: Bed, httpserver: HTTPServer) -> None:
    body = b' {"rate" :"0.0001",\n"n":1}\n'
    Script(httpserver, Response(body, mimetype="application/json", headers={"X-Extra": "7"}))
    before = dt.datetime.now(dt.UTC)
    reply = bed.ask()
    assert (reply.content, reply.headers["x-extra"]) == (ANSWER, "7")
    assert before <= reply.fetched_at <= dt.datetime.now(dt.UTC)
    page = bed.raw.page(bed.raw.path_of(UNIT.demand, reply.raw_id))
    assert page is not None
    assert (page.body, page.unit_id, page.demand, page.fetched_at) == (body, UNIT.id, UNIT.demand, reply.fetched_at)
    (landed,) = bed.landed
    assert (landed["status"], landed["attempt"], landed["verdict"]) == (200, 1, "")
    assert landed["headers"]["x-extra"] == "7"
    assert landed["duration_ms"] > 0
    figures = bed.figures["binance"]
    assert (figures.requests, figures.retries, figures.limited, figures.received_bytes) == (1, 0, 0, len(body))


def test_a_request_says_who_asks(bed: Bed, httpserver: HTTPServer) -> None:
    script = Script(httpserver, good())
    bed.ask()
    headers = script.asked[0].headers
    assert headers["user-agent"] == USER_AGENT
    assert headers["user-agent"].startswith("aegis-yield/")
    assert headers["accept"] == "application/json"


def test_parameters_and_bodies_arrive(bed: Bed, httpserver: HTTPServer) -> None:
    script = Script(httpserver, good())
    bed.ask(Request("binance", "/x", {"symbol": "ETH USDT", "limit": 5}, context={"step": 8}))
    bed.ask(Request("binance", "/x", body={"method": "eth_call", "id": [1, "ü"]}))
    assert (script.asked[0].method, dict(script.asked[0].args)) == ("GET", {"symbol": "ETH USDT", "limit": "5"})
    assert (script.asked[1].method, script.asked[1].get_json()) == ("POST", {"method": "eth_call", "id": [1, "ü"]})
    first, second = (landed["request"] for landed in bed.landed)
    assert first == {
        "host": "binance", "path": "/x", "params": {"symbol": "ETH USDT", "limit": 5}, "body": None,
        "context": {"step": 8},
    }  # fmt: skip
    assert second["body"] == {"method": "eth_call", "id": [1, "ü"]}


def test_keys_go_where_the_host_wants_them(bed: Bed, httpserver: HTTPServer) -> None:
    script = Script(httpserver, good())
    key = "K" * 32
    bed.ask(Request("fred", "/x", {"series_id": "DFF"}), FRED__BASE_URL=bed.urls[0], FRED__API_KEY=key)
    bed.ask(Request("coingecko", "/x"), COINGECKO__BASE_URL=bed.urls[0], COINGECKO__API_KEY=key)
    bed.ask(Request("coingecko", "/x"), COINGECKO__BASE_URL=bed.urls[0])
    by_param, by_header, keyless = script.asked
    assert dict(by_param.args) == {"series_id": "DFF", "api_key": key}
    assert by_header.headers["x-cg-demo-api-key"] == key
    assert "x-cg-demo-api-key" not in keyless.headers
    assert not by_header.args


def test_a_compressed_answer_is_landed_as_its_content(bed: Bed, httpserver: HTTPServer) -> None:
    body = json.dumps(ANSWER).encode()
    Script(httpserver, Response(gzip.compress(body), headers={"Content-Encoding": "gzip"}))
    reply = bed.ask()
    assert reply.content == ANSWER
    page = bed.raw.page(bed.raw.path_of(UNIT.demand, reply.raw_id))
    assert page is not None
    assert page.body == body


# What is asked again


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 522, 524, 527])
def test_a_transient_status_is_asked_again(bed: Bed, httpserver: HTTPServer, status: int) -> None:
    script = Script(httpserver, bad(status), good())
    assert bed.ask().content == ANSWER
    assert len(script.times) == 2
    figures = bed.figures["binance"]
    assert (figures.requests, figures.retries, figures.limited) == (2, 1, int(status == 429))
    first, second = bed.landed
    assert first["verdict"] == f"transient: binance: HTTP {status}: status {status}"
    assert (first["status"], first["attempt"], second["attempt"], second["verdict"]) == (status, 1, 2, "")


@pytest.mark.parametrize("status", [301, 302, 304, 307, 400, 401, 404, 405, 410, 422, 451, 501])
def test_a_final_status_is_asked_once(bed: Bed, httpserver: HTTPServer, status: int) -> None:
    script = Script(httpserver, bad(status))
    error = bed.refused()
    assert (error.verdict, len(script.times)) == (Verdict.FINAL, 1)
    assert str(error).startswith(f"binance: HTTP {status}:")
    assert bed.landed[0]["verdict"] == f"final: {error}"


@pytest.mark.parametrize(
    "mishap",
    [
        Response(json.dumps(ANSWER)[:-1], mimetype="application/json"),
        Response("", status=200),
        Response("<html>Just a moment...</html>", mimetype="text/html"),
        Response('{"rate": NaN}'),
        Response(b"not gzip at all", headers={"Content-Encoding": "gzip"}),
        good({"code": "busy"}),
    ],
    ids=["truncated", "empty", "html", "nan", "broken gzip", "envelope"],
)
def test_an_answer_that_cannot_be_meant_is_asked_again(bed: Bed, httpserver: HTTPServer, mishap: Response) -> None:
    script = Script(httpserver, mishap, good())
    assert bed.ask(check=transient_if_busy).content == ANSWER
    assert len(script.times) == 2


def test_an_answer_that_breaks_its_check_is_kept_and_final(bed: Bed, httpserver: HTTPServer) -> None:
    script = Script(httpserver, good(["a", "list"]))
    with pytest.raises(SourceError) as caught:
        bed.ask(check=transient_if_busy)
    assert (caught.value.verdict, len(script.times)) == (Verdict.FINAL, 1)
    assert str(caught.value).startswith("binance: answer has another form (AttributeError: ")
    assert [landed["verdict"] for landed in bed.landed] == [f"final: {caught.value}"]


@pytest.mark.parametrize(
    ("status", "content", "verdict"),
    [
        (400, {"reason": "too_large"}, Verdict.TOO_LARGE),
        (500, {"reason": "provider"}, Verdict.PROVIDER),
        (400, {"reason": "transient"}, Verdict.FINAL),
        (403, {"reason": "final"}, Verdict.BANNED),
        (503, {"reason": "banned"}, Verdict.TRANSIENT),
        (429, ["of another form"], Verdict.TRANSIENT),
    ],
)
def test_the_reason_in_an_error_says_more_than_its_status_where_that_helps(
    bed: Bed, httpserver: HTTPServer, status: int, content: Any, verdict: Verdict
) -> None:
    def check(found: Any) -> None:
        raise SourceError("says why", found["reason"])

    Script(httpserver, Response(json.dumps(content), status=status))
    with pytest.raises(SourceError) as caught:
        bed.ask(Request("binance", "/x", reads_errors=True), check, CLIENT__ATTEMPTS="2")
    assert caught.value.verdict == verdict
    with pytest.raises(SourceError, match=f"HTTP {status}"):
        bed.ask(QUESTION, check, CLIENT__ATTEMPTS="1")


def test_tries_are_counted(bed: Bed, httpserver: HTTPServer) -> None:
    script = Script(httpserver, bad(503))
    error = bed.refused(CLIENT__ATTEMPTS="3")
    assert (error.verdict, len(script.times)) == (Verdict.TRANSIENT, 3)
    assert [landed["attempt"] for landed in bed.landed] == [1, 2, 3]
    assert bed.figures["binance"].retries == 2


def test_patience_ends(bed: Bed, httpserver: HTTPServer) -> None:
    script = Script(httpserver, bad(503))
    began = time.monotonic()
    error = bed.refused(CLIENT__ATTEMPTS="10000", CLIENT__PATIENCE_S="0.4", CLIENT__BACKOFF_CAP_S="0.05")
    assert 0.4 <= time.monotonic() - began < 0.8
    assert (error.verdict, 5 < len(script.times) < 1000) == (Verdict.TRANSIENT, True)


def test_no_patience_means_no_second_try(bed: Bed, httpserver: HTTPServer) -> None:
    script = Script(httpserver, bad(503))
    bed.refused(CLIENT__PATIENCE_S="0")
    assert len(script.times) == 1


@pytest.mark.parametrize(("n_bad", "n", "ceiling_s"), [(1, 80, 0.01), (3, 24, 0.01 + 0.02 + 0.025)])
def test_waits_are_anything_up_to_a_ceiling_that_doubles(
    bed: Bed, httpserver: HTTPServer, n_bad: int, n: int, ceiling_s: float
) -> None:
    script = Script(httpserver, *([bad(503)] * n_bad + [good()]) * n)

    async def scene(client: Client) -> list[float]:
        waited = [0.0]
        for _ in range(n):
            await client.ask(UNIT, QUESTION)
            waited.append(client.figures["binance"].waited_s)
        return [later - earlier for earlier, later in pairwise(waited)]

    waits = bed.run(scene, CLIENT__BACKOFF_BASE_S="0.005", CLIENT__BACKOFF_CAP_S="0.025")
    assert sum(script.gaps) > sum(waits)
    assert min(waits) > 0
    assert max(waits) < ceiling_s + 0.005
    # Four standard deviations and more to either side of a half; without doubling it would be about 0.27.
    assert 0.35 * ceiling_s * n < sum(waits) < 0.65 * ceiling_s * n
    if n_bad == 1:  # one wait each, evenly spread: "full" jitter
        shares = sorted(wait / ceiling_s for wait in waits)
        assert shares[1] < 0.4
        assert shares[-2] > 0.6


# What the host says about waiting


def test_retry_after_in_seconds_is_kept_to_whatever_the_backoff_would_be(bed: Bed, httpserver: HTTPServer) -> None:
    script = Script(httpserver, bad(429, Retry_After="1"), good())
    bed.ask(CLIENT__BACKOFF_BASE_S="60", CLIENT__BACKOFF_CAP_S="60")
    assert 1.0 <= script.gaps[0] < 1.4
    assert 1.0 <= bed.figures["binance"].waited_s < 1.4


def test_retry_after_as_a_date_is_kept_to(bed: Bed, httpserver: HTTPServer) -> None:
    until = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=2)
    script = Script(httpserver, bad(503, Retry_After=format_datetime(until, usegmt=True)), good())
    bed.ask()
    assert dt.datetime.now(dt.UTC) >= until
    assert 0.8 < script.gaps[0] < 2.3


@pytest.mark.parametrize("header", ["0", "Sun, 01 Jan 2023 00:00:00 GMT", "soon"])
def test_retry_after_nothing_leaves_the_wait_to_us(bed: Bed, httpserver: HTTPServer, header: str) -> None:
    script = Script(httpserver, bad(429, Retry_After=header))
    bed.refused(CLIENT__ATTEMPTS="8", CLIENT__BACKOFF_CAP_S="0.02")
    assert len(script.times) == 8
    assert 0.02 < bed.figures["binance"].waited_s < 0.2


def test_retry_after_of_one_request_holds_all_to_that_address(bed: Bed, threaded_server: HTTPServer) -> None:
    limited = Script(threaded_server, bad(429, Retry_After="0.5"), good())
    others = Script(threaded_server, good(), path="/y")
    bed.urls = (threaded_server.url_for("").rstrip("/"),)

    async def scene(client: Client) -> None:
        asking = asyncio.create_task(client.ask(UNIT, QUESTION))
        while not bed.landed:
            await asyncio.sleep(0.005)
        await client.ask(UNIT, Request("binance", "/y"))
        await asking

    bed.run(scene)
    assert others.times[0] - limited.times[0] >= 0.49


def test_being_asked_to_wait_too_long_is_a_ban_that_nobody_waits_for(bed: Bed, httpserver: HTTPServer) -> None:
    script = Script(httpserver, bad(429, Retry_After="3600"))

    async def scene(client: Client) -> list[Any]:
        asking = (client.ask(UNIT, QUESTION) for _ in range(4))
        async with asyncio.timeout(2.0):
            return await asyncio.gather(*asking, return_exceptions=True)

    first, *others = bed.run(scene, BINANCE__CONCURRENCY="1", CLIENT__PATIENCE_S="30")
    assert len(script.times) == 1
    assert [error.verdict for error in (first, *others)] == [Verdict.BANNED] * 4
    assert "HTTP 429" in str(first)
    assert all("left alone for 3600 s more after: binance: HTTP 429" in str(error) for error in others)


def test_a_host_that_says_its_limit_is_used_up_is_asked_later(bed: Bed, httpserver: HTTPServer) -> None:
    used_up = good()
    used_up.headers["X-RateLimit-Remaining"] = "0"
    script = Script(httpserver, used_up, good())

    async def scene(client: Client) -> None:
        await client.ask(UNIT, QUESTION)
        await client.ask(UNIT, QUESTION)

    bed.run(scene)
    assert 0.95 <= script.gaps[0] < 1.4


# Bans


@pytest.mark.parametrize("status", [403, 418])
def test_a_host_that_bans_us_is_left_alone(bed: Bed, httpserver: HTTPServer, status: int) -> None:
    script = Script(httpserver, bad(status), good())

    async def scene(client: Client) -> list[SourceError]:
        errors = []
        for path in ("/x", "/x", "/elsewhere"):
            with pytest.raises(SourceError) as caught:
                await client.ask(UNIT, Request("binance", path))
            errors.append(caught.value)
        return errors

    first, *others = bed.run(scene)
    assert len(script.times) == 1
    assert bed.figures["binance"].requests == 1
    assert str(first) == f"binance: HTTP {status}: status {status}"
    for error in others:
        assert error.verdict == Verdict.BANNED
        assert "left alone for 600 s more after: binance: HTTP" in str(error)
    assert [landed["verdict"] for landed in bed.landed] == [f"banned: {first}"]


def test_a_ban_ends(bed: Bed, httpserver: HTTPServer) -> None:
    script = Script(httpserver, bad(418), good())

    async def scene(client: Client) -> Reply:
        with pytest.raises(SourceError):
            await client.ask(UNIT, QUESTION)
        await asyncio.sleep(0.25)
        return await client.ask(UNIT, QUESTION)

    assert bed.run(scene, CLIENT__BAN_S="0.2").content == ANSWER
    assert len(script.times) == 2


def test_a_ban_is_that_of_one_host(bed: Bed, httpserver: HTTPServer) -> None:
    Script(httpserver, bad(418), good())

    async def scene(client: Client) -> Reply:
        with pytest.raises(SourceError):
            await client.ask(UNIT, QUESTION)
        return await client.ask(UNIT, Request("bybit", "/x"))

    assert bed.run(scene).content == ANSWER
    assert {name: figures.requests for name, figures in bed.figures.items()} == {"binance": 1, "bybit": 1}


# Several addresses


@pytest.mark.parametrize(
    ("step", "n_asked"),
    [(bad(403), 1), (bad(418), 1), (bad(503), 2), (good({"node": "pruned"}), 1), (Response("{"), 2)],
    ids=["forbidden", "banned", "exhausted", "provider", "truncated"],
)
def test_the_second_address_takes_over(
    two: Bed, httpserver: HTTPServer, threaded_server: HTTPServer, step: Response, n_asked: int
) -> None:
    first, second = Script(httpserver, step), Script(threaded_server, good())
    assert two.ask(check=wrong_node, CLIENT__ATTEMPTS="2").content == ANSWER
    assert (len(first.times), len(second.times)) == (n_asked, 1)


@pytest.mark.parametrize("status", [400, 401, 404, 422, 451])
def test_what_is_final_is_final_at_the_first_address(
    two: Bed, httpserver: HTTPServer, threaded_server: HTTPServer, status: int
) -> None:
    Script(httpserver, bad(status))
    second = Script(threaded_server, good())
    assert two.refused().verdict == Verdict.FINAL
    assert second.times == []


@pytest.mark.parametrize("step", [bad(418), bad(503)], ids=["banned", "exhausted"])
def test_an_address_that_failed_is_left_alone_for_a_while(
    two: Bed, httpserver: HTTPServer, threaded_server: HTTPServer, step: Response
) -> None:
    first, second = Script(httpserver, step), Script(threaded_server, good())

    async def scene(client: Client) -> None:
        for _ in range(5):
            await client.ask(UNIT, QUESTION)

    two.run(scene, CLIENT__ATTEMPTS="2")
    assert (len(first.times), len(second.times)) == (1 if step.status_code == 418 else 2, 5)


def test_an_address_that_only_lacked_one_answer_is_asked_again(
    two: Bed, httpserver: HTTPServer, threaded_server: HTTPServer
) -> None:
    first = Script(httpserver, good({"node": "pruned"}), good())
    second = Script(threaded_server, good())

    async def scene(client: Client) -> None:
        for _ in range(3):
            await client.ask(UNIT, QUESTION, wrong_node)

    two.run(scene)
    assert (len(first.times), len(second.times)) == (3, 1)


def test_the_last_address_has_the_last_word(two: Bed, httpserver: HTTPServer, threaded_server: HTTPServer) -> None:
    Script(httpserver, bad(403))
    Script(threaded_server, bad(503))
    error = two.refused(CLIENT__ATTEMPTS="2")
    assert (error.verdict, str(error)) == (Verdict.TRANSIENT, "binance: HTTP 503: status 503")


def test_the_last_address_keeps_its_patience(two: Bed, httpserver: HTTPServer, threaded_server: HTTPServer) -> None:
    Script(httpserver, bad(503))
    second = Script(threaded_server, bad(503), bad(503), good())

    async def scene(client: Client) -> Reply:
        with pytest.raises(SourceError):
            await client.ask(UNIT, QUESTION)
        return await client.ask(UNIT, QUESTION)

    assert two.run(scene, CLIENT__ATTEMPTS="2").content == ANSWER
    assert len(second.times) == 3


def test_an_address_where_nobody_listens_fails_over(two: Bed, threaded_server: HTTPServer) -> None:
    two.urls = (f"http://127.0.0.1:{free_port()}", two.urls[1])
    Script(threaded_server, good())
    assert two.ask(CLIENT__ATTEMPTS="2").content == ANSWER


# Below HTTP


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture
def wire() -> Iterator[Callable[[Sequence[bytes | float | None]], list[str]]]:
    """Serve connections by script: per connection bytes to send, seconds to be silent, None for a reset."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threads: list[threading.Thread] = []

        def serve(connections: Sequence[Sequence[bytes | float | None]]) -> list[str]:
            def work() -> None:
                for steps in connections:
                    connection, _ = listening.accept()
                    # The client may have gone by then.
                    with connection, suppress(ConnectionError):
                        connection.recv(65536)
                        for step in steps:
                            if isinstance(step, bytes):
                                connection.sendall(step)
                            elif step is None:
                                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                            else:
                                time.sleep(step)

            threads.append(threading.Thread(target=work))
            threads[-1].start()
            return [f"http://127.0.0.1:{listening.getsockname()[1]}"]

        yield serve  # type: ignore[misc]
        for thread in threads:
            thread.join(timeout=5.0)
            assert not thread.is_alive()


WHOLE = b'HTTP/1.1 200 OK\r\nContent-Length: 26\r\nConnection: close\r\n\r\n{"rate": "0.0001", "n": 1}'


@pytest.mark.parametrize(
    "broken",
    [
        [WHOLE[:-9], 0.03, None],
        [WHOLE[:-9]],
        [WHOLE[:30]],
        [],
        [None],
        [b"SMTP ready\r\n\r\n"],
        [WHOLE[:-9], 0.15],
        [0.15],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
    ],
    ids=["reset in body", "closed in body", "closed in head", "closed", "reset", "not http", "slow body", "slow head",
         "bad chunk"],
)  # fmt: skip
def test_a_broken_connection_is_asked_again(bed: Bed, wire: Any, broken: list[bytes | float | None]) -> None:
    bed.urls = wire([broken, [WHOLE]])
    assert bed.ask(BINANCE__TIMEOUT_S="0.1").content == ANSWER
    assert bed.figures["binance"].retries == 1
    assert len(bed.landed) == 1  # half an answer is none


def test_a_host_where_nobody_listens_is_transient(bed: Bed) -> None:
    bed.urls = (f"http://127.0.0.1:{free_port()}",)
    error = bed.refused(CLIENT__ATTEMPTS="3")
    assert error.verdict == Verdict.TRANSIENT
    assert str(error).startswith("binance: no complete answer (ConnectError")
    assert bed.figures["binance"].requests == 3
    assert bed.landed == []


def test_a_silent_host_is_given_up_after_its_timeout(bed: Bed, wire: Any) -> None:
    bed.urls = wire([[0.15], [0.15]])
    began = time.monotonic()
    error = bed.refused(CLIENT__ATTEMPTS="2", BINANCE__TIMEOUT_S="0.1")
    assert 0.2 <= time.monotonic() - began < 0.8
    assert "ReadTimeout" in str(error)


def test_a_host_that_drips_is_given_up_too(bed: Bed, wire: Any) -> None:
    """Never 0.3 seconds without a byte, and yet never done."""
    bed.urls = wire([[WHOLE[:-9], *[0.1, b"0"] * 8], [WHOLE]])
    began = time.monotonic()
    assert bed.ask(BINANCE__TIMEOUT_S="0.3", CLIENT__TRANSFER_S="0.35").content == ANSWER
    assert 0.3 < time.monotonic() - began < 2.0
    assert bed.figures["binance"].retries == 1


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_an_answer_that_is_too_long_is_refused_before_it_is_whole(
    bed: Bed, httpserver: HTTPServer, packed: bool
) -> None:
    body = b'["' + b"0" * 4_000_000 + b'"]'
    step = Response(gzip.compress(body), headers={"Content-Encoding": "gzip"}) if packed else Response(body)
    script = Script(httpserver, step)
    error = bed.refused(CLIENT__MAX_BODY_MB="1")
    assert (error.verdict, len(script.times)) == (Verdict.TOO_LARGE, 1)
    assert str(error) == "binance: answer is longer than 1048576 bytes"
    assert bed.ask(CLIENT__MAX_BODY_MB="4").content == ["0" * 4_000_000]


def test_a_redirect_is_not_followed(bed: Bed, httpserver: HTTPServer) -> None:
    Script(httpserver, bad(302, Location=httpserver.url_for("/y")))
    target = Script(httpserver, good(), path="/y")
    assert bed.refused().verdict == Verdict.FINAL
    assert target.times == []


# Limits, measured at the server


def test_requests_are_spaced(bed: Bed, httpserver: HTTPServer) -> None:
    script = Script(httpserver, good())

    async def scene(client: Client) -> None:
        await asyncio.gather(*(client.ask(UNIT, QUESTION) for _ in range(30)))

    bed.run(scene, BINANCE__REQUESTS_PER_SECOND="20")
    # Twenty at once, then one every 50 ms: the last after half a second. Without a limit all take a tenth of that. The
    # server of a busy machine may note the first one late, so a good part of the half second is left to it.
    assert script.times[-1] - script.times[0] >= 0.3
    assert script.times[-1] - script.times[20] >= 0.25


def test_no_more_requests_than_allowed_are_under_way(bed: Bed, threaded_server: HTTPServer) -> None:
    lock, under_way, seen = threading.Lock(), 0, []

    def slow(asked: Asked) -> Response:
        nonlocal under_way
        with lock:
            under_way += 1
            seen.append(under_way)
        time.sleep(0.03)
        with lock:
            under_way -= 1
        return good()

    Script(threaded_server, slow)
    bed.urls = (threaded_server.url_for("").rstrip("/"),)

    async def scene(client: Client) -> None:
        await asyncio.gather(*(client.ask(UNIT, QUESTION) for _ in range(12)))

    bed.run(scene, BINANCE__CONCURRENCY="3")
    assert max(seen) == 3
    assert len(seen) == 12


# Offline


def test_offline_mode_sends_nothing_elsewhere(bed: Bed, httpserver: HTTPServer) -> None:
    script = Script(httpserver, good())
    bed.urls = (bed.urls[0], "http://198.51.100.7")
    began = time.monotonic()
    with pytest.raises(OfflineError, match=r"binance is at 198\.51\.100\.7"):
        load_and_ask(bed, {"AEGIS_OFFLINE": "1"})
    assert time.monotonic() - began < 0.5
    assert script.times == []
    assert bed.landed == []


def test_offline_mode_does_not_ask_through_a_proxy(
    bed: Bed, httpserver: HTTPServer, threaded_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, threaded_server.url_for("").rstrip("/"))
    direct = Script(httpserver, good())
    proxy = Script(threaded_server, good({"from": "proxy"}), path="/x")
    assert load_and_ask(bed, {"AEGIS_OFFLINE": "1"}).content == ANSWER
    assert (len(direct.times), len(proxy.times)) == (1, 0)
    assert load_and_ask(bed, {}).content == {"from": "proxy"}  # online, the proxy is what the user wants


def load_and_ask(bed: Bed, environment: dict[str, str]) -> Reply:
    settings = load_settings(environment={"AEGIS_SRC__BINANCE__BASE_URL": " ".join(bed.urls), **environment})

    async def play() -> Reply:
        async with Client(settings, bed.raw) as client:
            return await client.ask(UNIT, QUESTION)

    return asyncio.run(play())


def test_a_host_without_settings_is_not_asked(bed: Bed) -> None:
    with pytest.raises(CollectionError, match="no settings for host 'kraken'"):
        bed.ask(Request("kraken", "/x"))
