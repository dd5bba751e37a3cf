"""The tables of the history: what is kept of each kind of observation, in this project's units, and what is impossible.

Rates are decimal fractions a year unless named otherwise, amounts US dollars, dates UTC days, times UTC. Integers of
128 and 256 bits (``*_ray``, shares, token amounts) are decimal text: no float holds them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

FIRST_DAY: Final = dt.date(2015, 1, 1)
"""No source reaches further back; an earlier date is a broken one."""

MAX_APY: Final = 1e4
"""1,000,000 %: what DefiLlama itself refuses to store."""

MAX_FUNDING: Final = 0.1
"""Of notional per interval; no venue's cap is wider."""

TIME: Final = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Rule:
    """A hard rule: a row that breaks it goes to quarantine.

    Attributes
    ----------
    words : str
        What must hold, for people.
    holds : polars.Expr
        True (or null, for unknown values) where it does.
    """

    words: str
    holds: pl.Expr


@dataclass(frozen=True)
class TableSpec:
    """One table of the history.

    Attributes
    ----------
    name : str
        Its folder.
    keys, values : mapping
        Columns and their types. The key ends in ``date`` or ``time``.
    rules : tuple of Rule
        What is impossible in it.
    """

    name: str
    keys: Mapping[str, Any]
    values: Mapping[str, Any]
    rules: tuple[Rule, ...] = ()

    @property
    def when(self) -> str:
        """The last key column: ``date``, ``time`` or a block number."""
        return list(self.keys)[-1]

    @property
    def entity(self) -> tuple[str, ...]:
        """The key without :attr:`when`: what the row is about."""
        return tuple(self.keys)[:-1]

    @property
    def columns(self) -> dict[str, Any]:
        """What a reader of raw answers delivers: keys, values and whether the row can still change."""
        return {**self.keys, **self.values, "is_final": pl.Boolean}


PROVENANCE: Final[dict[str, Any]] = {"ingested_at": TIME, "raw_id": pl.String, "row_no": pl.Int32}
"""Where a row came from: when its answer was received, which answer, which row of it."""


def _at_least(column: str, low: float) -> Rule:
    return Rule(f"{column} must be at least {low:g}", pl.col(column) >= low)


def _positive(column: str) -> Rule:
    return Rule(f"{column} must be above 0", pl.col(column) > 0)


def _known(column: str) -> Rule:
    return Rule(f"{column} must be known", pl.col(column).is_not_null())


def _rate(column: str) -> Rule:
    return Rule(f"{column} must lie in 0 … {MAX_APY:g} (a fraction a year)", pl.col(column).is_between(0.0, MAX_APY))


def _of_series(names: str, words: str, holds: pl.Expr) -> Rule:
    return Rule(words, ~pl.col("series").str.contains(f"^(?:{names})") | holds)


_TEXT, _NUMBER, _DAY, _WHOLE = pl.String, pl.Float64, pl.Date, pl.Int64

