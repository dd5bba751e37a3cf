"""The best ratio of gain over a hurdle to risk, exactly: a few ordinary programs (Dinkelbach 1967).

With ``F(theta) = max over v of  gain'v + constant - hurdle - theta risk(v)``, a ratio theta that some v reaches is the
best exactly where ``F(theta) = 0``, and F's proven bound bounds every ratio. Each step starts from the best ratio so
far and converges faster than linearly; the risk's cuts are kept from step to step. Unlike the change of variables of
Charnes and Cooper this needs no row for each column's bound, and it allows switches and fixed costs.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.engine.cuts import first_cuts
from aegis_yield.portfolio.engine.program import (
    GAP_TOLERANCE,
    RESIDUAL_TOLERANCE,
    Program,
    RiskLimit,
    Settings,
    Solution,
    Status,
)
from aegis_yield.portfolio.engine.scales import capital_of
from aegis_yield.portfolio.engine.solving import solve, solve_with
from aegis_yield.portfolio.engine.verify import Footing, size_of

_MAX_STEPS = 50
_STEP_TOLERANCE = 1e-10
_NO_RISK = 1e-12


def solve_ratio(program: Program, hurdle: float = 0.0, settings: Settings | None = None) -> Solution:
    """Maximise ``(gain'v + constant - hurdle) / risk(v)``.

    Parameters
    ----------
    program : Program
        Its ``risk`` is the denominator (a CVaR, a drawdown or a standard deviation); its ``aversion`` is not used.
    hurdle : float
        What the whole capital would gain without risk.
    settings : Settings, optional
        For programs with switches.

    Returns
    -------
    Solution
        ``objective`` is the ratio, and shadow prices and reduced gains are the ratio's. Status ``nothing_beats_cash``
        when no values gain more than the hurdle: then the values are those that gain most and the objective is their
        gain over the hurdle, at most 0. Status ``riskless`` when some values beat the hurdle with no risk: then they
        are those of them that gain most, and the objective is infinite.

    Raises
    ------
    RequestError
        If the program has no risk, or a variance, which is not proportional to the values.
    """
    risk = program.risk
    if risk is None or (not risk.has_level and not getattr(risk, "root", False)):
        raise RequestError("risk", "a variance" if risk else None, "a CVaR, a drawdown or a standard deviation")
    started = time.perf_counter()
    excess = replace(program, constant=program.constant - hurdle, aversion=0.0)
    found = solve(excess, settings)
    if not np.isfinite(found.objective):
        return replace(found, seconds=time.perf_counter() - started)
    size = float(np.abs(program.gain) @ found.values) + abs(excess.constant)
    if found.objective <= GAP_TOLERANCE * size:
        status: Status = "nothing_beats_cash" if found.certified else found.status
        return replace(found, status=status, seconds=time.perf_counter() - started)
    return replace(_climb(excess, found, settings), seconds=time.perf_counter() - started)


def _climb(excess: Program, best: Solution, settings: Settings | None) -> Solution:
    """Raise the ratio until no values are proven to have a higher one.

    Where capital may stay idle F is 0 at v = 0 too, so that a step may come back with next to nothing: the answer is
    the best values met, and what a step proves counts relative to their risk.
    """
    assert excess.risk is not None
    cuts = first_cuts(replace(excess, aversion=1.0))
    none = _NO_RISK * excess.risk.size(capital_of(excess))
    risk, gain = excess.risk.of(best.values), best.objective
    step, gap = best, np.inf
    for _ in range(_MAX_STEPS):
        if risk <= none:
            return _riskless(excess, settings)
        ratio = gain / risk
        program = replace(excess, aversion=ratio)
        step = solve_with(program, cuts, settings, Footing(float(best.values.max()), gain))
        if not np.isfinite(step.objective):
            break
        proven = step.objective + step.gap * max(size_of(program, step.values), gain)
        gap = max(proven, 0.0) / gain
        step_risk = excess.risk.of(step.values)
        if step.objective <= _STEP_TOLERANCE * gain or step.primal_residual > RESIDUAL_TOLERANCE:
            break
        best, risk, gain = step, step_risk, step.objective + ratio * step_risk
    return _as_ratio(best, step, gain / risk, risk, gap)


def _as_ratio(best: Solution, step: Solution, ratio: float, risk: float, gap: float) -> Solution:
    """Return the best values with the last step's prices and proof, in the ratio's terms."""
    certified = best.primal_residual <= RESIDUAL_TOLERANCE and gap <= GAP_TOLERANCE
    return replace(
        best,
        status="optimal" if certified else step.status if step.status == "time_limit" else "uncertified",
        objective=ratio,
        shadow_prices={name: price / risk for name, price in step.shadow_prices.items()},
        reduced_gains=step.reduced_gains / risk,
        gap=gap,
        certified=certified,
        solver=step.solver,
    )


def _riskless(excess: Program, settings: Settings | None) -> Solution:
    """Return the values that gain most among those without risk."""
    assert excess.risk is not None
    budget = RiskLimit("no risk", excess.risk, 0.0)
    found = solve(replace(excess, risk_limits=(*excess.risk_limits, budget)), settings)
    prices = {name: price for name, price in found.shadow_prices.items() if name != budget.name}
    status: Status = "riskless" if found.certified else found.status
    return replace(found, status=status, objective=np.inf if found.certified else np.nan, shadow_prices=prices)
