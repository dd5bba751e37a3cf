"""What a fixed-term claim pays to maturity: a guess of the floating rate, jumpier as the end nears."""

from __future__ import annotations

import numpy as np

from aegis_yield.simulation.paths import Paths
from aegis_yield.simulation.pegs import pegged_price
from aegis_yield.simulation.processes import ar1, decaying, log_uniform, trailing_mean
from aegis_yield.simulation.shocks import CommonShocks
from aegis_yield.simulation.streams import Streams
from aegis_yield.utils.typing import FloatArray

_MIN_DAYS_LEFT = 7.0


def days_to_maturity(term_days: FloatArray, phase: FloatArray, n_days: int) -> FloatArray:
    """Days left of a position that is rolled into the next term at every maturity.

    Parameters
    ----------
    term_days : ndarray of shape (n_strategies, 1)
        Length of a term.
    phase : ndarray of shape (n_strategies, 1)
        Share of the first term that is over on the first day, in [0, 1).
    n_days : int
        Number of days.

    Returns
    -------
    ndarray of shape (n_strategies, n_days)
        At least 7: a claim closer to its end is rolled early.
    """
    elapsed = (np.arange(n_days) + phase * term_days) % term_days
    return np.asarray(np.maximum(term_days - elapsed, _MIN_DAYS_LEFT), dtype=np.float64)


def fixed_term(streams: Streams, common: CommonShocks) -> Paths:
    """Simulate principal tokens, rolled from term to term.

    Parameters
    ----------
    streams : Streams
        The strategies' random streams.
    common : CommonShocks
        The floating rates that the term rate guesses at.

    Returns
    -------
    Paths
        ``apy_base`` is the rate to maturity; ``price`` the underlying's peg.
    """
    term, phase, hype, noise, size = streams.traits(5)
    left = days_to_maturity(log_uniform(90.0, 200.0, term), phase, common.n_days)
    floating = trailing_mean(0.5 * (common.credit_rate + np.maximum(common.funding, 0.0))[None, :], 14)
    mood = ar1(0.045 * streams.heavy(common.n_days), 0.96)
    guess = (0.02 + 0.5 * floating) * log_uniform(0.55, 5.0, hype) * np.exp(mood)
    # A price that is off by a fixed amount is a rate that is off by more when less time is left.
    trades = log_uniform(0.0002, 0.0007, noise) * streams.heavy(common.n_days)
    scares = decaying(0.0025 * streams.jumps(common.n_days, 0.01), 0.6)
    rate = guess + ar1(trades, 0.25) * 365.0 / left + scares * 365.0 / left
    wander = ar1(0.03 * streams.heavy(common.n_days), 0.985)
    return Paths(
        apy_base=np.maximum(rate, 0.001),
        apy_reward=np.zeros_like(rate),
        tvl_usd=log_uniform(1e6, 4e8, size) * np.exp(wander),
        price=pegged_price(streams, common, daily_noise=0.0006, panic_discount=0.015),
    )