_SPECS: Final = (
    TableSpec(
        "pools",  # DefiLlama's list of live pools, one row per pool and day
        {"pool": _TEXT, "date": _DAY},
        {
            "project": _TEXT, "chain": _TEXT, "symbol": _TEXT, "pool_meta": _TEXT, "exposure": _TEXT, "il_risk": _TEXT,
            "stablecoin": pl.Boolean, "outlier": pl.Boolean, "underlying_tokens": _TEXT,
            "tvl_usd": _NUMBER, "apy": _NUMBER, "apy_base": _NUMBER, "apy_reward": _NUMBER,
        },
        (_rate("apy"), _at_least("tvl_usd", 0), _known("project"), _known("chain"), _known("symbol")),
    ),
    TableSpec(
        "protocols",  # DefiLlama's list of protocols: what kind each is
        {"slug": _TEXT, "date": _DAY},
        {"name": _TEXT, "category": _TEXT},
        (),
    ),
    TableSpec(
        "pool_days",  # a pool's history
        {"pool": _TEXT, "date": _DAY},
        {"apy": _NUMBER, "apy_base": _NUMBER, "apy_reward": _NUMBER, "tvl_usd": _NUMBER},
        (_rate("apy"), _known("apy"), _at_least("tvl_usd", 0)),
    ),
    TableSpec(
        "pool_lending_days",  # a lending pool's two sides
        {"pool": _TEXT, "date": _DAY},
        {"total_supply_usd": _NUMBER, "total_borrow_usd": _NUMBER, "borrow_apy": _NUMBER},
        (_at_least("total_supply_usd", 0), _at_least("total_borrow_usd", 0)),
    ),
    TableSpec(
        "series_days",  # anything that is one number a day: TVL, supplies, indices, rates of interest, prices
        {"source": _TEXT, "series": _TEXT, "date": _DAY},
        {"value": _NUMBER},
        (
            _known("value"),
            _of_series("price:", "a price must be above 0", pl.col("value") > 0),
            _of_series("protocol_tvl:|chain_tvl:|stablecoins:", "an amount must be at least 0", pl.col("value") >= 0),
            _of_series("fear_greed$", "fear_greed must lie in 0 … 100", pl.col("value").is_between(0.0, 100.0)),
        ),
    ),
    TableSpec(
        "funding",  # what longs paid shorts, as a fraction of notional for one interval that ended at `time`
        {"venue": _TEXT, "symbol": _TEXT, "time": TIME},
        {"rate": _NUMBER, "mark_price": _NUMBER},
        (
            _known("rate"),
            Rule(f"|rate| must be at most {MAX_FUNDING:g} an interval", pl.col("rate").abs() <= MAX_FUNDING),
            _positive("mark_price"),
        ),
    ),
    TableSpec(
        "candles",  # prices in US dollars, `time` is the opening
        {"venue": _TEXT, "symbol": _TEXT, "interval": _TEXT, "time": TIME},
        {"open": _NUMBER, "high": _NUMBER, "low": _NUMBER, "close": _NUMBER, "volume": _NUMBER},
        (
            _known("close"), _positive("open"), _positive("low"), _positive("close"), _at_least("volume", 0),
            Rule("high must not be below low", pl.col("high") >= pl.col("low")),
        ),
    ),
    TableSpec(
        "gas_days",  # the median block of a day
        {"chain": _TEXT, "date": _DAY},
        {"base_fee_gwei": _NUMBER, "priority_fee_gwei": _NUMBER, "n_blocks": _WHOLE},
        (_at_least("base_fee_gwei", 0), _at_least("priority_fee_gwei", 0), _positive("n_blocks")),
    ),
    TableSpec(
        "chain_blocks",  # headers of the blocks that events lie in
        {"chain": _TEXT, "block_number": _WHOLE},
        {"block_hash": _TEXT, "time": TIME},
        (_known("time"),),
    ),
    TableSpec(
        "log_scans",  # which blocks were searched for a contract's events, for which day's end
        {"chain": _TEXT, "subject": _TEXT, "date": _DAY},
        {"from_block": _WHOLE, "to_block": _WHOLE},
        (Rule("to_block must not be below from_block", pl.col("to_block") >= pl.col("from_block")),),
    ),
    TableSpec(
        "aave_updates",  # ReserveDataUpdated
        {"chain": _TEXT, "reserve": _TEXT, "log_index": _WHOLE, "block_number": _WHOLE},
        {
            "block_hash": _TEXT, "time": TIME, "liquidity_rate_ray": _TEXT, "variable_borrow_rate_ray": _TEXT,
            "liquidity_index_ray": _TEXT, "variable_borrow_index_ray": _TEXT,
        },
    ),
    TableSpec(
        "aave_states",  # a reserve at the end of a day
        {"chain": _TEXT, "reserve": _TEXT, "date": _DAY},
        {
            "block_number": _WHOLE, "reserve_factor": _NUMBER, "supply": _NUMBER, "debt": _NUMBER,
            "supply_cap": _NUMBER, "is_frozen": pl.Boolean, "is_paused": pl.Boolean,
        },
        (_at_least("supply", 0), _at_least("debt", 0)),
    ),
    TableSpec(
        "lido_rebases",  # TokenRebased
        {"chain": _TEXT, "log_index": _WHOLE, "block_number": _WHOLE},
        {
            "block_hash": _TEXT, "time": TIME, "time_elapsed_s": _WHOLE, "pre_shares": _TEXT, "pre_ether": _TEXT,
            "post_shares": _TEXT, "post_ether": _TEXT,
        },
        (_positive("time_elapsed_s"),),
    ),
    TableSpec(
        "share_prices",  # an ERC-4626 vault's assets per share at the end of a day
        {"chain": _TEXT, "vault": _TEXT, "date": _DAY},
        {"block_number": _WHOLE, "assets_per_share": _NUMBER},
        (_known("assets_per_share"), _positive("assets_per_share")),
    ),
)  # fmt: skip

TABLES: Final[dict[str, TableSpec]] = {spec.name: spec for spec in _SPECS}
"""Every table of the history by name."""


def empty_rows(table: str) -> pl.DataFrame:
    """Return no rows, with the columns that a reader of raw answers delivers."""
    return pl.DataFrame(schema=TABLES[table].columns)
