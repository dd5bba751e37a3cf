"""Unfinished training on disk: plain tensors and numbers, replaced in one step after every epoch."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from aegis_yield.domain.errors import TrainingError
from aegis_yield.models.fitting import Progress
from aegis_yield.models.torch_runtime import UNREADABLE, torch
from aegis_yield.models.training import MemberState
from aegis_yield.utils.files import write_bytes_atomically


@dataclass(frozen=True)
class Checkpoint:
    """What a training was about, and how far it came.

    Attributes
    ----------
    identity : dict
        Plan and data hash: a resumed training must have the same.
    progress : Progress
        Finished networks and the current one.
    """

    identity: dict[str, Any]
    progress: Progress


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all."""
    content = {
        "identity": checkpoint.identity,
        "done": [_shallow(state) for state in checkpoint.progress.done],
        "current": _shallow(checkpoint.progress.current) if checkpoint.progress.current else None,
    }
    stream = io.BytesIO()
    torch.save(content, stream)
    write_bytes_atomically(path, stream.getvalue())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    TrainingError
        If it is damaged or foreign.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        done = [MemberState(**state) for state in content["done"]]
        current = MemberState(**content["current"]) if content["current"] else None
        return Checkpoint(content["identity"], Progress(done, current))
    except UNREADABLE as error:
        raise TrainingError(
            f"{path}: cannot be resumed from, it is damaged; delete it or leave --resume out"
        ) from error


def _shallow(state: MemberState) -> dict[str, Any]:
    return {field.name: getattr(state, field.name) for field in fields(state)}
