"""Monitoring as Prometheus text, for a node exporter's textfile collector or any scraper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from aegis_yield.pipelines.monitor import MonitorReport

PREFIX: Final = "aegis_monitor"

Sample = tuple[Mapping[str, str], float]


def prometheus_text(report: MonitorReport) -> str:
    """Return a report in the Prometheus text exposition format, version 0.0.4."""
    info = {"model_version": report.model_version, "simulated": str(report.simulated).lower()}
    parts = [
        _metric("info", "The model at work.", [(info, 1.0)]),
        _metric("data_age_days", "Days from the newest row to today.", [({}, float(report.data_age_days))]),
        _metric(
            "forecasts",
            "Recorded forecasts, by how far they are.",
            [({"state": state}, float(count)) for state, count in report.counts.items() if state != "forecasts"],
        ),
        _metric("alarms_raised", "Alarms that are raised.", [({}, float(len(report.raised)))]),
        _metric(
            "alarm",
            "1 where an alarm is raised.",
            [({**_split(alarm.name)}, float(alarm.active)) for alarm in report.alarms],
        ),
        _metric(
            "alarm_severity",
            "Newest reading of an alarm; 1 is its threshold.",
            [({**_split(alarm.name)}, alarm.severity) for alarm in report.alarms],
        ),
        *_scores(report),
        _metric(
            "input_drift_index",
            "Population stability index of the inputs furthest from training.",
            [({"group": drift.group, "input": drift.feature}, drift.index) for drift in report.drifts],
        ),
        _metric(
            "recalibration_width_factor",
            "Width of the 90 % interval with what was learned since training, over that without.",
            [({"category": change.category}, change.width_factor) for change in report.recalibration],
        ),
    ]
    return "".join(parts)


def _scores(report: MonitorReport) -> Iterable[str]:
    meanings = {
        "n_outcomes": ("outcomes", "Forecasts that came due, by category and window."),
        "coverage": ("coverage_90", "Share of outcomes inside the 90 % interval."),
        "rel_mae": ("rel_mae", "Mean absolute error over that of the last value."),
        "bias": ("bias_apy", "Mean of forecast less outcome, fraction per year."),
        "median_width": ("interval_width_apy", "Median width of the 90 % interval, fraction per year."),
    }
    for field, (name, meaning) in meanings.items():
        samples = [
            ({"category": score.category, "window_days": str(score.window_days)}, float(getattr(score, field)))
            for score in report.scores
        ]
        yield _metric(name, meaning, samples)


def _split(name: str) -> dict[str, str]:
    kind, _, subject = name.partition(":")
    return {"kind": kind, "subject": subject}


def _metric(name: str, meaning: str, samples: Iterable[Sample]) -> str:
    lines = [f"{PREFIX}_{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    if not lines:
        return ""
    head = [f"# HELP {PREFIX}_{name} {meaning}", f"# TYPE {PREFIX}_{name} gauge"]
    return "\n".join([*head, *lines]) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return f"{value:.10g}"
