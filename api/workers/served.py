"""What the service serves, as a worker can load it: the same files, or copies where those are no more there."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from aegis_yield.models.bundle import bundle_bytes
from aegis_yield.pipelines.datasets import content_hash
from aegis_yield.pipelines.predict import Forecaster
from aegis_yield.preprocessing.tables import write_dataset
from api.workers.messages import Files, State


class States:
    """Says exactly what a forecaster is made of; the last one is remembered."""

    def __init__(self) -> None:
        self._last: tuple[Forecaster, State] | None = None

    async def of(self, forecaster: Forecaster) -> State:
        """Return a forecaster's state; hashing tables takes a moment and is done in a thread."""
        if self._last is not None and self._last[0] is forecaster:
            return self._last[1]
        digest = await asyncio.to_thread(content_hash, forecaster.dataset)
        names = {
            "aliases": {alias: list(targets) for alias, targets in forecaster.names.aliases.items()},
            "defaults": list(forecaster.names.defaults),
        }
        state = State(forecaster.model_version, digest, json.dumps(names, sort_keys=True))
        self._last = (forecaster, state)
        return state


def files_of(forecaster: Forecaster, data: Path | None) -> Files | None:
    """Return the files that a forecaster was loaded from; None if its model came from none."""
    if forecaster.bundle_path is None:
        return None
    return Files(None if data is None else str(data.absolute()), str(forecaster.bundle_path.absolute()))


def write_copies(forecaster: Forecaster, folder: Path) -> Files:
    """Write what is served into a folder."""
    write_dataset(forecaster.dataset, folder)
    model = folder / "model.pth"
    model.write_bytes(bundle_bytes(forecaster.bundle))
    return Files(str(folder), str(model), are_copies=True)
