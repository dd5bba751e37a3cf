"""A node whose events, state and fees are made from real daily tables, to compare what is rebuilt from them."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext
from functools import cache
from typing import Any

import polars as pl
from chain_server import ChainServer, ContractFunction, Habits, RevertError, Slots
from eth_abi.abi import encode

from aegis_yield.collection.sources.aave import POOL, RESERVE_DATA_UPDATED
from aegis_yield.collection.sources.lido import STETH, TOKEN_REBASED

RAY, YEAR_S, DAY_S = 10**27, 31_536_000, 86_400
AFTER_S = 11
"""The first block of a day comes so long after midnight, the last one a second before it."""

USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
A_TOKEN, DEBT_TOKEN = "0x98c23e9d8f34fefb1b7bd6a91b7ff122f4e16f5c", "0x72e95b8931767c79ba4eee721354d6e99a61d004"
SUSDE, USDE = "0x9d39a5de30e57443bff2a8307a4256c8797a3497", "0x4c9edd5852cd905f086c759e8383e09bff1e68b3"
SLOTS = Slots(missed_every=0)


def replay_node(yields: pl.DataFrame, market: pl.DataFrame, now: dt.datetime) -> ChainServer:
    """A node on which Aave's USDC, Lido and sUSDe pay what the tables say, and gas costs what they say."""
    days = {key[0]: rows for key, rows in yields.partition_by("strategy_id", as_dict=True).items()}
    aave = days["aave-v3:ethereum:usdc"]
    logs = [*_aave_logs(aave), *_lido_logs(days["lido:ethereum:steth"])]
    functions = {**_aave_state(aave), **_vault_state(days["ethena-usde:ethereum:susde"])}
    return ChainServer(now, SLOTS, logs, functions, _fees(market), Habits(with_log_times=False))


def day_of(block: int) -> dt.date:
    """The day that a block lies in."""
    return dt.datetime.fromtimestamp(SLOTS.time_of(block), dt.UTC).date()


def _midnight(day: dt.date) -> int:
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())


def _aave_logs(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """A change of rates just after each midnight, and an update that changes nothing just before the next.

    Supply accrues linearly from update to update, debt exponentially, so the rates that follow are those which make
    each day's growth from midnight to midnight what the table says.
    """
    logs = []
    index, debt_index, slow, fast = Decimal(RAY), Decimal(RAY), Decimal(0), Decimal(0)
    later, rest = DAY_S - AFTER_S - 1, AFTER_S + 1
    eve = rows["date"][0] - dt.timedelta(days=1)
    with localcontext() as context:
        context.prec = 60
        for day, apy, borrow_apy in [(eve, 0.0, 0.0), *rows.select("date", "apy", "borrow_apy").iter_rows()]:
            index *= (1 + slow * later) * (1 + slow * rest)
            debt_index *= (fast * DAY_S).exp()
            # The update before midnight starts a new line: (1 + later x)(1 + x) = what is left of the day's growth.
            left = (1 + Decimal(apy)) ** (Decimal(1) / 365) * (1 + slow) / (1 + slow * rest)
            slow = (((later + 1) ** 2 + 4 * later * (left - 1)).sqrt() - (later + 1)) / (2 * later)
            fast = ((1 + Decimal(borrow_apy)).ln() / 365 - fast * AFTER_S) / (later + 1)
            begin = _midnight(day) + AFTER_S
            logs.append(_aave_log(begin, (slow, fast), (index, debt_index)))
            indices = (index * (1 + slow * later), debt_index * (fast * later).exp())
            logs.append(_aave_log(begin + later, (slow, fast), indices))
    return logs


def _aave_log(time: int, rates: tuple[Decimal, Decimal], indices: tuple[Decimal, Decimal]) -> dict[str, Any]:
    (slow, fast), (index, debt_index) = rates, indices
    values = [int(slow * YEAR_S * RAY), 0, int(fast * YEAR_S * RAY), int(index), int(debt_index)]
    return {
        "block": SLOTS.block_at(time), "index": 7, "address": POOL,
        "topics": [RESERVE_DATA_UPDATED, "0x" + USDC[2:].rjust(64, "0")], "data": encode(["uint256"] * 5, values),
    }  # fmt: skip


def _lido_logs(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """One report a day at noon; after a gap it still covers one day."""
    logs = []
    with localcontext() as context:
        context.prec = 60
        for day, apy in rows.select("date", "apy").iter_rows():
            before = 12 * 10**32
            after = int(before * (1 + Decimal(apy)) ** (Decimal(DAY_S) / YEAR_S))
            noon = _midnight(day) + 12 * 3600 + AFTER_S
            values = [DAY_S, 10**32, before, 10**32, after, 0]
            logs.append(
                {
                    "block": SLOTS.block_at(noon), "index": 3, "address": STETH,
                    "topics": [TOKEN_REBASED, f"0x{noon:064x}"], "data": encode(["uint256"] * 6, values),
                }
            )  # fmt: skip
    return logs


def _aave_state(rows: pl.DataFrame) -> dict[tuple[str, str], ContractFunction]:
    sides = {row["date"]: (row["total_supply_usd"], row["total_borrow_usd"]) for row in rows.iter_rows(named=True)}
    config = (6 << 48) | (1 << 56) | (1000 << 64)
    reserve_data = [config, *[0] * 7, int(A_TOKEN, 16), 0, int(DEBT_TOKEN, 16), *[0] * 4]

    def supply_of(side: int) -> ContractFunction:
        def answer(_: bytes, block: int) -> bytes:
            return encode(["uint256"], [round(sides.get(day_of(block), (0.0, 0.0))[side] * 10**6)])

        return answer

    return {
        (POOL, "0x35ea6a75"): lambda _, block: encode(["uint256"] * 15, reserve_data),
        (A_TOKEN, "0x18160ddd"): supply_of(0),
        (DEBT_TOKEN, "0x18160ddd"): supply_of(1),
    }


def _vault_state(rows: pl.DataFrame) -> dict[tuple[str, str], ContractFunction]:
    prices, price = {}, 1.0
    for day, apy in rows.select("date", "apy").iter_rows():
        price *= math.exp(math.log1p(apy) / 365)
        prices[day] = price

    def assets(_: bytes, block: int) -> bytes:
        if day_of(block) not in prices:
            raise RevertError("no price")
        return encode(["uint256"], [int(prices[day_of(block)] * 10**18)])

    decimals: ContractFunction = lambda _, block: encode(["uint8"], [18])  # noqa: E731
    return {
        (SUSDE, "0x07a2d13a"): assets,
        (SUSDE, "0x313ce567"): decimals,
        (SUSDE, "0x38d52e0f"): lambda _, block: encode(["address"], [USDE]),
        (USDE, "0x313ce567"): decimals,
    }


def _fees(market: pl.DataFrame) -> Callable[[int], tuple[int, int, float]]:
    gwei: Mapping[dt.date, float] = dict(market.select("date", "gas_gwei").drop_nulls().iter_rows())

    @cache
    def of_day(day: int) -> tuple[int, int, float]:
        wei = round(gwei.get(dt.date(1970, 1, 1) + dt.timedelta(days=day), 1.0) * 10**9)
        return wei - wei // 10, wei // 10, 0.5

    return lambda block: of_day(SLOTS.time_of(block) // DAY_S)
