"""What a node tells about the chain, as values: headers, logs, fees; and what it may be asked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aegis_yield.collection.abi import bytes_of, from_hex
from aegis_yield.collection.datasets import utc_from_s

CHAIN: Final = "ethereum"
HOST: Final = "ethereum"


@dataclass(frozen=True)
class Header:
    """A block's number, UNIX time and hash."""

    number: int
    time: int
    hash: str


@dataclass(frozen=True)
class Log:
    """An event of a contract.

    Attributes
    ----------
    block_number, log_index : int
        Where it lies; together unique once the block is final.
    block_hash : str
        Of its block.
    topics : tuple of str
        Indexed arguments, the event's own hash first.
    data : bytes
        The other arguments.
    time : datetime or None
        Of its block, where the node says so: ``blockTimestamp`` is new and not everywhere.
    """

    block_number: int
    log_index: int
    block_hash: str
    topics: tuple[str, ...]
    data: bytes
    time: dt.datetime | None


@dataclass(frozen=True)
class FeeHistory:
    """Fees of consecutive blocks, in wei.

    Attributes
    ----------
    oldest : int
        The first block: a node may answer fewer blocks than it was asked for, so it must say.
    base_fees, tips : tuple of int
        Of each block; the tip at the one percentile that was asked for.
    gas_used : tuple of float
        Part of the gas limit; 0 for an empty block.
    """

    oldest: int
    base_fees: tuple[int, ...]
    tips: tuple[int, ...]
    gas_used: tuple[float, ...]


def header_of(result: Mapping[str, Any]) -> Header:
    """Read a block."""
    return Header(from_hex(result["number"]), from_hex(result["timestamp"]), str(result["hash"]))


def logs_of(result: list[Mapping[str, Any]]) -> list[Log]:
    """Read logs in the order of the chain; those taken back by a reorganisation are left out."""
    found = [_log(item) for item in result if not item.get("removed", False)]
    return sorted(found, key=lambda log: (log.block_number, log.log_index))


def _log(item: Mapping[str, Any]) -> Log:
    stamp = item.get("blockTimestamp")
    return Log(
        from_hex(item["blockNumber"]),
        from_hex(item["logIndex"]),
        str(item["blockHash"]),
        tuple(map(str, item["topics"])),
        bytes_of(item["data"]),
        None if stamp is None else utc_from_s(from_hex(stamp)),
    )


def fees_of(result: Mapping[str, Any]) -> FeeHistory:
    """Read fees. ``baseFeePerGas`` has one item more than there are blocks: that of the next block, left out here."""
    used = [float(part) for part in result["gasUsedRatio"]]
    base_fees = [from_hex(fee) for fee in result["baseFeePerGas"]][: len(used)]
    tips = [from_hex(row[0]) for row in result.get("reward") or ()]
    if not len(base_fees) == len(tips) == len(used):
        raise ValueError(f"expected as many fees as blocks, received {len(base_fees)}, {len(tips)} and {len(used)}")
    return FeeHistory(from_hex(result["oldestBlock"]), tuple(base_fees), tuple(tips), tuple(used))


READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "eth_getBlockByNumber": header_of,
    "eth_getLogs": logs_of,
    "eth_feeHistory": fees_of,
    "eth_call": bytes_of,
}
"""How the answer to each method is read; what cannot be read raises ValueError, TypeError, KeyError or the like."""
