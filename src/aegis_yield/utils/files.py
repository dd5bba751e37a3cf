"""Files appear whole or not at all: write beside, flush to disk, rename over."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

_UNFINISHED: Final = re.compile(r"\.(.+)\.[a-z0-9_]{8}(\.[^.]*)?")
"""How :func:`write_atomically` calls a file while it writes it, as :func:`tempfile.mkstemp` makes names."""


def write_atomically(path: Path, write: Callable[[Path], object], mode: int | None = None) -> None:
    """Let ``write`` fill a temporary file, then put it at ``path`` in one step.

    Parameters
    ----------
    path : Path
        Where the complete file appears; its folder is made if need be.
    write : callable
        Receives the temporary path and writes the whole content to it.
    mode : int, optional
        Permissions of the file, also while it is written; by default those of an ordinary one.

    Notes
    -----
    A crash at any moment leaves either the old file or the new one at ``path``. The folder entry is
    flushed too, so that the rename itself survives a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        _flush(temporary)
        # mkstemp makes private files; give the result the mode an ordinary open() would have.
        temporary.chmod(0o666 & ~_umask() if mode is None else mode)
        temporary.replace(path)
    except OSError as error:
        # A full disk says only that there is no space: name the file that could not be written.
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    _flush(path.parent)


def remove_unfinished(folder: Path, names: Collection[str] | None = None) -> list[Path]:
    """Remove what :func:`write_atomically` left in a folder where it was killed; return what was removed.

    Parameters
    ----------
    folder : Path
        Only whoever alone may write there may ask for it: another writer's file is unfinished, too. It need not exist.
    names : collection of str, optional
        Files whose leftovers are meant; by default any.
    """
    found = [path for path in sorted(folder.glob(".*")) if path.is_file() and not path.is_symlink()]
    left = [path for path in found if (name := _meant(path.name)) and (names is None or name in names)]
    for path in left:
        path.unlink(missing_ok=True)
    return left


def _meant(name: str) -> str | None:
    """Return which file an unfinished one would have become; None if it is none."""
    match = _UNFINISHED.fullmatch(name)
    return match[1] if match and Path(match[1]).suffix == (match[2] or "") else None


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in one step (see :func:`write_atomically`)."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_text_atomically(path: Path, content: str) -> None:
    """Put UTF-8 ``content`` at ``path`` in one step (see :func:`write_atomically`)."""
    write_bytes_atomically(path, content.encode())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as hexadecimal text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
