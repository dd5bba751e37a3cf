"""Keys in force: read from the key file, and again when it has changed."""

from __future__ import annotations

import datetime as dt
import logging
import time
from pathlib import Path
from typing import Final, TypeAlias

from aegis_yield.domain.errors import AegisError
from aegis_yield.pipelines.keys import KeyRing, default_key_file, read_keys
from api.guards.addresses import listens_locally
from api.settings import ServiceSettings

logger = logging.getLogger("aegis_yield.service")

LOOK_S: Final = 1.0
"""A look at the file costs two microseconds: often enough to be prompt, too rare to be felt."""

Stamp: TypeAlias = tuple[int, int, int] | None


class KeysInForce:
    """The keys that requests are checked against.

    A file that cannot be read any more leaves the keys as they were, and says so in the log: a slip of an editor must
    not lock everybody out, and a file that is gone must not open the service.

    Parameters
    ----------
    path : Path
        The key file; it may appear later.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ring: KeyRing | None = None
        self._seen: Stamp = None
        self._look_at = time.monotonic() + LOOK_S
        if path.exists():
            self._seen = _stamp(path)
            self._ring = read_keys(path)

    def ring(self) -> KeyRing | None:
        """Return the keys; None if the service has none and is open."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._look()
        return self._ring

    def _look(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        if stamp is None:
            logger.error("the key file is gone; the keys last read stay in force")
            return
        try:
            self._ring = read_keys(self._path)
        except AegisError as error:
            logger.error("%s; the keys last read stay in force", error)
            # A file that is no key file yet must not leave a service open that was open until now.
            self._ring = self._ring or KeyRing()
            return
        logger.info("keys read: %d", len(self._ring.keys))


def keys_in_force(settings: ServiceSettings) -> KeysInForce:
    """Return the keys that settings ask for.

    Raises
    ------
    AegisError
        If the service is reachable from elsewhere without a usable key, or if a key file that was asked for is absent
        or damaged.
    """
    asked = settings.service.keys
    path = asked.expanduser() if asked is not None else default_key_file()
    if asked is not None and not path.exists():
        raise AegisError(
            f"AEGIS_SERVICE__KEYS: {path}: no such file; make it: aegis keys create --name NAME --file {path}"
        )
    keys = KeysInForce(path)
    ring = keys.ring()
    if not listens_locally(settings.host) and (ring is None or not ring.any_usable(dt.datetime.now(dt.UTC))):
        raise AegisError(
            f"host {settings.host} can be reached from elsewhere, and the service has no usable key; make one with: "
            "aegis keys create --name NAME, or listen on 127.0.0.1"
        )
    return keys


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
