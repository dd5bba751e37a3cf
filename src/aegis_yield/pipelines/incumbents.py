"""Incumbent: the version that a first challenger must beat, because it was in use before there was a champion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aegis_yield.domain.errors import BundleError
from aegis_yield.models.bundle import Bundle, load_bundle
from aegis_yield.pipelines.kin import are_kin
from aegis_yield.pipelines.shelf import Shelf
from aegis_yield.registry import aliases, models_folder, read_registry, version_of
from aegis_yield.registry.aliases import Why
from aegis_yield.registry.versions import numbered_versions, shipped_model, take_over_shipped

REASON = "in use before there was a champion: the one that the first challenger has to beat"


def name_incumbent(shelf: Shelf, simulated: bool, challenger: str | None = None) -> str | None:
    """Make the version in use the champion where there is none, so that the first own model meets the gate, too.

    Parameters
    ----------
    shelf : Shelf
        The folder.
    simulated : bool
        Kind of the data at hand: the incumbent is one that was made for it.
    challenger : str, optional
        The version that is to be judged, which cannot be its own rival; nor can one with the same networks.

    Returns
    -------
    str or None
        The champion; None if nothing of this kind was in use. The newest version whose training was not interrupted
        counts as in use, then the model that ships with the project, which becomes ``lstm_v0`` of the folder.
    """
    champion = read_registry(shelf.folder).champion
    if champion is not None:
        return champion
    path = next(_candidates(shelf, simulated, challenger), None)
    if path is None:
        return None
    if not shelf.holds(path):
        path = take_over_shipped(path, shelf.folder)
    aliases.promote(shelf.folder, version_of(path), Why(REASON))
    return version_of(path)


def real_version(shelf: Shelf) -> str | None:
    """Return a version of the folder that learned from real data: a simulated one never takes its place unasked."""
    numbered = numbered_versions(shelf.folder).values()
    return next((version_of(path) for path in numbered if (held := _read(path)) and not held.is_simulated), None)


def kept_for_real(shelf: Shelf, simulated: bool) -> str:
    """Say why a run on simulated data leaves aliases alone: trying one out must not change what somebody acts on."""
    real = real_version(shelf) if simulated else None
    return f"a model of simulated data never takes the place of a real one ({real})" if real else ""


def _candidates(shelf: Shelf, simulated: bool, challenger: str | None) -> Iterator[Path]:
    numbered = numbered_versions(shelf.folder)
    paths = [numbered[number] for number in sorted(numbered, reverse=True)]
    shipped = shipped_model()
    if shipped is not None and shelf.folder.resolve() == models_folder():
        paths.append(shipped)
    judged = shelf.folder / f"{challenger}.pth"
    for path in paths:
        held = None if path == judged or are_kin(path, judged) else _read(path)
        if held is not None and held.is_simulated == simulated and not held.provenance.get("interrupted"):
            yield path


def _read(path: Path) -> Bundle | None:
    try:
        return load_bundle(path)
    except BundleError:
        return None
