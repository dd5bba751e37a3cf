r"""Risk measures of weighted scenarios: VaR, CVaR, expected loss, probability of a significant loss.

A loss is a positive number (0.3 = 30 % lost, or USD); a gain is a negative loss. ``level`` 0.95 speaks of
the worst 5 %. Scenarios lie along the first axis; every further axis is a column with a result of its own.

.. math::
    \text{VaR}_a = \min\{x : P(L \le x) \ge a\} \qquad
    \text{CVaR}_a = \text{VaR}_a + \frac{E[(L - \text{VaR}_a)^+]}{1 - a}

The second is the minimum formula of Rockafellar and Uryasev (2000; 2002 for distributions with atoms): where
the quantile falls inside the probability of one scenario, that scenario is split, so that CVaR is the mean of
exactly the worst 1 - a. A rare event shows in CVaR long before it shows in VaR: an exploit of probability
p < 1 - a and loss L has VaR 0 and CVaR p L / (1 - a).

Numbers must be finite: a NaN is refused, because a loss that is not known is not a loss of zero.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.utils.typing import FloatArray

SIGNIFICANT_LOSS: Final = 0.01
"""Loss beyond which a loss is called significant: 1 % of the principal, as in Credora's PSL."""

_SUM_TOLERANCE: Final = 1e-9
_LEVEL_TOLERANCE: Final = 1e-12  # 19 probabilities of 1/20 need not add up to 0.95 in binary


def value_at_risk(losses: FloatArray, level: float, probability: FloatArray | None = None) -> FloatArray:
    """Return the least loss that is not exceeded with probability ``level``.

    Parameters
    ----------
    losses : ndarray of shape (n_scenarios, ...)
        Losses; finite.
    level : float
        Share of outcomes that are no worse, 0 ≤ level < 1.
    probability : ndarray of shape (n_scenarios,), optional
        Sums to 1. All scenarios are equally likely when left out.

    Returns
    -------
    ndarray of shape (...)
        In the unit of ``losses``; always one of the losses (the lower quantile). At level 0, the least
        loss that can happen.

    Raises
    ------
    RequestError
        If a loss is not finite, or ``level`` or ``probability`` is not as above.
    """
    values = _checked_losses(losses)
    return _quantile(values, _checked_level(level), checked_probability(len(values), probability))


def conditional_value_at_risk(losses: FloatArray, level: float, probability: FloatArray | None = None) -> FloatArray:
    """Return the mean loss of the worst ``1 - level`` of outcomes (expected shortfall).

    Parameters
    ----------
    losses : ndarray of shape (n_scenarios, ...)
        Losses; finite.
    level : float
        Share of outcomes left out, 0 ≤ level < 1. At level 0 the result is the expected loss.
    probability : ndarray of shape (n_scenarios,), optional
        Sums to 1. All scenarios are equally likely when left out.

    Returns
    -------
    ndarray of shape (...)
        In the unit of ``losses``; never below :func:`value_at_risk`.

    Raises
    ------
    RequestError
        If a loss is not finite, or ``level`` or ``probability`` is not as above.
    """
    values = _checked_losses(losses)
    weight = checked_probability(len(values), probability)
    quantile = _quantile(values, _checked_level(level), weight)
    beyond = np.maximum(values - quantile, 0.0)
    return np.asarray(quantile + np.tensordot(weight, beyond, axes=1) / (1.0 - level))


def expected_loss(losses: FloatArray, probability: FloatArray | None = None) -> FloatArray:
    """Return the mean loss, shape (...), of ``losses`` of shape (n_scenarios, ...). NaN is refused."""
    values = _checked_losses(losses)
    return np.asarray(np.tensordot(checked_probability(len(values), probability), values, axes=1))


def loss_probability(
    losses: FloatArray, threshold: float = SIGNIFICANT_LOSS, probability: FloatArray | None = None
) -> FloatArray:
    """Return the probability of a loss above ``threshold`` (PSL, probability of significant loss).

    Parameters
    ----------
    losses : ndarray of shape (n_scenarios, ...)
        Losses; finite.
    threshold : float
        In the unit of ``losses``. A loss of exactly this size does not count.
    probability : ndarray of shape (n_scenarios,), optional
        Sums to 1. All scenarios are equally likely when left out.

    Returns
    -------
    ndarray of shape (...)
        Probabilities over the horizon of the scenarios, not per year.
    """
    values = _checked_losses(losses)
    weight = checked_probability(len(values), probability)
    return np.asarray(np.minimum(np.tensordot(weight, (values > threshold).astype(float), axes=1), 1.0))


