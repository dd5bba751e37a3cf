"""What can go wrong between a source and us, over real sockets, shown with a pool's chart."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import re
import time
from collections.abc import Callable
from email.utils import format_datetime

import pytest
from harness import Bench
from indicator_servers import (
    CHART,
    DAY,
    ScriptedServer,
    Step,
    chart_body,
    chart_row,
    everything_written,
    in_turn,
    real_now,
    reset_halfway,
    stall_halfway,
    statuses,
    whole,
)
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from aegis_yield.collection.units import Demand

NOW = real_now()
GOOD = chart_body(*(chart_row(NOW.date() - n * DAY, 3.6) for n in (3, 2, 1, 0)))
HTML = Response("<html><body>Just a moment...</body></html>", mimetype="text/html")
OTHER = Demand("defillama", "chart", "e880e828-ca59-4ec6-8d4f-27182a4dc23d")

MakeBench = Callable[..., Bench]


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench(now=NOW, since=NOW.date() - 10 * DAY)


def serve(server: HTTPServer, *answers: object) -> list[float]:
    """Serve any chart with these answers in turn; return the times at which requests arrive."""
    times: list[float] = []
    handle = in_turn(*answers)

    def timed(request: Request) -> Response:
        times.append(time.monotonic())
        return handle(request)

    server.expect_request("/chart/" + CHART.entity).respond_with_handler(timed)
    return times


def assert_all_there(bench: Bench) -> None:
    assert bench.failures == []
    assert bench.history.latest("pool_days")["apy"].to_list() == pytest.approx([0.036] * 4)


@pytest.mark.parametrize("status", [408, 429, 502, 524])
def test_what_passes_is_asked_again(bench: Bench, httpserver: HTTPServer, status: int) -> None:
    times = serve(httpserver, Response("upstream", status=status), GOOD)
    bench.collect([CHART])
    assert_all_there(bench)
    assert len(times) == 2
    assert (bench.figures["defillama_yields"].retries, bench.figures["defillama_yields"].limited) == (1, status == 429)


def limited(header: str | None) -> Response:
    return Response("slow down", status=429, headers={} if header is None else {"Retry-After": header})


def test_a_retry_after_in_seconds_is_waited_for(bench: Bench, httpserver: HTTPServer) -> None:
    times = serve(httpserver, limited("1"), GOOD)
    bench.collect([CHART])
    assert_all_there(bench)
    assert 0.99 <= times[1] - times[0] < 4.0
    assert bench.figures["defillama_yields"].limited == 1


def test_a_retry_after_as_a_date_is_waited_for(bench: Bench, httpserver: HTTPServer) -> None:
    asked_until: list[float] = []

    def handle(request: Request) -> Response:
        if asked_until:
            return Response(json.dumps(GOOD), mimetype="application/json")
        until = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)).replace(microsecond=0)
        asked_until.append(until.timestamp())
        return limited(format_datetime(until, usegmt=True))

    httpserver.expect_request("/chart/" + CHART.entity).respond_with_handler(handle)
    bench.collect([CHART])
    assert_all_there(bench)
    pages = [page for path in bench.raw.files() if (page := bench.raw.page(path))]
    assert len(pages) == 1
    late_s = pages[0].fetched_at.timestamp() - asked_until[0]
    assert 0.0 <= late_s < 3.0


def test_without_a_retry_after_the_wait_is_our_own(bench: Bench, httpserver: HTTPServer) -> None:
    times = serve(httpserver, limited(None), limited(None), GOOD)
    bench.collect([CHART])
    assert_all_there(bench)
    assert len(times) == 3
    assert bench.figures["defillama_yields"].waited_s < 0.3  # at most 0.02 s and 0.04 s, and some for the gate


@pytest.mark.parametrize("header", ["0", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"])
def test_a_retry_after_that_is_past_does_not_mean_at_once(
    make_bench: MakeBench, httpserver: HTTPServer, header: str
) -> None:
    times = serve(httpserver, limited(header))
    bench = make_bench(NOW, NOW.date() - 10 * DAY, environment={"AEGIS_SRC__CLIENT__BACKOFF_BASE_S": "0.02"})
    bench.collect([CHART])
    assert len(times) == bench.settings.client.attempts
    # Four random waits of up to 0.04, 0.08, 0.16 and 0.32 s: less than 5 ms in all is one case in millions.
    assert bench.figures["defillama_yields"].waited_s > 0.005


def test_while_one_request_waits_the_others_wait_too(bench: Bench, httpserver: HTTPServer) -> None:
    first = serve(httpserver, limited("1"), GOOD)
    others: list[float] = []

    def handle(request: Request) -> Response:
        others.append(time.monotonic())
        time.sleep(0.1)
        return Response(json.dumps(GOOD), mimetype="application/json")

    httpserver.expect_request(re.compile("/chart/other-.*")).respond_with_handler(handle)
    bench.collect([CHART, *(Demand("defillama", "chart", f"other-{n}") for n in range(5))])
    assert bench.failures == []
    waits_s = [arrived - first[0] for arrived in others]
    assert len(waits_s) == 5
    # One may be under way while the host says so; nothing else comes before the second is over.
    assert sum(wait_s < 0.99 for wait_s in waits_s) <= 1


@pytest.mark.parametrize("status", [401, 404, 451])
def test_what_is_final_is_asked_once(bench: Bench, httpserver: HTTPServer, status: int) -> None:
    times = serve(httpserver, Response("no", status=status))
    httpserver.expect_request("/chart/" + OTHER.entity).respond_with_json(GOOD)
    bench.collect([CHART, OTHER])
    (failure,) = bench.failures
    assert (failure.verdict, failure.unit.demand) == ("final", CHART)
    assert f"HTTP {status}" in failure.reason
    assert len(times) == 1
    assert bench.history.latest("pool_days")["pool"].unique().to_list() == [OTHER.entity]


@pytest.mark.parametrize("status", [403, 418])
def test_a_ban_closes_the_host(bench: Bench, httpserver: HTTPServer, status: int) -> None:
    page = Response("<html>Attention Required! | Cloudflare</html>", status=status, mimetype="text/html")
    httpserver.expect_request("/chart/" + CHART.entity).respond_with_response(page)
    demands = [CHART, *(Demand("defillama", "chart", f"pool-{n}") for n in range(20))]
    httpserver.expect_request("/fng/").respond_with_json({"data": [], "metadata": {"error": None}})
    bench.collect([*demands, Demand("fear_greed", "index", "*")])
    assert {failure.verdict for failure in bench.failures} >= {"banned"}
    assert len(bench.failures) == len(demands)
    left_alone = [failure for failure in bench.failures if "left alone" in failure.reason]
    assert len(left_alone) >= len(demands) - 2  # two requests at once may be under way
    assert "Cloudflare" in left_alone[0].reason
    assert sum(request.path.startswith("/chart/") for request, _ in httpserver.log) <= 2
    assert sum(request.path == "/fng/" for request, _ in httpserver.log) == 1


def test_html_in_place_of_json_is_asked_again(bench: Bench, httpserver: HTTPServer) -> None:
    times = serve(httpserver, HTML, GOOD)
    bench.collect([CHART])
    assert_all_there(bench)
    assert len(times) == 2


def test_html_for_ever_fails_and_every_answer_is_kept(bench: Bench, httpserver: HTTPServer) -> None:
    times = serve(httpserver, HTML)
    bench.collect([CHART])
    (failure,) = bench.failures
    assert failure.verdict == "transient"
    assert "Just a moment" in failure.reason
    assert len(times) == bench.settings.client.attempts
    assert len(list(bench.raw.files())) == len(times)
    assert everything_written(bench).count(b"<body>Just a moment...</body>") >= len(times)
    assert statuses(bench) == ["failed"]


@pytest.mark.parametrize("cut", [0, 40, -1])
def test_a_truncated_answer_is_asked_for_again(bench: Bench, httpserver: HTTPServer, cut: int) -> None:
    times = serve(httpserver, Response(json.dumps(GOOD)[:cut], mimetype="application/json"), GOOD)
    bench.collect([CHART])
    assert_all_there(bench)
    assert len(times) == 2


def test_a_compressed_answer_is_read(bench: Bench, httpserver: HTTPServer) -> None:
    body = gzip.compress(json.dumps(GOOD).encode())
    times = serve(httpserver, Response(body, headers={"Content-Encoding": "gzip"}, mimetype="application/json"))
    bench.collect([CHART])
    assert_all_there(bench)
    assert len(times) == 1


def test_an_answer_that_is_not_what_its_encoding_says_is_asked_for_again(bench: Bench, httpserver: HTTPServer) -> None:
    broken = Response(b"not gzip at all", headers={"Content-Encoding": "gzip"})
    times = serve(httpserver, broken, GOOD)
    bench.collect([CHART])
    assert_all_there(bench)
    assert len(times) == 2


@pytest.mark.parametrize("fault", [reset_halfway(GOOD), stall_halfway(GOOD)], ids=["reset", "stall"])
def test_a_body_that_breaks_off_is_asked_for_again(make_bench: MakeBench, fault: Step) -> None:
    with ScriptedServer([fault, whole(GOOD)]) as server:
        bench = make_bench(NOW, NOW.date() - 10 * DAY, environment=pointed_at(server))
        bench.collect([CHART])
        assert server.n_connections == 2
    assert_all_there(bench)
    assert bench.figures["defillama_yields"].retries == 1


def test_a_host_that_never_finishes_fails_in_time(make_bench: MakeBench) -> None:
    with ScriptedServer([stall_halfway(GOOD)]) as server:
        environment = pointed_at(server) | {"AEGIS_SRC__CLIENT__ATTEMPTS": "2"}
        bench = make_bench(NOW, NOW.date() - 10 * DAY, environment=environment)
        began = time.monotonic()
        bench.collect([CHART])
        took_s = time.monotonic() - began
    (failure,) = bench.failures
    assert failure.verdict == "transient"
    assert "ReadTimeout" in failure.reason
    assert 0.4 <= took_s < 4.0


def pointed_at(server: ScriptedServer) -> dict[str, str]:
    return {
        "AEGIS_SRC__DEFILLAMA_YIELDS__BASE_URL": server.url_for(""),
        "AEGIS_SRC__DEFILLAMA_YIELDS__TIMEOUT_S": "0.2",
    }


def test_a_host_that_is_not_there_fails_and_the_others_go_on(make_bench: MakeBench, httpserver: HTTPServer) -> None:
    with ScriptedServer([whole(GOOD)]) as server:
        environment = pointed_at(server)
    bench = make_bench(NOW, NOW.date() - 10 * DAY, environment=environment)  # its server is gone
    httpserver.expect_request("/fng/").respond_with_json({"data": [], "metadata": {"error": None}})
    bench.collect([CHART, Demand("fear_greed", "index", "*")])
    (failure,) = bench.failures
    assert (failure.verdict, failure.unit.demand) == ("transient", CHART)
    assert bench.figures["defillama_yields"].requests == bench.settings.client.attempts


def test_a_failed_unit_is_tried_again_by_the_next_run(bench: Bench, httpserver: HTTPServer) -> None:
    serve(httpserver, *[Response("", status=503)] * bench.settings.client.attempts, GOOD)
    bench.collect([CHART])
    assert statuses(bench) == ["failed"]
    bench.collect([CHART])
    assert_all_there(bench)
    assert statuses(bench) == ["done"]
    assert bench.collect([CHART]) == []  # done for today
