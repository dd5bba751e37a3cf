"""The service as it is started: on real ports, by the documented commands, asked by many at once."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
from bundles import clean_environment, run, start
from services import Service, free_port
from starlette.testclient import TestClient
from test_predict_endpoint import PROMISED

from aegis_yield.pipelines.predict import Forecaster
from api.ml_service import create_app
from api.settings import ServiceSettings


def test_fifty_at_once_get_one_answer(service: Service) -> None:
    with httpx2.Client(base_url=service.url, timeout=60) as client, ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: client.post("/predict", json=PROMISED).text, range(50)))
    assert set(json.loads(answers[0])["predictions"]) == {"aave", "lido", "delta"}
    assert set(answers) == {answers[0]}


def test_many_at_once_with_nothing_remembered_yet(forecaster: Forecaster) -> None:
    cold = Forecaster(forecaster.dataset, forecaster.bundle, "cold", forecaster.names)
    with TestClient(create_app(ServiceSettings(), lambda: cold)) as client, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: client.post("/predict", json=PROMISED).text, range(16)))
    assert len(set(answers)) == 1


def test_model_and_tables_are_loaded_once(service: Service) -> None:
    for path in ("/health/ready", "/strategies", "/health/ready"):
        assert httpx2.get(service.url + path).status_code == 200
    assert service.loader.calls == 1


def test_nothing_is_loaded_before_the_service_starts(forecaster: Forecaster) -> None:
    def load() -> Forecaster:
        loaded.append(1)
        return forecaster

    loaded: list[int] = []
    app = create_app(ServiceSettings(), load)
    assert loaded == []
    with TestClient(app) as client:
        client.get("/health/ready")
    assert loaded == [1]


def test_an_announced_giant_is_refused_before_it_is_sent(service: Service) -> None:
    with posting(service, "content-length", str(10**12)) as connection:
        response = connection.getresponse()
        assert (response.status, response.headers["content-type"]) == (413, "application/problem+json")


def test_a_giant_in_chunks_is_refused_while_it_is_sent(service: Service) -> None:
    with posting(service, "transfer-encoding", "chunked") as connection:
        for _ in range(41):
            connection.send(b"186a0\r\n" + b" " * 100_000 + b"\r\n")
        assert connection.getresponse().status == 413


@contextmanager
def posting(service: Service, header: str, value: str) -> Iterator[http.client.HTTPConnection]:
    """Begin a request whose body is still to come."""
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)) as connection:
        connection.putrequest("POST", "/predict")
        connection.putheader("content-type", "application/json")
        connection.putheader(header, value)
        connection.endheaders()
        yield connection


@contextmanager
def serving(process: subprocess.Popen[str], port: int) -> Iterator[str]:
    """Wait until a process answers on a port; stop it as a supervisor would."""
    url, give_up = f"http://127.0.0.1:{port}", time.monotonic() + 60
    try:
        while not _answers(url) and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/live").status_code == 200
    except httpx2.TransportError:
        return False


def forecasts(url: str) -> None:
    assert httpx2.get(f"{url}/health/ready").json()["model_version"].startswith("lstm_v1-")
    answer = httpx2.post(f"{url}/predict", json=PROMISED, timeout=30).json()
    assert set(answer["predictions"]) == {"aave", "lido", "delta"}


def test_the_script_serves_on_the_port_from_the_environment(home: Path, tables: Path, tmp_path: Path) -> None:
    port = free_port()
    process = start(["api/ml_service.py"], home, tmp_path, AEGIS_PORT=str(port), AEGIS_DATA=str(tables))
    with serving(process, port) as url:
        forecasts(url)


def test_the_command_serves_on_the_port_given(home: Path, tables: Path, tmp_path: Path) -> None:
    port = free_port()
    command = ["-c", "from aegis_yield.cli.app import main; main()", "serve", "--port", str(port)]
    with serving(start(command, home, tmp_path, AEGIS_DATA=str(tables)), port) as url:
        forecasts(url)


def test_a_port_that_is_taken_ends_the_service_with_a_reason(
    home: Path, tables: Path, tmp_path: Path, service: Service
) -> None:
    done = run(["api/ml_service.py"], home, tmp_path, AEGIS_PORT=str(service.port), AEGIS_DATA=str(tables))
    assert done.returncode != 0
    assert "address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_uvicorn_serves_the_app_by_its_name(home: Path, tables: Path, tmp_path: Path) -> None:
    port = free_port()
    command = [str(Path(sys.executable).with_name("uvicorn")), "api.ml_service:app", "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=clean_environment(home, AEGIS_DATA=str(tables)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with serving(process, port) as url:
        forecasts(url)
