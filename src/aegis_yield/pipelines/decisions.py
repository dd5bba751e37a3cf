"""Decisions as plain values: risk, allocation and frontier from options to what JSON can hold, for doors to pass on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, TypeAlias

from aegis_yield.domain.limits import DEFAULT_LEVEL
from aegis_yield.pipelines.allocate import AllocationOrder, AllocationReport, allocate_with
from aegis_yield.pipelines.allocate import to_json as allocation_json
from aegis_yield.pipelines.portfolio_risk import portfolio_risk
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.pipelines.risk import outlook, risk_report
from aegis_yield.portfolio.comparison import frontier, references
from aegis_yield.portfolio.outcome import Outcome
from aegis_yield.portfolio.problem import Goal, Holdings, Limits, Objective
from aegis_yield.risk.scenarios import Draw
from aegis_yield.utils.typing import FloatArray

Options: TypeAlias = Mapping[str, Any]
Decision: TypeAlias = Callable[[Forecaster, Options], dict[str, Any]]

_SHOWN: Final = ("net_apy", "net_apy_low", "net_apy_high", "income_usd", "cost_usd", "cvar", "loss_probability")


def decide_risk(forecaster: Forecaster, options: Options) -> dict[str, Any]:
    """Return what can go wrong with strategies, and with a portfolio of them where weights are given.

    Parameters
    ----------
    forecaster : Forecaster
        Tables and model.
    options : mapping
        ``strategies`` and ``weights`` (both may be None), ``horizon_days``, ``scenarios``, ``seed``.
    """
    weights: dict[str, float] | None = options["weights"]
    wanted = options["strategies"] or (list(weights) if weights else forecaster.names.defaults)
    known = forecaster.known_strategies
    shares: dict[str, float] = {}
    for name, share in (weights or {}).items():
        strategy = forecaster.names.resolve(name, known)
        shares[strategy] = shares.get(strategy, 0.0) + share
    meant = {forecaster.names.resolve(name, known) for name in wanted}
    asked = [*wanted, *(strategy for strategy in shares if strategy not in meant)]
    question = Question(asked, options["horizon_days"], DEFAULT_LEVEL)
    view = outlook(forecaster, question, Draw(options["scenarios"], options["seed"]))
    content = asdict(risk_report(view))
    if weights:
        content["portfolio"] = asdict(portfolio_risk(view, shares))
    return dict(fit_for_json(content))


def decide_allocation(forecaster: Forecaster, options: Options) -> dict[str, Any]:
    """Return an allocation, explained: what ``aegis optimize --json`` prints.

    Parameters
    ----------
    forecaster : Forecaster
        Tables and model.
    options : mapping
        As :func:`order_of` takes them.
    """
    return dict(fit_for_json(allocation_json(allocate_with(forecaster, order_of(options)))))


def decide_frontier(forecaster: Forecaster, options: Options) -> dict[str, Any]:
    """Return the efficient frontier under limits, the allocation asked for, and what people do today.

    Parameters
    ----------
    forecaster : Forecaster
        Tables and model.
    options : mapping
        As :func:`order_of` takes them.
    """
    report = allocate_with(forecaster, order_of(options))
    problem = report.allocation.problem
    points = [
        {"risk_aversion": float(one.name), **_point(report, one.positions_usd, one.outcome)}
        for one in frontier(problem)
    ]
    today = [{"name": one.name, **_point(report, one.positions_usd, one.outcome)} for one in references(problem)]
    content = {
        "capital_usd": problem.holdings.capital_usd,
        "horizon_days": report.horizon_days,
        "as_of": report.as_of,
        "simulated": report.simulated,
        "model_version": report.view.answer.model_version,
        "points": points,
        "chosen": _point(report, report.allocation.positions_usd, report.allocation.outcome),
        "references": today,
        "notes": list(report.notes),
    }
    return dict(fit_for_json(content))


DECISIONS: Final[Mapping[str, Decision]] = {
    "risk": decide_risk,
    "optimize": decide_allocation,
    "frontier": decide_frontier,
}
"""What can be decided, by name."""


def order_of(options: Options) -> AllocationOrder:
    """Return the order that plain options stand for.

    Parameters
    ----------
    options : mapping
        The options of ``aegis optimize`` in snake case (``capital_usd`` and ``horizon_days`` with their units), all
        of them; ``current`` is a mapping of names to US dollars.

    Raises
    ------
    RequestError
        If a value is out of bounds.
    """
    groups = {kind: options[f"max_{kind}"] for kind in ("protocol", "chain", "category", "issuer")}
    limits = Limits(
        max_share=options["max_share"],
        max_group_share={kind: share for kind, share in groups.items() if share != 1.0},
        min_tvl_usd=options["min_tvl"],
        max_tvl_share=options["max_tvl_share"],
        min_invested_share=options["min_invested"],
        min_instant_share=options["min_instant"],
        max_exit_days=math.inf if options["max_exit_days"] is None else options["max_exit_days"],
        min_ticket_usd=options["min_ticket"],
        max_positions=options["max_positions"],
        max_cvar=options["max_cvar"],
        max_drawdown=options["max_drawdown"],
        max_loss_probability=options["max_loss_probability"],
        max_turnover=options["max_turnover"],
        never=tuple(options["never"]),
    )
    return AllocationOrder(
        holdings=Holdings(options["capital_usd"], dict(options["current"])),
        strategies=tuple(options["strategies"]) if options["strategies"] else None,
        horizon_days=options["horizon_days"],
        limits=limits,
        objective=Objective(Goal(options["goal"]), options["risk_aversion"], risk_free_apy=options["risk_free"]),
        n_scenarios=options["scenarios"],
        seed=options["seed"],
    )


def fit_for_json(value: Any) -> Any:
    """Return a nested value as JSON holds it: dates as text, and null for what is no finite number."""
    if isinstance(value, Mapping):
        return {str(key): fit_for_json(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [fit_for_json(inner) for inner in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _point(report: AllocationReport, positions_usd: FloatArray, outcome: Outcome) -> dict[str, Any]:
    problem = report.allocation.problem
    pairs = zip(problem.candidates, positions_usd, strict=True)
    weights = {one.strategy_id: float(x) / problem.holdings.capital_usd for one, x in pairs if x > 0.0}
    figures = asdict(outcome)
    return {**{name: figures[name] for name in _SHOWN}, "weights": weights}
