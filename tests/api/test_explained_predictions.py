"""``POST /predict`` with ``"explain": true``: one more field, only then, for few strategies."""

from __future__ import annotations

import pytest
from services import forecast_among_all
from starlette.testclient import TestClient
from test_predict_endpoint import PROMISED, problem_of

from aegis_yield.pipelines.explain import MAX_EXPLAINED, explain, to_json_with
from aegis_yield.pipelines.predict import Forecaster


def test_an_explanation_is_what_the_forecaster_says(client: TestClient, forecaster: Forecaster) -> None:
    response = client.post("/predict", json={**PROMISED, "explain": True})
    assert response.status_code == 200
    answer = forecast_among_all(forecaster, PROMISED["strategies"])
    assert response.json() == to_json_with(answer, explain(forecaster, answer))


def test_its_parts_add_up_to_the_forecast(client: TestClient) -> None:
    for prediction in client.post("/predict", json={**PROMISED, "explain": True}).json()["predictions"].values():
        why = prediction["explanation"]
        parts = [why[name] for name in ("ewma", "today_over_ewma", "usual_drift", "other_features", "calibration")]
        assert sum(parts) + sum(feature["apy"] for feature in why["features"]) == pytest.approx(prediction["apy"])
        assert sum(why["days"].values()) == pytest.approx(sum(why["families"].values()))
        assert max(why["days"]) == prediction["as_of"]


@pytest.mark.parametrize("asked", [{}, {"explain": False}])
def test_who_does_not_ask_gets_no_such_field(client: TestClient, asked: dict[str, bool]) -> None:
    predictions = client.post("/predict", json={**PROMISED, **asked}).json()["predictions"]
    assert all("explanation" not in prediction for prediction in predictions.values())


def test_too_many_are_a_clients_problem(client: TestClient) -> None:
    names = [f"name {n}" for n in range(MAX_EXPLAINED + 1)]
    document = problem_of(client.post("/predict", json={"strategies": names, "explain": True}), 422)
    assert "received '21 strategies', allowed is at most 20 strategies at once" in document["detail"]
    problem_of(client.post("/predict", json={"strategies": names}), 404)  # without why, names are looked up


@pytest.mark.parametrize("value", [1, "true", None, "yes", []])
def test_anything_but_true_or_false_is_refused(client: TestClient, value: object) -> None:
    document = problem_of(client.post("/predict", json={**PROMISED, "explain": value}), 422)
    assert document["errors"][0]["field"] == "explain"
