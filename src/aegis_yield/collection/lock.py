"""One collection at a time per folder: a lock that the system lets go of when its holder dies."""

from __future__ import annotations

import datetime as dt
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aegis_yield.domain.errors import BusyError


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock at ``path`` while the block runs.

    Raises
    ------
    BusyError
        At once, if another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = " ".join(stream.read(200).split()) or "another process"
            raise BusyError(f"{path.parent}: {holder} is collecting into this folder; wait until it is done") from error
        stream.truncate(0)
        stream.write(f"process {os.getpid()} (since {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S} UTC)")
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)
