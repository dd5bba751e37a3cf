"""Faults of clients, against a real process: a thousand slow ones, giants, and a stop while all of them hang on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from guarded import answer_in, connected, heard, problem_in
from processes import Running, eventually, running
from test_predict_endpoint import PROMISED, problem_of

pytestmark = pytest.mark.slow

N_SLOW = 1_000
PATIENCE_S = 4.0
DRAINED_S = 10.0
HEAD = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.fixture
def options(home: Path, tables: Path, tmp_path: Path) -> dict[str, Any]:
    patience = {f"AEGIS_SERVICE__{name}_TIMEOUT_S": str(PATIENCE_S) for name in ("HEADER", "BODY")}
    return {"home": home, "log_path": tmp_path / "log", "AEGIS_DATA": str(tables), **patience}


@pytest.fixture
def service(options: dict[str, Any]) -> Iterator[Running]:
    with running(**options) as found:
        yield found


def predict(service: Running) -> httpx2.Response:
    return httpx2.post(f"{service.url}/predict", json=PROMISED, timeout=20)


def test_a_thousand_slow_clients_hold_nobody_up(service: Running) -> None:
    wanted = predict(service).json()
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(service.port)) for _ in range(N_SLOW)]
        for number, connection in enumerate(slow):
            connection.sendall(HEAD if number % 2 else HEAD + b"Content-Length: 100\r\n\r\n{")
        for _ in range(20):
            answer = predict(service)
            assert (answer.status_code, answer.json()) == (200, wanted)
        said = [heard(connection) for connection in slow]
    cut = [text for text in said if text]
    assert len(cut) >= N_SLOW * 0.9  # all but those that made room for others
    for text in cut:
        problem_in(text, 408)
    assert predict(service).json() == wanted


def test_giants_are_refused_and_leave_nothing_behind(service: Running) -> None:
    giant = b"x" * 50_000_000
    predict(service)
    before_mb = service.memory_mb
    for _ in range(3):
        with httpx2.Client(base_url=service.url, timeout=60) as client:
            problem_of(client.post("/predict", content=giant), 413)
            problem_of(client.post("/predict", content=(giant[:100_000] for _ in range(500))), 413)
    assert predict(service).status_code == 200
    assert service.memory_mb - before_mb < 50


def test_lists_and_numbers_beyond_all_bounds_are_a_clients_problem(service: Running) -> None:
    bodies: list[dict[str, Any]] = [
        {"strategies": ["x"] * 200_000},
        {"strategies": ["x" * 3_000_000]},
        {"strategies": ["aave"], "horizon_days": 1e308},
        {"strategies": ["aave"], "horizon_days": 10**400},
        {"strategies": [[["aave"]]]},
    ]
    for body in bodies:
        answer = httpx2.post(f"{service.url}/predict", content=json.dumps(body), timeout=20,
                             headers={"content-type": "application/json"})  # fmt: skip
        assert answer.status_code in (413, 422)
        assert len(answer.content) < 20_000
    deep = b'{"strategies": ' + b"[" * 900_000 + b"]" * 900_000 + b"}"
    answer = httpx2.post(
        f"{service.url}/predict", content=deep, timeout=20, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 413, 422)
    assert predict(service).status_code == 200


def test_a_stop_lets_requests_end_and_takes_no_new_ones(options: dict[str, Any]) -> None:
    with running(**options) as service, ExitStack() as stack:
        idle = stack.enter_context(connected(service.port))
        idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert answer_in(idle.recv(65_536))[0] == 200
        body = json.dumps(PROMISED).encode()
        late = stack.enter_context(connected(service.port))  # half asked when the stop comes
        late.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:10])
        assert eventually(lambda: service.is_ready())
        took: list[float] = []
        stopping = threading.Thread(target=lambda: took.append(service.stop()))
        stopping.start()
        assert heard(idle) == b""
        late.sendall(body[10:])
        status, _, text = answer_in(heard(late))
        assert status == 200
        assert set(json.loads(text)["predictions"]) == set(PROMISED["strategies"])
        stopping.join(30)
    assert took[0] < DRAINED_S
    assert service.process.returncode == -15
    assert not service.is_ready()


def test_a_stop_does_not_wait_for_clients_that_hang_on(options: dict[str, Any]) -> None:
    options |= {"AEGIS_SERVICE__BODY_TIMEOUT_S": "60", "AEGIS_SERVICE__HEADER_TIMEOUT_S": "60"}
    with running(**options) as service, ExitStack() as stack:
        for number in range(60):
            connection = stack.enter_context(connected(service.port))
            connection.sendall(HEAD if number % 2 else HEAD + b"Content-Length: 100\r\n\r\n{")
        time.sleep(0.5)
        assert service.stop() < DRAINED_S
    assert "Traceback" not in "".join(line.get("exception", "") for line in service.log if line["logger"] == "uvicorn")


def test_an_answer_that_takes_too_long_is_a_504(options: dict[str, Any]) -> None:
    with running(**options, AEGIS_SERVICE__TIME_LIMIT_S="0.05") as service:
        question = {"strategies": ["aave", "lido", "delta"], "explain": True, "horizon_days": 29}
        answer = httpx2.post(f"{service.url}/predict", json=question, timeout=20)
        problem_of(answer, 504)
        assert service.is_ready()
