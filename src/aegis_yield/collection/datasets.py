"""What a source offers: datasets, each with how it is cut into units, asked for and read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

import polars as pl

from aegis_yield.collection.client import Check, Reply, anything
from aegis_yield.collection.journal import Journal
from aegis_yield.collection.units import Demand, Page, Request, WorkUnit, daily_unit, monthly_units


class Cadence(StrEnum):
    """How a dataset is cut into units."""

    WHOLE = "whole"  # one answer holds all there is: one unit a UTC day
    MONTHS = "months"  # asked for by time: one unit a calendar month, the last one open


class Session(Protocol):
    """What a dataset's ``fetch`` may use."""

    @property
    def now(self) -> dt.datetime:
        """The moment that this run calls now, UTC."""

    @property
    def since(self) -> dt.date:
        """Nothing before this day is wanted."""

    @property
    def cursor(self) -> str:
        """Where an open unit goes on; empty at its beginning."""

    @property
    def blocks(self) -> Journal:
        """Remembers which block was the last at a moment."""

    async def ask(self, request: Request, check: Check = anything) -> Reply:
        """Ask, land the answer and return it; only answers to this are read into the history."""

    async def probe(self, request: Request, check: Check = anything) -> Reply:
        """Ask and land, but let no reader see the answer: it only helps to ask the real question."""

    def checkpoint(self, cursor: str) -> None:
        """Say that everything before ``cursor`` is landed: a later run goes on there."""


Fetch = Callable[[WorkUnit, Session], Awaitable[None]]
Parse = Callable[[Page], Mapping[str, pl.DataFrame]]


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset of one source.

    Attributes
    ----------
    source, name : str
        As in :class:`~aegis_yield.collection.units.Demand`.
    host : str
        Where it is asked for.
    fetch : callable
        Asks everything of a unit through a session.
    parse : callable
        Reads one answer: a table of :mod:`schemas` to its rows. Pure: sees the answer and nothing else.
    cadence : Cadence
        How it is cut into units.
    requests_per_unit : float
        Typical, for the plan.
    needs_key : bool
        Whether it is left out, with a word about it, while its host has no key.
    """

    source: str
    name: str
    host: str
    fetch: Fetch
    parse: Parse
    cadence: Cadence = Cadence.WHOLE
    requests_per_unit: float = 1.0
    needs_key: bool = False

    def units(self, demand: Demand, since: dt.date, today: dt.date) -> list[WorkUnit]:
        """Return the units of a demand, oldest first."""
        if self.cadence == Cadence.WHOLE:
            return [daily_unit(demand, today)]
        return monthly_units(demand, since, today)


async def ask_once(request: Request, session: Session, check: Check = anything) -> None:
    """Ask the one request that a whole unit is."""
    await session.ask(request, check)


def number(value: Any) -> float | None:
    """Return a JSON value as a number, whether it came as one or as text; None for null and empty text.

    What cannot be read becomes NaN: the hard checks then set the row aside with its reason.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool):  # a truth is no number, though Python could count with it
        return NAN
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return NAN


def percent(value: Any) -> float | None:
    """Return a JSON number in percent as a fraction (see :func:`number`)."""
    found = number(value)
    return None if found is None else found / 100.0


def text(value: Any) -> str | None:
    """Return a JSON value as text, None for null."""
    return None if value is None else str(value)


NAN: Final = float("nan")


def utc_from_ms(milliseconds: Any) -> dt.datetime | None:
    """Return a UNIX time in milliseconds, number or text, as UTC; None if it is no time."""
    try:
        return EPOCH + dt.timedelta(milliseconds=int(milliseconds))
    except (TypeError, ValueError, OverflowError):
        return None


def utc_from_s(seconds: Any) -> dt.datetime | None:
    """Return a UNIX time in seconds, number or text, as UTC; None if it is no time."""
    try:
        return EPOCH + dt.timedelta(seconds=float(seconds))
    except (TypeError, ValueError, OverflowError):
        return None


EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
