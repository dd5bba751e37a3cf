"""The crew runs what is missing, goes on after a failure, and the whole race runs on the simulated market."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from benchmarks.race.methods import BY_KEY
from benchmarks.race.plan import Course, Entry, Job, Source, jobs_of
from benchmarks.race.runner import Crew
from benchmarks.race.store import ROOT, Store
from benchmarks.race.worker import job_from

SOURCE = Source(n_strategies=8, n_days=300)
LAST = dt.date(2025, 9, 20)
COURSE = Course(SOURCE, LAST - dt.timedelta(days=21), LAST, (7,), (LAST - dt.timedelta(days=22),))


def crew(folder: Path, said: io.StringIO | None = None) -> Crew:
    return Crew(SOURCE, 0.2, Store(folder), Console(file=said or io.StringIO(), width=200))


def jobs(*keys: str) -> list[Job]:
    return [job for key in keys for job in jobs_of(COURSE, Entry(BY_KEY[key], {}, (7,)), "data")]


def test_a_job_survives_the_way_to_its_worker() -> None:
    for job in jobs("last", "lgbm-cqr"):
        sent = json.loads(json.dumps(dataclasses.asdict(job)))
        assert job_from(sent) == job
        assert job_from(sent).name == job.name


@pytest.mark.slow
def test_what_is_there_is_not_made_again_and_a_failure_stops_nobody(tmp_path: Path) -> None:
    first, second = jobs("last", "ewma")
    broken = dataclasses.replace(first, method="nf-lstm", code="")  # trained, but without a cut-off
    said = io.StringIO()
    failures = crew(tmp_path, said).run([first, broken, second])
    assert [failure.job for failure in failures] == [broken]
    assert "without a cut-off" in failures[0].reason
    assert "3 of 3 jobs" in said.getvalue()
    table = pl.read_parquet(tmp_path / f"{first.name}.parquet")
    assert set(table["horizon_days"]) == {7}
    costs = json.loads((tmp_path / f"{first.name}.json").read_text())
    assert costs["peak_mb"] >= costs["data_mb"] > 10
    written = (tmp_path / f"{first.name}.parquet").stat().st_mtime_ns
    said = io.StringIO()
    assert crew(tmp_path, said).run([first, second]) == []
    assert "2 of 2 jobs are kept from before" in said.getvalue()
    assert (tmp_path / f"{first.name}.parquet").stat().st_mtime_ns == written


@pytest.mark.slow
def test_code_that_changed_while_the_race_ran_is_refused(tmp_path: Path) -> None:
    (job,) = jobs("last")
    failures = crew(tmp_path).run([dataclasses.replace(job, code="another")])
    assert "source code has changed" in failures[0].reason
    assert not list(tmp_path.glob("*.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_race_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    pytest.importorskip("lightgbm")
    command = [sys.executable, "benchmarks/forecast.py", "--quick", "--cache", str(tmp_path / "cache")]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    until = time.monotonic() + 200
    while not list((tmp_path / "cache").glob("last-*.json")) and time.monotonic() < until:
        time.sleep(0.1)
    if number == signal.SIGTERM:  # to the race alone: it takes its workers along
        process.terminate()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(timeout=30) == (130 if number == signal.SIGTERM else -signal.SIGKILL)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*-*.parquet")}
    assert kept
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "race.json"), "--html", str(tmp_path / "race.html")],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "are kept from before" in done.stderr
    assert {name: (tmp_path / "cache" / name).stat().st_mtime_ns for name in kept} == kept
    results = json.loads((tmp_path / "race.json").read_text())
    scores = results["horizons"]["7"]["scores"]
    assert set(scores) == {"ours", "last", "ewma", "lgbm-cqr"}
    assert scores["last"]["crps"] == 1.0
    assert all(0.2 < entry["crps"] < 3.0 for entry in scores.values())
    assert set(results["horizons"]["7"]["volatility"]) == {"ours", "vol-ewma", "vol-har"}
    assert results["cold"]["methods"].keys() == {"lgbm-cqr"}
    assert "SIMULATED" in done.stdout
    assert (tmp_path / "race.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bundle", "2024-01-01"], "CUTOFF=PATH"),
        (["--methods", "magic"], "invalid choice"),
        (["--data", "."], "yields is missing"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.forecast import main

    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err
