"""What an answer means for the asker: ask again, ask elsewhere, ask for less, leave the host alone, or give up."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

from aegis_yield.domain.errors import SourceError

SHOWN_CHARS: Final = 160


class Verdict(StrEnum):
    """What may be done about an answer that is of no use."""

    TRANSIENT = "transient"  # ask again, later
    BANNED = "banned"  # leave the host alone for a good while
    PROVIDER = "provider"  # this node cannot answer, another may
    TOO_LARGE = "too_large"  # ask for less
    FINAL = "final"  # asking again would change nothing


_TRANSIENT_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 528)})
_BANNED_STATUS: Final = frozenset({403, 418})


def verdict_of_status(status: int) -> Verdict | None:
    """Return what an HTTP status means, None for success."""
    if 200 <= status < 300:
        return None
    if status in _TRANSIENT_STATUS:
        return Verdict.TRANSIENT
    return Verdict.BANNED if status in _BANNED_STATUS else Verdict.FINAL


def refuse_status(status: int, headers: Mapping[str, str], body: bytes, now: dt.datetime) -> None:
    """Raise what an HTTP status means; return if it means success.

    Raises
    ------
    SourceError
        With the verdict, the first words of the body and what ``Retry-After`` asks for.
    """
    verdict = verdict_of_status(status)
    if verdict is not None:
        wait = retry_after_s(headers.get("retry-after"), now)
        raise SourceError(f"HTTP {status}: {brief(body)}", verdict, wait)


def retry_after_s(header: str | None, now: dt.datetime) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3), None if it says nothing usable."""
    if header is None:
        return None
    text = header.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = parsedate_to_datetime(text)
        except (ValueError, OverflowError, IndexError, TypeError):  # of a date that is none, by kind of nonsense
            return None
        when = when if when.tzinfo else when.replace(tzinfo=dt.UTC)
        seconds = (when - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def decoded(body: bytes) -> Any:
    """Return a JSON body's content.

    Raises
    ------
    SourceError
        Transient: a truncated answer or a page of HTML where JSON was expected is a mishap on the way.
    """
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"answer is not JSON ({error}): {brief(body)}", Verdict.TRANSIENT) from error


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def brief(body: bytes) -> str:
    """Return the beginning of a body as one line."""
    text = as_line(body[: 4 * SHOWN_CHARS].decode(errors="replace"))
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def as_line(text: str) -> str:
    """Return foreign text as one line that every terminal and file can take."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())
