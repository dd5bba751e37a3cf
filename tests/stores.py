"""Real tracking stores for tests: SQLite files and PostgreSQL databases, set up once and copied."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from postgres_cluster import WHERE_FROM, Cluster, programs

from aegis_yield.registry.records import BundleFact, Point, Record
from aegis_yield.registry.settings import TrackingSettings
from aegis_yield.registry.tracking import EXPERIMENT, MODEL
from aegis_yield.utils.files import sha256_of

NewStore = Callable[[Path], TrackingSettings]
TEMPLATE = "set_up"
SET_UP = (
    "import sys; from mlflow.tracking import MlflowClient; MlflowClient(sys.argv[1], sys.argv[1]).search_experiments()"
)
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}
_numbers = itertools.count(1)


def settings_for(models: Path, uri: str) -> TrackingSettings:
    return TrackingSettings.of(models, {"AEGIS_TRACKING__URI": uri})


def set_up(uri: str) -> None:
    """Let MLflow make its tables, in a process that keeps no connection."""
    command = [sys.executable, "-W", "ignore", "-c", SET_UP, uri]
    subprocess.run(command, env={**os.environ, **QUIET}, check=True, timeout=180)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables without an experiment: that one knows where its artefacts lie."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    set_up(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def new_sqlite(sqlite_template: Path) -> NewStore:
    def make(models: Path) -> TrackingSettings:
        settings = TrackingSettings.of(models, {})
        settings.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sqlite_template, settings.folder / "mlflow.db")
        return settings

    return make


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    binaries = programs()
    if binaries is None:
        pytest.skip(f"PostgreSQL absent: no initdb here ({WHERE_FROM})")
    cluster = Cluster(binaries)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="session")
def new_postgres(cluster: Cluster) -> NewStore:
    set_up(cluster.new_database(TEMPLATE))

    def make(models: Path) -> TrackingSettings:
        return settings_for(models, cluster.new_database(f"store_{next(_numbers)}", TEMPLATE))

    return make


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run MLflow's own server over a new store, and give its address."""
    pytest.importorskip("flask", reason="MLflow's server is not installed (aegis-yield[ui])")
    folder.mkdir(parents=True)
    set_up(store := f"sqlite:///{folder}/mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, **QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        give_up = time.monotonic() + 120
        while not is_healthy(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < give_up
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> TrackingSettings:
    """An empty store that was set up, of either kind, for the models folder ``tmp_path/models``."""
    make: NewStore = request.getfixturevalue("new_sqlite" if request.param == "sqlite" else "new_postgres")
    (tmp_path / "models").mkdir()
    return make(tmp_path / "models")


class Ledger:
    """A store as MLflow's own client sees it."""

    def __init__(self, settings: TrackingSettings) -> None:
        with warnings.catch_warnings(action="ignore"):
            from mlflow.tracking import MlflowClient

            self.client: Any = MlflowClient(settings.uri, settings.uri)

    def runs(self) -> list[Any]:
        with warnings.catch_warnings(action="ignore"):
            experiment = self.client.get_experiment_by_name(EXPERIMENT)
            return list(self.client.search_runs([experiment.experiment_id])) if experiment else []

    def versions(self) -> list[Any]:
        """Registered versions, the first first."""
        with warnings.catch_warnings(action="ignore"):
            found = self.client.search_model_versions(f"name='{MODEL}'")
        return sorted(found, key=lambda version: int(version.version))

    def aliases(self) -> dict[str, str]:
        """Bundle by alias."""
        with warnings.catch_warnings(action="ignore"):
            named = self.client.get_registered_model(MODEL).aliases
        bundles = {str(one.version): one.tags["aegis.bundle"] for one in self.versions()}
        return {alias: bundles[str(version)] for alias, version in named.items()}

    def curve(self, run_id: str, name: str) -> list[tuple[int, float]]:
        with warnings.catch_warnings(action="ignore"):
            return sorted((point.step, point.value) for point in self.client.get_metric_history(run_id, name))

    def artifact(self, run_id: str, place: str, into: Path) -> Path:
        with warnings.catch_warnings(action="ignore"):
            return Path(self.client.download_artifacts(run_id, place, str(into)))


def bundle_file(models: Path, name: str = "lstm_v1", content: bytes = b"a bundle") -> Path:
    path = models / f"{name}.pth"
    path.write_bytes(content)
    return path


def training_record(path: Path, **more: Any) -> Record:
    """The complete record of a training that brought a file."""
    record = Record(
        kind="training",
        title="a training",
        parameters={"seed": 7, "data.sha256": "ab" * 32, "batch_size": 32},
        tags={"commit": "0123456789ab"},
        metrics={"validation_score": 0.93, "impossible": float("nan")},
        curves={"loss/scout 1": (Point(1, 0.5, 1_000), Point(2, 0.25, 2_000))},
        bundle=BundleFact(path.stem, sha256_of(path)),
        **more,
    )
    return record.completed()
