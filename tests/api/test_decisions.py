"""``/risk``, ``/optimize`` and ``/frontier`` on a small market: the command line's numbers, and refusals that help."""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest
from bundles import run
from desks import SMALL, Desk, desk, problem_at

from aegis_yield.cli.optimize import optimize
from aegis_yield.cli.risk import risk
from aegis_yield.pipelines.decisions import DECISIONS
from aegis_yield.pipelines.predict import Forecaster
from aegis_yield.portfolio.problem import Goal
from api.schemas import decisions
from api.schemas.decision_answers import FrontierResponse, InfeasibleProblem, OptimizeResponse, RiskResponse
from api.schemas.decisions import OptimizeRequest, RiskRequest

AAVE, LIDO = "aave-v3:ethereum:usdc", "lido:ethereum:steth"
FULL: dict[str, Any] = {
    **SMALL,
    "capital_usd": 500_000,
    "horizon_days": 20,
    "goal": "robust",
    "risk_aversion": 0.1,
    "risk_free": 0.01,
    "max_share": 0.35,
    "max_protocol": 0.45,
    "max_chain": 0.95,
    "max_category": 0.8,
    "max_issuer": 0.9,
    "min_tvl": 1_000,
    "max_tvl_share": 0.09,
    "min_instant": 0.05,
    "max_exit_days": 5,
    "min_ticket": 5_000,
    "max_positions": 3,
    "min_invested": 0.1,
    "max_cvar": 0.5,
    "max_drawdown": 0.6,
    "max_loss_probability": 0.5,
    "max_turnover": 0.9,
    "never": ["susde"],
    "current": {"aave": 50_000, LIDO: 20_000},
}
RENAMED = {"capital": "capital_usd", "horizon": "horizon_days"}
NOT_ASKED = {"data", "model", "html", "as_json"}
"""Options about where things lie and how they are shown."""


@pytest.fixture(scope="module")
def office(tables: Path, tiny_model: Path) -> Iterator[Desk]:
    with desk(tables, tiny_model) as opened:
        yield opened


def spoken(body: dict[str, Any], folder: Path) -> list[str]:
    """The same question as options of the command line."""
    words: list[str] = []
    for name, value in body.items():
        option = "--" + {new: old for old, new in RENAMED.items()}.get(name, name).replace("_", "-")
        if name == "current":
            (folder / "held.json").write_text(json.dumps(value))
            value = "held.json"
        words += [option, *map(str, value)] if isinstance(value, list) else [option, str(value)]
    return words


