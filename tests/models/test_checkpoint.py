from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from aegis_yield.domain.errors import TrainingError
from aegis_yield.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from aegis_yield.models.fitting import FittedModel, Progress
from aegis_yield.models.torch_runtime import torch


class MakesFolder:
    """A pickle of it makes a folder when it is opened by a reader that runs code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_progress_survives_the_disk(fitted: tuple[FittedModel, Progress], tmp_path: Path) -> None:
    states = fitted[1].done
    identity = {"plan": {"epochs": 2, "learning_rate": 1e-3}, "data_hash": "abc"}
    save_checkpoint(tmp_path / "new" / "c.ckpt", Checkpoint(identity, Progress(states[:2], states[2])))
    held = load_checkpoint(tmp_path / "new" / "c.ckpt")
    assert held.identity == identity
    for before, after in zip(states[:3], [*held.progress.done, held.progress.current], strict=True):
        assert (before.epoch, before.best_epoch, before.losses) == (after.epoch, after.best_epoch, after.losses)
        assert all(torch.equal(before.best[name], after.best[name]) for name in before.best)
        torch.testing.assert_close(before.optimizer["state"], after.optimizer["state"], rtol=0, atol=0)


def test_between_networks_there_is_no_current_one(fitted: tuple[FittedModel, Progress], tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.ckpt", Checkpoint({}, Progress(fitted[1].done[:1], None)))
    held = load_checkpoint(tmp_path / "c.ckpt").progress
    assert (len(held.done), held.current) == (1, None)


def test_saving_again_leaves_one_file(fitted: tuple[FittedModel, Progress], tmp_path: Path) -> None:
    for n in (1, 2):
        save_checkpoint(tmp_path / "c.ckpt", Checkpoint({}, Progress(fitted[1].done[:n])))
    assert [path.name for path in tmp_path.iterdir()] == ["c.ckpt"]
    assert len(load_checkpoint(tmp_path / "c.ckpt").progress.done) == 2


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04", bytes(2_000)])
def test_damaged_bytes_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.ckpt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"c\.ckpt: cannot be resumed from.*delete it or leave --resume out$"):
        load_checkpoint(tmp_path / "c.ckpt")


@pytest.mark.parametrize("content", [{"done": 3}, {"done": [{"secret": 1}], "current": None}, "text", None, 7])
def test_foreign_content_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "c.ckpt")
    with pytest.raises(TrainingError, match="cannot be resumed from"):
        load_checkpoint(tmp_path / "c.ckpt")


def test_a_truncated_checkpoint_is_refused(fitted: tuple[FittedModel, Progress], tmp_path: Path) -> None:
    path = tmp_path / "c.ckpt"
    save_checkpoint(path, Checkpoint({}, fitted[1]))
    path.write_bytes(path.read_bytes()[:-5_000])
    with pytest.raises(TrainingError, match="cannot be resumed from"):
        load_checkpoint(path)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    path, folder = tmp_path / "c.ckpt", tmp_path / "made"
    path.write_bytes(pickle.dumps(MakesFolder(folder), protocol=2))
    with pytest.raises(TrainingError, match="cannot be resumed from"):
        load_checkpoint(path)
    assert not folder.exists()
    pickle.loads(path.read_bytes())
    assert folder.exists()
