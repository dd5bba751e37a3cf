"""Kin: versions of one training. A recalibrated version has the networks of the one that it was made from."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis_yield.domain.errors import BundleError
from aegis_yield.models.bundle import Bundle, load_bundle
from aegis_yield.registry.versions import numbered_versions, shipped_model, version_of


@dataclass(frozen=True)
class Kin:
    """What a bundle says of where it comes from.

    Attributes
    ----------
    path : Path
        Its file.
    training_id : str
        Equal for versions with the same networks, see :attr:`Bundle.training_id`.
    is_simulated, is_interrupted : bool
        Whether it learned from simulated data, and whether its training was stopped.
    trained_to, data_end : str
        ISO dates of the last day of training, and of all that it has learned from.
    calibrated : mapping
        Of the outcomes since training; empty if there were none.
    """

    path: Path
    training_id: str
    is_simulated: bool
    is_interrupted: bool
    trained_to: str
    data_end: str
    calibrated: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The version, such as ``lstm_v3``."""
        return version_of(self.path)

    @property
    def knows_its_days(self) -> bool:
        """Whether it says to which day it was trained."""
        try:
            dt.date.fromisoformat(self.data_end)
        except ValueError:
            return False
        return True


def read_kin(path: Path) -> Kin:
    """Return what a bundle file says; a file that did not change is read once.

    Raises
    ------
    BundleError
        If it is not there or cannot be read.
    """
    try:
        found = path.stat()
    except OSError:
        return _read(path, None)
    return _read(path, (found.st_ino, found.st_mtime_ns, found.st_size))


def kin_of(path: Path) -> Kin | None:
    """Return what a bundle file says; None if it is not there or cannot be read."""
    try:
        return read_kin(path)
    except BundleError:
        return None


def kin_in(folder: Path) -> list[Kin]:
    """Return the versions of a folder that can be read, by rising number."""
    numbered = numbered_versions(folder)
    found = (kin_of(numbered[number]) for number in sorted(numbered))
    return [one for one in found if one is not None]


def are_kin(first: Path, second: Path) -> bool:
    """Whether two files hold the same networks; False if one of them cannot be read."""
    one, other = kin_of(first), kin_of(second)
    return one is not None and other is not None and one.training_id == other.training_id


def newest_training(folder: Path, simulated: bool) -> Kin | None:
    """Return the version of the newest training on this kind of data that came to its end.

    Recalibrated versions are no trainings. They stand for one only where the version that it left is not in the
    folder, as after an import: then the earliest of them does.
    """
    trainings: dict[str, Kin] = {}
    for one in kin_in(folder):
        held = trainings.get(one.training_id)
        is_original = held is None or bool(held.calibrated and not one.calibrated)
        if is_original and one.is_simulated == simulated and not one.is_interrupted and one.knows_its_days:
            trainings[one.training_id] = one
    numbers = {path: number for number, path in numbered_versions(folder).items()}
    return max(trainings.values(), key=lambda one: numbers.get(one.path, -1), default=None)


def as_trained(path: Path) -> Bundle:
    """Return a version as its training left it: the original, if it is still there, else without what was known later.

    Raises
    ------
    BundleError
        If the file cannot be read.
    """
    bundle = load_bundle(path)
    if not bundle.calibrated:
        return bundle
    shipped = shipped_model()
    known = [*kin_in(path.parent), *filter(None, [kin_of(shipped) if shipped else None])]
    original = next((one for one in known if one.training_id == bundle.training_id and not one.calibrated), None)
    return load_bundle(original.path) if original else bundle.as_trained()


@functools.lru_cache(maxsize=512)
def _read(path: Path, stamp: tuple[int, int, int] | None) -> Kin:  # noqa: ARG001 - tells states of a file apart
    bundle = load_bundle(path)
    return Kin(
        path=path,
        training_id=bundle.training_id,
        is_simulated=bundle.is_simulated,
        is_interrupted=bool(bundle.provenance.get("interrupted")),
        trained_to=bundle.trained_to,
        data_end=bundle.data_end,
        calibrated=bundle.calibrated,
    )
