"""Run: collect, validate, train if due, evaluate, gate, promote, calibrate, forecast, allocate, all resumable."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from aegis_yield import __version__
from aegis_yield.domain.errors import AegisError
from aegis_yield.models.training import Observer
from aegis_yield.pipelines.bookkeeping import told
from aegis_yield.pipelines.run_calibrating import Calibrate
from aegis_yield.pipelines.run_engine import EXIT_DONE, EXIT_FAILED, RunSummary, Step, run_steps
from aegis_yield.pipelines.run_journal import Journal
from aegis_yield.pipelines.run_judging import Evaluate, Gate, Promote
from aegis_yield.pipelines.run_output import Allocate, Forecast
from aegis_yield.pipelines.run_steps import Bench, Collect, Quiet, RunOrder, Train, Validate
from aegis_yield.pipelines.shelf import Shelf
from aegis_yield.registry import models_folder, read_registry, stamp
from aegis_yield.registry.records import now_ms
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
        kinds = (Collect, Validate, Train, Evaluate, Gate, Promote, Calibrate, Forecast, Allocate)
        return [kind(bench) for kind in kinds]

    began_ms, aliases_before = now_ms(), stamp(models_folder())
    summary = run_steps(runs_folder(), steps, say)
    if summary.exit_code in (EXIT_DONE, EXIT_FAILED):
        _tell_store(began_ms, aliases_before != stamp(models_folder()))
    return summary


def _tell_store(began_ms: int, has_moved: bool) -> None:
    """Deliver scores and aliases in the end, at once: a store that is away costs one warning, not one a step."""
    try:
        shelf = Shelf.open()
        waiting = list(shelf.outbox.waiting())
        if not shelf.tracking.enabled or not (waiting or has_moved):
            return
        # A training of this run that could not be recorded has warned already.
        has_warned = any(one.kind == "training" and one.ended_ms >= began_ms for one in waiting)
        with warnings.catch_warnings(action="ignore" if has_warned else None):
            told(shelf, read_registry(shelf.folder))
    except (AegisError, OSError) as error:
        warnings.warn(f"the store was not told: {error}; later: aegis models sync", stacklevel=3)
