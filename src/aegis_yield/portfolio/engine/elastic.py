"""The elastic form of a program: every limit has a slack, and slack is what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from aegis_yield.portfolio.engine.program import Limit, Program
from aegis_yield.portfolio.engine.risks import CVaR, Drawdown, Risk, Variance
from aegis_yield.portfolio.engine.scales import capital_of
from aegis_yield.utils.typing import FloatArray

WIDE = 1e3
"""How many capitals stand for no bound where a switch needs one."""


@dataclass(frozen=True, eq=False)
class Elastic:
    """A program with a slack for every limit, whose gain is minus the total relative slack.

    Columns: the program's m, their excess over the upper bounds (m), and a slack for each finite bound of a limit and
    for each risk budget; a slack of one capital is a relaxation of one unit, the limit's own bound; an
    excess is relative to the capital. With v = 0 one unit
    each is enough, so that the least total is at most their number: nothing is unbounded.
    """

    program: Program
    capital: float
    names: tuple[str, ...]
    units: Mapping[str, float]

    @classmethod
    def of(cls, program: Program) -> Elastic:
        """Give a program its slacks."""
        capital = capital_of(program)
        units = {limit.name: _unit_of_limit(limit, capital) for limit in program.limits}
        units |= {x.name: abs(x.upper) or x.risk.size(capital) for x in program.risk_limits}
        slacks = [(limit.name, 1.0) for limit in program.limits if np.isfinite(limit.lower)]
        slacks += [(limit.name, -1.0) for limit in program.limits if np.isfinite(limit.upper)]
        slacks += [(limit.name, 1.0) for limit in program.risk_limits]

        def row(name: str, coefficients: FloatArray) -> FloatArray:
            own = [sign * units[name] / capital if name == other else 0.0 for other, sign in slacks]
            return np.concatenate([coefficients, coefficients, own])

        def wide(coefficients: FloatArray) -> FloatArray:
            return np.concatenate([coefficients, coefficients, np.zeros(len(slacks))])

        m, n = program.n_columns, max(len(slacks), 1)
        inside = Program(
            gain=np.concatenate([np.zeros(m), np.full(m + len(slacks), -1.0 / capital)]),
            upper=np.concatenate([_reach(program, units, n), np.full(m + len(slacks), n * capital)]),
            limits=tuple(replace(x, coefficients=row(x.name, x.coefficients)) for x in program.limits),
            risk_limits=tuple(
                replace(
                    x,
                    risk=_widened(x.risk, len(slacks)),
                    allowance=row(x.name, np.zeros(m) if x.allowance is None else x.allowance),
                )
                for x in program.risk_limits
            ),
            switches=tuple(
                replace(x, coefficients=wide(x.coefficients), cost=0.0, ceiling=min(x.ceiling, WIDE * capital))
                for x in program.switches
            ),
            orders=program.orders,
            counts=program.counts,
        )
        return cls(inside, capital, tuple(name for name, _ in slacks), units)


def _reach(program: Program, units: Mapping[str, float], n_slacks: int) -> FloatArray:
    """Return the columns' upper bounds, lowered to what limits relaxed by every slack there may be leave."""
    widest = tuple(replace(x, upper=x.upper + n_slacks * units[x.name]) for x in program.limits)
    return replace(program, limits=widest).capacity()


def _unit_of_limit(limit: Limit, capital: float) -> float:
    """Return the bound that a relaxation is relative to; for a bound of 0 what one column could make of it."""
    bounds = [abs(x) for x in (limit.lower, limit.upper) if np.isfinite(x)]
    return max(bounds, default=0.0) or float(np.abs(limit.coefficients).max(initial=0.0)) * capital or 1.0


def _widened(risk: Risk, n_slacks: int) -> Risk:
    """Return a risk of the columns, of their excess, and of slacks that bear none."""
    if isinstance(risk, CVaR | Drawdown) and risk.exposure is not None:
        still = sparse.csr_array((risk.exposure.shape[0], n_slacks))
        return replace(risk, exposure=sparse.csr_array(sparse.hstack([risk.exposure, risk.exposure, still])))
    if isinstance(risk, CVaR):
        none = np.zeros((len(risk.returns), n_slacks))
        return replace(risk, returns=np.hstack([risk.returns, risk.returns, none]))
    if isinstance(risk, Drawdown):
        still = np.zeros((*risk.paths.shape[:2], n_slacks))
        return replace(risk, paths=np.concatenate([risk.paths, risk.paths, still], axis=2))
    assert isinstance(risk, Variance)
    m = risk.n_columns
    covariance = np.zeros((2 * m + n_slacks, 2 * m + n_slacks))
    covariance[: 2 * m, : 2 * m] = np.tile(risk.covariance, (2, 2))
    return replace(risk, covariance=covariance)
