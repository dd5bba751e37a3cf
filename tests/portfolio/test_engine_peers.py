"""The same objective values as skfolio on the S&P 500 data that comes with it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_programs import even, whole

from aegis_yield.portfolio.engine import CVaR, Drawdown, Program, Risk, Variance, solve, solve_ratio

DAYS = 1_500
PRECISE = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
"""Without it skfolio stops some 1e-6 short of the best deviation ratio."""


@pytest.fixture(scope="module")
def returns() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("skfolio", reason="skfolio, a peer to measure against, is in requirements-bench.txt")
        from skfolio.datasets import load_sp500_dataset
        from skfolio.preprocessing import prices_to_returns

        return prices_to_returns(load_sp500_dataset()).iloc[-DAYS:]


def risk_of(measure: str, returns: Any) -> Risk:
    matrix = returns.to_numpy()
    if measure == "CVAR":
        return CVaR(matrix, even(len(matrix)), 0.95)
    if measure == "CDAR":
        return Drawdown(np.cumsum(matrix, axis=0)[None], np.ones(1), 0.95)
    return Variance(np.cov(matrix.T))


def peer_weights(measure: str, objective: str, returns: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from skfolio import RiskMeasure
        from skfolio.optimization import MeanRisk, ObjectiveFunction

        model = MeanRisk(
            risk_measure=RiskMeasure[measure],
            objective_function=ObjectiveFunction[objective],
            solver="CLARABEL",
            solver_params=PRECISE,
        )
        return model.fit(returns).weights_


@pytest.mark.parametrize("measure", ["VARIANCE", "CVAR", "CDAR"])
def test_least_risk(measure: str, returns: Any) -> None:
    n, risk = returns.shape[1], risk_of(measure, returns)
    ours = solve(Program(np.zeros(n), np.ones(n), (whole(n),), risk=risk))
    theirs = risk.of(peer_weights(measure, "MINIMIZE_RISK", returns))
    assert ours.certified
    assert -ours.objective == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("measure", ["VARIANCE", "CVAR", "CDAR"])
def test_best_ratio(measure: str, returns: Any) -> None:
    n, risk = returns.shape[1], risk_of(measure, returns)
    if isinstance(risk, Variance):
        risk = replace(risk, root=True)
    gain = returns.to_numpy().mean(axis=0)
    ours = solve_ratio(Program(gain, np.ones(n), (whole(n),), risk=risk))
    weights = peer_weights(measure, "MAXIMIZE_RATIO", returns)
    assert ours.status == "optimal"
    assert ours.objective == pytest.approx(gain @ weights / risk.of(weights), rel=1e-6)
