"""Units in which a program's numbers are near 1: a solver's tolerances then mean the same for any capital."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aegis_yield.portfolio.engine.cuts import risks_of
from aegis_yield.portfolio.engine.program import Program
from aegis_yield.utils.typing import FloatArray


@dataclass(frozen=True, eq=False)
class Scales:
    """What one solver unit is worth.

    Attributes
    ----------
    capital : float
        A column's.
    money : float
        The objective's.
    limits : ndarray of shape (n_limits,)
        Each limit's.
    risks : ndarray of shape (n_risks,)
        Each risk's, the objective's first.
    """

    capital: float
    money: float
    limits: FloatArray
    risks: FloatArray

    @classmethod
    def of(cls, program: Program, capital: float | None = None) -> Scales:
        """Measure a program whose answers are near a capital, by default the largest that one column can have."""
        capital = capital or capital_of(program)
        sizes = [float(np.abs(limit.coefficients).max(initial=0.0)) * capital for limit in program.limits]
        risks = np.array([risk.size(capital) for risk in risks_of(program)])
        gain = float(np.abs(program.gain).max(initial=0.0)) * capital
        money = max(gain, program.aversion * float(risks[0]) if program.counts_risk else 0.0)
        return cls(capital, money or 1.0, np.array([size or 1.0 for size in sizes]), risks)


def capital_of(program: Program) -> float:
    """Return the largest value that one column can have; for unbounded columns the largest bound of a limit."""
    capacity = program.capacity()
    finite = capacity[np.isfinite(capacity)]
    if len(finite) and finite.max() > 0:
        return float(finite.max())
    bounds = [abs(x) for limit in program.limits for x in (limit.lower, limit.upper) if np.isfinite(x)]
    return max(bounds, default=0.0) or 1.0
