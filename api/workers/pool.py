"""The pool of worker processes: bounded, with deadlines; a worker that hangs or dies is replaced.

``WorkerPool(settings, source)`` with ``await pool.start()`` and ``await pool.stop()``, or ``async with`` it: in the
app's lifespan, before the first request and after the last. ``await pool.decide(job, served)`` gives an answer.
No process is started before the first question.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from aegis_yield.domain.errors import AegisError
from aegis_yield.pipelines.predict import Forecaster
from api.freshness import Source
from api.settings import WorkerSettings
from api.workers.failures import DeadlineError, StoppingError, WorkerDiedError, WorkerFailedError
from api.workers.loading import LOADING, Loader
from api.workers.messages import Answer, Job, State, error_from, job_message
from api.workers.queueing import Busyness, Counter, Durations, queue_full
from api.workers.worker import EndedError, Worker

logger = logging.getLogger("aegis_yield.service")

Served = Callable[[], Forecaster]
"""Says what the service serves now; raises an ``AegisError`` if nothing."""

STOP_WAIT_S: Final = 3.0


@dataclass(frozen=True)
class PoolStatus:
    """How the pool does.

    Attributes
    ----------
    workers, running, busy, waiting : int
        Places, processes that run, those at work, and requests that wait.
    answered, refused, late, died, cancelled : int
        Requests since the start, by how they ended: with an answer or a client's own error, for want of a place,
        at their deadline, with their worker, because the client was gone.
    started : int
        Processes started.
    """

    workers: int
    running: int
    busy: int
    waiting: int
    answered: int
    refused: int
    late: int
    died: int
    cancelled: int
    started: int


class WorkerPool:
    """Worker processes for risk and optimisation.

    Parameters
    ----------
    settings : WorkerSettings
        How many, how many may wait, deadlines.
    source : Source or None
        Where model and tables come from; None if from no files.
    """

    def __init__(self, settings: WorkerSettings, source: Source | None) -> None:
        self.settings = settings
        self._source = source or Source()
        self._durations = Durations()
        self._loader = Loader(None if source is None else source.data, source is None, self._durations)
        self._workers = [Worker() for _ in range(settings.workers)]
        self._counter = Counter(self._workers, settings.waiting)
        self._works: dict[Worker, Busyness] = {}
        self._idle: dict[Worker, asyncio.TimerHandle] = {}
        self._counts = dict.fromkeys(("answered", "refused", "late", "died", "cancelled"), 0)
        self._is_open = False

    async def start(self) -> None:
        """Accept questions; no process is started yet."""
        self._is_open = True

    async def stop(self) -> None:
        """Send away who waits, end every process."""
        self._is_open = False
        self._counter.close()
        for timer in self._idle.values():
            timer.cancel()
        for worker in self._workers:
            worker.kill()
        try:
            async with asyncio.timeout(STOP_WAIT_S):
                await self._loader.stop()
                await asyncio.gather(*(worker.end() for worker in self._workers))
        except TimeoutError:
            logger.error("worker processes were killed and have not ended: %s", self.pids)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    @property
    def status(self) -> PoolStatus:
        """How the pool does."""
        return PoolStatus(
            workers=len(self._workers),
            running=sum(worker.is_alive for worker in self._workers),
            busy=len(self._works),
            waiting=self._counter.n_waiting,
            started=self._loader.n_started,
            **self._counts,
        )

    @property
    def pids(self) -> list[int]:
        """Numbers of the processes that run."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    async def decide(self, job: Job, served: Served) -> Answer:
        """Let a worker decide something, from what the service serves when the worker begins.

        Parameters
        ----------
        job : Job
            What.
        served : callable
            Says what the service serves.

        Raises
        ------
        AegisError
            What was wrong with the question, or with what the service serves.
        WorkerError
            If there is no answer for another reason. Cancelling ends the work.
        """
        try:
            found = await self._decide(job, served)
        except AegisError:
            self._counts["answered"] += 1
            raise
        except DeadlineError:
            self._counts["late"] += 1
            raise
        except WorkerDiedError:
            self._counts["died"] += 1
            raise
        except asyncio.CancelledError:
            self._counts["cancelled"] += 1
            raise
        self._counts["answered"] += 1
        return found

    async def _decide(self, job: Job, served: Served) -> Answer:
        if not self._is_open:
            raise StoppingError
        if self._counter.is_full:
            self._counts["refused"] += 1
            raise queue_full(self._counter, self._works.values(), self._durations)
        clock = asyncio.get_running_loop().time
        began = clock()
        deadline = began + job.seconds
        worker = await self._counter.take(deadline, job.seconds)
        taken = clock()
        start = self._durations.usual(LOADING) if worker.state is None else 0.0
        self._take_up(worker, Busyness(job.kind, taken + start, deadline))
        try:
            state = await self._loader.prepare(worker, served, deadline, job.seconds)
            loaded = clock()
            self._works[worker] = Busyness(job.kind, loaded, deadline)
            body = await self._work(worker, job, state, deadline)
            self._durations.saw(job.kind, clock() - loaded)
            return Answer(body, state, taken - began, loaded - taken, clock() - loaded)
        finally:
            self._put_back(worker, served)

    async def _work(self, worker: Worker, job: Job, state: State, deadline: float) -> bytes:
        try:
            async with asyncio.timeout_at(deadline):
                header, body = await worker.ask(job_message(job, state))
        except TimeoutError:
            worker.kill()
            logger.warning("%s took longer than %g s: its worker was ended", job.kind, job.seconds)
            raise DeadlineError(job.seconds, "the calculation was stopped; ask for less or allow more") from None
        except asyncio.CancelledError:
            worker.kill()
            raise
        except EndedError as error:
            worker.kill()
            if not self._is_open:
                raise StoppingError from error
            logger.error("the worker at %s ended: %s", job.kind, error)
            retry = self._durations.usual(LOADING)
            reason = f"the worker that calculated this ended ({error}); a new one starts"
            raise WorkerDiedError(reason, retry) from error
        if header["status"] == "error":
            raise error_from(header)
        if header["status"] != "ok":
            logger.error("%s failed: %s\n%s", job.kind, header.get("text"), header.get("trace", ""))
            raise WorkerFailedError("an unexpected error, logged at the service")
        return body

    def _take_up(self, worker: Worker, work: Busyness) -> None:
        timer = self._idle.pop(worker, None)
        if timer is not None:
            timer.cancel()
        self._works[worker] = work

    def _put_back(self, worker: Worker, served: Served) -> None:
        """Free a worker; one that was killed gets a new process at once, so that the next question finds it ready."""
        del self._works[worker]
        if not self._is_open:
            return
        if worker.was_killed:
            self._loader.replace(worker, served)
        if not self._counter.give(worker):
            self._await_idleness(worker)

    def _await_idleness(self, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        self._idle[worker] = loop.call_later(self.settings.idle_s, self._give_up, worker)

    def _give_up(self, worker: Worker) -> None:
        """End a process that nobody has asked for long, while its place goes on."""
        self._idle.pop(worker, None)
        if self._loader.is_at(worker):
            self._await_idleness(worker)
        elif worker not in self._works:
            self._loader.give_up(worker)
