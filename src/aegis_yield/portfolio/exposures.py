"""What a position is exposed to in every scenario: its principal and its earnings, the same for all its segments.

A segment of a position returns, in scenario s::

    segment_s = flat_s + multiple * earned_s        flat = principal + (1 + principal) * min(growth, 0)
                                                    earned = (1 + principal) * max(growth, 0)

so that the returns of any number of segments are two numbers per candidate and scenario. A loss is not diluted by one's
own deposit: only what is earned is shared with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from aegis_yield.portfolio.problem import Problem
from aegis_yield.utils.typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Exposures:
    """Scenario returns of columns in two factors, ``returns = outcomes @ loading``.

    Attributes
    ----------
    outcomes : ndarray of shape (s, k)
        Of each exposure.
    loading : sparse array of shape (k, m)
        How much of each exposure a unit of each column is.
    """

    outcomes: FloatArray
    loading: sparse.csr_array

    def expected(self, probability: FloatArray) -> FloatArray:
        """Return the expected return of a unit of each column, shape (m,)."""
        return np.asarray((probability @ self.outcomes) @ self.loading)

    def dense(self) -> FloatArray:
        """Return the returns themselves, shape (s, m)."""
        return np.asarray(self.outcomes @ self.loading)

    def less(self, certain: FloatArray) -> Exposures:
        """Return the exposures of columns that return so much less, in every scenario, shape (m,)."""
        unit = float(np.abs(certain).max(initial=0.0))
        if unit == 0.0:
            return self
        sure = np.full((len(self.outcomes), 1), unit)
        loading = sparse.vstack([self.loading, sparse.csr_array(-certain[None] / unit)])
        return Exposures(np.hstack([self.outcomes, sure]), sparse.csr_array(loading))


def exposures(problem: Problem, columns: Mapping[int, IntArray], multiples: Sequence[FloatArray], m: int) -> Exposures:
    """Return what segments return in every scenario.

    Parameters
    ----------
    problem : Problem
        Its scenarios.
    columns : mapping of int to ndarray
        By candidate, its segments among the columns.
    multiples : sequence of ndarray
        For each candidate of ``columns``, of each segment: its rate over the rate before one's own deposit.
    m : int
        Number of columns; those of no candidate return nothing.
    """
    members = np.array(list(columns), dtype=int)
    growth, principal = problem.growth[:, members], problem.principal[:, members]
    kept = 1.0 + principal
    outcomes = np.hstack([principal + kept * np.minimum(growth, 0.0), kept * np.maximum(growth, 0.0)])
    n, places = len(members), [*columns.values(), np.zeros(0, dtype=int)]
    where = np.concatenate(places).astype(int)
    owner = np.repeat(np.arange(n), [len(mine) for mine in places[:-1]])
    value = np.concatenate([np.ones(len(where)), *multiples])
    at = (np.concatenate([owner, owner + n]), np.tile(where, 2))
    return Exposures(outcomes, sparse.csr_array(sparse.coo_array((value, at), shape=(2 * n, m))))
