"""``/forecasts/{id}``: a recorded forecast, what became of it, and what it was made from."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from typing import Any

import pytest
from starlette.testclient import TestClient
from test_freshness import Place, eventually, opened, place
from test_predict_endpoint import PROMISED, problem_of

from aegis_yield.monitoring.records import Outcome
from aegis_yield.monitoring.store import ForecastStore
from aegis_yield.utils.files import sha256_of

__all__ = ["opened", "place"]


@pytest.fixture
def prediction(place: Place, opened: TestClient) -> dict[str, Any]:
    """A prediction that is recorded."""
    made: dict[str, Any] = opened.post("/predict", json=PROMISED).json()["predictions"]["lido"]
    assert eventually(lambda: opened.get(f"/forecasts/{made['forecast_id']}").status_code == 200)
    return made


def test_a_forecast_is_found_by_its_id(place: Place, opened: TestClient, prediction: dict[str, Any]) -> None:
    response = opened.get(f"/forecasts/{prediction['forecast_id']}")
    found = response.json()
    kept = found["forecast"]
    assert kept["id"] == prediction["forecast_id"]
    for name in ("apy", "volatility", "last_apy", "strategy_id", "category", "horizon_days"):
        assert kept[name] == prediction[name]
    assert kept["origin"] == prediction["as_of"]
    assert dt.date.fromisoformat(kept["due"]) - dt.date.fromisoformat(kept["origin"]) == dt.timedelta(days=7)
    assert kept["quantiles"]["q05"] == prediction["confidence_interval"]["lower"]
    assert (kept["actual_apy"], kept["actual_volatility"]) == (None, None)
    assert found["bundle"] == {
        "file": "lstm_v1.pth", "sha256": sha256_of(place.models / "lstm_v1.pth"), "found": True,
    }  # fmt: skip
    assert found["dataset"]["name"] == place.tables.name
    assert found["raw_files"] == []
    assert str(place.models.parent) not in response.text


def test_the_beginning_of_an_id_is_enough(opened: TestClient, prediction: dict[str, Any]) -> None:
    whole = opened.get(f"/forecasts/{prediction['forecast_id']}").json()
    assert opened.get(f"/forecasts/{prediction['forecast_id'][:8]}").json() == whole


def test_what_became_of_it_is_said(place: Place, opened: TestClient, prediction: dict[str, Any]) -> None:
    path = f"/forecasts/{prediction['forecast_id']}"
    tag = opened.get(path).headers["etag"]
    assert opened.get(path, headers={"if-none-match": tag}).status_code == 304
    with closing(ForecastStore(place.store)) as store:
        store.settle([Outcome(prediction["forecast_id"], 0.0312, 0.21)], dt.datetime.now(dt.UTC))
    answer = opened.get(path, headers={"if-none-match": tag})
    assert answer.status_code == 200
    assert (answer.json()["forecast"]["actual_apy"], answer.json()["forecast"]["actual_volatility"]) == (0.0312, 0.21)


@pytest.mark.usefixtures("prediction")
@pytest.mark.parametrize("forecast_id", ["0" * 16, "abcdefgh"])
def test_an_unknown_id_is_not_found(place: Place, opened: TestClient, forecast_id: str) -> None:
    document = problem_of(opened.get(f"/forecasts/{forecast_id}"), 404)
    assert str(place.store.parent) not in str(document)


def test_without_a_store_nothing_is_found_and_none_is_made(place: Place, opened: TestClient) -> None:
    problem_of(opened.get("/forecasts/0123456789abcdef"), 404)
    assert not place.store.exists()


@pytest.mark.parametrize("forecast_id", ["abc", "a" * 65, "%25%25%25%25%25%25", "a_b_c_d_e_f"])
def test_what_is_no_id_is_refused(opened: TestClient, forecast_id: str) -> None:
    problem_of(opened.get(f"/forecasts/{forecast_id}"), 422)


def test_a_store_that_is_none_is_a_503_without_its_path(place: Place, opened: TestClient) -> None:
    place.store.parent.mkdir(parents=True)
    place.store.write_bytes(b"something else" * 100)
    document = problem_of(opened.get("/forecasts/0123456789abcdef"), 503)
    assert str(place.store.parent) not in str(document)
