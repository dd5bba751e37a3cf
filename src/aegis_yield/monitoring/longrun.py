"""Is the mean of a short, autocorrelated series above zero? A test that keeps its level, and Student's distribution.

The long-run variance is the mean square of the series' projections on the first few cosines (Lazarus, Lewis, Stock
& Watson 2018, "HAR inference: recommendations for practice"), which a mean does not touch; the ratio then follows
Student's distribution with as many degrees of freedom. In a short series an autocorrelation hides from that, so the
variance is scaled up by what an assumed one would hide, and never taken below that of independent values.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.utils.typing import FloatArray

N_COSINES: Final = 4
"""Projections, and degrees of freedom: few, because level matters more than power here."""

ASSUMED_AUTOCORRELATION: Final = 0.6
"""Of neighbouring values; the level is kept up to about this."""


@dataclass(frozen=True)
class MeanTest:
    """A mean, how sure it is, and whether it could be nothing.

    Attributes
    ----------
    mean, standard_error : float
        Of the series.
    statistic : float
        Their ratio.
    p_above : float
        Chance of such a ratio or a higher one if the true mean were zero.
    """

    mean: float
    standard_error: float
    statistic: float
    p_above: float

    @property
    def p_two_sided(self) -> float:
        """Chance of a ratio as far from zero, either way."""
        return 2.0 * min(self.p_above, 1.0 - self.p_above)

    def lower_bound(self, level: float) -> float:
        """Return what the true mean exceeds with confidence ``1 - level``."""
        return self.mean - student_quantile(1.0 - level, N_COSINES) * self.standard_error


def mean_test(series: FloatArray, assumed: float = ASSUMED_AUTOCORRELATION) -> MeanTest:
    """Test the mean of a series against zero.

    Parameters
    ----------
    series : ndarray of shape (n,)
        Equally spaced in time; at least six values.
    assumed : float
        Autocorrelation of neighbours to be prepared for; overlapping outcomes call for a higher one.
    """
    values = np.asarray(series, dtype=float)
    n = len(values)
    if n < N_COSINES + 2:
        raise ValueError(f"series: received {n} values, at least {N_COSINES + 2} are needed")
    mean = float(values.mean())
    projections = _cosines(n) @ (values - mean)
    long_run = _hidden(n, assumed) * float(np.mean(projections**2))
    variance = max(long_run, float(values.var(ddof=1))) / n
    error = math.sqrt(variance)
    statistic = mean / error if error > 0 else math.copysign(math.inf, mean) if mean else 0.0
    return MeanTest(mean, error, statistic, 1.0 - student_cdf(statistic, N_COSINES))


@functools.cache
def _cosines(n: int) -> FloatArray:
    steps = np.arange(n) + 0.5
    return np.asarray(np.sqrt(2 / n) * np.cos(np.pi * np.outer(np.arange(1, N_COSINES + 1), steps) / n))


@functools.cache
def _hidden(n: int, assumed: float) -> float:
    """Return by how much the projections understate the variance of the mean under an assumed autocorrelation."""
    steps = np.arange(n)
    covariance = assumed ** np.abs(steps[:, None] - steps[None, :])
    cosines = _cosines(n)
    seen = np.mean(np.einsum("bi,ij,bj->b", cosines, covariance, cosines))
    return float(covariance.sum() / n / seen)


def student_cdf(value: float, degrees: int) -> float:
    """Return Student's distribution function for an even number of degrees of freedom, in closed form."""
    if degrees % 2 or degrees < 2:
        raise ValueError(f"degrees: received {degrees}, an even number of at least 2 is allowed")
    if math.isinf(value):
        return 1.0 if value > 0 else 0.0
    sine = value / math.sqrt(degrees + value * value)
    term, total = 1.0, 1.0
    for k in range(1, degrees // 2):
        term *= (2 * k - 1) / (2 * k) * (1.0 - sine * sine)
        total += term
    return 0.5 + 0.5 * sine * total


def student_quantile(level: float, degrees: int) -> float:
    """Return Student's quantile at a level inside (0, 1), by bisection."""
    low, high = -1e4, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, degrees) < level else (low, middle)
    return (low + high) / 2
