from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from threading import Barrier

import pytest

from aegis_yield.domain.errors import BundleError
from aegis_yield.registry import default_model, models_folder, publish, version_of
from aegis_yield.utils import project

PER_WRITER = 40


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AEGIS_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the package would lie if a wheel had put it outside any checkout."""
    folder = tmp_path / "lib" / "site-packages" / "aegis_yield"
    monkeypatch.setattr(project, "_PACKAGE", folder)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(folder: Path, files: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        (folder / name).write_text(name)


def publish_many(start: Barrier, folder: Path, writer: int) -> None:
    start.wait()
    for i in range(PER_WRITER):
        publish(f"{writer}:{i}".encode(), folder)


def test_versions_count_up_from_one(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    assert [publish(bytes([i]), folder).name for i in range(3)] == ["lstm_v1.pth", "lstm_v2.pth", "lstm_v3.pth"]
    assert [(folder / f"lstm_v{i + 1}.pth").read_bytes() for i in range(3)] == [bytes([i]) for i in range(3)]


def test_a_gap_is_not_filled(tmp_path: Path) -> None:
    fill(tmp_path, ["lstm_v1.pth", "lstm_v7.pth"])
    assert publish(b"new", tmp_path).name == "lstm_v8.pth"


def test_versions_are_numbers_not_text(tmp_path: Path) -> None:
    fill(tmp_path, [f"lstm_v{i}.pth" for i in range(1, 11)])
    assert publish(b"new", tmp_path).name == "lstm_v11.pth"


def test_other_files_are_no_versions(tmp_path: Path) -> None:
    fill(tmp_path, ["lstm_v9.pth.bak", "my_lstm_v9.pth", "lstm_vX.pth", "lstm_v-9.pth", ".lstm_v9.pth", "README.md"])
    assert publish(b"new", tmp_path).name == "lstm_v1.pth"


def test_publishing_never_overwrites(tmp_path: Path) -> None:
    fill(tmp_path, ["lstm_v1.pth"])
    (tmp_path / "lstm_v2.pth").symlink_to("nowhere")  # a link to nowhere is taken, too
    publish(b"new", tmp_path)
    assert (tmp_path / "lstm_v1.pth").read_text() == "lstm_v1.pth"
    assert (tmp_path / "lstm_v2.pth").is_symlink()
    assert (tmp_path / "lstm_v3.pth").read_bytes() == b"new"


def test_no_drafts_are_left(tmp_path: Path) -> None:
    publish(b"a", tmp_path)
    publish(b"b", tmp_path)
    assert names(tmp_path) == ["lstm_v1.pth", "lstm_v2.pth"]


def test_no_draft_is_left_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        publish("text is no content", tmp_path)
    assert names(tmp_path) == []


def test_drafts_of_killed_processes_are_removed_and_others_are_not(tmp_path: Path) -> None:
    names = (".draft-old.pth", "..draft-old.pth.abcd1234.pth", ".draft-at-work.pth", ".other.pth")
    for name in names:
        (tmp_path / name).write_bytes(b"half a model")
    long_ago = time.time() - 2 * 86_400
    for name in (*names[:2], names[3]):
        os.utime(tmp_path / name, (long_ago, long_ago))
    publish(b"model", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".draft-at-work.pth", ".other.pth", "lstm_v1.pth"}


def test_a_published_file_has_ordinary_rights(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    assert publish(b"new", tmp_path).stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_trainings_that_end_at_once_get_different_numbers(tmp_path: Path, kind: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    start, worker = (threading.Barrier(2), threading.Thread) if kind == "threads" else (spawn.Barrier(2), spawn.Process)
    writers = [worker(target=publish_many, args=(start, tmp_path, writer)) for writer in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert names(tmp_path) == sorted(f"lstm_v{i + 1}.pth" for i in range(2 * PER_WRITER))
    contents = {path.read_text() for path in tmp_path.iterdir()}
    assert contents == {f"{writer}:{i}" for writer in range(2) for i in range(PER_WRITER)}


def test_the_models_folder_is_that_of_the_home(home: Path) -> None:
    assert models_folder() == home.resolve() / "models"


def test_the_newest_version_is_the_default(home: Path) -> None:
    fill(home / "models", ["lstm_v2.pth", "lstm_v10.pth", "lstm_v9.pth", "lstm_v11.pth.bak"])
    assert default_model() == models_folder() / "lstm_v10.pth"
    assert publish(b"newer", models_folder()) == default_model()


@pytest.mark.parametrize("folder_exists", [True, False])
def test_without_a_model_the_error_says_what_to_do(home: Path, package: Path, folder_exists: bool) -> None:
    if folder_exists:
        fill(home / "models", ["README.md"])
    with pytest.raises(BundleError) as caught:
        default_model()
    assert str(caught.value) == f"no model in {models_folder()}; train one with: python scripts/train.py"


def test_the_shipped_model_serves_until_there_is_another(home: Path, package: Path) -> None:
    fill(package / "shipped", ["lstm_v1.pth"])
    assert default_model() == package / "shipped" / "lstm_v1.pth"
    assert publish(b"own", models_folder()) == default_model() == models_folder() / "lstm_v1.pth"


def test_a_version_is_the_name_of_its_file() -> None:
    assert version_of(Path("models/lstm_v12.pth")) == "lstm_v12"
