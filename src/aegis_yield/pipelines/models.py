"""Which bundle a command uses: the one asked for, else the champion, else the newest that is fit for the data."""

from __future__ import annotations

from pathlib import Path

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import BundleError
from aegis_yield.models.bundle import Bundle, load_bundle
from aegis_yield.registry import CHAMPION, candidate_models, find_version, models_folder, read_registry


def choose_model(dataset: Dataset, reference: str | Path | None = None) -> tuple[Path, Bundle]:
    """Load a bundle to use on a dataset.

    Parameters
    ----------
    dataset : Dataset
        What it will forecast.
    reference : str or Path, optional
        The bundle asked for: a path, a version (``4``, ``lstm_v4``) or an alias (``champion``). Without it: the
        champion. Without a champion: the newest; on real data, the newest that was not trained on simulated data,
        so that trying out training never changes a forecast that somebody acts on.

    Returns
    -------
    Path, Bundle
        Where it lies, and what it holds.

    Raises
    ------
    BundleError
        If there is none, it cannot be read, or the champion was trained on simulated data and these are real.
    RegistryError
        If the list of aliases is damaged.
    """
    if reference is not None:
        path = find_version(reference)
        return path, load_bundle(path)
    champion = read_registry(models_folder()).champion
    if champion is not None:
        return _champion(dataset, champion)
    for candidate in candidate_models():
        bundle = load_bundle(candidate)
        if dataset.is_simulated or not bundle.is_simulated:
            return candidate, bundle
    raise BundleError(
        f"{dataset.name}: received real data, but every model here was trained on simulated data; "
        "train one on yours with: python scripts/train.py --data FOLDER, or name one with --model"
    )


def _champion(dataset: Dataset, version: str) -> tuple[Path, Bundle]:
    """Load the champion: another model in its place would be served without anybody knowing."""
    path = find_version(CHAMPION)
    bundle = load_bundle(path)
    if bundle.is_simulated and not dataset.is_simulated:
        raise BundleError(
            f"{dataset.name}: received real data, but the champion {version} was trained on simulated data; promote "
            "one that was trained on real data, or name one with --model"
        )
    return path, bundle
