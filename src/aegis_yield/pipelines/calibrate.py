"""Calibrate: what a bundle's intervals learn from outcomes since its training, written as the next version if asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import DataError
from aegis_yield.models.bundle import Bundle, bundle_bytes
from aegis_yield.models.calibration import HORIZON_GRID, Calibrator
from aegis_yield.models.evidence import MAX_SCORES_PER_HORIZON
from aegis_yield.pipelines.datasets import content_hash
from aegis_yield.pipelines.recalibrate import Change, recalibrate
from aegis_yield.registry import publish
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
    DataError
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
        raise DataError(
            f"{dataset.name}: its last day is {dataset.last_date}, and the bundle knows all outcomes up to "
            f"{bundle.data_end}; collect newer data first"
        )
    calibrated = {"until": dataset.last_date.isoformat(), "sha256": content_hash(dataset), "n_outcomes": n_outcomes}
    provenance: dict[str, Any] = {**bundle.provenance, "calibrated": calibrated}
    return CalibrationUpdate(Bundle(updated.model, _bounded(updated.calibrator), provenance), n_outcomes, changes)


def write(update: CalibrationUpdate, folder: Path) -> CalibrationUpdate:
    """Write an update as the next version: what served before stays as it is."""
    return replace(update, path=publish(bundle_bytes(update.bundle), folder))


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
