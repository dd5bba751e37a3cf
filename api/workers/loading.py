"""Bringing a worker to what the service serves: started, loaded, reloaded when behind, given up when idle.

None of it is bound to one request: a request whose deadline passes meanwhile leaves, and the next finds more done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aegis_yield.domain.errors import AegisError
from aegis_yield.pipelines.predict import Forecaster
from api.workers.failures import DeadlineError, StoppingError, WorkerDiedError, WorkerFailedError
from api.workers.messages import BEHIND, Files, State, error_from, load_message
from api.workers.queueing import Durations
from api.workers.served import States, files_of, write_copies
from api.workers.worker import EndedError, Worker

logger = logging.getLogger("aegis_yield.service")

LOADING: Final = "loading"
LOAD_LIMIT_S: Final = 120.0
ATTEMPTS: Final = 3
MOST_BACKOFF_S: Final = 30.0


@dataclass
class Trouble:
    """Starts of a worker that failed one after another."""

    n_failed: int = 0
    not_before: float = 0.0


class Loader:
    """Starts workers and loads what is served into them.

    Parameters
    ----------
    data : Path or None
        Dataset folder of the service; None for the default.
    only_copies : bool
        Whether what is served came from no files.
    durations : Durations
        Learns how long loading takes.
    """

    def __init__(self, data: Path | None, only_copies: bool, durations: Durations) -> None:
        self.n_started = 0
        self._data = data
        self._only_copies = only_copies
        self._durations = durations
        self._states = States()
        self._tasks: dict[Worker, asyncio.Task[Any]] = {}
        self._troubles: dict[Worker, Trouble] = {}
        self._is_open = True

    def is_at(self, worker: Worker) -> bool:
        """Whether a worker is being loaded or given up."""
        return worker in self._tasks

    async def prepare(self, worker: Worker, served: Callable[[], Forecaster], deadline: float, seconds: float) -> State:
        """Wait until a worker holds what the service serves; return what that is.

        Raises
        ------
        AegisError
            If the service serves nothing, or a worker cannot get it.
        DeadlineError
            If the deadline passes; loading goes on.
        WorkerDiedError
            If the process ends meanwhile.
        """
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    if worker in self._tasks:
                        await asyncio.wait({self._tasks[worker]})
                    state = await self._states.of(served())
                    if worker.is_alive and worker.state == state:
                        return state
                    if left := self._backoff_s(worker):
                        raise WorkerDiedError("the worker does not start; the log says why", left)
                    task = self._begin(worker, self._load(worker, served))
                    await asyncio.wait({task})
                    if task.cancelled():
                        raise StoppingError
                    task.result()
        except TimeoutError:
            reason = "the worker was still loading model and tables, which goes on; ask again"
            raise DeadlineError(seconds, reason) from None

    def replace(self, worker: Worker, served: Callable[[], Forecaster]) -> None:
        """Start a new process in the place of one that was killed; nobody waits for it."""
        if worker not in self._tasks and not self._backoff_s(worker):
            self._begin(worker, self._load(worker, served))

    def give_up(self, worker: Worker) -> None:
        """Let an idle process end; the next question starts another."""
        if worker not in self._tasks and worker.is_alive:
            self._begin(worker, worker.retire())

    async def stop(self) -> None:
        """Break off whatever is under way."""
        self._is_open = False
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, worker: Worker, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[worker] = task

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.pop(worker, None)
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.warning("a worker could not be made ready: %s", error)

        task.add_done_callback(ended)
        return task

    def _backoff_s(self, worker: Worker) -> float:
        """Return for how long a worker that has just failed to start is not started again."""
        not_before = self._troubles.get(worker, Trouble()).not_before
        return max(0.0, not_before - asyncio.get_running_loop().time())

    async def _load(self, worker: Worker, served: Callable[[], Forecaster]) -> State:
        clock = asyncio.get_running_loop().time
        trouble = self._troubles.setdefault(worker, Trouble())
        if not self._is_open:
            raise StoppingError
        began = clock()
        try:
            async with asyncio.timeout(LOAD_LIMIT_S):
                if not worker.is_alive:
                    self.n_started += 1
                    await worker.start()
                state = await self._bring(worker, served)
        except (EndedError, TimeoutError, OSError) as error:
            worker.kill()
            trouble.n_failed += 1
            pause = min(2.0**trouble.n_failed, MOST_BACKOFF_S)
            trouble.not_before = clock() + pause
            raise WorkerDiedError(f"the worker ended while it was loading ({error or 'too slow'})", pause) from error
        except asyncio.CancelledError:
            worker.kill()
            raise
        self._troubles.pop(worker, None)
        self._durations.saw(LOADING, clock() - began)
        return state

    async def _bring(self, worker: Worker, served: Callable[[], Forecaster]) -> State:
        """Load what is served from its files; where they have changed since, from copies of what is in memory."""
        for _ in range(ATTEMPTS):
            forecaster = served()
            state = await self._states.of(forecaster)
            files = None if self._only_copies else files_of(forecaster, self._data)
            if files is not None and await self._has_loaded(worker, state, files):
                return state
            if served() is not forecaster:
                continue
            with _folder() as folder:
                copies = await asyncio.to_thread(write_copies, forecaster, folder)
                if await self._has_loaded(worker, state, copies):
                    return state
        raise AegisError("model and tables change faster than a worker can load them; ask again")

    @staticmethod
    async def _has_loaded(worker: Worker, state: State, files: Files) -> bool:
        header, _ = await worker.ask(load_message(state, files))
        if header["status"] == "ok":
            worker.state = state
            return True
        if header["status"] == BEHIND:
            logger.info("a worker gets copies of what is served: %s", header["text"])
            return False
        if header["status"] == "error":
            raise error_from(header)
        logger.error("a worker could not load: %s\n%s", header["text"], header["trace"])
        raise WorkerFailedError("an unexpected error, logged at the service")


@contextlib.contextmanager
def _folder() -> Any:
    """Make a folder that is removed when it was read."""
    try:
        with tempfile.TemporaryDirectory(prefix="aegis-worker-", ignore_cleanup_errors=True) as name:
            yield Path(name)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise AegisError(f"model and tables could not be handed to the worker: {reason}") from error
