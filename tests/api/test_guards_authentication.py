"""Who is let in: keys, scopes, rotation while the service runs, and no start without a key in the open."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bundles import run
from guarded import Doors, make_doors, opened
from httpx2 import Response
from starlette.testclient import TestClient
from test_predict_endpoint import PROMISED, problem_of

from aegis_yield.domain.errors import AegisError
from aegis_yield.pipelines.keys import create_key, read_keys, revoke_key, rotate_key
from aegis_yield.pipelines.predict import Forecaster
from api.guards.authentication import WRONG_KEYS
from api.ml_service import create_app
from api.settings import LifeSettings, ServiceSettings

OPEN = ("/health/live", "/health/ready", "/docs", "/redoc", "/openapi.json", "/static-offline-docs/swagger-ui.css")
CLOSED = ("/strategies", "/metrics", "/models", "/nothing-here", "/docs//", "/docs/", "/staticx", "/health")
EXPENSIVE = ("/risk", "/optimize", "/frontier")


@pytest.fixture
def doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doors:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    return make_doors(tmp_path / "keys.json")


@pytest.fixture
def locked(doors: Doors, forecaster: Forecaster) -> Iterator[TestClient]:
    with opened(forecaster, {"keys": doors.path}) as client:
        yield client


def refused(response: Response, status: int, error: str | None) -> str:
    detail: str = problem_of(response, status)["detail"]
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="aegis-yield"')
    assert (f'error="{error}"' in challenge) if error else ("error" not in challenge)
    return detail


@pytest.mark.parametrize("path", OPEN)
def test_health_and_documentation_are_open(locked: TestClient, path: str) -> None:
    assert locked.get(path).status_code == 200


@pytest.mark.parametrize("path", CLOSED)
def test_everything_else_asks_for_a_key(locked: TestClient, path: str) -> None:
    assert "send a key as" in refused(locked.get(path), 401, None)


def test_both_ways_to_send_a_key_work(locked: TestClient, doors: Doors) -> None:
    key = doors.keys["read"]
    for headers in (doors.bearer("read"), {"Authorization": f"bearer {key}"}, {"X-API-Key": key}):
        assert locked.post("/predict", json=PROMISED, headers=headers).status_code == 200
        assert locked.get("/strategies", headers=headers).status_code == 200


@pytest.mark.parametrize("path", EXPENSIVE)
def test_reading_does_not_pay_for_optimising(locked: TestClient, doors: Doors, path: str) -> None:
    for way in (path, f"{path}/"):
        response = locked.post(way, json={}, headers=doors.bearer("read"), follow_redirects=False)
        detail = refused(response, 403, "insufficient_scope")
        assert detail == "key: received one of scope 'read', allowed here is scope 'optimize'"
        assert 'scope="optimize"' in response.headers["www-authenticate"]


@pytest.mark.parametrize("scope", ["optimize", "admin"])
def test_a_wider_scope_reads_too(locked: TestClient, doors: Doors, scope: str) -> None:
    assert locked.get("/strategies", headers=doors.bearer(scope)).status_code == 200
    answer = locked.post("/optimize", json={"nonsense": 1}, headers=doors.bearer(scope))
    assert answer.status_code not in (401, 403)  # it came as far as the route


@pytest.mark.parametrize("sent", ["Bearer ", "Bearer aegis_x_y", "Bearer ö", "Bearer aegis", f"Bearer {'x' * 5_000}"])
def test_a_wrong_key_is_refused_without_being_repeated(locked: TestClient, sent: str) -> None:
    response = locked.get("/strategies", headers={"authorization": sent.encode("utf-8")})
    assert "not known here" in refused(response, 401, "invalid_token")
    assert "aegis_x_y" not in response.text


def test_basic_credentials_are_no_key(locked: TestClient) -> None:
    refused(locked.get("/strategies", headers={"authorization": "Basic YTpi"}), 401, None)


def test_who_tries_keys_is_soon_sent_away(locked: TestClient, doors: Doors) -> None:
    def ask(key: str) -> Response:
        return locked.get("/strategies", headers={"x-api-key": key})

    answers = [ask("aegis_x_y") for _ in range(WRONG_KEYS.burst + 20)]
    assert [one.status_code for one in answers[: WRONG_KEYS.burst]] == [401] * WRONG_KEYS.burst
    assert problem_of(next(one for one in answers if one.status_code != 401), 429)
    assert ask(doors.keys["read"]).status_code == 200  # who has a key is not concerned


def eventually(wanted: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + 10
    while not wanted() and time.monotonic() < give_up:
        time.sleep(0.05)
    return wanted()


def test_keys_turn_and_end_while_the_service_runs(locked: TestClient, doors: Doors) -> None:
    def status(key: str) -> int:
        return locked.get("/strategies", headers={"x-api-key": key}).status_code

    _, new = rotate_key(doors.path, "reader", grace_hours=1)
    assert eventually(lambda: status(new) == 200)
    assert status(doors.keys["read"]) == 200
    rotate_key(doors.path, "reader", grace_hours=0)
    assert eventually(lambda: status(new) == 401)
    response = locked.get("/strategies", headers={"x-api-key": new})
    assert "received one that is expired" in refused(response, 401, "invalid_token")
    revoke_key(doors.path, "adminer")
    assert eventually(lambda: status(doors.keys["admin"]) == 401)
    assert "revoked" in locked.get("/strategies", headers={"x-api-key": doors.keys["admin"]}).text
    assert status(doors.keys["optimize"]) == 200


@pytest.mark.parametrize("damage", ["garbage", "absent"])
def test_a_file_that_is_lost_neither_opens_nor_closes_the_service(
    locked: TestClient, doors: Doors, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    doors.path.write_text("{") if damage == "garbage" else doors.path.unlink()
    with caplog.at_level(logging.ERROR):
        assert eventually(lambda: locked.get("/strategies").status_code == 401 and "stay in force" in caplog.text)
    assert locked.get("/strategies", headers=doors.bearer("read")).status_code == 200


def test_a_first_key_closes_a_service_that_was_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forecaster: Forecaster
) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    with opened(forecaster, {}) as client:
        assert client.get("/strategies").status_code == 200
        _, key = create_key(tmp_path / "data" / "service" / "keys.json", "bot", "read")
        assert eventually(lambda: client.get("/strategies").status_code == 401)
        assert client.get("/strategies", headers={"x-api-key": key}).status_code == 200


def test_neither_key_nor_query_reaches_log_or_answer(
    locked: TestClient, doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        wrong = locked.get("/strategies?token=hush", headers={"x-api-key": "aegis_no_secret"}).text
        right = locked.get("/strategies?token=hush", headers=doors.bearer("read")).text
    ours = [record for record in caplog.records if record.name.startswith("aegis_yield")]
    fields = [record.fields for record in ours if hasattr(record, "fields")]
    logged = json.dumps([record.getMessage() for record in ours] + fields)
    assert [one.get("key") for one in fields] == [None, "reader"]
    for secret in ("hush", "aegis_no_secret", *doors.keys.values()):
        assert secret not in logged
    assert all(key not in wrong + right for key in ("aegis_no_secret", *doors.keys.values()))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "desk.example"])
def test_no_start_in_the_open_without_a_usable_key(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doors: Doors
) -> None:
    with pytest.raises(AegisError, match="no usable key; make one with: aegis keys create"):
        create_app(ServiceSettings(host=host))
    locked = ServiceSettings(host=host, service=LifeSettings(keys=doors.path))
    create_app(locked)
    for key in read_keys(doors.path).keys:
        revoke_key(doors.path, key.name)
    with pytest.raises(AegisError, match="no usable key"):
        create_app(locked)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8", "::ffff:127.0.0.1"])
def test_this_machine_alone_needs_no_key(host: str, doors: Doors) -> None:
    create_app(ServiceSettings(host=host))


def test_a_key_file_that_was_asked_for_must_be_there_and_good(doors: Doors, tmp_path: Path) -> None:
    with pytest.raises(AegisError, match=r"AEGIS_SERVICE__KEYS: .*absent\.json: no such file"):
        create_app(ServiceSettings(service=LifeSettings(keys=tmp_path / "absent.json")))
    doors.path.write_text("[]")
    with pytest.raises(AegisError, match="no key file"):
        create_app(ServiceSettings(service=LifeSettings(keys=doors.path)))


@pytest.mark.slow
def test_every_way_to_start_refuses_in_one_line(home: Path, tmp_path: Path) -> None:
    serve = ["-c", "from aegis_yield.cli.app import main; main()", "serve"]
    for command, environment in (
        ([*serve, "--host", "0.0.0.0"], {}),
        (serve, {"AEGIS_HOST": "0.0.0.0"}),
        (["api/ml_service.py"], {"AEGIS_HOST": "0.0.0.0"}),
        (["-m", "uvicorn", "api.ml_service:app"], {"AEGIS_HOST": "0.0.0.0"}),
    ):
        done = run(command, home, tmp_path, **environment)
        assert done.returncode != 0
        assert done.stderr.startswith("error: host 0.0.0.0 can be reached from elsewhere")
        assert done.stderr.count("\n") == 1


def test_the_documentation_says_where_a_key_goes(locked: TestClient) -> None:
    document = locked.get("/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            scopes = [scope for way in operation.get("security", []) for one in way.values() for scope in one]
            wanted = [] if path in OPEN else ["optimize" if path in EXPENSIVE else "read"] * 2
            assert scopes == wanted, path
