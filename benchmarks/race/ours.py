"""Ours: the project's own training at each cut-off and its own evaluation after it, nothing else.

The forecasts come from :func:`aegis_yield.pipelines.evaluate.evaluate`, which is what ``aegis evaluate`` runs; a bundle
made elsewhere can take the place of training (``--bundle CUTOFF=PATH``).
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console

from aegis_yield.cli.progress import TrainingDisplay
from aegis_yield.domain.dataset import Dataset
from aegis_yield.models.bundle import Bundle, load_bundle
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.pipelines.evaluate import EvaluationOrder, evaluate
from aegis_yield.pipelines.names import load_names
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.pipelines.train import TrainingOrder, train
from aegis_yield.preprocessing.panel import to_date
from benchmarks.race.store import digest
from benchmarks.race.task import Run, Task, without

PLAN_FIELDS: Final = ("epochs", "batch_size", "seed", "members")
REPEATS: Final = 5
EXPECTED_NETWORKS: Final = 5
"""Scouts and finals of the default plan, for the estimate of the time left."""


def run(task: Task) -> Run:
    """Train, or take the bundle given, then forecast every origin and horizon."""
    bundle, fit_seconds = _bundle(task)
    tables = {}
    for done, horizon in enumerate(task.horizons, start=1):
        dates = [to_date(day) for day in task.origins]
        every = (dates[1] - dates[0]).days if len(dates) > 1 else 7
        order = EvaluationOrder(task.dataset, bundle, dates[0], dates[-1], every, horizon)
        tables[horizon] = evaluate(order).forecasts.drop("actual_apy", "actual_volatility")
        task.say(EXPECTED_NETWORKS + done, EXPECTED_NETWORKS + len(task.horizons))
    return Run(tables, {"fit": fit_seconds} | seconds_of_origin(task.dataset, bundle, to_date(task.origins[-1])))


def seconds_of_origin(dataset: Dataset, bundle: Bundle, origin: dt.date) -> dict[str, float]:
    """Time forecasts of all strategies at one origin as the service makes them.

    Returns
    -------
    dict
        ``features``: the first question, from tables to answers; ``origin``: the same question again, when the
        inputs are in memory, the median of several.
    """
    known = dataset.known_at(origin)
    forecaster = Forecaster(known, bundle, "race", load_names())
    question = Question(None, 7)
    seconds = []
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        forecaster.ask(question)
        seconds.append(time.perf_counter() - began)
    return {"features": seconds[0], "origin": median(seconds[1:])}


def _bundle(task: Task) -> tuple[Bundle, float]:
    given = task.settings.get("bundle")
    if given:
        return _checked(load_bundle(Path(str(given))), task, str(given)), float("nan")
    name = f"bundle-{digest({'version': task.version, 'cutoff': task.cutoff, 'held_out': sorted(task.held_out)})}"
    facts = task.store.facts(name)
    if facts is not None and Path(facts["path"]).is_file():
        return load_bundle(Path(facts["path"])), float(facts["seconds"])
    began = time.perf_counter()
    chosen: dict[str, Any] = {name: task.settings[name] for name in PLAN_FIELDS if name in task.settings}
    order = TrainingOrder(
        dataset=without(task.dataset, task.held_out),
        plan=replace(TrainingPlan(), **chosen),
        until=to_date(task.cutoff or 0),
        models=task.store.folder / name,
        resume=(task.store.folder / name / ".training").is_dir(),
    )
    result = train(order, _Heard(task))
    seconds = time.perf_counter() - began
    task.store.keep_facts(name, {"path": str(result.path), "seconds": seconds})
    return result.bundle, seconds


def _checked(bundle: Bundle, task: Task, path: str) -> Bundle:
    cutoff = to_date(task.cutoff or 0).isoformat()
    if bundle.data_end > cutoff:
        raise ValueError(
            f"{path} learned from rows up to {bundle.data_end}, after the cut-off {cutoff}: not a fair racer"
        )
    return bundle


class _Heard(TrainingDisplay):
    """Writes what training says to standard error, and counts its networks as steps of the job."""

    def __init__(self, task: Task) -> None:
        super().__init__(Console(stderr=True))
        self._job, self._networks = task, 0

    def started(self, label: str, max_epochs: int, windows_per_epoch: int) -> None:
        """Announce a network."""
        super().started(label, max_epochs, windows_per_epoch)
        self._job.say(self._networks, EXPECTED_NETWORKS + len(self._job.horizons))
        self._networks += 1
