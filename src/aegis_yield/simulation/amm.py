r"""What liquidity providers earn: fees on a volume that swings, over liquidity, plus emissions.

.. math:: y_t = 365 \, \phi \, V_t / L_t + 365 \, E_t / L_t

The log of turnover V/L has a level of its own, a slow part, the market's volatility, a fat-tailed day
and bursts that fade within days. Emissions E are a budget per week that liquidity comes to share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aegis_yield.simulation.paths import Paths
from aegis_yield.simulation.pegs import divergence_price, pegged_price
from aegis_yield.simulation.processes import ar1, decaying, hold, log_uniform, logistic
from aegis_yield.simulation.shocks import CommonShocks
from aegis_yield.simulation.streams import Streams
from aegis_yield.utils.typing import BoolArray, FloatArray


@dataclass(frozen=True)
class _PairKind:
    """How a kind of pair trades.

    Attributes
    ----------
    fee_level, fee_spread : float
        Middle of the log fee yield over pools, and the scale of its bell.
    noise : tuple of float
        Range of the daily noise of log turnover.
    burst : float
        Mean size of a burst of volume, in logs.
    volatility_loading : float
        What log turnover gains per unit of log market volatility.
    """

    fee_level: float
    fee_spread: float
    noise: tuple[float, float]
    burst: float
    volatility_loading: float


_VOLATILE = _PairKind(fee_level=-2.05, fee_spread=0.72, noise=(0.16, 0.74), burst=0.7, volatility_loading=0.9)
_CORRELATED = _PairKind(fee_level=-4.2, fee_spread=0.75, noise=(0.12, 0.48), burst=0.7, volatility_loading=0.5)


def volatile_pair(streams: Streams, common: CommonShocks) -> Paths:
    """Simulate pools of two assets that move apart.

    Parameters
    ----------
    streams : Streams
        The strategies' random streams.
    common : CommonShocks
        Volatility brings volume.

    Returns
    -------
    Paths
        ``price`` is the position's value over that of holding both sides.
    """
    (spread,) = streams.traits(1)
    price = divergence_price(streams, common, log_uniform(0.01, 0.05, spread))
    return _pool(streams, common, _VOLATILE, price)


def correlated_pair(streams: Streams, common: CommonShocks) -> Paths:
    """Simulate pools of two assets with the same peg.

    Parameters
    ----------
    streams : Streams
        The strategies' random streams.
    common : CommonShocks
        Volatility brings volume, panics bend the peg.

    Returns
    -------
    Paths
        ``price`` is the position's value at the pegs' redemption value.
    """
    price = pegged_price(streams, common, daily_noise=0.0005, panic_discount=0.012)
    return _pool(streams, common, _CORRELATED, price)


def _pool(streams: Streams, common: CommonShocks, kind: _PairKind, price: FloatArray) -> Paths:
    """Put fees, emissions and liquidity together."""
    level, size, exposure = streams.traits(3)
    fees = np.exp(logistic(kind.fee_level, kind.fee_spread, level) + _log_turnover(streams, common, kind))
    crowd = ar1(0.04 * streams.heavy(common.n_days), 0.985)
    liquidity = log_uniform(3e4, 3e7, size) * np.exp(crowd + 0.5 * exposure * common.log_eth)
    return Paths(
        apy_base=np.where(_is_idle(streams, common), 0.0, np.minimum(fees, 200.0)),
        apy_reward=_emissions(streams, common, fees) * np.exp(-crowd),
        tvl_usd=liquidity,
        price=price,
    )


def _log_turnover(streams: Streams, common: CommonShocks, kind: _PairKind) -> FloatArray:
    """Log of volume over liquidity, relative to the pool's usual one."""
    memory, slow_size, noise = streams.traits(3)
    slow = ar1(log_uniform(0.06, 0.22, slow_size) * streams.normal(common.n_days), 0.95 + 0.045 * memory)
    daily = np.clip(log_uniform(*kind.noise, noise) * streams.heavy(common.n_days), -4.0, 4.0)
    bursts = decaying(kind.burst * streams.jumps(common.n_days, 0.015), 0.6)
    return np.asarray(slow + daily + bursts + kind.volatility_loading * common.log_volatility)


def _is_idle(streams: Streams, common: CommonShocks) -> BoolArray:
    """Days without a trade: common in the few abandoned pools, absent elsewhere."""
    (life,) = streams.traits(1)
    chance = np.where(life < 0.10, 0.75 - 6.0 * life, 0.0)
    return np.asarray(streams.uniform(common.n_days) < chance, dtype=np.bool_)


def _emissions(streams: Streams, common: CommonShocks, fees: FloatArray) -> FloatArray:
    """Reward yield at the usual liquidity: a weekly vote sets it, and four pools in seven have one."""
    chosen, share, swing = streams.traits(3)
    votes = ar1(log_uniform(0.05, 0.20, swing) * streams.normal(common.n_days), 0.97)
    weekly = np.broadcast_to(np.arange(common.n_days) % 7 == 0, votes.shape)
    usual = np.median(fees, axis=1, keepdims=True) * log_uniform(0.3, 6.0, share)
    budget = hold(usual * np.exp(votes), weekly)
    return np.where(chosen > 3.0 / 7.0, np.minimum(budget, 50.0), 0.0)
