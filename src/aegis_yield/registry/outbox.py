"""What the tracking store has not got yet: one file per record, kept until it is delivered.

A training holds a lock beside its record as long as it lives. A record that says "running" without that lock held
belongs to a training that was killed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from aegis_yield.domain.errors import RegistryError
from aegis_yield.registry.lock import try_lock
from aegis_yield.registry.records import ADDITIONS, Record
from aegis_yield.utils.files import write_bytes_atomically, write_text_atomically

_REFUSED: Final = "refused"


@dataclass(frozen=True)
class Outbox:
    """Records waiting in ``<models>/tracking/outbox``.

    Attributes
    ----------
    folder : Path
        Where.
    """

    folder: Path

    @classmethod
    def of(cls, tracking: Path) -> Outbox:
        """Return the outbox of a tracking folder."""
        return cls(tracking / "outbox")

    def put(self, record: Record) -> None:
        """Write a record, in place of an earlier state of it."""
        write_text_atomically(self._path(record.id), record.to_text())

    def get(self, identifier: str) -> Record:
        """Read one record.

        Raises
        ------
        RegistryError
            If it is not there, or damaged.
        """
        path = self._path(identifier)
        try:
            return Record.from_text(path.read_text())
        except (OSError, ValueError) as error:
            raise RegistryError(f"{path}: cannot be read as a record of a run ({error}); move it away") from error

    def waiting(self) -> Iterator[Record]:
        """Yield what waits, runs before what adds to them, oldest first; what cannot be read is set aside."""
        records = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                records.append(self.get(path.stem))
            except RegistryError as error:
                if path.is_file():  # else another process has just delivered it
                    self.refuse(path.stem, str(error))
        yield from sorted(records, key=lambda record: (record.kind in ADDITIONS, record.started_ms, record.id))

    def keep_file(self, record: Record, name: str, content: bytes) -> str:
        """Keep a picture or page for a record; return where it lies."""
        path = self.folder / record.id / name
        write_bytes_atomically(path, content)
        return str(path)

    def drop(self, identifier: str) -> None:
        """Forget a record that was delivered."""
        shutil.rmtree(self.folder / identifier, ignore_errors=True)
        for path in (self._path(identifier), self._lock_path(identifier)):
            path.unlink(missing_ok=True)

    def refuse(self, identifier: str, reason: str) -> Path:
        """Set a record aside that can never be delivered, with the reason; return where it lies."""
        aside = self.folder / _REFUSED
        aside.mkdir(parents=True, exist_ok=True)
        path = self._path(identifier).replace(aside / f"{identifier}.json")
        write_text_atomically(aside / f"{identifier}.reason.txt", reason + "\n")
        self._lock_path(identifier).unlink(missing_ok=True)
        return path

    def claim(self, identifier: str) -> IO[str] | None:
        """Say that a training is alive, until the returned stream is closed; None if another process says so."""
        return try_lock(self._lock_path(identifier))

    def is_alive(self, identifier: str) -> bool:
        """Whether the training behind a record is still at work."""
        if not self._lock_path(identifier).exists():
            return False
        stream = self.claim(identifier)
        if stream is None:
            return True
        stream.close()
        return False

    def _path(self, identifier: str) -> Path:
        return self.folder / f"{identifier}.json"

    def _lock_path(self, identifier: str) -> Path:
        return self.folder / f"{identifier}.lock"


@dataclass(frozen=True)
class Receipt:
    """What the store made of a bundle.

    Attributes
    ----------
    name, sha256 : str
        The bundle.
    run_id, version : str
        MLflow's names for the run and the registered version.
    store : str
        Its address, without a password.
    """

    name: str
    sha256: str
    run_id: str
    version: str
    store: str


def keep_receipt(tracking: Path, receipt: Receipt) -> None:
    """Note that a bundle is recorded: said again without asking the store."""
    write_text_atomically(_receipt_path(tracking, receipt.name), json.dumps(vars(receipt), indent=1) + "\n")


def receipt_of(tracking: Path, name: str) -> Receipt | None:
    """Return what is known of a bundle's place in the store, if it was recorded from here."""
    try:
        content: Any = json.loads(_receipt_path(tracking, name).read_text())
        return Receipt(**content)
    except (OSError, ValueError, TypeError):
        return None


def _receipt_path(tracking: Path, name: str) -> Path:
    return tracking / "receipts" / f"{name}.json"
