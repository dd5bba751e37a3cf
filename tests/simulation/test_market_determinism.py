from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.simulation import MarketSpec, SimulatedMarket, simulate_market
from aegis_yield.simulation.universe import build_universe


def test_the_same_seed_gives_the_same_tables(market: SimulatedMarket) -> None:
    again = simulate_market(MarketSpec())
    assert again.yields.equals(market.yields)
    assert again.strategies.equals(market.strategies)
    assert again.market.equals(market.market)


def test_another_seed_gives_another_market_of_the_same_strategies(market: SimulatedMarket) -> None:
    other = simulate_market(MarketSpec(seed=8))
    assert other.strategies.equals(market.strategies)
    flagship = pl.col("strategy_id") == "lido:ethereum:steth"
    assert not other.yields.filter(flagship)["apy"].equals(market.yields.filter(flagship)["apy"])
    assert not other.market["eth_price"].equals(market.market["eth_price"])


@settings(max_examples=5, deadline=None)
@given(few=st.integers(3, 120), seed=st.integers(0, 2**40))
def test_the_first_strategies_do_not_depend_on_how_many_there_are(few: int, seed: int) -> None:
    small = simulate_market(MarketSpec(n_strategies=few, n_days=150, seed=seed))
    large = simulate_market(MarketSpec(n_strategies=400, n_days=150, seed=seed))
    same = large.yields.filter(pl.col("strategy_id").is_in(small.strategies["strategy_id"].implode()))
    assert same.equals(small.yields)
    assert large.strategies.head(few).equals(small.strategies)
    assert large.market.equals(small.market)


@pytest.mark.parametrize("few", [1, 3, 7, 60])
def test_a_shorter_universe_is_the_beginning_of_a_longer_one(few: int) -> None:
    assert build_universe(300)[:few] == build_universe(few)


def test_ids_are_unique_at_full_size() -> None:
    ids = [member.strategy_id for member in build_universe(20_000)]
    assert len(set(ids)) == 20_000
    assert all(name == name.lower() and name.count(":") in (2, 3) for name in ids)
