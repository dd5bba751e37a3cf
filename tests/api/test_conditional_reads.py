"""ETag, Cache-Control and 304: who has an answer already is told so, until it changes."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient
from test_freshness import WHY, Place, eventually, opened, place, serves
from test_predict_endpoint import PROMISED, problem_of

from aegis_yield.registry.aliases import promote
from api.ml_service import create_app

__all__ = ["opened", "place"]

READS = ["/strategies", "/strategies?sort=-forecast_apy&spark_days=30", "/strategies/aave", "/strategies/aave/history",
         "/strategies/aave/fan?horizon_days=2", "/models"]  # fmt: skip


@pytest.mark.parametrize("path", READS)
def test_who_has_it_gets_304_and_no_body(client: TestClient, path: str) -> None:
    first = client.get(path)
    tag = first.headers["etag"]
    again = client.get(path, headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    for answer in (first, again):
        assert answer.headers["cache-control"].startswith("private, max-age=")


@pytest.mark.parametrize("path", READS)
def test_who_has_something_else_gets_all_of_it(client: TestClient, path: str) -> None:
    for tag in ('"something"', "*", "", 'W/"'):
        answer = client.get(path, headers={"if-none-match": tag})
        assert (answer.status_code, bool(answer.content)) == (200, True)


def test_one_of_several_tags_is_enough(client: TestClient) -> None:
    tag = client.get("/strategies").headers["etag"]
    for sent in (f'"x", {tag}', f'{tag},"y"', tag.removeprefix("W/")):
        assert client.get("/strategies", headers={"if-none-match": sent}).status_code == 304


def test_each_question_has_its_own_tag(client: TestClient) -> None:
    tags = {client.get(path).headers["etag"] for path in READS}
    assert len(tags) == len(READS)


def test_an_error_has_no_tag(client: TestClient) -> None:
    for path in ("/strategies?sort=apy", "/strategies/lidoo", "/models/lstm_v99"):
        answer = client.get(path)
        assert answer.status_code in (404, 422)
        assert "etag" not in answer.headers


def test_a_new_champion_changes_what_it_forecasts(place: Place, opened: TestClient) -> None:
    before = {path: opened.get(path) for path in READS}
    promote(place.models, "lstm_v2", WHY)
    assert eventually(serves(opened, "lstm_v2"))
    for path, old in before.items():
        new = opened.get(path, headers={"if-none-match": old.headers["etag"]})
        assert new.status_code == 200, path
        assert new.headers["etag"] != old.headers["etag"]
    assert opened.get("/strategies").json()["model_version"].startswith("lstm_v2-")


def test_the_same_state_has_the_same_tags_in_every_process(place: Place) -> None:
    tags = []
    for _ in range(2):
        with TestClient(create_app(place.settings)) as client:
            tags.append([client.get(path).headers["etag"] for path in READS])
    assert tags[0] == tags[1]


def test_forecasts_are_asked_for_anew_each_time(client: TestClient) -> None:
    answer = client.post("/predict", json=PROMISED)
    assert "etag" not in answer.headers
    assert answer.headers.get("cache-control", "no-store") == "no-store"
    problem_of(client.get("/predict"), 405)
