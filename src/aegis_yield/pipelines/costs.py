"""What trading costs and how long leaving takes, from ``configs/allocation.toml`` and the market's last gas price."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.errors import DataError
from aegis_yield.portfolio.problem import TradeCost
from aegis_yield.utils.project import shipped_file

_GWEI_PER_ETH: Final = 1e9
_TABLES: Final = ("gas", "slippage", "exit_days")


@dataclass(frozen=True)
class Habits:
    """How strategies of each category are entered and left.

    Attributes
    ----------
    gas_units, slippage, exit_days : mapping of str to float
        By category: units of gas of one move, share of the amount lost in it, days until one is out.
    strategies : mapping
        By strategy, over the category: ``gas``, ``slippage``, ``exit_days``.
    usd_per_gas : float
        Price of one unit of gas on Ethereum.
    other_chains : float
        Share of that price on other chains.
    open_interest_usd, funding_drop_apy : float
        Of a perpetual's market where no size is known, and by how much its rate falls if one's own short were as large.
    """

    gas_units: Mapping[str, float]
    slippage: Mapping[str, float]
    exit_days: Mapping[str, float]
    strategies: Mapping[str, Mapping[str, float]]
    usd_per_gas: float
    other_chains: float
    open_interest_usd: float
    funding_drop_apy: float

    def cost(self, strategy_id: str, category: str, chain: str) -> TradeCost:
        """Return what a move into or out of a strategy costs."""
        own = self.strategies.get(strategy_id, {})
        units = own.get("gas", self.gas_units[category])
        share = 1.0 if chain.lower() in ("ethereum", "") else self.other_chains
        slippage = own.get("slippage", self.slippage[category])
        return TradeCost(units * self.usd_per_gas * share, slippage, slippage)

    def days_to_leave(self, strategy_id: str, category: str) -> float:
        """Return how long a withdrawal takes as a rule."""
        return self.strategies.get(strategy_id, {}).get("exit_days", self.exit_days[category])


def load_habits(market: pl.DataFrame, path: Path | None = None) -> Habits:
    """Read costs and times, and price gas by the last day of the market table that knows it.

    Parameters
    ----------
    market : polars.DataFrame
        ``gas_gwei`` and ``eth_price`` where known.
    path : Path, optional
        By default ``AEGIS_ALLOCATION``, else ``configs/allocation.toml``.

    Raises
    ------
    DataError
        If the file cannot be read, misses a category or holds what is no number, naming it.
    """
    named = os.environ.get("AEGIS_ALLOCATION")
    chosen = path or (Path(named) if named else shipped_file("configs/allocation.toml", "configs/allocation.toml"))
    try:
        content = tomllib.loads(chosen.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{chosen}: cannot be read as a TOML file of trading costs: {error}") from error
    content = {name: _table(chosen, name, content.get(name, {})) for name in (*_TABLES, "funding", "strategy")}
    tables = {name: _by_category(chosen, name, content[name]) for name in _TABLES}
    gas, funding = content["gas"], content["funding"]
    gwei = _last(market, "gas_gwei", _number(chosen, "gas.default_gwei", gas.get("default_gwei")))
    eth_usd = _last(market, "eth_price", _number(chosen, "gas.default_eth_usd", gas.get("default_eth_usd")))
    return Habits(
        gas_units=tables["gas"],
        slippage=tables["slippage"],
        exit_days=tables["exit_days"],
        strategies=_by_strategy(chosen, content["strategy"]),
        usd_per_gas=gwei * eth_usd / _GWEI_PER_ETH,
        other_chains=_number(chosen, "gas.other_chains", gas.get("other_chains")),
        open_interest_usd=_number(chosen, "funding.open_interest_usd", funding.get("open_interest_usd")),
        funding_drop_apy=_number(chosen, "funding.drop_apy", funding.get("drop_apy")),
    )


def _table(path: Path, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{path}: {name}: received {value!r}, allowed is a table")
    return value


def _by_category(path: Path, name: str, table: Mapping[str, Any]) -> dict[str, float]:
    below = _below(name)
    return {category: _number(path, f"{name}.{category}", table.get(category), below) for category in CATEGORIES}


def _by_strategy(path: Path, tables: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {strategy: _own(path, f"strategy.{strategy}", table) for strategy, table in tables.items()}


def _own(path: Path, place: str, value: Any) -> dict[str, float]:
    table = _table(path, place, value)
    for name in table:
        if name not in _TABLES:
            raise DataError(f"{path}: {place}: received {name!r}, allowed is {', '.join(_TABLES)}")
    return {name: _number(path, f"{place}.{name}", number, _below(name)) for name, number in table.items()}


def _below(name: str) -> float:
    return 1.0 if name == "slippage" else math.inf  # a share of the amount


def _number(path: Path, name: str, value: Any, below: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < below:
        most = "" if math.isinf(below) else f" and below {below:g}"
        raise DataError(f"{path}: {name}: received {value!r}, allowed is a number, at least 0{most}")
    return float(value)


def _last(market: pl.DataFrame, column: str, default: float) -> float:
    if column not in market.columns:
        return default
    known = market[column].drop_nulls()
    usable = known.filter(known.is_finite() & (known >= 0.0))
    return float(usable[-1]) if len(usable) else default
