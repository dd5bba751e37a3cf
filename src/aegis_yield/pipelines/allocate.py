"""Allocate: forecasts, what may happen, what trading costs, and the best split of capital under limits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from aegis_yield.domain.errors import HistoryError
from aegis_yield.domain.limits import DEFAULT_LEVEL
from aegis_yield.pipelines.candidates import Made, Workshop, made_from, unpriced_pools
from aegis_yield.pipelines.costs import load_habits
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.pipelines.risk import Outlook, outlook
from aegis_yield.portfolio.allocate import Allocation, allocate
from aegis_yield.portfolio.explain import LimitState, Trade, Verdict, cutoff_apy, limit_states, trades, verdicts
from aegis_yield.portfolio.problem import Holdings, Limits, Objective, Paths, Problem
from aegis_yield.portfolio.prudence import tempered
from aegis_yield.risk.scenarios import DEFAULT_SCENARIOS, Draw

DEFAULT_HORIZON_DAYS: Final = 30
PATH_SCENARIOS: Final = 250


@dataclass(frozen=True)
class AllocationOrder:
    """What is to be allocated and how.

    Attributes
    ----------
    holdings : Holdings
        Capital and present positions; names may be aliases.
    strategies : tuple of str, optional
        Candidates; by default every strategy with enough recent history.
    horizon_days : int
        Over which costs must pay and risks are counted.
    limits : Limits
        What must hold; names may be aliases.
    objective : Objective
        What is maximised.
    n_scenarios, seed : int
        Ordinary scenarios; the same seed gives the same answer.
    """

    holdings: Holdings
    strategies: tuple[str, ...] | None = None
    horizon_days: int = DEFAULT_HORIZON_DAYS
    limits: Limits = field(default_factory=Limits)
    objective: Objective = field(default_factory=Objective)
    n_scenarios: int = DEFAULT_SCENARIOS
    seed: int = 0


@dataclass(frozen=True, eq=False)
class AllocationReport:
    """An allocation, explained.

    Attributes
    ----------
    allocation : Allocation
        Positions, figures, certificate.
    verdicts, limits, trades : list
        Why each candidate is in or out, how near each limit is, what has to be moved.
    made : list of Made
        Where each candidate's curve comes from.
    left_out : mapping of str to str
        Strategies that could not be candidates, and why.
    view : Outlook
        Forecasts and scenarios behind it.
    shown : mapping of str to str
        Short name of each strategy that has one.
    horizon_days : int
        Of everything.
    """

    allocation: Allocation
    verdicts: list[Verdict]
    limits: list[LimitState]
    trades: list[Trade]
    made: list[Made]
    left_out: Mapping[str, str]
    view: Outlook
    shown: Mapping[str, str]
    horizon_days: int

    @property
    def as_of(self) -> dt.date:
        """Newest day that was looked at."""
        return self.view.as_of

    @property
    def simulated(self) -> bool:
        """Whether the data is simulated."""
        return self.view.answer.simulated

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know before using the numbers."""
        return self.view.answer.notes


def optimize(order: AllocationOrder, *, data: Path | None = None, model: Path | None = None) -> AllocationReport:
    """Split capital as ordered, with the project's data and model unless others are named."""
    return allocate_with(Forecaster.open(data, model), order)


def allocate_with(forecaster: Forecaster, order: AllocationOrder) -> AllocationReport:
    """Split capital as ordered.

    Parameters
    ----------
    forecaster : Forecaster
        Tables and model.
    order : AllocationOrder
        What is to be allocated and how.

    Raises
    ------
    UnknownStrategyError
        If a name is not of the dataset.
    HistoryError
        If a strategy asked for by name cannot be a candidate.
    InfeasibleError
        If the limits cannot all be met, naming the conflict and the least relaxation.
    """
    order = _resolved(forecaster, order)
    wanted = None if order.strategies is None else (*order.strategies, *order.holdings.positions_usd)
    question = Question(_unique(wanted), order.horizon_days, DEFAULT_LEVEL)
    draw = Draw(order.n_scenarios, order.seed)
    view = outlook(forecaster, question, draw)
    habits = load_habits(forecaster.dataset.market)
    workshop = Workshop(forecaster.dataset, habits, view.exposed, order.horizon_days, view.as_of, forecaster.worked_out)
    unpriced: dict[str, str] = {}
    if order.strategies is None:
        unpriced = unpriced_pools(forecaster.dataset, view.answer.rows, view.as_of)
        unpriced = {name: why for name, why in unpriced.items() if name not in order.holdings.positions_usd}
    made, left_out = made_from(workshop, [row for row in view.answer.rows if row.strategy_id not in unpriced])
    left_out |= unpriced
    order = _fitting(order, made, {**view.answer.left_out, **left_out})
    if left_out:
        kept = tuple(one.candidate.strategy_id for one in made)
        view = outlook(forecaster, replace(question, strategies=kept), draw)
    candidates = tuple(one.candidate for one in made)
    paths = _paths(view) if order.limits.max_drawdown is not None else None
    scenarios = tempered(view.simulation.scenarios, np.array([one.apy for one in candidates]))
    problem = Problem(candidates, order.holdings, scenarios, order.limits, order.objective, paths)
    found = allocate(problem)
    return AllocationReport(
        allocation=found,
        verdicts=verdicts(found),
        limits=limit_states(found),
        trades=trades(found),
        made=made,
        left_out={**view.answer.left_out, **left_out},
        view=view,
        shown={strategy: alias for alias, strategy in forecaster.names.held(forecaster.known_strategies).items()},
        horizon_days=order.horizon_days,
    )