def tail_weights(losses: FloatArray, level: float, probability: FloatArray | None = None) -> FloatArray:
    """Return the probability of each scenario given that the outcome is among the worst ``1 - level``.

    Scenarios that tie at the quantile share what is left of the tail in proportion to their probability.

    Parameters
    ----------
    losses : ndarray of shape (n_scenarios,)
        Losses; finite.
    level : float
        0 ≤ level < 1.
    probability : ndarray of shape (n_scenarios,), optional
        Sums to 1. All scenarios are equally likely when left out.

    Returns
    -------
    ndarray of shape (n_scenarios,)
        Sums to 1; the losses weighted by it sum to :func:`conditional_value_at_risk`.
    """
    values = _checked_losses(losses)
    if values.ndim != 1:
        raise RequestError("losses", values.shape, "one loss a scenario, shape (n_scenarios,)")
    weight = checked_probability(len(values), probability)
    quantile = _quantile(values, _checked_level(level), weight)
    beyond = np.where(values > quantile, weight, 0.0) / (1.0 - level)
    tied = np.where(values == quantile, weight, 0.0)
    tail = beyond + tied * (max(1.0 - beyond.sum(), 0.0) / tied.sum())
    return np.asarray(tail / tail.sum())


def marginal_cvar(
    losses: FloatArray, positions: FloatArray, level: float, probability: FloatArray | None = None
) -> FloatArray:
    """Return how much CVaR grows with one more unit of each position.

    The mean loss of each strategy over the portfolio's own tail: the gradient of CVaR where it has one, and a
    subgradient where scenarios tie at the quantile (Tasche 1999; Rockafellar, Uryasev and Zabarankin 2006).

    Parameters
    ----------
    losses : ndarray of shape (n_scenarios, n_strategies)
        Loss per unit of each strategy; finite.
    positions : ndarray of shape (n_strategies,)
        Weights (shares) or amounts (USD); finite.
    level : float
        0 ≤ level < 1.
    probability : ndarray of shape (n_scenarios,), optional
        Sums to 1. All scenarios are equally likely when left out.

    Returns
    -------
    ndarray of shape (n_strategies,)
        In the unit of ``losses``.
    """
    values = _checked_losses(losses)
    held = np.asarray(positions, dtype=float)
    if values.ndim != 2 or held.shape != values.shape[1:] or not np.isfinite(held).all():
        raise RequestError("positions", held.shape, f"one finite number a column of losses {values.shape}")
    return np.asarray(tail_weights(values @ held, level, probability) @ values)


def cvar_contributions(
    losses: FloatArray, positions: FloatArray, level: float, probability: FloatArray | None = None
) -> FloatArray:
    """Return each position's part of the portfolio's CVaR, shape (n_strategies,); they sum to it (Euler).

    Parameters as in :func:`marginal_cvar`. A negative part is that of a position that hedges the tail.
    """
    return np.asarray(np.asarray(positions, dtype=float) * marginal_cvar(losses, positions, level, probability))


def checked_probability(n_scenarios: int, probability: FloatArray | None) -> FloatArray:
    """Return probabilities of shape (n_scenarios,), equal ones when none are given.

    Raises
    ------
    RequestError
        If they are not ``n_scenarios`` numbers, at least 0, that sum to 1 (to 1e-9).
    """
    if probability is None:
        return np.full(n_scenarios, 1.0 / n_scenarios)
    given = np.asarray(probability, dtype=float)
    if given.shape != (n_scenarios,):
        raise RequestError("probability", given.shape, f"one number a scenario, shape ({n_scenarios},)")
    total = float(given.sum())
    if not (given >= 0.0).all() or not abs(total - 1.0) <= _SUM_TOLERANCE:
        raise RequestError("probability", total, "numbers, at least 0, that sum to 1")
    return given


def _checked_level(level: float) -> float:
    if not 0.0 <= level < 1.0:
        raise RequestError("level", level, "a share of outcomes, 0 ≤ level < 1 (0.95 is the worst 5 %)")
    return level


def _checked_losses(losses: FloatArray) -> FloatArray:
    values = np.asarray(losses, dtype=float)
    if values.ndim == 0 or len(values) == 0:
        raise RequestError("losses", values.shape, "at least one scenario along the first axis")
    if not np.isfinite(values).all():
        raise RequestError("losses", float(values[~np.isfinite(values)][0]), "finite numbers")
    return values


def _quantile(losses: FloatArray, level: float, probability: FloatArray) -> FloatArray:
    """Return the lower quantile of each column, shape (...)."""
    columns = np.ascontiguousarray(losses.reshape(len(losses), -1).T)
    order = np.argsort(columns, axis=1)
    reached = np.cumsum(probability[order], axis=1)
    reached /= reached[:, -1:]
    # What cannot happen is no quantile, not even at level 0.
    first = np.argmax((reached >= level - _LEVEL_TOLERANCE) & (reached > 0.0), axis=1)
    at = np.take_along_axis(order, first[:, None], axis=1)
    return np.asarray(np.take_along_axis(columns, at, axis=1)[:, 0].reshape(losses.shape[1:]))
