"""What happens to everyone at once: prices, volatility, appetite, gas, policy rates, panics, funding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aegis_yield.simulation.streams import Purpose
from aegis_yield.utils.typing import FloatArray

INTEREST_PER_EVENT = 0.0001
"""Interest part of perpetual funding, per 8 hours: 0.1095 a year, where funding sits in quiet times."""
CLAMP_PER_EVENT = 0.0005
"""How far an exchange pulls the premium back towards the interest part, per 8 hours."""
EVENTS_PER_YEAR = 3 * 365

MEAN_VOLATILITY = 0.033
"""Typical daily standard deviation of the log price of ETH."""

# Prices are pulled back to their long-run growth so slowly that a month does not show it, a decade does.
_PRICE_MEMORY = 0.998

# When the crowd is short, indifferent, long: mean premium per 8 hours, and the chance to move on in a day.
_PREMIUM_BY_REGIME = np.array([-0.00042, -0.00018, 0.00098])
_LEAVING_CHANCE = np.array([0.05, 0.018, 0.025])


@dataclass(frozen=True)
class CommonShocks:
    """Paths shared by all strategies, each of shape (n_days,).

    Attributes
    ----------
    log_eth, log_btc : ndarray
        Log price relative to the first day.
    log_volatility : ndarray
        Log of the day's ETH volatility over its usual level.
    appetite : ndarray
        Appetite for risk and leverage; 0 on average, standard deviation about 1.
    log_gas : ndarray
        Log of the gas price over its trend.
    fed_funds : ndarray
        Policy rate, decimal fraction per year; moves in quarter points.
    stress : ndarray
        Panic about pegs: 0 in quiet times, above 1 in a bad one.
    premium : ndarray
        Premium of perpetuals over spot, common to all coins, per 8 hours.
    """

    log_eth: FloatArray
    log_btc: FloatArray
    log_volatility: FloatArray
    appetite: FloatArray
    log_gas: FloatArray
    fed_funds: FloatArray
    stress: FloatArray
    premium: FloatArray

    @property
    def n_days(self) -> int:
        """Number of days covered."""
        return len(self.appetite)

    @property
    def credit_rate(self) -> FloatArray:
        """What stablecoin loans cost market-wide, decimal fraction per year: dear when appetite is high."""
        return np.asarray((0.012 + 0.6 * self.fed_funds) * np.exp(0.35 * self.appetite), dtype=np.float64)

    @property
    def funding(self) -> FloatArray:
        """Funding of the large coins, decimal fraction per year, after the exchange's clamp."""
        pull = np.clip(INTEREST_PER_EVENT - self.premium, -CLAMP_PER_EVENT, CLAMP_PER_EVENT)
        return np.asarray(EVENTS_PER_YEAR * (self.premium + pull), dtype=np.float64)

    def last(self, n_days: int) -> CommonShocks:
        """Return the same shocks over the last `n_days` days only."""
        return CommonShocks(**{name: path[-n_days:] for name, path in vars(self).items()})


def simulate_shocks(seed: int, n_days: int) -> CommonShocks:
    """Draw the common shocks of `n_days` days.

    Parameters
    ----------
    seed : int
        The market's seed; the stream used here is shared with no strategy.
    n_days : int
        Number of days, the market's lead included.

    Returns
    -------
    CommonShocks
    """
    parts = np.random.SeedSequence(seed, spawn_key=(Purpose.COMMON,)).spawn(5)
    price_rng, mood_rng, gas_rng, policy_rng, funding_rng = map(np.random.default_rng, parts)
    log_volatility, eth_return, btc_return = _returns(price_rng, n_days)
    appetite = _appetite(mood_rng, eth_return)
    falls = np.maximum(-eth_return - 0.08, 0.0) * 12.0
    rumours = np.where(mood_rng.random(n_days) < 0.004, mood_rng.exponential(1.0, n_days), 0.0)
    gas_noise = 0.13 * _unit_heavy(gas_rng, n_days)
    log_gas = _recursion(gas_noise + 0.02 * log_volatility, 0.94) + 0.23 * _unit_heavy(gas_rng, n_days)
    return CommonShocks(
        log_eth=_recursion(eth_return, _PRICE_MEMORY),
        log_btc=_recursion(btc_return, _PRICE_MEMORY),
        log_volatility=log_volatility,
        appetite=appetite,
        log_gas=log_gas,
        fed_funds=_fed_funds(policy_rng, n_days),
        stress=_recursion(falls + rumours, 0.75),
        premium=_premium(funding_rng, appetite),
    )


def _returns(rng: np.random.Generator, n_days: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Log volatility and the log returns of ETH and BTC: clustered, fat-tailed, correlated."""
    log_volatility = _recursion(0.09 * rng.standard_normal(n_days), 0.96)
    sigma = MEAN_VOLATILITY * np.exp(log_volatility)
    shared, own = _unit_heavy(rng, n_days, dof=5.0), rng.standard_normal(n_days)
    eth = 0.0006 + sigma * shared
    btc = 0.0008 + 0.73 * sigma * (0.82 * shared + np.sqrt(1 - 0.82**2) * own)
    return log_volatility, eth, btc


def _appetite(rng: np.random.Generator, eth_return: FloatArray) -> FloatArray:
    """Appetite follows the returns of the last months: leverage chases prices, with moods of its own."""
    chase = 3.2 * eth_return + 0.12 * rng.standard_normal(len(eth_return))
    return _recursion(chase, 0.982)


def _fed_funds(rng: np.random.Generator, n_days: int) -> FloatArray:
    """Move the policy rate by quarter points about every 45 days, mostly on in the same direction."""
    rate, direction = 0.045, -1.0
    path = np.empty(n_days)
    for day in range(n_days):
        if day % 45 == 44:
            # Near the ends of its range the committee turns round more readily.
            turning = 0.12 + 0.6 * float((rate - 0.042) * direction > 0.008)
            direction = -direction if rng.random() < turning else direction
            rate = min(max(rate + direction * 0.0025 * float(rng.integers(0, 2)), 0.0025), 0.055)
        path[day] = rate
    return path


def _premium(rng: np.random.Generator, appetite: FloatArray) -> FloatArray:
    """Premium per 8 hours: three regimes that appetite makes more or less likely, reached gradually."""
    states = np.empty(len(appetite), dtype=np.int64)
    state = 1
    for day, mood in enumerate(appetite):
        if rng.random() < _LEAVING_CHANCE[state]:
            long_chance = 1.0 / (1.0 + np.exp(-1.6 * mood))
            goes_long = bool(rng.random() < long_chance)
            state = (2 if goes_long else 0) if state == 1 else 1
        states[day] = state
    target = _PREMIUM_BY_REGIME[states]
    gradual = target[0] + _recursion(0.4 * (target - target[0]), 0.6)
    restless = _recursion(0.00006 * rng.standard_normal(len(appetite)), 0.8)
    return np.asarray(gradual + restless, dtype=np.float64)


def _recursion(noise: FloatArray, persistence: float) -> FloatArray:
    """One path of x_t = persistence * x_{t-1} + noise_t from 0, shape (n_days,)."""
    path = np.empty_like(noise)
    level = 0.0
    for day, shock in enumerate(noise):
        level = persistence * level + shock
        path[day] = level
    return path


def _unit_heavy(rng: np.random.Generator, n_days: int, dof: float = 4.0) -> FloatArray:
    """Student-t numbers of variance 1, shape (n_days,)."""
    return np.asarray(np.sqrt((dof - 2.0) / dof) * rng.standard_t(dof, n_days), dtype=np.float64)
