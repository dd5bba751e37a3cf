r"""What a money market pays: utilisation wanders, the kinked curve prices it, and the price pulls it back.

.. math:: z_{t+1} = z_t + \kappa (\theta_t - z_t) - \rho \max(z_t - z^*, 0) + \sigma_t \varepsilon_t + J_t,
          \qquad u_t = 1 / (1 + e^{-z_t})

Below the kink utilisation is nearly a random walk with a slow pull; above it borrowers repay fast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aegis_yield.simulation.paths import LendingBook, Paths
from aegis_yield.simulation.pegs import pegged_price
from aegis_yield.simulation.processes import ar1, hold, log_uniform, logistic, sigmoid, trailing_mean
from aegis_yield.simulation.rates import KinkedCurve
from aegis_yield.simulation.shocks import CommonShocks
from aegis_yield.simulation.streams import Streams
from aegis_yield.utils.typing import FloatArray

_KINK_PULL = 0.45
_VOTE_CHANCE = 0.02
_USUAL_CREDIT_RATE = 0.038
_PROGRAMME_SHARE = 0.15


@dataclass(frozen=True)
class _Demand:
    """How the utilisation of each pool moves, in logits, shapes (n_strategies, 1) or (n_strategies, n_days).

    Attributes
    ----------
    target : ndarray
        Where utilisation is drawn to each day.
    pull : ndarray
        Share of the distance covered in a day.
    shocks : ndarray
        Noise and jumps of each day that stay until they are pulled back.
    flicker : ndarray
        Deposits and loans caught half-way by the daily snapshot, gone the next day.
    kink : ndarray
        Logit of the curve's kink.
    """

    target: FloatArray
    pull: FloatArray
    shocks: FloatArray
    flicker: FloatArray
    kink: FloatArray

    def utilization(self) -> FloatArray:
        """Walk through the days; shape (n_strategies, n_days), in (0, 1)."""
        target, shocks = np.ascontiguousarray(self.target.T), np.ascontiguousarray(self.shocks.T)
        pull, kink = self.pull[:, 0], self.kink[:, 0]
        path = np.empty_like(shocks)  # (n_days, n_strategies)
        level = target[0]
        for day, shock in enumerate(shocks):
            above = np.maximum(level - kink, 0.0)
            level = level + pull * (target[day] - level) - _KINK_PULL * above + shock
            path[day] = level
        return sigmoid(np.ascontiguousarray(path.T) + self.flicker)


def stable_lending(streams: Streams, common: CommonShocks) -> Paths:
    """Simulate pools of stablecoins: heavily borrowed, near the kink, moved by the appetite for leverage.

    Parameters
    ----------
    streams : Streams
        The strategies' random streams.
    common : CommonShocks
        Appetite and panics.

    Returns
    -------
    Paths
        With the pool's book; ``apy_base`` is the curve's supply rate.
    """
    kink, level, slope, steep, fee, pull, noise = streams.traits(7)
    kink = 0.80 + 0.12 * np.sqrt(kink)
    gap = logistic(0.30, 0.20, level)  # logits between the usual utilisation and the kink
    size = log_uniform(0.045, 0.15, noise)
    demand = _Demand(
        target=_logit(kink) - gap + 0.45 * common.appetite[None, :] + _habit(streams, common),
        pull=log_uniform(0.02, 0.08, pull),
        shocks=size * _restless(streams, common)
        + 0.6 * streams.jumps(common.n_days, 0.010)
        - 0.4 * streams.jumps(common.n_days, 0.010),
        flicker=0.7 * size * streams.heavy(common.n_days),
        kink=_logit(kink),
    )
    curve = KinkedCurve(
        base=np.zeros_like(kink),
        slope_below=_governed(streams, common, log_uniform(0.048, 0.095, slope)),
        slope_above=log_uniform(0.25, 0.70, steep),
        kink=kink,
        reserve=np.round(0.10 + 0.10 * np.maximum(fee - 0.5, 0.0), 2),
    )
    price = pegged_price(streams, common, daily_noise=0.0006, panic_discount=0.012)
    return _pool(streams, common, demand, curve, price)


def volatile_lending(streams: Streams, common: CommonShocks) -> Paths:
    """Simulate pools of volatile collateral: deposited to borrow against, hardly borrowed, rates near zero.

    Parameters
    ----------
    streams : Streams
        The strategies' random streams.
    common : CommonShocks
        Appetite and volatility.

    Returns
    -------
    Paths
        With the pool's book; ``apy_base`` is the curve's supply rate.
    """
    kink, level, slope, steep, fee, pull, noise = streams.traits(7)
    kink = 0.45 + 0.35 * kink
    size = log_uniform(0.012, 0.075, noise)
    demand = _Demand(
        target=logistic(-2.6, 0.95, level) + 0.12 * common.appetite[None, :] + _habit(streams, common),
        pull=log_uniform(0.015, 0.07, pull),
        shocks=size * _restless(streams, common)
        + 0.6 * streams.jumps(common.n_days, 0.004)
        - 0.4 * streams.jumps(common.n_days, 0.004),
        flicker=size * streams.heavy(common.n_days),
        kink=_logit(kink),
    )
    curve = KinkedCurve(
        base=np.zeros_like(kink),
        slope_below=_governed(streams, common, log_uniform(0.03, 0.09, slope)),
        slope_above=log_uniform(0.8, 3.0, steep),
        kink=kink,
        reserve=np.round(0.15 + 0.20 * fee, 2),
    )
    price = np.ones((len(streams), common.n_days))  # its own numeraire
    return _pool(streams, common, demand, curve, price)


def _pool(streams: Streams, common: CommonShocks, demand: _Demand, curve: KinkedCurve, price: FloatArray) -> Paths:
    """Put demand and curve together, and let the deposits wander."""
    utilization = demand.utilization()
    size, exposure = streams.traits(2)
    wander = ar1(0.025 * streams.heavy(common.n_days), 0.995)
    supply_usd = log_uniform(2e6, 2e9, size) * np.exp(wander + 0.4 * exposure * common.log_eth)
    book = LendingBook(curve.borrow_rate(utilization), utilization, supply_usd)
    return Paths(
        apy_base=curve.supply_rate(utilization),
        apy_reward=_programme(streams, common),
        tvl_usd=supply_usd - book.borrow_usd,  # what is not lent out, as data providers count it
        price=price,
        book=book,
    )


def _habit(streams: Streams, common: CommonShocks) -> FloatArray:
    """Who uses a pool changes over months: a slow wander of its usual utilisation, in logits."""
    return ar1(0.045 * streams.normal(common.n_days), 0.994)


def _restless(streams: Streams, common: CommonShocks) -> FloatArray:
    """Fat-tailed unit noise whose size has quiet and busy months and follows market volatility."""
    busy = ar1(0.18 * streams.normal(common.n_days), 0.95)
    return np.asarray(streams.heavy(common.n_days) * np.exp(busy - 0.15 + 0.5 * common.log_volatility))


def _governed(streams: Streams, common: CommonShocks, first: FloatArray) -> FloatArray:
    """Let voters move a curve parameter after the market's cost of credit, late and in steps."""
    votes = streams.uniform(common.n_days) < _VOTE_CHANCE
    market = trailing_mean(np.log(common.credit_rate / _USUAL_CREDIT_RATE)[None, :], 14)
    taste = ar1(0.012 * streams.normal(common.n_days), 0.995)
    return first * np.exp(np.clip(hold(market + taste, votes), -1.0, 1.0))


def _programme(streams: Streams, common: CommonShocks) -> FloatArray:
    """Incentives of the few pools that run a programme: seasons on and off, a budget set week by week."""
    chosen, size = streams.traits(2)
    season = ar1(streams.normal(common.n_days), 0.99) / 7.0
    weekly = np.broadcast_to(np.arange(common.n_days) % 7 == 0, season.shape)
    budget = hold(log_uniform(0.003, 0.03, size) * np.exp(0.5 * season), weekly)
    is_on = (chosen > 1.0 - _PROGRAMME_SHARE) & (hold(season, weekly) > 0.0)
    return np.where(is_on, budget, 0.0)


def _logit(share: FloatArray) -> FloatArray:
    return np.asarray(np.log(share / (1.0 - share)), dtype=np.float64)
