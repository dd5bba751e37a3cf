"""Small programs for the engine's tests, and the answers of a plain full linear program."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from aegis_yield.portfolio.engine import CVaR, Limit, Program
from aegis_yield.utils.typing import FloatArray


def market(scenarios: int, n: int, seed: int = 0) -> FloatArray:
    """Return heavy-tailed returns with common factors, shape (scenarios, n)."""
    rng = np.random.default_rng(seed)
    exposure = rng.normal(0, 0.5, (3, n))
    exposure[0] += 1
    common = rng.standard_t(5, (scenarios, 3)) * 0.01
    own = rng.standard_t(5, (scenarios, n)) * 0.015
    return common @ exposure + own + rng.normal(0.0005, 0.0005, n)


def even(n: int) -> FloatArray:
    return np.full(n, 1.0 / n)


def whole(n: int, capital: float = 1.0) -> Limit:
    """Return the limit that all capital is used."""
    return Limit("budget", np.ones(n), capital, capital)


def tail_program(returns: FloatArray, cap: float = 1.0, aversion: float = 1.0) -> Program:
    """Return mean less CVaR at 0.95 with all capital used."""
    scenarios, n = returns.shape
    risk = CVaR(returns, even(scenarios))
    return Program(returns.mean(0), np.full(n, cap), (whole(n),), risk=risk, aversion=aversion)


def full_tail_objective(program: Program) -> float:
    """Return the best mean less CVaR by Rockafellar and Uryasev's linear program with every scenario in it."""
    risk = program.risk
    assert isinstance(risk, CVaR)
    s = len(risk.returns)
    cost = np.concatenate([-program.gain, program.aversion * np.concatenate([[1.0], risk.weight])])
    above = sparse.hstack([-risk.returns, -np.ones((s, 1)), -sparse.eye_array(s)])
    rows = [
        np.concatenate([sign * limit.coefficients, np.zeros(s + 1)])
        for limit in program.limits
        for sign, bound in ((1, limit.upper), (-1, limit.lower))
        if np.isfinite(bound)
    ]
    sides = [
        sign * bound
        for limit in program.limits
        for sign, bound in ((1, limit.upper), (-1, limit.lower))
        if np.isfinite(bound)
    ]
    bounds = [(0, top) for top in program.upper] + [(None, None)] + [(0, None)] * s
    matrix = sparse.vstack([above, sparse.csr_array(np.array(rows))])
    found = linprog(cost, matrix, np.concatenate([np.zeros(s), sides]), bounds=bounds, method="highs")
    assert found.status == 0
    return program.constant - float(found.fun)


def naive_tail_mean(losses: FloatArray, probability: FloatArray, level: float) -> float:
    """Return the mean of the worst 1 - level, loss by loss."""
    left, total = 1.0 - level, 0.0
    for loss, mass in sorted(zip(losses.tolist(), probability.tolist(), strict=True), reverse=True):
        taken = min(mass, left)
        total, left = total + taken * loss, left - taken
    return total / (1.0 - level)


def naive_drawdowns(gains: FloatArray) -> FloatArray:
    """Return the drawdown at each step of one path of cumulated gains that starts at 0."""
    found, peak = [], 0.0
    for gain in gains.tolist():
        peak = max(peak, gain)
        found.append(peak - gain)
    return np.array(found)
