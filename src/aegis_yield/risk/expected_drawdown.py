r"""Expected maximum drawdown of a Brownian log NAV: the fast path beside simulated scenarios, and their check.

For log NAV with drift m and volatility s, Magdon-Ismail, Atiya, Pratap and Abu-Mostafa (2004, J. Appl. Prob. 41)
give, with x = m² H / 2 s²,

.. math::
    E = \frac{2 s^2}{m} Q_p(x) \;(m > 0), \qquad
    E = \sqrt{\pi / 2}\, s \sqrt{H} \;(m = 0), \qquad
    E = -\frac{2 s^2}{m} Q_n(x) \;(m < 0)

and a table of Q to about 0.4 %. Here Q is computed to ten digits. The drawdown is a Brownian motion reflected
at 0, and reaches d at a time whose Laplace transform is known (Taylor 1975). Integrated over d, with s = 1,
:math:`\delta = \sqrt{m^2 + 2 z}` and :math:`a = (\delta + m) / 2 \delta`, it makes the transform of E over H

.. math::
    \int_0^\infty e^{-zH} E(H)\,dH = \frac{1}{2 \delta z} \int_0^1 \frac{t^{a-1}}{(1 - a) + a t}\,dt,

a Lerch series in :math:`q = (\delta - |m|) / (\delta + |m|)`, inverted on Talbot's contour with the constants of
Trefethen, Weideman and Schmelzer (2006). Far out, Q_p tends to (ln 4x + gamma) / 4 and Q_n to x + 1/2.

A NAV that is looked at once a day shows less: each of the two ends of the drawdown misses its extreme by
0.5826 s √dt on average (Chernoff 1965, Siegmund 1979). Where daily returns are an AR(1), the walk spreads with
s √((1 + phi) / (1 - phi)), and each end misses about 1.05 phi / (1 - phi) s √dt more: that constant is fitted to
simulation (1.01 … 1.16 for phi from -0.5 to 0.8), not derived.

None of this fits a NAV that only accrues and jumps (lending, staking): its drawdown is its loss events.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from aegis_yield.domain.errors import RequestError
from aegis_yield.domain.targets import DAYS_PER_YEAR
from aegis_yield.utils.typing import FloatArray

SAMPLING_SHIFT: Final = 0.5825971579390107
"""-zeta(1/2) / sqrt(2 pi): mean gap of a Brownian maximum and that of its samples, in steps' deviations."""

_CORRELATED_SHIFT: Final = 1.05
_LEAST_SAMPLES: Final = 7  # the shift is a limit law too: with 7 looks the result is 5 % too small, with 30 1 %
_LEAST_MEMORIES: Final = 9.0  # below this many memories of the AR(1) in a horizon its limit law is off by > 7 %

_N_CONTOUR: Final = 24  # error falls as 3.89^-n, so this is double precision
_ANGLE: Final = np.pi * np.arange(1, _N_CONTOUR, 2) / _N_CONTOUR
_CONTOUR: Final = _N_CONTOUR * (0.5017 * _ANGLE / np.tan(0.6407 * _ANGLE) - 0.6122 + 0.2645j * _ANGLE)
_SPEED: Final = _N_CONTOUR * (
    0.5017 / np.tan(0.6407 * _ANGLE) - 0.5017 * 0.6407 * _ANGLE / np.sin(0.6407 * _ANGLE) ** 2 + 0.2645j
)
_CONTOUR_WEIGHT: Final = 2.0 * np.exp(_CONTOUR) * _SPEED / (1j * _N_CONTOUR)  # 2: the other half is the conjugate

_N_TERMS: Final = 4
_REACH: Final = 9.0  # the remainder falls as exp(-4 u)
_NODES, _NODE_WEIGHTS = (_REACH / 2.0 * part for part in np.polynomial.legendre.leggauss(32))
_NODES = _NODES + _REACH / 2.0

_Complex = NDArray[np.complex128]


def expected_max_drawdown(
    drift: FloatArray | float,
    volatility: FloatArray | float,
    horizon_days: float,
    autocorrelation: float = 0.0,
    sampling_days: float = 1.0,
) -> FloatArray:
    """Return the expected maximum drawdown of log NAV over the horizon.

    Parameters
    ----------
    drift : float or ndarray
        Of log NAV per year: that of simple returns less half the variance; finite.
    volatility : float or ndarray
        Annualised sd of daily log returns (times root 365), at least 0; broadcasts with ``drift``.
    horizon_days : float
        Above 0.
    autocorrelation : float
        Of one sampled return with the next, -1 < phi < 1. A positive one needs a horizon of 9 memories of
        1 / (1 - phi) samples; the result is then right to about 7 %.
    sampling_days : float
        Days between two looks at the NAV, at most a seventh of the horizon; 0 for a continuous look, which
        knows no autocorrelation. The result is about 5 % too small with 7 looks, 1 % with 30.

    Returns
    -------
    ndarray
        Fall of log NAV, at least 0. As a share of the peak the expected fall is a little less than
        ``1 - exp(-result)``.

    Raises
    ------
    RequestError
        If an argument is not as above. Shorter horizons and longer memories are to be simulated.
    """
    m, s = np.broadcast_arrays(np.asarray(drift, dtype=float), np.asarray(volatility, dtype=float))
    _check(m, s, horizon_days)
    _check_sampling(horizon_days, autocorrelation, sampling_days)
    factor = autocorrelation_factor(autocorrelation)
    years = horizon_days / DAYS_PER_YEAR
    continuous = _continuous(m * years, s * factor * np.sqrt(years))
    missed = SAMPLING_SHIFT * factor + _CORRELATED_SHIFT * autocorrelation / (1.0 - autocorrelation)
    sampled = continuous - 2.0 * missed * s * np.sqrt(sampling_days / DAYS_PER_YEAR)
    # A steady fall is seen in full however rarely one looks.
    return np.asarray(np.maximum(sampled, np.maximum(-m * years, 0.0)))


