"""The doorway: what may come in where there are no keys, and which names are answered."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import httpx2
import pytest
from bundles import CHECKOUT, start
from guarded import LOOPBACK, make_doors, opened
from processes import eventually
from services import free_port
from test_predict_endpoint import PROMISED, problem_of

from aegis_yield.pipelines.keys import create_key
from aegis_yield.pipelines.predict import Forecaster

ABROAD = "http://192.0.2.7:5000"


@pytest.fixture(autouse=True)
def no_keys_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))


def test_without_keys_other_machines_are_refused_wherever_the_server_listens(forecaster: Forecaster) -> None:
    with opened(forecaster, {}, ABROAD) as client:
        for path in ("/strategies", "/docs", "/", "/openapi.json"):
            assert "make one there: aegis keys create" in problem_of(client.get(path), 403)["detail"]
        problem_of(client.post("/predict", json=PROMISED), 403)
        assert client.get("/health/live").status_code == 200  # a supervisor's probe


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_without_keys_a_proxy_does_not_open_it_either(forecaster: Forecaster, header: str) -> None:
    with opened(forecaster, {}) as client:
        detail = problem_of(client.get("/strategies", headers={header: "for=192.0.2.1"}), 403)["detail"]
        assert "forwarded by a proxy" in detail


def test_with_keys_others_may_ask(forecaster: Forecaster, tmp_path: Path) -> None:
    doors = make_doors(tmp_path / "keys.json")
    with opened(forecaster, {"keys": doors.path}, ABROAD) as client:
        headers = {**doors.bearer("read"), "X-Forwarded-For": "198.51.100.1", "Host": "desk.example"}
        assert client.get("/strategies", headers=headers).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:5000", "localhost:5000", "LOCALHOST", "[::1]:5000", ""])
def test_this_machines_names_are_answered(forecaster: Forecaster, host: str) -> None:
    with opened(forecaster, {}) as client:
        assert client.get("/strategies", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:5000", "[::2]", "::1"]
)
def test_a_name_that_was_made_to_point_here_is_not(forecaster: Forecaster, host: str) -> None:
    with opened(forecaster, {}) as client:
        for path in ("/strategies", "/health/live", "/"):
            assert "ALLOWED_HOSTS" in problem_of(client.get(path, headers={"Host": host}), 421)["detail"]


def test_names_can_be_allowed(forecaster: Forecaster, tmp_path: Path) -> None:
    doors = make_doors(tmp_path / "keys.json")
    life = {"keys": doors.path, "allowed_hosts": ("desk.example", "*.aegis.example")}
    with opened(forecaster, life, ABROAD) as client:
        for host, status in (
            ("desk.example", 200), ("DESK.example:443", 200), ("a.aegis.example", 200), ("aegis.example", 421),
            ("a.b.aegis.example", 421), ("192.0.2.7:5000", 421), ("localhost", 421), ("", 421),
        ):  # fmt: skip
            assert client.get("/health/live", headers={"Host": host}).status_code == status, host
    with opened(forecaster, life, LOOPBACK) as client:
        assert client.get("/health/live").status_code == 200  # a probe on the same machine


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": LOOPBACK}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:8000"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://desk.example"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_a_foreign_page_cannot_make_a_browser_ask(forecaster: Forecaster, headers: dict[str, str], status: int) -> None:
    with opened(forecaster, {}) as client:
        assert client.post("/predict", json=PROMISED, headers=headers).status_code == status
        assert client.get("/strategies", headers=headers).status_code == 200  # its answer stays unread by the page


def test_foreign_pages_are_off_unless_set(forecaster: Forecaster) -> None:
    asking = {"Origin": "https://desk.example", "Access-Control-Request-Method": "POST"}
    with opened(forecaster, {}) as client:
        assert client.options("/predict", headers=asking).status_code == 405
        assert "access-control-allow-origin" not in client.get("/strategies", headers=asking).headers
    with opened(forecaster, {"cors_origins": ("https://desk.example",)}) as client:
        allowed = client.options("/predict", headers=asking)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://desk.example")
        assert client.post("/predict", json=PROMISED, headers=asking).status_code == 200
        other = client.options("/predict", headers={**asking, "Origin": "https://evil.example"})
        assert other.status_code == 400
        assert "access-control-allow-origin" not in other.headers


def test_a_foreign_page_reads_why_it_was_refused(forecaster: Forecaster, tmp_path: Path) -> None:
    doors = make_doors(tmp_path / "keys.json")
    with opened(forecaster, {"keys": doors.path, "cors_origins": ("https://desk.example",)}) as client:
        answer = client.get("/strategies", headers={"Origin": "https://desk.example"})
        problem_of(answer, 401)
        assert answer.headers["access-control-allow-origin"] == "https://desk.example"


def own_address() -> str:
    """This machine's address towards others; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            pytest.skip("this machine has no address but loopback")


def test_a_server_that_listens_everywhere_answers_only_this_machine_until_there_is_a_key(
    home: Path, tables: Path, tmp_path: Path
) -> None:
    """The documented command: only the connection says where it listens, and limits come from the protocol."""
    address, port, key_file = own_address(), free_port(), tmp_path / "none-yet" / "data" / "service" / "keys.json"
    (tmp_path / "none-yet" / "models").mkdir(parents=True)
    shutil.copy(home / "models" / "lstm_v1.pth", tmp_path / "none-yet" / "models")
    command = ["-m", "uvicorn", "api.ml_service:app", "--host", "0.0.0.0", "--port", str(port)]
    process = start(
        [*command, "--http", "api.guards.connections:Guarded"], tmp_path / "none-yet", CHECKOUT, AEGIS_DATA=str(tables)
    )
    try:
        assert eventually(lambda: reached("127.0.0.1", port, "/health/ready") == 200, 60)
        assert reached("127.0.0.1", port, "/strategies") == 200
        assert reached(address, port, "/strategies") == 403
        _, key = create_key(key_file, "bot", "read")
        assert eventually(lambda: reached(address, port, "/strategies") == 401)
        assert reached(address, port, "/strategies", {"X-API-Key": key}) == 200
        assert reached("127.0.0.1", port, "/strategies") == 401
    finally:
        process.terminate()
        _, log = process.communicate(timeout=30)
    assert '"logger": "aegis_yield.access"' in log
    assert key not in log


def reached(host: str, port: int, path: str, headers: dict[str, str] | None = None) -> int:
    try:
        return httpx2.get(f"http://{host}:{port}{path}", headers=headers, timeout=20).status_code
    except httpx2.TransportError:
        return 0
