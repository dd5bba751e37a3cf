"""The convex engine: programs of gain, risk and limits, solved by HiGHS and Clarabel, every answer checked."""

from aegis_yield.portfolio.engine.conflict import CAPACITY, Conflict, diagnose
from aegis_yield.portfolio.engine.program import (
    Count,
    Limit,
    Order,
    Program,
    RiskLimit,
    Settings,
    Solution,
    Switch,
)
from aegis_yield.portfolio.engine.ratio import solve_ratio
from aegis_yield.portfolio.engine.risks import CVaR, Drawdown, Risk, Variance, tail_mean
from aegis_yield.portfolio.engine.solving import solve

__all__ = [
    "CAPACITY",
    "CVaR",
    "Conflict",
    "Count",
    "Drawdown",
    "Limit",
    "Order",
    "Program",
    "Risk",
    "RiskLimit",
    "Settings",
    "Solution",
    "Switch",
    "Variance",
    "diagnose",
    "solve",
    "solve_ratio",
    "tail_mean",
]
