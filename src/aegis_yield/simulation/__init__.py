"""A simulated market of DeFi yields: data for a machine that has none, and it says so in every row.

::

    from aegis_yield.simulation import MarketSpec, simulate_market

    market = simulate_market(MarketSpec(n_strategies=60, n_days=1_200))
    market.yields  # one row per strategy and day, source = "simulated"

Each category has the mechanism that makes its yield (a rate curve, a funding payment, fees over
liquidity, a committee), and common shocks tie the categories together.
"""

from aegis_yield.simulation.market import SimulatedMarket, simulate_market
from aegis_yield.simulation.spec import MarketSpec

__all__ = ["MarketSpec", "SimulatedMarket", "simulate_market"]
