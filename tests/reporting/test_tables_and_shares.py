"""Terminal tables and the numbers behind the pictures."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rich.console import Console
from rich.table import Table

from aegis_yield.pipelines.predict import Answer, Forecaster, Question
from aegis_yield.reporting.charts import calibration_chart, coverage_chart, observed_shares
from aegis_yield.reporting.console import category_table, figure, forecast_table, percent, score_table

LEVELS = (0.1, 0.5, 0.9)
NUMBERS = st.floats(-2, 2)


def printed(table: Table, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.052, 2, "5.20%"),
        (-0.25559, 2, "-25.56%"),
        (0.9, 0, "90%"),
        (12.0, 1, "1200.0%"),
        (0.0, 2, "0.00%"),
        (math.nan, 1, "-"),
    ],
)
def test_a_fraction_is_shown_as_percent(value: float, digits: int, text: str) -> None:
    assert percent(value, digits).replace(" ", "") == text


@pytest.mark.parametrize(("value", "digits", "text"), [(0.8571, 3, "0.857"), (1.5, 2, "1.50"), (math.nan, 3, "-")])
def test_a_score_that_is_not_known_yet_is_a_dash(value: float, digits: int, text: str) -> None:
    assert figure(value, digits) == text


@given(
    actual=arrays(float, 7, elements=st.one_of(st.just(math.nan), NUMBERS)),
    quantiles=arrays(float, (7, 3), elements=NUMBERS),
)
def test_observed_shares_count_known_outcomes_at_or_below_each_quantile(
    actual: np.ndarray, quantiles: np.ndarray
) -> None:
    known = [row for row in range(7) if not math.isnan(actual[row])]
    expected = {
        level: sum(actual[row] <= quantiles[row][column] for row in known) / len(known)
        for column, level in enumerate(LEVELS)
        if known
    }
    assert observed_shares(actual, quantiles, LEVELS) == pytest.approx(expected)


def test_outcomes_on_a_quantile_count_as_below_it() -> None:
    shares = observed_shares(np.array([1.0, 2.0]), np.array([[1.0], [1.0]]), (0.5,))
    assert shares == {0.5: 0.5}


def test_a_forecast_table_fits_a_small_terminal_uncut(forecaster: Forecaster) -> None:
    answer = forecaster.ask(Question(["aave", "lido", "delta"]))
    text = printed(forecast_table(answer))
    assert "…" not in text.replace(" … ", "")
    for row in answer.rows:
        assert all(
            part in text for part in (row.name, row.strategy_id, percent(row.apy), percent(row.low), str(row.as_of))
        )


def test_a_forecast_table_says_when_data_is_simulated(forecaster: Forecaster) -> None:
    answer = forecaster.ask(Question(["aave"]))
    assert "SIMULATED" in printed(forecast_table(answer))
    assert "SIMULATED" not in printed(forecast_table(replace(answer, simulated=False)))


@pytest.mark.parametrize("name", ["[red]lido", "li[/bold]do", "[link=https://x]y"])
def test_names_are_no_markup(forecaster: Forecaster, name: str) -> None:
    answer = forecaster.ask(Question(["lido"]))
    text = printed(forecast_table(_named(answer, name, "[/x]" + name)), width=200)
    assert f"{name} = [/x]{name}" in text


def _named(answer: Answer, name: str, strategy_id: str) -> Answer:
    return replace(answer, rows=[replace(answer.rows[0], name=name, strategy_id=strategy_id)])


def test_a_long_forecast_table_is_cut_and_says_so(forecaster: Forecaster) -> None:
    answer = forecaster.ask(Question(["lido"]))
    text = printed(forecast_table(replace(answer, rows=answer.rows * 250)))
    assert text.count(str(answer.rows[0].as_of)) == 100
    assert "150 more" in text


@pytest.fixture
def scores() -> dict[str, Any]:
    interval = {"coverage": 0.9, "mean_width": 0.2, "median_width": 0.1, "winkler": 0.3}
    card = {
        "rel_mae": 0.8764,
        "rel_crps": math.nan,
        "intervals": dict.fromkeys(("0.80", "0.90", "0.95"), interval),
        "qlike_median": 0.5,
        "rel_mae_by_category": {"lending": {"score": 0.7651, "n_strategies": 3}},
        "coverage_90_by_category": {"lending": {"coverage": 0.912, "n_forecasts": 9}},
    }
    facts: dict[str, Any] = {
        "start": "2025-01-01",
        "end": "2025-02-01",
        "horizon_days": 7,
        "n_forecasts": 1234,
        "n_origins": 5,
    }
    return {
        **facts,
        "n_scored_strategies": 3,
        "data": {"simulated": True},
        "scores": {"LSTM": card, "[rival]": card},
    }


def test_the_score_table_has_a_line_for_each_forecaster(scores: dict[str, Any]) -> None:
    lines = printed(score_table(scores), width=100).splitlines()
    assert "1,234 forecasts at 5 origins" in " ".join(" ".join(lines).split())
    for name in ("LSTM", "[rival]"):
        assert next(line.split()[1:3] for line in lines if line.strip().startswith(name)) == ["0.876", "-"]


def test_the_category_table_shows_error_and_coverage(scores: dict[str, Any]) -> None:
    text = printed(category_table(scores))
    line = next(line for line in text.splitlines() if line.strip().startswith("lending"))
    assert "[rival]" in text
    assert line.split()[:4] == ["lending", "3", "0.765", "0.765"]
    assert "91.2" in line


def test_charts_stand_empty_data() -> None:
    assert len(calibration_chart({}).data) == 1
    assert coverage_chart("title", {}, 0.9).layout.yaxis.range[1] == 1.0
