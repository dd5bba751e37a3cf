"""Versions are files: ``models/lstm_v<N>.pth``, N counting up, never overwritten, never used for another model."""

from __future__ import annotations

import os
import re
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

from aegis_yield.domain.errors import BundleError, RegistryError
from aegis_yield.registry.aliases import ALIASES, read_registry
from aegis_yield.utils.files import sha256_of, write_bytes_atomically
from aegis_yield.utils.project import packaged_file, project_root, shipped_file

DIGEST_CHARS: Final = 8
"""So many characters of a file's SHA-256 stand behind a version where answers name it: ``lstm_v4-1a2b3c4d``."""

SHIPPED: Final = "lstm_v0"
"""What the model that ships with the project is called once a folder with versions of its own has taken it over."""

_DRAFT: Final = ".draft-"
_DRAFT_LIFE_S: Final = 86_400.0
_NAME: Final = re.compile(r"lstm_v(\d+)\.pth")
_REFERENCE: Final = re.compile(rf"(?:lstm_)?v?(\d+)(?:-([0-9a-f]{{{DIGEST_CHARS}}}))?")


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
    numbered = numbered_versions(models_folder())
    found = [numbered[number] for number in sorted(numbered, reverse=True)]
    shipped = shipped_model()
    if shipped is not None and shipped not in found:
        found.append(shipped)
    if not found:
        raise BundleError(f"no model in {models_folder()}; train one with: python scripts/train.py")
    return found


def shipped_model() -> Path | None:
    """Return the model that ships with the project; None if it does not lie where it should."""
    shipped = packaged_file("models/lstm_v1.pth", "shipped/lstm_v1.pth")
    return shipped if shipped.is_file() else None


def take_over_shipped(shipped: Path, folder: Path) -> Path:
    """Make the model that ships with the project a version of a folder: ``lstm_v0``, older than any of its own.

    Returns
    -------
    Path
        Where it lies. If another one was taken over before, it becomes the next free version.
    """
    content, target = shipped.read_bytes(), folder / f"{SHIPPED}.pth"
    if target.is_file() and target.read_bytes() == content:
        return target
    if target.exists() or 0 in _used(folder):
        return publish(content, folder)
    write_bytes_atomically(target, content)
    return target


def default_model() -> Path:
    """Return the first of :func:`candidate_models`."""
    return candidate_models()[0]


def find_version(reference: str | Path, folder: Path | None = None) -> Path:
    """Return the file that a reference means.

    Parameters
    ----------
    reference : str or Path
        ``champion`` or ``challenger``; a version as ``4``, ``v4``, ``lstm_v4`` or, exact to the byte,
        ``lstm_v4-1a2b3c4d``; anything else is a path.
    folder : Path, optional
        Where versions lie; by default the project's ``models/``.

    Raises
    ------
    BundleError
        If an alias is not set, a version is not there, or its bytes are not those asked for.
    """
    text, folder = str(reference), folder or models_folder()
    if text in ALIASES:
        named = read_registry(folder).aliases.get(text)
        if named is None:
            raise BundleError(f"{text}: no version has this alias; list versions with: aegis models list, or name one")
        path = folder / f"{named}.pth"
        if not path.is_file():
            raise BundleError(f"{text} is {named}, but {path} is gone; restore it, or: aegis models rollback")
        return path
    match = _REFERENCE.fullmatch(text)
    if not match:
        return Path(reference)
    path = _existing(f"lstm_v{int(match[1])}", folder, text)
    if match[2] and not sha256_of(path).startswith(match[2]):
        raise BundleError(f"{text}: {path} holds other bytes than those; it was changed, or is from another folder")
    return path


def _existing(name: str, folder: Path, asked: str) -> Path:
    path = folder / f"{name}.pth"
    if path.is_file():
        return path
    shipped = shipped_file(f"models/{name}.pth", f"shipped/{name}.pth")
    if folder == models_folder() and shipped.is_file():
        return shipped
    raise BundleError(f"{asked}: no such version in {folder}; list versions with: aegis models list")


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
    _remove_abandoned_drafts(folder)
    draft = folder / f"{_DRAFT}{uuid.uuid4().hex}.pth"
    write_bytes_atomically(draft, content)
    try:
        return _link_to_next(draft, folder)
    finally:
        draft.unlink()


def _remove_abandoned_drafts(folder: Path) -> None:
    """Remove what a process that was killed in mid-write left; one at work needs its draft for an instant only."""
    for name in (f"{_DRAFT}*", f".{_DRAFT}*"):  # whole, or itself still being written
        for path in folder.glob(name):
            with suppress(FileNotFoundError):  # another process tidies up, too
                if time.time() - path.stat().st_mtime > _DRAFT_LIFE_S:
                    path.unlink()


def _link_to_next(draft: Path, folder: Path) -> Path:
    number = max([*numbered_versions(folder), *_used(folder)], default=0) + 1
    while True:
        target = folder / f"lstm_v{number}.pth"
        try:
            os.link(draft, target)  # fails if another training took the number in between
        except FileExistsError:
            number += 1
        else:
            return target


def _used(folder: Path) -> set[int]:
    """Return the numbers of deleted versions: what was said of one of them must not be read of another."""
    try:
        deleted = read_registry(folder).deleted
    except RegistryError:
        return set()  # hours of training are not thrown away over a damaged list
    return {int(match[1]) for name in deleted if (match := _NAME.fullmatch(f"{name}.pth"))}


def numbered_versions(folder: Path) -> dict[int, Path]:
    """Return the bundles of a folder by number."""
    if not folder.is_dir():
        return {}
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return {int(match[1]): path for match, path in matches if match}
