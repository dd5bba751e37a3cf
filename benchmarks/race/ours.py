"""Ours: the project's own training at each cut-off and its own evaluation after it, nothing else.

The forecasts come from :func:`aegis_yield.pipelines.evaluate.evaluate`, which is what ``aegis evaluate`` runs; a bundle
made elsewhere can take the place of training (``--bundle CUTOFF=PATH``).
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console

from aegis_yield.cli.progress import TrainingDisplay
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.models.bundle import Bundle, load_bundle
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.pipelines.datasets import content_hash
from aegis_yield.pipelines.evaluate import EvaluationOrder, evaluate
from aegis_yield.pipelines.names import load_names
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.pipelines.train import TrainingOrder, train
from aegis_yield.preprocessing.origins import walk_origins
from aegis_yield.preprocessing.panel import to_date, to_day
from benchmarks.race.store import code_digest, digest
from benchmarks.race.task import Run, Task, panel_around, without

PLAN_FIELDS: Final = ("epochs", "batch_size", "seed", "members")
REPEATS: Final = 5
EXPECTED_NETWORKS: Final = 10
"""About so many networks are trained by default, for the estimate of the time left."""

TRAINING_CODE: Final = (
    "src/aegis_yield/domain/*.py", "src/aegis_yield/preprocessing/**/*.py", "src/aegis_yield/models/*.py",
    "src/aegis_yield/pipelines/train.py",
)  # fmt: skip


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
    main = 7 if 7 in task.horizons else task.horizons[0]
    return Run(tables, {"fit": fit_seconds} | seconds_of_origin(task.dataset, bundle, to_date(task.origins[-1]), main))


def seconds_of_origin(dataset: Dataset, bundle: Bundle, origin: dt.date, horizon_days: int) -> dict[str, float]:
    """Time forecasts of all strategies at one origin.

    Returns
    -------
    dict
        ``origin``: from inputs in memory to calibrated quantiles, as the peers are timed; ``answer``: the
        service's answer to a question asked before; ``features``: its first answer, from the tables. Medians of
        several, except the last.
    """
    known = dataset.known_at(origin)
    batch = next(iter(walk_origins(panel_around(known, [to_day(origin)], 0), [to_day(origin)])))

    def forecast() -> object:
        raw = bundle.model.locate(batch.inputs, horizon_days)
        return bundle.calibrator.forecasts(raw, batch.keys, horizon_days, QUANTILE_LEVELS)

    forecaster = Forecaster(known, bundle, "race", load_names())
    question = Question(None, horizon_days)
    first = _seconds(lambda: forecaster.ask(question))
    _seconds(forecast)  # networks are built on first use
    return {
        "origin": median(_seconds(forecast) for _ in range(REPEATS)),
        "answer": median(_seconds(lambda: forecaster.ask(question)) for _ in range(REPEATS)),
        "features": first,
    }


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _bundle(task: Task) -> tuple[Bundle, float]:
    given = task.settings.get("bundle")
    if given:
        return _checked(load_bundle(Path(str(given))), task, str(given)), float("nan")
    name = f"bundle-{_training_digest(task)}"
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


def _training_digest(task: Task) -> str:
    """Return a hash of what training depends on: code that only forecasts or scores is not part of it."""
    plan = {name: task.settings[name] for name in PLAN_FIELDS if name in task.settings}
    facts = {"plan": plan, "cutoff": task.cutoff, "held_out": sorted(task.held_out)}
    return digest(facts | {"data": content_hash(task.dataset), "code": code_digest(TRAINING_CODE)})


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
