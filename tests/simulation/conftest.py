from __future__ import annotations

import pytest

from aegis_yield.simulation import MarketSpec, SimulatedMarket, simulate_market


@pytest.fixture(scope="session")
def market() -> SimulatedMarket:
    return simulate_market()


@pytest.fixture(scope="session")
def wide_market() -> SimulatedMarket:
    return simulate_market(MarketSpec(n_strategies=2_000, n_days=300))
