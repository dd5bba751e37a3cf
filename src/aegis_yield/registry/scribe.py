"""The process beside a training that talks to the tracking store: MLflow is never part of the training itself.

It reads points of curves from its standard input as they come, logs them, and when the input ends it delivers the
outbox. Its last word is one line of JSON. A store that is slow, gone or broken costs the training nothing; the seconds
of work that MLflow takes are kept few, because a training of a minute pays them, too.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from aegis_yield.domain.errors import AegisError
from aegis_yield.registry.delivery import deliver_all
from aegis_yield.registry.outbox import Outbox
from aegis_yield.registry.records import Point
from aegis_yield.registry.settings import TrackingSettings
from aegis_yield.registry.tracking import TrackingStore

PAUSE_S: Final = 2.0
"""What comes within it is logged together."""

UNUSED: Final = ("numpy", "pandas", "polars")
"""MLflow loads them where they are installed, half of its own time, and does without them where they are not."""

_NICENESS: Final = 5
_AT_ONCE_BYTES: Final = 65_536


def attend(settings: TrackingSettings, identifier: str, batches: Iterable[list[str]]) -> dict[str, Any]:
    """Log a training's curves as they come, then deliver everything that waits.

    Parameters
    ----------
    settings : TrackingSettings
        The models folder and the store.
    identifier : str
        Of the training's record, which lies in the outbox.
    batches : iterable of list of str
        Lines as they come, one JSON list ``[curve, step, value, ms]`` each, until the training ends or dies.

    Returns
    -------
    dict
        Run and version of this training where the store took them, refusals, and why the rest still waits.
    """
    store = _begin(settings, identifier, batches)
    outcome = deliver_all(settings, store)
    receipt = outcome.receipts.get(identifier)
    return {
        "run_id": receipt.run_id if receipt else None,
        "version": receipt.version if receipt else None,
        "refused": outcome.refused,
        "problem": outcome.problem,
    }


def lines_of(descriptor: int, pause_s: float = PAUSE_S) -> Iterator[list[str]]:
    """Yield the lines that come through a pipe, those of a pause together, until its other end is closed."""
    ended = select.poll()
    ended.register(descriptor, 0)  # only that nobody writes any more, which is always told
    rest = b""
    while received := os.read(descriptor, _AT_ONCE_BYTES):
        *lines, rest = (rest + received).split(b"\n")
        yield [line.decode() for line in lines]
        ended.poll(round(1000 * pause_s))


def _begin(settings: TrackingSettings, identifier: str, batches: Iterable[list[str]]) -> TrackingStore | None:
    """Log what comes; after a failure only listen: what was missed is delivered in the end."""
    store: TrackingStore | None = None
    run_id = ""
    try:
        store = TrackingStore.open(settings)
        run_id = store.begin(Outbox.of(settings.folder).get(identifier))
    except AegisError:
        store = None
    failed = store is None
    for lines in batches:
        if not failed and store is not None:
            try:
                store.log(run_id, _curves(lines))
            except (AegisError, ValueError):
                failed = True
    return None if failed else store


def _curves(lines: Iterable[str]) -> dict[str, list[Point]]:
    curves: dict[str, list[Point]] = {}
    for line in lines:
        name, step, value, at_ms = json.loads(line)
        curves.setdefault(name, []).append(Point(step, value, at_ms))
    return curves


def main(arguments: list[str], descriptor: int) -> None:
    """Run as ``python -m aegis_yield.registry.scribe MODELS ID``."""
    os.nice(_NICENESS)
    gc.disable()  # a few hundred points make little garbage, while MLflow's thousands of modules make it look for some
    for name in UNUSED:
        sys.modules[name] = None  # type: ignore[assignment] # how Python is told that there is no such package
    settings = TrackingSettings.of(Path(arguments[0]))
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints, the last word is the only one
        word = attend(settings, arguments[1], lines_of(descriptor))
    sys.stdout.write(json.dumps(word) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:], sys.stdin.fileno())
