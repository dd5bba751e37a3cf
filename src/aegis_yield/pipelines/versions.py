"""Versions: which one serves, how that changes, how they travel, and what the store is told of it."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import AegisError, BundleError, RegistryError
from aegis_yield.models.bundle import load_bundle
from aegis_yield.pipelines.gate import Decision, GateOrder, decide, store_decision
from aegis_yield.pipelines.shelf import Shelf
from aegis_yield.pipelines.training_record import adopted, score_figures
from aegis_yield.registry import aliases, find_version, publish, read_registry, version_of
from aegis_yield.registry.aliases import CHALLENGER, CHAMPION, Registry, Why
from aegis_yield.registry.delivery import Delivered, deliver_all, mirror_aliases
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
    return _told(shelf, aliases.promote(shelf.folder, version_of(path), why))


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

    Returns
    -------
    Decision or None
        What the gate said; None where no champion was there to beat, and the version became the first.

    Raises
    ------
    BundleError
        If a version is not there, or cannot be read.
    RegistryError
        If the version is the champion already, or another became champion meanwhile.
    """
    champion = read_registry(shelf.folder).champion
    if champion is None:
        promote(shelf, reference, Why("the first champion: there was none to beat"))
        return None
    path = shelf.path_of(reference)
    if version_of(path) == champion:
        raise RegistryError(f"{champion}: already the champion; nothing changed")
    decision = decide(GateOrder(trial.dataset, find_version(champion, shelf.folder), path), trial.on_origin)
    store_decision(decision, shelf.folder)
    if decision.allows:
        why = Why(decision.reason, decision.id)
        _told(shelf, aliases.promote(shelf.folder, version_of(path), why, instead_of=champion))
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
    return _told(shelf, aliases.challenge(shelf.folder, version_of(path), why))


def rollback(shelf: Shelf, why: Why) -> Registry:
    """Make the champion before this one champion again.

    Raises
    ------
    RegistryError
        If there was none.
    BundleError
        If it cannot be read; nothing changed then.
    """
    former = read_registry(shelf.folder).former_champions
    for version in former:
        path = shelf.folder / f"{version}.pth"
        if path.is_file():
            load_bundle(path)
            break
    return _told(shelf, aliases.rollback(shelf.folder, why))


def delete_version(shelf: Shelf, reference: str, why: Why) -> str:
    """Delete a version's file; its run stays on record, its name is never used again.

    Raises
    ------
    BundleError
        If there is no such version.
    RegistryError
        If an alias points at it.
    """
    path = shelf.path_of(reference)
    fact = shelf.fact_of(path)
    aliases.strike(shelf.folder, fact.name, why, path.unlink)
    if receipt_of(shelf.tracking.folder, fact.name) is not None:
        record = Record(kind="deletion", title=f"delete {fact.name}", bundle=fact, tags={"reason": why.reason})
        if shelf.tracking.enabled:
            shelf.outbox.put(record.completed())
            _told(shelf, read_registry(shelf.folder))
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


def record_scores(shelf: Shelf, path: Path, scores: Mapping[str, Any], pages: Mapping[str, bytes]) -> bool:
    """Add an evaluation's scores and pages to a version's run; in the outbox, for the next delivery.

    Parameters
    ----------
    shelf : Shelf
        The folder.
    path : Path
        The bundle's file; one outside the folder is not recorded.
    scores : mapping
        ``Evaluation.scores``.
    pages : mapping of str to bytes
        Pictures or HTML by file name.

    Returns
    -------
    bool
        Whether anything was noted.
    """
    if not shelf.tracking.enabled or path.resolve() not in {
        p.resolve() for p in numbered_versions(shelf.folder).values()
    }:
        return False
    fact = shelf.fact_of(path)
    _adopt(shelf, path, {})
    span = f"{scores['start']} to {scores['end']}"
    tags = {f"scores.h{int(scores['horizon_days']):02d}": f"{scores['data']['name']}, {span}"}
    record = Record(
        kind="scores", title=f"scores of {fact.name}", bundle=fact, tags=tags, metrics=score_figures(scores)
    )
    files = {f"scores/{name}": shelf.outbox.keep_file(record, name, content) for name, content in pages.items()}
    shelf.outbox.put(replace(record, files=files).completed())
    return True


@dataclass(frozen=True)
class Synced:
    """What a synchronisation brought.

    Attributes
    ----------
    n_records : int
        Records that the store has now and had not.
    adopted : tuple of str
        Versions that were not recorded at all.
    refused : tuple of str
        Why records were set aside.
    problem : str
        Why others still wait; empty if none do.
    """

    n_records: int
    adopted: tuple[str, ...]
    refused: tuple[str, ...]
    problem: str


def sync(shelf: Shelf) -> Synced:
    """Deliver what waits, record versions that nobody recorded, and let the store's aliases be those here."""
    if not shelf.tracking.enabled:
        raise RegistryError("recording is switched off; set AEGIS_TRACKING__ENABLED=1 to use the store")
    unknown = [path for path in numbered_versions(shelf.folder).values() if _adopt(shelf, path, {})]
    outcome, problem = _delivered(shelf)
    return Synced(outcome.n_records, tuple(map(version_of, unknown)), tuple(outcome.refused), problem)


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
        _adopt(shelf, path, {"imported_from": source, "imported_version": parcel.version})
        _told(shelf, read_registry(shelf.folder))
    return Imported(path, parcel.version, is_new=True)


def _adopt(shelf: Shelf, path: Path, tags: Mapping[str, str]) -> bool:
    """Note a version that is neither recorded nor about to be; False if it is, or cannot be read."""
    fact = shelf.fact_of(path)
    receipt = receipt_of(shelf.tracking.folder, fact.name)
    # A training that was killed while it published knows only the digest: its record names the file on delivery.
    about = {
        (record.bundle.name or fact.name, record.bundle.sha256) for record in shelf.outbox.waiting() if record.bundle
    }
    if (receipt and receipt.sha256 == fact.sha256) or (fact.name, fact.sha256) in about:
        return False
    try:
        bundle = load_bundle(path)
    except BundleError:
        return False
    shelf.outbox.put(adopted(fact.name, path.read_bytes(), bundle.provenance, tags))
    return True


def _told(shelf: Shelf, registry: Registry) -> Registry:
    """Tell the store of an alias that moved, if anything was ever recorded; the file in the folder is what counts."""
    known = any(receipt_of(shelf.tracking.folder, name) for name in registry.aliases.values())
    if shelf.tracking.enabled and (known or any(shelf.outbox.waiting())):
        problem = _delivered(shelf)[1]
        if problem:
            warnings.warn(f"the store was not told: {problem}; later: aegis models sync", stacklevel=3)
    return registry


def _delivered(shelf: Shelf) -> tuple[Delivered, str]:
    """Deliver what waits and mirror the aliases; say what went wrong instead of raising it."""
    try:
        store = TrackingStore.open(shelf.tracking)
        outcome = deliver_all(shelf.tracking, store)
        if not outcome.problem:
            mirror_aliases(shelf.tracking, store, _alias_map(read_registry(shelf.folder)))
    except AegisError as error:
        return Delivered(), str(error)
    return outcome, outcome.problem


def _alias_map(registry: Registry) -> dict[str, str | None]:
    return {alias: registry.aliases.get(alias) for alias in (CHAMPION, CHALLENGER)}
