"""Table of a run for the terminal: what each step came to."""

from __future__ import annotations

from typing import Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from aegis_yield.pipelines.run_engine import RunSummary, Status

_STYLES: Final = {
    Status.DONE: "green", Status.UNCHANGED: "dim", Status.FAILED: "bold red", Status.NOT_RUN: "yellow",
    Status.INTERRUPTED: "yellow",
}  # fmt: skip


def run_table(summary: RunSummary) -> Table:
    """Return one line per step: how it ended, how long it took, what it came to."""
    table = Table(title="Run", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("step", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for step in summary.steps:
        status = Text(str(step.status), style=_STYLES[step.status])
        table.add_row(step.name, status, f"{step.seconds:.1f}", Text(step.said))
    return table
