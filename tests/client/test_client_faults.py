"""The client against servers that fail: busy, gone, slow, cut off in the middle, talking nonsense."""

from __future__ import annotations

import asyncio
import datetime as dt
import email.utils
import json
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from services import free_port
from werkzeug import Request, Response

from aegis_yield.client import (
    AsyncClient,
    Client,
    DamagedAnswerError,
    RefusedError,
    Retries,
    ServiceError,
    UnreachableError,
)
from aegis_yield.client.lines import MAX_LINE_BYTES, LineReader
from aegis_yield.client.parsing import MisfitError, decode
from aegis_yield.client.policy import retry_after_s
from aegis_yield.domain.errors import AegisError, RequestError

KEY = "aegis_secret_0123456789"
READY = {
    "status": "ready", "model_version": "lstm_v1", "data": "small", "simulated": True, "n_strategies": 12,
    "last_date": "2025-09-30", "data_age_days": 1,
}  # fmt: skip
PREDICTION = {
    "apy": 0.05, "volatility": 0.1, "confidence_interval": {"level": 0.9, "lower": 0.04, "upper": 0.06},
    "strategy_id": "a:b:c", "category": "lending", "last_apy": 0.05, "as_of": "2025-09-30", "data_age_days": 1,
    "horizon_days": 7,
}  # fmt: skip
END = {"end": True, "count": 2, "horizon_days": 7, "model_version": "m", "simulated": True, "notes": []}
PROBLEM = "application/problem+json"
QUICK = Retries(attempts=3, first_wait_s=0.01, longest_wait_s=0.02, budget_s=5.0)


def lines(*contents: Any) -> bytes:
    return b"".join(json.dumps(content).encode() + b"\n" for content in contents)


ONE, TWO = ({"name": name, "prediction": PREDICTION} for name in ("one", "two\u2028\x85"))


