"""Vaults of ERC-4626: assets per share at the end of each day.

Facts (EIP-4626; sources.md 2.4): ``convertToAssets`` of one whole share, in the state at the day's end, so that old
days need a node that keeps old state. The answer is a whole number of the asset's smallest unit, which for an asset of
6 decimals is as coarse as a day's yield: of so many shares is asked that the answer has 18 digits after the point.
A vault over a vault is two demands, whose prices multiply.

A unit is a month; the cursor is the last day done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from aegis_yield.collection.abi import address_of, call_data, is_address, words
from aegis_yield.collection.blocks import Chain, days_over, ends_of
from aegis_yield.collection.chain import CHAIN, HOST
from aegis_yield.collection.datasets import Cadence, DatasetSpec, Session
from aegis_yield.collection.rpc import answered, ask_keepers, contract_call, has_failed, probe, results
from aegis_yield.collection.units import Page, WorkUnit
from aegis_yield.collection.verdicts import Verdict
from aegis_yield.domain.errors import SourceError

DIGITS: Final = 18
_MAX_DECIMALS: Final = 36
_CONVERT_TO_ASSETS: Final = "0x07a2d13a"
_DECIMALS: Final = "0x313ce567"
_ASSET: Final = "0x38d52e0f"


async def _fetch(unit: WorkUnit, session: Session) -> None:
    vault = unit.demand.entity.lower()
    if not is_address(vault):
        raise SourceError(f"expected the address of a vault, received {unit.demand.entity!r}", Verdict.FINAL)
    ends = await ends_of(days_over(unit, session, with_eve=True), Chain(session))
    if not ends:
        return
    shares, unit_of_assets = await _scale(session, vault)
    data = call_data(_CONVERT_TO_ASSETS, ["uint256"], [shares])
    calls = [
        contract_call(vault, data, block, {"date": day.isoformat(), "block": block, "one": str(unit_of_assets)})
        for day, block in ends.items()
    ]
    found = await ask_keepers(session, calls)
    lost = [one for one in found if has_failed(one) and one.verdict == Verdict.PROVIDER]
    if len(lost) == len(found):
        words_ = f"no node keeps the state of {min(ends)} … {max(ends)}; name one that keeps an archive"
        raise SourceError(f"{words_}: {lost[0]}", Verdict.PROVIDER)
    session.checkpoint(max(ends).isoformat())


async def _scale(session: Session, vault: str) -> tuple[int, int]:
    """Return how many of the smallest shares to ask for, and how many of the smallest assets stand for one share."""
    asked = [contract_call(vault, call_data(selector), "latest") for selector in (_DECIMALS, _ASSET)]
    share_decimals, asset = (_word(answer, vault) for answer in results(await probe(session, asked)))
    found = await probe(session, [contract_call(address_of(asset), call_data(_DECIMALS), "latest")])
    asset_decimals = _word(results(found)[0], vault)
    if max(share_decimals, asset_decimals) > _MAX_DECIMALS:
        raise SourceError(f"{vault}: received {share_decimals} and {asset_decimals} decimals", Verdict.FINAL)
    more = max(0, DIGITS - asset_decimals)
    return 10 ** (share_decimals + more), 10 ** (asset_decimals + more)


def _word(answer: bytes, vault: str) -> int:
    try:
        return words(answer, 1)[0]
    except ValueError as error:
        raise SourceError(f"{vault} is no vault of ERC-4626: {error}", Verdict.FINAL) from error


def parse(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read prices; a day before the vault was there has none."""
    rows = [
        (call.about["date"], call.about["block"], words(answer, 1)[0] / int(call.about["one"]))
        for call, answer in answered(page)
        if answer
    ]
    found = pl.DataFrame(rows, schema=["date", "block_number", "assets_per_share"], orient="row")
    return {
        "share_prices": found.select(
            pl.lit(CHAIN).alias("chain"),
            pl.lit(page.demand.entity.lower()).alias("vault"),
            pl.col("date").cast(pl.String).str.to_date(),
            pl.col("block_number").cast(pl.Int64),
            pl.col("assets_per_share").cast(pl.Float64),
        )
    }


DATASETS: Final = (DatasetSpec("erc4626", "share_price", HOST, _fetch, parse, Cadence.MONTHS, 35.0),)
"""What this source offers."""
