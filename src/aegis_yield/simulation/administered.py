"""What a committee sets in rare steps, and what claims on off-chain interest pay."""

from __future__ import annotations

import numpy as np

from aegis_yield.simulation.paths import Paths
from aegis_yield.simulation.pegs import pegged_price
from aegis_yield.simulation.processes import ar1, hold, log_uniform, logistic, trailing_mean
from aegis_yield.simulation.shocks import CommonShocks
from aegis_yield.simulation.streams import Streams
from aegis_yield.utils.typing import FloatArray

_STEP = 0.0025
_RATE_FLOOR, _RATE_CAP = 0.01, 0.15


def savings_rate(streams: Streams, common: CommonShocks) -> Paths:
    """Simulate savings rates: a committee follows the credit market, late, in quarter points.

    Parameters
    ----------
    streams : Streams
        The strategies' random streams.
    common : CommonShocks
        The cost of credit that the committee looks at.

    Returns
    -------
    Paths
        ``apy_base`` is a multiple of 0.0025 and stands still for weeks.
    """
    margin, pace, size = streams.traits(3)
    seen = trailing_mean(np.broadcast_to(common.credit_rate, (len(streams), common.n_days)), 30)
    aim = log_uniform(1.1, 2.2, margin) * seen + ar1(0.0012 * streams.normal(common.n_days), 0.99)
    meets = streams.uniform(common.n_days) < log_uniform(0.010, 0.035, pace)
    rate = np.clip(_STEP * np.round(hold(aim, meets) / _STEP), _RATE_FLOOR, _RATE_CAP)
    return _deposits(streams, common, rate, log_uniform(5e7, 4e9, size))


def real_world_asset(streams: Streams, common: CommonShocks) -> Paths:
    """Simulate claims on bills and private loans: the policy rate plus a credit spread that hardly moves.

    Parameters
    ----------
    streams : Streams
        The strategies' random streams.
    common : CommonShocks
        The policy rate.

    Returns
    -------
    Paths
        ``apy_base`` is restated in weekly to monthly steps by half of them, daily by the rest.
    """
    kind, spread, restated, pay_out, size = streams.traits(5)
    is_loan = kind > 0.25
    credit = np.where(is_loan, 0.050 + np.maximum(logistic(0.0, 0.010, spread), -0.02), -0.004)
    wobble = ar1(np.where(is_loan, 0.0006, 0.0002) * streams.normal(common.n_days), 0.97)
    months = trailing_mean(np.broadcast_to(common.fed_funds, wobble.shape), 30)
    due = streams.uniform(common.n_days) < np.where(restated > 0.5, 1.0, 0.05 + 0.1 * restated)
    rate = np.maximum(hold(months + credit + wobble, due), 0.0)
    # A few hand out their own token on top, whose price is that of a small cap.
    token = np.where(pay_out > 0.85, 0.10 * np.exp(ar1(0.05 * streams.normal(common.n_days), 0.99)), 0.0)
    base = _deposits(streams, common, rate, log_uniform(5e6, 6e8, size))
    return Paths(base.apy_base, token, base.tvl_usd, base.price)


def _deposits(streams: Streams, common: CommonShocks, rate: FloatArray, size_usd: FloatArray) -> Paths:
    """Attach slow deposits and a redeemable price to a rate path of shape (n_strategies, n_days)."""
    wander = ar1(0.012 * streams.heavy(common.n_days), 0.997)
    return Paths(
        apy_base=rate,
        apy_reward=np.zeros_like(rate),
        tvl_usd=size_usd * np.exp(wander),
        price=pegged_price(streams, common, daily_noise=0.0004, panic_discount=0.006),
    )
