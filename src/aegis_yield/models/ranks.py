"""Features by rank: where a value stands among the training rows, as a standard normal score.

Scaled features keep their distances, ranks their order: a jump of ten scales and one of a hundred are both "among the
largest ever", which is what the shape of a distribution follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.models.quantile_functions import normal_quantiles
from aegis_yield.utils.typing import FloatArray, IntArray

N_KNOTS: Final = 65
_EXTREME: Final = 0.004
_LEAST_STD: Final = 1e-3


@dataclass(frozen=True)
class FeatureRanks:
    """A piecewise linear map of each feature, through quantiles of the training rows.

    Attributes
    ----------
    first : ndarray of int, shape (n_features + 1,)
        Where each feature's knots begin; the last is their number.
    knots, scores : ndarray of float32, shape (n_knots,)
        Values of a feature, rising, and their normal scores, one feature after another.
    mean, std : ndarray of float32, shape (n_features,)
        Of the scores over the training rows.
    """

    first: IntArray
    knots: FloatArray
    scores: FloatArray
    mean: FloatArray
    std: FloatArray

    @classmethod
    def fit(cls, rows: FloatArray) -> FeatureRanks:
        """Fit on training rows of shape (n_rows, n_features)."""
        level = np.linspace(0.0, 1.0, N_KNOTS)
        knots, scores = [], []
        for column in rows.T:
            values, place = np.unique(np.quantile(column.astype(float), level), return_inverse=True)
            # A value that many rows share stands at the middle of its ranks.
            rank = np.bincount(place, level) / np.bincount(place)
            knots.append(values.astype(np.float32))
            scores.append(normal_quantiles(np.clip(rank, _EXTREME, 1.0 - _EXTREME)) if len(values) > 1 else np.zeros(1))
        first = np.concatenate([[0], np.cumsum([len(part) for part in knots])])
        plain = np.zeros(rows.shape[1], dtype=np.float32)
        unscaled = cls(first, np.concatenate(knots), np.concatenate(scores).astype(np.float32), plain, plain + 1.0)
        found = unscaled.transform(rows).astype(float)
        std = np.maximum(found.std(axis=0), _LEAST_STD)
        return cls(
            first, unscaled.knots, unscaled.scores, found.mean(axis=0).astype(np.float32), std.astype(np.float32)
        )

    def transform(self, features: FloatArray) -> FloatArray:
        """Return scaled normal scores of features of shape (n, n_features); float32, finite."""
        found = np.empty(features.shape, dtype=np.float32)
        for column in range(features.shape[1]):
            mine = slice(self.first[column], self.first[column + 1])
            found[:, column] = np.interp(features[:, column], self.knots[mine], self.scores[mine])
        return np.asarray((found - self.mean) / self.std)
