"""Workers that hang, die, fall behind or are too many: right status each time, no wrong answer, no process left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pytest
import torch
from bundles import bundle_content, clean_environment, market, start
from desks import SMALL, Desk, desk, eventually, is_alive, problem_at
from services import free_port

from aegis_yield.models.bundle import Bundle, bundle_bytes
from aegis_yield.pipelines.decisions import decide_allocation
from aegis_yield.pipelines.predict import Forecaster
from aegis_yield.preprocessing.tables import write_dataset
from aegis_yield.registry.aliases import Why, promote
from api.schemas.decisions import OptimizeRequest

pytestmark = pytest.mark.slow

PROMISED = {"strategies": ["aave", "lido", "delta"], "horizon_days": 7}


@pytest.fixture(scope="module")
def office(tables: Path, tiny_model: Path) -> Iterator[Desk]:
    with desk(tables, tiny_model, waiting=1) as opened:
        yield opened


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def at_work(office: Desk, waiting: int = 0) -> bool:
    return eventually(lambda: (office.pool.status.busy, office.pool.status.waiting) == (1, waiting))


def test_no_process_runs_before_the_first_question(tables: Path, tiny_model: Path) -> None:
    with desk(tables, tiny_model) as fresh:
        assert fresh.client.post("/predict", json=PROMISED).status_code == 200
        assert fresh.pool.status.running == 0
        fresh.warm()
        assert (fresh.pool.status.running, fresh.pool.status.started) == (1, 1)


def test_the_service_loads_no_solver() -> None:
    code = "import sys, api.ml_service; print(*(name for name in ('highspy', 'clarabel') if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == []


def test_forecasts_are_answered_while_a_worker_is_busy(office: Desk, threads: ThreadPoolExecutor) -> None:
    with office.held() as pid:
        under_way = office.later(threads, "/optimize", **SMALL)
        assert at_work(office)
        for _ in range(50):
            assert office.client.post("/predict", json=PROMISED).status_code == 200
        assert not under_way.done()
        os.kill(pid, signal.SIGCONT)
        assert under_way.result().status_code == 200


def test_a_deadline_ends_the_work_and_the_next_question_is_answered(office: Desk) -> None:
    with office.held() as pid:
        document = problem_at(office.post("/optimize", **SMALL, seconds=0.3), 504)
        assert document["detail"].startswith("no answer within 0.3 s: the calculation was stopped")
        assert eventually(lambda: not is_alive(pid))
    assert office.warm() != pid


def test_a_deadline_while_waiting_leaves_the_others_work_alone(office: Desk, threads: ThreadPoolExecutor) -> None:
    with office.held() as pid:
        under_way = office.later(threads, "/optimize", **SMALL)
        assert at_work(office)
        document = problem_at(office.post("/risk", strategies=["aave"], scenarios=20, seconds=0.3), 504)
        assert document["detail"].endswith("no worker became free in that time; nothing was calculated")
        os.kill(pid, signal.SIGCONT)
        assert under_way.result().status_code == 200
    assert office.pool.pids == [pid]


def test_a_full_line_refuses_with_an_estimate_and_loses_nobody(office: Desk, threads: ThreadPoolExecutor) -> None:
    before = office.pool.status.refused
    with office.held() as pid:
        first = office.later(threads, "/optimize", **SMALL)
        assert at_work(office)
        second = office.later(threads, "/risk", strategies=["aave"], scenarios=20)
        assert at_work(office, waiting=1)
        for _ in range(3):
            refusal = office.post("/frontier", **SMALL)
            assert "all workers are busy and 1 request waits" in problem_at(refusal, 429)["detail"]
            assert 1 <= int(refusal.headers["retry-after"]) <= 30
        os.kill(pid, signal.SIGCONT)
        assert [answer.result().status_code for answer in (first, second)] == [200, 200]
    assert office.pool.status.refused == before + 3


def test_a_worker_killed_at_work_is_a_503_and_replaced(office: Desk, threads: ThreadPoolExecutor) -> None:
    with office.held() as pid:
        under_way = office.later(threads, "/optimize", **SMALL)
        assert at_work(office)
        os.kill(pid, signal.SIGKILL)
        refusal = under_way.result()
        assert "the worker that calculated this ended (signal SIGKILL)" in problem_at(refusal, 503)["detail"]
        assert int(refusal.headers["retry-after"]) >= 1
    assert eventually(lambda: office.pool.pids not in ([], [pid]))  # before anybody asks
    assert office.warm() != pid


def test_a_worker_killed_while_idle_is_not_noticed(office: Desk) -> None:
    pid = office.warm()
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: office.pool.pids == [])
    assert office.warm() != pid


def test_signals_meant_for_the_service_leave_its_worker_at_work(office: Desk, threads: ThreadPoolExecutor) -> None:
    with office.held() as pid:
        under_way = office.later(threads, "/optimize", **SMALL)
        assert at_work(office)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            os.kill(pid, number)
        assert under_way.result().status_code == 200


def leave(office: Desk, path: str, body: dict[str, Any], stay_until: Any) -> None:
    """Ask, and hang up before the answer."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", office.client.base_url.port or 0)) as connection:
        connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        assert stay_until()


