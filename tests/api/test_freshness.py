"""A running service takes up a new champion and new tables, and remembers what it forecast."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pytest
import torch
import uvicorn
from bundles import bundle_content, market
from services import forecast_among_all, free_port
from starlette.testclient import TestClient
from test_predict_endpoint import PROMISED, problem_of

from aegis_yield.domain.errors import DataError, RequestError
from aegis_yield.models.bundle import Bundle, bundle_bytes
from aegis_yield.monitoring.store import ForecastStore
from aegis_yield.pipelines.explain import explain, to_json_with
from aegis_yield.pipelines.predict import Answer, Forecaster, Question, to_json
from aegis_yield.preprocessing.tables import write_dataset
from aegis_yield.registry.aliases import Why, promote, rollback
from api import freshness, recording
from api.freshness import Keeper, Served, Source
from api.ml_service import create_app
from api.recording import Recorder, recorder_for
from api.settings import LifeSettings, ServiceSettings, read_settings

WATCH_S = 0.1
WAIT_S = 20.0
"""For what takes a second on an idle machine."""

WHY = Why("a test")


@dataclass(frozen=True)
class Place:
    """A home with two models, and tables."""

    models: Path
    tables: Path
    store: Path

    @property
    def settings(self) -> ServiceSettings:
        return ServiceSettings(data=self.tables, service=LifeSettings(watch_s=WATCH_S, record=True))

    def promised(self, version: str) -> dict[str, Any]:
        """What a model answers, whole."""
        forecaster = Forecaster.open(self.tables, self.models / f"{version}.pth")
        return to_json(forecast_among_all(forecaster, PROMISED["strategies"]))


@pytest.fixture
def place(tmp_path: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    made = Place(tmp_path / "models", tmp_path / "tables", tmp_path / "data" / "monitoring" / "forecasts.sqlite")
    made.models.mkdir()
    made.models.joinpath("lstm_v1.pth").write_bytes(bundle_content())
    made.models.joinpath("lstm_v2.pth").write_bytes(bundle_bytes(lifted(tiny_bundle)))
    promote(made.models, "lstm_v1", WHY)
    write_dataset(market(), made.tables)
    return made


def lifted(bundle: Bundle) -> Bundle:
    """The same model, but every forecast lies higher."""
    members = []
    for weights in bundle.model.members:
        last = next(name for name, values in weights.items() if tuple(values.shape) == (2,))
        members.append({**weights, last: weights[last] + torch.tensor([1.0, 0.0], dtype=weights[last].dtype)})
    return replace(bundle, model=replace(bundle.model, members=tuple(members)))


@contextmanager
def serving(place: Place) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(place.settings), port=port, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=WAIT_S)
        assert not thread.is_alive()


@pytest.fixture
def opened(place: Place) -> Iterator[TestClient]:
    with TestClient(create_app(place.settings)) as client:
        yield client


def eventually(holds: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + WAIT_S
    while not (done := holds()) and time.monotonic() < give_up:
        time.sleep(0.02)
    return done


def ready(client: TestClient) -> dict[str, Any]:
    return dict(client.get("/health/ready").json())


def serves(client: TestClient, version: str) -> Callable[[], bool]:
    return lambda: str(ready(client)["model_version"]).startswith(f"{version}-")


def without_ids(answer: dict[str, Any]) -> dict[str, Any]:
    plain = {
        name: {field: value for field, value in one.items() if field != "forecast_id"}
        for name, one in answer["predictions"].items()
    }
    return {**answer, "predictions": plain}


class Load:
    """Fifty requests a second from eight connections, each answer kept."""

    def __init__(self, url: str) -> None:
        self.answers: list[httpx2.Response] = []
        self._url = url
        self._end = threading.Event()

    def __enter__(self) -> Load:
        self._pool = ThreadPoolExecutor(8)
        self._asking = [self._pool.submit(self._ask, n) for n in range(8)]
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._pool.shutdown()
        for asking in self._asking:
            asking.result()  # a connection that was refused or cut raises here

    def _ask(self, number: int) -> None:
        with httpx2.Client(base_url=self._url, timeout=WAIT_S) as client:
            due = time.monotonic() + number * 0.02
            while not self._end.wait(max(0.0, due - time.monotonic())):
                self.answers.append(client.post("/predict", json=PROMISED))
                due = max(due + 0.16, time.monotonic() - 1.0)

    def newest(self) -> str:
        return str(self.answers[-1].json()["model_version"]) if self.answers else ""

    def sees(self, version: str) -> bool:
        return eventually(lambda: self.newest() == version)


def test_a_promotion_under_load_loses_and_mixes_nothing(place: Place) -> None:
    promised = {answer["model_version"]: answer for answer in map(place.promised, ("lstm_v1", "lstm_v2"))}
    first, second = promised
    with serving(place) as url, Load(url) as load:
        assert load.sees(first)
        for move, version in ((promote_second, second), (rollback, first), (promote_second, second)):
            move(place.models, WHY)
            assert load.sees(version)
            time.sleep(0.3)
    assert {answer.status_code for answer in load.answers} == {200}
    bodies = [answer.json() for answer in load.answers]
    assert {body["model_version"] for body in bodies} == {first, second}
    assert len(bodies) > 50
    for body in bodies:
        assert without_ids(body) == without_ids(promised[body["model_version"]])
    assert promised[first]["predictions"] != promised[second]["predictions"]


def promote_second(folder: Path, why: Why) -> None:
    promote(folder, "lstm_v2", why)


def test_a_request_under_way_is_answered_by_the_model_it_began_with(
    place: Place, opened: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Forecaster.open(place.tables, place.models / "lstm_v1.pth")
    answer = forecast_among_all(old, PROMISED["strategies"], 9)
    promised = to_json_with(answer, explain(old, answer))
    ask, asked, swapped = Forecaster.ask, threading.Event(), threading.Event()

    def held(self: Forecaster, question: Question) -> Answer:
        answer = ask(self, question)
        if self.model_version == old.model_version:
            asked.set()
            assert swapped.wait(WAIT_S)
        return answer

    monkeypatch.setattr(Forecaster, "ask", held)
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(opened.post, "/predict", json={**PROMISED, "horizon_days": 9, "explain": True})
        assert asked.wait(WAIT_S)
        promote(place.models, "lstm_v2", WHY)
        assert eventually(serves(opened, "lstm_v2"))
        swapped.set()
        assert without_ids(under_way.result().json()) == without_ids(promised)


def test_a_damaged_champion_is_not_served_and_said(
    place: Place, opened: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    before = without_ids(opened.post("/predict", json=PROMISED).json())
    (place.models / "lstm_v3.pth").write_bytes(b"garbage " * 1_000)
    with caplog.at_level(logging.ERROR):
        promote(place.models, "lstm_v3", WHY)
        assert eventually(lambda: "warnings" in ready(opened))
        time.sleep(5 * WATCH_S)
    document = opened.get("/health/ready")
    assert document.status_code == 200
    (warning,) = document.json()["warnings"]
    assert warning.startswith(f"the model changed and could not be loaded, {before['model_version']} goes on: lstm_v3")
    assert str(place.models.parent) not in document.text
    lines = [record.getMessage() for record in caplog.records if "goes on" in record.getMessage()]
    assert len(lines) == 1  # however often it was looked at
    assert str(place.models / "lstm_v3.pth") in lines[0]
    assert without_ids(opened.post("/predict", json=PROMISED).json()) == before
    rollback(place.models, WHY)
    assert eventually(lambda: "warnings" not in ready(opened))


def test_a_damaged_registry_changes_nothing_until_it_is_mended(place: Place, opened: TestClient) -> None:
    registry = place.models / "registry.json"
    whole = registry.read_bytes()
    registry.write_bytes(whole[:40])
    assert eventually(lambda: "registry.json: damaged" in str(ready(opened).get("warnings")))
    assert serves(opened, "lstm_v1")()
    registry.write_bytes(whole)
    promote(place.models, "lstm_v2", WHY)
    assert eventually(serves(opened, "lstm_v2"))
    assert "warnings" not in ready(opened)


def test_new_tables_move_the_day_of_the_forecasts(place: Place) -> None:
    shorten(place, 5)
    with TestClient(create_app(place.settings)) as opened:
        assert as_of(opened) == days_before_the_end(5)
        write_dataset(market(), place.tables)
        assert eventually(lambda: as_of(opened) == days_before_the_end(0))
        answer = opened.post("/predict", json=PROMISED).json()
    assert without_ids(answer) == without_ids(place.promised("lstm_v1"))


def days_before_the_end(days: int) -> str:
    return str(market().yields["date"].unique().sort()[-1 - days])


def shorten(place: Place, days: int) -> None:
    kept = pl.col("date") <= pl.lit(days_before_the_end(days)).str.to_date()
    write_dataset(replace(market(), yields=market().yields.filter(kept)), place.tables)


def as_of(client: TestClient) -> str:
    return str(client.post("/predict", json=PROMISED).json()["predictions"]["aave"]["as_of"])


def test_half_written_tables_are_not_served(place: Place, opened: TestClient) -> None:
    yields = place.tables / "yields.parquet"
    whole = yields.read_bytes()
    yields.write_bytes(whole[: len(whole) // 2])
    assert eventually(lambda: "the data changed and could not be loaded" in str(ready(opened).get("warnings")))
    assert as_of(opened) == days_before_the_end(0)
    yields.write_bytes(whole)
    assert eventually(lambda: "warnings" not in ready(opened))


def test_a_service_without_a_model_becomes_ready_when_one_is_promoted(place: Place) -> None:
    hidden = place.models.rename(place.models.with_name("hidden"))
    promoted = hidden / "registry.json"
    place.models.mkdir()
    shutil.copy(promoted, place.models)  # names a champion that is not there
    with TestClient(create_app(place.settings)) as opened:
        problem_of(opened.post("/predict", json=PROMISED), 503)
        shutil.copy(hidden / "lstm_v1.pth", place.models)
        assert eventually(lambda: opened.get("/health/ready").status_code == 200)
        assert opened.post("/predict", json=PROMISED).status_code == 200


def test_without_a_watch_nothing_changes(place: Place) -> None:
    still = place.settings.model_copy(update={"service": LifeSettings(watch_s=0)})
    with TestClient(create_app(still)) as opened:
        promote(place.models, "lstm_v2", WHY)
        time.sleep(1.0)
        assert serves(opened, "lstm_v1")()


def test_files_that_change_while_they_are_read_are_not_served(place: Place) -> None:
    """What was read may be half of the old and half of the new."""
    source = Source(place.tables)
    published: list[Served] = []

    def load() -> Forecaster:
        made = source.open()
        if len(published) == 1 and not slips:
            slips.append(1)
            place.models.joinpath("lstm_v3.pth").write_bytes(bundle_content())
        return made

    slips: list[int] = []
    keeper = Keeper(load, source, published.append)
    keeper.start(WATCH_S)
    promote(place.models, "lstm_v2", WHY)
    assert eventually(lambda: len(published) == 2)
    keeper.stop()
    assert slips
    assert published[1].stamp == source.look()


def test_a_failure_without_a_change_is_tried_again_later(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "RETRY_S", 0.1)
    source, calls = Source(place.tables), []

    def load() -> Forecaster:
        calls.append(1)
        if len(calls) < 3:
            raise DataError("a row of tomorrow")
        return source.open()

    published: list[Served] = []
    keeper = Keeper(load, source, published.append)
    keeper.start(WATCH_S)
    assert eventually(lambda: bool(published))
    keeper.stop()
    assert (len(calls), keeper.failure) == (3, None)


def test_forecasts_are_recorded_under_the_id_they_carry(place: Place) -> None:
    with TestClient(create_app(place.settings)) as opened:
        answers = [opened.post("/predict", json=PROMISED).json() for _ in range(3)]
        promote(place.models, "lstm_v2", WHY)
        assert eventually(serves(opened, "lstm_v2"))
        answers.append(opened.post("/predict", json=PROMISED).json())
    with closing(ForecastStore(place.store)) as store:
        assert store.counts()["forecasts"] == 6  # three strategies by two models, asked again or not
        for answer in answers:
            for prediction in answer["predictions"].values():
                kept, lineage = store.find(prediction["forecast_id"])
                assert (kept.made.apy, kept.made.strategy_id) == (prediction["apy"], prediction["strategy_id"])
                assert answer["model_version"].startswith(lineage.bundle.removesuffix(".pth"))


@pytest.mark.parametrize("wish", [False, None])
def test_simulated_forecasts_are_recorded_only_on_request(place: Place, wish: bool | None) -> None:
    settings = place.settings.model_copy(update={"service": LifeSettings(record=wish)})
    with TestClient(create_app(settings)) as opened:
        predictions = opened.post("/predict", json=PROMISED).json()["predictions"]
    assert all("forecast_id" not in prediction for prediction in predictions.values())
    assert not place.store.exists()


def test_real_forecasts_are_recorded_where_the_store_can_be_written(place: Place) -> None:
    real = replace(Forecaster.open(place.tables).ask(Question(["aave"])), simulated=False)
    recorder = recorder_for(None)
    assert recorder is not None
    assert recorder.take(real)
    recorder.stop()
    assert recorded(place) == 1


def test_without_a_place_to_write_nothing_is_recorded_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AEGIS_MONITORING", str(tmp_path / "file" / "forecasts.sqlite"))
    assert recorder_for(None) is None
    asked_for = recorder_for(True)
    assert asked_for is not None
    asked_for.stop()


def test_a_store_that_is_none_costs_no_forecast(place: Place, opened: TestClient) -> None:
    place.store.parent.mkdir(parents=True)
    place.store.write_bytes(b"something else" * 100)
    answer = opened.post("/predict", json=PROMISED)
    assert answer.status_code == 200
    assert eventually(lambda: ready(opened).get("warnings") == ["3 forecasts given out could not be recorded"])
    assert str(place.store.parent) not in opened.get("/health/ready").text
    place.store.unlink()
    opened.post("/predict", json=PROMISED)  # was not recorded, so it is tried again
    assert eventually(lambda: place.store.exists() and recorded(place) == 3)


def recorded(place: Place) -> int:
    with closing(ForecastStore(place.store)) as store:
        return store.counts()["forecasts"]


def test_a_locked_store_blocks_neither_requests_nor_the_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_WAITING", 2)
    monkeypatch.setattr(recording, "STOP_WAIT_S", 0.2)
    answers = distinct_answers(place)
    ForecastStore(place.store).close()
    with closing(sqlite3.connect(place.store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        recorder = Recorder(place.store)
        started = time.monotonic()
        taken = [recorder.take(answer) for answer in answers]
        assert recorder.take(answers[0])  # waits already: takes no room
        recorder.stop()
        assert time.monotonic() - started < 5.0
    assert 2 <= sum(taken) <= 3
    assert recorder.dropped == taken.count(False)
    recorder._thread.join(WAIT_S)  # no longer locked: what was taken is written in the end
    assert recorded(place) == sum(taken)


def test_a_recorder_knows_what_it_has_taken(place: Place) -> None:
    first, second, *_ = distinct_answers(place)
    recorder = Recorder(place.store)
    assert recorder.take(first)
    known, unknown = ([answer.forecast_id(row) for row in answer.rows] for answer in (first, second))
    assert recorder.knows(known, simulated=True)
    assert not recorder.knows(unknown, simulated=True)
    assert not recorder.knows([*known, *unknown], simulated=True)
    recorder.stop()
    real_only = Recorder(place.store, simulated_too=False)
    assert not real_only.take(first)
    assert not real_only.knows([], simulated=True)
    real_only.stop()


def test_only_what_was_asked_for_is_recorded(place: Place) -> None:
    """Everything is forecast at once, and so known; but it was not given out."""
    with TestClient(create_app(place.settings)) as opened:
        for names in (["aave"], ["aave", "AAVE", "lido"], ["lido"]):
            answer = opened.post("/predict", json={"strategies": names}).json()
            assert all("forecast_id" in prediction for prediction in answer["predictions"].values())
        opened.get("/strategies")
        opened.get("/strategies/delta/fan?horizon_days=2")
    assert recorded(place) == 2


def distinct_answers(place: Place) -> list[Answer]:
    forecaster = Forecaster.open(place.tables)
    return [forecaster.ask(Question(["aave"], days)) for days in range(1, 9)]


def test_the_settings_have_names_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LifeSettings() == LifeSettings(watch_s=5.0, record=None)
    monkeypatch.setenv("AEGIS_SERVICE__WATCH_S", "0.5")
    monkeypatch.setenv("AEGIS_SERVICE__RECORD", "false")
    assert read_settings().service == LifeSettings(watch_s=0.5, record=False)
    monkeypatch.setenv("AEGIS_SERVICE__WATCH_S", "-1")
    with pytest.raises(RequestError, match="AEGIS_SERVICE__WATCH_S: received '-1'"):
        read_settings()
