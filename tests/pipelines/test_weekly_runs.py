"""Runs over weeks of growing tables: intervals learn, trainings stay due, the gate asks once, people decide."""

from __future__ import annotations

import datetime as dt
import signal
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from bundles import NOT_RECORDED, TINY_PLAN, market, start, trained_until
from lifted_models import lifted

from aegis_yield.domain.dataset import Dataset
from aegis_yield.models.bundle import Bundle, bundle_bytes, load_bundle
from aegis_yield.pipelines.calibrate import learned_version, let_serve
from aegis_yield.pipelines.run import RunOrder, RunSummary, run
from aegis_yield.pipelines.shelf import Shelf
from aegis_yield.preprocessing.tables import write_dataset
from aegis_yield.registry import aliases, read_registry
from aegis_yield.registry.aliases import Why
from aegis_yield.registry.lock import held

WHY = Why("a test")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {"AEGIS_HOME": str(tmp_path), "AEGIS_OFFLINE": "1", **NOT_RECORDED}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tables"


def put(models: Path, number: int, bundle: Bundle, too_high: float = 0.0, simulated: bool = True) -> None:
    data = {**bundle.provenance["data"], "simulated": simulated}
    changed = replace(lifted(bundle, too_high), provenance={**bundle.provenance, "data": data, "number": number})
    (models / f"lstm_v{number}.pth").write_bytes(bundle_bytes(changed))


def grown(folder: Path, days: int, tables: Dataset | None = None) -> Path:
    """Write the tables as they were known so many days after the training of the tiny model."""
    write_dataset((tables or market()).known_at(trained_until() + dt.timedelta(days=days)), folder)
    return folder


def ends(summary: RunSummary) -> dict[str, str]:
    return {step.name: str(step.status) for step in summary.steps}


def said(summary: RunSummary, step: str) -> str:
    return next(one.said for one in summary.steps if one.name == step)


def champion(models: Path) -> str | None:
    return read_registry(models).champion


def versions(models: Path) -> list[str]:
    return sorted((path.stem for path in models.glob("lstm_v*.pth")), key=lambda name: int(name.removeprefix("lstm_v")))


def test_week_after_week_intervals_learn_and_the_rest_goes_its_way(
    models: Path, folder: Path, tiny_bundle: Bundle
) -> None:
    put(models, 1, tiny_bundle)
    order = RunOrder(folder, plan=TINY_PLAN, train_every_days=13)
    for week, days in enumerate((79, 86, 93, 100)):
        grown(folder, days)
        summary = run(order)
        assert summary.exit_code == 0, summary
        # "What was in use before" is the first champion; from then on its networks serve with newer intervals.
        assert champion(models) == f"lstm_v{week + 2}"
        assert f"lstm_v{week + 2}-" in said(summary, "forecast")
        served = load_bundle(models / f"lstm_v{week + 2}.pth")
        assert served.data_end == (trained_until() + dt.timedelta(days=days)).isoformat()
        assert served.calibrated["from"].startswith(f"lstm_v{week + 1}-")
        assert said(summary, "train").startswith(f"not due: lstm_v1 was trained on days to {trained_until()}")
        assert set(ends(run(order)).values()) == {"unchanged"}
    assert said(summary, "calibrate").startswith(
        "champion: lstm_v4 → lstm_v5, same networks as lstm_v4; intervals learned from "
    )
    # A training is due by days of data since the last *training*, and its result meets the champion as it was trained.
    grown(folder, 104)
    summary = run(order)
    assert said(summary, "train").startswith("lstm_v6 trained on days to ")
    assert said(summary, "gate").startswith("lstm_v6 against lstm_v5: keep")
    assert "not due: lstm_v5 knows outcomes to" in said(summary, "calibrate")
    n_decisions = len(list((models / "decisions").glob("*.json")))
    # The champion learns once more. It is still the champion that the challenger lost to: nobody asks again.
    grown(folder, 107)
    summary = run(order)
    assert champion(models) == "lstm_v7"
    assert (ends(summary)["gate"], ends(summary)["calibrate"]) == ("unchanged", "done")
    grown(folder, 109)
    assert ends(run(order))["gate"] == "unchanged"
    assert len(list((models / "decisions").glob("*.json"))) == n_decisions
    assert load_bundle(models / "lstm_v7.pth").trained_to == trained_until().isoformat()


