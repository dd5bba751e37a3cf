r"""How far to follow the network: a small robust combination with the last value and an EWMA, per category.

Lending rates are nearly a random walk and their noise averages out; funding and pool yields revert. A network
trained on all of them at once leans a little too far in quiet categories. On the calibration block, which the
scouts have not seen, the moves away from the last value are combined:

.. math:: \hat y = y_0 + w_1 (\text{network} - y_0) + w_2 \, \tfrac{\log h}{\log 30} (\text{ewma} - y_0)

by weighted least absolute deviations, pulled towards "follow the network" (1, 0) where a category has few
outcomes. Every strategy weighs the same, the quiet ones too: a row's error counts in units of its strategy's
naive error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.limits import MAX_HORIZON_DAYS
from aegis_yield.models.baselines import EWMA_ALPHA, ewma
from aegis_yield.preprocessing.origins import ModelInputs
from aegis_yield.utils.typing import FloatArray, IntArray

FOLLOW_NETWORK: Final = (1.0, 0.0)
PRIOR_ROWS: Final = 300.0
"""A category with so many outcomes is pulled half-way to the prior."""

LARGEST_WEIGHT: Final = 1.2
_STEPS: Final = 40
_SMALLEST_RESIDUAL: Final = 0.02


@dataclass(frozen=True)
class Stacking:
    """Combination weights.

    Attributes
    ----------
    weights : ndarray of shape (n_categories, 2)
        Of the network's move and of the EWMA's.
    """

    weights: FloatArray

    @classmethod
    def follow_network(cls) -> Stacking:
        """Return the combination that is the network alone."""
        return cls(np.tile(FOLLOW_NETWORK, (len(CATEGORIES), 1)))

    def combine(self, location: FloatArray, inputs: ModelInputs, category: IntArray, horizon_days: int) -> FloatArray:
        """Return combined locations, shape (n,).

        Parameters
        ----------
        location : ndarray of shape (n,)
            The network's own.
        inputs : ModelInputs
            For the last value and the EWMA.
        category : ndarray of int, shape (n,)
            Category codes.
        horizon_days : int
            Days ahead.
        """
        moves = candidate_moves(location, inputs, horizon_days)
        return np.asarray(inputs.last_apy + (self.weights[category] * moves).sum(axis=1))


def candidate_moves(location: FloatArray, inputs: ModelInputs, horizon_days: int) -> FloatArray:
    """Return what each candidate adds to the last value, shape (n, 2)."""
    share = np.log(horizon_days) / np.log(MAX_HORIZON_DAYS)
    average = ewma(inputs.history, EWMA_ALPHA) - inputs.last_apy
    return np.stack([location - inputs.last_apy, share * average], axis=1)


def fit_stacking(moves: FloatArray, actual_move: FloatArray, unit: FloatArray, category: IntArray) -> Stacking:
    """Fit the combination.

    Parameters
    ----------
    moves : ndarray of shape (n, 2)
        Of :func:`candidate_moves`.
    actual_move : ndarray of shape (n,)
        Outcome less last value.
    unit : ndarray of shape (n,)
        Naive error of each row's strategy; rows with no positive unit are left out.
    category : ndarray of int, shape (n,)
        Category codes.
    """
    usable = unit > 0
    x, y, codes = moves[usable] / unit[usable, None], actual_move[usable] / unit[usable], category[usable]
    weights = np.tile(FOLLOW_NETWORK, (len(CATEGORIES), 1))
    for code in np.unique(codes):
        weights[code] = _least_absolute(x[codes == code], y[codes == code])
    return Stacking(weights)


def _least_absolute(x: FloatArray, y: FloatArray) -> FloatArray:
    prior = np.asarray(FOLLOW_NETWORK)
    solution = prior
    for _ in range(_STEPS):
        weight = 1.0 / np.maximum(np.abs(y - x @ solution), _SMALLEST_RESIDUAL)
        penalty = PRIOR_ROWS * np.mean(weight[:, None] * x * x)
        gram = x.T @ (weight[:, None] * x) + penalty * np.eye(2)
        solution = np.linalg.solve(gram, x.T @ (weight * y) + penalty * prior)
    return np.asarray(np.clip(solution, 0.0, LARGEST_WEIGHT))
