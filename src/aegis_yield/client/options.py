"""What may be asked for, as keyword arguments: the members of the service's requests, by the same names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict


class StrategyOptions(TypedDict, total=False):
    """Which strategies, in which order, with what: ``GET /strategies``."""

    category: str
    project: str
    chain: str
    search: str
    sort: str
    limit: int
    offset: int
    spark_days: int
    horizon_days: int
    level: float


class HistoryOptions(TypedDict, total=False):
    """Which days of a strategy, and what of them: ``GET /strategies/{id}/history``."""

    start: dt.date
    end: dt.date
    columns: Sequence[str]
    drawdown: bool


class RiskOptions(TypedDict, total=False):
    """Whose risk, over which horizon: ``POST /risk``."""

    strategies: Sequence[str]
    weights: Mapping[str, float]
    horizon_days: int
    scenarios: int
    seed: int
    seconds: float


class OptimizeOptions(TypedDict, total=False):
    """Capital, limits and what is maximised: ``POST /optimize`` and ``POST /frontier``.

    Shares are fractions of the capital; ``current`` holds present positions in US dollars.
    """

    capital_usd: float
    strategies: Sequence[str]
    horizon_days: int
    goal: Literal["mean-cvar", "income", "mean-variance", "ratio", "robust"]
    risk_aversion: float
    risk_free: float
    max_share: float
    max_protocol: float
    max_chain: float
    max_category: float
    max_issuer: float
    min_tvl: float
    max_tvl_share: float
    min_instant: float
    max_exit_days: float
    min_ticket: float
    max_positions: int
    min_invested: float
    max_cvar: float
    max_drawdown: float
    max_loss_probability: float
    max_turnover: float
    never: Sequence[str]
    current: Mapping[str, float]
    scenarios: int
    seed: int
    seconds: float
