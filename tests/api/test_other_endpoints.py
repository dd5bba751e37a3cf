"""Health, strategies, documentation, and what happens when something goes wrong inside."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import market
from starlette.testclient import TestClient
from test_predict_endpoint import PROMISED, problem_of

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.errors import DataError
from aegis_yield.pipelines.datasets import strategy_listing
from aegis_yield.pipelines.predict import Forecaster
from api.ml_service import create_app
from api.settings import ServiceSettings


def test_a_live_service_says_so(client: TestClient) -> None:
    response = client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


def test_a_ready_service_says_what_it_serves(client: TestClient) -> None:
    response = client.get("/health/ready")
    assert response.status_code == 200
    document = response.json()
    age = document.pop("data_age_days")
    assert document == {
        "status": "ready",
        "model_version": "lstm_v1-test",
        "data": market().name,
        "simulated": True,
        "n_strategies": 12,
        "last_date": market().last_date.isoformat(),
    }
    assert age - (dt.datetime.now(dt.UTC).date() - market().last_date).days in (-1, 0)


def test_a_ready_service_names_its_folder_not_its_path(tables: Path, tiny_model: Path) -> None:
    settings = ServiceSettings(data=tables, model=tiny_model)
    with TestClient(create_app(settings)) as client:
        response = client.get("/health/ready")
    assert response.json()["data"] == tables.name
    assert str(tables.parent) not in response.text


@pytest.fixture(params=["model", "data"])
def unready(request: pytest.FixtureRequest, tables: Path, tiny_model: Path, tmp_path: Path) -> Iterator[TestClient]:
    """A service whose model or tables are missing."""
    paths = {"data": tables, "model": tiny_model, request.param: tmp_path / "absent"}
    with TestClient(create_app(ServiceSettings(**paths))) as opened:
        opened.headers["x-missing"] = request.param
        yield opened


def test_without_model_or_tables_the_service_lives_and_says_what_is_missing(unready: TestClient) -> None:
    missing = unready.headers["x-missing"]
    for response in (unready.get("/health/ready"), unready.post("/predict", json=PROMISED), unready.get("/strategies")):
        assert f"not ready: the {missing} of this service" in problem_of(response, 503)["detail"]
    assert unready.get("/health/live").status_code == 200
    assert unready.get("/openapi.json").status_code == 200


def test_the_machines_paths_are_in_the_log_only(caplog: pytest.LogCaptureFixture, tables: Path, tmp_path: Path) -> None:
    settings = ServiceSettings(data=tables, model=tmp_path / "absent.pth")
    with caplog.at_level(logging.ERROR), TestClient(create_app(settings)) as client:
        answer = client.get("/health/ready").text
    assert str(tmp_path) not in answer
    assert f"{tmp_path / 'absent.pth'}: no such model file" in caplog.text


def test_pages_of_strategies_join_to_the_whole(client: TestClient) -> None:
    pages = [client.get("/strategies", params={"limit": 5, "offset": offset}).json() for offset in (0, 5, 10, 15)]
    assert [len(page["strategies"]) for page in pages] == [5, 5, 2, 0]
    assert {page["total"] for page in pages} == {12}
    listed = [row for page in pages for row in page["strategies"]]
    expected = strategy_listing(market())
    assert [row["strategy_id"] for row in listed] == [row["strategy_id"] for row in expected]
    assert [row["last_apy"] for row in listed] == [row["last_apy"] for row in expected]


def test_strategies_show_their_aliases(client: TestClient) -> None:
    rows = {row["strategy_id"]: row for row in client.get("/strategies").json()["strategies"]}
    assert rows["lido:ethereum:steth"]["aliases"] == ["lido"]
    assert rows["aave-v3:base:usdc"]["aliases"] == []


@pytest.mark.parametrize("category", CATEGORIES)
def test_strategies_are_filtered_by_category(client: TestClient, category: str) -> None:
    page = client.get("/strategies", params={"category": category}).json()
    assert page["total"] == len(strategy_listing(market(), category))
    assert {row["category"] for row in page["strategies"]} <= {category}


def test_an_unknown_category_is_refused_with_the_allowed_ones(client: TestClient) -> None:
    detail = problem_of(client.get("/strategies", params={"category": "bonds"}), 422)["detail"]
    assert detail == f"category: received 'bonds', allowed is one of {', '.join(CATEGORIES)}"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=ten", "offset=-1", "offset=1.5", "category=" + "x" * 51]
)
def test_a_bad_page_is_refused_by_name(client: TestClient, query: str) -> None:
    document = problem_of(client.get(f"/strategies?{query}"), 422)
    assert document["errors"][0]["field"] == f"query.{query.partition('=')[0]}"


def test_the_documentation_opens_without_foreign_hosts(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert addresses
    for address in addresses:
        assert address.startswith("/")
        assert client.get(address).status_code == 200


def test_the_schema_describes_every_endpoint(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    assert {"/predict", "/strategies", "/health/live", "/health/ready"} <= set(schema["paths"])
    responses = schema["paths"]["/predict"]["post"]["responses"]
    assert {"200", "404", "413", "422", "503"} <= set(responses)
    assert all("application/problem+json" in responses[status]["content"] for status in ("404", "413", "422", "503"))


def test_the_schema_carries_bounds_and_units(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    horizon = schemas["PredictRequest"]["properties"]["horizon_days"]
    assert (horizon["minimum"], horizon["maximum"], horizon["default"]) == (1, 30, 7)
    assert "fraction per year" in schemas["Prediction"]["properties"]["apy"]["description"]


class Broken:
    """A state with a bug."""

    def __getattr__(self, name: str) -> object:
        raise ZeroDivisionError("secret at /secret/path")


def test_a_bug_is_a_500_without_its_trace(caplog: pytest.LogCaptureFixture, forecaster: Forecaster) -> None:
    app = create_app(ServiceSettings(), lambda: forecaster)
    with TestClient(app, raise_server_exceptions=False) as client:
        app.state.served = Broken()
        document = problem_of(client.post("/predict", json=PROMISED), 500)
    assert "secret" not in str(document)
    assert "ZeroDivisionError" not in str(document)
    assert "secret at /secret/path" in caplog.text


def test_tables_that_break_while_serving_are_a_503(forecaster: Forecaster, monkeypatch: pytest.MonkeyPatch) -> None:
    def emptied(self: Forecaster, question: object) -> None:
        raise DataError("no rows any more")

    app = create_app(ServiceSettings(), lambda: forecaster)
    with TestClient(app) as client:
        monkeypatch.setattr(Forecaster, "ask", emptied)
        problem_of(client.post("/predict", json={**PROMISED, "horizon_days": 29}), 503)
        assert client.post("/predict", json=PROMISED).status_code == 200  # from what was made before


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"AEGIS_PORT": "5055", "AEGIS_HOST": "0.0.0.0", "AEGIS_DATA": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    settings = ServiceSettings()
    assert (settings.port, settings.host, settings.data, settings.model) == (5055, "0.0.0.0", tmp_path, None)


def test_without_settings_the_service_listens_on_loopback_5000() -> None:
    settings = ServiceSettings()
    assert (settings.host, settings.port, settings.max_body_bytes) == ("127.0.0.1", 5000, 4_000_000)
