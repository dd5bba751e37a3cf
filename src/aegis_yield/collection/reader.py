"""From landed answers to the history: every answer is read, checked and stored, and the journal told of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeVar

import polars as pl

from aegis_yield.collection.history import Appended, History, stamped
from aegis_yield.collection.journal import Journal, Waiting
from aegis_yield.collection.raw import RawZone
from aegis_yield.collection.sources import dataset_of
from aegis_yield.collection.units import Page
from aegis_yield.collection.verdicts import as_line
from aegis_yield.domain.errors import AegisError

Item = TypeVar("Item")

BATCH_PAGES: Final = 64
"""Answers read at once: bounds memory, and a segment is written per table and batch."""


@dataclass
class ReadFigures:
    """What reading brought.

    Attributes
    ----------
    appended : dict
        Counts by (source, dataset).
    rows_of_unit : dict
        Rows found in the answers of each unit.
    unreadable : dict
        Reason by unit, where an answer could not be read.
    """

    appended: dict[tuple[str, str], Appended] = field(default_factory=dict)
    rows_of_unit: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def count(self, source: tuple[str, str], appended: Appended) -> None:
        """Add counts of one source."""
        self.appended[source] = self.appended.get(source, Appended()) + appended


class Reader:
    """Reads answers of the raw zone into a history."""

    def __init__(self, raw: RawZone, journal: Journal, history: History) -> None:
        self._raw, self._journal, self._history = raw, journal, history
        self.figures = ReadFigures()

    def adopt_orphans(self) -> int:
        """Enter answers into the journal that were landed when something was killed; return how many."""
        newest = self._journal.newest_page()
        # A day more: what was landed just before midnight may be entered just after it.
        day = dt.datetime.strptime(newest[:8], "%Y%m%d").date() - dt.timedelta(days=1) if newest else None
        known = self._journal.known_pages(f"{day:%Y%m%d}" if day else "")
        orphans = 0
        for path in self._raw.files(since=day):
            raw_id = path.name.partition(".")[0]
            if raw_id not in known:
                page = self._raw.page(path)
                orphans += page is not None
                if page is not None:
                    self._journal.landed(raw_id, page.demand, page.unit_id)
        return orphans

    def read_waiting(self) -> None:
        """Read everything that waits, a batch at a time."""
        for batch in _batches(self._journal.waiting()):
            self._read_batch(batch)

    def rebuild(self, report: Callable[[int, int], None]) -> History:
        """Read the whole raw zone into a new history and change over to it.

        Parameters
        ----------
        report : callable
            Told how many of how many answers were read.
        """
        files = list(self._raw.files())
        successor = self._history.next_generation()
        reader = Reader(self._raw, self._journal, successor)
        done = 0
        for batch in _batches(files):
            reader._store([page for path in batch if (page := self._raw.page(path)) is not None])
            done += len(batch)
            report(done, len(files))
        successor.adopt()
        self.figures = reader.figures
        return successor

    def _read_batch(self, batch: Sequence[Waiting]) -> None:
        pages, lost = [], []
        for item in batch:
            try:
                page = self._raw.page(self._raw.path_of(item.demand, item.raw_id))
            except AegisError as error:
                self.figures.unreadable[item.unit_id] = str(error)
                page = None
            pages += [page] if page is not None else []
            lost += [item.raw_id] if page is None else []
        unread = self._store(pages)
        self._journal.settle([*lost, *unread], "unreadable")
        self._journal.settle([page.raw_id for page in pages if page.raw_id not in unread], "stored")

    def _store(self, pages: Sequence[Page]) -> set[str]:
        """Store what pages hold; return the raw_ids of those that could not be read."""
        tables: dict[str, list[pl.DataFrame]] = {}
        unread: set[str] = set()
        source_of = {page.raw_id: (page.demand.source, page.demand.dataset) for page in pages}
        for page in pages:
            try:
                found = read_page(page)
            except Exception as error:  # noqa: BLE001 - a foreign answer may break its reader in any way
                unread.add(page.raw_id)
                self.figures.unreadable[page.unit_id] = in_words(error)
                continue
            for table, rows in found.items():
                tables.setdefault(table, []).append(rows)
            n_rows = sum(rows.height for rows in found.values())
            self.figures.rows_of_unit[page.unit_id] = self.figures.rows_of_unit.get(page.unit_id, 0) + n_rows
        # Of all datasets at once, because two of them may see the same thing, such as a block: the first one holds.
        for table, frames in tables.items():
            for raw_id, appended in self._history.append_pages(table, pl.concat(frames)).items():
                self.figures.count(source_of[raw_id], appended)
        return unread


def read_page(page: Page) -> dict[str, pl.DataFrame]:
    """Return what one answer holds: rows by table, with types and provenance.

    Raises
    ------
    Exception
        Of many kinds, if the answer is not what the source promises.
    """
    spec = dataset_of(page.demand.source, page.demand.dataset)
    found = spec.parse(page)
    return {table: stamped(rows, table, page.raw_id, page.fetched_at) for table, rows in found.items()}


def in_words(error: Exception) -> str:
    """Return why an answer could not be read, as one line."""
    return f"unreadable: {type(error).__name__}: {as_line(str(error))[:200]}"


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH_PAGES)):
        yield batch
