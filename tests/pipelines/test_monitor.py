from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from bundles import market, trained_until

from aegis_yield.cli.app import main
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import DataError
from aegis_yield.models.bundle import Bundle
from aegis_yield.monitoring.alarms import RAISED
from aegis_yield.monitoring.store import ForecastStore
from aegis_yield.pipelines.calibrate import calibrate
from aegis_yield.pipelines.monitor import MonitorOrder, MonitorReport, monitor, report_to_json, settle, world_of
from aegis_yield.pipelines.names import load_names
from aegis_yield.pipelines.predict import Forecaster, Question, to_json
from aegis_yield.pipelines.record import open_store, record_forecasts, store_path
from aegis_yield.reporting.monitor_page import write_monitor_page
from aegis_yield.reporting.monitor_prometheus import prometheus_text

TODAY = market().last_date
WEEKS = 12


def days_ago(days: int) -> dt.date:
    return TODAY - dt.timedelta(days=days)


@pytest.fixture(scope="module")
def seer(tiny_bundle: Bundle, tiny_model: Path) -> Forecaster:
    return Forecaster(market(), tiny_bundle, "lstm_v1-test", load_names(), tiny_model)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ForecastStore]:
    with closing(ForecastStore(tmp_path / "forecasts.sqlite")) as found:
        yield found


