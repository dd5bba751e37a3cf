"""A key that is sent is found nowhere afterwards: not in logs, raw answers, errors or the journal."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Bench, local_environment
from indicator_servers import CHART, DAY, chart_body, chart_row, everything_written, in_turn, real_now
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from aegis_yield.collection.settings import load_settings
from aegis_yield.collection.units import Demand
from aegis_yield.utils.project import shipped_file

NOW = real_now()
TODAY = NOW.date()
KEY = "s3cr3t0123456789abcdef0123456789"
GOOD: dict[str, Any] = {
    "fred": {"observations": [{"date": str(TODAY - 2 * DAY), "value": "5.33"}], "count": 1},
    "coingecko": {"prices": [[1_700_006_400_000, 2000.0]]},
    "defillama_yields": chart_body(chart_row(TODAY - 3 * DAY, 3.0)),
}
DEMANDS = {
    "fred": Demand("fred", "observations", "DFF"),
    "coingecko": Demand("coingecko", "market_chart", "ethereum"),
    "defillama_yields": CHART,
}

MakeBench = Callable[..., Bench]


@pytest.fixture
def loud(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything is logged: what the client does against that is its own doing."""
    caplog.set_level(logging.DEBUG)
    names = ("httpx2", "httpcore2", "stamina", "asyncio")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield caplog
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def bench_with_key(make_bench: MakeBench, server: HTTPServer, host: str, sources: Path) -> Bench:
    """A bench whose host has a key and, where the file names one, the paid address that carries the key."""
    local = server.url_for("").rstrip("/")
    shipped = shipped_file("configs/sources.toml", "configs/sources.toml").read_text()
    sources.write_text(shipped.replace("https://pro-api.llama.fi", local))
    bench = make_bench(NOW, TODAY - 30 * DAY)
    environment = local_environment(local) | {f"AEGIS_SRC__{host.upper()}__API_KEY": KEY, "AEGIS_SOURCES": str(sources)}
    if host.startswith("defillama"):
        del environment[f"AEGIS_SRC__{host.upper()}__BASE_URL"]  # it would overrule the paid address
    bench.settings = load_settings(environment=environment)
    return bench


def was_sent(request: Request, host: str) -> bool:
    """Whether the key came with a request, in the place that the source wants it in."""
    return {
        "fred": request.args.get("api_key") == KEY,
        "coingecko": request.headers.get("x-cg-demo-api-key") == KEY,
        "defillama_yields": request.path == f"/{KEY}/yields/chart/{CHART.entity}",
    }[host]


@pytest.mark.parametrize("host", list(DEMANDS))
@pytest.mark.parametrize("fault", ["none", "passing", "final", "ban", "redirect", "shape", "unreadable"])
def test_a_key_is_sent_and_then_found_nowhere(
    make_bench: MakeBench, httpserver: HTTPServer, tmp_path: Path, loud: pytest.LogCaptureFixture, host: str, fault: str
) -> None:
    bench = bench_with_key(make_bench, httpserver, host, tmp_path / "sources.toml")
    echo = f"you came to /{KEY}/x?api_key={KEY}&a=1 with x-cg-demo-api-key: {KEY}"
    headers = {"Location": f"http://127.0.0.1:1/{KEY}?api_key={KEY}", "X-Echo": echo}
    good = GOOD[host]
    answer: Any = {
        "none": good,
        "passing": Response(echo, status=503, headers=headers),
        "final": Response(echo, status=401, headers=headers),
        "ban": Response(echo, status=403, headers=headers),
        "redirect": Response(echo, status=302, headers=headers),
        "shape": {"error_code": 400, "error_message": echo, "status": echo},
        "unreadable": unreadable(good, echo),
    }[fault]
    requests: list[bool] = []
    answers = in_turn(answer, good) if fault == "passing" else in_turn(answer)

    def handle(request: Request) -> Response:
        requests.append(was_sent(request, host))
        return answers(request)

    httpserver.expect_request(re.compile(".*")).respond_with_handler(handle)
    bench.collect([DEMANDS[host]])
    assert requests
    assert all(requests)
    assert bool(bench.failures) == (fault not in ("none", "passing"))
    written = everything_written(bench)
    assert len(list(bench.raw.files())) >= 1
    assert KEY.encode() not in written
    assert (b"***" in written) == (fault != "none" or host != "coingecko")  # something was blotted out
    assert KEY not in loud.text
    assert KEY not in "".join(f"{failure} {failure.reason!r}" for failure in bench.failures)


def unreadable(good: Any, echo: str) -> Any:
    """An answer that passes the first look and breaks its reader, the key in its midst."""
    inner = next(name for name in ("observations", "prices", "data") if name in good)
    return {**good, inner: [echo]}


def test_a_host_that_is_not_there_does_not_give_the_key_away(
    make_bench: MakeBench, httpserver: HTTPServer, tmp_path: Path, loud: pytest.LogCaptureFixture
) -> None:
    bench = bench_with_key(make_bench, httpserver, "defillama_yields", tmp_path / "sources.toml")
    path = tmp_path / "sources.toml"
    path.write_text(path.read_text().replace(httpserver.url_for("").rstrip("/"), "http://127.0.0.1:9"))
    environment = local_environment("http://127.0.0.1:9") | {"AEGIS_SRC__DEFILLAMA_YIELDS__API_KEY": KEY}
    del environment["AEGIS_SRC__DEFILLAMA_YIELDS__BASE_URL"]
    bench.settings = load_settings(path, environment)
    bench.collect([CHART])
    (failure,) = bench.failures
    assert failure.verdict == "transient"
    assert KEY.encode() not in everything_written(bench)
    assert KEY not in loud.text


def test_settings_do_not_show_their_keys(make_bench: MakeBench, httpserver: HTTPServer, tmp_path: Path) -> None:
    bench = bench_with_key(make_bench, httpserver, "defillama_yields", tmp_path / "sources.toml")
    assert KEY in bench.settings.host("defillama_yields").base_urls[0]
    assert KEY not in repr(bench.settings)
