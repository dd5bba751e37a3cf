"""``aegis predict --explain``: a table for people, a field for programs, a refusal in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundles import run

from aegis_yield.cli.app import main
from aegis_yield.pipelines.explain import ask_why, to_json_with
from aegis_yield.pipelines.predict import Forecaster, Question

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def place(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a command is run, with the home of one model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AEGIS_HOME", str(home))
    return tmp_path


def said(arguments: list[str], capsys: Capture) -> tuple[object, str, str]:
    """Run a command in this process; return its exit code and what it printed."""
    try:
        main(arguments)
        code: object = 0
    except SystemExit as end:
        code = end.code or 0
    return code, *capsys.readouterr()


def test_each_strategy_gets_a_table(place: Path, tables: Path, capsys: Capture) -> None:
    arguments = ["predict", "--strategies", "aave", "lido", "--explain", "--data", str(tables)]
    code, out, err = said(arguments, capsys)
    assert code == 0, err
    for name in ("aave", "lido"):
        assert f"for {name}, 7 days from 2025-09-30" in out
    for text in ("average rate of the last days (EWMA)", "usual drift of staking", "features by day", "forecast"):
        assert text in out
    assert "features by" not in said([word for word in arguments if word != "--explain"], capsys)[1]


def test_json_holds_the_explanations(place: Path, home: Path, tables: Path, capsys: Capture) -> None:
    arguments = ["predict", "--strategies", "aave", "delta", "--json", "--data", str(tables)]
    code, out, _ = said([*arguments, "--explain"], capsys)
    assert code == 0
    opened = Forecaster.open(tables, home / "models" / "lstm_v1.pth")
    assert json.loads(out) == to_json_with(*ask_why(opened, Question(["aave", "delta"])))
    assert "explanation" in out
    assert "explanation" not in said(arguments, capsys)[1]


def test_too_many_are_refused_in_one_line(place: Path, tables: Path, capsys: Capture) -> None:
    names = [f"name-{n}" for n in range(21)]
    code, out, err = said(["predict", "--strategies", *names, "--explain", "--data", str(tables)], capsys)
    assert code == 1
    assert out == ""
    assert err.startswith("error: explain: received '21 strategies', allowed is at most 20 strategies at once")
    assert len(err.splitlines()) == 1


def test_the_script_explains_too(home: Path, tmp_path: Path, tables: Path) -> None:
    done = run(["scripts/predict.py", "--strategies", "aave", "--explain", "--data", tables], home, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "features by family" in done.stdout
    assert "Traceback" not in done.stderr
