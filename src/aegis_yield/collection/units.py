"""Work units: the pieces that collection is planned, counted and resumed in."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Demand:
    """Something wanted of a source: one pool's chart, one market's funding, one series.

    Attributes
    ----------
    source, dataset : str
        Which dataset of which source, e.g. ``"binance"``, ``"funding"``.
    entity : str
        What of it, in the source's own name, e.g. ``"ETHUSDT"``; ``"*"`` for all.
    """

    source: str
    dataset: str
    entity: str


@dataclass(frozen=True)
class WorkUnit:
    """A demand over a window of days: ``[start, end)``, UTC.

    The same demand and window make the same id on every machine and in every run.
    """

    demand: Demand
    start: dt.date
    end: dt.date

    @cached_property
    def id(self) -> str:
        """The SHA-256 of what the unit is, shortened to 32 characters."""
        parts = (self.demand.source, self.demand.dataset, self.demand.entity, self.start, self.end)
        return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:32]

    def __str__(self) -> str:
        demand = self.demand
        return f"{demand.source}/{demand.dataset}/{demand.entity} {self.start}…{self.end}"


@dataclass(frozen=True)
class Request:
    """One question to a host.

    Attributes
    ----------
    host : str
        Name of the host in ``configs/sources.toml``; its base URL is a setting.
    path : str
        Path below the base URL, beginning with ``/`` (or empty).
    params : mapping
        Query parameters.
    body : object, optional
        JSON body; makes the request a POST.
    weight : int
        How much of the host's rate limit it takes.
    context : mapping
        What the reader of the answer must know and the answer does not say; kept with the raw answer.
    is_probe : bool
        Whether the answer only helps to ask the real question and is read by nobody later.
    reads_errors : bool
        Whether an error status comes with a body whose reason says more than the status: the caller's check reads it.
    """

    host: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: Any = None
    weight: int = 1
    context: Mapping[str, Any] = field(default_factory=dict)
    is_probe: bool = False
    reads_errors: bool = False


@dataclass(frozen=True)
class Page:
    """One answer as it lies in the raw zone: everything that a reader may use.

    Attributes
    ----------
    raw_id : str
        Its name in the raw zone; sorts by time.
    demand : Demand
        What it answers.
    unit_id : str
        The unit that it was asked for.
    request : mapping
        ``path``, ``params``, ``body`` and ``context`` of the request, secrets redacted.
    fetched_at : datetime
        When the answer was complete, UTC.
    body : bytes
        As received.
    """

    raw_id: str
    demand: Demand
    unit_id: str
    request: Mapping[str, Any]
    fetched_at: dt.datetime
    body: bytes

    @property
    def context(self) -> Mapping[str, Any]:
        """What the request said for its reader."""
        context: Mapping[str, Any] = self.request.get("context", {})
        return context


def daily_unit(demand: Demand, today: dt.date) -> WorkUnit:
    """Return the unit of a dataset that is read whole, once a UTC day."""
    return WorkUnit(demand, today, today + dt.timedelta(days=1))


def monthly_units(demand: Demand, since: dt.date, today: dt.date) -> list[WorkUnit]:
    """Return one unit per calendar month from the month of ``since`` to that of ``today``."""
    units, start = [], since.replace(day=1)
    while start <= today:
        end = (start + dt.timedelta(days=32)).replace(day=1)
        units.append(WorkUnit(demand, start, end))
        start = end
    return units
