"""Words of the Ethereum ABI: what is sent to contracts and what they answer, as Python values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

WORD: Final = 32
_ADDRESS: Final = re.compile(r"0x[0-9a-f]{40}")

MULTICALL3: Final = "0xca11bde05977b3631167028862be2a173976ca11"
"""At this address on every larger chain; on Ethereum since before Aave v3 was there."""

_AGGREGATE3: Final = bytes.fromhex("82ad56cb")  # aggregate3((address,bool,bytes)[])


def is_address(text: str) -> bool:
    """Whether a text is an address in lower case."""
    return _ADDRESS.fullmatch(text) is not None


def from_hex(value: Any) -> int:
    """Return the number that ``0x…`` text stands for.

    Raises
    ------
    ValueError
        If it is anything else: JSON-RPC writes every number so.
    """
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError(f"expected a number as 0x…, received {value!r}")
    return int(value, 16)


def bytes_of(value: Any) -> bytes:
    """Return the bytes that ``0x…`` text stands for.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError(f"expected bytes as 0x…, received {value!r}")
    return bytes.fromhex(value[2:])


def words(data: bytes, n: int) -> list[int]:
    """Return the first ``n`` words of static data as unsigned numbers.

    Raises
    ------
    ValueError
        If the data is shorter.
    """
    if len(data) < n * WORD:
        raise ValueError(f"expected {n} words of {WORD} bytes, received {len(data)} bytes")
    return [int.from_bytes(data[at : at + WORD], "big") for at in range(0, n * WORD, WORD)]


def address_of(word: int) -> str:
    """Return the address in a word."""
    return f"0x{word:040x}"


def padded(address: str) -> str:
    """Return an address as an indexed topic of a log."""
    return "0x" + address.removeprefix("0x").rjust(2 * WORD, "0")


def call_data(selector: str, types: Sequence[str] = (), values: Sequence[Any] = ()) -> bytes:
    """Return what is sent to call a function: its selector and its arguments."""
    return bytes.fromhex(selector.removeprefix("0x")) + encode(types, values)


def aggregate3(calls: Sequence[tuple[str, bytes]]) -> bytes:
    """Return what is sent to Multicall3 to make several calls in one, each free to fail by itself."""
    return _AGGREGATE3 + encode(["(address,bool,bytes)[]"], [[(to, True, data) for to, data in calls]])


def aggregated(data: bytes, n: int) -> list[bytes | None]:
    """Return the answers to ``n`` calls made in one; None for a call that failed.

    Raises
    ------
    ValueError
        If the data is not the answer to so many.
    """
    try:
        ((*answers,),) = decode(["(bool,bytes)[]"], data)
    except DecodingError as error:
        raise ValueError(f"expected {n} answers in one, received {len(data)} bytes: {error}") from error
    if len(answers) != n:
        raise ValueError(f"expected {n} answers in one, received {len(answers)}")
    return [answer if succeeded else None for succeeded, answer in answers]
