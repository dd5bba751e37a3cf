"""Versions: what is known of each model of the folder, read anew only when a file there has changed."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from contextlib import closing
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException

from aegis_yield.domain.errors import AegisError
from aegis_yield.monitoring.rolling import WINDOWS_DAYS, Outcomes, category_scores
from aegis_yield.pipelines.monitor import world_of
from aegis_yield.pipelines.record import open_store, store_path
from aegis_yield.pipelines.shelf import Shelf, VersionInfo, list_versions
from aegis_yield.pipelines.training_record import figures_in
from aegis_yield.registry import models_folder, read_registry, version_of
from aegis_yield.registry.aliases import FILE as REGISTRY_FILE
from aegis_yield.registry.aliases import Change
from aegis_yield.registry.versions import numbered_versions
from aegis_yield.utils.files import sha256_of
from api.freshness import Served, Stamp, stamp_of
from api.redaction import without_folders

Version = dict[str, Any]

_DATA_FACTS: Final = ("first_date", "last_date", "n_rows", "n_strategies", "sha256", "simulated")


def shelved(served: Served) -> list[Version]:
    """Return every version of the models folder, the newest first, and the one that serves if it lies elsewhere."""
    return [_plain(info, served) for info in _infos(served)]


def find(served: Served, reference: str) -> Version:
    """Return one version with all that its file says of its training.

    Parameters
    ----------
    served : Served
        What serves.
    reference : str
        An alias, ``4``, ``v4``, ``lstm_v4``, or with the first characters of its digest ``lstm_v4-1a2b3c4d``.

    Raises
    ------
    HTTPException
        404 if there is none.
    """
    info = next((one for one in _infos(served) if reference in {*_names(one), _exact(one, served)}), None)
    if info is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"unknown version {reference!r}; list versions with: GET /models")
    history = read_registry(models_folder()).history
    training = {name: info.provenance.get(name) for name in ("plan", "split", "project_version", "commit")}
    return {
        **_plain(info, served),
        **training,
        "curves": info.provenance.get("curves", {}),
        "changes": [_moved(change) for change in history if info.name in (change.before, change.after)],
    }


def outcomes(served: Served) -> list[dict[str, Any]] | None:
    """Return how recorded forecasts turned out, by category and window; None where the store cannot be read."""
    if not store_path().is_file():
        return []
    end = served.last_date
    first = end.fromordinal(end.toordinal() - max(WINDOWS_DAYS))
    try:
        with closing(open_store(must_exist=True)) as store:
            known = Outcomes.of(store.scored(world_of(served.forecaster.dataset), first, end))
    except AegisError:
        return None
    return [
        {
            "category": score.category,
            "window_days": score.window_days,
            "n_outcomes": score.n_outcomes,
            "coverage_90": _number(score.coverage),
            "rel_mae": _number(score.rel_mae),
            "median_width": _number(score.median_width),
        }
        for score in category_scores(known, end)
    ]


def _infos(served: Served) -> list[VersionInfo]:
    folder = models_folder()
    files = [*_listed(numbered_versions(folder).values()), *_listed([folder / REGISTRY_FILE])]
    found = _read(str(folder), tuple(files))
    if any(info.exact_name == served.forecaster.model_version for info in found):
        return found
    return [*found, _elsewhere(served)]


def _listed(paths: Iterable[Any]) -> Stamp:
    return tuple(filter(None, map(stamp_of, paths)))


@functools.lru_cache(maxsize=4)
def _read(folder: str, files: Stamp) -> list[VersionInfo]:
    """Read a folder; the stamps of its files are there to tell one state from another."""
    return list_versions(Shelf.open()) if files and folder else []


def _elsewhere(served: Served) -> VersionInfo:
    """Describe a model that serves from outside of the folder, such as the one that ships with the package."""
    forecaster = served.forecaster
    path = forecaster.bundle_path
    name = forecaster.model_version.rpartition("-")[0] if path is None else version_of(path)
    sha256 = sha256_of(path) if path is not None and path.is_file() else ""
    members = len(forecaster.bundle.model.members)
    held = forecaster.bundle
    return VersionInfo(name, path or models_folder(), sha256, (), held.provenance, members, held.training_id)


def _names(info: VersionInfo) -> set[str]:
    number = info.name.rpartition("_v")[2]
    return {info.name, *info.aliases, *((number, f"v{number}") if number.isdigit() else ())}


def _exact(info: VersionInfo, served: Served) -> str:
    return info.exact_name if info.sha256 else served.forecaster.model_version


def _plain(info: VersionInfo, served: Served) -> Version:
    provenance = info.provenance
    data = provenance.get("data", {})
    exact = _exact(info, served)
    return {
        "version": info.name,
        "model_version": exact,
        "sha256": info.sha256 or None,
        "aliases": list(info.aliases),
        "is_served": exact == served.forecaster.model_version,
        "data": {name: data.get(name) for name in _DATA_FACTS} if data else None,
        "calibrated_to": info.recalibrated.get("until") or provenance.get("split", {}).get("calibration_end"),
        "n_calibration_scores": info.recalibrated.get("n_scores", provenance.get("n_scores")),
        "n_networks": info.n_members,
        "validation_score": figures_in(provenance).get("validation_score"),
        "scores": provenance.get("scores", {}),
        "fault": without_folders(info.fault) or None,
    }


def _moved(change: Change) -> dict[str, Any]:
    facts = {name: getattr(change, name) for name in ("at", "action", "alias", "before", "after")}
    return {**facts, **vars(change.why)}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
