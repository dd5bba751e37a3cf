"""Input scaling, fitted on training rows only and kept inside the bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.utils.typing import FloatArray, IntArray

INPUT_CLIP: Final = 8.0
"""Scaled inputs stay within so many standard deviations: what was never seen must not explode."""

_LOG_HORIZON_MEAN: Final = 1.7
"""About the mean of log horizon in training; the spread is about one already."""


@dataclass(frozen=True)
class FeatureScaler:
    """Mean and standard deviation of each feature over the training rows.

    Attributes
    ----------
    mean, std : ndarray of float32, shape (n_features,)
        ``std`` is at least 1e-3, so that a channel which never moved in training stays finite.
    """

    mean: FloatArray
    std: FloatArray

    @classmethod
    def fit(cls, rows: FloatArray) -> FeatureScaler:
        """Fit on training rows of shape (n_rows, n_features)."""
        mean = rows.mean(axis=0, dtype=np.float64)
        std = np.maximum(rows.std(axis=0, dtype=np.float64), 1e-3)
        return cls(mean.astype(np.float32), std.astype(np.float32))

    def transform(self, features: FloatArray) -> FloatArray:
        """Scale features of shape (..., n_features); float32, finite."""
        scaled = (features - self.mean) / self.std
        return np.clip(scaled, -INPUT_CLIP, INPUT_CLIP, out=scaled)


def horizon_channel(horizon_days: IntArray | int) -> FloatArray:
    """Return the horizon as the network sees it: its logarithm, centred."""
    return np.asarray(np.log(horizon_days) - _LOG_HORIZON_MEAN, dtype=np.float32)
