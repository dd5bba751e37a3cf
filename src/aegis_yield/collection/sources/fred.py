"""FRED of the St. Louis Fed: rates of interest (DFF) and volatility (VIXCLS), daily and in percent; needs a key.

Facts (fred.stlouisfed.org/docs/api): the answer is XML unless ``file_type`` says otherwise; values are text, ``"."``
stands for a day without one (holidays). A day's value is published on the next business day. Only daily series make
sense here: FRED dates a month by its first day. The key is a query parameter, which the client adds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from aegis_yield.collection.datasets import DatasetSpec, Session, number
from aegis_yield.collection.series import Point, series_rows
from aegis_yield.collection.units import Page, Request, WorkUnit
from aegis_yield.collection.verdicts import Verdict, decoded, verdict_of_status
from aegis_yield.domain.errors import SourceError

SOURCE: Final = "fred"
LIMIT: Final = 100_000
"""Observations in an answer at most; a daily series reaches that after 270 years."""

_MISSING: Final = "."


def _check(content: Any) -> None:
    if not isinstance(content, dict):
        raise SourceError(f"expected an object, received {str(content)[:120]}", Verdict.FINAL)
    if "error_code" in content:
        code = content["error_code"]
        verdict = verdict_of_status(code) if isinstance(code, int) else None
        raise SourceError(f"error {code}: {str(content.get('error_message'))[:120]}", verdict or Verdict.FINAL)
    if not isinstance(content.get("observations"), list):
        raise SourceError(f"expected a list `observations`, received {str(content)[:120]}", Verdict.FINAL)
    if (number(content.get("count")) or 0) > LIMIT:
        raise SourceError(f"answer is cut: {content['count']} observations, {LIMIT} at most", Verdict.FINAL)


async def _fetch(unit: WorkUnit, session: Session) -> None:
    asked: dict[str, str | int] = {
        "series_id": unit.demand.entity,
        "file_type": "json",
        "observation_start": session.since.isoformat(),
    }
    await session.ask(Request("fred", "/fred/series/observations", asked), _check)


def parse_observations(page: Page) -> Mapping[str, pl.DataFrame]:
    """Read a series under its own id, as published."""
    items = decoded(page.body)["observations"]
    given = (item for item in items if item.get("value") != _MISSING)
    points = [Point(_day(item.get("date")), number(item.get("value"))) for item in given]
    return series_rows(page, page.demand.entity, points)


def _day(text: Any) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text)
    except (TypeError, ValueError):
        return None


DATASETS: Final[tuple[DatasetSpec, ...]] = (
    DatasetSpec(SOURCE, "observations", "fred", _fetch, parse_observations, needs_key=True),
)
"""What this source offers."""
