"""``aegis run`` as cron runs it: exit codes, one line for a second run, kill -9 and on."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import bundle_content, run, start

from aegis_yield.models.bundle import load_bundle
from aegis_yield.pipelines.run_journal import only_run

AEGIS = ("-c", "from aegis_yield.cli.app import main; main()")
TRAINING = ("--epochs", "2", "--batch-size", "128", "--members", "1")
Done = subprocess.CompletedProcess[str]
Aegis = Callable[..., Done]


@pytest.fixture
def aegis(tmp_path: Path) -> Aegis:
    def call(*arguments: str | Path) -> Done:
        return run([*AEGIS, "run", *arguments], tmp_path, tmp_path, AEGIS_OFFLINE="1")

    return call


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "lstm_v1.pth").write_bytes(bundle_content())
    return tmp_path / "models"


def stopped_in_training(tmp_path: Path, tables: Path, how: signal.Signals) -> tuple[int, str]:
    process = start([*AEGIS, "run", "--data", tables, *TRAINING], tmp_path, tmp_path, AEGIS_OFFLINE="1")
    give_up = time.monotonic() + 120
    while (
        not list(tmp_path.glob("models/.training/unfinished-*.ckpt"))
        and process.poll() is None
        and time.monotonic() < give_up
    ):
        time.sleep(0.002)
    process.send_signal(how)
    _, err = process.communicate(timeout=120)
    return process.returncode, err


def test_a_run_prints_a_table_and_the_next_has_nothing_to_do(aegis: Aegis, models: Path, tables: Path) -> None:
    first = aegis("--data", tables, "--no-train")
    assert first.returncode == 0, first.stderr
    for step in ("collect", "validate", "train", "evaluate", "gate", "promote", "calibrate", "forecast", "allocate"):
        assert step in first.stdout
        assert f"{step}: done: " in first.stderr
    second = aegis("--data", tables, "--no-train", "--json")
    assert second.returncode == 0
    found = json.loads(second.stdout)
    assert {step["status"] for step in found["steps"]} == {"unchanged"}
    assert found["exit_code"] == 0
    assert Path(found["log"]).is_file()


def test_a_step_that_fails_is_exit_code_one(aegis: Aegis, models: Path, tmp_path: Path) -> None:
    failed = aegis("--no-train")
    assert failed.returncode == 1
    assert "validate: failed: " in failed.stderr
    assert "holds no tables" in failed.stdout
    assert "Traceback" not in failed.stderr


def test_a_second_run_says_who_is_at_work(aegis: Aegis, models: Path, tables: Path, tmp_path: Path) -> None:
    with only_run(tmp_path / "data" / "runs"):
        locked = aegis("--data", tables)
    assert locked.returncode == 4
    assert locked.stdout == ""
    assert locked.stderr.count("\n") == 1
    assert "another run is at work: process " in locked.stderr


def test_an_impossible_option_is_one_line(aegis: Aegis) -> None:
    refused = aegis("--train-every", "0")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: train-every: received 0")
    assert refused.stderr.count("\n") == 1


def test_limits_come_from_a_file(aegis: Aegis, models: Path, tables: Path, tmp_path: Path) -> None:
    options = tmp_path / "treasury.toml"
    options.write_text("[allocate]\ncapital = 250_000\nmax_share = 0.2\nscenarios = 100\n")
    done = aegis("--data", tables, "--no-train", "--config", options)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "reports" / "allocation.json").read_text())
    assert found["capital_usd"] == 250_000
    assert max(found["weights"].values()) <= 0.2 + 1e-6
    options.write_text("[allocate]\nmax_shares = 0.2\n")
    refused = aegis("--data", tables, "--no-train", "--config", options)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: {options}: max_shares: received 0.2")
    assert refused.stderr.count("\n") == 1


def test_help_has_examples_and_exit_codes(aegis: Aegis) -> None:
    text = aegis("--help").stdout
    assert "aegis run --no-collect --no-train" in text.split("Examples", 1)[1]
    assert "4 another run is at work" in " ".join(text.split())


def test_killed_in_training_the_same_command_goes_on(aegis: Aegis, tables: Path, tmp_path: Path) -> None:
    code, _ = stopped_in_training(tmp_path, tables, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not list(tmp_path.glob("models/*.pth"))
    resumed = aegis("--data", tables, *TRAINING)
    assert resumed.returncode == 0, resumed.stderr
    assert "validate: unchanged: " in resumed.stderr
    assert "resuming after" in resumed.stderr
    assert sorted(path.name for path in tmp_path.glob("models/*.pth")) == ["lstm_v1.pth", "lstm_v2.pth"]
    assert load_bundle(tmp_path / "models" / "lstm_v2.pth").calibrated["from"].startswith("lstm_v1-")
    assert (tmp_path / "reports" / "forecasts.parquet").is_file()


def test_a_polite_stop_is_exit_code_130(aegis: Aegis, tables: Path, tmp_path: Path) -> None:
    code, err = stopped_in_training(tmp_path, tables, signal.SIGTERM)
    assert code == 130, err
    assert "train: interrupted: " in err
    assert "forecast: not run: " in err
    assert "Traceback" not in err
    resumed = aegis("--data", tables, *TRAINING)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after" in resumed.stderr
