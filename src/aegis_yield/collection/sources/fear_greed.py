"""The Fear & Greed index of alternative.me: how greedy the crypto market is, 0 … 100, a number a day since 2018-02-01.

Facts (alternative.me): everything comes as text, newest first; ``timestamp`` is the midnight at which the day begins,
in UNIX seconds as long as no ``date_format`` is asked for, so none ever is. Errors come with HTTP 200, told by
``metadata.error``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from aegis_yield.collection.datasets import DatasetSpec, Session, number, utc_from_s
from aegis_yield.collection.series import Point, series_rows
from aegis_yield.collection.units import Page, Request, WorkUnit
from aegis_yield.collection.verdicts import Verdict, decoded
from aegis_yield.domain.errors import SourceError

SOURCE: Final = "fear_greed"
_PASSING: Final = re.compile(r"(?i)rate|limit exceeded|too many|time.?out|try again|temporar|unavailable|internal")
"""Words of errors that pass; the source documents none."""


def _check(content: Any) -> None:
    if not isinstance(content, dict):
        raise SourceError(f"expected an object, received {str(content)[:120]}", Verdict.FINAL)
    metadata = content.get("metadata")
    error = metadata.get("error") if isinstance(metadata, dict) else None
    if error:
        passing = _PASSING.search(str(error))
        raise SourceError(f"metadata.error is {str(error)[:120]!r}", Verdict.TRANSIENT if passing else Verdict.FINAL)
    if not isinstance(content.get("data"), list):
        raise SourceError(f"expected a list `data`, received {str(content)[:120]}", Verdict.FINAL)


async def _fetch(unit: WorkUnit, session: Session) -> None:  # noqa: ARG001 - every fetch has this form
    await session.ask(Request("fear_greed", "/fng/", {"limit": 0, "format": "json"}), _check)


def parse_index(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read the index: series ``fear_greed``, 0 … 100, dated the day that begins at its timestamp."""
    items = decoded(page.body)["data"]
    points = []
    for item in reversed(items):
        moment = utc_from_s(item.get("timestamp"))
        points.append(Point(moment and moment.date(), number(item.get("value"))))
    return series_rows(page, "fear_greed", points)


DATASETS: Final[tuple[DatasetSpec, ...]] = (DatasetSpec(SOURCE, "index", "fear_greed", _fetch, parse_index),)
"""What this source offers."""
