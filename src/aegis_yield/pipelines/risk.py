"""Risk: what can go wrong with chosen strategies over a horizon, from joint scenarios of rates, prices and events."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from aegis_yield.domain.categories import CATEGORY_CODE, NEVER_NEGATIVE
from aegis_yield.domain.forecast import QUANTILE_COLUMNS, QUANTILE_LEVELS
from aegis_yield.domain.limits import DEFAULT_LEVEL
from aegis_yield.pipelines.past import STEP_DAYS, past_pits
from aegis_yield.pipelines.predict import Answer, Forecaster, Question
from aegis_yield.risk.copula import fit_correlation
from aegis_yield.risk.drawdown import drawdown_probability, max_drawdown
from aegis_yield.risk.events import EventTable, Exposures, enumerate_events, exposures
from aegis_yield.risk.hazards import load_hazards
from aegis_yield.risk.measures import conditional_value_at_risk, loss_probability, value_at_risk
from aegis_yield.risk.paths import History, lowest_apy
from aegis_yield.risk.scenarios import Draw, JointForecast, Simulation, build
from aegis_yield.utils.typing import FloatArray

RISK_LEVEL: Final = 0.95
SIGNIFICANT_LOSS: Final = 0.01
DEEP_FALL: Final = 0.05


@dataclass(frozen=True)
class Outlook:
    """Forecasts of several strategies and everything that may happen to them together.

    Attributes
    ----------
    answer : Answer
        The forecasts.
    simulation : Simulation
        Joint scenarios, in the order of ``answer.rows``.
    exposed : Exposures
        What each strategy depends on.
    events : EventTable
        Every loss event with its probability.
    correlation : ndarray of shape (n, n)
        Of the forecasts' errors.
    as_of : date
        Newest day that was looked at.
    """

    answer: Answer
    simulation: Simulation
    exposed: Exposures
    events: EventTable
    correlation: FloatArray
    as_of: dt.date


def outlook(forecaster: Forecaster, question: Question, draw: Draw | None = None) -> Outlook:
    """Forecast strategies and lay out what may happen to them over the horizon.

    Parameters
    ----------
    forecaster : Forecaster
        Tables and model.
    question : Question
        Which strategies, how many days.
    draw : Draw, optional
        How many scenarios, which seed.

    Raises
    ------
    UnknownStrategyError, HistoryError, RequestError
        As :meth:`Forecaster.ask`.
    """
    answer = forecaster.ask(question)
    ids = [row.strategy_id for row in answer.rows]
    as_of = question.as_of or forecaster.dataset.last_date
    described = pl.DataFrame({"strategy_id": ids}).join(
        forecaster.dataset.strategies, on="strategy_id", how="left", maintain_order="left"
    )
    hazards = load_hazards()
    exposed = exposures(described, hazards)
    events = enumerate_events(exposed, hazards, question.horizon_days)
    correlation = _correlation(forecaster, answer, ids, as_of)
    forecast = _joint(answer, correlation)
    history = History.of(forecaster.dataset.yields, ids, as_of)
    return Outlook(answer, build(forecast, history, events, draw), exposed, events, correlation, as_of)


def _correlation(forecaster: Forecaster, answer: Answer, ids: Sequence[str], as_of: dt.date) -> FloatArray:
    if len(ids) == 1:
        return np.eye(1)
    horizon = answer.question.horizon_days
    groups = np.array([CATEGORY_CODE[row.category] for row in answer.rows])
    pits = past_pits(forecaster, ids, horizon, as_of)
    return fit_correlation(pits, groups, rows_per_outcome=max(1.0, horizon / STEP_DAYS))


def _joint(answer: Answer, correlation: FloatArray) -> JointForecast:
    ids = [row.strategy_id for row in answer.rows]
    wanted = pl.DataFrame({"strategy_id": ids}).join(
        answer.forecasts.unique("strategy_id"), on="strategy_id", how="left", maintain_order="left"
    )
    return JointForecast(
        strategy_ids=tuple(ids),
        horizon_days=answer.question.horizon_days,
        levels=QUANTILE_LEVELS,
        quantiles=wanted.select(QUANTILE_COLUMNS).to_numpy(),
        correlation=correlation,
        floor=lowest_apy([row.category in NEVER_NEGATIVE for row in answer.rows]),
    )


@dataclass(frozen=True)
class StrategyRisk:
    """What can go wrong with one strategy, or with a portfolio; shares of the principal over the horizon.

    Attributes
    ----------
    name, strategy_id : str
        As asked for, and what that stands for.
    apy, low, high : float
        Forecast and the ends of its interval, a year.
    nav_volatility : float
        Annualised spread of the scenarios' returns.
    expected_loss_a_year : float
        To events, on average.
    var, cvar : float
        Loss in the worst 5 % of scenarios: the least and the mean of them; negative if even those gain.
    loss_probability : float
        That more than 1 % is lost.
    expected_max_drawdown, drawdown_probability : float
        Mean of the deepest fall on the way, and the probability of one beyond 5 %.
    worst_event : str
        The event with the largest expected loss; empty if none touches it.
    """

    name: str
    strategy_id: str
    apy: float
    low: float
    high: float
    nav_volatility: float
    expected_loss_a_year: float
    var: float
    cvar: float
    loss_probability: float
    expected_max_drawdown: float
    drawdown_probability: float
    worst_event: str


@dataclass(frozen=True)
class RiskReport:
    """Risks of several strategies over one horizon."""

    rows: list[StrategyRisk]
    horizon_days: int
    n_scenarios: int
    as_of: dt.date
    model_version: str
    simulated: bool
    notes: tuple[str, ...]


def assess(
    strategies: Sequence[str] | None,
    horizon_days: int,
    *,
    data: Path | None = None,
    model: Path | None = None,
    draw: Draw | None = None,
) -> RiskReport:
    """Return what can go wrong with strategies.

    Parameters
    ----------
    strategies : sequence of str or None
        Aliases or ids; None for the defaults.
    horizon_days : int
        1 … 30.
    data, model : Path, optional
        Dataset and bundle, by default the project's.
    draw : Draw, optional
        How many scenarios, which seed.
    """
    forecaster = Forecaster.open(data, model)
    question = Question(strategies or forecaster.names.defaults, horizon_days, DEFAULT_LEVEL)
    return risk_report(outlook(forecaster, question, draw))


def risk_report(view: Outlook) -> RiskReport:
    """Return the risk of every strategy of an outlook."""
    answer, scenarios = view.answer, view.simulation.scenarios
    returns, nav = scenarios.returns(), view.simulation.nav()
    rows = []
    for column, row in enumerate(answer.rows):
        figures = _figures(returns[:, column], nav[:, :, column], scenarios.probability)
        years = scenarios.horizon_days / 365.0
        lost = float(scenarios.probability @ scenarios.loss[:, column]) / years
        rows.append(
            StrategyRisk(
                name=row.name,
                strategy_id=row.strategy_id,
                apy=row.apy,
                low=row.low,
                high=row.high,
                nav_volatility=_spread(returns[:, column], scenarios.probability) / years**0.5,
                expected_loss_a_year=lost,
                worst_event=_worst_event(view.events, column),
                **figures,
            )
        )
    return RiskReport(
        rows=rows,
        horizon_days=scenarios.horizon_days,
        n_scenarios=len(scenarios.probability),
        as_of=view.as_of,
        model_version=answer.model_version,
        simulated=answer.simulated,
        notes=answer.notes,
    )


def _figures(returns: FloatArray, nav: FloatArray, probability: FloatArray) -> dict[str, float]:
    losses = -returns
    return {
        "var": float(value_at_risk(losses, RISK_LEVEL, probability)),
        "cvar": float(conditional_value_at_risk(losses, RISK_LEVEL, probability)),
        "loss_probability": float(loss_probability(losses, SIGNIFICANT_LOSS, probability)),
        "expected_max_drawdown": float(probability @ max_drawdown(nav)),
        "drawdown_probability": float(drawdown_probability(nav, DEEP_FALL, probability)),
    }


def _spread(returns: FloatArray, probability: FloatArray) -> float:
    mean = float(probability @ returns)
    return float(np.sqrt(probability @ (returns - mean) ** 2))


def _worst_event(events: EventTable, column: int) -> str:
    cost = events.probability * events.loss[:, column]
    return events.names[int(np.argmax(cost))] if len(cost) and cost.max() > 0 else ""