@pytest.fixture(scope="module")
def filled(seer: Forecaster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a forecast of every strategy in every week of a quarter."""
    path = tmp_path_factory.mktemp("filled") / "forecasts.sqlite"
    with closing(ForecastStore(path)) as found:
        for week in range(WEEKS):
            record_forecasts(seer.ask(Question(None, 7, as_of=days_ago(7 * week))), found)
    return path


@pytest.fixture
def busy(filled: Path, tmp_path: Path) -> Iterator[ForecastStore]:
    """A copy of it, to be written to."""
    shutil.copy(filled, tmp_path / "busy.sqlite")
    with closing(ForecastStore(tmp_path / "busy.sqlite")) as found:
        yield found


@pytest.fixture(scope="module")
def faulty_report(filled: Path, tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> MonitorReport:
    """What is said of a quarter at whose end lending rates are in percent."""
    path = tmp_path_factory.mktemp("faulty") / "forecasts.sqlite"
    shutil.copy(filled, path)
    with closing(ForecastStore(path)) as found:
        return monitor(order(found, tiny_bundle, planted(TODAY)))


def order(store: ForecastStore, bundle: Bundle, dataset: Dataset | None = None, today: dt.date = TODAY) -> MonitorOrder:
    return MonitorOrder(dataset or market(), bundle, "lstm_v1-test", store, today)


def test_an_answer_is_recorded_with_its_lineage(store: ForecastStore, seer: Forecaster) -> None:
    answer = seer.ask(Question(["aave", "lido"], 7))
    ids = record_forecasts(answer, store)
    assert [entry["forecast_id"] for entry in to_json(answer)["predictions"].values()] == ids
    kept, lineage = store.find(ids[0])
    assert lineage.bundle == "lstm_v1.pth"
    assert lineage.simulated
    assert kept.made.apy == answer.rows[0].apy
    assert kept.made.quantiles[1] == answer.rows[0].low
    assert record_forecasts(answer, store) == ids
    assert store.counts()["forecasts"] == 2


def test_the_same_strategy_by_two_names_is_one_forecast(store: ForecastStore, seer: Forecaster) -> None:
    first, second = record_forecasts(seer.ask(Question(["aave", "aave-v3:ethereum:usdc"], 7)), store)
    assert first == second
    assert store.counts()["forecasts"] == 1


def test_an_answer_of_a_model_without_a_file_cannot_be_recorded(store: ForecastStore, seer: Forecaster) -> None:
    answer = replace(seer, bundle_path=None).ask(Question(["aave"], 7))
    assert "forecast_id" not in to_json(answer)["predictions"]["aave"]
    with pytest.raises(DataError, match="from which model file"):
        record_forecasts(answer, store)


def test_where_forecasts_are_kept_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    assert store_path() == tmp_path / "data" / "monitoring" / "forecasts.sqlite"
    monkeypatch.setenv("AEGIS_MONITORING", str(tmp_path / "x.sqlite"))
    assert store_path() == tmp_path / "x.sqlite"
    with pytest.raises(DataError, match="no forecasts are recorded yet"):
        open_store(must_exist=True)
    assert not (tmp_path / "x.sqlite").exists()


def test_outcomes_are_what_the_tables_say(busy: ForecastStore) -> None:
    settle(busy, market())
    kept = busy.scored(world_of(market()), days_ago(400), TODAY)
    assert {one.made.origin for one in kept} == {days_ago(7 * week) for week in range(1, WEEKS)}
    one = kept[0]
    rows = market().yields.filter(
        (pl.col("strategy_id") == one.made.strategy_id)
        & pl.col("date").is_between(one.made.origin + dt.timedelta(days=1), one.made.due)
    )
    assert one.actual_apy == pytest.approx(np.exp(np.log1p(rows["apy"].to_numpy()).mean()) - 1)


def collected() -> Dataset:
    """The small market as if it were real, and everything paid twice as much."""
    twice = market().yields.with_columns(pl.lit("collected").alias("source"), pl.col("apy") * 2)
    return replace(market(), yields=twice, name="collected tables")


def test_simulated_and_real_forecasts_are_scored_by_their_own_market(
    store: ForecastStore, seer: Forecaster, tiny_bundle: Bundle
) -> None:
    question = Question(["aave", "lido"], 7, as_of=days_ago(20))
    real = replace(seer, dataset=collected())
    simulated_ids, real_ids = (record_forecasts(one.ask(question), store) for one in (seer, real))
    assert len({*simulated_ids, *real_ids}) == 4
    assert settle(store, market()) == 2
    assert [store.find(one)[0].actual_apy for one in real_ids] == [None, None]
    report = monitor(order(store, tiny_bundle, collected()))
    for known, alike in zip(real_ids, simulated_ids, strict=True):
        paid, simulated = (store.find(one)[0].actual_apy for one in (known, alike))
        assert paid is not None
        assert paid == pytest.approx(2 * simulated, rel=0.02)
    assert report.counts == {"forecasts": 2, "scored": 2, "open": 0}
    assert "2 recorded forecasts are left out: they are not of the real market" in report.notes
    assert {score.n_outcomes for score in report.scores} == {1}
    other = replace(market(), name="another simulated market")
    assert settle(store, other) == 0
    assert monitor(order(store, tiny_bundle, other)).counts["forecasts"] == 0


def test_alarms_of_one_market_are_none_of_another(store: ForecastStore, tiny_bundle: Bundle) -> None:
    late = TODAY + dt.timedelta(days=5)
    assert [alarm.name for alarm in monitor(order(store, tiny_bundle, today=late)).raised] == ["stale:all data"]
    named_alike = replace(collected(), name=market().name)  # simulated tables gave way to collected ones in one folder
    fresh = monitor(order(store, tiny_bundle, named_alike))
    assert "stale:all data" not in [alarm.name for alarm in fresh.raised]
    assert all(event["name"] != "stale:all data" for event in fresh.events)
    assert "stale:all data" in [event["name"] for event in monitor(order(store, tiny_bundle, today=late)).events]


def test_an_outcome_with_a_missing_day_waits_and_then_is_given_up(busy: ForecastStore) -> None:
    hole = days_ago(7 * (WEEKS - 1) - 3)
    recent = days_ago(4)
    gaps = replace(market(), yields=market().yields.filter(~pl.col("date").is_in([hole, recent])))
    settle(busy, gaps)
    counts = busy.counts()
    assert counts["scored"] < counts["forecasts"]
    still_open = {kept.made.origin for kept in busy.waiting(world_of(market()), TODAY)}
    assert days_ago(7) in still_open
    assert days_ago(7 * (WEEKS - 1)) not in still_open


def test_a_report_has_scores_alarms_and_drift(busy: ForecastStore, tiny_bundle: Bundle) -> None:
    report = monitor(order(busy, tiny_bundle))
    assert report.counts["scored"] > 0
    assert {score.window_days for score in report.scores} == {30, 60}
    assert all(0 <= score.coverage <= 1 for score in report.scores)
    assert {alarm.name.partition(":")[0] for alarm in report.alarms} >= {"level", "volatility", "units", "stale"}
    assert report.drifts
    assert report.data_age_days == 0
    content = json.loads(json.dumps(report_to_json(report), allow_nan=False))
    assert content["model_version"] == "lstm_v1-test"


def test_running_again_changes_nothing(busy: ForecastStore, tiny_bundle: Bundle) -> None:
    first = monitor(order(busy, tiny_bundle))
    again = monitor(order(busy, tiny_bundle))
    assert again.alarms == first.alarms
    assert again.news == ()
    assert again.events == first.events
    assert again.scores == first.scores


def test_day_by_day_is_the_same_as_all_at_once(
    busy: ForecastStore, store: ForecastStore, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    faulty = planted(TODAY)
    at_once = monitor(order(busy, tiny_bundle, faulty))
    with closing(ForecastStore(tmp_path / "other.sqlite")) as other:
        for day in (12, 3, 0):
            known = faulty.known_at(days_ago(day))
            report = monitor(order(other, tiny_bundle, known, days_ago(day)))
    names = {event["name"] for event in at_once.events if not event["name"].startswith(("coverage", "skill", "bias"))}
    assert names == {event["name"] for event in report.events}


def planted(last: dt.date) -> Dataset:
    """Lending rates a hundred times too high over the last ten days."""
    tables = market()
    lending = tables.strategies.filter(pl.col("category") == "lending")["strategy_id"]
    wrong = pl.col("strategy_id").is_in(lending.to_list()) & (pl.col("date") > last - dt.timedelta(days=10))
    apy = pl.when(wrong).then(pl.col("apy") * 100).otherwise(pl.col("apy")).alias("apy")
    return replace(tables, yields=tables.yields.with_columns(apy))


def test_rates_in_percent_raise_the_alarm_with_a_reason(faulty_report: MonitorReport) -> None:
    alarm = next(alarm for alarm in faulty_report.raised if alarm.name == "units:lending")
    assert "pay about 100 times as much or as little as before" in alarm.reason
    assert dt.date.fromisoformat(alarm.since) <= days_ago(8)
    assert any(event.kind == RAISED and event.name == "units:lending" for event in faulty_report.news)


def test_old_data_is_said_to_be_stale_and_new_data_clears_it(store: ForecastStore, tiny_bundle: Bundle) -> None:
    report = monitor(order(store, tiny_bundle, today=TODAY + dt.timedelta(days=5)))
    stale = next(alarm for alarm in report.raised if alarm.name.startswith("stale"))
    assert "5 days before" in stale.reason
    report = monitor(order(store, tiny_bundle, today=TODAY + dt.timedelta(days=1)))
    assert not [alarm for alarm in report.raised if alarm.name.startswith("stale")]


def test_without_the_days_of_training_drift_is_not_judged_and_that_is_said(
    store: ForecastStore, tiny_bundle: Bundle
) -> None:
    since = trained_until() - dt.timedelta(days=20)
    tables = market()
    late = replace(tables, yields=tables.yields.filter(pl.col("date") >= since))
    report = monitor(order(store, tiny_bundle, late))
    assert report.drifts == ()
    assert "drift against training cannot be judged" in report.notes[0]


def test_what_is_usual_stays_what_training_showed_when_intervals_have_learned_since(
    store: ForecastStore, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    later = calibrate(tiny_bundle, market()).bundle
    assert later.data_end == TODAY.isoformat()
    with closing(ForecastStore(tmp_path / "other.sqlite")) as other:
        plain, recalibrated = monitor(order(store, tiny_bundle)), monitor(order(other, later))
    assert plain.drifts == recalibrated.drifts != ()
    assert plain.alarms == recalibrated.alarms
    assert plain.recalibration != ()
    assert recalibrated.recalibration == ()  # it knows them


# Exposition


def samples_of(text: str) -> dict[str, float]:
    """Parse Prometheus text as its specification has it; refuse anything else."""
    found: dict[str, float] = {}
    typed: set[str] = set()
    label = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
    sample = re.compile(
        rf"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{{{label}(?:,{label})*\}})? (NaN|[+-]Inf|-?[0-9.]+(?:e[+-]?\d+)?)"
    )
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in typed, "a family comes once, in one piece"
            assert kind == "gauge"
            typed.add(name)
        elif line.startswith("# HELP "):
            assert len(line.split(" ", 3)) == 4
        else:
            match = sample.fullmatch(line)
            assert match, line
            assert match[1] in typed
            assert match[1] + (match[2] or "") not in found
            found[match[1] + (match[2] or "")] = float(match[3].replace("Inf", "inf"))
    return found


def test_the_prometheus_text_is_valid_and_complete(faulty_report: MonitorReport) -> None:
    report = faulty_report
    found = samples_of(prometheus_text(report))
    assert found["aegis_monitor_data_age_days"] == 0
    assert found['aegis_monitor_alarm{kind="units",subject="lending"}'] == 1
    assert found["aegis_monitor_alarms_raised"] == len(report.raised)
    score = report.scores[0]
    key = f'{{category="{score.category}",window_days="{score.window_days}"}}'
    assert found[f"aegis_monitor_coverage_90{key}"] == pytest.approx(score.coverage)


def test_odd_names_are_escaped(faulty_report: MonitorReport) -> None:
    report = replace(faulty_report, model_version='a "b"\\\nc')
    text = prometheus_text(report)
    assert r'model_version="a \"b\"\\\nc"' in text
    samples_of(text)


def test_the_page_says_what_the_report_says(faulty_report: MonitorReport, tmp_path: Path) -> None:
    write_monitor_page(faulty_report, tmp_path / "monitor.html")
    page = (tmp_path / "monitor.html").read_text()
    assert "SIMULATED" in page
    assert "units:lending" in page
    assert "Inputs against training" in page


def left_with(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def test_the_commands_record_and_monitor(
    home: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AEGIS_HOME", str(home))
    monkeypatch.setenv("AEGIS_MONITORING", str(tmp_path / "store.sqlite"))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    assert left_with(["predict", "--record", "--data", str(tables), "--strategies", "aave", "lido"]) == 0
    said = "".join(capsys.readouterr().err.split("\n"))
    assert re.search(r"recorded 2 forecasts: .*store.sqlite; follow one back with: aegis trace \w{16}", said)
    today = (TODAY + dt.timedelta(days=4)).isoformat()
    watch = ["monitor", "--data", str(tables), "--today", today]
    files = ["--prometheus", str(tmp_path / "out" / "a.prom"), "--html", str(tmp_path / "out" / "a.html")]
    assert left_with([*watch, *files, "--strict", "--json"]) == 3
    content = json.loads(capsys.readouterr().out)
    assert content["counts"] == {"forecasts": 2, "scored": 0, "open": 2}
    assert content["n_raised"] >= 1
    assert samples_of((tmp_path / "out" / "a.prom").read_text())
    assert (tmp_path / "out" / "a.html").is_file()
    assert left_with(watch) == 0
    assert "stale:all data" in capsys.readouterr().out
