"""Deliver what waits in the outbox: each record once, whatever was interrupted before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from aegis_yield.domain.errors import RegistryError, TrackingError
from aegis_yield.registry.lock import held
from aegis_yield.registry.outbox import Outbox, Receipt, keep_receipt, receipt_of
from aegis_yield.registry.records import COMPLETE, PUBLISHING, BundleFact, Record
from aegis_yield.registry.settings import TrackingSettings
from aegis_yield.registry.tracking import CorruptArtifactError, TrackingStore
from aegis_yield.registry.versions import numbered_versions
from aegis_yield.utils.files import sha256_of

_WAIT_S: Final = 60.0


@dataclass
class Delivered:
    """What a delivery brought.

    Attributes
    ----------
    receipts : dict of str to Receipt
        By record id.
    n_records : int
        Records that the store has now.
    refused : list of str
        Why records were set aside for good.
    problem : str
        Why others still wait; empty if none do.
    """

    receipts: dict[str, Receipt] = field(default_factory=dict)
    n_records: int = 0
    refused: list[str] = field(default_factory=list)
    problem: str = ""


def deliver_all(settings: TrackingSettings, store: TrackingStore | None = None) -> Delivered:
    """Deliver every complete record of a models folder.

    Parameters
    ----------
    settings : TrackingSettings
        The folder and the store.
    store : TrackingStore, optional
        If it is open already.

    Returns
    -------
    Delivered
        What the store has now and what it has not: a store that cannot be reached is no error here.
    """
    outcome = Delivered()
    outbox = Outbox.of(settings.folder)
    try:
        with held(settings.folder / ".delivery.lock", _WAIT_S):
            for record in outbox.waiting():
                settled = _settled(record, outbox, settings)
                if settled is not None:
                    store = store or TrackingStore.open(settings)
                    _deliver(settled, store, outbox, outcome)
    except (TrackingError, RegistryError) as error:
        outcome.problem = str(error)
    return outcome


def mirror_aliases(settings: TrackingSettings, store: TrackingStore, aliases: Mapping[str, str | None]) -> None:
    """Let the store's aliases be those of the models folder.

    Raises
    ------
    TrackingError
        If the store fails.
    """
    store.mirror({alias: _fact_of(settings.models, name) if name else None for alias, name in aliases.items()})


def _deliver(record: Record, store: TrackingStore, outbox: Outbox, outcome: Delivered) -> None:
    try:
        path = store.settings.models / f"{record.bundle.name}.pth" if record.bundle else None
        receipt = store.deliver(record, path if path and path.is_file() else None)
    except (CorruptArtifactError, RegistryError) as error:
        outcome.refused.append(f"{error} (set aside: {outbox.refuse(record.id, str(error))})")
        return
    if receipt:
        keep_receipt(store.settings.folder, receipt)
        outcome.receipts[record.id] = receipt
    outbox.drop(record.id)
    outcome.n_records += 1


def _settled(record: Record, outbox: Outbox, settings: TrackingSettings) -> Record | None:
    """Return a record fit for delivery, None while its training lives; a killed one is told to its end."""
    if record.state == COMPLETE:
        return record
    if outbox.is_alive(record.id):
        return None
    record = outbox.get(record.id)  # it may have come to its end since the outbox was read
    if record.state == COMPLETE:
        return record
    name = _published(record, settings) if record.state == PUBLISHING else ""
    if name and record.bundle:
        return replace(record, bundle=BundleFact(name, record.bundle.sha256)).completed()
    return replace(record, bundle=None).completed("KILLED")


def _published(record: Record, settings: TrackingSettings) -> str:
    """Return under which name a killed training has published its bundle, if it came so far."""
    for number in sorted(numbered_versions(settings.models), reverse=True):
        path = numbered_versions(settings.models)[number]
        if receipt_of(settings.folder, path.stem) is None and record.bundle and sha256_of(path) == record.bundle.sha256:
            return path.stem
    return ""


def _fact_of(models: Path, name: str) -> BundleFact | None:
    path = models / f"{name}.pth"
    return BundleFact(name, sha256_of(path)) if path.is_file() else None
