r"""Volatility of a rate or of a NAV: realised, EWMA, HAR, and the sd of a mean over the horizon.

All but :func:`sd_of_mean` take daily *changes* along the last axis: of the apy (the rates market's normal
volatility, the project's forecast target) or of log NAV (the usual volatility of a price). A result is
annualised by 365 days and takes the changes around zero, not around their mean. NaN marks a day that is not
known; it carries no weight.

What a depositor earns over the horizon moves far less than the rate of a day, and far more than a square
root of time would say, because rates persist: :func:`sd_of_mean` is the number for that.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.signal import lfilter

from aegis_yield.domain.errors import RequestError
from aegis_yield.domain.targets import DAYS_PER_YEAR, realised_volatility
from aegis_yield.preprocessing.rolling import masked_mean, trailing_sum
from aegis_yield.utils.typing import FloatArray, IntArray

FAST_DECAY: Final = 0.94
"""RiskMetrics' daily decay: a mean age of 16 days."""
SLOW_DECAY: Final = 0.97
"""RiskMetrics' monthly decay: a mean age of 32 days."""

_WEEK: Final = 7
_MONTH: Final = 30
_LEAST_ROWS: Final = 30
_HALF_TRUST: Final = 30.0  # separate horizons of history at which HAR weighs as much as EWMA
_QUIET: Final = 1e-4  # added to variances in units of their mean: a day without change has no logarithm
_PINV_CUT: Final = 1e-10


def trailing_realised(apy: FloatArray, horizon_days: int) -> FloatArray:
    """Return the realised volatility of every stretch of ``horizon_days``, as the forecast target defines it.

    Parameters
    ----------
    apy : ndarray of shape (..., n_days)
        Rates as decimal fractions.
    horizon_days : int
        Changes in a stretch, 1 … n_days - 1.

    Returns
    -------
    ndarray of shape (..., n_days - horizon_days)
        Entry k is that of days k+1 … k+horizon_days. NaN where a day of the stretch, or the one before, is NaN.
    """
    n_days = apy.shape[-1]
    if not 1 <= horizon_days < n_days:
        raise RequestError("horizon_days", horizon_days, f"1 to {n_days - 1}, one less than the days given")
    return realised_volatility(np.lib.stride_tricks.sliding_window_view(apy, horizon_days + 1, axis=-1))


def ewma_variance(changes: FloatArray, decay: float = FAST_DECAY) -> FloatArray:
    r"""Return the exponentially weighted variance of a day, known at each day (RiskMetrics 1996).

    .. math:: v_t = \sum_k \lambda^k c_{t-k}^2 \Big/ \sum_k \lambda^k

    over the known days only, so that the first days need no seed and a gap leaves the variance as it was.

    Parameters
    ----------
    changes : ndarray of shape (..., n_days)
        Daily changes; NaN where unknown.
    decay : float
        Weight of a day against the day after it, 0 < decay < 1.

    Returns
    -------
    ndarray of shape (..., n_days)
        Per day, not annualised; entry t uses days up to t. NaN before the first known change.
    """
    if not 0.0 < decay < 1.0:
        raise RequestError("decay", decay, "above 0 and below 1 (0.94 fast, 0.97 slow)")
    if changes.ndim == 0 or changes.shape[-1] == 0:
        raise RequestError("changes", changes.shape, "at least one day along the last axis")
    known = ~np.isnan(changes)
    recursion = [1.0, -decay]
    total = lfilter([1.0], recursion, np.where(known, changes, 0.0) ** 2, axis=-1)
    weight = lfilter([1.0], recursion, known.astype(float), axis=-1)
    return np.asarray(np.divide(total, weight, out=np.full(changes.shape, np.nan), where=weight > 0.0))


def ewma_volatility(changes: FloatArray, decay: float = FAST_DECAY) -> FloatArray:
    """Return the annualised EWMA volatility after the last day, shape (...). NaN where no change is known."""
    return np.asarray(np.sqrt(DAYS_PER_YEAR * ewma_variance(changes, decay)[..., -1]))


def har_volatility(changes: FloatArray, horizon_days: int, decay: float = FAST_DECAY) -> FloatArray:
    r"""Return the forecast volatility of the next ``horizon_days`` from its own day, week and month.

    Corsi's (2009) heterogeneous autoregression, in logarithms, on weeks of seven and months of thirty days,
    fitted to each series by least squares on what is known at its last day:

    .. math:: \ln \bar v_{t+1..t+h} = b_0 + b_1 \ln v_t + b_2 \ln \bar v_{t-6..t} + b_3 \ln \bar v_{t-29..t} + e

    where v is the squared change plus a ten-thousandth of its mean. Rates change in bursts: fitted to squares
    themselves, one burst decides all slopes. The forecast is held within the outcomes it was fitted on (Swanson
    and White's filter), then averaged, in logarithms, with :func:`ewma_variance`: HAR's weight is m / (m + 30)
    for m horizons of history that do not overlap, and 0 below 30 rows.

    It is a typical level rather than a mean one: nearer to most outcomes than EWMA, and further below the
    rare bursts. Where too little is worse than too much, take :func:`ewma_volatility`.

    Parameters
    ----------
    changes : ndarray of shape (..., n_days)
        Daily changes; NaN where unknown.
    horizon_days : int
        At least 1.
    decay : float
        Of the EWMA that it is shrunk to.

    Returns
    -------
    ndarray of shape (...)
        Annualised. NaN where no change is known.
    """
    if horizon_days < 1:
        raise RequestError("horizon_days", horizon_days, "at least 1")
    variance = ewma_variance(changes, decay)[..., -1].reshape(-1)
    n_days = changes.shape[-1]
    square = np.square(np.asarray(changes, dtype=float)).reshape(-1, n_days)
    if n_days >= _MONTH + horizon_days:
        variance = _toward_har(variance, square, horizon_days)
    return np.asarray(np.sqrt(DAYS_PER_YEAR * variance).reshape(changes.shape[:-1]))


