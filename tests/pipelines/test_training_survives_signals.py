"""Real processes, really killed: what was learned is not lost."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from bundles import listing, market, run, start

from aegis_yield.models.bundle import load_bundle
from aegis_yield.preprocessing.tables import write_dataset

OPTIONS = ("--epochs", "3", "--batch-size", "32", "--members", "2")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    write_dataset(market(), folder)
    return folder


def train_into(folder: Path, tables: Path, *more: str) -> list[str | Path]:
    return ["scripts/train.py", "--data", tables, "--until", "2025-04-14", "--output", folder, *OPTIONS, *more]


def stop_after_first_epoch(process: subprocess.Popen[str], folder: Path, how: signal.Signals) -> tuple[str, str]:
    give_up = time.monotonic() + 60
    while (
        not list(folder.glob(".training/unfinished-*.ckpt")) and process.poll() is None and time.monotonic() < give_up
    ):
        time.sleep(0.002)
    process.send_signal(how)
    return process.communicate(timeout=60)


def test_a_killed_training_resumes_to_the_bytes_of_an_uninterrupted_one(tables: Path, tmp_path: Path) -> None:
    process = start(train_into(tmp_path / "killed", tables), tmp_path, tmp_path)
    stop_after_first_epoch(process, tmp_path / "killed", signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not list((tmp_path / "killed").glob("*.pth"))
    resumed = run(train_into(tmp_path / "killed", tables, "--resume"), tmp_path, tmp_path)
    assert "resuming after" in resumed.stderr
    whole = run(train_into(tmp_path / "whole", tables), tmp_path, tmp_path)
    assert (resumed.returncode, whole.returncode) == (0, 0)
    bundles = [(tmp_path / name / "lstm_v1.pth").read_bytes() for name in ("killed", "whole")]
    assert bundles[0] == bundles[1]
    assert {name for name, _ in listing(tmp_path / "killed")} == {"lstm_v1.pth"}


def test_ctrl_c_keeps_the_best_so_far(tables: Path, tmp_path: Path) -> None:
    process = start(train_into(tmp_path, tables), tmp_path, tmp_path)
    out, err = stop_after_first_epoch(process, tmp_path, signal.SIGINT)
    assert process.returncode == 0
    assert "interrupted: kept the best so far; go on with --resume" in err
    assert "Traceback" not in err
    assert str(tmp_path / "lstm_v1.pth") in out
    assert load_bundle(tmp_path / "lstm_v1.pth").provenance["interrupted"] is True
