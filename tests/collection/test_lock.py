"""One collection at a time: told by real processes, one of which is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aegis_yield.collection.lock import only_one
from aegis_yield.domain.errors import BusyError

HOLDER = """
import sys, time
from pathlib import Path
from aegis_yield.collection.lock import only_one

with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "raw" / ".lock"


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_the_second_says_who_is_at_work_and_leaves_at_once(path: Path) -> None:
    with holder(path) as process:
        began = time.monotonic()
        with pytest.raises(BusyError) as caught, only_one(path):
            raise AssertionError("two at once")
        assert time.monotonic() - began < 0.5
        said = str(caught.value)
        assert said.startswith(f"{path.parent}: process {process.pid} (since 20")
        assert said.endswith(" UTC) is collecting into this folder; wait until it is done")


def test_the_lock_is_free_after_its_holder_was_killed(path: Path) -> None:
    with holder(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.read_text().startswith(f"process {process.pid}")  # what it left behind holds nobody up
    with only_one(path):
        assert str(process.pid) not in path.read_text()


def test_the_lock_is_free_afterwards_even_after_an_error(path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="oops"), only_one(path):
            raise ValueError("oops")
        assert path.read_text() == ""
    with only_one(path):
        pass


def test_two_folders_may_be_collected_into_at_once(tmp_path: Path) -> None:
    with only_one(tmp_path / "a" / ".lock"), only_one(tmp_path / "b" / ".lock"):
        pass


def test_a_lock_within_a_lock_is_refused_in_one_process_too(path: Path) -> None:
    with only_one(path):
        with pytest.raises(BusyError), only_one(path):
            raise AssertionError("two at once")
        with pytest.raises(BusyError), only_one(path):  # the refused one has not let go of it
            raise AssertionError("two at once")


def test_what_is_not_a_held_lock_is_not_called_busy(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), only_one(tmp_path):
        raise AssertionError("a folder cannot be a lock")
