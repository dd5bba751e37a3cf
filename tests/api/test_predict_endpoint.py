"""``POST /predict`` as promised, and every way to ask for it wrongly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from bundles import market
from httpx2 import Response
from services import forecast_among_all
from starlette.testclient import TestClient

from aegis_yield.pipelines.predict import Forecaster, Question, to_json
from api.ml_service import create_app
from api.settings import ServiceSettings

PROMISED = {"strategies": ["aave", "lido", "delta"], "horizon_days": 7}
IDS = {"aave": "aave-v3:ethereum:usdc", "lido": "lido:ethereum:steth", "delta": "delta-neutral:binance:eth"}


def problem_of(response: Response, status: int) -> dict[str, Any]:
    """Check that a response is a problem document and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert {"title", "status", "detail"} <= set(document)
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert "Traceback" not in response.text
    return document


def test_the_promised_request_gets_the_promised_answer(client: TestClient) -> None:
    response = client.post("/predict", json=PROMISED)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    predictions = response.json()["predictions"]
    assert list(predictions) == ["aave", "lido", "delta"]
    for name, prediction in predictions.items():
        assert isinstance(prediction["apy"], float)
        assert isinstance(prediction["volatility"], float)
        assert prediction["strategy_id"] == IDS[name]


def test_the_answer_is_what_the_forecaster_says(client: TestClient, forecaster: Forecaster) -> None:
    assert client.post("/predict", json=PROMISED).json() == to_json(forecast_among_all(forecaster, list(IDS)))


def test_who_else_is_asked_for_moves_no_forecast(client: TestClient, forecaster: Forecaster) -> None:
    together = client.post("/predict", json=PROMISED).json()["predictions"]
    for name in IDS:
        alone = client.post("/predict", json={**PROMISED, "strategies": [name]}).json()["predictions"]
        assert alone[name] == together[name]
        (asked,) = forecaster.ask(Question([name], 7)).rows
        assert together[name]["apy"] == pytest.approx(asked.apy, abs=1e-6)
        assert together[name]["confidence_interval"]["upper"] == pytest.approx(asked.high, abs=1e-6)


def test_further_fields_say_how_sure_and_from_when(client: TestClient) -> None:
    answer = client.post("/predict", json={**PROMISED, "level": 0.8}).json()
    aave = answer["predictions"]["aave"]
    interval = aave["confidence_interval"]
    assert interval["level"] == 0.8
    assert interval["lower"] <= aave["apy"] <= interval["upper"]
    assert aave["as_of"] == market().last_date.isoformat()
    assert (aave["horizon_days"], answer["horizon_days"], answer["simulated"]) == (7, 7, True)
    assert answer["model_version"] == "lstm_v1-test"
    assert any("SIMULATED" in note for note in answer["notes"])


def test_horizon_and_level_have_defaults(client: TestClient) -> None:
    answer = client.post("/predict", json={"strategies": ["aave"]}).json()
    assert answer["horizon_days"] == 7
    assert answer["predictions"]["aave"]["confidence_interval"]["level"] == 0.9


def test_ids_and_aliases_are_answered_by_the_names_asked_for(client: TestClient) -> None:
    answer = client.post("/predict", json={"strategies": [IDS["aave"], "AAVE"], "horizon_days": 1}).json()
    by_id, by_alias = (answer["predictions"][name] for name in (IDS["aave"], "AAVE"))
    assert by_id == by_alias


@pytest.mark.parametrize("horizon", [1, 30, 7.0])
def test_whole_horizons_up_to_both_ends_are_allowed(client: TestClient, horizon: float) -> None:
    assert client.post("/predict", json={"strategies": ["aave"], "horizon_days": horizon}).status_code == 200


@pytest.mark.parametrize("level", [0.5, 0.98])
def test_the_ends_of_the_level_are_allowed(client: TestClient, level: float) -> None:
    assert client.post("/predict", json={"strategies": ["aave"], "level": level}).status_code == 200


def test_an_unknown_strategy_is_not_found_and_the_closest_are_named(client: TestClient) -> None:
    document = problem_of(client.post("/predict", json={"strategies": ["aave", "lidoo"]}), 404)
    assert document["detail"] == "unknown strategy 'lidoo'; closest names: lido"


def test_a_strategy_with_too_little_history_is_a_clients_problem(forecaster: Forecaster) -> None:
    young = (pl.col("strategy_id") != IDS["lido"]) | (pl.col("date") > market().last_date - pl.duration(days=9))
    short = replace(forecaster, dataset=replace(market(), yields=market().yields.filter(young)))
    with TestClient(create_app(ServiceSettings(), lambda: short)) as client:
        document = problem_of(client.post("/predict", json={"strategies": ["lido"]}), 422)
    assert "too little history, received 9 rows" in document["detail"]


