"""What is recorded of a training, an import, an evaluation or a deletion: plain values, complete by themselves."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

FORMAT: Final = 1
RUNNING: Final = "running"
"""A training is at work, or was killed."""

PUBLISHING: Final = "publishing"
"""A training knows its bundle's bytes and is about to put them into the models folder."""

COMPLETE: Final = "complete"
"""Nothing will be added: it can be delivered."""

ADDITIONS: Final = ("scores", "deletion")
"""Kinds of record that speak of a bundle which another record brought."""


@dataclass(frozen=True)
class BundleFact:
    """Which bundle, to the byte.

    Attributes
    ----------
    name : str
        Version, such as ``lstm_v3``; empty until it is published.
    sha256 : str
        Of the file.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Point:
    """One value of a curve: after which epoch, how much, when (ms since 1970, UTC)."""

    step: int
    value: float
    at_ms: int


@dataclass(frozen=True)
class Record:
    """What happened, to be delivered to the store once, however often that is tried.

    Attributes
    ----------
    id : str
        By which the store is asked whether it has this already.
    kind : {"training", "import", "scores", "deletion"}
        The first two make a run and a version, the others add to that of ``bundle``.
    title : str
        Name of the run for people.
    state : str
        ``running``, ``publishing`` or ``complete``.
    outcome : str
        ``FINISHED``, ``FAILED`` or ``KILLED``, as MLflow has them.
    started_ms, ended_ms : int
        Milliseconds since 1970, UTC.
    parameters : mapping
        Choices and data: what could explain a difference.
    tags : mapping
        Where it comes from.
    metrics : mapping
        Final figures.
    curves : mapping
        Figures by epoch.
    bundle : BundleFact or None
        What came of it.
    files : mapping of str to str
        Pictures and pages: place among the run's artefacts, and the file that holds it now; one that is gone is
        left out.
    """

    kind: str
    title: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: str = RUNNING
    outcome: str = "FINISHED"
    started_ms: int = field(default_factory=lambda: now_ms())
    ended_ms: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    bundle: BundleFact | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def completed(self, outcome: str = "FINISHED") -> Record:
        """Return the record with nothing left to add."""
        return replace(self, state=COMPLETE, outcome=outcome, ended_ms=max(now_ms(), self.started_ms))

    def to_text(self) -> str:
        """Return JSON; figures that are not finite are left out, as JSON has no word for them."""
        content = asdict(replace(self, metrics=finite(self.metrics)))
        content["curves"] = {
            name: [[point.step, point.value, point.at_ms] for point in points if math.isfinite(point.value)]
            for name, points in self.curves.items()
        }
        return json.dumps({"format": FORMAT, **content}, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_text(cls, text: str) -> Record:
        """Read :meth:`to_text` back.

        Raises
        ------
        ValueError
            If it is nothing of the kind.
        """
        try:
            content = json.loads(text)
            if content.pop("format") != FORMAT:
                raise ValueError(f"another format than {FORMAT}")
            curves = {name: tuple(Point(*point) for point in points) for name, points in content["curves"].items()}
            bundle = BundleFact(**content["bundle"]) if content["bundle"] else None
            return cls(**{**content, "curves": curves, "bundle": bundle})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no record of a run ({error})") from error


def finite(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures that are finite numbers."""
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


def now_ms() -> int:
    """Return milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
