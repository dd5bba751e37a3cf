"""What runs leave behind: which steps are done on what, one log per run, and the lock that keeps runs apart."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from aegis_yield.registry.lock import try_lock
from aegis_yield.utils.files import write_text_atomically

STATE: Final = "state.json"
FORMAT: Final = 1
_LOCK: Final = ".lock"
_HOLDER_CHARS: Final = 200


@dataclass(frozen=True)
class Done:
    """A step that was completed.

    Attributes
    ----------
    fingerprint : str
        Of what it was made from.
    result : mapping
        What later steps and later runs need of it; plain values.
    said : str
        What it came to, in words.
    at : str
        UTC.
    """

    fingerprint: str
    result: Mapping[str, Any]
    said: str
    at: str


class Journal:
    """The folder of runs: ``state.json`` and one ``<UTC stamp>.jsonl`` per run.

    Parameters
    ----------
    folder : Path
        Made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        now = dt.datetime.now(dt.UTC)
        self._folder = folder
        self.log = folder / f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z.jsonl"
        self._steps, self._notes = _read(folder / STATE)

    def done(self, step: str) -> Done | None:
        """Return what is known of a step's last completion."""
        return self._steps.get(step)

    def complete(self, step: str, done: Done) -> None:
        """Remember a completed step; from here on a killed run goes on after it."""
        self._steps[step] = done
        self._write()

    def note(self, name: str) -> str | None:
        """Return what a step wrote down before it was done."""
        return self._notes.get(name)

    def put_note(self, name: str, value: str) -> None:
        """Write down what an interrupted step must know when it goes on."""
        self._notes[name] = value
        self._write()

    def line(self, event: str, **facts: object) -> None:
        """Add a line to the run's log."""
        self._folder.mkdir(parents=True, exist_ok=True)
        content = {"at": now_text(), "event": event, **facts}
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(content, default=str) + "\n")

    def _write(self) -> None:
        content = {
            "format": FORMAT,
            "steps": {name: asdict(done) for name, done in self._steps.items()},
            "notes": self._notes,
        }
        write_text_atomically(self._folder / STATE, json.dumps(content, indent=2) + "\n")


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[str | None]:
    """Hold a folder's lock while the block runs; yield None, or who holds it already."""
    path = folder / _LOCK
    stream = try_lock(path)
    if stream is None:
        yield " ".join(path.read_text()[:_HOLDER_CHARS].split()) or "another process"
        return
    with stream:
        stream.truncate(0)
        stream.write(f"process {os.getpid()} (since {now_text()})")
        stream.flush()
        yield None
        stream.truncate(0)


def now_text() -> str:
    """Return the moment, UTC, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _read(path: Path) -> tuple[dict[str, Done], dict[str, str]]:
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, this release reads {FORMAT}")
        steps = {str(name): Done(**done) for name, done in content["steps"].items()}
        return steps, {str(name): str(note) for name, note in content["notes"].items()}
    except FileNotFoundError:
        return {}, {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # No step does harm when it is done again: better all of them than none.
        warnings.warn(f"{path}: cannot be read ({error}); every step is done again", stacklevel=4)
        return {}, {}
