"""What a solver says, before anyone has checked it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np

from aegis_yield.utils.typing import FloatArray

Verdict: TypeAlias = Literal["optimal", "infeasible", "unbounded", "failed"]


@dataclass(frozen=True, eq=False)
class Answer:
    """One solver's word on a program with the cuts learned so far, in the program's own units.

    Attributes
    ----------
    verdict : str
        The solver's claim.
    values : ndarray of shape (m,)
        The columns.
    levels : ndarray of shape (n_risks,)
        Each tail's level a; 0 for a square form.
    excess : tuple of ndarray
        For each risk what its known units lose above the level.
    prices : ndarray of shape (n_limits,)
        What one more unit of the limit's bound adds to the objective.
    budget_prices : ndarray of shape (n_risk_limits,)
        The same for the risk budgets, at least 0.
    duals : tuple of ndarray
        For each risk known by cuts the dual of every cut, as a share of the risk.
    directions : tuple of ndarray or None
        For each square form that the solver took whole where its supporting cut touches, see ``Variance.supporting``.
    bound : float
        Of a linear program, its own optimum; else NaN.
    switched, switch_prices : ndarray
        How far each switch, then each order, is on, and what the objective would lose by one more unit of it.
    """

    verdict: Verdict
    values: FloatArray
    levels: FloatArray
    excess: tuple[FloatArray, ...]
    prices: FloatArray
    budget_prices: FloatArray
    duals: tuple[FloatArray, ...]
    directions: tuple[FloatArray | None, ...] = ()
    bound: float = np.nan
    switched: FloatArray | None = None
    switch_prices: FloatArray | None = None

    @classmethod
    def without_values(cls, verdict: Verdict) -> Answer:
        """Return an answer that has none."""
        empty = np.zeros(0)
        return cls(verdict, empty, empty, (), empty, empty, ())


class Master(Protocol):
    """A solver that knows a program by its linear part and the cuts learned so far."""

    @property
    def name(self) -> str:
        """Return the solver's name."""

    def knows(self, risk: int) -> bool:
        """Return whether it takes that risk whole and needs no cuts of it."""

    def solve(self) -> Answer:
        """Solve with all cuts learned by now."""
