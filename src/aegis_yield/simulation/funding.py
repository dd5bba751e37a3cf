r"""What a long-spot short-perpetual position is paid: funding with regimes, a clamp and squeezes.

Per event of eight hours, with premium p and interest part i,

.. math:: f = p + \mathrm{clip}(i - p, -c, c)

so funding sits exactly at i while the premium is small and turns negative when the crowd is short.
"""

from __future__ import annotations

import numpy as np

from aegis_yield.simulation.paths import Paths
from aegis_yield.simulation.pegs import pegged_price
from aegis_yield.simulation.processes import ar1, decaying, hold, log_uniform, trailing_mean
from aegis_yield.simulation.shocks import CLAMP_PER_EVENT, INTEREST_PER_EVENT, CommonShocks
from aegis_yield.simulation.streams import Streams
from aegis_yield.utils.typing import FloatArray

_EVENTS_PER_DAY = 3
_CAP_PER_EVENT = 0.02


def funding_per_event(premium: FloatArray, interest: FloatArray | float) -> FloatArray:
    """Payment of longs to shorts at one funding event, as a fraction of the position.

    Parameters
    ----------
    premium : ndarray
        Mean premium of the perpetual over spot since the last event.
    interest : float or ndarray
        The exchange's interest part, broadcast against `premium`.

    Returns
    -------
    ndarray
        In [-0.02, 0.02], the exchange's cap.
    """
    pulled = premium + np.clip(interest - premium, -CLAMP_PER_EVENT, CLAMP_PER_EVENT)
    return np.asarray(np.clip(pulled, -_CAP_PER_EVENT, _CAP_PER_EVENT), dtype=np.float64)


def perpetual_funding(streams: Streams, common: CommonShocks) -> Paths:
    """Simulate long spot and short perpetual on an exchange, gross of costs.

    Parameters
    ----------
    streams : Streams
        The strategies' random streams.
    common : CommonShocks
        The premium that all coins share.

    Returns
    -------
    Paths
        ``apy_base`` is a day's funding times 365; ``tvl_usd`` the open interest.
    """
    share, mood, noise, venue, size = streams.traits(5)
    # A few exchanges charge no interest part, a few charge more than the usual one.
    interest = INTEREST_PER_EVENT * np.where(venue < 0.15, 0.0, np.where(venue > 0.92, 3.0, 1.0))
    level = _premium(streams, common, share, mood, noise)
    paid = np.zeros_like(level)
    for _ in range(_EVENTS_PER_DAY):
        # Sellers hit the bid in bursts: a premium is dented for hours more often than it is bid up.
        dent = streams.jumps(common.n_days, 1.0) - 0.7 * streams.normal(common.n_days)
        event_noise = -log_uniform(0.00005, 0.00015, noise) * dent
        paid += funding_per_event(level + event_noise, interest)
    wander = ar1(0.03 * streams.heavy(common.n_days), 0.99)
    open_interest = log_uniform(2e7, 8e9, size) * np.exp(wander + 0.6 * common.log_eth + 0.2 * common.appetite)
    return Paths(
        apy_base=365.0 * paid,
        apy_reward=np.zeros_like(paid),
        tvl_usd=open_interest,
        # Spot and perpetual converge at every funding event; between them the basis is a few basis points.
        price=pegged_price(streams, common, daily_noise=0.0005, panic_discount=0.004),
    )


def _premium(
    streams: Streams, common: CommonShocks, share: FloatArray, mood: FloatArray, noise: FloatArray
) -> FloatArray:
    """Premium of each day: the crowd's, a mood of the coin's own, a day's noise and squeezes that fade."""
    long_squeeze = decaying(streams.jumps(common.n_days, 0.004), 0.55)
    short_squeeze = decaying(streams.jumps(common.n_days, 0.007), 0.60)
    own_mood = ar1(log_uniform(0.00003, 0.00008, mood) * streams.normal(common.n_days), 0.975)
    return np.asarray(
        (0.5 + share) * common.premium[None, :]
        + own_mood
        + log_uniform(0.00005, 0.00020, noise) * streams.heavy(common.n_days)
        + log_uniform(0.0005, 0.0022, noise) * (long_squeeze - short_squeeze)
    )


def basis_token(streams: Streams, common: CommonShocks) -> Paths:
    """Simulate a token whose holders share the funding of a large hedged book, paid out week by week.

    Parameters
    ----------
    streams : Streams
        The strategies' random streams.
    common : CommonShocks
        The funding of the large coins, which the book earns.

    Returns
    -------
    Paths
        ``apy_base`` is never negative: a reserve fund bears the bad weeks.
    """
    hedged, staked_share, phase, size = streams.traits(4)
    book = 0.030 + (0.30 + 0.3 * hedged) * common.funding[None, :] + 0.012 * streams.normal(common.n_days)
    staked = 0.60 + 0.25 * staked_share + ar1(0.004 * streams.normal(common.n_days), 0.985)
    week = trailing_mean(np.maximum(book, 0.0), 7) / np.clip(staked, 0.4, 1.0)
    due = (np.arange(common.n_days) + (7 * phase).astype(int)) % 7 == 0
    drift = 1.0 + 0.010 * streams.normal(common.n_days)
    wander = ar1(0.015 * streams.heavy(common.n_days), 0.995)
    return Paths(
        apy_base=hold(week, due) * np.maximum(drift, 0.0),
        apy_reward=np.zeros_like(week),
        tvl_usd=log_uniform(2e7, 5e9, size) * np.exp(wander + 0.3 * common.appetite),
        price=pegged_price(streams, common, daily_noise=0.0006, panic_discount=0.015),
    )
