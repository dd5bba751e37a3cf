"""The few recursions that every mechanism is made of, each over all strategies of a block at once."""

from __future__ import annotations

import numpy as np

from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray


def ar1(noise: FloatArray, persistence: FloatArray | float) -> FloatArray:
    r"""Autoregression :math:`x_t = \phi x_{t-1} + \varepsilon_t` that starts in its steady state.

    Parameters
    ----------
    noise : ndarray of shape (n_strategies, n_days)
        The innovations.
    persistence : float or ndarray of shape (n_strategies, 1)
        :math:`\phi`, in [0, 1).

    Returns
    -------
    ndarray of shape (n_strategies, n_days)
    """
    steady = np.array(noise)
    steady[:, 0] /= np.sqrt(1.0 - _per_strategy(persistence, len(noise)) ** 2)
    return decaying(steady, persistence)


def decaying(jumps: FloatArray, persistence: FloatArray | float) -> FloatArray:
    """Jumps that fade geometrically: like `ar1`, but nothing has happened before the first day.

    Parameters
    ----------
    jumps : ndarray of shape (n_strategies, n_days)
        Jump on each day, 0 on most.
    persistence : float or ndarray of shape (n_strategies, 1)
        Share of a jump that is left a day later, in [0, 1).

    Returns
    -------
    ndarray of shape (n_strategies, n_days)
    """
    phi = _per_strategy(persistence, len(jumps))
    path = np.array(jumps.T, order="C")  # (n_days, n_strategies): the loop then walks contiguous rows
    for day in range(1, len(path)):
        path[day] += phi * path[day - 1]
    return np.ascontiguousarray(path.T)


def trailing_mean(values: FloatArray, window: int) -> FloatArray:
    """Mean of the last `window` days, of fewer at the start.

    Parameters
    ----------
    values : ndarray of shape (n_strategies, n_days)
        One value a day.
    window : int
        Days, 1 or more.

    Returns
    -------
    ndarray of shape (n_strategies, n_days)
    """
    n_days = values.shape[1]
    sums = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    last = np.arange(1, n_days + 1)
    first = np.maximum(last - window, 0)
    return np.asarray((sums[:, last] - sums[:, first]) / (last - first), dtype=np.float64)


def held_days(renewed: BoolArray) -> IntArray:
    """Day of the latest renewal at each day; day 0 counts as renewed.

    Parameters
    ----------
    renewed : ndarray of bool, shape (n_strategies, n_days)
        Days on which a fresh value is published.

    Returns
    -------
    ndarray of int, shape (n_strategies, n_days)
        Index of the day whose value is still being shown.
    """
    days = np.arange(renewed.shape[1])
    return np.asarray(np.maximum.accumulate(np.where(renewed, days, 0), axis=1), dtype=np.int64)


def hold(values: FloatArray, renewed: BoolArray) -> FloatArray:
    """Values as published: each is shown until the next renewal.

    Parameters
    ----------
    values, renewed : ndarray of shape (n_strategies, n_days)
        The true value of each day, and whether it is published that day.

    Returns
    -------
    ndarray of shape (n_strategies, n_days)
    """
    return np.take_along_axis(values, held_days(renewed), axis=1)


def log_uniform(low: float, high: float, trait: FloatArray) -> FloatArray:
    """Map uniform numbers in (0, 1) to between `low` and `high`, evenly in the logarithm."""
    return np.asarray(low * (high / low) ** trait, dtype=np.float64)


def logistic(centre: float, scale: float, trait: FloatArray) -> FloatArray:
    """Map uniform numbers in (0, 1) to a bell around `centre`, of standard deviation 1.8 `scale`."""
    return np.asarray(centre + scale * np.log(trait / (1.0 - trait)), dtype=np.float64)


def sigmoid(values: FloatArray) -> FloatArray:
    """Apply the logistic function, safely for large arguments of either sign."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)), dtype=np.float64)


def _per_strategy(parameter: FloatArray | float, n_strategies: int) -> FloatArray:
    """One value of the parameter for each strategy, shape (n_strategies,)."""
    return np.broadcast_to(np.asarray(parameter, dtype=np.float64).reshape(-1), (n_strategies,))
