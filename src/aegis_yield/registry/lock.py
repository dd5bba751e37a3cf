"""One writer at a time: a file lock that the system lets go of when its holder dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from aegis_yield.domain.errors import RegistryError

_POLL_S = 0.02


@contextmanager
def held(path: Path, wait_s: float = 30.0) -> Iterator[None]:
    """Hold the lock at ``path`` while the block runs.

    Parameters
    ----------
    path : Path
        An empty file beside what is protected; it is made if need be and stays.
    wait_s : float
        How long to wait for another holder.

    Raises
    ------
    RegistryError
        If another process holds it all that time.
    """
    give_up = time.monotonic() + wait_s
    while (stream := try_lock(path)) is None:
        if time.monotonic() >= give_up:
            raise RegistryError(f"{path.parent}: another process has been changing this folder for {wait_s:g} s; retry")
        time.sleep(_POLL_S)
    with stream:
        yield


def try_lock(path: Path) -> IO[str] | None:
    """Take the lock at ``path`` until the returned stream is closed; None if another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("a+")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        return None
    return stream
