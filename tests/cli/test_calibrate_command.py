"""``aegis calibrate``: says what would change, writes only when asked, refuses in one line."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import market

from aegis_yield.cli.app import main
from aegis_yield.models.bundle import Bundle, bundle_bytes, load_bundle

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
