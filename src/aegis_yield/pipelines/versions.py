"""Versions: which one serves, how that changes, and how they travel."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import BundleError, RegistryError
from aegis_yield.models.bundle import load_bundle
from aegis_yield.pipelines.bookkeeping import adopt, told
from aegis_yield.pipelines.gate import Decision, GateOrder, decide, store_decision
from aegis_yield.pipelines.incumbents import name_incumbent, real_version
from aegis_yield.pipelines.kin import are_kin, kin_of
from aegis_yield.pipelines.shelf import Shelf
from aegis_yield.registry import aliases, find_version, publish, read_registry, version_of
from aegis_yield.registry.aliases import Registry, Why
from aegis_yield.registry.outbox import receipt_of
from aegis_yield.registry.records import Record
from aegis_yield.registry.tracking import TrackingStore
from aegis_yield.registry.transfer import SUFFIX, Parcel, is_parcel, packed, unpacked
from aegis_yield.registry.versions import numbered_versions
from aegis_yield.utils.files import write_bytes_atomically


def promote(shelf: Shelf, reference: str, why: Why) -> Registry:
    """Make a version the champion, in one step.

    Parameters
    ----------
    shelf : Shelf
        The folder.
    reference : str
        Version or alias.
    why : Why
        Reason, and the gate's decision or that it was overruled.

    Raises
    ------
    BundleError
        If there is no such version, or it cannot be read.
    RegistryError
        If it is the champion already.
    """
    path = shelf.path_of(reference)
    load_bundle(path)  # what cannot be read cannot serve
    return told(shelf, aliases.promote(shelf.folder, version_of(path), why))


@dataclass(frozen=True)
class Trial:
    """What a challenger is judged on.

    Attributes
    ----------
    dataset : Dataset
        Its days after both models' training are the evidence.
    on_origin : callable
        Called with the number of origins passed.
    """

    dataset: Dataset
    on_origin: Callable[[int], None] = lambda _: None


def try_promotion(shelf: Shelf, reference: str, trial: Trial) -> Decision | None:
    """Let the gate judge a version against the champion; promote it if the gate allows. The decision is kept.

    Where there is no champion, the version in use becomes it first (:func:`name_incumbent`).

    Returns
    -------
    Decision or None
        What the gate said; None where nothing was in use before, and the version became the first champion.

    Raises
    ------
    BundleError
        If a version is not there, or cannot be read.
    RegistryError
        If the version is the champion already, another became champion meanwhile, or it is one of simulated data
        and there is one of real data.
    """
    path = shelf.path_of(reference)
    bundle = load_bundle(path)
    champion = read_registry(shelf.folder).champion
    real = None if champion or not bundle.is_simulated else real_version(shelf)
    if real is not None:
        raise RegistryError(
            f"{version_of(path)}: was trained on simulated data, which never takes the place of a model of real data "
            f"({real}) unasked; train on real data, or: --force --reason WHY"
        )
    champion = champion or name_incumbent(shelf, trial.dataset.is_simulated, version_of(path))
    if champion is None:
        promote(shelf, reference, Why("the first champion: nothing was in use before"))
        return None
    if version_of(path) == champion:
        raise RegistryError(f"{champion}: already the champion; nothing changed")
    decision = decide(GateOrder(trial.dataset, find_version(champion, shelf.folder), path), trial.on_origin)
    store_decision(decision, shelf.folder)
    if decision.allows:
        why = Why(decision.reason, decision.id)
        told(shelf, aliases.promote(shelf.folder, version_of(path), why, instead_of=champion))
    return decision


def challenge(shelf: Shelf, reference: str, why: Why) -> Registry:
    """Make a version the challenger.

    Raises
    ------
    BundleError
        If there is no such version, or it cannot be read.
    RegistryError
        If it is the champion.
    """
    path = shelf.path_of(reference)
    load_bundle(path)
    return told(shelf, aliases.challenge(shelf.folder, version_of(path), why))


def rollback(shelf: Shelf, why: Why) -> Registry:
    """Make the latest former champion with other networks champion again; without one, the champion before this.

    Raises
    ------
    RegistryError
        If there was none.
    BundleError
        If it cannot be read; nothing changed then.
    """

    def share_networks(one: str, other: str) -> bool:
        return are_kin(shelf.folder / f"{one}.pth", shelf.folder / f"{other}.pth")

    version = aliases.before_champion(shelf.folder, read_registry(shelf.folder), share_networks)
    if version is not None:
        load_bundle(shelf.folder / f"{version}.pth")
    return told(shelf, aliases.rollback(shelf.folder, why, share_networks))


def delete_version(shelf: Shelf, reference: str, why: Why) -> str:
    """Delete a version's file; its run stays on record, its name is never used again.

    Raises
    ------
    BundleError
        If there is no such version.
    RegistryError
        If an alias points at it, or the champion is a recalibration of it.
    """
    path = shelf.path_of(reference)
    fact, held = shelf.fact_of(path), kin_of(path)
    champion = read_registry(shelf.folder).champion or fact.name
    if champion != fact.name and held and not held.calibrated and are_kin(path, shelf.folder / f"{champion}.pth"):
        raise RegistryError(
            f"{fact.name}: the champion {champion} was recalibrated from it, and the gate compares models as their "
            "training left them; delete it when another champion serves"
        )
    aliases.strike(shelf.folder, fact.name, why, path.unlink)
    if receipt_of(shelf.tracking.folder, fact.name) is not None:
        record = Record(kind="deletion", title=f"delete {fact.name}", bundle=fact, tags={"reason": why.reason})
        if shelf.tracking.enabled:
            shelf.outbox.put(record.completed())
            told(shelf, read_registry(shelf.folder))
    return fact.name


def export_version(shelf: Shelf, reference: str, into: Path) -> Path:
    """Write a version as one file.

    Parameters
    ----------
    shelf : Shelf
        The folder.
    reference : str
        Version or alias.
    into : Path
        A folder, or the file itself.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    BundleError
        If there is no such version, or it cannot be read.
    """
    path = shelf.path_of(reference)
    bundle = load_bundle(path)
    content = path.read_bytes()
    target = into / f"{version_of(path)}{SUFFIX}" if into.is_dir() or not into.suffix else into
    write_bytes_atomically(target, packed(Parcel(version_of(path), content, bundle.provenance)))
    return target


@dataclass(frozen=True)
class Imported:
    """What an import brought.

    Attributes
    ----------
    path : Path
        The version here.
    version : str
        Its name where it comes from.
    is_new : bool
        False if the same bundle was here already.
    """

    path: Path
    version: str
    is_new: bool


def import_version(shelf: Shelf, file: Path) -> Imported:
    """Take over an exported version, or a bare bundle, as the next free version.

    Raises
    ------
    BundleError
        If the file is damaged, tampered with, foreign, or of a format that this release does not read.
    """
    if not file.is_file():
        raise BundleError(f"{file}: no such file; export a version with: aegis models export VERSION")
    if is_parcel(file):
        parcel = unpacked(file)
    else:
        bundle = load_bundle(file)  # refuses what is no bundle, unread
        parcel = Parcel(version_of(file), file.read_bytes(), bundle.provenance)
    return _take(shelf, parcel, file.name)


def fetch_version(shelf: Shelf, reference: str) -> Imported:
    """Take over a version from the tracking store, by MLflow's number, an alias there, or its name.

    Raises
    ------
    TrackingError
        If the store cannot be reached, or its file is not the one that was recorded.
    RegistryError
        If it has no such version.
    """
    name, content = TrackingStore.open(shelf.tracking).fetch(reference)
    return _take(shelf, Parcel(name, content, {}), shelf.tracking.address)


def _take(shelf: Shelf, parcel: Parcel, source: str) -> Imported:
    for path in numbered_versions(shelf.folder).values():
        if path.stat().st_size == len(parcel.content) and path.read_bytes() == parcel.content:
            return Imported(path, parcel.version, is_new=False)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.pth"
        draft.write_bytes(parcel.content)
        try:
            load_bundle(draft)  # its own digest, format version and features decide, before it becomes a version
        except BundleError as error:
            raise BundleError(str(error).replace(str(draft), source)) from error
    path = publish(parcel.content, shelf.folder)
    if shelf.tracking.enabled:
        adopt(shelf, path, {"imported_from": source, "imported_version": parcel.version})
        told(shelf, read_registry(shelf.folder))
    return Imported(path, parcel.version, is_new=True)