def demo_allocation(forecaster: Forecaster) -> AllocationReport:
    """Split a million dollars over every strategy of a dataset, as somebody careful would."""
    limits = Limits(
        max_share=0.25,
        max_group_share={"protocol": 0.4, "category": 0.5},
        min_tvl_usd=5_000_000.0,
    )
    return allocate_with(forecaster, AllocationOrder(Holdings(1_000_000.0), limits=limits))


def _fitting(order: AllocationOrder, made: list[Made], left_out: Mapping[str, str]) -> AllocationOrder:
    """Return the order without bans on what is no candidate anyway; refuse one that needs what was left out."""
    needed = (*(order.strategies or ()), *order.holdings.positions_usd, *([] if made else left_out))
    for name in needed:
        if name in left_out:
            reason = left_out[name]
            raise HistoryError(reason if reason.startswith(name) else f"{name}: {reason}")
    candidates = {one.candidate.strategy_id for one in made}
    never = tuple(name for name in order.limits.never if name in candidates)
    return replace(order, limits=replace(order.limits, never=never))


def _paths(view: Outlook) -> Paths:
    """Return the paths of some ordinary scenarios and of every event: enough to bound a mean of the worst falls."""
    scenarios = view.simulation.scenarios
    ordinary = np.array([not label for label in scenarios.label])
    chosen = np.flatnonzero(ordinary)[:PATH_SCENARIOS]
    weight = scenarios.probability.copy()
    weight[chosen] *= weight[ordinary].sum() / weight[chosen].sum()
    kept = np.concatenate([chosen, np.flatnonzero(~ordinary)])
    return Paths(view.simulation.nav()[kept].astype(float), weight[kept] / weight[kept].sum())


def _unique(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(dict.fromkeys(names))


def _resolved(forecaster: Forecaster, order: AllocationOrder) -> AllocationOrder:
    """Return the order with ids in place of aliases."""
    known = forecaster.known_strategies

    def meant(name: str) -> str:
        return forecaster.names.resolve(name, known)

    limits = replace(
        order.limits,
        only=tuple(map(meant, order.limits.only)),
        never=tuple(map(meant, order.limits.never)),
        strategy_share={meant(name): share for name, share in order.limits.strategy_share.items()},
    )
    held: dict[str, float] = {}
    for name, amount in order.holdings.positions_usd.items():
        held[meant(name)] = held.get(meant(name), 0.0) + amount
    strategies = None if order.strategies is None else tuple(map(meant, order.strategies))
    return replace(order, strategies=strategies, limits=limits, holdings=Holdings(order.holdings.capital_usd, held))


def to_json(report: AllocationReport) -> dict[str, Any]:
    """Return a report as plain values."""
    allocation = report.allocation
    quality = {one.candidate.strategy_id: one for one in report.made}
    return {
        "capital_usd": allocation.problem.holdings.capital_usd,
        "horizon_days": report.horizon_days,
        "as_of": report.as_of.isoformat(),
        "simulated": report.simulated,
        "model_version": report.view.answer.model_version,
        "weights": {row.strategy_id: row.share for row in report.verdicts if row.amount_usd > 0},
        "cash_usd": allocation.cash_usd,
        "outcome": asdict(allocation.outcome),
        "cutoff_apy": cutoff_apy(allocation),
        "strategies": [
            {
                **asdict(row),
                "curve": quality[row.strategy_id].curve_quality,
                "curve_note": quality[row.strategy_id].curve_note,
                "rate_kept_at_a_tenth": [quality[row.strategy_id].kept_low, quality[row.strategy_id].kept_high],
            }
            for row in report.verdicts
        ],
        "limits": [asdict(state) for state in report.limits],
        "trades": [asdict(trade) for trade in report.trades],
        "left_out": dict(report.left_out),
        "certificate": asdict(allocation.certificate),
        "notes": list(report.notes),
    }
