"""What ``/risk``, ``/optimize`` and ``/frontier`` return, with units."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.decision_examples import ALLOCATION, FRONTIER, RISK
from api.schemas.problems import Problem

A_YEAR = "Fraction per year (0.052 = 5.2 %)."
OF_PRINCIPAL = "Share of the principal over the horizon."
OF_CAPITAL = "Share of the capital over the horizon."


class Answer(BaseModel):
    """What every decision says of itself."""

    model_config = ConfigDict(extra="forbid")

    horizon_days: int
    as_of: dt.date = Field(description="UTC day of the newest row that was looked at.")
    model_version: str
    simulated: bool = Field(
        description="True if the data is simulated: then no number says anything about a real strategy."
    )
    notes: list[str] = Field(description="What to know before using the numbers.")
    warnings: list[str] | None = Field(None, description="What to be careful about; only if there is anything.")


class Tail(BaseModel):
    """What can go wrong, as numbers."""

    model_config = ConfigDict(extra="forbid")

    apy: float = Field(description=f"Forecast. {A_YEAR}")
    nav_volatility: float = Field(description="Annualised spread of the scenarios' returns, a fraction.")
    expected_loss_a_year: float = Field(description="To events, on average, share of the principal a year.")
    var: float = Field(description=f"The least loss of the worst 5 % of scenarios; negative: a gain. {OF_PRINCIPAL}")
    cvar: float = Field(description=f"The mean loss of the worst 5 % of scenarios; negative: a gain. {OF_PRINCIPAL}")
    loss_probability: float = Field(description="That more than 1 % is lost.")
    expected_max_drawdown: float = Field(description=f"Mean of the deepest fall on the way. {OF_PRINCIPAL}")
    drawdown_probability: float = Field(description="Of a fall beyond 5 % on the way.")
    worst_event: str = Field(description="The event with the largest expected loss; empty if none.")


class StrategyRisk(Tail):
    """One strategy's risk."""

    name: str = Field(description="As asked for.")
    strategy_id: str
    low: float = Field(description=f"Lower end of the forecast's 90 % interval. {A_YEAR}")
    high: float = Field(description=f"Upper end of the forecast's 90 % interval. {A_YEAR}")


class PortfolioRisk(Tail):
    """Risk of the weights that were given, held unchanged over the horizon; one's own deposit moves no rate."""

    weights: dict[str, float] = Field(description="By strategy id, shares of capital.")
    cash: float = Field(description="Share of capital that earns nothing.")
    cvar_parts: dict[str, float] = Field(description="By strategy id: its part of the CVaR; they sum to it.")


class RiskResponse(Answer):
    """Risks of several strategies over one horizon."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [RISK]})

    rows: list[StrategyRisk]
    n_scenarios: int = Field(description="Ordinary ones and events together.")
    portfolio: PortfolioRisk | None = Field(None, description="Only where weights were given.")


class Outcome(BaseModel):
    """What an allocation brings, after dilution, expected losses and costs."""

    model_config = ConfigDict(extra="forbid")

    income_usd: float = Field(description="Expected over the horizon.")
    net_apy: float = Field(description=f"On all of the capital. {A_YEAR}")
    net_apy_low: float = Field(description="With net_apy_high: 90 % of the scenarios lie between.")
    net_apy_high: float
    gross_apy: float = Field(description=f"After dilution, before losses and costs. {A_YEAR}")
    cost_usd: float = Field(description="Gas, fees and slippage of the trades.")
    var: float = Field(description=f"The least loss of the worst 5 % of scenarios; negative: a gain. {OF_CAPITAL}")
    cvar: float = Field(description=f"The mean loss of the worst 5 % of scenarios; negative: a gain. {OF_CAPITAL}")
    loss_probability: float = Field(description="That more than 1 % of the capital is lost.")
    worst_loss: float = Field(description=f"In the worst scenario. {OF_CAPITAL}")


class Place(BaseModel):
    """One candidate's place in an allocation, and why."""

    model_config = ConfigDict(extra="forbid")

    strategy_id: str
    amount_usd: float
    share: float = Field(description="Of the capital.")
    before_usd: float = Field(description="What was held.")
    apy: float = Field(description=f"Forecast. {A_YEAR}")
    apy_after: float = Field(description=f"With one's own deposit in the pool. {A_YEAR}")
    marginal_apy: float | None = Field(
        description="What its next dollar would add a year over the cut-off; null if it was not considered."
    )
    why: str = Field(description="Why it is in or out, in words.")
    curve: str = Field(description="Where its rate curve comes from.")
    curve_note: str
    rate_kept_at_a_tenth: list[float | None] = Field(
        min_length=2, max_length=2, description="Share of its rate left after a deposit of a tenth of the pool: range."
    )


