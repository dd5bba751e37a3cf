"""``/metrics``: every request counted once, under its route's template, in a text that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from services import CountingLoader
from starlette.testclient import TestClient
from test_freshness import WHY, Place, eventually, place, ready
from test_predict_endpoint import PROMISED

from aegis_yield.pipelines.predict import Forecaster
from aegis_yield.registry.aliases import promote
from api.ml_service import create_app
from api.settings import ServiceSettings

__all__ = ["place"]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def fresh(forecaster: Forecaster) -> Iterator[TestClient]:
    """A service that nobody has asked yet."""
    with TestClient(create_app(ServiceSettings(), CountingLoader(forecaster)), raise_server_exceptions=False) as opened:
        yield opened


def samples(client: TestClient) -> Samples:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((f"aegis_service_{name}", frozenset(labels.items())), 0.0)


def test_requests_are_counted_by_route_and_status(fresh: TestClient) -> None:
    for _ in range(3):
        fresh.post("/predict", json=PROMISED)
    fresh.post("/predict", json={"strategies": ["nobody"]})
    fresh.get("/strategies/aave")
    fresh.get("/strategies/lido/history")
    found = samples(fresh)
    assert value(found, "requests_total", route="/predict", status="200") == 3
    assert value(found, "requests_total", route="/predict", status="404") == 1
    assert value(found, "requests_total", route="/strategies/{strategy_id}", status="200") == 1
    assert value(found, "requests_total", route="/strategies/{strategy_id}/history", status="200") == 1
    assert value(found, "forecasts_total") == 9


def test_made_up_paths_make_no_labels(fresh: TestClient) -> None:
    for n in range(50):
        fresh.get(f"/nothing/{n}")
    found = samples(fresh)
    assert value(found, "requests_total", route="other", status="404") == 50
    routes = {dict(labels)["route"] for name, labels in found if name.endswith("requests_total")}
    assert routes == {"other"}


def test_what_is_refused_at_the_door_is_counted_under_its_route(forecaster: Forecaster) -> None:
    settings = ServiceSettings(max_body_bytes=1_000)
    with TestClient(create_app(settings, CountingLoader(forecaster))) as client:
        for path in ("/predict", "/predict/made/up"):
            assert client.post(path, content=b" " * 2_000).status_code == 413
        found = samples(client)
    assert value(found, "requests_total", route="/predict", status="413") == 1
    assert value(found, "requests_total", route="other", status="413") == 1


def test_times_are_a_histogram(fresh: TestClient) -> None:
    for _ in range(5):
        fresh.get("/health/live")
    found = samples(fresh)
    assert value(found, "request_seconds_count", route="/health/live") == 5
    assert value(found, "request_seconds_bucket", route="/health/live", le="+Inf") == 5
    assert 0 < value(found, "request_seconds_sum", route="/health/live") < 60


def test_an_unexpected_error_is_counted_as_500(fresh: TestClient) -> None:
    fresh.app.state.served = object()
    fresh.post("/predict", json=PROMISED)
    fresh.app.state.served = None
    assert value(samples(fresh), "requests_total", route="/predict", status="500") == 1


def test_what_is_served_is_said(fresh: TestClient) -> None:
    document, found = ready(fresh), samples(fresh)
    assert value(found, "ready") == 1
    assert value(found, "data_age_days") == document["data_age_days"]
    assert value(found, "strategies") == document["n_strategies"] == 12
    (info,) = [dict(labels) for name, labels in found if name == "aegis_service_info"]
    assert (info["model_version"], info["simulated"]) == ("lstm_v1-test", "true")
    assert value(found, "workers", state="allowed") == 1
    assert value(found, "requests_under_way") == 1  # this very one


def test_without_a_model_there_is_still_something_to_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = ServiceSettings(model=tmp_path_factory.mktemp("empty") / "absent.pth")
    with TestClient(create_app(settings)) as client:
        found = samples(client)
    assert value(found, "ready") == 0
    assert value(found, "reload_failures_total") >= 1
    assert ("aegis_service_data_age_days", frozenset()) not in found


def test_a_model_that_could_not_be_loaded_is_counted(place: Place) -> None:
    with TestClient(create_app(place.settings)) as client:
        assert value(samples(client), "reload_failures_total") == 0
        (place.models / "lstm_v3.pth").write_bytes(b"garbage " * 1_000)
        promote(place.models, "lstm_v3", WHY)
        assert eventually(lambda: value(samples(client), "reload_failures_total") >= 1)
        assert value(samples(client), "ready") == 1  # the old one goes on


def test_two_apps_of_one_process_count_apart(fresh: TestClient, client: TestClient) -> None:
    client.get("/health/live")
    assert value(samples(fresh), "requests_total", route="/health/live", status="200") == 0
