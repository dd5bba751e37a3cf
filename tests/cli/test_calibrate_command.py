"""``aegis calibrate``: says what would change, writes only when asked, refuses in one line."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from bundles import NOT_RECORDED, bundle_content, market

from aegis_yield.cli.app import main
from aegis_yield.models.bundle import Bundle, bundle_bytes, load_bundle
from aegis_yield.preprocessing.tables import write_dataset
from aegis_yield.registry import read_registry
from aegis_yield.registry.aliases import Why, promote

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def older(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A model trained on rows up to ten weeks before the tables' end."""
    last = (market().last_date - dt.timedelta(days=70)).isoformat()
    provenance = {**tiny_bundle.provenance, "data": {**tiny_bundle.provenance["data"], "last_date": last}}
    path = tmp_path / "lstm_v7.pth"
    path.write_bytes(bundle_bytes(replace(tiny_bundle, provenance=provenance)))
    return path


def ended(arguments: list[str]) -> object:
    """Run a command in this process; return its exit status."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code or 0


def test_it_says_what_would_change_and_writes_nothing(older: Path, tables: Path, capsys: Capture) -> None:
    before = older.read_bytes()
    assert ended(["calibrate", "--model", str(older), "--data", str(tables)]) == 0
    out = capsys.readouterr().out
    assert "outcomes since" in out
    assert "90 % intervals" in out
    assert "nothing written" in out
    assert older.read_bytes() == before
    assert [path.name for path in older.parent.iterdir()] == [older.name]


def test_an_update_is_written_as_the_next_version(older: Path, tables: Path, capsys: Capture) -> None:
    arguments = ["calibrate", "--model", str(older), "--data", str(tables), "--update", "--json"]
    assert ended([*arguments, "--output", str(older.parent)]) == 0
    found = json.loads(capsys.readouterr().out)
    written = older.parent / "lstm_v8.pth"
    assert found["written"] == str(written)
    assert load_bundle(written).provenance["calibrated"]["n_outcomes"] == found["n_outcomes"] > 0


def test_nothing_new_is_one_line(tables: Path, older: Path, capsys: Capture) -> None:
    arguments = ["calibrate", "--data", str(tables), "--update", "--output", str(older.parent)]
    assert ended([*arguments, "--model", str(older)]) == 0
    assert ended([*arguments, "--model", str(older.parent / "lstm_v8.pth")]) != 0
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "collect newer data first" in x]
    assert line.startswith("error")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with two versions of which the first is the champion."""
    for name, value in {"AEGIS_HOME": str(tmp_path), **NOT_RECORDED}.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "models"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"lstm_v{number}.pth").write_bytes(bundle_content())
    promote(folder, "lstm_v1", Why("a test"))
    return folder


def test_what_the_champion_learns_serves_in_its_place(models: Path, tables: Path, capsys: Capture) -> None:
    assert ended(["calibrate", "--data", str(tables), "--update"]) == 0
    assert "champion: lstm_v1 → lstm_v3" in capsys.readouterr().out
    assert read_registry(models).champion == "lstm_v3"
    assert read_registry(models).history[-1].why.reason.startswith("same networks as lstm_v1; intervals learned from ")
    assert load_bundle(models / "lstm_v3.pth").calibrated["from"].startswith("lstm_v1-")


@pytest.mark.parametrize("options", [["--no-promote"], ["--model", "lstm_v2"]])
def test_what_is_only_to_be_written_or_learned_by_another_does_not_serve(
    models: Path, tables: Path, capsys: Capture, options: list[str]
) -> None:
    assert ended(["calibrate", "--data", str(tables), "--update", "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["written"], found["champion"]) == (str(models / "lstm_v3.pth"), None)
    assert read_registry(models).champion == "lstm_v1"


def test_written_to_another_folder_it_does_not_serve(models: Path, tables: Path, tmp_path: Path) -> None:
    assert ended(["calibrate", "--data", str(tables), "--update", "--output", str(tmp_path / "there")]) == 0
    assert (tmp_path / "there" / "lstm_v1.pth").is_file()
    assert read_registry(models).champion == "lstm_v1"


def test_without_update_nothing_is_promoted_either(models: Path, tables: Path) -> None:
    assert ended(["calibrate", "--data", str(tables)]) == 0
    assert sorted(path.name for path in models.glob("*.pth")) == ["lstm_v1.pth", "lstm_v2.pth"]
    assert read_registry(models).champion == "lstm_v1"


def test_a_model_of_another_kind_of_data_is_not_updated(models: Path, tmp_path: Path, capsys: Capture) -> None:
    collected = market().yields.with_columns(pl.lit("collected").alias("source"))
    write_dataset(replace(market(), yields=collected), tmp_path / "real")
    arguments = ["calibrate", "--data", str(tmp_path / "real"), "--model", "lstm_v1"]
    assert ended([*arguments, "--update"]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "received real data for a model that was trained on simulated data" in line
    assert sorted(path.name for path in models.glob("*.pth")) == ["lstm_v1.pth", "lstm_v2.pth"]