class LimitUse(BaseModel):
    """One limit and how near the allocation is to it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    used: float | None = Field(description="Share of capital (days for max_exit_days, else a probability).")
    allowed: float | None
    price: float | None = Field(description="US dollars a year per US dollar of a wider bound.")
    binds: bool


class Trade(BaseModel):
    """Money to be moved."""

    model_config = ConfigDict(extra="forbid")

    strategy_id: str
    amount_usd: float = Field(description="Deposited; negative for a withdrawal.")
    cost_usd: float = Field(description="Gas, fees and slippage.")
    break_even_days: float | None = Field(description="After so many days it has paid for itself; null: never.")


class Certificate(BaseModel):
    """How far the answer can be trusted."""

    model_config = ConfigDict(extra="forbid")

    status: str
    solver: str
    primal_residual: float | None = Field(description="Largest relative violation of a limit.")
    gap: float | None = Field(description="Proven relative distance from the best; null if none is known.")
    certified: bool
    seconds: float = Field(description="Of all solver runs.")
    n_exact: int = Field(description="Candidates among which gas, least sizes and numbers were decided exactly.")


class OptimizeResponse(Answer):
    """An allocation, explained."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [ALLOCATION]})

    capital_usd: float
    weights: dict[str, float] = Field(description="By strategy id, shares of capital; the rest is cash or costs.")
    cash_usd: float
    outcome: Outcome
    cutoff_apy: float | None = Field(description="What one more dollar of capital would add to the objective a year.")
    strategies: list[Place] = Field(description="Every candidate, the largest positions first.")
    limits: list[LimitUse] = Field(description="Binding ones first.")
    trades: list[Trade] = Field(description="Withdrawals first.")
    left_out: dict[str, str] = Field(description="Strategies that could not be candidates, and why.")
    certificate: Certificate


class Point(BaseModel):
    """One way to split the capital and what it would bring."""

    model_config = ConfigDict(extra="forbid")

    net_apy: float = Field(description=f"On all of the capital. {A_YEAR}")
    net_apy_low: float
    net_apy_high: float
    income_usd: float
    cost_usd: float
    cvar: float = Field(description=f"The mean loss of the worst 5 % of scenarios; negative: a gain. {OF_CAPITAL}")
    loss_probability: float = Field(description="That more than 1 % of the capital is lost.")
    weights: dict[str, float] = Field(description="By strategy id, shares of capital.")


class FrontierPoint(Point):
    """The best allocation for one aversion to risk, gas and least sizes left out."""

    risk_aversion: float = Field(description="Dollars of income given up to lose a dollar of CVaR.")


class ReferencePoint(Point):
    """What people do today with the same capital, without regard to limits."""

    name: str


class FrontierResponse(Answer):
    """The efficient frontier under the limits, the allocation asked for, and what people do today."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [FRONTIER]})

    capital_usd: float
    points: list[FrontierPoint] = Field(description="By rising aversion.")
    chosen: Point = Field(description="What /optimize answers to the same request.")
    references: list[ReferencePoint]


class Relaxation(BaseModel):
    """By how much a limit would have to give."""

    limit: str
    field: str | None = Field(None, description="Field of the request that sets it.")
    by: float = Field(description="In the limit's own unit.")


class InfeasibleProblem(Problem):
    """Limits that cannot all be met: the smallest conflict, and the least that would do."""

    conflict: list[str] = Field(description="Without any one of these the rest can be met.")
    relaxation: list[Relaxation] = Field(description="Together enough; empty if no limit can give.")
