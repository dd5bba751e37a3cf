"""The catalogue: which strategies and market columns are collected, from which sources, in order of preference."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from aegis_yield.collection.datasets import DatasetSpec
from aegis_yield.collection.sources import dataset_of
from aegis_yield.collection.units import Demand
from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.errors import AegisError, CollectionError
from aegis_yield.utils.project import shipped_file

DEFAULT_HISTORY_DAYS: Final = 730


@dataclass(frozen=True)
class Feed:
    """One source of a series.

    Attributes
    ----------
    demand : Demand
        What is asked for.
    rate : str
        ``"apy"`` if its rate is taken as it is, ``"apr"`` if it is simple interest to be compounded daily.
    """

    demand: Demand
    rate: str = "apy"


@dataclass(frozen=True)
class PriceOf:
    """The value of a strategy's principal: the price of a coin, in US dollars or in another coin."""

    of: str
    over: str = ""


@dataclass(frozen=True)
class Carry:
    """A trade of a long and a short leg (sources: DESIGN section 2; formula in ``assemble/carry.py``).

    Attributes
    ----------
    long, short : str
        Strategies of the catalogue: the one whose yield is earned, and the funding earned by the short.
    hedge_ratio : float
        Notional of the short over that of the long.
    leverage : float
        Of the short: ``1/leverage`` of the notional lies as margin. 0 if the long leg itself is the margin.
    round_trip_cost_bps, holding_days : float
        Cost of opening and closing both legs in basis points of notional, and over how many days it is spread.
    rebalance_cost_bps_a_year : float
        Of keeping the hedge.
    margin_borrow_apy : float
        What the margin costs if it is borrowed, a fraction a year.
    """

    long: str
    short: str
    hedge_ratio: float = 1.0
    leverage: float = 3.0
    round_trip_cost_bps: float = 20.0
    holding_days: float = 30.0
    rebalance_cost_bps_a_year: float = 0.0
    margin_borrow_apy: float = 0.0


@dataclass(frozen=True)
class Listed:
    """One strategy of the catalogue: what it is, and either its feeds or its two legs."""

    id: str
    project: str
    chain: str
    symbol: str
    category: str
    feeds: tuple[Feed, ...] = ()
    carry: Carry | None = None
    price: PriceOf | None = None


@dataclass(frozen=True)
class MarketColumn:
    """One column of the market table and where it comes from."""

    column: str
    feeds: tuple[Feed, ...]


@dataclass(frozen=True)
class Catalogue:
    """Everything that is collected unless asked otherwise."""

    strategies: tuple[Listed, ...]
    market: tuple[MarketColumn, ...]
    history_days: int = DEFAULT_HISTORY_DAYS

    @cached_property
    def by_id(self) -> Mapping[str, Listed]:
        """The strategies by id."""
        return {listed.id: listed for listed in self.strategies}

    def demands(self, strategies: Sequence[str] | None = None) -> list[Demand]:
        """Return what must be asked for, without repetition.

        Parameters
        ----------
        strategies : sequence of str, optional
            Only these of the catalogue, with the legs that they are made of; by default all.
        """
        wanted = list(self.by_id) if strategies is None else self._with_legs(strategies)
        found = [demand for name in wanted for demand in _demands_of(self.by_id[name])]
        found += [feed.demand for column in self.market for feed in column.feeds]
        return list(dict.fromkeys(found))

    def _with_legs(self, strategies: Sequence[str]) -> list[str]:
        legs = [
            leg
            for name in strategies
            if (carry := self.by_id[name].carry) is not None
            for leg in (carry.long, carry.short)
        ]
        return list(dict.fromkeys([*strategies, *legs]))


def _demands_of(listed: Listed) -> Iterator[Demand]:
    yield from (feed.demand for feed in listed.feeds)
    if listed.price is not None:
        yield Demand("defillama", "price", listed.price.of)
        if listed.price.over:
            yield Demand("defillama", "price", listed.price.over)


