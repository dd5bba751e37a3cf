"""Failures of worker processes: what may come instead of an answer."""

from __future__ import annotations


class WorkerError(Exception):
    """No answer, and why, in words fit for a client."""


class QueueFullError(WorkerError):
    """All workers are busy and the queue is full."""

    def __init__(self, waiting: int, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        others = f"{waiting} requests wait" if waiting != 1 else "1 request waits"
        super().__init__(f"all workers are busy and {others} for one; no more may wait")


class DeadlineError(WorkerError):
    """The deadline passed."""

    def __init__(self, seconds: float, stage: str) -> None:
        super().__init__(f"no answer within {seconds:g} s: {stage}")


class WorkerDiedError(WorkerError):
    """The worker process ended before it had answered, or does not start."""

    def __init__(self, reason: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(reason)


class WorkerFailedError(WorkerError):
    """The worker met an error that nobody foresaw; its trace is in the log."""


class StoppingError(WorkerError):
    """The service is shutting down."""

    def __init__(self) -> None:
        super().__init__("the service is shutting down")
