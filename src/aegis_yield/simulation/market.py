"""How a simulated market is put together: mechanisms by the block, lifecycles over them, three tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
import polars as pl

from aegis_yield.domain.dataset import SIMULATED_SOURCE
from aegis_yield.simulation import administered, amm, funding, lending, staking, term, vaults
from aegis_yield.simulation.lifecycle import Lifecycle, apply_lifecycle, simulate_lifecycle
from aegis_yield.simulation.macro import market_table
from aegis_yield.simulation.outliers import outlier_rule
from aegis_yield.simulation.paths import Paths
from aegis_yield.simulation.shocks import CommonShocks, simulate_shocks
from aegis_yield.simulation.spec import LEAD_DAYS, MarketSpec
from aegis_yield.simulation.streams import Purpose, Streams
from aegis_yield.simulation.universe import Mechanism, Strategy, build_universe
from aegis_yield.utils.typing import FloatArray

# Strategies simulated side by side: enough to pay for the loop over days, few enough to stay in cache.
_BLOCK = 256

_MECHANISMS: dict[Mechanism, Callable[[Streams, CommonShocks], Paths]] = {
    "stable_lending": lending.stable_lending,
    "volatile_lending": lending.volatile_lending,
    "staking": staking.staking,
    "perpetual_funding": funding.perpetual_funding,
    "basis_token": funding.basis_token,
    "volatile_pair": amm.volatile_pair,
    "correlated_pair": amm.correlated_pair,
    "vault": vaults.vault,
    "savings_rate": administered.savings_rate,
    "fixed_term": term.fixed_term,
    "real_world_asset": administered.real_world_asset,
}
_NULLABLE = ("tvl_usd", "borrow_apy", "utilization", "total_supply_usd", "total_borrow_usd")
_FADING: frozenset[Mechanism] = frozenset({"volatile_pair", "correlated_pair", "vault"})


@dataclass(frozen=True)
class SimulatedMarket:
    """The three tables of a simulated dataset, in the form of the data contract.

    Attributes
    ----------
    yields : polars.DataFrame
        One row per strategy and day, sorted by both; ``source`` is "simulated" in every row.
    strategies : polars.DataFrame
        One row per strategy, in the order of the universe; ``method`` and ``sources`` are "simulated".
    market : polars.DataFrame
        One row a day, from 120 days before the first yields on.
    """

    yields: pl.DataFrame
    strategies: pl.DataFrame
    market: pl.DataFrame


def simulate_market(spec: MarketSpec | None = None) -> SimulatedMarket:
    """Simulate a market.

    Parameters
    ----------
    spec : MarketSpec, optional
        Size, span and seed; 60 strategies over 1,200 days by default.

    Returns
    -------
    SimulatedMarket
        The same tables for the same `spec`; a strategy's rows do not depend on how many others there are.
    """
    spec = MarketSpec() if spec is None else spec
    shocks = simulate_shocks(spec.seed, spec.n_days + LEAD_DAYS)
    universe = build_universe(spec.n_strategies)
    common = shocks.last(spec.n_days)
    tables: dict[str, pl.DataFrame] = {}
    for block in _blocks(universe):
        tables.update(_simulate_block(spec, common, block))
    return SimulatedMarket(
        yields=pl.concat([tables[strategy_id] for strategy_id in sorted(tables)], rechunk=True),
        strategies=_strategies_table(universe),
        market=market_table(spec.seed, shocks, spec.market_start),
    )


def _blocks(universe: Sequence[Strategy]) -> Iterator[list[Strategy]]:
    """Cut the universe into blocks that share a mechanism."""
    for _, members in groupby(sorted(universe, key=_mechanism_and_index), key=lambda member: member.mechanism):
        while block := list(islice(members, _BLOCK)):
            yield block


def _mechanism_and_index(strategy: Strategy) -> tuple[str, int]:
    return strategy.mechanism, strategy.index


def _simulate_block(spec: MarketSpec, common: CommonShocks, block: Sequence[Strategy]) -> dict[str, pl.DataFrame]:
    """Simulate one block; returns the rows of each strategy under its id."""
    mechanism = block[0].mechanism
    indices = [strategy.index for strategy in block]
    flagship = [strategy.is_flagship for strategy in block]
    happened = _MECHANISMS[mechanism](Streams(spec.seed, Purpose.MECHANISM, indices, flagship), common)
    life = simulate_lifecycle(Streams(spec.seed, Purpose.LIFECYCLE, indices, flagship), spec.n_days)
    table = _rows(spec, block, apply_lifecycle(happened, life, mechanism in _FADING), life)
    counts = life.present.sum(axis=1)
    starts = np.cumsum(counts) - counts
    return {
        strategy.strategy_id: table.slice(int(start), int(count))
        for strategy, start, count in zip(block, starts, counts, strict=True)
    }


def _rows(spec: MarketSpec, block: Sequence[Strategy], shown: Paths, life: Lifecycle) -> pl.DataFrame:
    """Turn a block into rows, strategy by strategy and day by day, for the days that can be seen."""
    present = life.present
    member, day = np.nonzero(present)
    ids = pl.Series([strategy.strategy_id for strategy in block])
    dates = pl.date_range(spec.start, spec.end, "1d", eager=True)
    book = shown.book
    unknown = np.full(len(day), np.nan)
    columns: dict[str, pl.Series | FloatArray] = {
        "strategy_id": ids.gather(member),
        "date": dates.gather(day),
        "apy": (shown.apy_base + shown.apy_reward)[present],
        "apy_base": shown.apy_base[present],
        "apy_reward": shown.apy_reward[present],
        "tvl_usd": shown.tvl_usd[present],
        "borrow_apy": unknown if book is None else book.borrow_apy[present],
        "utilization": unknown if book is None else book.utilization[present],
        "total_supply_usd": unknown if book is None else book.supply_usd[present],
        "total_borrow_usd": unknown if book is None else book.borrow_usd[present],
        "price": shown.price[present],
    }
    table = pl.DataFrame(columns).with_columns(pl.col(_NULLABLE).fill_nan(None), outlier_rule())
    return table.with_columns(source=pl.lit(SIMULATED_SOURCE))


def _strategies_table(universe: Sequence[Strategy]) -> pl.DataFrame:
    """Describe the universe, one row per strategy, flagships first."""
    described = ("strategy_id", "project", "chain", "symbol", "category")
    table = pl.DataFrame({name: [getattr(member, name) for member in universe] for name in described})
    return table.with_columns(method=pl.lit(SIMULATED_SOURCE), sources=pl.lit(SIMULATED_SOURCE))
