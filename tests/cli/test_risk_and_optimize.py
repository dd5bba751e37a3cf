"""``aegis risk`` and ``aegis optimize`` as a user runs them: tables, JSON, files of positions, refusals in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bundles import CHECKOUT, listing, run

from aegis_yield.cli.app import main

AAVE, LIDO = "aave-v3:ethereum:usdc", "lido:ethereum:steth"
RISK = ("--strategies", "aave", "lido", "delta", "--horizon", "30", "--scenarios", "100")
OPTIMIZE = ("--strategies", "aave", "lido", "compound", "--scenarios", "100")
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


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=pytest.fail)


def test_the_script_of_risk_shows_a_table_of_simulated_numbers(home: Path, tmp_path: Path, tables: Path) -> None:
    done = run(["scripts/risk.py", *RISK, "--data", tables], home, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "SIMULATED data" in done.stdout
    assert done.stderr.count("SIMULATED") == 2
    assert "Traceback" not in done.stderr
    assert all(name in done.stdout for name in ("aave", "lido", "delta"))
    assert listing(tmp_path) == set()


def test_the_script_of_optimize_prints_nothing_but_json(home: Path, tmp_path: Path, tables: Path) -> None:
    (tmp_path / "held.json").write_text(json.dumps({"aave": 250_000, LIDO: 100000.5}))
    order = (*OPTIMIZE, "--current", "held.json", "--max-turnover", "0.5", "--json", "--data", tables)
    done = run(["scripts/optimize.py", *order], home, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("SIMULATED") == 2
    content = strict(done.stdout)
    held = {row["strategy_id"]: row["before_usd"] for row in content["strategies"] if row["before_usd"]}
    assert held == {AAVE: 250_000.0, LIDO: 100_000.5}
    assert sum(abs(trade["amount_usd"]) for trade in content["trades"]) <= 500_000 * (1 + 1e-6)
    assert {name for name, _ in listing(tmp_path)} == {"held.json"}


def test_risk_as_json_holds_every_row(place: Path, tables: Path, capsys: Capture) -> None:
    code, out, err = said(["risk", *RISK, "--json", "--data", str(tables)], capsys)
    assert code == 0
    content = strict(out)
    assert [row["name"] for row in content["rows"]] == ["aave", "lido", "delta"]
    assert (content["horizon_days"], content["as_of"], content["simulated"]) == (30, "2025-09-30", True)
    assert all(row["cvar"] >= row["var"] for row in content["rows"])
    assert err.count("note:") == len(content["notes"]) == 3
    assert content["notes"][-1].startswith("intervals have learned from no outcome of the last ")


def test_risk_shows_every_figure_and_the_worst_events(place: Path, tables: Path, capsys: Capture) -> None:
    _, out, _ = said(["risk", "--scenarios", "100", "--data", str(tables)], capsys)
    assert "Risk of the next 30 days (SIMULATED data)" in out
    assert all(f"{name}: most of it from " in out for name in ("aave", "lido", "delta"))


def test_the_same_seed_prints_the_same(place: Path, tables: Path, capsys: Capture) -> None:
    order = ["risk", *RISK, "--json", "--data", str(tables), "--seed"]
    first, again, other = (strict(said([*order, seed], capsys)[1])["rows"] for seed in ("3", "3", "4"))
    assert first == again
    assert first != other


def test_optimize_shows_positions_limits_and_trades(place: Path, tables: Path, capsys: Capture) -> None:
    limits = ("--max-share", "0.25", "--max-exit-days", "1", "--never", "compound", "susde")
    code, out, _ = said(["optimize", *OPTIMIZE, *limits, "--capital", "500000", "--data", str(tables)], capsys)
    assert code == 0
    assert "500,000 USD for 30 days (SIMULATED data)" in out
    text = " ".join(out.split())
    for words in (
        "aave 125,000 USD 25.0%",
        "cash",
        "at its cap: 25 % of capital",
        "capital",
        "max_exit_days",
        "deposit",
    ):
        assert words in text
    assert "compound 0" not in text
    assert "is on the list of those never to be used" in text
    assert "certified (" in text


def test_limits_given_on_the_command_line_are_kept(place: Path, tables: Path, capsys: Capture) -> None:
    limits = ("--max-positions", "1", "--max-category", "0.35", "--max-cvar", "0.01", "--goal", "income")
    _, out, _ = said(["optimize", *OPTIMIZE, *limits, "--json", "--data", str(tables)], capsys)
    content = strict(out)
    assert len(content["weights"]) == 1
    assert max(content["weights"].values()) <= 0.35 * (1 + 1e-6)
    assert {"max_category_share of lending", "max_cvar"} <= {state["name"] for state in content["limits"]}


@pytest.mark.parametrize("goal", ["mean-cvar", "income", "mean-variance", "ratio", "robust"])
def test_every_goal_has_an_answer(goal: str, place: Path, tables: Path, capsys: Capture) -> None:
    code, out, err = said(["optimize", *OPTIMIZE, "--goal", goal, "--json", "--data", str(tables)], capsys)
    assert code == 0, err
    assert 0.0 <= sum(strict(out)["weights"].values()) <= 1.0 + 1e-9


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "no capital": (("--capital", "0"), "capital_usd: received 0.0, allowed is an amount above 0"),
    "negative capital": (("--capital", "-5"), "capital_usd: received -5.0"),
    "capital that is no number": (("--capital", "nan"), "capital_usd: received nan"),
    "capital beyond everything": (("--capital", "1e13"), "capital_usd: received 1"),
    "a share above 1": (("--max-share", "1.5"), "max_share: received 1.5, allowed is a share of capital from 0 to 1"),
    "a negative share": (("--max-chain", "-0.1"), "max_chain_share: received -0.1"),
    "a share that is no number": (("--max-issuer", "nan"), "max_issuer_share: received nan"),
    "horizon 31": (("--horizon", "31"), "horizon_days: received 31, allowed is a whole number from 1 to 30"),
    "unknown goal": (("--goal", "riches"), "goal: received 'riches', allowed is income, mean-cvar"),
    "negative aversion": (("--risk-aversion", "-1"), "risk_aversion: received -1.0"),
    "free rate in percent": (("--risk-free", "4"), "risk_free_apy: received 4.0"),
    "no positions": (("--max-positions", "0"), "max_positions: received 0, allowed is a whole number above 0"),
    "negative ticket": (("--min-ticket", "-1"), "min_ticket_usd: received -1.0, allowed is a number, at least 0"),
    "negative cvar": (("--max-cvar", "-0.1"), "max_cvar: received -0.1"),
    "no scenarios": (("--scenarios", "0"), "n_scenarios: received 0, allowed is a whole number, at least 1"),
    "banned unknown": (("--never", "lidoo"), "unknown strategy 'lidoo'; closest names: "),
    "contradicting limits": (
        ("--max-share", "0.1", "--min-invested", "0.9"),
        "limits that cannot all be met: min_invested_share",
    ),
    "nowhere to invest": (("--min-tvl", "1e15", "--min-invested", "0.5"), "min_invested_share: received 0.5"),
}


def assert_one_line(code: object, out: str, err: str, words: str) -> None:
    assert code == 1
    assert out == ""
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1, err
    assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize("fault", BAD)
def test_bad_numbers_are_one_line(fault: str, place: Path, tables: Path, capsys: Capture) -> None:
    arguments, words = BAD[fault]
    assert_one_line(*said(["optimize", *OPTIMIZE, "--data", str(tables), *arguments], capsys), words)


@pytest.mark.slow
@pytest.mark.parametrize("fault", BAD)
def test_bad_numbers_are_one_line_of_a_process(fault: str, home: Path, tmp_path: Path, tables: Path) -> None:
    arguments, words = BAD[fault]
    done = run(["scripts/optimize.py", *OPTIMIZE, "--data", tables, *arguments], home, tmp_path)
    assert_one_line(done.returncode, done.stdout, done.stderr, words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--strategies", "aav"), "unknown strategy 'aav'; closest names: aave"),
        (("--strategies", "aave", AAVE), "each named once"),
        (("--horizon", "31"), "horizon_days: received 31"),
        (("--scenarios", "-3"), "n_scenarios: received -3"),
        (("--seed", "-1"), "seed: received -1, allowed is a whole number, at least 0"),
    ],
)
def test_bad_questions_of_risk_are_one_line(
    arguments: tuple[str, ...], words: str, place: Path, tables: Path, capsys: Capture
) -> None:
    assert_one_line(*said(["risk", "--data", str(tables), *arguments], capsys), words)


CURRENT: dict[str, tuple[str, str]] = {
    "no json": ('{"aave": 1', "held.json: cannot be read as JSON"),
    "a list": ('["aave"]', "held.json: received ['aave'], allowed is an object of strategies and US dollars"),
    "text for an amount": ('{"aave": "much"}', "received {'aave': 'much'}"),
    "a truth for an amount": ('{"aave": true}', "received {'aave': True}"),
    "nothing for an amount": ('{"aave": null}', "received {'aave': None}"),
    "a negative amount": ('{"aave": -1}', "position of aave: received -1.0, allowed is an amount, at least 0"),
    "no number": ('{"aave": NaN}', "position of aave: received nan"),
    "infinite": ('{"aave": Infinity}', "position of aave: received inf"),
    "a number of 400 digits": ('{"aave": 1' + 400 * "0" + "}", "position of aave: received inf"),
    "more than the capital": ('{"aave": 2e6}', "capital_usd: received 1000000.0, allowed is at least the sum of the"),
    "an unknown name": ('{"nobody": 5}', "unknown strategy 'nobody'"),
}


@pytest.mark.parametrize("fault", CURRENT)
def test_a_broken_file_of_positions_is_one_line(fault: str, place: Path, tables: Path, capsys: Capture) -> None:
    content, words = CURRENT[fault]
    (place / "held.json").write_text(content)
    order = ["optimize", *OPTIMIZE, "--data", str(tables), "--current", "held.json"]
    assert_one_line(*said(order, capsys), words)


def test_a_file_of_positions_that_is_none_is_one_line(place: Path, tables: Path, capsys: Capture) -> None:
    (place / "bytes").write_bytes(b"\xff\xfe\x00")
    for name in ("absent.json", "bytes", "."):
        order = ["optimize", *OPTIMIZE, "--data", str(tables), "--current", name]
        assert_one_line(*said(order, capsys), f"{name}: cannot be read as JSON")


@pytest.mark.parametrize(
    ("variable", "command", "words"),
    [
        ("AEGIS_HAZARDS", "risk", "cannot be read as a TOML file of hazards"),
        ("AEGIS_ALLOCATION", "optimize", "cannot be read as a TOML file of trading costs"),
    ],
)
def test_broken_files_of_settings_are_one_line(
    variable: str, command: str, words: str, place: Path, tables: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "own.toml").write_text("[gas")
    monkeypatch.setenv(variable, str(place / "own.toml"))
    assert_one_line(*said([command, "--strategies", "aave", "--data", str(tables)], capsys), words)


@pytest.mark.parametrize("command", ["risk", "optimize"])
def test_scripts_are_doors_to_their_commands(command: str, capsys: Capture) -> None:
    text = (CHECKOUT / "scripts" / f"{command}.py").read_text()
    assert f'run_command("{command}")' in text
    code, out, _ = said([command, "--help"], capsys)
    assert code == 0
    assert f"aegis {command} " in out.split("Examples", 1)[1]
