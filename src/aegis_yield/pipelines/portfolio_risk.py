"""Portfolio risk: what can go wrong with given weights, from the same scenarios as each strategy's own risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.pipelines.risk import DEEP_FALL, RISK_LEVEL, SIGNIFICANT_LOSS, Outlook
from aegis_yield.risk.drawdown import drawdown_probability, max_drawdown
from aegis_yield.risk.measures import (
    conditional_value_at_risk,
    cvar_contributions,
    loss_probability,
    value_at_risk,
)
from aegis_yield.utils.typing import FloatArray

_ROUNDING = 1e-9


@dataclass(frozen=True)
class PortfolioRisk:
    """What can go wrong with a portfolio that is left alone over the horizon; shares of the capital.

    Attributes
    ----------
    weights : dict of str to float
        By strategy, shares of capital.
    cash : float
        What is in none of them; earns nothing.
    apy : float
        Weighted mean of the forecasts, a year; one's own deposit moves no rate here.
    nav_volatility, expected_loss_a_year, var, cvar, loss_probability : float
        As of a strategy.
    expected_max_drawdown, drawdown_probability : float
        As of a strategy.
    worst_event : str
        The event with the largest expected loss; empty if none touches it.
    cvar_parts : dict of str to float
        By strategy: its part of the CVaR; they sum to it.
    """

    weights: dict[str, float]
    cash: float
    apy: float
    nav_volatility: float
    expected_loss_a_year: float
    var: float
    cvar: float
    loss_probability: float
    expected_max_drawdown: float
    drawdown_probability: float
    worst_event: str
    cvar_parts: dict[str, float]


def portfolio_risk(view: Outlook, weights: Mapping[str, float]) -> PortfolioRisk:
    """Return the risk of a portfolio of an outlook's strategies.

    Parameters
    ----------
    view : Outlook
        Forecasts and scenarios.
    weights : mapping of str to float
        By strategy id, shares of capital from 0; together at most 1, the rest is cash.

    Raises
    ------
    RequestError
        If a weight is no such share, or of a strategy that the outlook does not hold.
    """
    scenarios, ids = view.simulation.scenarios, [row.strategy_id for row in view.answer.rows]
    _check(weights, ids)
    held = np.array([weights.get(strategy, 0.0) for strategy in ids])
    returns = scenarios.returns()
    profit, probability = returns @ held, scenarios.probability
    nav = _nav(view, held)
    years = scenarios.horizon_days / 365.0
    mean = float(probability @ profit)
    cost = view.events.probability * (view.events.loss @ held)
    parts = cvar_contributions(-returns, held, RISK_LEVEL, probability)
    return PortfolioRisk(
        weights={strategy: float(share) for strategy, share in zip(ids, held, strict=True) if share > 0.0},
        cash=max(0.0, 1.0 - float(held.sum())),
        apy=float(np.array([row.apy for row in view.answer.rows]) @ held),
        nav_volatility=float(np.sqrt(probability @ (profit - mean) ** 2)) / years**0.5,
        expected_loss_a_year=float(probability @ (scenarios.loss @ held)) / years,
        var=float(value_at_risk(-profit, RISK_LEVEL, probability)),
        cvar=float(conditional_value_at_risk(-profit, RISK_LEVEL, probability)),
        loss_probability=float(loss_probability(-profit, SIGNIFICANT_LOSS, probability)),
        expected_max_drawdown=float(probability @ max_drawdown(nav)),
        drawdown_probability=float(drawdown_probability(nav, DEEP_FALL, probability)),
        worst_event=view.events.names[int(np.argmax(cost))] if len(cost) and cost.max() > 0 else "",
        cvar_parts={strategy: float(part) for strategy, part in zip(ids, parts, strict=True) if weights.get(strategy)},
    )


def _nav(view: Outlook, held: FloatArray) -> FloatArray:
    """Return the portfolio's value day by day, shape (s, h + 1), a day at a time: all days at once take much memory."""
    nav = view.simulation.nav()
    return np.stack([1.0 - held.sum() + nav[:, day] @ held for day in range(nav.shape[1])], axis=1)


def _check(weights: Mapping[str, float], ids: list[str]) -> None:
    for strategy, share in weights.items():
        if strategy not in ids:
            raise RequestError("weights", strategy, f"strategies that were asked for, such as {', '.join(ids[:5])}")
        if not 0.0 <= share <= 1.0:
            raise RequestError(f"weight of {strategy}", share, "a share of capital from 0 to 1")
    if sum(weights.values()) > 1.0 + _ROUNDING:
        raise RequestError("weights", sum(weights.values()), "shares that sum to at most 1")
