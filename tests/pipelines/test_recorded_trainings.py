"""Trainings as users run them, with real stores beside them that work, come too late, or vanish."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import run, start
from hanging_server import hanging_server
from postgres_cluster import WHERE_FROM, Cluster, programs
from stores import Ledger, cluster, mlflow_server, new_postgres, new_sqlite, set_up, settings_for, sqlite_template

from aegis_yield.models.bundle import load_bundle
from aegis_yield.registry.outbox import Outbox
from aegis_yield.registry.recorder import PATIENCE_S
from aegis_yield.registry.records import Record
from aegis_yield.registry.settings import TrackingSettings

pytestmark = pytest.mark.slow  # whole trainings beside real stores

__all__ = ["cluster", "new_postgres", "new_sqlite", "sqlite_template"]

PLAN = ("--epochs", "2", "--batch-size", "512", "--members", "1")
SLOW_PLAN = ("--epochs", "12", "--batch-size", "32", "--members", "2")
SYNC = ("-c", "from aegis_yield.cli.app import main; main()", "models", "sync")
Make = Callable[[Path], TrackingSettings]


def command(tables: Path, *plan: str, seed: int = 0) -> list[str | Path]:
    return ["scripts/train.py", "--data", tables, *plan, "--seed", str(seed)]


def recorded(settings: TrackingSettings) -> dict[str, str]:
    return {"AEGIS_TRACKING__ENABLED": "1", "AEGIS_TRACKING__URI": settings.uri}


def warnings_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("warning:")]


def waiting(settings: TrackingSettings) -> list[Record]:
    return list(Outbox.of(settings.folder).waiting())


def until(happened: Callable[[], object], process: subprocess.Popen[str], seconds: float = 90.0) -> None:
    give_up = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.1)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The models folder of the home ``tmp_path``."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def test_a_training_is_recorded_with_its_choices_data_code_and_curves(
    models: Path, tmp_path: Path, tables: Path, new_sqlite: Make
) -> None:
    settings = new_sqlite(models)
    done = run(command(tables, *PLAN), tmp_path, tmp_path, **recorded(settings))
    assert done.returncode == 0, done.stderr
    assert warnings_in(done.stderr) == []
    assert "recorded: version 1 in sqlite:" in done.stderr
    ledger = Ledger(settings)
    [record], [version] = ledger.runs(), ledger.versions()
    bundle = load_bundle(models / "lstm_v1.pth")
    provenance = bundle.provenance
    assert record.info.status == "FINISHED"
    assert record.data.params.items() >= {name: str(value) for name, value in provenance["plan"].items()}.items()
    assert record.data.params["data.sha256"] == provenance["data"]["sha256"]
    assert record.data.params["data.first_date"] == provenance["data"]["first_date"]
    assert record.data.params["data.last_date"] == provenance["data"]["last_date"]
    assert record.data.tags["commit"] == provenance["commit"]
    assert record.data.metrics["validation_score"] == provenance["metrics"]["validation_score"]
    curves = provenance["curves"]
    assert [value for _, value in ledger.curve(record.info.run_id, "loss/scout 1")] == curves["scout 1"]
    assert [value for _, value in ledger.curve(record.info.run_id, "validation/scout 1")] == curves[
        "scout 1 validation"
    ]
    scores = provenance["scores"]
    assert set(scores) == {"1", "7", "30"}
    for horizon, table in scores.items():
        for category, card in table.items():
            place = "" if category == "all" else f"/{category}"
            for name, figure in card.items():
                assert record.data.metrics[f"scouts/h{int(horizon):02d}/{name}{place}"] == figure
    for name in ("loss", "validation", "rel_mae", "rel_crps", "coverage_90"):
        assert ledger.artifact(record.info.run_id, f"pictures/{name}.svg", tmp_path).read_text().startswith("<svg")
    stored = ledger.artifact(record.info.run_id, "bundle/lstm_v1.pth", tmp_path / "")
    digest = hashlib.sha256((models / "lstm_v1.pth").read_bytes()).hexdigest()
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == digest
    assert version.tags == {"aegis.bundle": "lstm_v1", "aegis.sha256": digest}
    assert waiting(settings) == []
    assert sorted(path.name for path in (settings.folder / "outbox").iterdir()) == []


def test_a_training_is_recorded_by_a_server(models: Path, tmp_path: Path, tables: Path) -> None:
    with mlflow_server(tmp_path / "server") as address:
        settings = settings_for(models, address)
        done = run(command(tables, *PLAN), tmp_path, tmp_path, **recorded(settings))
        assert done.returncode == 0, done.stderr
        assert warnings_in(done.stderr) == []
        assert f"recorded: version 1 in {address}" in done.stderr
        ledger = Ledger(settings)
        [record], [version] = ledger.runs(), ledger.versions()
        assert (record.info.status, version.tags["aegis.bundle"]) == ("FINISHED", "lstm_v1")
        stored = ledger.artifact(record.info.run_id, "bundle/lstm_v1.pth", tmp_path)
        assert stored.read_bytes() == (models / "lstm_v1.pth").read_bytes()
        fetched = run(
            [*SYNC[:2], "models", "import", "--from-store", "1", "--models", tmp_path / "other"],
            tmp_path,
            tmp_path,
            **recorded(settings),
        )
        assert fetched.returncode == 0, fetched.stderr
        assert (tmp_path / "other" / "lstm_v1.pth").read_bytes() == stored.read_bytes()


@pytest.mark.parametrize("kind", ["new_sqlite", "new_postgres"])
def test_two_trainings_at_once_are_recorded_apart(
    models: Path, tmp_path: Path, tables: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    settings = request.getfixturevalue(kind)(models)
    both = [start(command(tables, *PLAN, seed=n), tmp_path, tmp_path, **recorded(settings)) for n in (1, 2)]
    errors = [one.communicate(timeout=200)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], errors
    assert [warnings_in(error) for error in errors] == [[], []]
    ledger = Ledger(settings)
    assert [run.info.status for run in ledger.runs()] == ["FINISHED", "FINISHED"]
    versions = ledger.versions()
    assert sorted(one.tags["aegis.bundle"] for one in versions) == ["lstm_v1", "lstm_v2"]
    seeds = {run.info.run_id: run.data.params["seed"] for run in ledger.runs()}
    for version in versions:
        path = models / f"{version.tags['aegis.bundle']}.pth"
        assert version.tags["aegis.sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert str(load_bundle(path).provenance["plan"]["seed"]) == seeds[version.run_id]
    assert waiting(settings) == []


def test_a_store_that_cannot_be_reached_costs_one_warning(models: Path, tmp_path: Path, tables: Path) -> None:
    (tmp_path / "FILE").touch()
    settings = settings_for(models, f"sqlite:///{tmp_path}/FILE/mlflow.db")
    done = run(command(tables, *PLAN), tmp_path, tmp_path, **recorded(settings))
    assert done.returncode == 0, done.stderr
    assert (models / "lstm_v1.pth").is_file()
    [warning] = warnings_in(done.stderr)
    assert "not recorded yet" in warning
    assert "aegis models sync" in warning
    assert "Traceback" not in done.stderr
    [record] = waiting(settings)
    assert record.bundle is not None
    assert record.bundle.name == "lstm_v1"


@pytest.mark.parametrize(
    ("scheme", "says_it_is_healthy"), [("http", False), ("http", True), ("postgresql", False)], ids=str
)
def test_a_store_that_hangs_costs_one_warning_and_a_bounded_wait(
    models: Path, tmp_path: Path, tables: Path, scheme: str, says_it_is_healthy: bool
) -> None:
    with hanging_server(says_it_is_healthy) as server:
        settings = settings_for(models, f"{scheme}://127.0.0.1:{server.port}" + "/x" * (scheme != "http"))
        process = start(command(tables, *PLAN), tmp_path, tmp_path, **recorded(settings))
        _, errors = process.communicate(timeout=40 + PATIENCE_S)
        assert server.asked
    assert process.returncode == 0, errors
    assert (models / "lstm_v1.pth").is_file()
    [warning] = warnings_in(errors)
    assert f"not recorded yet: {settings.uri}" in warning
    assert "aegis models sync" in warning
    assert "Traceback" not in errors
    [record] = waiting(settings)
    assert record.bundle is not None
    assert record.bundle.name == "lstm_v1"


def test_a_killed_training_is_recorded_as_killed_by_the_next(
    models: Path, tmp_path: Path, tables: Path, new_sqlite: Make
) -> None:
    settings = new_sqlite(models)
    process = start(command(tables, *SLOW_PLAN), tmp_path, tmp_path, **recorded(settings))
    until(lambda: Ledger(settings).runs(), process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not list(models.glob("*.pth"))
    done = run(SYNC, tmp_path, tmp_path, **recorded(settings))
    assert done.returncode == 0, done.stderr
    ledger = Ledger(settings)
    assert ([run.info.status for run in ledger.runs()], ledger.versions()) == (["KILLED"], [])


@pytest.fixture
def own_cluster() -> Cluster:
    binaries = programs()
    if binaries is None:
        pytest.skip(f"PostgreSQL absent: no initdb here ({WHERE_FROM})")
    return Cluster(binaries)


def test_a_database_that_vanishes_in_mid_run_is_told_later(
    models: Path, tmp_path: Path, tables: Path, own_cluster: Cluster
) -> None:
    try:
        own_cluster.start()
        settings = settings_for(models, own_cluster.uri)
        set_up(settings.uri)
        process = start(command(tables, *SLOW_PLAN), tmp_path, tmp_path, **recorded(settings))
        ledger = Ledger(settings)
        until(lambda: ledger.runs() and ledger.runs()[0].data.metrics, process)  # its curves are under way
        own_cluster.vanish()
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        [warning] = warnings_in(errors)
        assert f"not recorded yet: postgresql://aegis:***@127.0.0.1:{own_cluster.port}/" in warning
        assert "secret" not in errors
        assert len(waiting(settings)) == 1
        failed = run(SYNC, tmp_path, tmp_path, **recorded(settings))
        assert failed.returncode == 1
        assert failed.stderr.count("\n") == 1
        own_cluster.start()
        done = run(SYNC, tmp_path, tmp_path, **recorded(settings))
        assert done.returncode == 0, done.stderr
        assert "1 records delivered" in done.stdout
        ledger = Ledger(settings)
        [record], [version] = ledger.runs(), ledger.versions()
        assert (record.info.status, version.tags["aegis.bundle"]) == ("FINISHED", "lstm_v1")
        curve = load_bundle(models / "lstm_v1.pth").provenance["curves"]["scout 1"]
        assert [value for _, value in ledger.curve(record.info.run_id, "loss/scout 1")] == curve
    finally:
        own_cluster.remove()