def drawdown_q(x: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """Return Magdon-Ismail's Q_p and Q_n at x > 0, each of the shape of ``x``, to ten digits.

    Raises
    ------
    RequestError
        If an x is not a finite number above 0.
    """
    values = np.asarray(x, dtype=float)
    if not (np.isfinite(values) & (values > 0.0)).all():
        raise RequestError("x", float(np.min(values)), "finite numbers above 0")
    trend = np.sqrt(2.0 * values)
    return _standard(trend) * trend / 2.0, _standard(-trend) * trend / 2.0


def autocorrelation_factor(phi: FloatArray | float) -> FloatArray:
    """Return sqrt((1 + phi) / (1 - phi)): how much wider sums of AR(1) returns spread in the long run.

    Raises
    ------
    RequestError
        If a phi is not strictly between -1 and 1.
    """
    values = np.asarray(phi, dtype=float)
    if not (np.abs(values) < 1.0).all():
        raise RequestError("phi", float(values.flat[np.argmax(np.abs(values))]), "above -1 and below 1")
    return np.asarray(np.sqrt((1.0 + values) / (1.0 - values)))


def _check(drift: FloatArray, volatility: FloatArray, horizon_days: float) -> None:
    if not np.isfinite(drift).all():
        raise RequestError("drift", float(drift[~np.isfinite(drift)][0]), "finite numbers")
    if not (np.isfinite(volatility) & (volatility >= 0.0)).all():
        raise RequestError("volatility", float(np.min(volatility)), "finite numbers, at least 0")
    if not 0.0 < horizon_days < np.inf:
        raise RequestError("horizon_days", horizon_days, "a number of days above 0")


def _check_sampling(horizon_days: float, phi: float, sampling_days: float) -> None:
    if not 0.0 <= sampling_days <= horizon_days / _LEAST_SAMPLES:
        allowed = f"0 (continuous) to {horizon_days / _LEAST_SAMPLES:.3g}, {_LEAST_SAMPLES} looks; else simulate paths"
        raise RequestError("sampling_days", sampling_days, allowed)
    if not -1.0 < phi < 1.0:
        raise RequestError("autocorrelation", phi, "above -1 and below 1")
    if phi != 0.0 and sampling_days == 0.0:
        raise RequestError("autocorrelation", phi, "0 under a continuous look")
    longest = 1.0 - _LEAST_MEMORIES * sampling_days / horizon_days
    if phi > max(longest, 0.0):
        raise RequestError("autocorrelation", phi, f"at most {longest:.3g} over this horizon; else simulate paths")


def _continuous(trend: FloatArray, spread: FloatArray) -> FloatArray:
    """Return the expected maximum drawdown of a Brownian motion with this mean and sd at its end."""
    # Beyond a trend of 1e100 deviations nothing but the trend is left.
    moves = spread > 1e-100 * np.abs(trend)
    standard = _standard(np.divide(trend, spread, out=np.zeros(trend.shape), where=moves))
    return np.asarray(np.where(moves, spread * standard, np.maximum(-trend, 0.0)))


def _standard(trend: FloatArray) -> FloatArray:
    """Return it for unit spread: Talbot's sum over the transform at horizon 1, of the shape of ``trend``."""
    m = np.asarray(trend, dtype=float)[..., None]
    size = np.abs(m)
    delta = np.sqrt(m * m + 2.0 * _CONTOUR)
    small = _CONTOUR / (delta * (delta + size))  # the lesser of a and 1 - a, free of cancellation
    large = (delta + size) / (2.0 * delta)
    q = 2.0 * _CONTOUR / (delta + size) ** 2
    series = _lerch(small, q)
    # For m > 0 the integral to 1 is that to infinity less the rest, which is the same series. Both grow as
    # 1 / small, so that is taken out of each.
    whole = np.expm1(-small * np.log(q) - _log_sinc(small)) / small
    integral = np.where(m > 0.0, whole - series, 1.0 / small + series) / large
    return np.asarray(np.real((integral / (2.0 * delta * _CONTOUR)) @ _CONTOUR_WEIGHT))


def _log_sinc(z: _Complex) -> _Complex:
    """Return log(sin(pi z) / pi z) with its full relative precision near 0."""
    square = (np.pi * z) ** 2
    near = -square / 6.0 * (1.0 + square / 30.0)
    return np.asarray(np.where(np.abs(z) < 1e-3, near, np.log(np.sinc(z))))


def _lerch(b: _Complex, q: _Complex) -> _Complex:
    r"""Return :math:`\sum_{n \ge 1} (-q)^n / (n + b)` for |q| ≤ 1: some terms, and the rest as an integral."""
    total = sum((-q) ** n / (n + b) for n in range(1, _N_TERMS))
    rest = np.exp(-(_N_TERMS + b)[..., None] * _NODES) / (1.0 + q[..., None] * np.exp(-_NODES))
    return np.asarray(total + (-q) ** _N_TERMS * (rest @ _NODE_WEIGHTS), dtype=np.complex128)
