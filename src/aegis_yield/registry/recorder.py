"""Record a training while it runs: curves go to the scribe as they come, the rest when the bundle is published."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import IO, Any, Final, Self

from aegis_yield.registry.outbox import Outbox, receipt_of
from aegis_yield.registry.records import PUBLISHING, BundleFact, Point, Record, now_ms
from aegis_yield.registry.settings import PREFIX, TrackingSettings

PATIENCE_S: Final = 60.0
"""A training that has ended waits so long for the store, then leaves the rest to the outbox."""


@dataclass(frozen=True)
class Results:
    """What a training brought, for its record.

    Attributes
    ----------
    sha256 : str
        Of the bundle's bytes.
    parameters, tags, metrics : mapping
        See :class:`Record`.
    curves : mapping of str to sequence of float
        Values by epoch, the first after epoch 1.
    files : mapping of str to bytes
        Pictures, by their place among the run's artefacts.
    """

    sha256: str
    parameters: Mapping[str, Any]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    curves: Mapping[str, list[float]]
    files: Mapping[str, bytes] = field(default_factory=dict)


class Recorder:
    """Keeps one training's record; use it as a context around the training.

    Nothing here raises because of the store. What it could not take waits in the outbox, and one warning says so.
    """

    def __init__(self, settings: TrackingSettings, record: Record) -> None:
        self.record = record
        self.said = ""
        self._settings = settings
        self._outbox = Outbox.of(settings.folder)
        self._times: dict[tuple[str, int], int] = {}
        self._alive: IO[str] | None = None
        self._scribe: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._alive = self._outbox.claim(self.record.id)
        self._outbox.put(self.record)
        if importlib.util.find_spec("mlflow") is not None:
            self._scribe = self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.record.bundle is None or not self.record.bundle.name:
            self.record = replace(self.record, bundle=None).completed("FAILED")
            with contextlib.suppress(OSError):  # a full disk has ended the training; its own error is the one to hear
                self._outbox.put(self.record)
        if self._alive is not None:
            self._alive.close()
        self._say(self._last_word())

    def point(self, curve: str, step: int, value: float) -> None:
        """Note a value of a curve; costs a write to a pipe."""
        at_ms = self._times[curve, step] = now_ms()
        if self._scribe is None or self._scribe.stdin is None:
            return
        line = json.dumps([curve, step, value, at_ms]) + "\n"
        # A full pipe (a scribe that hangs) or a broken one (a scribe that died) must not stop a training.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._scribe.stdin.fileno(), line.encode())

    def publishing(self, results: Results) -> None:
        """Note what the bundle will be, before it appears: from here on a crash loses nothing."""
        curves = {
            name: tuple(
                Point(step, value, self._times.get((name, step), self.record.started_ms))
                for step, value in enumerate(values, start=1)
            )
            for name, values in results.curves.items()
        }
        self.record = replace(
            self.record,
            state=PUBLISHING,
            bundle=BundleFact("", results.sha256),
            parameters={**self.record.parameters, **results.parameters},
            tags={**self.record.tags, **results.tags},
            metrics=results.metrics,
            curves=curves,
            files={name: self._outbox.keep_file(self.record, name, held) for name, held in results.files.items()},
        )
        self._outbox.put(self.record)

    def published(self, name: str) -> None:
        """Note under which name the bundle appeared."""
        if self.record.bundle is not None:
            self.record = replace(self.record, bundle=BundleFact(name, self.record.bundle.sha256)).completed()
            self._outbox.put(self.record)

    def _start(self) -> subprocess.Popen[str]:
        settings = self._settings
        named = {"URI": settings.uri, "ARTIFACTS": settings.artifacts, "ENABLED": "1"}
        scribe = subprocess.Popen(
            [sys.executable, "-m", "aegis_yield.registry.scribe", str(settings.models), self.record.id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **{PREFIX + name: value for name, value in named.items() if value}},
            start_new_session=True,  # Ctrl-C ends the training, which then tells the scribe
        )
        if scribe.stdin is not None:
            os.set_blocking(scribe.stdin.fileno(), False)
        return scribe

    def _last_word(self) -> dict[str, Any]:
        if self._scribe is None:
            return {"problem": "recording needs mlflow; install it with: pip install 'aegis-yield[track]'"}
        try:
            text, _ = self._scribe.communicate(timeout=PATIENCE_S)
            word = json.loads(text)
        except subprocess.TimeoutExpired:
            self._scribe.kill()
            self._scribe.communicate()
            return {"problem": f"{self._settings.address}: no answer for {PATIENCE_S:g} s"}
        except ValueError:
            return {"problem": f"{self._settings.address}: recording failed (exit code {self._scribe.returncode})"}
        return word if isinstance(word, dict) else {"problem": "recording failed"}

    def _say(self, word: Mapping[str, Any]) -> None:
        for reason in word.get("refused") or []:
            warnings.warn(f"not recorded: {reason}", stacklevel=3)
        if word.get("problem"):
            warnings.warn(
                f"not recorded yet: {word['problem']}; the record is kept in {self._outbox.folder} and will be "
                "delivered by the next training, or by: aegis models sync",
                stacklevel=3,
            )
        version = word.get("version") or self._version_by_another()
        if version and not word.get("problem"):
            self.said = f"recorded: version {version} in {self._settings.address}"

    def _version_by_another(self) -> str:
        """Return as which version another training, which ended at the same time, has recorded this one."""
        bundle = self.record.bundle
        receipt = receipt_of(self._settings.folder, bundle.name) if bundle else None
        return receipt.version if receipt and bundle and receipt.sha256 == bundle.sha256 else ""
