"""Train: tables in, one self-contained bundle out."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis_yield import __version__
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import HistoryError, TrainingError
from aegis_yield.models.bundle import Bundle, bundle_bytes
from aegis_yield.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from aegis_yield.models.fitting import FittedModel, FittingSession, Progress
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.training import Observer
from aegis_yield.pipelines.datasets import content_hash
from aegis_yield.pipelines.training_record import RecordedObserver, recording, results_of
from aegis_yield.pipelines.training_scores import scores_of_training
from aegis_yield.preprocessing.panel import build_panel, to_date
from aegis_yield.preprocessing.splits import TimeSplit, split_time
from aegis_yield.preprocessing.windows import build_windows
from aegis_yield.registry import models_folder, publish, version_of
from aegis_yield.registry.recorder import Recorder
from aegis_yield.registry.settings import TrackingSettings
from aegis_yield.utils.project import code_version

CHECKPOINT_PATTERN = "unfinished-*.ckpt"


@dataclass(frozen=True)
class TrainingOrder:
    """What to train on and where the result goes.

    Attributes
    ----------
    dataset : Dataset
        Validated tables.
    plan : TrainingPlan
        Choices that change the result.
    until : datetime.date, optional
        Use rows dated up to this day only.
    models : Path
        Folder of bundles; the next free version is taken.
    resume : bool
        Go on with an unfinished training of the same plan on the same data.
    tracking : TrackingSettings, optional
        Where the training is recorded; by default nowhere.
    """

    dataset: Dataset
    plan: TrainingPlan
    until: dt.date | None = None
    models: Path | None = None
    resume: bool = False
    tracking: TrackingSettings | None = None

    @property
    def folder(self) -> Path:
        """Where bundles lie."""
        return self.models or models_folder()

    @property
    def checkpoint(self) -> Path:
        """Where unfinished work lies; trainings of different plans do not get into each other's way."""
        plan = json.dumps(self.plan.to_dict(), sort_keys=True).encode()
        name = CHECKPOINT_PATTERN.replace("*", hashlib.sha256(plan).hexdigest()[:8])
        return self.folder / ".training" / name


@dataclass(frozen=True)
class TrainingResult:
    """What training brought."""

    path: Path
    bundle: Bundle
    split: TimeSplit


def train(order: TrainingOrder, observer: Observer, say: Callable[[str], None] = lambda _: None) -> TrainingResult:
    """Train, calibrate and write one bundle.

    Parameters
    ----------
    order : TrainingOrder
        What to do.
    observer : Observer
        Watches the networks being trained.
    say : callable
        Receives a line of text at each step.

    Returns
    -------
    TrainingResult
        The bundle and where it lies.

    Raises
    ------
    HistoryError
        If there is too little data.
    TrainingError
        If nothing was learned before an interruption, or ``resume`` finds other data or another plan.
    """
    dataset = order.dataset.known_at(order.until) if order.until else order.dataset
    if not dataset.yields.height:
        raise HistoryError(f"{dataset.name}: no row dated up to {order.until}; choose a later --until")
    fingerprint = content_hash(dataset)
    panel = build_panel(dataset)
    split = split_time(panel.first_day, panel.first_day + panel.n_days - 1)
    data = build_windows(panel)
    session = FittingSession(data, split, order.plan)
    order.checkpoint.parent.mkdir(parents=True, exist_ok=True)  # fail now, not after the first epoch
    say(
        f"{dataset.name}: {dataset.yields.height:,} rows of {panel.n_strategies:,} strategies, "
        f"{dataset.first_date} … {dataset.last_date}; train to {to_date(split.train_end)}, "
        f"validate to {to_date(split.validation_end)}, calibrate to {to_date(split.calibration_end)}"
    )
    identity = {"plan": order.plan.to_dict(), "data_hash": fingerprint}
    if order.resume:
        session.progress = _resumed(order, identity, say)
    with recording(order.tracking, order.plan, dataset) as recorder:
        fitted = session.run(RecordedObserver(observer, recorder) if recorder else observer, _saver(order, identity))
        bundle = Bundle(
            model=fitted.model,
            calibrator=fitted.calibrator,
            provenance={
                **_provenance(dataset, fingerprint, order.plan, split, fitted),
                "scores": scores_of_training(session, fitted),
            },
        )
        path = _published(bundle, order, recorder)
    if recorder and recorder.said:
        say(recorder.said)
    if not fitted.interrupted:
        order.checkpoint.unlink(missing_ok=True)
    return TrainingResult(path, bundle, split)


def _published(bundle: Bundle, order: TrainingOrder, recorder: Recorder | None) -> Path:
    content = bundle_bytes(bundle)
    if recorder:
        recorder.publishing(results_of(content, bundle.provenance))
    path = publish(content, order.folder)
    if recorder:
        recorder.published(version_of(path))
    return path


def _saver(order: TrainingOrder, identity: dict[str, Any]) -> Callable[[Progress], None]:
    return lambda progress: save_checkpoint(order.checkpoint, Checkpoint(identity, progress))


def _resumed(order: TrainingOrder, identity: dict[str, Any], say: Callable[[str], None]) -> Progress:
    others = sorted(order.checkpoint.parent.glob(CHECKPOINT_PATTERN))
    if not others:
        say("nothing to resume: starting anew")
        return Progress()
    held = load_checkpoint(order.checkpoint if order.checkpoint in others else others[0])
    differing = [key for key in identity if held.identity.get(key) != identity[key]]
    if differing:
        raise TrainingError(
            f"{order.checkpoint.parent}: what is unfinished there belongs to a training with another "
            f"{' and '.join(differing)}; give the same options and data, or leave --resume out to start anew"
        )
    current = held.progress.current.epoch if held.progress.current else 0
    say(f"resuming after {len(held.progress.done)} finished networks and {current} epochs of the next")
    return held.progress


def _provenance(
    dataset: Dataset, fingerprint: str, plan: TrainingPlan, split: TimeSplit, fitted: FittedModel
) -> dict[str, Any]:
    # No clock and no path: the same data, seed and code give the same bytes.
    return {
        "project_version": __version__,
        "commit": code_version(),
        "plan": plan.to_dict(),
        "data": {
            "sha256": fingerprint,
            "simulated": dataset.is_simulated,
            "first_date": dataset.first_date.isoformat(),
            "last_date": dataset.last_date.isoformat(),
            "n_rows": dataset.yields.height,
            "n_strategies": int(dataset.yields["strategy_id"].n_unique()),
        },
        "split": {
            "train_end": to_date(split.train_end).isoformat(),
            "validation_end": to_date(split.validation_end).isoformat(),
            "calibration_end": to_date(split.calibration_end).isoformat(),
        },
        "epochs": fitted.epochs,
        "metrics": {"validation_score": round(fitted.validation_score, 6)},
        "interrupted": fitted.interrupted,
        "n_scores": len(fitted.scores),
        "curves": {name: [round(value, 6) for value in curve] for name, curve in fitted.curves.items()},
    }