class Script:
    """Answers one after the other; the last one again and again."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.times: list[float] = []
        self.keys: list[str | None] = []

    def __call__(self, request: Request) -> Response:
        self.times.append(time.monotonic())
        self.keys.append(request.headers.get("Authorization"))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def refusal(status: int, **headers: str) -> Response:
    body = {"type": "about:blank", "title": "No", "status": status, "detail": f"no: {status}", "request_id": "r-1"}
    return Response(json.dumps(body), status, {key.replace("_", "-"): value for key, value in headers.items()}, PROBLEM)


def good(content: Any = READY) -> Response:
    return Response(json.dumps(content), 200, content_type="application/json")


def script(server: HTTPServer, path: str, *answers: Response) -> Script:
    play = Script(*answers)
    server.expect_request(path).respond_with_handler(play)
    return play


@pytest.mark.parametrize("status", [429, 503])
def test_what_passes_is_tried_again(httpserver: HTTPServer, faulty: Client, status: int) -> None:
    play = script(httpserver, "/health/ready", refusal(status), refusal(status), good())
    assert faulty.ready().status == "ready"
    assert len(play.times) == 3


def test_tries_come_to_an_end(httpserver: HTTPServer, faulty: Client) -> None:
    play = script(httpserver, "/health/ready", refusal(503))
    with pytest.raises(RefusedError, match="no: 503") as caught:
        faulty.ready()
    assert len(play.times) == 3
    assert (caught.value.status, caught.value.request_id) == (503, "r-1")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500, 504])
def test_what_stays_so_is_not_tried_again(httpserver: HTTPServer, faulty: Client, status: int) -> None:
    play = script(httpserver, "/risk", refusal(status))
    with pytest.raises(RefusedError) as caught:
        faulty.risk(strategies=["aave"])
    assert (len(play.times), caught.value.status) == (1, status)


def test_the_service_says_how_long_to_wait(httpserver: HTTPServer, faulty: Client) -> None:
    play = script(httpserver, "/health/ready", refusal(429, Retry_After="1"), good())
    faulty.ready()
    assert play.times[1] - play.times[0] >= 1.0


def test_who_is_told_to_wait_too_long_is_told_so_at_once(httpserver: HTTPServer, faulty: Client) -> None:
    play = script(httpserver, "/health/ready", refusal(503, Retry_After="3600"))
    with pytest.raises(RefusedError):
        faulty.ready()
    assert len(play.times) == 1


def test_a_time_to_come_back_is_understood() -> None:
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=100)
    assert retry_after_s({"retry-after": email.utils.format_datetime(soon, usegmt=True)}) == pytest.approx(100, abs=5)
    assert retry_after_s({"retry-after": "Mon, 01 Jan 2024 00:00:00 GMT"}) == 0.0
    assert retry_after_s({"retry-after": "7"}) == 7.0
    assert [retry_after_s({"retry-after": text}) for text in ("", "-1", "soon", "1e9", "²")] == [None] * 5
    assert retry_after_s({}) is None


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(f"http://127.0.0.1:{free_port()}", retries=QUICK)
    with client, pytest.raises(UnreachableError, match="GET /health/ready") as caught:
        client.ready()
    assert caught.value.status is None


@contextmanager
def scripted(*answers: bytes) -> Iterator[tuple[str, list[int]]]:
    """A server below HTTP: each connection gets the next bytes, then the end; what it counts are connections."""
    seen: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65_536)
                    seen.append(len(answer))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=10)


def head(kind: str, *extra: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Type: {kind}", *extra, "", ""]).encode()


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def test_a_connection_that_was_cut_is_tried_again() -> None:
    body = json.dumps(READY).encode()
    whole = head("application/json", f"Content-Length: {len(body)}", "Connection: close") + body
    with scripted(b"", whole[:-9], whole) as (url, seen), Client(url, retries=QUICK) as client:
        assert client.ready().n_strategies == 12
        assert len(seen) == 3


def test_a_server_that_does_not_answer_is_given_up_once(httpserver: HTTPServer) -> None:
    def slow(request: Request) -> Response:
        time.sleep(1.0)
        return good()

    httpserver.expect_request("/health/ready").respond_with_handler(slow)
    with (
        Client(httpserver.url_for(""), timeout_s=0.2, retries=QUICK) as client,
        pytest.raises(UnreachableError, match="in time"),
    ):
        client.ready()
    httpserver.check()
    assert len(httpserver.log) <= 1


@pytest.mark.parametrize("is_ended_politely", [True, False])
def test_a_stream_that_is_cut_raises(is_ended_politely: bool) -> None:
    """Whether the connection breaks or the server ends it as if all was well: the last line is missing."""
    content = head("application/x-ndjson", "Transfer-Encoding: chunked") + chunk(lines(ONE)) + chunk(lines(TWO)[:30])
    content += chunk(b"")[:5] if is_ended_politely else b""
    got = []
    with scripted(content) as (url, _), Client(url, retries=QUICK) as client:
        with client.stream(["one", "two"]) as stream, pytest.raises(DamagedAnswerError, match="cut off after 1"):
            got.extend(name for name, _ in stream)
        assert got == ["one"]
        assert stream.end is None


def test_an_asynchronous_stream_that_is_cut_raises() -> None:
    content = head("application/x-ndjson", "Transfer-Encoding: chunked") + chunk(lines(ONE))

    async def ask(url: str) -> list[str]:
        got: list[str] = []
        async with AsyncClient(url, retries=QUICK) as client, await client.stream(["one", "two"]) as stream:
            pairs = aiter(stream)
            got.append((await anext(pairs))[0])
            with pytest.raises(DamagedAnswerError, match="cut off after 1"):
                await anext(pairs)
        return got

    with scripted(content) as (url, _):
        assert asyncio.run(ask(url)) == ["one"]


def test_the_asynchronous_client_tries_again(httpserver: HTTPServer) -> None:
    play = script(httpserver, "/health/ready", refusal(429, Retry_After="1"), good())

    async def ask() -> str:
        async with AsyncClient(httpserver.url_for(""), retries=QUICK) as client:
            return (await client.ready()).status

    assert asyncio.run(ask()) == "ready"
    assert play.times[1] - play.times[0] >= 1.0


def test_a_stream_is_tried_again_before_it_begins(httpserver: HTTPServer, faulty: Client) -> None:
    whole = Response(lines(ONE, TWO, END), 200, content_type="application/x-ndjson")
    play = script(httpserver, "/predict", refusal(503), whole)
    with faulty.stream(["one", "two"]) as stream:
        assert [name for name, _ in stream] == ["one", "two\u2028\x85"]
    assert len(play.times) == 2


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_lines_are_found_wherever_they_are_torn(size: int) -> None:
    content, reader = lines(ONE, TWO, END), LineReader()
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    assert [name for piece in pieces for name, _ in reader.feed(piece)] == ["one", "two\u2028\x85"]
    assert reader.close().count == 2


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (lines(ONE, TWO), "last line is missing"),
        (lines(ONE, TWO, END)[:-1], "last line is missing"),
        (lines(ONE, END), "2 forecasts announced, 1 received"),
        (lines(ONE, TWO, END, ONE), "after the last one"),
        (lines(ONE) + b"\n" + lines(TWO, END), "expected JSON"),
        (lines({"name": "one"}), "a name and its prediction"),
        (lines({"name": "one", "prediction": {**PREDICTION, "apy": "5 %"}}), r"line 1: apy: expected a number"),
        (lines(["one"]), "a name and its prediction"),
        (b"x" * (MAX_LINE_BYTES + 1), "a line of more than"),
        (b"", "last line is missing"),
    ],
)
def test_damaged_lines_are_no_forecasts(content: bytes, fault: str) -> None:
    reader = LineReader("r-9")
    with pytest.raises(DamagedAnswerError, match=fault) as caught:
        _ = [*reader.feed(content), reader.close()]
    assert caught.value.request_id == "r-9"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("", "expected JSON"),
        ("{", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ("[]", "expected an object"),
        (json.dumps({**READY, "n_strategies": "12"}), "n_strategies: expected a whole number, received '12'"),
        (json.dumps({**READY, "n_strategies": True}), "n_strategies"),
        (json.dumps({**READY, "simulated": 1}), "simulated: expected true or false"),
        (json.dumps({**READY, "last_date": "yesterday"}), "last_date: expected a day"),
        (json.dumps({**READY, "warnings": "old"}), "warnings: expected a list"),
        (json.dumps({name: READY[name] for name in READY if name != "data"}), "data: expected a value"),
    ],
)
def test_nonsense_is_named(httpserver: HTTPServer, faulty: Client, body: str, fault: str) -> None:
    answer = Response(body, 200, {"X-Request-Id": "r-7"}, content_type="application/json")
    play = script(httpserver, "/health/ready", answer)
    with pytest.raises(DamagedAnswerError, match=fault) as caught:
        faulty.ready()
    assert (len(play.times), caught.value.request_id) == (1, "r-7")


def test_what_cannot_be_unpacked_is_damaged(httpserver: HTTPServer, faulty: Client) -> None:
    lie = Response(b"not packed", 200, {"Content-Encoding": "gzip"}, content_type="application/json")
    play = script(httpserver, "/health/ready", lie)
    with pytest.raises(DamagedAnswerError, match="unpacked"):
        faulty.ready()
    assert len(play.times) == 1


def test_a_large_batch_that_is_cut_is_no_answer(httpserver: HTTPServer, faulty: Client) -> None:
    cut = Response(lines(ONE), 200, {"X-Request-Id": "r-3"}, content_type="application/x-ndjson")
    script(httpserver, "/predict", cut)
    with pytest.raises(DamagedAnswerError, match="cut off after 1") as caught:
        faulty.predict(["one", "two"] * 1_000)
    assert caught.value.request_id == "r-3"


def test_the_asynchronous_client_says_when_nobody_is_there() -> None:
    async def ask() -> None:
        async with AsyncClient(f"http://127.0.0.1:{free_port()}", retries=QUICK) as client:
            with pytest.raises(UnreachableError):
                await client.ready()
            with pytest.raises(UnreachableError):
                await client.stream(["aave"])

    asyncio.run(ask())


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
def test_a_timeout_is_a_time(timeout_s: float) -> None:
    with pytest.raises(RequestError, match="timeout_s"):
        Client(timeout_s=timeout_s)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}'])
def test_numbers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(MisfitError):
        decode(text)


def test_new_members_do_no_harm(httpserver: HTTPServer, faulty: Client) -> None:
    script(httpserver, "/health/ready", good({**READY, "moon_phase": "full"}))
    assert faulty.ready().status == "ready"


@pytest.mark.parametrize("status", [200, 302, 502])
def test_a_page_is_no_answer(httpserver: HTTPServer, faulty: Client, status: int) -> None:
    """A proxy's page, a login form, a redirect: an error whatever its status."""
    page = Response("<html>", status, {"Location": "/login"}, content_type="text/html")
    script(httpserver, "/health/ready", page)
    with pytest.raises(ServiceError) as caught:
        faulty.ready()
    assert caught.value.status == status
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("detail", [None, 7, "", "two\nlines"])
def test_a_strange_problem_document_is_still_an_error(httpserver: HTTPServer, faulty: Client, detail: Any) -> None:
    script(httpserver, "/health/ready", Response(json.dumps({"detail": detail}), 404, content_type=PROBLEM))
    with pytest.raises(RefusedError) as caught:
        faulty.ready()
    assert len(str(caught.value).splitlines()) == 1


