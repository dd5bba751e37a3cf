"""What of a training, an import or an evaluation goes on record: plain parameters, figures and curves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from aegis_yield.domain.dataset import Dataset
from aegis_yield.models.bundle import CALIBRATED
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.training import EpochReport, Observer
from aegis_yield.pipelines.svg_pictures import bars_svg, lines_svg
from aegis_yield.pipelines.training_scores import flat_scores, held_scores
from aegis_yield.registry.recorder import Recorder, Results
from aegis_yield.registry.records import BundleFact, Point, Record, now_ms
from aegis_yield.registry.settings import TrackingSettings

DATA_FACTS: Final = ("sha256", "simulated", "first_date", "last_date", "n_rows", "n_strategies")

_VALIDATION: Final = " validation"
_SHOWN_SCORES: Final = {
    "rel_mae": ("Scouts: error relative to the last value's", 1.0),
    "rel_crps": ("Scouts: CRPS relative to the last value's error", 1.0),
    "coverage_90": ("Scouts: share inside their own 90 % interval, before calibration", 0.9),
}


class RecordedObserver:
    """Passes everything on to another observer, and every epoch to a recorder too."""

    def __init__(self, observer: Observer, recorder: Recorder) -> None:
        self._observer, self._recorder = observer, recorder

    def started(self, label: str, max_epochs: int, windows_per_epoch: int) -> None:
        """A network starts."""
        self._observer.started(label, max_epochs, windows_per_epoch)

    def advanced(self, n_windows: int, loss: float) -> None:
        """A batch was learned."""
        self._observer.advanced(n_windows, loss)

    def epoch_ended(self, report: EpochReport) -> None:
        """An epoch ended."""
        self._observer.epoch_ended(report)
        name = report.label.partition("/")[0]
        for curve, value in ((f"loss/{name}", report.loss), (f"validation/{name}", report.score)):
            if value == value:  # a final network is not validated
                self._recorder.point(curve, report.epoch, round(value, 6))


def recording(
    settings: TrackingSettings | None, plan: TrainingPlan, dataset: Dataset
) -> AbstractContextManager[Recorder | None]:
    """Return the context in which a training is recorded; without settings, or with tracking off, nothing is."""
    if settings is None or not settings.enabled:
        return nullcontext()
    kind = "simulated" if dataset.is_simulated else "real"
    record = Record(
        kind="training",
        title=f"{plan.recipe} on {kind} data to {dataset.last_date}",
        parameters=plan.to_dict(),
        tags={"data": dataset.name, "mlflow.source.name": "aegis train"},
    )
    return Recorder(settings, record)


def results_of(content: bytes, provenance: Mapping[str, Any]) -> Results:
    """Return what a finished training adds to its record, from its bundle's bytes and provenance."""
    return Results(
        sha256=hashlib.sha256(content).hexdigest(),
        parameters=_parameters(provenance),
        tags=_tags(provenance),
        metrics=figures_in(provenance),
        curves=_curves(provenance),
        files={name: picture.encode() for name, picture in pictures_of(provenance).items()},
    )


def adopted(name: str, content: bytes, provenance: Mapping[str, Any], tags: Mapping[str, str]) -> Record:
    """Return the record of a bundle that was not trained here, from what it says of itself.

    The same file under the same name has the same id, so that it is recorded once.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    results = results_of(content, provenance)
    at_ms = now_ms()
    return Record(
        kind="import",
        title=name,
        id=hashlib.sha256(f"{name}:{sha256}".encode()).hexdigest()[:32],
        started_ms=at_ms,
        parameters=results.parameters,
        tags={**results.tags, **tags},
        metrics=results.metrics,
        curves={
            curve: tuple(Point(step, value, at_ms) for step, value in enumerate(values, start=1))
            for curve, values in results.curves.items()
        },
        bundle=BundleFact(name, sha256),
    ).completed()


def pictures_of(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return what a bundle can show of its training, as SVG by place: learning curves, scores by category and horizon.

    Parameters
    ----------
    provenance : mapping
        Of the bundle.
    """
    curves = _held_curves(provenance)
    validation = {name: values for name, values in curves.items() if name.endswith(_VALIDATION)}
    losses = {name: values for name, values in curves.items() if name not in validation}
    pictures = {}
    if losses:
        pictures["pictures/loss.svg"] = lines_svg("Loss by epoch", losses)
    if validation:
        named = {name.removesuffix(_VALIDATION): values for name, values in validation.items()}
        pictures["pictures/validation.svg"] = lines_svg("Validation score by epoch: below 1 is skill", named)
    for name, (title, reference) in _SHOWN_SCORES.items():
        bars = _bars(held_scores(provenance), name)
        if bars:
            pictures[f"pictures/{name}.svg"] = bars_svg(title, bars, reference)
    return pictures


