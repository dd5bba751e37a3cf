"""Tables of monitoring and of a traced forecast for the terminal."""

from __future__ import annotations

import math
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aegis_yield.pipelines.monitor import MonitorReport

MAX_FILES: Final = 20
"""Of the raw answers, so many are listed, newest last."""


def monitor_tables(report: MonitorReport) -> RenderableType:
    """Return how everything stands: alarms first, then scores, then drift of inputs."""
    simulated = " (SIMULATED data)" if report.simulated else ""
    counts = report.counts
    head = (
        f"{report.today}{simulated}: data to {report.data_end} ({report.data_age_days} d old), model "
        f"{report.model_version}; {counts['forecasts']:,} forecasts recorded, {counts['scored']:,} scored, "
        f"{counts['open']:,} open"
    )
    parts: list[RenderableType] = [Text(head), _alarms(report)]
    parts += [_scores(report)] if report.scores else []
    parts += [_drifts(report)] if report.drifts else []
    parts += [Text(f"recalibration: {change}") for change in report.recalibration]
    return Group(*parts)


def _alarms(report: MonitorReport) -> RenderableType:
    if not report.raised:
        return Text(f"no alarm is raised; {len(report.alarms)} are watched", style="green")
    table = _table(f"{len(report.raised)} alarms", "alarm", "since", "reason")
    for alarm in report.raised:
        table.add_row(Text(alarm.name), alarm.since, Text(alarm.reason), style="red")
    return table


def _scores(report: MonitorReport) -> Table:
    columns = ("category", "days", "outcomes", "in 90", "relMAE", "bias", "width 90")
    table = _table("Forecasts that came due", *columns)
    for score in report.scores:
        table.add_row(
            score.category,
            str(score.window_days),
            f"{score.n_outcomes:,}",
            shown(score.coverage, 100, "%", 1),
            shown(score.rel_mae, 1, "", 3),
            shown(score.bias, 100, "%", 2),
            shown(score.median_width, 100, "%", 2),
        )
    return table


def _drifts(report: MonitorReport) -> Table:
    table = _table("Inputs furthest from training", "group", "input", "index", "most in training", "of threshold")
    for drift in report.drifts:
        figures = (f"{drift.index:.2f}", f"{drift.usual:.2f}", f"{100 * drift.severity:.0f}%")
        table.add_row(drift.group, drift.feature, *figures, style="red" if drift.severity >= 1 else None)
    return table


def trace_table(trace: dict[str, Any]) -> RenderableType:
    """Return the way back from a forecast, one step a line."""
    table = _table(f"Forecast {trace['forecast']['id']}", "step", "what")
    for step, content in trace.items():
        if step == "raw_files":
            table.add_row("raw files", f"{len(content)} answers" if content else "none known")
            continue
        for number, (name, value) in enumerate(content.items()):
            table.add_row(step if not number else "", Text(f"{name}: {_text(value)}"))
    files = trace["raw_files"]
    lines = [f"{item['file']}{'' if item['exists'] else ' (missing)'}" for item in files[-MAX_FILES:]]
    lines += [f"… and {len(files) - MAX_FILES} earlier ones: --json lists all"] if len(files) > MAX_FILES else []
    return Group(table, Text("\n".join(lines))) if lines else table


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else "unknown" if value is None else str(value)


def shown(value: float, factor: float, unit: str, digits: int) -> str:
    """Return a number for people; nothing where it is not known."""
    return f"{factor * value:.{digits}f}{unit}" if math.isfinite(value) else ""


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
