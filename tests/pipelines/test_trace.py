from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bundles import market
from pytest_httpserver import HTTPServer
from small_world import World, quiet_server, small_world

from aegis_yield.cli.app import main
from aegis_yield.collection.plan import Wish
from aegis_yield.domain.errors import DataError
from aegis_yield.models.bundle import Bundle
from aegis_yield.monitoring.store import ForecastStore
from aegis_yield.pipelines.collect import CollectionFolder, collect
from aegis_yield.pipelines.names import load_names
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.pipelines.record import record_forecasts
from aegis_yield.pipelines.trace import trace_forecast
from aegis_yield.preprocessing.tables import read_dataset
from aegis_yield.utils.files import sha256_of

CARRY = "delta-neutral:lido-binance:steth-eth"


@pytest.fixture(scope="module")
def server() -> Iterator[HTTPServer]:
    with quiet_server() as found:
        yield found


@pytest.fixture
def world(server: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    found = small_world(server, tmp_path)
    for name, value in found.environment().items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ForecastStore]:
    with closing(ForecastStore(tmp_path / "store.sqlite")) as found:
        yield found


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AEGIS_HOME", str(home))
    return home


def test_a_forecast_leads_to_model_training_and_tables(
    at_home: Path, store: ForecastStore, tiny_bundle: Bundle, tiny_model: Path
) -> None:
    seer = Forecaster(market(), tiny_bundle, "lstm_v1-test", load_names(), tiny_model)
    answer = seer.ask(Question(["aave"], 7))
    (key,) = record_forecasts(answer, store)
    trace = trace_forecast(key[:10], store)
    assert trace["forecast"]["id"] == key
    assert trace["forecast"]["apy"] == answer.rows[0].apy
    assert trace["bundle"]["sha256"] == sha256_of(tiny_model)
    assert trace["bundle"]["found"] == str(tiny_model)
    assert trace["training"]["data"] == tiny_bundle.provenance["data"]
    assert trace["training"]["commit"] == tiny_bundle.provenance["commit"]
    assert trace["dataset"]["simulated"] is True
    assert len(trace["dataset"]["sha256"]) == 64
    assert trace["raw_files"] == []
    json.dumps(trace, allow_nan=False)


def test_a_model_that_is_gone_or_changed_is_said_to_be_missing(
    at_home: Path, store: ForecastStore, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "lstm_v77.pth"
    elsewhere.write_bytes(b"other bytes")
    seer = Forecaster(market(), tiny_bundle, "lstm_v77-test", load_names(), elsewhere)
    (key,) = record_forecasts(seer.ask(Question(["aave"], 7)), store)
    trace = trace_forecast(key, store)
    assert trace["bundle"]["found"] is None
    assert trace["training"]["provenance"] is None


@pytest.mark.parametrize("strategy", ["aave-v3:ethereum:usdc", CARRY])
def test_collected_tables_lead_to_raw_answers(
    world: World, at_home: Path, store: ForecastStore, tiny_bundle: Bundle, tiny_model: Path, strategy: str
) -> None:
    folder = CollectionFolder(Path(world.catalogue).parent / "data")
    collect(folder, Wish())
    dataset = read_dataset(folder.processed)
    seer = Forecaster(dataset, tiny_bundle, "lstm_v1-test", load_names(), tiny_model)
    (key,) = record_forecasts(seer.ask(Question([strategy], 7)), store)
    trace = trace_forecast(key, store)
    assert trace["dataset"]["still_the_same"] is True
    files = trace["raw_files"]
    assert all(item["exists"] for item in files)
    asked = {f"{item['source']}/{item['dataset']}" for item in files}
    own = {"defillama/chart"} if strategy != CARRY else {"defillama/chart", "binance/funding"}
    assert asked >= {*own, "binance/candles", "fear_greed/index"}
    charts = {item["entity"] for item in files if item["dataset"] == "chart"}
    assert len(charts) == 1  # no answer about another strategy
    time.sleep(1.0)  # the manifest knows its time to the second
    collect(folder, Wish())
    (folder.processed / "yields.parquet").write_bytes(b"changed")
    later = trace_forecast(key, store)
    assert later["dataset"]["still_the_same"] is False
    assert later["raw_files"] == files  # what came later did not make the forecast


def test_an_unknown_id_is_one_line(at_home: Path, store: ForecastStore) -> None:
    with pytest.raises(DataError, match="no forecast of that id is recorded"):
        trace_forecast("0123456789abcdef", store)


def test_the_command_follows_a_forecast_back(
    at_home: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AEGIS_MONITORING", str(tmp_path / "cli.sqlite"))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with pytest.raises(SystemExit, match="1"):
        main(["trace", "0123456789"])
    assert capsys.readouterr().err.startswith("error: ")
    main_quietly(["predict", "--record", "--json", "--data", str(tables), "--strategies", "aave"])
    key = json.loads(capsys.readouterr().out)["predictions"]["aave"]["forecast_id"]
    main_quietly(["trace", key, "--json"])
    assert json.loads(capsys.readouterr().out)["forecast"]["id"] == key
    main_quietly(["trace", key[:8]])
    assert "lstm_v1.pth" in capsys.readouterr().out


def main_quietly(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 0
