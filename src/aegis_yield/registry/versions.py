"""Versions are files: ``models/lstm_v<N>.pth``, N counting up, never overwritten by training."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path
from typing import Final

from aegis_yield.domain.errors import BundleError
from aegis_yield.utils.files import write_bytes_atomically
from aegis_yield.utils.project import project_root, shipped_file

_NAME: Final = re.compile(r"lstm_v(\d+)\.pth")


def models_folder() -> Path:
    """Return the project's ``models/`` folder."""
    return project_root() / "models"


def version_of(path: Path) -> str:
    """Return a bundle's version for people: its file name without the suffix."""
    return path.stem


def candidate_models() -> list[Path]:
    """Return every ``lstm_v<N>.pth``, newest first; the one that ships with the project comes last.

    Raises
    ------
    BundleError
        If there is none at all.
    """
    numbered = _numbered(models_folder())
    found = [numbered[number] for number in sorted(numbered, reverse=True)]
    shipped = shipped_file("models/lstm_v1.pth", "shipped/lstm_v1.pth")
    if shipped.is_file() and shipped not in found:
        found.append(shipped)
    if not found:
        raise BundleError(f"no model in {models_folder()}; train one with: python scripts/train.py")
    return found


def default_model() -> Path:
    """Return the first of :func:`candidate_models`."""
    return candidate_models()[0]


def publish(content: bytes, folder: Path) -> Path:
    """Write a bundle as the next free version, whole or not at all.

    Parameters
    ----------
    content : bytes
        The bundle.
    folder : Path
        Usually ``models/``.

    Returns
    -------
    Path
        Where it lies. Two trainings that end at once get two numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".draft-{uuid.uuid4().hex}.pth"
    write_bytes_atomically(draft, content)
    try:
        return _link_to_next(draft, folder)
    finally:
        draft.unlink()


def _link_to_next(draft: Path, folder: Path) -> Path:
    number = max(_numbered(folder), default=0) + 1
    while True:
        target = folder / f"lstm_v{number}.pth"
        try:
            os.link(draft, target)  # fails if another training took the number in between
        except FileExistsError:
            number += 1
        else:
            return target


def _numbered(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return {int(match[1]): path for match, path in matches if match}
