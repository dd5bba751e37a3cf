"""The commands as a user runs them: real processes, in an empty folder, with a home that holds one model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bundles import CHECKOUT, bundle_content, clean_environment, listing, market, run

from aegis_yield import __version__
from aegis_yield.pipelines.predict import Forecaster, Question, to_json
from aegis_yield.preprocessing.features import FEATURE_NAMES
from aegis_yield.preprocessing.tables import read_dataset

PREDICT = ("scripts/predict.py", "--strategies", "aave", "lido", "delta", "--horizon", "7")
COMMANDS = (
    "collect", "train", "evaluate", "predict", "risk", "optimize", "demo", "strategies", "check", "simulate",
    "features", "serve", "calibrate", "monitor", "trace", "run",
)  # fmt: skip
Done = subprocess.CompletedProcess[str]


def aegis(home: Path, cwd: Path, *arguments: str | Path) -> Done:
    """Run the installed ``aegis`` command."""
    command = [str(Path(sys.executable).with_name("aegis")), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=clean_environment(home), capture_output=True, text=True, timeout=120, check=False
    )


def succeeded(done: Done) -> Done:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_predict_shows_a_table_of_simulated_numbers(home: Path, tmp_path: Path) -> None:
    done = succeeded(run(PREDICT, home, tmp_path))
    assert "SIMULATED" in done.stdout
    assert "SIMULATED" in done.stderr
    for text in ("aave-v3:ethereum:usdc", "lido:ethereum:steth", "delta-neutral:binance:eth", "2025-09-30"):
        assert text in done.stdout
    assert listing(tmp_path) == set()


def test_predict_as_json_is_the_answer_in_plain_values(home: Path, tmp_path: Path, tables: Path) -> None:
    done = succeeded(run([*PREDICT, "--json", "--data", tables, "--level", "0.8"], home, tmp_path))
    opened = Forecaster.open(tables, home / "models" / "lstm_v1.pth")
    assert json.loads(done.stdout) == to_json(opened.ask(Question(["aave", "lido", "delta"], 7, 0.8)))


def test_predict_writes_all_quantiles_of_all_strategies(
    home: Path, tmp_path: Path, tables: Path, forecaster: Forecaster
) -> None:
    out = tmp_path / "new" / "forecasts.parquet"
    done = succeeded(run(["scripts/predict.py", "--all", "--data", tables, "--output", out], home, tmp_path))
    written, expected = pl.read_parquet(out), forecaster.ask(Question(None)).forecasts
    assert written.select(expected.columns).sort("strategy_id").equals(expected.sort("strategy_id"))
    assert written["simulated"].all()
    assert set(written["model_version"].str.slice(0, 8)) == {"lstm_v1-"}
    assert str(out) in done.stderr
    assert {name for name, _ in listing(tmp_path)} == {"new/forecasts.parquet"}


@pytest.fixture(scope="module")
def evaluated(home: Path, tables: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    folder = tmp_path_factory.mktemp("evaluated")
    span = ("--start", "2025-06-20", "--end", "2025-09-23", "--every", "7", "--horizon", "7")
    files = ("--forecasts", folder / "f.parquet", "--json", folder / "s.json", "--html", folder / "report.html")
    model = home / "models" / "lstm_v1.pth"
    return run(["scripts/evaluate.py", "--model", model, "--data", tables, *span, *files], home, folder), folder


def test_evaluate_writes_forecasts_scores_and_report(evaluated: tuple[Done, Path]) -> None:
    done, folder = evaluated
    succeeded(done)
    assert {name for name, _ in listing(folder)} == {"f.parquet", "s.json", "report.html"}
    scores: dict[str, Any] = json.loads((folder / "s.json").read_text())
    assert pl.read_parquet(folder / "f.parquet").height == scores["n_forecasts"] > 0
    assert scores["scores"]["last value"]["rel_mae"] == 1.0
    assert "<!doctype html>" in (folder / "report.html").read_text()[:100]


def test_evaluate_shows_every_forecaster_and_that_data_is_simulated(evaluated: tuple[Done, Path]) -> None:
    done, folder = evaluated
    for name in json.loads((folder / "s.json").read_text())["scores"]:
        assert name in done.stdout
    assert "SIMULATED data: these scores say nothing about real strategies" in done.stderr


def test_evaluations_of_scores_that_are_unknown_are_null_in_json(home: Path, tmp_path: Path, tables: Path) -> None:
    span = ("--start", "2025-09-30", "--end", "2025-09-30")
    succeeded(run(["scripts/evaluate.py", "--data", tables, *span, "--json", "s.json"], home, tmp_path))
    card = json.loads((tmp_path / "s.json").read_text(), parse_constant=pytest.fail)["scores"]["LSTM"]
    assert card["rel_mae"] is None
    assert (tmp_path / "reports" / "evaluation.html").is_file()


def test_models_of_one_name_race_under_different_ones(home: Path, tmp_path: Path, tables: Path) -> None:
    rivals = [tmp_path / name / "models" / "lstm_v1.pth" for name in ("one", "two")]
    for rival in rivals:
        rival.parent.mkdir(parents=True)
        rival.write_bytes(bundle_content())
    order = ("--data", tables, "--start", "2025-09-02", "--json", "s.json", "--against", *rivals)
    succeeded(run(["scripts/evaluate.py", *order], home, tmp_path))
    cards = json.loads((tmp_path / "s.json").read_text())["scores"]
    assert len(cards) == 6
    assert list(cards.values()).count(cards["LSTM"]) == 3


def test_demo_writes_its_report(home: Path, tmp_path: Path) -> None:
    done = succeeded(aegis(home, tmp_path, "demo"))
    assert {name for name, _ in listing(tmp_path)} == {"reports/demo.html"}
    assert "report: reports/demo.html" in done.stdout
    assert "aave" in done.stdout


def test_simulate_writes_tables_that_check_calls_valid_and_simulated(home: Path, tmp_path: Path) -> None:
    options = ("--strategies-count", "5", "--days", "150", "--seed", "4", "--output", "made")
    succeeded(aegis(home, tmp_path, "simulate", *options))
    assert {name for name, _ in listing(tmp_path / "made")} == {
        f"{t}.parquet" for t in ("yields", "strategies", "market")
    }
    assert set(pl.read_parquet(tmp_path / "made" / "yields.parquet")["source"]) == {"simulated"}
    done = succeeded(aegis(home, tmp_path, "check", "made"))
    rows = read_dataset(tmp_path / "made").yields.height
    assert "made (SIMULATED): valid" in done.stdout
    assert f"{rows:,} rows of 5 strategies" in done.stdout


def test_strategies_lists_whole_names_into_a_pipe(home: Path, tmp_path: Path, tables: Path) -> None:
    done = succeeded(aegis(home, tmp_path, "strategies", "--data", tables))
    assert all(name in done.stdout for name in set(market().yields["strategy_id"]))


def test_strategies_as_json_can_be_filtered(home: Path, tmp_path: Path, tables: Path) -> None:
    done = succeeded(aegis(home, tmp_path, "strategies", "--data", tables, "--category", "staking", "--json"))
    assert [row["strategy_id"] for row in json.loads(done.stdout)] == ["lido:ethereum:steth"]


def test_features_lists_every_input(home: Path, tmp_path: Path) -> None:
    done = succeeded(aegis(home, tmp_path, "features"))
    assert all(name in done.stdout for name in FEATURE_NAMES)


def test_the_textbook_recipe_trains_and_predicts(home: Path, tmp_path: Path, tables: Path) -> None:
    plan = ("--epochs", "1", "--batch-size", "512", "--members", "1", "--recipe", "textbook", "--output", tmp_path)
    trained = succeeded(run(["scripts/train.py", "--data", tables, *plan], home, tmp_path))
    assert "trained on SIMULATED data" in trained.stderr
    model = tmp_path / "lstm_v1.pth"
    done = succeeded(run([*PREDICT, "--json", "--data", tables, "--model", model], home, tmp_path))
    assert set(json.loads(done.stdout)["predictions"]) == {"aave", "lido", "delta"}


def test_the_module_and_the_script_are_one_command(home: Path, tmp_path: Path) -> None:
    version = succeeded(aegis(home, tmp_path, "--version"))
    assert version.stdout == f"aegis-yield {__version__}\n"


@pytest.mark.parametrize("script", ["train", "evaluate", "predict"])
def test_scripts_show_their_own_help(home: Path, tmp_path: Path, script: str) -> None:
    done = succeeded(run([f"scripts/{script}.py", "--help"], home, tmp_path))
    assert f"aegis {script}" in done.stdout
    assert "Examples" in done.stdout


def test_every_script_has_its_command() -> None:
    assert {path.stem for path in (CHECKOUT / "scripts").glob("*.py")} <= set(COMMANDS)


def test_a_percent_table_is_forecast_with_one_warning_that_names_the_suspects(
    home: Path, tmp_path: Path, tables: Path
) -> None:
    for name in ("strategies", "market"):
        (tmp_path / f"{name}.parquet").write_bytes((tables / f"{name}.parquet").read_bytes())
    percent = pl.read_parquet(tables / "yields.parquet").with_columns(pl.col("apy") * 100)
    percent.write_parquet(tmp_path / "yields.parquet")
    done = succeeded(run([*PREDICT, "--data", tmp_path], home, tmp_path))
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
    assert len(warnings) == 1
    assert "looks like percent" in warnings[0]
    assert "aave-v3:ethereum:usdc" in warnings[0]
    assert "lido:ethereum:steth" in warnings[0]


def test_names_with_brackets_are_shown_as_they_are(home: Path, tmp_path: Path, tables: Path) -> None:
    hostile = "li[/bold]do:[red]:steth"
    renamed = pl.col("strategy_id").replace({"lido:ethereum:steth": hostile})
    for name in ("strategies", "yields"):
        table = pl.read_parquet(tables / f"{name}.parquet").with_columns(renamed)
        table.sort("strategy_id", *(["date"] if name == "yields" else [])).write_parquet(tmp_path / f"{name}.parquet")
    listed = succeeded(aegis(home, tmp_path, "strategies", "--data", tmp_path))
    assert hostile in listed.stdout
    forecast = succeeded(aegis(home, tmp_path, "predict", "--strategies", hostile, "--data", tmp_path))
    assert hostile in forecast.stdout