def test_a_challenger_that_wins_serves_with_intervals_of_today(models: Path, tables: Path, tiny_bundle: Bundle) -> None:
    put(models, 1, tiny_bundle, 6.0), put(models, 2, tiny_bundle)
    aliases.promote(models, "lstm_v1", WHY)
    order = RunOrder(tables, train=False)
    summary = run(order)
    assert said(summary, "promote") == "champion: lstm_v1 → lstm_v2"
    assert said(summary, "calibrate").startswith("champion: lstm_v2 → lstm_v3, same networks as lstm_v2; ")
    assert "lstm_v3-" in said(summary, "forecast")
    assert [change.after for change in read_registry(models).history if change.alias == "champion"] == [
        "lstm_v1", "lstm_v2", "lstm_v3",
    ]  # fmt: skip
    assert set(ends(run(order)).values()) == {"unchanged"}


def test_who_was_brought_back_is_left_as_it_is(models: Path, folder: Path, tiny_bundle: Bundle) -> None:
    put(models, 1, tiny_bundle, 6.0), put(models, 2, tiny_bundle)
    aliases.promote(models, "lstm_v1", WHY)
    order = RunOrder(grown(folder, 95), train=False)
    run(order)
    assert champion(models) == "lstm_v3"
    aliases.rollback(models, WHY)  # to the same networks, as they were trained
    grown(folder, 105)
    summary = run(order)
    assert said(summary, "calibrate") == (
        "a person brought lstm_v2 back, and it stays as it is until one asks: aegis calibrate --update"
    )
    assert ends(summary)["gate"] == "unchanged"
    assert "lstm_v2-" in said(summary, "forecast")
    aliases.rollback(models, WHY)  # to the networks before
    grown(folder, 109)
    summary = run(order)
    assert "lstm_v2 was champion before and was replaced; only a person brings it back" in said(summary, "gate")
    assert "a person brought lstm_v1 back" in said(summary, "calibrate")
    assert champion(models) == "lstm_v1"
    assert versions(models) == ["lstm_v1", "lstm_v2", "lstm_v3"]
    # A person goes on from there, and so do runs.
    known = market().known_at(trained_until() + dt.timedelta(days=100))
    let_serve(Shelf.open(), learned_version(models / "lstm_v1.pth", known), "lstm_v1")
    assert "champion: lstm_v4 → lstm_v5" in said(run(order), "calibrate")


def test_a_challenger_whose_recalibration_was_replaced_is_not_promoted_again(
    models: Path, tables: Path, tiny_bundle: Bundle
) -> None:
    put(models, 1, tiny_bundle, 6.0), put(models, 2, tiny_bundle)
    learned = learned_version(models / "lstm_v2.pth", market())
    for name in ("lstm_v1", learned.stem, "lstm_v1"):  # lstm_v2 itself never was champion
        aliases.promote(models, name, WHY)
    summary = run(RunOrder(tables, train=False))
    assert "lstm_v2 was champion before and was replaced" in said(summary, "gate")
    assert champion(models) == "lstm_v4"
    assert load_bundle(models / "lstm_v4.pth").calibrated["from"].startswith("lstm_v1-")


def test_killed_between_writing_and_promoting_nothing_is_written_twice(
    models: Path, tables: Path, tiny_bundle: Bundle
) -> None:
    put(models, 1, tiny_bundle)
    aliases.promote(models, "lstm_v1", WHY)
    written = models / "lstm_v2.pth"
    command = ["-c", "from aegis_yield.cli.app import main; main()", "run", "--data", tables, "--no-train"]
    with held(models / ".registry.lock"):  # so far it comes: the version is written, the alias cannot move
        process = start(command, models.parent, models.parent, AEGIS_OFFLINE="1")
        give_up = time.monotonic() + 120
        while not written.exists() and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert champion(models) == "lstm_v1"
    before = written.read_bytes()
    summary = run(RunOrder(tables, train=False))
    assert said(summary, "calibrate").startswith("champion: lstm_v1 → lstm_v2, same networks as lstm_v1; ")
    assert "lstm_v2-" in said(summary, "forecast")
    assert versions(models) == ["lstm_v1", "lstm_v2"]
    assert written.read_bytes() == before


def test_without_a_champion_what_was_in_use_becomes_it(models: Path, tables: Path, tiny_bundle: Bundle) -> None:
    put(models, 1, tiny_bundle)
    learned_version(models / "lstm_v1.pth", market().known_at(trained_until() + dt.timedelta(days=60)))
    summary = run(RunOrder(tables, train=False))
    assert said(summary, "gate").endswith("there is nothing to beat")
    assert said(summary, "promote") == "champion: none → lstm_v2"  # the newest, which served, not what it was made from
    assert champion(models) == "lstm_v3"


