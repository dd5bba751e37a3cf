"""Answers about risk and allocation. Rates are fractions per year, losses shares of the capital over the horizon."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tail:
    """What can go wrong: ``var`` and ``cvar`` speak of the worst 5 % of scenarios, negative is a gain."""

    apy: float
    nav_volatility: float
    expected_loss_a_year: float
    var: float
    cvar: float
    loss_probability: float
    expected_max_drawdown: float
    drawdown_probability: float
    worst_event: str


@dataclass(frozen=True)
class StrategyRisk(Tail):
    """One strategy's risk; ``low`` to ``high`` is the forecast's 90 % interval."""

    name: str
    strategy_id: str
    low: float
    high: float


@dataclass(frozen=True)
class PortfolioRisk(Tail):
    """Risk of weights that are held; ``cvar_parts`` sum to ``cvar``."""

    weights: Mapping[str, float]
    cash: float
    cvar_parts: Mapping[str, float]


@dataclass(frozen=True)
class About:
    """What every decision says of itself; mind ``simulated`` and ``warnings``."""

    horizon_days: int
    as_of: dt.date
    model_version: str
    simulated: bool
    notes: tuple[str, ...]
    warnings: tuple[str, ...] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class RiskReport(About):
    """Risks of several strategies over one horizon, and of a portfolio if weights were given."""

    rows: tuple[StrategyRisk, ...]
    n_scenarios: int
    portfolio: PortfolioRisk | None = None


@dataclass(frozen=True)
class Outcome:
    """What an allocation brings, after dilution, expected losses and costs."""

    income_usd: float
    net_apy: float
    net_apy_low: float
    net_apy_high: float
    gross_apy: float
    cost_usd: float
    var: float
    cvar: float
    loss_probability: float
    worst_loss: float


@dataclass(frozen=True)
class Place:
    """One candidate's place in an allocation, and why."""

    strategy_id: str
    amount_usd: float
    share: float
    before_usd: float
    apy: float
    apy_after: float
    marginal_apy: float | None
    why: str
    curve: str
    curve_note: str
    rate_kept_at_a_tenth: tuple[float | None, ...]


@dataclass(frozen=True)
class LimitUse:
    """One limit and how near the allocation is to it."""

    name: str
    used: float | None
    allowed: float | None
    price: float | None
    binds: bool


@dataclass(frozen=True)
class Trade:
    """Money to be moved; negative amounts are withdrawals."""

    strategy_id: str
    amount_usd: float
    cost_usd: float
    break_even_days: float | None


@dataclass(frozen=True)
class Certificate:
    """How far the answer can be trusted."""

    status: str
    solver: str
    primal_residual: float | None
    gap: float | None
    certified: bool
    seconds: float
    n_exact: int


@dataclass(frozen=True)
class Allocation(About):
    """An allocation, explained; ``weights`` are shares of the capital by strategy id, the rest is cash or costs."""

    capital_usd: float
    weights: Mapping[str, float]
    cash_usd: float
    outcome: Outcome
    cutoff_apy: float | None
    strategies: tuple[Place, ...]
    limits: tuple[LimitUse, ...]
    trades: tuple[Trade, ...]
    left_out: Mapping[str, str]
    certificate: Certificate


@dataclass(frozen=True)
class Point:
    """One way to split the capital and what it would bring."""

    net_apy: float
    net_apy_low: float
    net_apy_high: float
    income_usd: float
    cost_usd: float
    cvar: float
    loss_probability: float
    weights: Mapping[str, float]


@dataclass(frozen=True)
class FrontierPoint(Point):
    """The best allocation for one aversion to risk."""

    risk_aversion: float


@dataclass(frozen=True)
class ReferencePoint(Point):
    """What people do today with the same capital."""

    name: str


@dataclass(frozen=True)
class Frontier(About):
    """The best allocations by rising aversion to risk, the one asked for, and what people do today."""

    capital_usd: float
    points: tuple[FrontierPoint, ...]
    chosen: Point
    references: tuple[ReferencePoint, ...]
