"""Whatever is wrong: one line that begins with ``error:``, a failing exit code, no traceback, nothing written.

Every case runs inside this process; the slow tests run each again as a process of its own.
"""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from bundles import bundle_content, listing, market, run

from aegis_yield.cli.app import main

Spoil = Callable[[pl.DataFrame], pl.DataFrame]
LIDO = pl.col("strategy_id") == "lido:ethereum:steth"
FIFTH = pl.int_range(pl.len()) == 5


def with_fifth_apy(value: float) -> Spoil:
    return lambda table: table.with_columns(pl.when(FIFTH).then(value).otherwise(pl.col("apy")).alias("apy"))


TABLES: dict[str, tuple[Spoil, str]] = {
    "missing column": (lambda t: t.drop("apy"), "apy: column is missing"),
    "duplicate keys": (lambda t: pl.concat([t.head(1), t]), "must be unique, received duplicate keys (row 0"),
    "unsorted dates": (lambda t: t.reverse(), "date: must rise from row to row within a strategy"),
    "future dates": (
        lambda t: t.with_columns(pl.col("date") + dt.timedelta(days=40_000)),
        "must not lie in the future",
    ),
    "nan apy": (with_fifth_apy(float("nan")), "must be finite"),
    "infinite apy": (with_fifth_apy(float("inf")), "must be finite (no NaN, no infinity) (row 5 = inf)"),
    "empty table": (lambda t: t.head(0), "at least one row is needed, received an empty table"),
    "too little history": (lambda t: t.filter(~LIDO | (pl.col("date") > dt.date(2025, 9, 15))), "too little history"),
    "no such strategy": (lambda t: t.filter(~LIDO), "unknown strategy 'lido'"),
}


class Trap:
    """Unpickling it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.mark,)


def save_weights(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def save_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Trap(path.with_name("executed"))))


def save_pickle_in_a_zip(path: Path) -> None:
    torch.save({"format": "aegis-yield-bundle", "trap": Trap(path.with_name("executed"))}, path)


MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing model": (lambda path: None, "no such model file"),
    "empty model": (lambda path: path.touch(), "not a model bundle"),
    "cut model": (lambda path: path.write_bytes(bundle_content()[:50_000]), "not a model bundle"),
    "flipped byte": (lambda path: path.write_bytes(flipped(bundle_content())), "damaged"),
    "foreign weights": (save_weights, "weights without a bundle around them"),
    "pickle as model": (save_pickle, "not a model bundle"),
    "pickle in a zip": (save_pickle_in_a_zip, "cannot load as plain weights"),
    "folder as model": (lambda path: path.mkdir(), "no such model file"),
}


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


AEGIS = ("-c", "from aegis_yield.cli.app import main; main()")
PREDICT = ("predict", "--strategies", "lido", "--output", "written.parquet", "--data", "DATA")
EVALUATE = ("evaluate", "--data", "DATA", "--forecasts", "written.parquet", "--json", "written.json")
TRAIN = ("train", "--data", "DATA", "--output", "models", "--epochs", "1")
REQUESTS: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown strategy": (("predict", "--strategies", "lidoo", "--data", "DATA"), "unknown strategy 'lidoo'; closest"),
    "horizon 0": ((*PREDICT, "--horizon", "0"), "horizon_days: received 0, allowed is a whole number from 1 to 30"),
    "horizon 31": ((*PREDICT, "--horizon", "31"), "horizon_days: received 31, allowed is"),
    "level 1": ((*PREDICT, "--level", "1"), "level: received 1.0, allowed is a fraction from 0.5 to 0.98"),
    "no such day": ((*PREDICT, "--as-of", "2025-02-30"), "as-of: received '2025-02-30', allowed is a date such as"),
    "day after the data": ((*PREDICT, "--as-of", "2025-10-01"), "as_of: received '2025-10-01'"),
    "all and some": ((*PREDICT, "--all"), "either --strategies or --all, not both"),
    "no such folder": ((*PREDICT, "--data", "absent[/x]"), "no dataset at absent[/x]"),
    "output below a file": ((*PREDICT, "--output", "FILE/out.parquet"), "FILE"),
    "evaluation at horizon 31": ((*EVALUATE, "--horizon", "31"), "horizon_days: received 31"),
    "evaluation backwards": (
        (*EVALUATE, "--start", "2025-09-01", "--end", "2025-08-01"),
        "start: received '2025-09-01'",
    ),
    "evaluation after all": ((*EVALUATE, "--start", "2025-09-29"), "start: received '2025-09-29'"),
    "evaluation in year 1": ((*EVALUATE, "--end", "0001-01-01"), "no strategy can be forecast"),
    "evaluation in year 9999": (
        (*EVALUATE, "--start", "9999-12-30", "--end", "9999-12-31"),
        "no strategy can be forecast",
    ),
    "evaluation every 0 days": ((*EVALUATE, "--every", "0"), "every: received 0"),
    "evaluation against nothing": ((*EVALUATE, "--against", "absent.pth"), "no such model file"),
    "training on too little": ((*TRAIN, "--until", "2024-10-01"), "training needs at least 200"),
    "training on nothing": ((*TRAIN, "--until", "2001-01-01"), "choose a later --until"),
    "unknown recipe": ((*TRAIN, "--recipe", "secret"), "recipe: received 'secret', allowed is anchored or textbook"),
    "no epochs": ((*TRAIN, "--epochs", "0"), "epochs: received 0"),
    "models below a file": ((*TRAIN, "--output", "FILE/models"), "FILE"),
    "unknown category": (("strategies", "--data", "DATA", "--category", "bonds"), "category: received 'bonds'"),
    "two strategies": (("simulate", "--strategies-count", "2", "--output", "made"), "n_strategies: received 2"),
    "simulated future": (("simulate", "--end", "2999-01-01", "--output", "made"), "end: received"),
    "check of nothing": (("check", "absent"), "no dataset at absent"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a command is run; ``FILE`` in it is a file."""
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "FILE").touch()
    monkeypatch.chdir(folder)
    return folder


