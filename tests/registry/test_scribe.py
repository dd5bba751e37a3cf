"""What comes through the pipe beside a training: every line once, as it comes, and the end at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from aegis_yield.registry.scribe import UNUSED, lines_of


def test_lines_of_a_pause_come_together_and_the_end_is_not_waited_for() -> None:
    receiver, sender = os.pipe()
    os.write(sender, b"one\ntw")
    batches = lines_of(receiver, pause_s=60.0)
    assert next(batches) == ["one"]
    os.write(sender, b"o\nthree\n")
    os.close(sender)
    began = time.monotonic()
    assert list(batches) == [["two", "three"]]
    assert time.monotonic() - began < 30.0
    os.close(receiver)


def test_what_comes_later_is_told_later() -> None:
    receiver, sender = os.pipe()
    seen: list[list[str]] = []
    listener = threading.Thread(target=lambda: seen.extend(lines_of(receiver, pause_s=0.01)))
    listener.start()
    for number in range(3):
        os.write(sender, f"{number}\n".encode())
        give_up = time.monotonic() + 30.0
        while len(seen) <= number:
            assert time.monotonic() < give_up
            time.sleep(0.005)
    os.close(sender)
    listener.join(30.0)
    assert seen == [["0"], ["1"], ["2"]]
    os.close(receiver)


@pytest.mark.parametrize("module", ["aegis_yield.registry.scribe", "aegis_yield.registry.recorder"])
def test_neither_scribe_nor_recorder_loads_mlflow_or_arrays_to_begin_with(module: str) -> None:
    code = f"import sys, {module}; print([name for name in ('mlflow', 'torch', *{UNUSED!r}) if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
