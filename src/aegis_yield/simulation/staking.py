r"""What validators earn, and when it is reported: a diluted issuance plus fees, published in steps.

.. math:: y_t = y_0 \sqrt{S_0 / S_t} + m_t

where S is the amount staked and m what priority fees add. The protocol reports a mean of the last
days every few days, so the published rate stands still and then steps.
"""

from __future__ import annotations

import numpy as np

from aegis_yield.simulation.paths import Paths
from aegis_yield.simulation.pegs import pegged_price
from aegis_yield.simulation.processes import ar1, hold, log_uniform, trailing_mean
from aegis_yield.simulation.shocks import CommonShocks
from aegis_yield.simulation.streams import Streams
from aegis_yield.utils.typing import FloatArray

_REPORT_DAYS = np.array([1, 2, 1, 3, 7])
_MEAN_DAYS = np.array([3, 2, 1, 3, 7])


def staking(streams: Streams, common: CommonShocks) -> Paths:
    """Simulate liquid staking tokens.

    Parameters
    ----------
    streams : Streams
        The strategies' random streams.
    common : CommonShocks
        Gas and volatility raise the fees of a day; panics open a discount on the token.

    Returns
    -------
    Paths
        ``price`` is the token's market price over its redemption value.
    """
    first, growth, fees, kind, phase, size = streams.traits(6)
    issuance = log_uniform(0.025, 0.075, first) / np.sqrt(_staked(streams, common, growth))
    earned = issuance + _fees(streams, common, log_uniform(0.0030, 0.0080, fees))
    reported = _reported(earned, kind, phase)
    wander = ar1(0.012 * streams.heavy(common.n_days), 0.998)
    return Paths(
        apy_base=reported,
        apy_reward=np.zeros_like(reported),
        tvl_usd=log_uniform(1e7, 1e10, size) * np.exp(wander + common.log_eth),
        price=pegged_price(streams, common, daily_noise=0.0007, panic_discount=0.02),
    )


def _staked(streams: Streams, common: CommonShocks, growth: FloatArray) -> FloatArray:
    """Amount staked over that of the first day: it grows towards a ceiling and wobbles."""
    years = np.arange(common.n_days) / 365.0
    ceiling = log_uniform(1.2, 3.4, growth)
    trend = ceiling - (ceiling - 1.0) * np.exp(-0.6 * years)
    wobble = ar1(0.006 * streams.normal(common.n_days), 0.99)
    return np.asarray(trend * np.exp(wobble), dtype=np.float64)


def _fees(streams: Streams, common: CommonShocks, typical: FloatArray) -> FloatArray:
    """Fees of a day, as a yield: they follow gas and volatility, and a few blocks win a lottery."""
    crowd = 0.35 * common.log_gas + 0.5 * common.log_volatility
    own = 0.24 * streams.heavy(common.n_days) + ar1(0.07 * streams.normal(common.n_days), 0.98)
    lottery = 2.5 * streams.jumps(common.n_days, 0.006)
    return np.asarray(typical * (np.exp(crowd + np.clip(own, -2.0, 2.0)) + lottery), dtype=np.float64)


def _reported(earned: FloatArray, kind: FloatArray, phase: FloatArray) -> FloatArray:
    """Publish a mean of the last days every few days, as each protocol's oracle does."""
    chosen = np.minimum((kind * len(_REPORT_DAYS)).astype(int), len(_REPORT_DAYS) - 1)
    means = {int(window): trailing_mean(earned, int(window)) for window in np.unique(_MEAN_DAYS)}
    smooth = np.select([_MEAN_DAYS[chosen] == window for window in means], list(means.values()))
    interval = _REPORT_DAYS[chosen]
    due = (np.arange(earned.shape[1]) + (phase * interval).astype(int)) % interval == 0
    return hold(smooth, due)
