"""The evaluation report: scores, fan charts of chosen strategies, calibration, error by category and horizon."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from aegis_yield.pipelines.evaluate import Evaluation
from aegis_yield.reporting.charts import (
    bars_chart,
    calibration_chart,
    coverage_chart,
    observed_shares,
    walk_chart,
)
from aegis_yield.reporting.console import figure, percent
from aegis_yield.reporting.forecast_page import SIMULATED_BANNER
from aegis_yield.reporting.html import Page


def write_evaluation_page(
    evaluation: Evaluation, other_horizons: Sequence[Evaluation], shown: dict[str, str], path: Path
) -> None:
    """Write an evaluation as one HTML file.

    Parameters
    ----------
    evaluation : Evaluation
        The main one.
    other_horizons : sequence of Evaluation
        The same origins at other horizons, for the picture of error by horizon.
    shown : dict of str to str
        Name to strategy_id of the strategies whose forecasts are drawn.
    path : Path
        Where the page goes.
    """
    scores = evaluation.scores
    page = Page(
        title="How good the forecasts were",
        lead=f"{scores['start']} … {scores['end']}, every {scores['every_days']} days, "
        f"{scores['horizon_days']} days ahead: {scores['n_forecasts']:,} forecasts, "
        f"{scores['n_known_outcomes']:,} with known outcome. Data: {scores['data']['name']}.",
        banner=SIMULATED_BANNER if scores["data"]["simulated"] else "",
    )
    if scores["seen_in_training"]:
        page.paragraph("Some of these days were in the model's training data: this is no proof of skill.")
    _score_tables(page, scores)
    page.heading("Forecasts through time")
    _walk_charts(page, evaluation, shown)
    page.heading("Calibration")
    page.figure(
        calibration_chart(
            {
                walk.name: observed_shares(walk.actual_apy, walk.forecasts.quantiles, walk.forecasts.levels)
                for walk in evaluation.walks
            }
        )
    )
    model = _model_card(scores)
    months = {month: entry["coverage"] for month, entry in model["coverage_90_by_month"].items()}
    page.figure(coverage_chart("Coverage of the 90 % interval by month of origin", months, 0.90))
    page.heading("Error by category and horizon")
    by_category = {
        name: {category: entry["score"] for category, entry in card["rel_mae_by_category"].items()}
        for name, card in scores["scores"].items()
    }
    page.figure(bars_chart("relMAE by category (last value = 1)", "relMAE", by_category, 1.0))
    by_horizon = sorted([evaluation, *other_horizons], key=lambda item: item.scores["horizon_days"])
    lines = {
        name: {f"{item.scores['horizon_days']} d": item.scores["scores"][name]["rel_mae"] for item in by_horizon}
        for name in scores["scores"]
    }
    page.figure(bars_chart("relMAE by horizon (last value = 1)", "relMAE", lines, 1.0))
    page.write(path)


def _model_card(scores: dict[str, Any]) -> dict[str, Any]:
    return dict(next(iter(scores["scores"].values())))


def _score_tables(page: Page, scores: dict[str, Any]) -> None:
    cards = scores["scores"]
    page.heading("Scores")
    page.table(
        [
            "forecaster", "relMAE", "relCRPS", "coverage 80 %", "coverage 90 %", "coverage 95 %",
            "median width 90 %", "QLIKE (median)",
        ],
        [
            [
                name, figure(card["rel_mae"]), figure(card["rel_crps"]),
                *(percent(card["intervals"][level]["coverage"], 1) for level in ("0.80", "0.90", "0.95")),
                percent(card["intervals"]["0.90"]["median_width"]), figure(card["qlike_median"], 2),
            ]
            for name, card in cards.items()
        ],
        caption="relMAE and relCRPS: geometric means over strategies of the ratio to the last value; below 1 is skill.",
    )  # fmt: skip
    model = _model_card(scores)
    page.table(
        ["category", "strategies", "relMAE", "relCRPS", "coverage 90 %"],
        [
            [
                category, str(entry["n_strategies"]), figure(entry["score"]),
                figure(model["rel_crps_by_category"][category]["score"]),
                percent(model["coverage_90_by_category"][category]["coverage"], 1),
            ]
            for category, entry in model["rel_mae_by_category"].items()
        ],
        caption="The model by category.",
    )  # fmt: skip


def _walk_charts(page: Page, evaluation: Evaluation, shown: dict[str, str]) -> None:
    horizon = evaluation.scores["horizon_days"]
    for name, strategy in shown.items():
        own = evaluation.forecasts.filter(pl.col("strategy_id") == strategy)
        if own.height:
            page.figure(walk_chart(f"{name}: {strategy}", own, horizon))
        else:
            page.paragraph(f"{name} ({strategy}) could not be forecast in this span.")
