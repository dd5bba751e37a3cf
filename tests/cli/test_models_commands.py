"""``aegis models`` as users run it; and nobody else loads MLflow."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import bundle_content, clean_environment, run
from stores import Ledger, new_sqlite, sqlite_template

from aegis_yield.models.bundle import Bundle, bundle_bytes
from aegis_yield.registry import read_registry
from aegis_yield.registry.settings import TrackingSettings

pytestmark = pytest.mark.slow  # each runs commands as processes, some of them with MLflow

__all__ = ["new_sqlite", "sqlite_template"]

AEGIS = ("-c", "from aegis_yield.cli.app import main; main()")
ACTIONS = ("list", "show", "compare", "promote", "rollback", "export", "import", "delete", "sync", "ui")
Done = subprocess.CompletedProcess[str]
Aegis = Callable[..., Done]


@pytest.fixture
def models(tmp_path: Path, tiny_bundle: Bundle) -> Path:
    """The models folder of the home ``tmp_path``: three versions."""
    folder = tmp_path / "models"
    folder.mkdir()
    for number in (1, 2, 3):
        changed = replace(tiny_bundle, provenance={**tiny_bundle.provenance, "epochs": number})
        (folder / f"lstm_v{number}.pth").write_bytes(bundle_bytes(changed))
    return folder


@pytest.fixture
def aegis(models: Path, tmp_path: Path) -> Aegis:
    def call(*arguments: str | Path, **extra: str) -> Done:
        return run([*AEGIS, *arguments], tmp_path, tmp_path, **extra)

    return call


def succeeded(done: Done) -> str:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def refused(done: Done, said: str) -> None:
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_help_names_every_action(aegis: Aegis) -> None:
    text = succeeded(aegis("models", "--help"))
    assert all(f" {action} " in text for action in ACTIONS)
    assert "Examples" in text


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_has_an_example(action: str, aegis: Aegis) -> None:
    assert f"aegis models {action}" in succeeded(aegis("models", action, "--help")).split("Examples", 1)[1]


def test_versions_are_listed_shown_and_compared(aegis: Aegis, models: Path) -> None:
    aegis("models", "promote", "2", "--force", "--reason", "for the test")
    listed = succeeded(aegis("models", "list"))
    assert all(f"lstm_v{number}" in listed for number in (1, 2, 3))
    assert "champion" in listed
    rows = json.loads(succeeded(aegis("models", "list", "--json")))
    assert [row["name"] for row in rows] == ["lstm_v3", "lstm_v2", "lstm_v1"]
    assert [row["aliases"] for row in rows] == [[], ["champion"], []]
    shown = succeeded(aegis("models", "show", "champion"))
    assert rows[1]["sha256"] in shown
    assert "for the test" in shown
    assert json.loads(succeeded(aegis("models", "show", "2", "--json")))["provenance"]["epochs"] == 2
    compared = succeeded(aegis("models", "compare", "1", "champion"))
    assert "epochs" in compared
    assert "+100.0%" in compared
    both = json.loads(succeeded(aegis("models", "compare", "1", "2", "--json")))
    assert [one["figures"]["epochs"] for one in both] == [1, 2]


def test_promotion_needs_the_gate_or_a_reason(aegis: Aegis, models: Path, tables: Path) -> None:
    first = aegis("models", "promote", "1", "--data", tables)  # two bundles that forecast the same
    assert first.returncode == 3
    assert "no champion was set: lstm_v3, in use so far, became the one to beat" in first.stderr
    assert read_registry(models).champion == "lstm_v3"
    assert succeeded(aegis("models", "promote", "1", "--force", "--reason", "a drill")) == "champion: lstm_v1\n"
    refused(aegis("models", "promote", "2", "--force"), "--reason why the gate is passed over")
    judged = aegis("models", "promote", "2", "--data", tables)
    assert judged.returncode == 3
    assert "nothing changed" in judged.stderr
    assert read_registry(models).champion == "lstm_v1"
    verdicts = [json.loads(path.read_text())["verdict"] for path in (models / "decisions").glob("*.json")]
    assert len(verdicts) == 2
    assert "promote" not in verdicts
    assert succeeded(aegis("models", "promote", "2", "--force", "--reason", "a drill")) == "champion: lstm_v2\n"
    assert read_registry(models).history[-1].why.forced
    succeeded(aegis("models", "promote", "3", "--challenger"))
    assert read_registry(models).aliases == {"champion": "lstm_v2", "challenger": "lstm_v3"}
    assert "champion: lstm_v1" in succeeded(aegis("models", "rollback", "--reason", "the drill is over"))
    assert "champion: lstm_v3" in succeeded(aegis("models", "rollback", "--reason", "that one, too"))
    refused(aegis("models", "rollback", "--reason", "more"), "no earlier champion")


def test_the_champion_is_what_predicts(aegis: Aegis, models: Path, tables: Path) -> None:
    question = ("predict", "--strategies", "aave", "--data", tables, "--json")

    def version(*more: str) -> str:
        return str(json.loads(succeeded(aegis(*question, *more)))["model_version"])

    assert version().startswith("lstm_v3-")
    succeeded(aegis("models", "promote", "1", "--force", "--reason", "a drill"))
    champion = version()
    assert champion.startswith("lstm_v1-")
    assert version("--model", "2").startswith("lstm_v2-")
    assert version("--model", "champion") == version("--model", champion) == champion
    refused(aegis(*question, "--model", "challenger"), "no version has this alias")
    refused(aegis(*question, "--model", "9"), "no such version")


def test_a_version_travels_as_one_file(aegis: Aegis, models: Path, tmp_path: Path) -> None:
    succeeded(aegis("models", "export", "2", "--output", tmp_path))
    there = ("--models", tmp_path / "there")
    assert "lstm_v1 (was lstm_v2)" in succeeded(aegis("models", "import", tmp_path / "lstm_v2.aegis.zip", *there))
    assert (tmp_path / "there" / "lstm_v1.pth").read_bytes() == (models / "lstm_v2.pth").read_bytes()
    assert "was here already" in succeeded(aegis("models", "import", tmp_path / "lstm_v2.aegis.zip"))
    refused(aegis("models", "import", tmp_path / "absent.zip"), "no such file")
    refused(aegis("models", "import"), "give one of them")
    (tmp_path / "x.pth").write_bytes(bundle_content()[:-100])
    refused(aegis("models", "import", tmp_path / "x.pth"), "x.pth")


def test_deletion_asks_unless_told_not_to(aegis: Aegis, models: Path) -> None:
    succeeded(aegis("models", "promote", "1", "--force", "--reason", "a drill"))
    refused(aegis("models", "delete", "champion", "--yes"), "is the champion")
    asked = aegis("models", "delete", "2")  # nobody answers
    assert asked.returncode == 1
    assert (models / "lstm_v2.pth").exists()
    assert succeeded(aegis("models", "delete", "2", "--yes")) == "deleted lstm_v2\n"
    assert not (models / "lstm_v2.pth").exists()


def test_sync_records_versions_and_aliases(
    aegis: Aegis, models: Path, new_sqlite: Callable[[Path], TrackingSettings]
) -> None:
    on = {"AEGIS_TRACKING__ENABLED": "1"}
    settings = new_sqlite(models)
    succeeded(aegis("models", "promote", "3", "--force", "--reason", "a drill"))
    assert "3 records delivered" in succeeded(aegis("models", "sync", **on))
    assert Ledger(settings).aliases() == {"champion": "lstm_v3"}
    assert "version" in succeeded(aegis("models", "list", **on))
    refused(aegis("models", "sync"), "switched off")
    away = {**on, "AEGIS_TRACKING__URI": "postgresql://me:geheim@127.0.0.1:9/x"}
    gone = aegis("models", "sync", **away)
    refused(gone, "not everything was delivered: postgresql://me:***@127.0.0.1:9/x")
    refused(aegis("models", "list", AEGIS_TRACKING__URI="mlruns"), "AEGIS_TRACKING__URI")


def test_an_evaluation_joins_the_record_and_is_shown(
    aegis: Aegis, models: Path, tables: Path, tmp_path: Path, new_sqlite: Callable[[Path], TrackingSettings]
) -> None:
    settings, on = new_sqlite(models), {"AEGIS_TRACKING__ENABLED": "1"}
    question = ("evaluate", "--model", "2", "--data", tables, "--every", "14", "--html", tmp_path / "e.html")
    done = aegis(*question, **on)
    succeeded(done)
    assert "scores recorded with lstm_v2 in sqlite:" in done.stderr
    [run] = Ledger(settings).runs()
    assert {name.split("/")[1] for name in run.data.metrics if name.startswith("seen/")} == {"h01", "h07", "h14", "h30"}
    [page] = settings.folder.rglob("evaluation.html")
    assert page.read_bytes() == (tmp_path / "e.html").read_bytes()
    shown = succeeded(aegis("models", "show", "2", **on))
    assert "Its training: the scouts on the newest block" in shown
    assert "Evaluations on days that it has learned from" in shown
    assert "seen/h07/rel_mae" in succeeded(aegis("models", "compare", "1", "2", **on))
    figures = json.loads(succeeded(aegis("models", "show", "2", "--json", **on)))["figures"]
    assert figures["seen/h07/rel_mae"] == run.data.metrics["seen/h07/rel_mae"]
    (tmp_path / "FILE").touch()
    away = aegis(*question, **on, AEGIS_TRACKING__URI=f"sqlite:///{tmp_path}/FILE/x.db")
    succeeded(away)
    assert [line for line in away.stderr.splitlines() if "warning:" in line and "not recorded yet" in line]
    assert away.stderr.count("warning:") == 1


def test_ui_serves_mlflows_pages(models: Path, tmp_path: Path, new_sqlite: Callable[[Path], TrackingSettings]) -> None:
    pytest.importorskip("flask", reason="MLflow's pages are not installed (aegis-yield[ui])")
    new_sqlite(models)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, *AEGIS, "models", "ui", "--port", str(port)]
    environment = clean_environment(tmp_path, AEGIS_TRACKING__ENABLED="1")
    with (tmp_path / "log").open("w") as log:
        pages = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        text = page(f"http://127.0.0.1:{port}/", pages)
        assert "<title>MLflow</title>" in text
    finally:
        pages.send_signal(signal.SIGTERM)
        pages.wait(30)


def page(url: str, process: subprocess.Popen[bytes]) -> str:
    give_up = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.2)


LOADED = "; print([name for name in ('mlflow', 'sqlalchemy') if name in sys.modules])"


@pytest.mark.parametrize(
    "code",
    [
        "import aegis_yield, aegis_yield.pipelines.train, aegis_yield.pipelines.versions, aegis_yield.cli.models",
        "import aegis_yield; aegis_yield.predict(['aave'], data=DATA)",
        "from fastapi.testclient import TestClient; from api.ml_service import create_app;"
        " client = TestClient(create_app()).__enter__();"
        " assert client.post('/predict', json={'strategies': ['aave']}).status_code == 200",
    ],
    ids=["import", "predict", "service"],
)
def test_mlflow_is_loaded_only_where_it_records(code: str, models: Path, tmp_path: Path, tables: Path) -> None:
    program = f"import sys; DATA = {str(tables)!r}; {code}{LOADED}"
    done = run(["-c", program], tmp_path, tmp_path, AEGIS_TRACKING__ENABLED="1", AEGIS_DATA=str(tables))
    assert succeeded(done).strip() == "[]"


def test_training_itself_does_not_load_mlflow(
    models: Path, tmp_path: Path, tables: Path, new_sqlite: Callable[[Path], TrackingSettings]
) -> None:
    new_sqlite(models)
    arguments = ["train", "--data", str(tables), "--epochs", "1", "--batch-size", "512", "--members", "1"]
    program = f"import sys; from aegis_yield.cli.app import main\ntry: main({arguments!r})\nexcept SystemExit: pass\n"
    done = run(["-c", program + LOADED.removeprefix("; ")], tmp_path, tmp_path, AEGIS_TRACKING__ENABLED="1")
    assert succeeded(done).splitlines()[-1] == "[]"
    assert "recorded: version 1" in done.stderr
