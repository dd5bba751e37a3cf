"""Shelf: the versions of a models folder as they are, with their aliases and what is recorded of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from aegis_yield.domain.errors import AegisError, BundleError
from aegis_yield.models.bundle import CALIBRATED, load_bundle
from aegis_yield.pipelines.training_record import figures_in
from aegis_yield.registry import find_version, models_folder, read_registry, version_of
from aegis_yield.registry.aliases import Registry
from aegis_yield.registry.outbox import Outbox, receipt_of
from aegis_yield.registry.records import BundleFact
from aegis_yield.registry.settings import TrackingSettings
from aegis_yield.registry.tracking import TrackingStore
from aegis_yield.registry.versions import DIGEST_CHARS, numbered_versions
from aegis_yield.utils.files import sha256_of

RECORDED: Final = "recorded"
WAITING: Final = "waiting"
UNRECORDED: Final = "not recorded"


@dataclass(frozen=True)
class VersionInfo:
    """What a list says of a version.

    Attributes
    ----------
    name : str
        Such as ``lstm_v3``.
    path : Path
        Its file.
    sha256 : str
        Of the file.
    aliases : tuple of str
        Those that point at it.
    provenance : mapping
        Of the bundle; empty if it cannot be read.
    n_members : int
        Networks in it.
    training_id : str
        Equal for versions with the same networks; empty if it cannot be read.
    fault : str
        Why it cannot be read; empty if it can.
    recorded : str
        ``recorded``, ``waiting`` (in the outbox) or ``not recorded``.
    run_id, mlflow_version : str
        Where MLflow has it; empty where it has not.
    """

    name: str
    path: Path
    sha256: str
    aliases: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    n_members: int = 0
    training_id: str = ""
    fault: str = ""
    recorded: str = UNRECORDED
    run_id: str = ""
    mlflow_version: str = ""

    @property
    def exact_name(self) -> str:
        """Name and digest, as answers have it."""
        return f"{self.name}-{self.sha256[:DIGEST_CHARS]}"

    @property
    def recalibrated(self) -> Mapping[str, Any]:
        """What it says of the outcomes since its training; empty if its intervals have learned from none."""
        held = self.provenance.get(CALIBRATED)
        return held if isinstance(held, dict) else {}

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without paths of this machine."""
        content = {**vars(self), "path": self.path.name, "aliases": list(self.aliases)}
        return {**content, "provenance": dict(self.provenance)}


@dataclass(frozen=True)
class Shelf:
    """A models folder with its aliases and its record.

    Attributes
    ----------
    folder : Path
        Where the bundles lie.
    tracking : TrackingSettings
        Where they are recorded.
    """

    folder: Path
    tracking: TrackingSettings

    @classmethod
    def open(cls, folder: Path | None = None) -> Shelf:
        """Return a models folder's shelf, by default the project's."""
        chosen = folder or models_folder()
        return cls(chosen, TrackingSettings.of(chosen))

    def path_of(self, reference: str) -> Path:
        """Return the file of a version or alias of this folder.

        Raises
        ------
        BundleError
            If there is none, or the reference is a path to another place.
        """
        path = find_version(reference, self.folder)
        if not self.holds(path):
            raise BundleError(f"{reference}: not a version in {self.folder}; list versions with: aegis models list")
        return path

    def holds(self, path: Path) -> bool:
        """Whether a file is a version of this folder."""
        return path.resolve() in {version.resolve() for version in numbered_versions(self.folder).values()}

    def fact_of(self, path: Path) -> BundleFact:
        """Return which bundle a file is."""
        return BundleFact(version_of(path), sha256_of(path))

    @property
    def outbox(self) -> Outbox:
        """Records that the store has not got."""
        return Outbox.of(self.tracking.folder)


def list_versions(shelf: Shelf) -> list[VersionInfo]:
    """Return every version of a folder, the newest first; one that cannot be read says why."""
    registry = read_registry(shelf.folder)
    waiting = {record.bundle.name for record in shelf.outbox.waiting() if record.bundle}
    numbered = numbered_versions(shelf.folder)
    return [_info(shelf, numbered[number], registry, waiting) for number in sorted(numbered, reverse=True)]


def show_version(shelf: Shelf, reference: str) -> VersionInfo:
    """Return one version.

    Raises
    ------
    BundleError
        If there is none, or it cannot be read.
    """
    path = shelf.path_of(reference)
    load_bundle(path)
    waiting = {record.bundle.name for record in shelf.outbox.waiting() if record.bundle}
    return _info(shelf, path, read_registry(shelf.folder), waiting)


def figures_of(shelf: Shelf, version: VersionInfo) -> dict[str, float]:
    """Return what is known of a version in figures: its own, those recorded, and those that wait to be recorded.

    Warns once, and goes on with the bundle's own, if the store cannot be reached.
    """
    figures = figures_in(version.provenance)
    if shelf.tracking.enabled and version.recorded == RECORDED:
        try:
            held = TrackingStore.open(shelf.tracking).facts(BundleFact(version.name, version.sha256))
        except AegisError as error:
            warnings.warn(f"without recorded scores: {error}", stacklevel=2)
        else:
            figures |= _without_curves((held or {}).get("metrics", {}))
    waiting = (one for one in shelf.outbox.waiting() if one.kind == "scores" and one.bundle)
    for record in waiting:
        if record.bundle == BundleFact(version.name, version.sha256):
            figures |= record.metrics
    return figures


def _info(shelf: Shelf, path: Path, registry: Registry, waiting: set[str]) -> VersionInfo:
    name, sha256 = version_of(path), sha256_of(path)
    receipt = receipt_of(shelf.tracking.folder, name)
    is_known = receipt and (receipt.sha256, receipt.store) == (sha256, shelf.tracking.address)
    known = receipt if is_known else None
    info = VersionInfo(
        name,
        path,
        sha256,
        aliases=tuple(registry.aliases_of(name)),
        recorded=RECORDED if known else WAITING if name in waiting else UNRECORDED,
        run_id=known.run_id if known else "",
        mlflow_version=known.version if known else "",
    )
    try:
        bundle = load_bundle(path)
    except BundleError as error:
        return replace(info, fault=str(error))
    n_members = len(bundle.model.members)
    return replace(info, provenance=bundle.provenance, n_members=n_members, training_id=bundle.training_id)


def _without_curves(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith(("loss/", "validation/"))}