def _toward_har(local: FloatArray, square: FloatArray, horizon_days: int) -> FloatArray:
    """Return EWMA variances moved towards HAR's as far as the history of each series allows, (n_series,)."""
    known = ~np.isnan(square)
    size = np.where(known, square, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    moved = size > 0.0
    size[~moved] = 1.0
    scaled = square / size[:, None]
    regressors = _har_regressors(scaled)
    outcome = trailing_sum(scaled, horizon_days, regressors.shape[1])[:, horizon_days:] / horizon_days
    forecast, n_rows = _har_forecast(regressors, np.log(outcome + _QUIET), horizon_days)
    separate = n_rows / horizon_days
    share = np.where(moved & (n_rows >= _LEAST_ROWS), separate / (separate + _HALF_TRUST), 0.0)
    mixed = share * forecast + (1.0 - share) * np.log(local / size + _QUIET)
    return np.where(share > 0.0, np.maximum(np.exp(mixed) - _QUIET, 0.0) * size, local)


def _har_forecast(regressors: FloatArray, outcome: FloatArray, horizon_days: int) -> tuple[FloatArray, IntArray]:
    """Return the fitted logarithm for the last day, and on how many rows it was fitted; each (n_series,)."""
    past = regressors[:, :-horizon_days]
    known_now = ~np.isnan(regressors[:, -1:]).any(axis=2)
    usable = ~np.isnan(outcome) & ~np.isnan(past).any(axis=2) & known_now
    x, y = np.where(usable[..., None], past, 0.0), np.where(usable, outcome, 0.0)
    inverse = np.linalg.pinv(np.einsum("sri,srj->sij", x, x), rcond=_PINV_CUT, hermitian=True)
    slopes = np.einsum("sij,srj,sr->si", inverse, x, y, optimize=True)
    forecast = (np.nan_to_num(regressors[:, -1]) * slopes).sum(axis=1)
    low = np.where(usable, outcome, np.inf).min(axis=1)
    high = np.where(usable, outcome, -np.inf).max(axis=1)
    n_rows = usable.sum(axis=1)
    return np.where(n_rows > 0, np.clip(forecast, low, np.maximum(high, low)), 0.0), n_rows


def _har_regressors(square: FloatArray) -> FloatArray:
    """Return one and the logarithms of day, week and month, up to each day with a month, (n_series, n_out, 4).

    A day that is not known is taken from its week, a week from its month.
    """
    n_out = square.shape[1] - _MONTH + 1
    known = ~np.isnan(square)
    month = masked_mean(square, known, np.ones(_MONTH), n_out)
    week = masked_mean(square, known, np.ones(_WEEK), n_out)
    week = np.where(np.isnan(week), month, week)
    day = np.where(known, square, np.nan)[:, -n_out:]
    day = np.where(np.isnan(day), week, day)
    return np.stack([np.ones_like(day), *(np.log(part + _QUIET) for part in (day, week, month))], axis=2)


def sd_of_mean(sd: FloatArray | float, autocorrelation: FloatArray | float, horizon_days: int) -> FloatArray:
    r"""Return the standard deviation of the mean of ``horizon_days`` days of an AR(1) rate.

    .. math:: s^2 \Bigl[H + 2 \sum_{k=1}^{H-1} (H - k) \varphi^k\Bigr] / H^2

    Parameters
    ----------
    sd : float or ndarray
        Stationary standard deviation of the rate of one day, at least 0 (0.05 = 5 percentage points).
    autocorrelation : float or ndarray
        Of one day with the next, -1 ≤ phi ≤ 1; broadcasts with ``sd``.
    horizon_days : int
        Days in the mean, at least 1.

    Returns
    -------
    ndarray
        In the unit of ``sd``, of the broadcast shape. NaN where either is NaN. It is sd / sqrt(H) at phi 0 and
        sd at phi 1.
    """
    spread, phi = np.asarray(sd, dtype=float), np.asarray(autocorrelation, dtype=float)
    if horizon_days < 1:
        raise RequestError("horizon_days", horizon_days, "at least 1")
    if (spread < 0.0).any():
        raise RequestError("sd", float(spread.min()), "at least 0")
    if (np.abs(phi) > 1.0).any():
        raise RequestError("autocorrelation", float(phi.flat[np.argmax(np.abs(phi))]), "-1 to 1")
    lags = np.arange(1, horizon_days)
    together = horizon_days + 2.0 * (np.power(phi[..., None], lags) @ (horizon_days - lags).astype(float))
    # Exactly alternating days cancel to zero; rounding must not take that below it.
    return np.asarray(spread * np.sqrt(np.maximum(together, 0.0)) / horizon_days)
