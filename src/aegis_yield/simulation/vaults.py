"""What an aggregator passes on: a mixture of credit, funding and incentives, smoothed by its harvests."""

from __future__ import annotations

import numpy as np

from aegis_yield.simulation.paths import Paths
from aegis_yield.simulation.pegs import pegged_price
from aegis_yield.simulation.processes import ar1, decaying, log_uniform, trailing_mean
from aegis_yield.simulation.shocks import CommonShocks
from aegis_yield.simulation.streams import Streams

_HARVEST_DAYS = 10


def vault(streams: Streams, common: CommonShocks) -> Paths:
    """Simulate vaults over several sources.

    Parameters
    ----------
    streams : Streams
        The strategies' random streams.
    common : CommonShocks
        Credit, funding and volatility are what the sources earn.

    Returns
    -------
    Paths
        ``apy_base`` mixes a smoothed harvest with what the sources pay today.
    """
    credit_share, funding_share, incentive, noise, fee, size = streams.traits(6)
    swing = ar1(0.10 * streams.normal(common.n_days), 0.98)
    gains = decaying(0.08 * streams.jumps(common.n_days, 0.02), 0.7)  # liquidations, exit fees, one-off income
    sources = (
        (0.4 + 0.6 * credit_share) * common.credit_rate[None, :]
        + 0.25 * funding_share * np.maximum(common.funding, 0.0)[None, :]
        + log_uniform(0.02, 0.13, incentive) * np.exp(swing + 0.3 * common.log_volatility)
        + gains
    )
    today = sources * np.exp(np.clip(log_uniform(0.08, 0.5, noise) * streams.heavy(common.n_days), -2.0, 2.0))
    net = (0.35 * today + 0.65 * trailing_mean(today, _HARVEST_DAYS)) * (1.0 - 0.05 - 0.15 * fee)
    wander = ar1(0.03 * streams.heavy(common.n_days), 0.99)
    return Paths(
        apy_base=net,
        apy_reward=np.zeros_like(net),
        tvl_usd=log_uniform(1e6, 5e8, size) * np.exp(wander + 0.2 * common.appetite),
        price=pegged_price(streams, common, daily_noise=0.0004, panic_discount=0.010),
    )