def test_the_key_is_sent_and_never_shown(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    play = script(httpserver, "/health/ready", good())
    gone = f"http://127.0.0.1:{free_port()}"
    with Client(httpserver.url_for(""), key=KEY) as given, Client(gone, key=KEY, retries=QUICK) as lost:
        given.ready()
        with pytest.raises(UnreachableError) as caught:
            lost.ready()
        shown = [
            repr(given),
            repr(caught.value),
            str(caught.value),
            repr(vars(caught.value)),
            repr(given._core.address),
        ]
    monkeypatch.setenv("AEGIS_API_KEY", KEY)
    with Client(httpserver.url_for("")) as found:
        found.ready()
        shown.append(repr(found))
    with Client(httpserver.url_for(""), key="another") as other:
        other.ready()
    assert play.keys == [f"Bearer {KEY}", f"Bearer {KEY}", "Bearer another"]
    assert [text for text in shown if "secret" in text] == []


@pytest.mark.parametrize("key", ["", "two words", "a\r\nX-Admin: 1", "schlüssel", "x" * 501])
def test_a_key_that_no_header_can_carry_is_refused_unshown(key: str) -> None:
    with pytest.raises(RequestError) as caught:
        Client(key=key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:5000", "ftp://host", "http://", "http://me:secret@host", "http://h/?k=secret"]
)
def test_addresses_that_cannot_be_used_are_refused(url: str) -> None:
    with pytest.raises(RequestError, match="base_url") as caught:
        Client(url)
    assert "secret" not in str(caught.value)


def test_a_folder_in_the_address_is_kept(httpserver: HTTPServer) -> None:
    script(httpserver, "/yield/health/ready", good())
    with Client(httpserver.url_for("/yield/")) as client:
        assert client.ready().status == "ready"


@pytest.mark.parametrize("bad", [{"attempts": 0}, {"budget_s": -1.0}])
def test_retries_have_bounds(bad: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        Retries(**bad)


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_what_json_cannot_say_is_not_sent(faulty: Client, value: Any) -> None:
    with pytest.raises(RequestError, match="request"):
        faulty.optimize(capital_usd=value)
    with pytest.raises(RequestError, match="strategies"):
        faulty.predict("aave")


@pytest.mark.parametrize(
    "error",
    [
        ServiceError("a", 1, "r"),
        RefusedError("no such", 422, "r-1", {"conflict": ["max_share"]}),
        UnreachableError("gone"),
        DamagedAnswerError("cut", request_id="r-2"),
    ],
)
def test_errors_survive_pickling_and_belong_to_the_tree(error: ServiceError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))
    assert isinstance(error, AegisError)
    assert isinstance(error, RuntimeError)
