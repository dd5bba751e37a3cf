"""Which bundle a command uses: the one asked for, else the newest that is fit for the data."""

from __future__ import annotations

from pathlib import Path

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import BundleError
from aegis_yield.models.bundle import Bundle, load_bundle
from aegis_yield.registry import candidate_models


def choose_model(dataset: Dataset, path: Path | None = None) -> tuple[Path, Bundle]:
    """Load a bundle to use on a dataset.

    Parameters
    ----------
    dataset : Dataset
        What it will forecast.
    path : Path, optional
        The bundle asked for. Without it: the newest; on real data, the newest that was not trained on
        simulated data, so that trying out training never changes a forecast that somebody acts on.

    Returns
    -------
    Path, Bundle
        Where it lies, and what it holds.

    Raises
    ------
    BundleError
        If there is none, or it cannot be read.
    """
    if path is not None:
        return path, load_bundle(path)
    for candidate in candidate_models():
        bundle = load_bundle(candidate)
        if dataset.is_simulated or not bundle.is_simulated:
            return candidate, bundle
    raise BundleError(
        f"{dataset.name}: received real data, but every model here was trained on simulated data; "
        "train one on yours with: python scripts/train.py --data FOLDER, or name one with --model"
    )
