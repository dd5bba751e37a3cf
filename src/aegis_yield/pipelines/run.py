"""Run: collect, validate, train if due, evaluate, gate, promote, forecast, allocate, as one resumable whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from aegis_yield import __version__
from aegis_yield.models.training import Observer
from aegis_yield.pipelines.run_engine import RunSummary, Step, run_steps
from aegis_yield.pipelines.run_journal import Journal
from aegis_yield.pipelines.run_judging import Evaluate, Gate, Promote
from aegis_yield.pipelines.run_output import Allocate, Forecast
from aegis_yield.pipelines.run_steps import Bench, Collect, Quiet, RunOrder, Train, Validate
from aegis_yield.utils.project import project_root

__all__ = ["RunOrder", "RunSummary", "run", "runs_folder"]


def runs_folder() -> Path:
    """Return where state, logs and lock of runs lie."""
    return project_root() / "data" / "runs"


def run(order: RunOrder, observer: Observer | None = None, say: Callable[[str], None] = lambda _: None) -> RunSummary:
    """Do what is due, and nothing twice.

    Parameters
    ----------
    order : RunOrder
        What to do.
    observer : Observer, optional
        Watches a training.
    say : callable
        Receives lines of text.

    Returns
    -------
    RunSummary
        How each step ended; failures are in it, not raised.
    """

    def steps(journal: Journal) -> Sequence[Step]:
        journal.line("order", version=__version__, **asdict(order))
        bench = Bench(order, journal, observer or Quiet(), say)
        kinds = (Collect, Validate, Train, Evaluate, Gate, Promote, Forecast, Allocate)
        return [kind(bench) for kind in kinds]

    return run_steps(runs_folder(), steps, say)
