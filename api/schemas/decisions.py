"""What ``/risk``, ``/optimize`` and ``/frontier`` take, with units and bounds."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aegis_yield.domain.limits import MAX_HORIZON_DAYS, MIN_HORIZON_DAYS
from api.schemas.predict import StrategyName, WholeNumber

MAX_CANDIDATES = 1_000
MAX_RISK_STRATEGIES = 100
MIN_SCENARIOS, MAX_SCENARIOS = 10, 5_000
MAX_SEED = 2**32 - 1
MIN_SECONDS, MAX_SECONDS = 0.1, 3_600.0

Goal: TypeAlias = Literal["mean-cvar", "income", "mean-variance", "ratio", "robust"]

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, le=1)]
Amount = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, lt=1e12)]


class Budget(BaseModel):
    """What every decision has: a horizon, scenarios and a time limit."""

    model_config = ConfigDict(extra="forbid")

    horizon_days: WholeNumber = Field(
        30,
        ge=MIN_HORIZON_DAYS,
        le=MAX_HORIZON_DAYS,
        strict=True,
        description="Days ahead, over which risks are counted and costs must pay.",
    )
    scenarios: WholeNumber = Field(
        1_000,
        ge=MIN_SCENARIOS,
        le=MAX_SCENARIOS,
        strict=True,
        description="Ordinary scenarios; loss events come on top, each with its exact probability.",
    )
    seed: WholeNumber = Field(0, ge=0, le=MAX_SEED, strict=True, description="Same seed, same scenarios, same answer.")
    seconds: Number | None = Field(
        None,
        ge=MIN_SECONDS,
        le=MAX_SECONDS,
        description="How long to wait for the answer, waiting for a worker included; no more than the service allows "
        "(AEGIS_SERVICE__DEADLINE_S), which is also the default.",
    )

    def options(self) -> dict[str, Any]:
        """Return what the question is about, without how long to wait for it, as plain values."""
        return self.model_dump(mode="json", exclude={"seconds"})


class RiskRequest(Budget):
    """Whose risk, over which horizon; with weights also the portfolio's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "strategies": ["aave", "lido", "delta"],
                    "horizon_days": 30,
                    "scenarios": 1_000,
                    "weights": {"aave": 0.5, "lido": 0.25},
                }
            ]
        },
    )

    strategies: list[StrategyName] | None = Field(
        None,
        min_length=1,
        max_length=MAX_RISK_STRATEGIES,
        description="Aliases or strategy ids; by default those with a weight, else the default strategies.",
    )
    weights: dict[StrategyName, Share] | None = Field(
        None,
        min_length=1,
        max_length=MAX_RISK_STRATEGIES,
        description="Shares of capital by alias or id, together at most 1; the rest is cash, which earns nothing.",
    )

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        total = sum((self.weights or {}).values())
        if total > 1.0 + 1e-9:
            raise ValueError(f"weights sum to {total:g}, allowed is at most 1")
        return self


class OptimizeRequest(Budget):
    """Capital, limits and what is maximised: the options of ``aegis optimize``."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "capital_usd": 1_000_000,
                    "strategies": ["aave", "lido", "delta"],
                    "horizon_days": 30,
                    "max_share": 0.5,
                    "max_protocol": 0.5,
                    "current": {"aave": 250_000},
                }
            ]
        },
    )

    capital_usd: Number = Field(1_000_000.0, gt=0, lt=1e12, description="US dollars, present positions included.")
    strategies: list[StrategyName] | None = Field(
        None,
        min_length=1,
        max_length=MAX_CANDIDATES,
        description="Candidates: aliases or strategy ids; by default all with a forecast.",
    )
    goal: Goal = Field(
        "mean-cvar",
        description="What is maximised: expected net income; less risk_aversion times CVaR (mean-cvar) or variance "
        "over capital (mean-variance); income over CVaR (ratio); income at the low end of each forecast's interval "
        "less CVaR (robust).",
    )
    risk_aversion: Number = Field(
        0.05, ge=0, le=1e6, description="Dollars of income given up to lose a dollar of CVaR."
    )
    risk_free: Number = Field(0.0, gt=-0.5, lt=1, description="What idle cash earns, a fraction a year.")
    max_share: Share = Field(0.4, description="Share of capital in one strategy.")
    max_protocol: Share = Field(0.5, description="Share of capital in one protocol.")
    max_chain: Share = Field(1.0, description="Share of capital on one chain.")
    max_category: Share = Field(1.0, description="Share of capital in one category.")
    max_issuer: Share = Field(1.0, description="Share of capital in one issuer's coin.")
    min_tvl: Number = Field(0.0, ge=0, le=1e15, description="US dollars that a pool must hold.")
    max_tvl_share: Share = Field(0.1, description="Share of a pool that may be ours.")
    min_instant: Share = Field(0.0, description="Share of capital to be withdrawable at once.")
    max_exit_days: Number | None = Field(
        None, ge=0, le=10_000, description="Mean days to withdraw, weighted by amount, cash counting 0."
    )
    min_ticket: Amount = Field(0.0, description="US dollars: a position is nothing or at least this.")
    max_positions: WholeNumber | None = Field(
        None, ge=1, le=MAX_CANDIDATES, strict=True, description="Number of positions."
    )
    min_invested: Share = Field(0.0, description="Share of capital that must not stay cash.")
    max_cvar: Number | None = Field(
        None, ge=0, le=2, description="Share of capital: mean loss of the worst 5 % of scenarios over the horizon."
    )
    max_drawdown: Number | None = Field(
        None, ge=0, le=2, description="Share of capital: mean of the worst 5 % of the deepest falls on the way."
    )
    max_loss_probability: Share | None = Field(None, description="Probability that more than 1 % of capital is lost.")
    max_turnover: Number | None = Field(None, ge=0, le=2, description="Share of capital: purchases plus sales.")
    never: list[StrategyName] = Field(
        default_factory=list, max_length=MAX_CANDIDATES, description="Strategies not to be used."
    )
    current: dict[StrategyName, Amount] = Field(
        default_factory=dict, max_length=MAX_CANDIDATES, description="Present positions, US dollars by alias or id."
    )

    @model_validator(mode="after")
    def _positions_fit(self) -> Self:
        held = sum(self.current.values())
        if held > self.capital_usd * (1.0 + 1e-9):
            raise ValueError(
                f"capital_usd {self.capital_usd:g} is less than the sum of current, {held:g}; allowed is at least that"
            )
        return self


class FrontierRequest(OptimizeRequest):
    """As for ``/optimize``: ``goal`` and ``risk_aversion`` decide the allocation shown beside the frontier."""
