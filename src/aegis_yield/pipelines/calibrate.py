"""Calibrate: what a bundle's intervals learn from outcomes since its training; the next version, which may serve."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import DataError, HistoryError
from aegis_yield.models.bundle import CALIBRATED, Bundle, bundle_bytes, bundle_digest, load_bundle
from aegis_yield.models.calibration import HORIZON_GRID, Calibrator
from aegis_yield.models.evidence import MAX_SCORES_PER_HORIZON
from aegis_yield.pipelines.bookkeeping import adopt
from aegis_yield.pipelines.datasets import content_hash
from aegis_yield.pipelines.kin import are_kin, kin_in
from aegis_yield.pipelines.recalibrate import Change, recalibrate
from aegis_yield.pipelines.shelf import Shelf
from aegis_yield.registry import aliases, publish, version_of
from aegis_yield.registry.aliases import Registry, Why
from aegis_yield.utils.typing import BoolArray

SHOWN_HORIZON_DAYS: Final = 7


@dataclass(frozen=True)
class CalibrationUpdate:
    """What calibration learned.

    Attributes
    ----------
    bundle : Bundle
        With all that is known now.
    n_outcomes : int
        New ones, over all horizons.
    changes : list of Change
        By category, of 90 % intervals seven days ahead.
    path : Path or None
        Where it was written.
    """

    bundle: Bundle
    n_outcomes: int
    changes: list[Change]
    path: Path | None = None


def calibrate(
    bundle: Bundle, dataset: Dataset, on_horizon: Callable[[int, int], None] = lambda *_: None
) -> CalibrationUpdate:
    """Let a bundle's calibration learn from outcomes since its training, at every horizon it keeps.

    Parameters
    ----------
    bundle : Bundle
        As it is.
    dataset : Dataset
        The newest tables.
    on_horizon : callable
        Called with the number of horizons done and in all.

    Raises
    ------
    HistoryError
        If no outcome is newer than what the bundle knows.
    """
    updated = bundle
    changes: list[Change] = []
    for done, horizon in enumerate(HORIZON_GRID):
        on_horizon(done, len(HORIZON_GRID))
        learned, found = recalibrate(bundle, dataset, horizon)
        new = learned.calibrator.pool.where(_after(learned.calibrator, len(bundle.calibrator.pool)))
        updated = replace(updated, calibrator=updated.calibrator.updated(new))
        changes = found if horizon == SHOWN_HORIZON_DAYS else changes
    on_horizon(len(HORIZON_GRID), len(HORIZON_GRID))
    n_outcomes = len(updated.calibrator.pool) - len(bundle.calibrator.pool)
    if not n_outcomes:
        raise HistoryError(
            f"{dataset.name}: its last day is {dataset.last_date}, and the bundle knows all outcomes up to "
            f"{bundle.data_end}; collect newer data first"
        )
    calibrator = _bounded(updated.calibrator)
    calibrated = {**_learned_from(dataset), "n_outcomes": n_outcomes, "n_scores": len(calibrator.pool)}
    provenance: dict[str, Any] = {**bundle.provenance, CALIBRATED: calibrated}
    return CalibrationUpdate(Bundle(updated.model, calibrator, provenance), n_outcomes, changes)


def check_kind(bundle: Bundle, dataset: Dataset) -> None:
    """Refuse to let a model of the real market learn from a simulated one, or the other way round.

    Raises
    ------
    DataError
        If they are of different kinds.
    """
    if bundle.is_simulated != dataset.is_simulated:
        kinds = [("real", "simulated")[flag] for flag in (bundle.is_simulated, dataset.is_simulated)]
        raise DataError(
            f"{dataset.name}: received {kinds[1]} data for a model that was trained on {kinds[0]} data; its intervals "
            f"learn from {kinds[0]} tables only, name some with: --data"
        )


def write(update: CalibrationUpdate, folder: Path, source: Path | None = None) -> CalibrationUpdate:
    """Write an update as the next version: what served before stays as it is.

    Parameters
    ----------
    update : CalibrationUpdate
        What was learned.
    folder : Path
        Of bundles.
    source : Path, optional
        The version that learned: the new one names it.
    """
    bundle = update.bundle if source is None else _naming(update.bundle, source)
    return replace(update, bundle=bundle, path=publish(bundle_bytes(bundle), folder))


def learned_version(source: Path, dataset: Dataset) -> Path:
    """Return the version beside a version that it becomes by learning from a dataset, written now if it was not yet.

    Raises
    ------
    HistoryError
        If there is nothing to learn.
    """
    wanted = {**_learned_from(dataset), "from": _exact_name(source)}
    for one in kin_in(source.parent):
        if wanted.items() <= one.calibrated.items() and are_kin(one.path, source):
            return one.path
    learned = calibrate(load_bundle(source), dataset).bundle
    return publish(bundle_bytes(_naming(learned, source)), source.parent)


def let_serve(shelf: Shelf, path: Path, instead_of: str) -> Registry:
    """Make a recalibrated version the champion, in one step, in place of the one that it was made from.

    Raises
    ------
    RegistryError
        If another one became champion meanwhile.
    """
    calibrated = load_bundle(path).calibrated
    if shelf.tracking.enabled:
        try:
            adopt(shelf, path, {"calibrated_from": instead_of})
        except OSError as error:
            warnings.warn(f"{version_of(path)} is not recorded: {error}; later: aegis models sync", stacklevel=2)
    learned = f"intervals learned from {calibrated['n_outcomes']:,} outcomes to {calibrated['until']}"
    why = Why(f"same networks as {instead_of}; {learned}")
    return aliases.promote(shelf.folder, version_of(path), why, instead_of=instead_of)


def _learned_from(dataset: Dataset) -> dict[str, str]:
    return {"until": dataset.last_date.isoformat(), "sha256": content_hash(dataset)}


def _naming(bundle: Bundle, source: Path) -> Bundle:
    """Let a recalibrated bundle say from which version it was made."""
    calibrated = {**bundle.calibrated, "from": _exact_name(source)}
    return replace(bundle, provenance={**bundle.provenance, CALIBRATED: calibrated})


def _exact_name(path: Path) -> str:
    return f"{version_of(path)}-{bundle_digest(path)}"


def _after(calibrator: Calibrator, n_known: int) -> BoolArray:
    return np.arange(len(calibrator.pool)) >= n_known


def _bounded(calibrator: Calibrator) -> Calibrator:
    """Keep the newest ratios of each horizon, so that a bundle which learns for years stays a small file."""
    pool = calibrator.pool
    keep = np.zeros(len(pool), dtype=bool)
    for horizon in np.unique(pool.horizon_days):
        mine = np.flatnonzero(pool.horizon_days == horizon)
        newest = mine[np.argsort(-pool.known_day[mine], kind="stable")[:MAX_SCORES_PER_HORIZON]]
        keep[newest] = True
    return replace(calibrator, pool=pool.where(keep))
