"""A source made for tests: whole series and months of pages, on hosts that a local server plays."""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import polars as pl
from pytest_httpserver import HTTPServer
from werkzeug import Request as Asked
from werkzeug import Response

from aegis_yield.collection.datasets import Cadence, DatasetSpec, Session
from aegis_yield.collection.units import Demand, Page, Request, WorkUnit
from aegis_yield.collection.verdicts import Verdict, decoded
from aegis_yield.domain.errors import SourceError

DAY = dt.timedelta(days=1)
PAGE_DAYS = 5


def whole(entity: str) -> Demand:
    """Demand a pool's whole series."""
    return Demand("toy", "whole", entity)


def months(entity: str) -> Demand:
    """Demand a pool's series month by month."""
    return Demand("toy", "months", entity)


def blocks(entity: str) -> Demand:
    """Demand blocks, which two datasets may both see."""
    return Demand("toy", f"blocks_{entity}", entity)


def _checked(content: Any) -> None:
    if "error" in content:
        raise SourceError(f"says {content['error']}", Verdict.FINAL)


async def _fetch_whole(unit: WorkUnit, session: Session) -> None:
    await session.ask(Request("binance", f"/whole/{unit.demand.entity}"), _checked)


async def _fetch_months(unit: WorkUnit, session: Session) -> None:
    entity, cursor = unit.demand.entity, session.cursor or max(unit.start, session.since).isoformat()
    await session.probe(Request("bybit", "/time"))
    while True:
        reply = await session.ask(
            Request("bybit", f"/months/{entity}", {"from": cursor, "to": str(unit.end)}), _checked
        )
        days = [row["day"] for row in reply.content["days"]]
        if not days:
            return
        session.checkpoint(max(days))
        if len(days) < PAGE_DAYS:
            return
        cursor = str(dt.date.fromisoformat(max(days)) + DAY)


async def _fetch_blocks(unit: WorkUnit, session: Session) -> None:
    await session.ask(Request("okx", f"/{unit.demand.dataset}"), _checked)


def _parse_days(page: Page) -> Mapping[str, pl.DataFrame]:
    days = decoded(page.body)["days"]
    rows = {
        "pool": [page.demand.entity] * len(days),
        "date": [dt.date.fromisoformat(row["day"]) for row in days],
        "apy": [float(row["apy"]) for row in days],
        "is_final": [bool(row.get("is_final", True)) for row in days],
    }
    types = {"pool": pl.String, "date": pl.Date, "apy": pl.Float64, "is_final": pl.Boolean}
    return {"pool_days": pl.DataFrame(rows, schema=types)}


def _parse_blocks(page: Page) -> Mapping[str, pl.DataFrame]:
    numbers = decoded(page.body)["numbers"]
    rows = {
        "chain": ["ethereum"] * len(numbers),
        "block_number": numbers,
        "block_hash": [f"0x{number:x}" for number in numbers],
        "time": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + number * dt.timedelta(seconds=12) for number in numbers],
    }
    return {"chain_blocks": pl.DataFrame(rows)}


TOYS = {
    (spec.source, spec.name): spec
    for spec in (
        DatasetSpec("toy", "whole", "binance", _fetch_whole, _parse_days),
        DatasetSpec("toy", "months", "bybit", _fetch_months, _parse_days, Cadence.MONTHS),
        DatasetSpec("toy", "blocks_a", "okx", _fetch_blocks, _parse_blocks),
        DatasetSpec("toy", "blocks_b", "okx", _fetch_blocks, _parse_blocks),
    )
}
"""To be put among the datasets that there are."""


def apy_of(entity: str, day: dt.date) -> float:
    """What the source says that a pool paid on a day."""
    return (day.toordinal() % 97 + len(entity)) / 10_000


def row_of(entity: str, day: dt.date, is_final: bool = True) -> dict[str, Any]:
    """One day of an answer."""
    return {"day": day.isoformat(), "apy": apy_of(entity, day), "is_final": is_final}


class ToyServer:
    """Plays both hosts, up to a day that tests may move, as slowly as tests want, and counts what it was asked."""

    def __init__(self, server: HTTPServer, first: dt.date, last: dt.date, delay_s: float = 0.0) -> None:
        self.first, self.last, self.delay_s = first, last, delay_s
        self.asked: Counter[str] = Counter()
        self.answers: dict[str, Any] = {}
        self._lock = threading.Lock()
        server.expect_request("/time").respond_with_handler(lambda asked: self._answer(asked, {"now": 1}))
        server.expect_request(re.compile("/(whole/|months/|blocks_).*")).respond_with_handler(self._series)

    def _series(self, asked: Asked) -> Response:
        entity = asked.path.rsplit("/", 1)[-1]
        first = dt.date.fromisoformat(asked.args.get("from", str(self.first)))
        end = dt.date.fromisoformat(asked.args.get("to", str(self.last + DAY)))
        days = [day for n in range((self.last - self.first).days + 1) if first <= (day := self.first + n * DAY) < end]
        if "from" in asked.args:
            days = days[:PAGE_DAYS]
        return self._answer(asked, {"days": [row_of(entity, day, day < self.last) for day in days]})

    def _answer(self, asked: Asked, content: Any) -> Response:
        with self._lock:
            self.asked[asked.path] += 1
        time.sleep(self.delay_s)
        answer = self.answers.get(asked.path, content)
        if callable(answer) and not isinstance(answer, Response):
            answer = answer(content)
        return answer if isinstance(answer, Response) else Response(json.dumps(answer), mimetype="application/json")
