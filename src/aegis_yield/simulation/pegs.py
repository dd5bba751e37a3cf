"""What a unit of principal is worth in its numeraire: at peg, a little off it, or well off it in a panic."""

from __future__ import annotations

import numpy as np

from aegis_yield.simulation.processes import ar1, decaying
from aegis_yield.simulation.shocks import CommonShocks
from aegis_yield.simulation.streams import Streams
from aegis_yield.utils.typing import FloatArray


def pegged_price(streams: Streams, common: CommonShocks, daily_noise: float, panic_discount: float) -> FloatArray:
    """Price of an asset that is redeemable for 1.0, but not at once.

    Parameters
    ----------
    streams : Streams
        The strategies' random streams.
    common : CommonShocks
        Panics hit every peg on the same days, each by its own measure.
    daily_noise : float
        Standard deviation of the daily deviation, as a fraction of the peg.
    panic_discount : float
        Discount at a stress of 1 for the median strategy, as a fraction of the peg.

    Returns
    -------
    ndarray of shape (n_strategies, n_days)
        Price in (0, 1.05]; 1.0 is at peg.
    """
    (exposure,) = streams.traits(1)
    noise = ar1(daily_noise * 0.6 * streams.normal(common.n_days), 0.8)
    own_scares = decaying(streams.jumps(common.n_days, 0.0008), 0.85)
    discount = panic_discount * (2.0 * exposure * common.stress + own_scares)
    return np.asarray(np.exp(np.minimum(noise, 0.04) - np.minimum(discount, 1.0)), dtype=np.float64)


def divergence_price(streams: Streams, common: CommonShocks, daily_move: FloatArray) -> FloatArray:
    r"""Value of a two-sided pool position over that of holding both sides: :math:`2\sqrt r / (1 + r)`.

    Parameters
    ----------
    streams : Streams
        The strategies' random streams.
    common : CommonShocks
        Volatility moves the relative price r of the two sides further.
    daily_move : ndarray of shape (n_strategies, 1)
        Usual daily standard deviation of log r.

    Returns
    -------
    ndarray of shape (n_strategies, n_days)
        In (0, 1]; 1.0 while the two sides keep their relative price.
    """
    moves = daily_move * np.exp(common.log_volatility) * streams.normal(common.n_days)
    log_ratio = ar1(moves, 0.985)
    # 2 sqrt(r) / (1 + r) written for log r, which cannot overflow.
    return np.asarray(1.0 / np.cosh(0.5 * log_ratio), dtype=np.float64)
