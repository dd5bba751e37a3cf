"""Old data: first a warning, then a refusal with the reason; simulated data has no age."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from real_data import aged
from starlette.testclient import TestClient
from test_predict_endpoint import IDS, PROMISED, problem_of

from aegis_yield.pipelines.predict import Forecaster
from api.ml_service import create_app
from api.settings import LifeSettings, ServiceSettings

Opened = Callable[..., TestClient]


@pytest.fixture
def opened(forecaster: Forecaster) -> Iterator[Opened]:
    """Opens services on real data of some age."""
    with ExitStack() as stack:

        def open_(age_days: int, ended: dict[str, int] | None = None, **limits: int) -> TestClient:
            settings = ServiceSettings(service=LifeSettings(record=False, **limits))
            app = create_app(settings, lambda: aged(forecaster, age_days, ended))
            return stack.enter_context(TestClient(app))

        yield open_


def test_young_data_needs_no_warning(opened: Opened) -> None:
    client = opened(3)
    for answer in (client.post("/predict", json=PROMISED), client.get("/strategies"), client.get("/health/ready")):
        assert answer.status_code == 200
        assert "warnings" not in answer.json()


def test_older_data_is_given_out_with_a_warning(opened: Opened) -> None:
    client = opened(4)
    for answer in (client.post("/predict", json=PROMISED), client.get("/strategies"), client.get("/health/ready")):
        assert answer.status_code == 200
        (warning,) = answer.json()["warnings"]
        assert "4 days ago, older than the 3 days" in warning
    predictions = client.post("/predict", json=PROMISED).json()["predictions"]
    assert {prediction["data_age_days"] for prediction in predictions.values()} == {4}


def test_too_old_data_is_not_forecast_from(opened: Opened) -> None:
    client = opened(31)
    for answer in (
        client.post("/predict", json=PROMISED),
        client.get("/strategies/aave/fan"),
        client.get("/health/ready"),
        client.post("/risk", json={"strategies": ["aave"]}),
    ):
        assert "31 days ago, older than the 30 days" in problem_of(answer, 503)["detail"]


def test_too_old_data_can_still_be_looked_at(opened: Opened) -> None:
    client = opened(31)
    page = client.get("/strategies").json()
    assert page["total"] == 12
    assert "31 days ago" in page["warnings"][0]
    assert {row["forecast_apy"] for row in page["strategies"]} == {None}
    assert client.get("/strategies/aave").json()["no_forecast"] == "the data is too old"
    assert client.get("/strategies/aave/history").status_code == 200


@pytest.mark.parametrize(("age_days", "warned", "refused"), [(5, False, False), (6, True, False), (11, True, True)])
def test_both_ages_can_be_set(opened: Opened, age_days: int, warned: bool, refused: bool) -> None:
    answer = opened(age_days, warn_age_days=5, max_age_days=10).post("/predict", json=PROMISED)
    assert answer.status_code == (503 if refused else 200)
    assert refused or ("warnings" in answer.json()) == warned


def test_one_strategy_that_fell_behind_is_named(opened: Opened) -> None:
    client = opened(0, {IDS["lido"]: 8})
    answer = client.post("/predict", json=PROMISED).json()
    (warning,) = answer["warnings"]
    assert warning.startswith(f"{IDS['lido']}: the newest row is of {answer['predictions']['lido']['as_of']}, 8 days")
    assert "warnings" not in client.post("/predict", json={"strategies": ["aave"]}).json()


def test_one_strategy_that_ended_long_ago_is_refused_by_name(opened: Opened) -> None:
    client = opened(0, {IDS["lido"]: 40})
    detail = problem_of(client.post("/predict", json=PROMISED), 503)["detail"]
    assert detail.startswith(f"{IDS['lido']}: the newest row is of ")
    assert client.post("/predict", json={"strategies": ["aave", "delta"]}).status_code == 200


def test_simulated_data_has_no_age(client: TestClient) -> None:
    answer = client.post("/predict", json=PROMISED).json()
    assert answer["predictions"]["aave"]["data_age_days"] > 365
    assert "warnings" not in answer


def test_the_ages_have_names_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_SERVICE__WARN_AGE_DAYS", "2")
    monkeypatch.setenv("AEGIS_SERVICE__MAX_AGE_DAYS", "9")
    found = ServiceSettings().service
    assert (found.warn_age_days, found.max_age_days) == (2, 9)