def _bars(scores: Mapping[str, Any], name: str) -> dict[str, dict[str, float]]:
    """Return one score of a training by category, by horizon."""
    bars = {
        f"{horizon} days ahead": {category: float(card[name]) for category, card in table.items() if name in card}
        for horizon, table in scores.items()
    }
    return {horizon: values for horizon, values in bars.items() if values}


def score_figures(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return an evaluation's scores of its model as flat figures, by horizon and category.

    Parameters
    ----------
    scores : mapping
        ``Evaluation.scores`` of ``pipelines.evaluate``.

    Returns
    -------
    dict
        Such as ``h07/rel_mae``, ``h07/rel_mae/lending``, ``h07/coverage_90/lending``.
    """
    card = next(iter(scores["scores"].values()))
    prefix = f"h{int(scores['horizon_days']):02d}"
    figures = {f"{prefix}/{name}": card[name] for name in ("rel_mae", "rel_crps", "mae", "qlike_median")}
    for level, summary in card["intervals"].items():
        figures[f"{prefix}/coverage_{round(100 * float(level))}"] = summary["coverage"]
        figures[f"{prefix}/width_{round(100 * float(level))}"] = summary["median_width"]
    for name in ("rel_mae", "rel_crps"):
        figures |= {f"{prefix}/{name}/{group}": one["score"] for group, one in card[f"{name}_by_category"].items()}
    groups = card["coverage_90_by_category"].items()
    return figures | {f"{prefix}/coverage_90/{group}": one["coverage"] for group, one in groups}


def _parameters(provenance: Mapping[str, Any]) -> dict[str, Any]:
    data, split = provenance.get("data", {}), provenance.get("split", {})
    return {
        **provenance.get("plan", {}),
        **{f"data.{name}": data[name] for name in DATA_FACTS if name in data},
        **{f"split.{name}": text for name, text in split.items()},
        **{f"calibrated.{name}": value for name, value in provenance.get(CALIBRATED, {}).items()},
    }


def _tags(provenance: Mapping[str, Any]) -> dict[str, str]:
    tags = {
        "commit": str(provenance.get("commit", "unknown")),
        "project_version": str(provenance.get("project_version", "unknown")),
        "simulated": str(bool(provenance.get("data", {}).get("simulated", False))).lower(),
        "interrupted": str(bool(provenance.get("interrupted", False))).lower(),
    }
    return tags | {"mlflow.source.git.commit": tags["commit"].removesuffix("-dirty")}


def figures_in(provenance: Mapping[str, Any]) -> dict[str, float]:
    """Return the final figures that a bundle holds of itself."""
    figures = {**provenance.get("metrics", {})}
    figures |= {name: provenance[name] for name in ("epochs", "n_scores") if name in provenance}
    figures |= flat_scores(held_scores(provenance))
    return {name: float(value) for name, value in figures.items() if isinstance(value, int | float)}


def _curves(provenance: Mapping[str, Any]) -> dict[str, list[float]]:
    """Name curves by what they show first, so that MLflow draws them together."""
    curves = {}
    for name, values in _held_curves(provenance).items():
        network = name.removesuffix(_VALIDATION)
        curves[f"{'loss' if network == name else 'validation'}/{network}"] = values
    return curves


def _held_curves(provenance: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the curves in a provenance, which may be a foreign bundle's and say anything."""
    held = provenance.get("curves")
    known = held.items() if isinstance(held, Mapping) else ()
    return {str(name): [float(value) for value in values] for name, values in known if _are_numbers(values)}


def _are_numbers(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, int | float) for value in values)
