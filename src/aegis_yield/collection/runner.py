"""Runs a plan: several hosts side by side, each at its own pace; one bad unit never stops the others."""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from aegis_yield.collection.client import Check, Client, Reply, anything
from aegis_yield.collection.datasets import Cadence, DatasetSpec
from aegis_yield.collection.journal import Journal, Status
from aegis_yield.collection.reader import BATCH_PAGES, Reader, in_words
from aegis_yield.collection.sources import dataset_of
from aegis_yield.collection.units import Demand, Request, WorkUnit
from aegis_yield.collection.verdicts import Verdict
from aegis_yield.domain.errors import AegisError, SourceError

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
        for demand in dict.fromkeys(demands)  # two strategies may want the same
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
        try:
            async with asyncio.TaskGroup() as group:
                for host, queue in queues.items():
                    for _ in range(min(concurrency.get(host, 1), len(queue))):
                        group.create_task(work(queue))
        except ExceptionGroup as several:  # such as a full disk: the first one says it all
            raise several.exceptions[0] from several
        self._read()
        self._settle_units(units)
        # Answers come in any order, and what is told should not differ from run to run.
        place = {unit.id: number for number, unit in enumerate(units)}
        self.failures.sort(key=lambda failure: place.get(failure.unit.id, -1))

    async def _do(self, unit: WorkUnit) -> None:
        self._journal.begin(unit, self._moment.now)
        self._reader.figures.unreadable.pop(unit.id, None)  # of an earlier run: it is asked again now
        session = UnitSession(unit, self._client, self._journal, self._moment)
        try:
            await self._spec(unit).fetch(unit, session)
        except SourceError as error:
            self._fail(unit, str(error.verdict), str(error))
        except AegisError as error:
            self._fail(unit, str(Verdict.FINAL), str(error))
        except (OSError, sqlite3.Error, MemoryError):
            raise  # this machine's trouble, not the unit's
        except Exception as error:  # noqa: BLE001 - an answer of another form may break its asker in any way
            self._fail(unit, str(Verdict.FINAL), in_words(error))
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
            if unit.id in failed:
                continue
            if unit.id in figures.unreadable:
                self._fail(unit, str(Verdict.FINAL), figures.unreadable[unit.id])
            elif figures.rows_of_unit.get(unit.id) == 0 and self._is_new_and_done(unit):
                self._journal.finish(unit, Status.EMPTY, self._moment.now)
        # Left over from a run that was killed between asking and reading: the unit counted as done.
        for unit_id in figures.unreadable.keys() - {unit.id for unit in units}:
            self._journal.fail(unit_id, str(Verdict.FINAL), figures.unreadable[unit_id], self._moment.now)

    def _is_new_and_done(self, unit: WorkUnit) -> bool:
        # With a cursor it was walked before, in a run whose rows are not counted here.
        return self._journal.status(unit) == Status.DONE and not self._journal.cursor(unit)

    def _fail(self, unit: WorkUnit, verdict: str, reason: str) -> None:
        self._journal.fail(unit.id, verdict, reason, self._moment.now)
        self.failures.append(Failure(unit, verdict, reason))

    def _spec(self, unit: WorkUnit) -> DatasetSpec:
        return dataset_of(unit.demand.source, unit.demand.dataset)
