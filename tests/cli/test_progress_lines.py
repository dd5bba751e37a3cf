"""Progress where nobody looks at a terminal: plain lines; on one: bars that clean up after themselves."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from aegis_yield.cli.progress import StepDisplay, TrainingDisplay
from aegis_yield.models.training import EpochReport


def watch(console: Console, scores: list[float]) -> None:
    """Show a network of two batches an epoch."""
    with TrainingDisplay(console) as display:
        display.started("scout 1/1", 5, 2_000)
        for number, score in enumerate(scores, start=1):
            for _ in range(2):
                display.advanced(1_000, 1.5)
            display.epoch_ended(EpochReport("scout 1/1", number, 1.5, score, improved=number == 1))


def test_epochs_are_lines_in_a_pipe() -> None:
    stream = io.StringIO()
    watch(Console(file=stream, width=200), [0.9, 0.95])
    lines = stream.getvalue().splitlines()
    assert lines[0] == "scout 1/1: 2,000 windows an epoch, at most 5 epochs"
    assert lines[1].startswith("scout 1/1: epoch 1, loss 1.5000, validation score 0.9000 (best so far), ")
    assert lines[2].startswith("scout 1/1: epoch 2, loss 1.5000, validation score 0.9500, ")
    assert len(lines) == 3


def test_an_epoch_without_validation_shows_no_score() -> None:
    stream = io.StringIO()
    watch(Console(file=stream, width=200), [float("nan")])
    assert "validation" not in stream.getvalue()
    assert "nan" not in stream.getvalue()


def test_a_terminal_gets_a_bar_that_says_which_network_and_epoch() -> None:
    stream = io.StringIO()
    watch(Console(file=stream, width=200, force_terminal=True), [0.9])
    assert "scout 1/1 epoch 2" in stream.getvalue()
    assert "windows/s" in stream.getvalue()


def test_steps_are_silent_in_a_pipe_until_they_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, readings = io.StringIO(), iter([0.0, 4.0, 6.0, 7.0])
    clock = SimpleNamespace(monotonic=lambda: next(readings))
    monkeypatch.setattr("aegis_yield.cli.progress.time", clock)
    display = StepDisplay(Console(file=stream, width=200), "origins")
    for done in (1, 2, 3):
        display(done, 12)
    assert stream.getvalue().splitlines() == ["origins: 2 of 12, 0.3/s, 30 s left"]


def test_steps_fill_a_bar_on_a_terminal() -> None:
    stream = io.StringIO()
    with StepDisplay(Console(file=stream, width=200, force_terminal=True), "origins") as display:
        display(3, 12)
    assert "3/12" in stream.getvalue()