def test_where_only_a_recalibrated_version_was_imported_trainings_are_due_by_its_training(
    models: Path, folder: Path, tiny_bundle: Bundle
) -> None:
    put(models, 1, tiny_bundle)
    learned_version(models / "lstm_v1.pth", market().known_at(trained_until() + dt.timedelta(days=95)))
    (models / "lstm_v1.pth").unlink()
    order = RunOrder(grown(folder, 103), plan=TINY_PLAN, train_every_days=13)
    summary = run(order)
    due = trained_until() + dt.timedelta(days=104)
    assert said(summary, "train") == (
        f"not due: lstm_v2 was trained on days to {trained_until()}; next when the data reaches {due}"
    )
    assert champion(models) == "lstm_v3"
    grown(folder, 104)
    summary = run(order)
    assert said(summary, "train").startswith("lstm_v4 trained on days to ")
    assert said(summary, "gate").startswith("lstm_v4 against lstm_v3: ")


def test_it_can_be_switched_off_and_costs_nothing_then(models: Path, folder: Path, tiny_bundle: Bundle) -> None:
    put(models, 1, tiny_bundle)
    order = RunOrder(grown(folder, 100), train=False, calibrate=False)
    assert said(run(order), "calibrate") == "not asked for"
    assert versions(models) == ["lstm_v1"]
    assert set(ends(run(order)).values()) == {"unchanged"}
    assert ends(run(replace(order, calibrate=True)))["calibrate"] == "done"
    assert champion(models) == "lstm_v2"


def test_too_few_days_are_waited_for(models: Path, folder: Path, tiny_bundle: Bundle) -> None:
    put(models, 1, tiny_bundle)
    aliases.promote(models, "lstm_v1", WHY)
    order = RunOrder(grown(folder, 7), train=False)
    due = trained_until() + dt.timedelta(days=8)
    assert said(run(order), "calibrate") == (
        f"not due: lstm_v1 knows outcomes to {trained_until()}; next when the data reaches {due}"
    )
    grown(folder, 8)
    summary = run(order)
    assert "champion: lstm_v1 → lstm_v2" in said(summary, "calibrate")
    assert said(summary, "evaluate").startswith("lstm_v1: no strategy has enough outcomes yet for a relMAE, ")


def test_a_failure_stops_no_forecast(models: Path, folder: Path, tiny_bundle: Bundle) -> None:
    put(models, 1, tiny_bundle)
    aliases.promote(models, "lstm_v1", WHY)
    lock = models / ".registry.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()  # nobody can move an alias
    summary = run(RunOrder(grown(folder, 9), train=False))
    assert (ends(summary)["calibrate"], ends(summary)["forecast"]) == ("failed", "done"), summary
    assert ".registry.lock" in said(summary, "calibrate")
    assert (summary.exit_code, champion(models)) == (1, "lstm_v1")
    lock.rmdir()
    assert "champion: lstm_v1 → lstm_v2" in said(run(RunOrder(folder, train=False)), "calibrate")
    assert versions(models) == ["lstm_v1", "lstm_v2"]


def test_nothing_to_learn_is_no_failure(models: Path, folder: Path, tiny_bundle: Bundle) -> None:
    put(models, 1, tiny_bundle)
    aliases.promote(models, "lstm_v1", WHY)
    # Nobody has a row on the origins whose outcomes are known: it is due, and there is nothing to learn.
    gaps = [trained_until() + dt.timedelta(days=days) for days in (1, 2, 6, 8)]
    holed = replace(market(), yields=market().yields.filter(~pl.col("date").is_in(gaps)))
    summary = run(RunOrder(grown(folder, 9, holed), train=False))
    assert summary.exit_code == 0, summary
    assert said(summary, "calibrate") == "nothing to learn yet: no strategy has an outcome that lstm_v1 does not know"
    assert said(summary, "evaluate") == (
        f"no strategy has an origin after {trained_until()} from which lstm_v1 could be judged yet"
    )
    assert versions(models) == ["lstm_v1"]


def test_real_models_learn_from_real_data_only(models: Path, tables: Path, folder: Path, tiny_bundle: Bundle) -> None:
    put(models, 1, tiny_bundle, simulated=False), put(models, 2, tiny_bundle)
    aliases.promote(models, "lstm_v1", WHY)
    on_simulated = run(RunOrder(tables, train=False))
    assert said(on_simulated, "calibrate") == "a model of simulated data never takes the place of a real one (lstm_v1)"
    aliases.promote(models, "lstm_v2", WHY)
    assert "never takes the place" in said(run(RunOrder(tables, train=False)), "calibrate")
    collected = market().yields.with_columns(pl.lit("collected").alias("source"))
    grown(folder, 100, replace(market(), yields=collected))
    on_real = run(RunOrder(folder, train=False))
    assert said(on_real, "calibrate") == "lstm_v2 was trained on simulated data, these are not"
    assert versions(models) == ["lstm_v1", "lstm_v2"]
    assert champion(models) == "lstm_v2"
