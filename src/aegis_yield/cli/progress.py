"""Progress with rate and time left: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from aegis_yield.models.training import EpochReport  # would load torch, which counting steps does not need


class TrainingDisplay:
    """Shows networks being trained: loss, validation score, windows a second, time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:.0f}% loss {task.fields[loss]:.3f} score {task.fields[score]}"),
            TextColumn("{task.fields[rate]:,.0f} windows/s"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._label, self._loss, self._score = "", 0.0, "-"
        self._windows, self._epoch_size, self._epoch, self._began = 0, 1, 1, 0.0
        self._drawn = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._progress.stop()

    def started(self, label: str, max_epochs: int, windows_per_epoch: int) -> None:
        """Announce a network."""
        self._label, self._epoch_size, self._windows, self._epoch = label, windows_per_epoch, 0, 1
        self._score, self._began = "-", time.monotonic()
        if self._live:
            self._new_bar()
        else:
            self._console.print(f"{label}: {windows_per_epoch:,} windows an epoch, at most {max_epochs} epochs")

    def advanced(self, n_windows: int, loss: float) -> None:
        """Count a batch; the screen is refreshed a few times a second at most."""
        self._windows += n_windows
        self._loss = 0.98 * self._loss + 0.02 * loss if self._loss else loss
        now = time.monotonic()
        if self._live and self._task is not None and now - self._drawn > 0.2:
            self._drawn = now
            done = self._windows - (self._epoch - 1) * self._epoch_size
            self._progress.update(self._task, completed=done, loss=self._loss, score=self._score, rate=self._rate())

    def epoch_ended(self, report: EpochReport) -> None:
        """Show an epoch's result."""
        self._score = f"{report.score:.4f}" if report.score == report.score else "-"
        best = " (best so far)" if report.improved and self._score != "-" else ""
        score = f", validation score {self._score}{best}" if self._score != "-" else ""
        self._console.print(
            f"{report.label}: epoch {report.epoch}, loss {report.loss:.4f}{score}, {self._rate():,.0f} windows/s"
        )
        self._epoch += 1
        if self._live:
            self._new_bar()

    def _rate(self) -> float:
        return self._windows / max(time.monotonic() - self._began, 1e-9)

    def _new_bar(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        fields: dict[str, Any] = {
            "loss": self._loss,
            "score": self._score,
            "rate": self._rate() if self._windows else 0.0,
        }
        label = f"{self._label} epoch {self._epoch}"
        self._task = self._progress.add_task(label, total=self._epoch_size, **fields)


class StepDisplay:
    """Shows a counted job: a bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console, what: str) -> None:
        self._console, self._what = console, what
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("left"),
            TimeRemainingColumn(), console=console, transient=True,
        )  # fmt: skip
        self._task = self._progress.add_task(what, total=None)
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps are behind."""
        if self._console.is_terminal:
            self._progress.update(self._task, completed=done, total=total)
            return
        now = time.monotonic()
        if now - self._said >= 5.0:
            self._said = now
            rate = done / max(now - self._began, 1e-9)
            left = (total - done) / max(rate, 1e-9)
            self._console.print(f"{self._what}: {done} of {total}, {rate:.1f}/s, {left:.0f} s left")
