"""Options of a run's allocation are those of ``aegis optimize``, and what a file says of them holds."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import CHECKOUT, NOT_RECORDED, bundle_content

from aegis_yield.cli.optimize import optimize
from aegis_yield.domain.errors import DataError, RequestError
from aegis_yield.pipelines.run import RunOrder, run
from aegis_yield.pipelines.run_options import DEFAULTS, allocation_order, load_run_options, present_positions
from aegis_yield.portfolio.problem import Goal

SHIPPED = CHECKOUT / "configs" / "run.toml"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {"AEGIS_HOME": str(tmp_path), "AEGIS_OFFLINE": "1", **NOT_RECORDED}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "lstm_v1.pth").write_bytes(bundle_content())
    return tmp_path.resolve()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_names_and_defaults_are_those_of_optimize() -> None:
    shown = {"data", "model", "html", "as_json"}
    options = {name: one.default for name, one in inspect.signature(optimize).parameters.items() if name not in shown}
    assert options.keys() == DEFAULTS.keys()
    for name in options.keys() - {"capital", "never"}:
        assert options[name] == DEFAULTS[name], name


def test_the_shipped_file_sets_nothing_and_shows_everything() -> None:
    assert load_run_options(SHIPPED) == {}
    lines = re.findall(r"^# (\w+ = .*)$", SHIPPED.read_text(), flags=re.MULTILINE)
    shown = tomllib.loads("\n".join(lines))
    assert list(shown) == [line.split(" = ")[0] for line in lines]
    assert shown.keys() == DEFAULTS.keys()
    for name, value in shown.items():
        if DEFAULTS[name] is not None and name != "never":
            assert value == DEFAULTS[name], name
    assert load_run_options(SHIPPED) == {}


def test_every_option_can_be_set(tmp_path: Path) -> None:
    text = "[allocate]\n" + "\n".join(re.findall(r"^# (\w+ = .*)$", SHIPPED.read_text(), flags=re.MULTILINE))
    options = load_run_options(write(tmp_path / "run.toml", text.replace('goal = "mean-cvar"', 'goal = "robust"')))
    assert options.keys() == DEFAULTS.keys()
    order = allocation_order(options, 5e5, {"aave": 1e5})
    assert (order.holdings.capital_usd, order.holdings.positions_usd) == (5e5, {"aave": 1e5})
    assert order.strategies == ("aave", "lido", "delta")
    assert (order.horizon_days, order.n_scenarios, order.objective.goal) == (30, 1000, Goal.ROBUST)
    limits = order.limits
    assert (limits.max_positions, limits.max_exit_days, limits.max_turnover) == (10, 7.0, 0.5)
    assert limits.max_group_share == {"protocol": 0.5}


def test_the_users_own_file_comes_before_the_shipped_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_run_options() == {}
    write(project / "configs" / "run.toml", "[allocate]\nmax_share = 0.3\n")
    assert load_run_options() == {"max_share": 0.3}
    monkeypatch.setenv("AEGIS_RUN", str(write(project / "other.toml", "[allocate]\nmax_share = 0.2\n")))
    assert load_run_options() == {"max_share": 0.2}
    assert load_run_options(write(project / "third.toml", "")) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[allocate]\nmax_shares = 0.3", "max_shares: received 0.3, .*the options of aegis optimize: capital"),
        ("[allocate]\nmax_share = '0.3'", "max_share: received '0.3', .*a number"),
        ("[allocate]\nmax_share = true", "max_share: received True, .*a number"),
        ("[allocate]\nmax_positions = 2.5", "max_positions: received 2.5, .*a whole number"),
        ("[allocate]\nnever = 'aave'", "never: received 'aave', .*a list of text"),
        ("[allocate]\ncurrent = 3", "current: received 3, .*the path of a JSON file"),
        ("[allocate]\ncapital = inf", "capital: received inf, .*a number"),
    ],
)
def test_what_is_no_option_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "run.toml", text)
    with pytest.raises(RequestError, match=said) as caught:
        load_run_options(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["[allocate", "[limits]\nmax_share = 0.3", "allocate = 3", "max_share = 0.3", "\x00"])
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"run\.toml"):
        load_run_options(write(tmp_path / "run.toml", text))
    with pytest.raises(DataError, match=r"absent.toml: cannot be read"):
        load_run_options(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("options", "named"), [({"max_share": 1.5}, "max_share"), ({"goal": "luck"}, "goal"), ({"horizon": 99}, "horizon")]
)
def test_an_impossible_limit_is_refused_before_anything_begins(options: dict[str, object], named: str) -> None:
    with pytest.raises(RequestError, match=named):
        RunOrder(capital_usd=1e6, allocation=options)


@pytest.mark.parametrize("content", ["[]", '{"aave": "much"}', '{"aave": true}', "{", "1"])
def test_positions_that_are_none_are_refused(project: Path, content: str) -> None:
    write(project / "positions.json", content)
    with pytest.raises(DataError, match=r"positions\.json: .*an object of strategies and US dollars"):
        present_positions({"current": "positions.json"})


def test_a_run_keeps_to_limits_goal_and_positions_and_sees_when_they_change(project: Path, tables: Path) -> None:
    positions = write(project / "positions.json", '{"aave": 20000}')
    options = {"max_share": 0.25, "max_turnover": 0.2, "horizon": 14, "current": "positions.json", "scenarios": 100}
    order = RunOrder(tables, train=False, capital_usd=100_000.0, allocation=options)
    report = project / "reports" / "allocation.json"

    def again(order: RunOrder) -> str:
        return {step.name: str(step.status) for step in run(order).steps}["allocate"]

    assert again(order) == "done"
    found = json.loads(report.read_text())
    assert found["horizon_days"] == 14
    assert max(found["weights"].values()) <= 0.25 + 1e-6
    moved = sum(abs(trade["amount_usd"]) for trade in found["trades"])
    assert moved <= 0.2 * 100_000 + 1.0
    assert again(order) == "unchanged"
    positions.write_text('{"aave": 10000}')
    assert again(order) == "done"
    assert again(replace(order, allocation={**options, "goal": "income"})) == "done"
    positions.unlink()
    assert again(order) == "failed"
