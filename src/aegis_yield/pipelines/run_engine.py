"""Engine of a run: steps done only if their inputs changed, resumable, one run at a time, all of it logged."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from aegis_yield.domain.errors import AegisError
from aegis_yield.pipelines.run_journal import Done, Journal, now_text, only_run
from aegis_yield.utils.project import project_root

Results = Mapping[str, Mapping[str, Any]]
"""Of the steps before, by name."""

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
EXIT_LOCKED: Final = 4
EXIT_INTERRUPTED: Final = 130


class Status(StrEnum):
    """How a step ended."""

    DONE = "done"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    NOT_RUN = "not run"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Outcome:
    """What a step came to.

    Attributes
    ----------
    said : str
        In words, for the summary.
    result : mapping
        What later steps and later runs need of it; ``files``, if there, lists what must still lie in
        the project's folder to skip it.
    fault : str
        Why it failed although it brought a result: the run goes on, its exit code tells.
    fingerprint : str, optional
        Of its inputs, where the step itself has changed them.
    """

    said: str
    result: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""
    fingerprint: str | None = None


class Step(Protocol):
    """One step of a run."""

    @property
    def name(self) -> str:
        """How the log and the summary call it."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Steps without which it is not run."""
        ...

    def fingerprint(self, results: Results) -> str:
        """Return a hash of its inputs, given the results of the steps before."""
        ...

    def run(self, results: Results) -> Outcome:
        """Do it; doing it twice does no harm."""
        ...


@dataclass(frozen=True)
class StepReport:
    """One line of the summary.

    Attributes
    ----------
    name : str
        Of the step.
    status : Status
        How it ended.
    said : str
        What it came to, or why it did not.
    seconds : float
        How long it took.
    """

    name: str
    status: Status
    said: str
    seconds: float = 0.0


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    Attributes
    ----------
    steps : tuple of StepReport
        In order.
    log : Path or None
        Where each step is written down; None if the run did not begin.
    locked_by : str
        Who is running already; empty if nobody.
    """

    steps: tuple[StepReport, ...] = ()
    log: Path | None = None
    locked_by: str = ""

    @property
    def exit_code(self) -> int:
        """0 done or nothing to do, 1 a step failed, 4 another run is at work, 130 interrupted."""
        ends = {step.status for step in self.steps}
        if self.locked_by:
            return EXIT_LOCKED
        if Status.INTERRUPTED in ends:
            return EXIT_INTERRUPTED
        return EXIT_FAILED if Status.FAILED in ends else EXIT_DONE

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "exit_code": self.exit_code,
            "locked_by": self.locked_by,
            "log": str(self.log) if self.log else None,
            "steps": [{**vars(step), "status": str(step.status)} for step in self.steps],
        }


def run_steps(
    folder: Path, make_steps: Callable[[Journal], Sequence[Step]], say: Callable[[str], None] = lambda _: None
) -> RunSummary:
    """Do the steps whose inputs changed since they were last completed.

    Parameters
    ----------
    folder : Path
        Of state, logs and lock.
    make_steps : callable
        Receives the journal, under the lock, and returns the steps in order.
    say : callable
        Receives a line of text after each step.

    Returns
    -------
    RunSummary
        Which step did what. A step that failed, or was not run, stops those that need it and no others.
    """
    with only_run(folder) as holder:
        if holder is not None:
            return RunSummary(locked_by=holder)
        journal = Journal(folder)
        journal.line("begin")
        course = _Course(journal, say)
        for step in make_steps(journal):
            course.take(step)
        summary = RunSummary(tuple(course.reports), journal.log)
        journal.line("end", exit_code=summary.exit_code)
        return summary


class _Course:
    """Takes step after step and remembers what came of them."""

    def __init__(self, journal: Journal, say: Callable[[str], None]) -> None:
        self._journal, self._say = journal, say
        self._results: dict[str, Mapping[str, Any]] = {}
        self.reports: list[StepReport] = []

    def take(self, step: Step) -> None:
        """Skip a step, or do it."""
        began = time.monotonic()
        trace: dict[str, str] = {}
        try:
            status, said = self._taken(step)
        except KeyboardInterrupt:
            status, said = Status.INTERRUPTED, "interrupted; the same command goes on here"
        except (AegisError, OSError, MemoryError, ImportError) as error:
            status, said = Status.FAILED, " ".join(str(error).split()) or type(error).__name__
        except Exception as error:  # noqa: BLE001 - nobody watches: steps that do not need this one go on, the log tells
            status, said = Status.FAILED, f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
            trace = {"traceback": traceback.format_exc()}
        report = StepReport(step.name, status, said, round(time.monotonic() - began, 3))
        self.reports.append(report)
        self._journal.line("step", step=step.name, status=str(status), said=said, seconds=report.seconds, **trace)
        self._say(f"{step.name}: {status}: {said}")

    def _taken(self, step: Step) -> tuple[Status, str]:
        if any(report.status is Status.INTERRUPTED for report in self.reports):
            return Status.NOT_RUN, "the run was interrupted before"
        lacking = [name for name in step.needs if name not in self._results]
        if lacking:
            return Status.NOT_RUN, f"needs {' and '.join(lacking)}"
        fingerprint = step.fingerprint(self._results)
        before = self._journal.done(step.name)
        if before is not None and before.fingerprint == fingerprint and _is_there(before.result):
            self._results[step.name] = before.result
            return Status.UNCHANGED, before.said
        self._journal.line("start", step=step.name)
        outcome = step.run(self._results)
        self._results[step.name] = outcome.result
        if outcome.fault:
            return Status.FAILED, outcome.fault
        kept = outcome.fingerprint or fingerprint
        self._journal.complete(step.name, Done(kept, outcome.result, outcome.said, now_text()))
        return Status.DONE, outcome.said


def _is_there(result: Mapping[str, Any]) -> bool:
    return all((project_root() / name).is_file() for name in result.get("files", ()))