@pytest.mark.parametrize(
    ("field", "value", "received", "allowed"),
    [
        ("horizon_days", 0, "0", "greater than or equal to 1"),
        ("horizon_days", 31, "31", "less than or equal to 30"),
        ("horizon_days", "7", "'7'", "valid integer"),
        ("horizon_days", 7.5, "7.5", "valid integer"),
        ("horizon_days", True, "True", "valid integer"),
        ("horizon_days", None, "None", "valid integer"),
        ("level", 0.49, "0.49", "greater than or equal to 0.5"),
        ("level", 0.981, "0.981", "less than or equal to 0.98"),
        ("level", "0.9", "'0.9'", "valid number"),
        ("level", True, "True", "valid number"),
        ("strategies", [], "[]", "at least 1 item"),
        ("strategies", ["a"] * 20_001, "['a', 'a',", "at most 20000 items"),
        ("strategies", "aave", "'aave'", "valid list"),
        ("strategies", None, "None", "valid list"),
        ("strategies.0", ["a" * 201], "'aaaa", "at most 200 characters"),
        ("strategies.1", ["aave", ""], "''", "at least 1 character"),
        ("strategies.0", [7], "7", "valid string"),
        ("unknown", 1, "1", "not permitted"),
    ],
)
def test_a_bad_field_is_named_with_its_value_and_what_is_allowed(
    client: TestClient, field: str, value: object, received: str, allowed: str
) -> None:
    request = {"strategies": ["aave"], field.partition(".")[0]: value}
    document = problem_of(client.post("/predict", json=request), 422)
    fault = next(fault for fault in document["errors"] if fault["field"] == field)
    assert fault["received"].startswith(received)
    assert allowed in fault["problem"]
    assert field in document["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(client: TestClient, number: str) -> None:
    problem_of(post(client, f'{{"strategies": ["aave"], "level": {number}}}'.encode()), 422)
    problem_of(post(client, f'{{"strategies": ["aave"], "horizon_days": {number}}}'.encode()), 422)


def post(client: TestClient, content: bytes, media_type: str = "application/json") -> Response:
    return client.post("/predict", content=content, headers={"content-type": media_type})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"aave"', b"{bad}", b"{}"])
def test_a_body_that_is_no_request_is_refused(client: TestClient, content: bytes) -> None:
    document = problem_of(post(client, content), 422)
    assert document["errors"][0]["field"] in ("body", "strategies")


def test_broken_json_is_placed(client: TestClient) -> None:
    document = problem_of(post(client, b'{"strategies": ["aave"],}'), 422)
    assert document["detail"].startswith("body: received broken JSON at character 24")


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"[" * 100_000, b'{"strategies":' * 50_000, b'{"strategies": ["\\ud800"]}']
)
def test_json_made_to_break_a_parser_is_a_clients_problem(client: TestClient, content: bytes) -> None:
    response = post(client, content)
    assert response.status_code in (400, 422)
    problem_of(response, response.status_code)


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_another_content_type_is_refused(client: TestClient, media_type: str) -> None:
    problem_of(post(client, json.dumps(PROMISED).encode(), media_type), 422)


def test_a_hostile_request_gets_a_short_answer(client: TestClient) -> None:
    for request in ({"k" * 900_000: 1}, {"strategies": ["x" * 900_000]}, {"strategies": [1] * 300_000}):
        response = client.post("/predict", json=request)
        problem_of(response, 422)
        assert len(response.content) < 5_000


@pytest.mark.parametrize("extra", [-1, 1])
def test_a_body_is_read_up_to_its_limit(client: TestClient, extra: int) -> None:
    content = json.dumps(PROMISED).encode()
    response = post(client, content + b" " * (4_000_000 + extra - len(content)))
    if extra < 0:
        assert response.status_code == 200
        return
    assert "allowed are 4,000,000" in problem_of(response, 413)["detail"]


def test_a_body_in_chunks_is_held_to_the_same_limit(client: TestClient) -> None:
    response = client.post("/predict", content=chunks(), headers={"content-type": "application/json"})
    assert "content-length" not in {name.lower() for name in response.request.headers}
    problem_of(response, 413)


def chunks() -> Iterator[bytes]:
    for _ in range(50):
        yield b" " * 100_000


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/predict", "POST"), ("DELETE", "/predict", "POST"), ("POST", "/strategies", "GET")],
)
def test_a_wrong_method_is_refused_and_the_right_one_named(
    client: TestClient, method: str, path: str, allowed: str
) -> None:
    response = client.request(method, path)
    problem_of(response, 405)
    assert allowed in response.headers["allow"]


@pytest.mark.parametrize("path", ["/nothing", "/predict/x", "/strategies/a/b/c", "/..%2f..%2fetc/passwd"])
def test_an_unknown_path_is_not_found(client: TestClient, path: str) -> None:
    problem_of(client.get(path), 404)