def told(kind: str, body: dict[str, Any], place: tuple[Path, Path, Path]) -> dict[str, Any]:
    """What the command line answers."""
    home, tables, folder = place
    done = run([f"scripts/{kind}.py", *spoken(body, folder), "--json", "--data", tables], home, folder)
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def without_clock(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer less what depends on the machine and on where the model file lies."""
    plain = {name: value for name, value in answer.items() if name != "model_version"}
    if "certificate" in plain:
        plain["certificate"] = {**plain["certificate"], "seconds": 0.0}
    return plain


@pytest.mark.parametrize("body", [SMALL, FULL, {"scenarios": 50}], ids=["few options", "every option", "everything"])
def test_optimize_answers_as_the_command_line_does(
    body: dict[str, Any], office: Desk, home: Path, tables: Path, tmp_path: Path
) -> None:
    answer = office.post("/optimize", **body)
    assert answer.status_code == 200, answer.text
    content = answer.json()
    assert without_clock(content) == without_clock(told("optimize", body, (home, tables, tmp_path)))
    assert content["model_version"] == office.client.get("/health/ready").json()["model_version"]
    OptimizeResponse.model_validate_json(answer.text)


def test_every_option_was_compared() -> None:
    assert set(FULL) == set(OptimizeRequest.model_fields) - {"seconds", "seed"}


def test_risk_answers_as_the_command_line_does(office: Desk, home: Path, tables: Path, tmp_path: Path) -> None:
    body = {"strategies": ["aave", "lido", "delta"], "horizon_days": 14, "scenarios": 60, "seed": 4}
    answer = office.post("/risk", **body)
    RiskResponse.model_validate_json(answer.text)
    assert without_clock(answer.json()) == without_clock(told("risk", body, (home, tables, tmp_path)))


@pytest.mark.parametrize(("command", "request_of"), [(optimize, OptimizeRequest), (risk, RiskRequest)])
def test_every_option_of_the_command_line_is_a_field_with_the_same_default(command: Any, request_of: Any) -> None:
    options = inspect.signature(command).parameters
    wanted = {RENAMED.get(name, name): option for name, option in options.items() if name not in NOT_ASKED}
    assert set(wanted) <= set(request_of.model_fields)
    made = request_of().options()
    for name, option in wanted.items():
        assert (made[name] or None) == (option.default or None), name


def test_every_goal_of_the_package_can_be_asked_for() -> None:
    assert set(get_args(decisions.Goal)) == set(Goal)


def test_weights_add_a_portfolio(office: Desk) -> None:
    alone = office.post("/risk", strategies=["aave", "lido"], scenarios=100).json()
    whole = office.post("/risk", scenarios=100, weights={"aave": 1.0, "lido": 0.0}).json()
    assert "portfolio" not in alone
    assert whole["rows"] == alone["rows"]
    portfolio, row = whole["portfolio"], alone["rows"][0]
    assert portfolio["weights"] == {AAVE: 1.0}
    for name in set(portfolio) - {"weights", "cash", "cvar_parts"}:
        assert portfolio[name] == pytest.approx(row[name], abs=1e-6) if name != "worst_event" else row[name], name
    RiskResponse.model_validate(whole)


def test_half_in_cash_is_half_the_risk(office: Desk) -> None:
    whole, half = (
        office.post("/risk", scenarios=100, weights={"aave": share, LIDO: share}).json()["portfolio"]
        for share in (0.5, 0.25)
    )
    assert half["cash"] == 0.5
    for name in ("apy", "nav_volatility", "expected_loss_a_year", "var", "cvar"):
        assert half[name] == pytest.approx(whole[name] / 2)
    assert sum(whole["cvar_parts"].values()) == pytest.approx(whole["cvar"])
    assert whole["cvar"] < sum(row["cvar"] for row in office.post("/risk", strategies=["aave", "lido"]).json()["rows"])


def test_a_weight_by_alias_and_id_is_one_position(office: Desk) -> None:
    answer = office.post("/risk", strategies=["aave"], scenarios=50, weights={"aave": 0.25, AAVE: 0.25, "lido": 0.1})
    assert answer.json()["portfolio"]["weights"] == {AAVE: 0.5, LIDO: 0.1}
    assert [row["name"] for row in answer.json()["rows"]] == ["aave", LIDO]


def test_the_frontier_rises_with_risk_and_holds_the_choice(office: Desk) -> None:
    answer = office.post("/frontier", **SMALL)
    content = FrontierResponse.model_validate_json(answer.text)
    points = content.points
    assert [point.risk_aversion for point in points] == sorted(point.risk_aversion for point in points)
    assert len(points) > 5
    for braver, warier in itertools.pairwise(points):
        assert warier.cvar <= braver.cvar + 1e-9
        assert warier.net_apy <= braver.net_apy + 1e-9
    chosen = office.post("/optimize", **SMALL).json()
    assert content.chosen.weights == pytest.approx(chosen["weights"])
    assert content.chosen.net_apy == pytest.approx(chosen["outcome"]["net_apy"])
    assert {point.name for point in content.references} >= {"highest APY", "equal weight"}


def test_limits_that_conflict_are_named_with_the_least_relaxation(office: Desk) -> None:
    body = {**SMALL, "min_invested": 0.9, "max_share": 0.2, "max_protocol": 1.0}
    document = problem_at(office.post("/optimize", **body), 422)
    InfeasibleProblem.model_validate(document)
    assert set(document["conflict"]) == {"min_invested_share", "max_share"}
    (relaxation,) = document["relaxation"]
    assert (relaxation["limit"], relaxation["field"]) == ("min_invested_share", "min_invested")
    enough = {**body, "min_invested": 0.9 - relaxation["by"] - 1e-6}
    assert office.post("/optimize", **enough).status_code == 200
    assert problem_at(office.post("/frontier", **body), 422)["conflict"] == document["conflict"]


@pytest.mark.parametrize("path", ["/risk", "/optimize", "/frontier"])
def test_an_unknown_strategy_is_not_found(path: str, office: Desk) -> None:
    document = problem_at(office.post(path, strategies=["aave", "lidoo"], scenarios=20), 404)
    assert "'lidoo'" in document["detail"]
    assert "closest names: lido" in document["detail"]


@pytest.mark.parametrize(
    ("path", "body", "field", "words"),
    [
        ("/optimize", {"capital_usd": 0}, "capital_usd", "greater than 0"),
        ("/optimize", {"max_share": 1.5}, "max_share", "less than or equal to 1"),
        ("/optimize", {"goal": "riches"}, "goal", "'mean-cvar', 'income'"),
        ("/optimize", {"max_positions": 0}, "max_positions", "greater than or equal to 1"),
        ("/optimize", {"current": {"aave": -1}}, "current.aave", "greater than or equal to 0"),
        ("/optimize", {"html": "/etc/passwd"}, "html", "not permitted"),
        ("/optimize", {"scenarios": 10**6}, "scenarios", "less than or equal to 5000"),
        ("/optimize", {"horizon_days": 31}, "horizon_days", "less than or equal to 30"),
        ("/optimize", {"seconds": 1e9}, "seconds", "less than or equal to 3600"),
        ("/frontier", {"max_cvar": "low"}, "max_cvar", "valid number"),
        ("/risk", {"weights": {"aave": 2}}, "weights.aave", "less than or equal to 1"),
        ("/risk", {"strategies": []}, "strategies", "at least 1 item"),
        ("/risk", {"seed": -1}, "seed", "greater than or equal to 0"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(
    path: str, body: dict[str, Any], field: str, words: str, office: Desk
) -> None:
    document = problem_at(office.post(path, **body), 422)
    (fault,) = document["errors"]
    assert fault["field"] == field
    assert words in fault["problem"]
    assert fault["received"] in document["detail"]


def test_not_a_number_is_refused(office: Desk) -> None:
    for word in ("NaN", "Infinity"):
        answer = office.client.post(
            "/optimize", content=f'{{"capital_usd": {word}}}', headers={"content-type": "application/json"}
        )
        assert "finite number" in problem_at(answer, 422)["detail"]


def test_what_only_fails_together_is_named_too(office: Desk) -> None:
    detail = problem_at(office.post("/optimize", capital_usd=100, current={"aave": 90, "lido": 20}), 422)["detail"]
    assert "capital_usd 100 is less than the sum of current, 110" in detail
    assert "weights sum to 1.2" in problem_at(office.post("/risk", weights={"aave": 0.6, "lido": 0.6}), 422)["detail"]
    document = problem_at(office.post("/optimize", seconds=31), 422)
    assert document["detail"].startswith("seconds: received 31.0, allowed is at most 30")


def test_what_a_worker_refuses_names_the_field_of_the_request(office: Desk) -> None:
    body = {**SMALL, "never": SMALL["strategies"], "min_invested": 0.5}
    document = problem_at(office.post("/optimize", **body), 422)
    (fault,) = document["errors"]
    assert (fault["field"], fault["received"]) == ("min_invested", "0.5")
    assert "0 where no strategy may be used" in document["detail"]


def test_a_strategy_given_twice_is_refused_in_words(office: Desk) -> None:
    document = problem_at(office.post("/risk", strategies=["aave", AAVE], scenarios=20), 422)
    assert "each named once" in document["detail"]


def test_the_same_question_has_the_same_answer_and_another_seed_another(office: Desk) -> None:
    first, again, other = (
        office.post("/risk", strategies=["aave"], scenarios=50, seed=seed).json() for seed in (1, 1, 2)
    )
    assert first == again
    assert first["rows"] != other["rows"]


def test_an_answer_says_what_took_how_long(office: Desk) -> None:
    timing = office.post("/optimize", **SMALL).headers["server-timing"]
    assert [part.partition(";dur=")[0] for part in timing.split(", ")] == ["wait", "load", "work"]


def test_the_document_describes_every_field(office: Desk) -> None:
    document = office.client.get("/openapi.json").json()
    assert {"/risk", "/optimize", "/frontier"} <= set(document["paths"])
    for name in ("RiskRequest", "OptimizeRequest", "FrontierRequest"):
        schema = document["components"]["schemas"][name]
        assert schema["examples"]
        assert all("description" in one for one in schema["properties"].values()), name
    for kind in DECISIONS:
        assert {"200", "404", "422", "429", "503", "504"} <= set(document["paths"][f"/{kind}"]["post"]["responses"])


def test_the_examples_of_the_document_are_answered(office: Desk) -> None:
    schemas = office.client.get("/openapi.json").json()["components"]["schemas"]
    for kind in DECISIONS:
        (example,) = schemas[f"{kind.capitalize()}Request"]["examples"]
        assert office.post(f"/{kind}", **example).status_code == 200, kind


def test_what_was_loaded_from_no_file_decides_the_same(office: Desk, forecaster: Forecaster) -> None:
    """A service whose model and tables come from somewhere else hands its workers copies."""
    with desk(None, None, lambda: forecaster) as other:
        answer: httpx2.Response = other.post("/optimize", **SMALL)
    assert answer.json()["model_version"] == forecaster.model_version
    assert without_clock(answer.json()) == without_clock(office.post("/optimize", **SMALL).json())