def spoiled(tables: Path, folder: Path, spoil: Spoil) -> Path:
    folder.mkdir()
    for table in ("strategies", "market"):
        (folder / f"{table}.parquet").write_bytes((tables / f"{table}.parquet").read_bytes())
    spoil(market().yields).write_parquet(folder / "yields.parquet")
    return folder


def assert_refused(code: object, out: str, err: str, said: str) -> None:
    lines = err.strip().splitlines()
    assert code not in (0, None)
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert said in lines[0]
    assert "Traceback" not in out + err


def refuse(arguments: list[str], home: Path, capsys: pytest.CaptureFixture[str], said: str) -> None:
    """Run a command in this process and see it refuse."""
    before = (listing(Path.cwd()), listing(home))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEGIS_HOME", str(home))
        code = leaves_with(arguments)
    assert_refused(code, *capsys.readouterr(), said)
    assert (listing(Path.cwd()), listing(home)) == before


def leaves_with(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code


def refuse_as_process(arguments: list[str], home: Path, said: str) -> None:
    before = (listing(Path.cwd()), listing(home))
    done = run([*AEGIS, *arguments], home, Path.cwd())
    assert_refused(done.returncode, done.stdout, done.stderr, said)
    assert (listing(Path.cwd()), listing(home)) == before


def placed(arguments: tuple[str, ...], tables: Path) -> list[str]:
    return [str(tables) if word == "DATA" else word for word in arguments]


@pytest.mark.parametrize("fault", TABLES)
def test_a_bad_table(
    fault: str, home: Path, tables: Path, tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, said = TABLES[fault]
    refuse([*PREDICT[:-1], str(spoiled(tables, tmp_path / "bad", spoil))], home, capsys, said)


@pytest.mark.parametrize("fault", MODELS)
def test_a_bad_model(
    fault: str, home: Path, tables: Path, tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, said = MODELS[fault]
    make(tmp_path / "bad.pth")
    refuse([*placed(PREDICT, tables), "--model", str(tmp_path / "bad.pth")], home, capsys, said)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("fault", REQUESTS)
def test_a_bad_request(fault: str, home: Path, tables: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, said = REQUESTS[fault]
    refuse(placed(arguments, tables), home, capsys, said)


def test_a_broken_file_of_names(
    home: Path, tables: Path, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "FILE").write_text("[aliases")
    monkeypatch.setenv("AEGIS_STRATEGIES", str(place / "FILE"))
    refuse(placed(PREDICT, tables), home, capsys, "cannot be read as a TOML file of strategy names")


@pytest.mark.slow
@pytest.mark.parametrize("fault", TABLES)
def test_a_bad_table_as_a_process(fault: str, home: Path, tables: Path, tmp_path: Path, place: Path) -> None:
    spoil, said = TABLES[fault]
    refuse_as_process([*PREDICT[:-1], str(spoiled(tables, tmp_path / "bad", spoil))], home, said)


@pytest.mark.slow
@pytest.mark.parametrize("fault", MODELS)
def test_a_bad_model_as_a_process(fault: str, home: Path, tables: Path, tmp_path: Path, place: Path) -> None:
    make, said = MODELS[fault]
    make(tmp_path / "bad.pth")
    refuse_as_process([*placed(PREDICT, tables), "--model", str(tmp_path / "bad.pth")], home, said)
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
@pytest.mark.parametrize("fault", REQUESTS)
def test_a_bad_request_as_a_process(fault: str, home: Path, tables: Path, place: Path) -> None:
    arguments, said = REQUESTS[fault]
    refuse_as_process(placed(arguments, tables), home, said)


@pytest.mark.parametrize("script", ["train", "evaluate", "predict"])
def test_scripts_refuse_like_their_commands(script: str, home: Path, place: Path) -> None:
    done = run([f"scripts/{script}.py", "--data", "absent"], home, place)
    assert_refused(done.returncode, done.stdout, done.stderr, "no dataset at absent")


USAGE = [
    ["predict", "--unknown"],
    ["predict", "--strategies"],
    ["predict", "--horizon", "soon"],
    ["predict", "--horizon"],
    ["predict", "aave"],
    ["check"],
    ["serve", "--port", "99999"],
    ["fly"],
    [],
]


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_usage_errors_explain_themselves(arguments: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leaves_with(arguments) == 2
    out, err = capsys.readouterr()
    assert "Usage: aegis" in out + err or "requires an argument" in err
    assert "Traceback" not in out + err


def test_a_service_with_a_senseless_port_says_which_setting(home: Path, place: Path) -> None:
    done = run([*AEGIS, "serve"], home, place, AEGIS_PORT="soon")
    assert_refused(done.returncode, done.stdout, done.stderr, "AEGIS_PORT: received 'soon'")


def test_a_demo_whose_report_cannot_be_written_ends_with_an_error(home: Path, tables: Path, place: Path) -> None:
    done = run([*AEGIS, "demo", "--data", tables, "--html", "FILE/demo.html"], home, place)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
