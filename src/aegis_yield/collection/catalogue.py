"""The catalogue: which strategies and market columns are collected, from which sources, in order of preference."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from aegis_yield.collection.datasets import DatasetSpec
from aegis_yield.collection.sources import dataset_of
from aegis_yield.collection.units import Demand
from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.errors import AegisError, CollectionError
from aegis_yield.utils.project import shipped_file

DEFAULT_HISTORY_DAYS: Final = 365

YIELD_DATASETS: Final = ("apr", "chart", "funding", "rebases", "reserve", "share_price")
"""What a strategy's yield can be made from (see ``assemble/feeds.py``)."""

MARKET_DATASETS: Final = (
    "candles", "chain_tvl", "fees", "index", "market_chart", "observations", "price", "protocol_tvl", "stablecoins",
)  # fmt: skip
"""What a column of the market table can be made from (see ``assemble/market.py``)."""


@dataclass(frozen=True)
class Feed:
    """One source of a series.

    Attributes
    ----------
    demand : Demand
        What is asked for.
    rate : str
        ``"apy"`` if its rate is taken as it is, ``"apr"`` if it is simple interest to be compounded daily.
    through : tuple of str
        Of a vault whose asset is a share of another vault: that one, and so on down to a plain token.
    """

    demand: Demand
    rate: str = "apy"
    through: tuple[str, ...] = ()


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
    for feed in listed.feeds:
        yield feed.demand
        yield from (replace(feed.demand, entity=inner) for inner in feed.through)
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
    strange = sorted(set(content) - {"defaults", "strategy", "market"})
    if strange:
        raise CollectionError(f"{chosen}: {strange} is unknown, allowed is [defaults], [[strategy]] and [[market]]")
    strategies = _entries(chosen, "strategy", content, _listed)
    market = _entries(chosen, "market", content, _market_column)
    catalogue = Catalogue(tuple(strategies), tuple(market), _history_days(chosen, content))
    _refuse_twins(chosen, "id", [listed.id for listed in strategies])
    _refuse_twins(chosen, "column", [column.column for column in market])
    _check_legs(chosen, catalogue)
    return catalogue


def _history_days(path: Path, content: Mapping[str, Any]) -> int:
    defaults = content.get("defaults", {})
    days = defaults.get("history_days", DEFAULT_HISTORY_DAYS) if isinstance(defaults, dict) else defaults
    if isinstance(days, bool) or not isinstance(days, int) or days < 1:
        raise CollectionError(f"{path}: defaults: history_days is {days!r}, allowed is a whole number above 0")
    return days


Entry = TypeVar("Entry")


def _entries(
    path: Path, kind: str, content: Mapping[str, Any], read: Callable[[Mapping[str, Any]], Entry]
) -> list[Entry]:
    tables = content.get(kind, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise CollectionError(f"{path}: {kind}: expected entries that begin with [[{kind}]], received something else")
    found = []
    for number, table in enumerate(tables, start=1):
        try:
            found.append(read(table))
        except (KeyError, TypeError, ValueError, AttributeError, AegisError) as error:
            name = table.get("id", table.get("column", "?"))
            reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            raise CollectionError(f"{path}: {kind} {number} ({name}): {reason}") from error
    return found


def _listed(table: Mapping[str, Any]) -> Listed:
    _refuse_unknown(table, ("id", "project", "chain", "symbol", "category", "sources", "carry", "price"))
    if table["category"] not in CATEGORIES:
        raise ValueError(f"category is {table['category']!r}, allowed is one of {', '.join(CATEGORIES)}")
    feeds = tuple(_feed(entry, YIELD_DATASETS) for entry in table.get("sources", ()))
    carry = _carry(table["carry"]) if "carry" in table else None
    if bool(feeds) == (carry is not None):
        raise ValueError("needs either sources or a [strategy.carry], and not both")
    price = table.get("price", {})
    _refuse_unknown(price, ("of", "over"))
    return Listed(
        id=str(table["id"]),
        project=str(table["project"]),
        chain=str(table["chain"]),
        symbol=str(table["symbol"]),
        category=str(table["category"]),
        feeds=feeds,
        carry=carry,
        price=PriceOf(str(price["of"]), str(price.get("over", ""))) if price else None,
    )


def _carry(table: Mapping[str, Any]) -> Carry:
    _refuse_unknown(table, tuple(Carry.__dataclass_fields__))
    for name, value in table.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
        if name not in ("long", "short") and not is_number:
            raise ValueError(f"{name} is {value!r}, allowed is a number, at least 0")
    if table.get("holding_days") == 0:
        raise ValueError("holding_days is 0, allowed is a number above 0")
    return Carry(**{"long": table["long"], "short": table["short"], **table})


def _feed(entry: Mapping[str, Any], allowed: tuple[str, ...]) -> Feed:
    _refuse_unknown(entry, ("dataset", "entity", "rate", "through"))
    source, _, dataset = entry["dataset"].partition("/")
    dataset_of(source, dataset)
    if dataset not in allowed:
        raise ValueError(f"{entry['dataset']} holds nothing for this; allowed is a dataset of {', '.join(allowed)}")
    rate = entry.get("rate", "apy")
    if rate not in ("apy", "apr"):
        raise ValueError(f"rate is {rate!r}, allowed is 'apy' or 'apr'")
    through = entry.get("through", [])
    if not isinstance(through, list):
        raise ValueError(f"through is {through!r}, allowed is a list of vaults")
    return Feed(Demand(source, dataset, str(entry["entity"])), rate, tuple(map(str, through)))


def _market_column(table: Mapping[str, Any]) -> MarketColumn:
    _refuse_unknown(table, ("column", "sources"))
    return MarketColumn(str(table["column"]), tuple(_feed(entry, MARKET_DATASETS) for entry in table["sources"]))


def _refuse_unknown(table: Any, known: tuple[str, ...]) -> None:
    """A word misspelt must not pass for one left out."""
    if not isinstance(table, dict):
        raise TypeError(f"expected a table of {', '.join(known)}, received {table!r}")
    for name in table:
        if name not in known:
            raise ValueError(f"{name} is unknown, allowed is {', '.join(known)}")


def _refuse_twins(path: Path, kind: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise CollectionError(f"{path}: {kind} {name!r} is there twice")


def _check_legs(path: Path, catalogue: Catalogue) -> None:
    for listed in catalogue.strategies:
        for leg in (listed.carry.long, listed.carry.short) if listed.carry else ():
            if leg not in catalogue.by_id or catalogue.by_id[leg].carry is not None:
                raise CollectionError(
                    f"{path}: {listed.id}: leg {leg!r} must be a strategy of the catalogue with sources"
                )


def spec_of(demand: Demand) -> DatasetSpec:
    """Return the dataset that a demand asks."""
    return dataset_of(demand.source, demand.dataset)
