"""The table that says why: every step with its sign, names as they are."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from aegis_yield.pipelines.explain import ask_why
from aegis_yield.pipelines.predict import Forecaster, Question
from aegis_yield.reporting.explanation_tables import explanation_table, points


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123456, "+1.235"), (-0.002, "-0.200"), (0.0, "+0.000"), (-1e-9, "+0.000")]
)
def test_differences_of_rates_have_a_sign(value: float, text: str) -> None:
    assert points(value) == text


@pytest.mark.parametrize("width", [80, 200])
def test_every_part_of_a_forecast_is_a_row(forecaster: Forecaster, width: int) -> None:
    answer, [why] = ask_why(forecaster, Question(["aave"]))
    hostile = replace(answer.rows[0], name="a[/bold][red]ve")
    stream = io.StringIO()
    Console(file=stream, width=width).print(explanation_table(hostile, why, 7))
    text = " ".join(stream.getvalue().split())  # wherever lines were broken
    assert "for a[/bold][red]ve, 7 days from 2025-09-30" in text
    shown = [why.today_over_ewma, why.usual_drift, why.other_features, why.calibration]
    shown += [*why.families.values(), *why.days.values(), *(feature.apy for feature in why.features)]
    assert all(points(value) in text for value in shown)
    assert all(f"{feature.name}:" in text for feature in why.features)
    assert all(name in text for name in why.families)
    assert f"{100 * why.ewma:.3f}%" in text
    assert f"{100 * why.apy:.3f}%" in text
    assert "usual drift of lending strategies" in text
