"""Runs a plan: several hosts side by side, each at its own pace; one bad unit never stops the others."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from aegis_yield.collection.client import Check, Client, Reply, anything
from aegis_yield.collection.datasets import Cadence, DatasetSpec
from aegis_yield.collection.journal import Journal, Status
from aegis_yield.collection.reader import BATCH_PAGES, Reader
from aegis_yield.collection.sources import dataset_of
from aegis_yield.collection.units import Demand, Request, WorkUnit
from aegis_yield.domain.errors import SourceError

SETTLED_AFTER: Final = dt.timedelta(days=1)
"""A month is closed for good so long after its end: no source still adds to it then."""


@dataclass(frozen=True)
class Moment:
    """When a run takes place and how far back it looks.

    Attributes
    ----------
    now : datetime
        UTC; the same for the whole run.
    since : date
        Nothing before it is asked for.
    """

    now: dt.datetime
    since: dt.date

    @property
    def today(self) -> dt.date:
        """The UTC day of :attr:`now`."""
        return self.now.date()


@dataclass(frozen=True)
class Failure:
    """A unit that failed and why."""

    unit: WorkUnit
    verdict: str
    reason: str


def units_to_do(demands: Sequence[Demand], moment: Moment, journal: Journal) -> list[WorkUnit]:
    """Return the units of all demands that are not done yet, oldest windows first within a demand."""
    statuses = journal.statuses()
    finished = (Status.DONE, Status.EMPTY)
    units = (
        unit
        for demand in demands
        for unit in dataset_of(demand.source, demand.dataset).units(demand, moment.since, moment.today)
    )
    return [unit for unit in units if statuses.get(unit.id) not in finished]


class UnitSession:
    """What the fetching of one unit may use (see :class:`~aegis_yield.collection.datasets.Session`)."""

    def __init__(self, unit: WorkUnit, client: Client, journal: Journal, moment: Moment) -> None:
        self._unit, self._client, self._journal, self._moment = unit, client, journal, moment
        self.n_pages = 0

    @property
    def now(self) -> dt.datetime:
        """The moment that this run calls now."""
        return self._moment.now

    @property
    def since(self) -> dt.date:
        """Nothing before this day is wanted."""
        return self._moment.since

    @property
    def cursor(self) -> str:
        """Where the unit goes on."""
        return self._journal.cursor(self._unit)

    @property
    def blocks(self) -> Journal:
        """Remembers blocks by time."""
        return self._journal

    async def ask(self, request: Request, check: Check = anything) -> Reply:
        """Ask, land and enter the answer among those to be read."""
        reply = await self._client.ask(self._unit, request, check)
        self._journal.landed(reply.raw_id, self._unit.demand, self._unit.id)
        self.n_pages += 1
        return reply

    async def probe(self, request: Request, check: Check = anything) -> Reply:
        """Ask and land; nobody reads the answer later."""
        return await self._client.ask(self._unit, replace(request, is_probe=True), check)

    def checkpoint(self, cursor: str) -> None:
        """Remember how far the unit is."""
        self._journal.move(self._unit, cursor)


class Runner:
    """Works through units.

    Parameters
    ----------
    client : Client
        Asks.
    journal : Journal
        Remembers.
    reader : Reader
        Reads answers into the history while others are still asked for.
    moment : Moment
        Now.
    """

    def __init__(self, client: Client, journal: Journal, reader: Reader, moment: Moment) -> None:
        self._client, self._journal, self._reader, self._moment = client, journal, reader, moment
        self._unread = 0
        self.failures: list[Failure] = []

    async def run(
        self, units: Sequence[WorkUnit], concurrency: Mapping[str, int], report: Callable[[int, int], None]
    ) -> None:
        """Fetch all units and read their answers.

        Parameters
        ----------
        units : sequence of WorkUnit
            In the order in which each host is to be asked.
        concurrency : mapping of str to int
            Workers by host.
        report : callable
            Told how many of how many units are behind.
        """
        queues: dict[str, deque[WorkUnit]] = {}
        for unit in units:
            queues.setdefault(self._spec(unit).host, deque()).append(unit)
        done = 0

        async def work(queue: deque[WorkUnit]) -> None:
            nonlocal done
            while queue:
                await self._do(queue.popleft())
                done += 1
                report(done, len(units))

        report(0, len(units))
        async with asyncio.TaskGroup() as group:
            for host, queue in queues.items():
                for _ in range(min(concurrency.get(host, 1), len(queue))):
                    group.create_task(work(queue))
        self._read()
        self._settle_units(units)

    async def _do(self, unit: WorkUnit) -> None:
        self._journal.begin(unit, self._moment.now)
        session = UnitSession(unit, self._client, self._journal, self._moment)
        try:
            await self._spec(unit).fetch(unit, session)
        except SourceError as error:
            self._fail(unit, str(error.verdict), str(error))
        else:
            self._journal.finish(unit, self._status_after(unit), self._moment.now)
        self._unread += session.n_pages
        if self._unread >= BATCH_PAGES:
            self._read()

    def _status_after(self, unit: WorkUnit) -> Status:
        whole = self._spec(unit).cadence == Cadence.WHOLE
        over = dt.datetime.combine(unit.end, dt.time(), dt.UTC) + SETTLED_AFTER <= self._moment.now
        return Status.DONE if whole or over else Status.OPEN

    def _read(self) -> None:
        self._reader.read_waiting()
        self._unread = 0

    def _settle_units(self, units: Sequence[WorkUnit]) -> None:
        """Tell the journal of units whose answers held nothing, or nothing that could be read."""
        figures = self._reader.figures
        failed = {failure.unit.id for failure in self.failures}
        for unit in units:
            if unit.id in figures.unreadable:
                self._fail(unit, "final", figures.unreadable[unit.id])
            elif unit.id not in failed and figures.rows_of_unit.get(unit.id) == 0:
                status = self._journal.status(unit)
                if status == Status.DONE:
                    self._journal.finish(unit, Status.EMPTY, self._moment.now)

    def _fail(self, unit: WorkUnit, verdict: str, reason: str) -> None:
        self._journal.fail(unit.id, verdict, reason, self._moment.now)
        self.failures.append(Failure(unit, verdict, reason))

    def _spec(self, unit: WorkUnit) -> DatasetSpec:
        return dataset_of(unit.demand.source, unit.demand.dataset)