def load_catalogue(path: Path | None = None) -> Catalogue:
    """Read the catalogue.

    Parameters
    ----------
    path : Path, optional
        By default ``AEGIS_CATALOGUE``, else ``configs/catalogue.toml``.

    Raises
    ------
    CollectionError
        If the file is missing or not of its form, naming the entry at fault.
    """
    named = os.environ.get("AEGIS_CATALOGUE")
    chosen = path or (Path(named) if named else shipped_file("configs/catalogue.toml", "configs/catalogue.toml"))
    try:
        content = tomllib.loads(chosen.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CollectionError(f"{chosen}: cannot be read as a TOML catalogue: {error}") from error
    strategies = _entries(chosen, "strategy", content.get("strategy", []), _listed)
    market = _entries(chosen, "market", content.get("market", []), _market_column)
    days = content.get("defaults", {}).get("history_days", DEFAULT_HISTORY_DAYS)
    catalogue = Catalogue(tuple(strategies), tuple(market), int(days))
    _check_legs(chosen, catalogue)
    return catalogue


Entry = TypeVar("Entry")


def _entries(path: Path, kind: str, tables: Any, read: Callable[[Mapping[str, Any]], Entry]) -> list[Entry]:
    found = []
    for number, table in enumerate(tables, start=1):
        try:
            found.append(read(table))
        except (KeyError, TypeError, ValueError, AttributeError, AegisError) as error:
            name = table.get("id", table.get("column", "?")) if isinstance(table, dict) else "?"
            reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            raise CollectionError(f"{path}: {kind} {number} ({name}): {reason}") from error
    return found


def _listed(table: Mapping[str, Any]) -> Listed:
    if table["category"] not in CATEGORIES:
        raise ValueError(f"category is {table['category']!r}, allowed is one of {', '.join(CATEGORIES)}")
    feeds = tuple(_feed(entry) for entry in table.get("sources", ()))
    carry = Carry(**table["carry"]) if "carry" in table else None
    if bool(feeds) == (carry is not None):
        raise ValueError("needs either sources or a [strategy.carry], and not both")
    if carry is not None and (carry.leverage < 0 or carry.holding_days <= 0):
        raise ValueError("leverage must be at least 0 and holding_days above 0")
    price = PriceOf(**table["price"]) if "price" in table else None
    return Listed(
        id=str(table["id"]),
        project=str(table["project"]),
        chain=str(table["chain"]),
        symbol=str(table["symbol"]),
        category=str(table["category"]),
        feeds=feeds,
        carry=carry,
        price=price,
    )


def _feed(entry: Mapping[str, str]) -> Feed:
    source, _, dataset = entry["dataset"].partition("/")
    dataset_of(source, dataset)
    rate = entry.get("rate", "apy")
    if rate not in ("apy", "apr"):
        raise ValueError(f"rate is {rate!r}, allowed is 'apy' or 'apr'")
    return Feed(Demand(source, dataset, entry["entity"]), rate)


def _market_column(table: Mapping[str, Any]) -> MarketColumn:
    return MarketColumn(str(table["column"]), tuple(_feed(entry) for entry in table["sources"]))


def _check_legs(path: Path, catalogue: Catalogue) -> None:
    if len(catalogue.by_id) != len(catalogue.strategies):
        raise CollectionError(f"{path}: two strategies have the same id")
    for listed in catalogue.strategies:
        for leg in (listed.carry.long, listed.carry.short) if listed.carry else ():
            if leg not in catalogue.by_id or catalogue.by_id[leg].carry is not None:
                raise CollectionError(
                    f"{path}: {listed.id}: leg {leg!r} must be a strategy of the catalogue with sources"
                )


def spec_of(demand: Demand) -> DatasetSpec:
    """Return the dataset that a demand asks."""
    return dataset_of(demand.source, demand.dataset)