def test_work_for_a_client_that_is_gone_ends(office: Desk) -> None:
    before = office.pool.status.cancelled
    with office.held() as pid:
        leave(office, "/optimize", SMALL, lambda: at_work(office))
        assert eventually(lambda: not is_alive(pid))
    assert office.pool.status.cancelled == before + 1
    assert office.warm() != pid


def test_a_client_that_leaves_the_line_makes_room(office: Desk, threads: ThreadPoolExecutor) -> None:
    with office.held() as pid:
        under_way = office.later(threads, "/optimize", **SMALL)
        assert at_work(office)
        leave(office, "/optimize", SMALL, lambda: at_work(office, waiting=1))
        assert at_work(office, waiting=0)
        os.kill(pid, signal.SIGCONT)
        assert under_way.result().status_code == 200
    assert office.pool.pids == [pid]


def test_a_worker_is_given_up_when_nobody_asks_and_started_again(tables: Path, tiny_model: Path) -> None:
    with desk(tables, tiny_model, idle_s=0.3) as fresh:
        first = fresh.warm()
        assert eventually(lambda: fresh.pool.status.running == 0)
        assert not is_alive(first)
        assert fresh.warm() != first


def test_a_worker_that_does_not_start_is_a_503_until_it_does(
    tables: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk(tables, tiny_model) as fresh:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/bin/false")
            refusal = fresh.post("/optimize", **SMALL)
            assert "the worker ended while it was loading" in problem_at(refusal, 503)["detail"]
            # Each failure makes the pause before the next start longer: sooner or later a question falls into it.
            again = partial(fresh.post, "/optimize", **SMALL)
            assert eventually(lambda: "the worker does not start" in problem_at(again(), 503)["detail"])
            assert int(refusal.headers["retry-after"]) >= 1
        assert eventually(lambda: fresh.post("/optimize", **SMALL).status_code == 200)


def test_where_nothing_is_loaded_no_worker_is_started(tables: Path, tmp_path: Path) -> None:
    with desk(tables, tmp_path / "missing.pth") as empty:
        document = problem_at(empty.post("/optimize", **SMALL), 503)
        assert "could not be loaded" in document["detail"]
        assert str(tmp_path) not in document["detail"]
        assert empty.pool.status.started == 0


@pytest.fixture
def place(tmp_path: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two models, the first the champion, and tables."""
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    models = tmp_path / "models"
    models.mkdir()
    models.joinpath("lstm_v1.pth").write_bytes(bundle_content())
    other = [{**weights, **_lifted(weights)} for weights in tiny_bundle.model.members]
    lifted = replace(tiny_bundle, model=replace(tiny_bundle.model, members=tuple(other)))
    models.joinpath("lstm_v2.pth").write_bytes(bundle_bytes(lifted))
    promote(models, "lstm_v1", Why("a test"))
    write_dataset(market(), tmp_path / "tables")
    return tmp_path


def _lifted(weights: Any) -> dict[str, torch.Tensor]:
    last = next(name for name, values in weights.items() if tuple(values.shape) == (2,))
    return {last: weights[last] + torch.tensor([1.0, 0.0], dtype=weights[last].dtype)}


def decided(place: Path, version: str) -> dict[str, Any]:
    """What a model decides in this process, less what the clock says."""
    forecaster = Forecaster.open(place / "tables", place / "models" / f"{version}.pth")
    return timeless(decide_allocation(forecaster, OptimizeRequest(**SMALL).options()))


def timeless(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "certificate": {**answer["certificate"], "seconds": 0.0}}


def test_a_promotion_between_questions_moves_every_answer_whole(place: Path, threads: ThreadPoolExecutor) -> None:
    promised = {answer["model_version"]: answer for answer in (decided(place, "lstm_v1"), decided(place, "lstm_v2"))}
    first, second = promised
    assert promised[first]["strategies"] != promised[second]["strategies"]
    with desk(place / "tables", None, watch_s=0.1) as opened:
        pid = opened.warm()
        asked = [opened.later(threads, "/optimize", **SMALL) for _ in range(3)]
        promote(place / "models", "lstm_v2", Why("a test"))
        assert eventually(lambda: opened.client.get("/health/ready").json()["model_version"] == second)
        after = opened.post("/optimize", **SMALL).json()
        answers = [one.result().json() for one in asked]
        assert after["model_version"] == second  # what is served is what decides, at once
        assert opened.pool.pids == [pid]
    for answer in (*answers, after):
        assert timeless(answer) == promised[answer["model_version"]]


def shorten(place: Path) -> None:
    """Take the last day away."""
    whole = market()
    rows = whole.yields.filter(pl.col("date") < whole.last_date)
    write_dataset(type(whole)(rows, whole.strategies, whole.market, ""), place / "tables")


def test_new_tables_are_decided_from_as_soon_as_they_are_served(place: Path) -> None:
    with desk(place / "tables", None, watch_s=0.1) as opened:
        opened.warm()
        shorten(place)
        end = market().last_date.isoformat()
        assert eventually(lambda: opened.client.get("/health/ready").json()["last_date"] < end)
        assert opened.post("/optimize", **SMALL).json()["as_of"] < end


def damage(place: Path) -> None:
    (place / "models" / "lstm_v1.pth").write_bytes(b"garbage " * 1_000)
    (place / "tables" / "yields.parquet").write_bytes(b"half a file")


def replace_model(place: Path) -> None:
    (place / "models" / "lstm_v1.pth").write_bytes((place / "models" / "lstm_v2.pth").read_bytes())


@pytest.mark.parametrize("change", [damage, replace_model, shorten])
def test_a_new_worker_decides_from_what_is_served_though_its_files_are_others(
    place: Path, change: Callable[[Path], None]
) -> None:
    promised = decided(place, "lstm_v1")
    with desk(place / "tables", None, watch_s=0) as opened:
        change(place)
        answer = opened.post("/optimize", **SMALL).json()
        assert answer["model_version"] == opened.client.get("/health/ready").json()["model_version"]
        assert timeless(answer) == promised


def test_real_data_that_is_old_is_said_and_then_refused(place: Path) -> None:
    real = market().yields.with_columns(source=pl.lit("a chain"))
    write_dataset(type(market())(real, market().strategies, market().market, ""), place / "tables")
    model = place / "models" / "lstm_v1.pth"
    with desk(place / "tables", model, max_age_days=100_000) as lenient:
        (warning,) = lenient.post("/optimize", **SMALL).json()["warnings"]
        assert warning.startswith(f"the data ends on {market().last_date}")
    with desk(place / "tables", model) as strict:
        assert "collect newer data" in problem_at(strict.post("/optimize", **SMALL), 503)["detail"]
        assert strict.pool.status.started == 0


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in found for child in path.read_text().split()]


def test_a_worker_ends_with_a_service_that_is_killed(home: Path, tables: Path, tmp_path: Path) -> None:
    port = free_port()
    process = start(["api/ml_service.py"], home, tmp_path, AEGIS_PORT=str(port), AEGIS_DATA=str(tables))
    url = f"http://127.0.0.1:{port}"
    try:
        assert eventually(lambda: answers(url))
        assert httpx2.post(f"{url}/optimize", json=SMALL, timeout=60).status_code == 200
        (worker,) = children_of(process.pid)
        assert is_alive(worker)
    finally:
        process.kill()
        process.communicate(timeout=30)
    assert eventually(lambda: not is_alive(worker))


def test_a_service_that_is_told_to_stop_ends_its_workers_within_seconds(
    home: Path, tables: Path, tmp_path: Path
) -> None:
    port = free_port()
    command = [str(Path(sys.executable).with_name("uvicorn")), "api.ml_service:app", "--port", str(port)]
    environment = clean_environment(home, AEGIS_DATA=str(tables))
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        assert eventually(lambda: answers(url))
        assert httpx2.post(f"{url}/optimize", json=SMALL, timeout=60).status_code == 200
        (worker,) = children_of(process.pid)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
        assert time.monotonic() - began < 10  # a promise, not a speed
    finally:
        process.kill()
    assert not is_alive(worker)
    assert b"Traceback" not in out


def answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/live").status_code == 200
    except httpx2.TransportError:
        return False
