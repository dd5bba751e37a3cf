"""The process beside a training that talks to the tracking store: MLflow is never part of the training itself.

It reads points of curves from its standard input as they come, logs them, and when the input ends it delivers the
outbox. Its last word is one line of JSON. A store that is slow, gone or broken costs the training nothing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from aegis_yield.domain.errors import AegisError
from aegis_yield.registry.delivery import deliver_all
from aegis_yield.registry.outbox import Outbox
from aegis_yield.registry.records import Point
from aegis_yield.registry.settings import TrackingSettings
from aegis_yield.registry.tracking import TrackingStore

_NICENESS = 5


def attend(settings: TrackingSettings, identifier: str, lines: Iterable[str]) -> dict[str, Any]:
    """Log a training's curves as they come, then deliver everything that waits.

    Parameters
    ----------
    settings : TrackingSettings
        The models folder and the store.
    identifier : str
        Of the training's record, which lies in the outbox.
    lines : iterable of str
        One JSON list ``[curve, step, value, ms]`` each, until the training ends or dies.

    Returns
    -------
    dict
        Run and version of this training where the store took them, refusals, and why the rest still waits.
    """
    store = _begin(settings, identifier, lines)
    outcome = deliver_all(settings, store)
    receipt = outcome.receipts.get(identifier)
    return {
        "run_id": receipt.run_id if receipt else None,
        "version": receipt.version if receipt else None,
        "refused": outcome.refused,
        "problem": outcome.problem,
    }


def _begin(settings: TrackingSettings, identifier: str, lines: Iterable[str]) -> TrackingStore | None:
    """Log what comes; after a failure only listen: what was missed is delivered in the end."""
    store: TrackingStore | None = None
    run_id = ""
    try:
        store = TrackingStore.open(settings)
        run_id = store.begin(Outbox.of(settings.folder).get(identifier))
    except AegisError:
        store = None
    failed = store is None
    for line in lines:
        if not failed and store is not None:
            try:
                name, step, value, at_ms = json.loads(line)
                store.log(run_id, {name: [Point(step, value, at_ms)]})
            except (AegisError, ValueError):
                failed = True
    return None if failed else store


def main(arguments: list[str], lines: TextIO) -> None:
    """Run as ``python -m aegis_yield.registry.scribe MODELS ID``."""
    os.nice(_NICENESS)
    settings = TrackingSettings.of(Path(arguments[0]))
    sys.stdout.write(json.dumps(attend(settings, arguments[1], lines)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:], sys.stdin)
