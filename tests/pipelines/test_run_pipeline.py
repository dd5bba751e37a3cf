"""One run after another: what is due is done, nothing twice, and what fails stops only what needs it."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bundles import NOT_RECORDED, TINY_PLAN, Silent, bundle_content, clean_environment, market, trained_until
from lifted_models import lifted
from small_world import World, quiet_server, small_world
from stores import Ledger, new_sqlite, sqlite_template
from werkzeug import Response

from aegis_yield.domain.errors import RequestError
from aegis_yield.models.bundle import Bundle, bundle_bytes, load_bundle
from aegis_yield.models.training import EpochReport
from aegis_yield.pipelines.gate import load_decision
from aegis_yield.pipelines.record import open_store
from aegis_yield.pipelines.run import RunOrder, RunSummary, run, runs_folder
from aegis_yield.pipelines.run_engine import Outcome, Results, Status, run_steps
from aegis_yield.pipelines.run_journal import only_run
from aegis_yield.pipelines.shelf import Shelf
from aegis_yield.preprocessing.tables import write_dataset
from aegis_yield.registry import aliases, read_registry
from aegis_yield.registry.aliases import Why
from aegis_yield.registry.settings import TrackingSettings

__all__ = ["new_sqlite", "sqlite_template"]

STEPS = ["collect", "validate", "train", "evaluate", "gate", "promote", "calibrate", "forecast", "allocate"]
WHY = Why("a test")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    monkeypatch.setenv("AEGIS_OFFLINE", "1")
    for name, value in NOT_RECORDED.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "models").mkdir()
    return tmp_path.resolve()


@pytest.fixture
def trained(project: Path) -> Path:
    """A project with the tiny model as its only version."""
    (project / "models" / "lstm_v1.pth").write_bytes(bundle_content())
    return project


def put(project: Path, number: int, bundle: Bundle, too_high: float = 0.0) -> None:
    changed = replace(lifted(bundle, too_high), provenance={**bundle.provenance, "number": number})
    (project / "models" / f"lstm_v{number}.pth").write_bytes(bundle_bytes(changed))


def ends(summary: RunSummary) -> dict[str, str]:
    return {step.name: str(step.status) for step in summary.steps}


def said(summary: RunSummary, step: str) -> str:
    return next(one.said for one in summary.steps if one.name == step)


def tables_to(day: dt.date, folder: Path) -> Path:
    write_dataset(market().known_at(day), folder)
    return folder


def contents(project: Path) -> dict[str, tuple[int, int]]:
    """Return every file but logs and lock, with what changes when it is written."""
    files = [path for path in project.rglob("*") if path.is_file() and path.suffix != ".jsonl" and path.name != ".lock"]
    return {str(path.relative_to(project)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


# ── the whole ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_run_does_everything_and_the_second_nothing(project: Path, tables: Path) -> None:
    order = RunOrder(tables, plan=TINY_PLAN, capital_usd=100_000.0)
    first = run(order)
    assert ends(first) == dict.fromkeys(STEPS, "done"), first
    assert first.exit_code == 0
    bundle = load_bundle(project / "models" / "lstm_v1.pth")
    until = market().last_date - dt.timedelta(days=12 * 7 + order.horizon_days)
    assert bundle.data_end == until.isoformat()
    assert read_registry(project / "models").champion == "lstm_v2"  # the same, its intervals up to date
    assert load_bundle(project / "models" / "lstm_v2.pth").trained_to == until.isoformat()
    scores = json.loads((project / "reports" / "evaluation.json").read_text())
    assert scores["seen_in_training"] is False
    assert scores["n_origins"] >= 12
    forecasts = pl.read_parquet(project / "reports" / "forecasts.parquet")
    assert set(forecasts["model_version"].str.head(8)) == {"lstm_v2-"}
    with closing(open_store(must_exist=True)) as store:
        assert store.counts()["forecasts"] == forecasts.height > 0
    assert json.loads((project / "reports" / "allocation.json").read_text())["capital_usd"] == 100_000.0
    assert first.log is not None
    lines = [json.loads(line) for line in first.log.read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "step"] == STEPS
    assert lines[-1]["exit_code"] == 0

    before = contents(project)
    second = run(order)
    assert ends(second) == dict.fromkeys(STEPS, "unchanged"), second
    assert second.exit_code == 0
    assert contents(project) == before
    assert second.log != first.log


def test_only_what_a_change_touches_is_done_again(trained: Path, tables: Path, tmp_path: Path) -> None:
    order = RunOrder(tables, train=False)
    assert run(order).exit_code == 0
    (trained / "reports" / "forecasts.parquet").unlink()
    again = run(order)
    assert [name for name, end in ends(again).items() if end == "done"] == ["forecast"]
    assert (trained / "reports" / "forecasts.parquet").is_file()
    richer = run(replace(order, capital_usd=50_000.0))
    assert [name for name, end in ends(richer).items() if end == "done"] == ["allocate"]


def test_new_rows_are_forecast_and_evaluated(trained: Path, tmp_path: Path) -> None:
    folder = tables_to(market().last_date - dt.timedelta(days=1), tmp_path / "tables")
    order = RunOrder(folder, train=False)
    run(order)
    tables_to(market().last_date, folder)
    again = run(order)
    assert {name for name, end in ends(again).items() if end == "done"} >= {"validate", "evaluate", "forecast"}
    assert "not asked for" in said(again, "train")


def test_a_training_is_due_by_days_of_data(trained: Path, tables: Path) -> None:
    until = market().last_date - dt.timedelta(days=12 * 7 + 7)
    age = (until - trained_until()).days
    rested = run(RunOrder(tables, plan=TINY_PLAN, train_every_days=age + 1))
    due = market().last_date + dt.timedelta(days=1)
    not_due = f"not due: lstm_v1 was trained on days to {trained_until()}; next when the data reaches {due}"
    assert said(rested, "train") == not_due
    assert read_registry(trained / "models").champion == "lstm_v2"  # whose intervals know all days: it is no training
    worked = run(RunOrder(tables, plan=TINY_PLAN, train_every_days=age))
    assert "lstm_v3 trained" in said(worked, "train")
    assert said(worked, "gate").startswith("lstm_v3 against lstm_v2: ")
    assert worked.exit_code == 0


# ── the gate ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_better_challenger_is_promoted_and_forecasts_at_once(
    project: Path, tables: Path, tiny_bundle: Bundle
) -> None:
    put(project, 1, tiny_bundle, 6.0), put(project, 2, tiny_bundle)
    aliases.promote(project / "models", "lstm_v1", WHY)
    summary = run(RunOrder(tables, train=False, calibrate=False))
    registry = read_registry(project / "models")
    assert registry.champion == "lstm_v2", summary
    why = registry.history[-1].why
    assert why.decision is not None
    assert load_decision(why.decision, project / "models").verdict == "promote"
    assert "lstm_v2-" in said(summary, "forecast")
    # Somebody takes it back: no later run may overrule that.
    aliases.rollback(project / "models", WHY)
    later = run(RunOrder(tables, train=False, calibrate=False))
    assert "only a person brings it back" in said(later, "gate")
    assert "lstm_v1-" in said(later, "forecast")
    assert read_registry(project / "models").champion == "lstm_v1"


def test_killed_between_gate_and_promotion_the_decision_is_carried_out(
    project: Path, tables: Path, tiny_bundle: Bundle
) -> None:
    put(project, 1, tiny_bundle, 6.0), put(project, 2, tiny_bundle)
    aliases.promote(project / "models", "lstm_v1", WHY)
    order = RunOrder(tables, train=False, calibrate=False)
    before = (project / "models" / "registry.json").read_text()
    run(order)
    (project / "models" / "registry.json").write_text(before)
    state = json.loads((runs_folder() / "state.json").read_text())
    for step in ("promote", "forecast", "allocate"):
        del state["steps"][step]
    (runs_folder() / "state.json").write_text(json.dumps(state))
    summary = run(order)
    assert (ends(summary)["gate"], ends(summary)["promote"]) == ("unchanged", "done")
    assert read_registry(project / "models").champion == "lstm_v2"


def test_trainings_scores_and_promotions_are_recorded(
    project: Path,
    tables: Path,
    new_sqlite: Callable[[Path], TrackingSettings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AEGIS_TRACKING__ENABLED")
    settings = new_sqlite(project / "models")
    assert run(RunOrder(tables, plan=TINY_PLAN)).exit_code == 0
    ledger = Ledger(settings)
    assert ledger.aliases() == {"champion": "lstm_v2"}
    runs = {one.data.tags["aegis.bundle"]: one for one in ledger.runs()}
    assert runs.keys() == {"lstm_v1", "lstm_v2"}
    assert runs["lstm_v2"].data.tags["calibrated_from"] == "lstm_v1"
    assert runs["lstm_v2"].data.params["calibrated.until"] == market().last_date.isoformat()
    recorded = runs["lstm_v1"]
    assert recorded.data.metrics["h07/rel_mae"] > 0
    assert recorded.data.metrics["scouts/h07/rel_mae"] > 0


@pytest.mark.parametrize("is_due", [True, False])
def test_a_store_that_is_away_costs_a_run_one_warning(
    project: Path, tables: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, is_due: bool
) -> None:
    monkeypatch.setenv("AEGIS_TRACKING__ENABLED", "1")
    (project / "FILE").touch()
    monkeypatch.setenv("AEGIS_TRACKING__URI", f"sqlite:///{project}/FILE/x.db")
    put(project, 1, tiny_bundle, 6.0)
    if not is_due:
        put(project, 2, tiny_bundle)
    aliases.promote(project / "models", "lstm_v1", WHY)
    with pytest.warns(UserWarning, match="aegis models sync") as caught:
        summary = run(RunOrder(tables, train=is_due, train_every_days=1, plan=TINY_PLAN))
    assert (summary.exit_code, len(caught)) == (0, 1), [str(one.message) for one in caught]
    assert said(summary, "gate").startswith("lstm_v2 against lstm_v1: ")
    kinds = sorted(one.kind for one in Shelf.open().outbox.waiting())
    assert kinds == ["import", "scores", "training"] if is_due else ["import", "import", "scores"]


def test_a_refused_challenger_is_no_failure_and_is_not_judged_until_it_passes(
    project: Path, tmp_path: Path, tiny_bundle: Bundle
) -> None:
    put(project, 1, tiny_bundle), put(project, 2, tiny_bundle, 6.0)
    aliases.promote(project / "models", "lstm_v1", WHY)
    folder = tables_to(market().last_date - dt.timedelta(days=1), tmp_path / "tables")
    summary = run(RunOrder(folder, train=False))
    assert summary.exit_code == 0
    assert "keep" in said(summary, "gate")
    assert said(summary, "promote") == "nothing to promote"
    # The champion's intervals learn, and it is still the champion that the challenger lost to.
    assert read_registry(project / "models").aliases == {"champion": "lstm_v3", "challenger": "lstm_v2"}
    tables_to(market().last_date, folder)
    assert ends(run(RunOrder(folder, train=False)))["gate"] == "unchanged"


def test_too_little_evidence_is_looked_at_again_when_there_is_more(
    project: Path, tmp_path: Path, tiny_bundle: Bundle
) -> None:
    put(project, 1, tiny_bundle, 6.0), put(project, 2, tiny_bundle)
    aliases.promote(project / "models", "lstm_v1", WHY)
    folder = tables_to(trained_until() + dt.timedelta(days=60), tmp_path / "tables")
    assert "not enough evidence" in said(run(RunOrder(folder, train=False)), "gate")
    tables_to(market().last_date, folder)
    assert said(run(RunOrder(folder, train=False)), "promote") == "champion: lstm_v3 → lstm_v2"
    assert read_registry(project / "models").champion == "lstm_v4"


def test_simulated_data_never_displaces_a_real_model(project: Path, tables: Path, tiny_bundle: Bundle) -> None:
    known = {**tiny_bundle.provenance["data"], "simulated": False}
    put(project, 1, replace(tiny_bundle, provenance={**tiny_bundle.provenance, "data": known}))
    put(project, 2, tiny_bundle)
    summary = run(RunOrder(tables, train=False))
    assert "never takes the place of a real one (lstm_v1)" in said(summary, "gate")
    assert read_registry(project / "models").champion is None


# ── what fails ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_tables_nothing_is_made_up(trained: Path) -> None:
    summary = run(RunOrder())
    assert ends(summary) == {"collect": "done", "validate": "failed", **dict.fromkeys(STEPS[2:], "not run")}
    assert "holds no tables" in said(summary, "validate")
    assert said(summary, "train") == "needs validate"
    assert summary.exit_code == 1
    assert not (trained / "reports").exists()


def test_a_training_that_fails_keeps_no_forecast_from_being_made(
    project: Path, tmp_path: Path, tiny_bundle: Bundle
) -> None:
    known = {**tiny_bundle.provenance["data"], "last_date": "2000-01-01"}
    put(project, 1, replace(tiny_bundle, provenance={**tiny_bundle.provenance, "data": known}))
    folder = tables_to(market().first_date + dt.timedelta(days=85), tmp_path / "tables")
    summary = run(RunOrder(folder, plan=TINY_PLAN))
    assert {name: end for name, end in ends(summary).items() if end != "done"} == {
        "train": "failed", "evaluate": "not run", "gate": "not run", "promote": "not run",
    }, summary  # fmt: skip
    assert "the gate alone needs the last 91" in said(summary, "train")
    assert said(summary, "evaluate") == "needs train"
    assert "lstm_v2-" in said(summary, "forecast")
    assert summary.exit_code == 1


def test_a_collection_that_fails_is_told_and_the_rest_goes_on(
    trained: Path, tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tables, trained / "data" / "processed")
    summary = run(RunOrder(collect=True, train=False))  # offline: no host may be asked
    assert ends(summary)["collect"] == "failed"
    assert "AEGIS_OFFLINE" in said(summary, "collect")
    assert ends(summary)["forecast"] == "done"
    assert summary.exit_code == 1


@pytest.fixture
def world(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with quiet_server() as server:
        found = small_world(server, project)
        for name, value in found.environment().items():
            monkeypatch.setenv(name, value)
        yield found


def test_collecting_is_done_once_a_day_unless_a_source_failed(world: World, project: Path, tiny_bundle: Bundle) -> None:
    known = {**tiny_bundle.provenance["data"], "simulated": False}
    put(project, 1, replace(tiny_bundle, provenance={**tiny_bundle.provenance, "data": known}))
    order = RunOrder(collect=True, train=False)
    world.broken["/binance"] = lambda: Response("down", status=500)
    partly = run(order)
    assert (ends(partly)["collect"], ends(partly)["forecast"], partly.exit_code) == ("failed", "done", 1)
    assert "units failed, first " in said(partly, "collect")
    world.broken.clear()
    whole = run(order)
    assert (ends(whole)["collect"], ends(whole)["forecast"], whole.exit_code) == ("done", "done", 0)
    n_asked = len(world.asked)
    assert set(ends(run(order)).values()) == {"unchanged"}
    assert len(world.asked) == n_asked
    (project / "data" / "processed" / "yields.parquet").unlink()
    assert (ends(run(order))["collect"], ends(run(order))["validate"]) == ("done", "unchanged")


def test_a_damaged_state_is_said_and_everything_done_again(trained: Path, tables: Path) -> None:
    run(RunOrder(tables, train=False))
    (runs_folder() / "state.json").write_text('{"format": 1, "steps": [')
    with pytest.warns(UserWarning, match="every step is done again"):
        summary = run(RunOrder(tables, train=False))
    assert summary.exit_code == 0
    assert ends(summary)["forecast"] == "done"


def test_a_second_run_leaves_at_once(trained: Path, tables: Path) -> None:
    with only_run(runs_folder()) as holder:
        assert holder is None
        summary = run(RunOrder(tables, train=False))
    assert summary.exit_code == 4
    assert summary.locked_by.startswith("process ")
    assert not (trained / "reports").exists()
    assert run(RunOrder(tables, train=False)).exit_code == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"train_every_days": 0}, "train-every"),
        ({"capital_usd": -1.0}, "capital"),
        ({"capital_usd": float("nan")}, "capital"),
        ({"horizon_days": 99}, "horizon"),
        ({"collect": True, "data": Path("tables")}, "data"),
    ],
)
def test_impossible_orders_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(RequestError, match=named):
        RunOrder(**options)


# ── interruptions ─────────────────────────────────────────────────────────────────────────────────────────────────


class Impatient(Silent):
    """Presses Ctrl-C after an epoch."""

    def epoch_ended(self, report: EpochReport) -> None:
        if report.epoch == 2:
            raise KeyboardInterrupt


def test_an_interrupted_training_goes_on_though_a_day_has_come(project: Path, tmp_path: Path) -> None:
    plan = replace(TINY_PLAN, epochs=3, patience=3)
    eve = market().last_date - dt.timedelta(days=1)
    folder = tables_to(eve, tmp_path / "tables")
    stopped = run(RunOrder(folder, plan=plan), Impatient())
    assert stopped.exit_code == 130
    assert ends(stopped)["train"] == "interrupted"
    assert ends(stopped)["forecast"] == "not run"
    assert read_registry(project / "models").champion is None
    tables_to(market().last_date, folder)
    heard: list[str] = []
    resumed = run(RunOrder(folder, plan=plan), say=heard.append)
    assert resumed.exit_code == 0, resumed
    assert any("resuming after" in line for line in heard), heard
    champion = read_registry(project / "models").champion
    assert champion is not None
    bundle = load_bundle(project / "models" / f"{champion}.pth")
    assert bundle.trained_to == (eve - dt.timedelta(days=91)).isoformat()
    assert not bundle.provenance["interrupted"]


@dataclass
class Small:
    """A step that counts in a file how often it was done."""

    name: str
    folder: Path
    needs: tuple[str, ...] = ()
    trouble: BaseException | None = None
    inputs: str = "1"

    def fingerprint(self, results: Results) -> str:
        return self.inputs

    def run(self, results: Results) -> Outcome:
        with (self.folder / self.name).open("a") as stream:
            stream.write("x")
        if self.trouble is not None:
            raise self.trouble
        return Outcome("done", {"who": self.name})


def test_a_programming_error_is_logged_whole_and_stops_only_what_needs_it(tmp_path: Path) -> None:
    one, two = Small("one", tmp_path, trouble=ZeroDivisionError("by zero")), Small("two", tmp_path, ("one",))
    summary = run_steps(tmp_path / "runs", lambda _: [one, two, Small("three", tmp_path)])
    assert [step.status for step in summary.steps] == [Status.FAILED, Status.NOT_RUN, Status.DONE]
    assert summary.steps[0].said == "unexpected ZeroDivisionError: by zero"
    assert summary.exit_code == 1
    assert summary.log is not None
    assert "Traceback" in summary.log.read_text()


def test_a_step_is_done_again_only_if_its_inputs_changed(tmp_path: Path) -> None:
    for inputs in ("1", "1", "2", "2"):
        steps = [Small("one", tmp_path), Small("two", tmp_path, ("one",), inputs=inputs)]
        assert run_steps(tmp_path / "runs", lambda _, now=steps: now).exit_code == 0
    assert (tmp_path / "one").read_text() == "x"
    assert (tmp_path / "two").read_text() == "xx"


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from aegis_yield.pipelines.run_engine import run_steps
from test_run_pipeline import Small
class Slow(Small):
    def run(self, results):
        outcome = super().run(results)
        time.sleep(120)
        return outcome
folder = Path({folder!r})
run_steps(folder / "runs", lambda _: [Small("one", folder), Slow("two", folder), Small("three", folder)])
"""


def test_killed_in_mid_step_the_next_run_goes_on_there(tmp_path: Path) -> None:
    here = Path(__file__).parent
    program = f"import sys; sys.path.insert(0, {str(here.parent)!r})\n" + KILLED.format(
        here=str(here), folder=str(tmp_path)
    )
    process = subprocess.Popen([sys.executable, "-c", program], env=clean_environment(tmp_path))
    give_up = time.monotonic() + 120
    while not (tmp_path / "two").exists() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert process.returncode == -signal.SIGKILL
    steps: list[Any] = [Small(name, tmp_path) for name in ("one", "two", "three")]
    summary = run_steps(tmp_path / "runs", lambda _: steps)
    assert [step.status for step in summary.steps] == [Status.UNCHANGED, Status.DONE, Status.DONE]
    assert {name: (tmp_path / name).read_text() for name in ("one", "two", "three")} == {
        "one": "x", "two": "xx", "three": "x",
    }  # fmt: skip
