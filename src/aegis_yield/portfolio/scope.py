"""What of a problem is in a program, and which of the program's columns is what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from aegis_yield.portfolio.engine import Program
from aegis_yield.portfolio.problem import Candidate, Goal, Objective, Problem
from aegis_yield.portfolio.segments import coarse_breaks
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

CAPITAL: Final = "capital"
"""The name of the limit that no more is spent than there is."""


@dataclass(frozen=True)
class Columns:
    """Which column is what.

    Attributes
    ----------
    program : Program
        For the engine; amounts in units of the capital, so that numbers are of order one.
    owner : ndarray of shape (m,)
        Candidate of each column.
    is_segment : ndarray of shape (m,)
        Whether it is part of a position (else a purchase or a sale).
    is_last : ndarray of shape (m,)
        Whether it would grow if a position might be larger than its largest.
    multiple : ndarray of shape (m,)
        Of a segment: its rate over the rate before one's own deposit; else 0.
    breaks_usd : mapping of int to ndarray
        By candidate, where its income is cut.
    rises : mapping of int to bool
        By candidate, whether a segment pays more than the one before.
    """

    program: Program
    owner: IntArray
    is_segment: BoolArray
    is_last: BoolArray
    multiple: FloatArray
    breaks_usd: Mapping[int, FloatArray]
    rises: Mapping[int, bool]

    def positions(self, values: FloatArray, n: int) -> FloatArray:
        """Return the position of each of n candidates, as shares of capital."""
        found: FloatArray = np.bincount(
            self.owner[self.is_segment], weights=values[self.is_segment], minlength=n
        ).astype(float)
        return found


@dataclass(frozen=True)
class Scope:
    """What of a problem is in a program.

    Attributes
    ----------
    members : tuple of int
        Candidates that may have a position.
    caps_usd : mapping of int to float
        Largest position of each.
    breaks_usd : mapping of int to ndarray
        Where the income of some of them is cut; coarsely where nothing is said.
    reserve_usd : float
        Kept aside for gas.
    has_switches : bool
        Whether gas, tickets and the number of positions are exact (a mixed-integer program) or left out.
    surely_open : frozenset of int
        Candidates so large that nobody doubts their position: their gas is paid and not decided.
    opened : mapping of str to bool, optional
        What is open, where that is settled: the program is an ordinary one again, but for pools above their kinks.
    """

    members: tuple[int, ...]
    caps_usd: Mapping[int, float]
    breaks_usd: Mapping[int, FloatArray] = field(default_factory=dict)
    reserve_usd: float = 0.0
    has_switches: bool = False
    surely_open: frozenset[int] = frozenset()
    opened: Mapping[str, bool] | None = None


def instant_share(candidate: Candidate, capital_usd: float) -> float:
    """Return how much of a position can be withdrawn at once, as a share of capital.

    A strategy with a queue pays nothing at once; a pool of unknown liquidity is taken to pay all.
    """
    if candidate.exit_days > 0.0:
        return 0.0
    return np.inf if candidate.instant_usd is None else candidate.instant_usd / capital_usd


def first_breaks(problem: Problem, index: int, cap_usd: float) -> FloatArray:
    """Return where a candidate's income is cut at first: coarsely, and where it is no more paid out at once."""
    candidate = problem.candidates[index]
    held = problem.holdings.positions_usd.get(candidate.strategy_id, 0.0)
    marks = () if candidate.instant_usd is None else (candidate.instant_usd,)
    return coarse_breaks(candidate, held, cap_usd, marks)


def weight_of_certain(objective: Objective) -> float:
    """Return what a dollar that comes or goes in every scenario counts in an objective: it moves CVaR as well."""
    return 1.0 + (objective.risk_aversion if objective.goal in (Goal.MEAN_CVAR, Goal.ROBUST) else 0.0)


def cash_return(problem: Problem) -> float:
    """Return what idle capital earns over the horizon."""
    return float((1.0 + problem.objective.risk_free_apy) ** problem.years - 1.0)
