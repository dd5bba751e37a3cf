"""``/models``: the versions of the folder as they are, which one serves, and how recorded forecasts turned out."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from typing import Any

import pytest
from bundles import market
from starlette.testclient import TestClient
from test_freshness import WHY, Place, eventually, opened, place, serves
from test_predict_endpoint import problem_of

from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.models.bundle import load_bundle
from aegis_yield.monitoring.records import Lineage, MadeForecast, Outcome
from aegis_yield.monitoring.store import ForecastStore
from aegis_yield.pipelines.calibrate import calibrate, write
from aegis_yield.registry.aliases import promote

__all__ = ["opened", "place"]


def models(client: TestClient) -> list[dict[str, Any]]:
    response = client.get("/models")
    assert response.status_code == 200, response.text
    return list(response.json()["models"])


def test_versions_are_listed_the_newest_first(place: Place, opened: TestClient) -> None:
    listed = models(opened)
    assert [one["version"] for one in listed] == ["lstm_v2", "lstm_v1"]
    assert [one["aliases"] for one in listed] == [[], ["champion"]]
    assert [one["is_served"] for one in listed] == [False, True]
    held = load_bundle(place.models / "lstm_v1.pth").provenance
    assert listed[1]["data"] == held["data"]
    assert listed[1]["scores"] == held["scores"]
    assert listed[1]["scores"]["7"]["lending"]["coverage_90"] > 0
    assert listed[1]["calibrated_to"] == held["split"]["calibration_end"]
    assert str(place.models) not in opened.get("/models").text


def test_a_recalibrated_version_says_to_which_day_its_intervals_have_learned(place: Place, opened: TestClient) -> None:
    source = place.models / "lstm_v1.pth"
    learned = calibrate(load_bundle(source), market())
    write(learned, place.models, source)
    third, _, first = models(opened)
    assert (third["version"], third["calibrated_to"]) == ("lstm_v3", market().last_date.isoformat())
    assert third["n_calibration_scores"] == len(learned.bundle.calibrator.pool) > first["n_calibration_scores"]
    assert third["data"] == first["data"]


def test_a_promotion_moves_champion_and_served(place: Place, opened: TestClient) -> None:
    promote(place.models, "lstm_v2", WHY)
    assert eventually(serves(opened, "lstm_v2"))
    second, first = models(opened)
    assert (second["aliases"], second["is_served"], first["is_served"]) == (["champion"], True, False)


def test_a_version_that_cannot_be_read_says_why_without_a_path(place: Place, opened: TestClient) -> None:
    (place.models / "lstm_v3.pth").write_bytes(b"garbage " * 1_000)
    damaged = models(opened)[0]
    assert damaged["version"] == "lstm_v3"
    assert damaged["fault"].startswith("lstm_v3.pth")
    assert damaged["data"] is None
    assert str(place.models) not in str(damaged)


@pytest.mark.parametrize("reference", ["champion", "1", "v1", "lstm_v1"])
def test_one_version_is_found_by_each_of_its_names(opened: TestClient, reference: str) -> None:
    found = opened.get(f"/models/{reference}").json()
    assert found["version"] == "lstm_v1"
    assert opened.get(f"/models/{found['model_version']}").json() == found
    assert found["plan"]["epochs"] == 1
    assert found["curves"]["scout 1"]
    (change,) = found["changes"]
    assert (change["action"], change["after"], change["reason"]) == ("promote", "lstm_v1", "a test")


@pytest.mark.parametrize("reference", ["lstm_v9", "challenger", "lstm_v1-00000000", "..%2Fregistry.json"])
def test_an_unknown_version_is_not_found(opened: TestClient, reference: str) -> None:
    problem_of(opened.get(f"/models/{reference}"), 404)


def test_a_model_from_no_folder_is_listed_too(client: TestClient) -> None:
    served = [one for one in models(client) if one["is_served"]]
    assert [one["model_version"] for one in served] == ["lstm_v1-test"]


def test_a_damaged_registry_is_a_503_without_a_path(place: Place, opened: TestClient) -> None:
    (place.models / "registry.json").write_text("{")
    document = problem_of(opened.get("/models"), 503)
    assert document["detail"].startswith("registry.json: damaged")
    assert str(place.models) not in str(document)


def test_recorded_forecasts_tell_the_coverage_by_category(place: Place, opened: TestClient) -> None:
    """Ten forecasts, of which eight ended inside their interval."""
    lineage = Lineage("lstm_v1.pth", "a" * 64, str(place.tables), "b" * 64, simulated=True)
    last = market().last_date
    quantiles = tuple(0.05 + (level - 0.5) / 50 for level in QUANTILE_LEVELS)
    made = [
        MadeForecast(f"s{n}", "lending", last - dt.timedelta(days=10), 7, 0.05, 0.1, 0.05, quantiles) for n in range(10)
    ]
    now = dt.datetime.now(dt.UTC)
    with closing(ForecastStore(place.store)) as store:
        ids = store.record(lineage, made, now)
        outcomes = [Outcome(one, 0.05 if n < 8 else 0.5, 0.1) for n, one in enumerate(ids)]
        store.settle(outcomes, now)
    (month, _) = sorted(opened.get("/models").json()["outcomes"], key=lambda one: one["window_days"])
    assert (month["category"], month["window_days"], month["n_outcomes"]) == ("lending", 30, 10)
    assert month["coverage_90"] == pytest.approx(0.8)
    assert month["rel_mae"] is None  # one forecast a strategy is too little
    assert month["median_width"] == pytest.approx(0.9 / 50)


def test_a_store_that_cannot_be_read_hides_no_model(place: Place, opened: TestClient) -> None:
    place.store.parent.mkdir(parents=True)
    place.store.write_bytes(b"something else" * 100)
    answer = opened.get("/models").json()
    assert answer["outcomes"] is None
    assert len(answer["models"]) == 2
