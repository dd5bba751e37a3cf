"""A small market, a bundle trained on its first 290 days in two seconds, and a home to run commands in."""

from __future__ import annotations

import datetime as dt
import functools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from aegis_yield.domain.dataset import Dataset
from aegis_yield.models.bundle import Bundle, load_bundle
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.training import EpochReport
from aegis_yield.pipelines.datasets import simulated_dataset
from aegis_yield.pipelines.names import load_names
from aegis_yield.pipelines.predict import Forecaster
from aegis_yield.pipelines.train import TrainingOrder, train
from aegis_yield.preprocessing.tables import write_dataset
from aegis_yield.simulation import MarketSpec

CHECKOUT = Path(__file__).resolve().parents[1]
TINY_PLAN = TrainingPlan(epochs=1, batch_size=512, members=1, volatility_members=1)
TRAINED_DAYS = 290
ONE_THREAD = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
NOT_RECORDED = {"AEGIS_TRACKING__ENABLED": "0"}
"""Trainings of tests that are about something else: a new store takes seconds to set up."""


class Silent:
    """Watches a training and does nothing."""

    def started(self, label: str, max_epochs: int, windows_per_epoch: int) -> None: ...

    def advanced(self, n_windows: int, loss: float) -> None: ...

    def epoch_ended(self, report: EpochReport) -> None: ...


@functools.cache
def market() -> Dataset:
    return simulated_dataset(MarketSpec(n_strategies=12, n_days=400, seed=3))


def trained_until() -> dt.date:
    return market().first_date + dt.timedelta(days=TRAINED_DAYS)


@functools.cache
def bundle_content() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        order = TrainingOrder(market(), TINY_PLAN, until=trained_until(), models=Path(folder))
        return train(order, Silent()).path.read_bytes()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests decides what they find."""
    for name in [name for name in os.environ if name.startswith("AEGIS_") and name != "AEGIS_REFERENCE_DATA"]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for ``AEGIS_HOME``: ``models/lstm_v1.pth``, no data."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "models").mkdir()
    (folder / "models" / "lstm_v1.pth").write_bytes(bundle_content())
    return folder


@pytest.fixture(scope="session")
def tiny_model(home: Path) -> Path:
    return home / "models" / "lstm_v1.pth"


@pytest.fixture(scope="session")
def tiny_bundle(tiny_model: Path) -> Bundle:
    return load_bundle(tiny_model)


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small market as a dataset folder."""
    folder = tmp_path_factory.mktemp("tables")
    write_dataset(market(), folder)
    return folder


@pytest.fixture(scope="session")
def forecaster(tiny_bundle: Bundle) -> Iterator[Forecaster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AEGIS_STRATEGIES", raising=False)
        yield Forecaster(market(), tiny_bundle, "lstm_v1-test", load_names())


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_") and name != "COLUMNS"}
    return {**kept, **ONE_THREAD, **NOT_RECORDED, "AEGIS_HOME": str(home), **extra}


def start(arguments: Sequence[str | Path], home: Path, cwd: Path, **extra: str) -> subprocess.Popen[str]:
    """Start ``python <arguments>`` as a user would; a path is relative to the checkout."""
    script, *rest = map(str, arguments)
    program = [script, *rest] if script.startswith("-") else [str(CHECKOUT / script), *rest]
    return subprocess.Popen(
        [sys.executable, *program],
        cwd=cwd,
        env=clean_environment(home, **extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that runs tests in the background makes them deaf to Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def run(arguments: Sequence[str | Path], home: Path, cwd: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    process = start(arguments, home, cwd, **extra)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def listing(folder: Path) -> set[tuple[str, int]]:
    """Return every file below a folder with its size."""
    return {(str(path.relative_to(folder)), path.stat().st_size) for path in folder.rglob("*") if path.is_file()}
