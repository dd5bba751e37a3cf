"""Recording: forecasts that were given out go into the forecast store, from one thread that no request waits for."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from aegis_yield.monitoring.store import ForecastStore
from aegis_yield.pipelines.predict import Answer
from aegis_yield.pipelines.record import open_store, record_forecasts, store_path

logger = logging.getLogger("aegis_yield.service")

MAX_WAITING: Final = 256
"""Answers that wait to be written; more are dropped, and counted."""

MAX_KNOWN: Final = 200_000
"""Ids remembered as recorded: the same question asked again costs nothing."""

STOP_WAIT_S: Final = 2.0


class Recorder:
    """Takes answers and writes them later.

    Parameters
    ----------
    path : Path
        The store.
    simulated_too : bool
        Whether forecasts on simulated data are taken: strategies there have the names of real ones, and what became
        of a real one says nothing about them.
    """

    def __init__(self, path: Path, simulated_too: bool = True) -> None:
        self.dropped = 0
        """Forecasts that could not be recorded."""
        self._path = path
        self._simulated_too = simulated_too
        self._waiting: queue.Queue[Answer | None] = queue.Queue(MAX_WAITING)
        self._known: set[str] = set()
        self._counting = threading.Lock()
        self._stop = threading.Event()
        self._last_problem = ""
        self._thread = threading.Thread(target=self._write, name="recording", daemon=True)
        self._thread.start()

    def knows(self, ids: Iterable[str | None], simulated: bool) -> bool:
        """Return whether forecasts of these ids were all taken before: then there is nothing to do."""
        return self.wants(simulated) and self._known.issuperset(ids)

    def wants(self, simulated: bool) -> bool:
        """Return whether forecasts on such data are taken at all."""
        return self._simulated_too or not simulated

    def take(self, answer: Answer) -> bool:
        """Take an answer for recording; False if it cannot be, at once in either case."""
        ids = _ids(answer)
        if not ids or not self.wants(answer.simulated):
            return False
        if all(one in self._known for one in ids):
            return True
        if len(self._known) > MAX_KNOWN:
            self._known = set()
        self._known.update(ids)  # before the writer sees it: where writing fails, it takes them out again
        try:
            self._waiting.put_nowait(answer)
        except queue.Full:
            self._lose(ids, "too many forecasts wait to be written")
            return False
        return True

    def stop(self) -> None:
        """Write what waits for a moment, then leave the rest."""
        self._stop.set()
        with contextlib.suppress(queue.Full):  # if full, the writer is awake and sees that it shall stop
            self._waiting.put_nowait(None)
        self._thread.join(STOP_WAIT_S)
        if self._thread.is_alive():
            logger.warning("stopped while up to %d answers were not recorded yet", self._waiting.qsize() + 1)

    def _write(self) -> None:
        store: ForecastStore | None = None
        while (answer := self._next()) is not None:
            try:
                store = store or open_store(self._path)
                record_forecasts(_without_others(answer), store)
            except Exception as error:  # noqa: BLE001 - whatever it is, forecasts go on and the next is tried
                self._lose(_ids(answer), str(error))
                _close(store)
                store = None
        _close(store)

    def _next(self) -> Answer | None:
        """Wait for an answer; None when all is done."""
        try:
            return self._waiting.get(block=not self._stop.is_set())
        except queue.Empty:
            return None

    def _lose(self, ids: list[str], problem: str) -> None:
        self._known.difference_update(ids)
        with self._counting:
            self.dropped += len(ids)
            is_news, self._last_problem = problem != self._last_problem, problem
        if is_news:
            logger.error("forecasts are not recorded: %s", problem)


def recorder_for(wanted: bool | None) -> Recorder | None:
    """Return a recorder of the project's store; without a wish, only where it can be written, and of real data only."""
    path = store_path()
    if wanted is None:
        return Recorder(path, simulated_too=False) if _is_writable(path) else None
    return Recorder(path) if wanted else None


def _is_writable(path: Path) -> bool:
    nearest = next((place for place in (path, *path.parents) if place.exists()), path)
    return (nearest == path or nearest.is_dir()) and os.access(nearest, os.W_OK)


def _ids(answer: Answer) -> list[str]:
    return [key for row in answer.rows if (key := answer.forecast_id(row)) is not None]


def _without_others(answer: Answer) -> Answer:
    """Return an answer without the quantiles of strategies that were not asked for."""
    asked = pl.col("strategy_id").is_in([row.strategy_id for row in answer.rows])
    return replace(answer, forecasts=answer.forecasts.filter(asked))


def _close(store: ForecastStore | None) -> None:
    if store is not None:
        store.close()
