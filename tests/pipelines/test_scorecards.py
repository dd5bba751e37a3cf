"""Scores against naive loops over the forecast table."""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from bundles import market, trained_until

from aegis_yield.models.bundle import Bundle
from aegis_yield.pipelines.evaluate import Evaluation, EvaluationOrder, evaluate, forecast_table

Rows = list[dict[str, Any]]
LEVELS = {0.80: ("q10", "q90"), 0.90: ("q05", "q95"), 0.95: ("q025", "q975")}
QUANTILES = {
    "q025": 0.025, "q05": 0.05, "q10": 0.1, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q90": 0.9, "q95": 0.95, "q975": 0.975
}  # fmt: skip


@pytest.fixture(scope="session")
def evaluation(tiny_bundle: Bundle) -> Evaluation:
    start = trained_until() + dt.timedelta(days=7)
    return evaluate(EvaluationOrder(market(), tiny_bundle, start, market().last_date, every_days=5))


@pytest.fixture(scope="session")
def rows(evaluation: Evaluation) -> dict[str, Rows]:
    """Known outcomes of each forecaster, with category and month."""
    described = market().strategies.select("strategy_id", "category")
    return {
        walk.name: forecast_table(walk)
        .drop_nulls("actual_apy")
        .join(described, on="strategy_id", maintain_order="left")
        .to_dicts()
        for walk in evaluation.walks
    }


@pytest.fixture(params=["LSTM", "mean 7 days", "EWMA 0.3", "last value"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def by_strategy(rows: Rows, loss: Any) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        groups[row["strategy_id"]].append(loss(row))
    return groups


def error(row: dict[str, Any]) -> float:
    return abs(row["actual_apy"] - row["apy"])


def crps(row: dict[str, Any]) -> float:
    gaps = {p: row["actual_apy"] - row[column] for column, p in QUANTILES.items()}
    return 2 * mean(max(p * gap, (p - 1) * gap) for p, gap in gaps.items())


def relative(rows: dict[str, Rows], name: str, loss: Any, category: str | None = None) -> list[float]:
    """Return the ratio to the last value of each strategy that counts."""
    naive_error = by_strategy(rows["last value"], error)
    own, naive = by_strategy(rows[name], loss), by_strategy(rows["last value"], loss)
    kind = {row["strategy_id"]: row["category"] for row in rows[name]}
    counted = [s for s, errors in naive_error.items() if len(errors) >= 10 and mean(errors) > 1e-6]
    return [max(mean(own[s]) / mean(naive[s]), 1e-3) for s in counted if category in (None, kind[s])]


def geometric(ratios: list[float]) -> float:
    return math.prod(ratios) ** (1 / len(ratios))


def test_relative_errors_are_geometric_means_over_strategies(
    evaluation: Evaluation, rows: dict[str, Rows], name: str
) -> None:
    card = evaluation.scores["scores"][name]
    assert card["rel_mae"] == pytest.approx(geometric(relative(rows, name, error)), rel=1e-9)
    assert card["rel_crps"] == pytest.approx(geometric(relative(rows, name, crps)), rel=1e-9)
    assert evaluation.scores["n_scored_strategies"] == len(relative(rows, name, error))


def test_categories_are_scored_the_same_way(evaluation: Evaluation, rows: dict[str, Rows], name: str) -> None:
    card = evaluation.scores["scores"][name]
    assert set(card["rel_mae_by_category"]) == {"lending", "staking", "delta_neutral", "amm_lp"}
    for category, entry in card["rel_mae_by_category"].items():
        ratios = relative(rows, name, error, category)
        assert entry == {"score": pytest.approx(geometric(ratios), rel=1e-9), "n_strategies": len(ratios)}
        expected = geometric(relative(rows, name, crps, category))
        assert card["rel_crps_by_category"][category]["score"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("level", LEVELS)
def test_intervals_are_counted_and_measured(
    evaluation: Evaluation, rows: dict[str, Rows], name: str, level: float
) -> None:
    low, high = LEVELS[level]
    entry = evaluation.scores["scores"][name]["intervals"][f"{level:.2f}"]
    widths = sorted(row[high] - row[low] for row in rows[name])
    assert entry["coverage"] == pytest.approx(mean(row[low] <= row["actual_apy"] <= row[high] for row in rows[name]))
    assert entry["mean_width"] == pytest.approx(mean(widths))
    assert entry["median_width"] == pytest.approx(float(np.median(widths)))
    assert entry["winkler"] == pytest.approx(mean(interval_score(row, low, high, level) for row in rows[name]))


def interval_score(row: dict[str, Any], low: str, high: str, level: float) -> float:
    actual, penalty = row["actual_apy"], 2 / (1 - level)
    missed = row[low] - actual if actual < row[low] else actual - row[high] if actual > row[high] else 0.0
    return float(row[high] - row[low] + penalty * missed)


def test_coverage_is_broken_down_by_category_and_month(evaluation: Evaluation, rows: dict[str, Rows]) -> None:
    card = evaluation.scores["scores"]["LSTM"]
    assert card["coverage_90_by_category"] == approximately(coverage_by(rows["LSTM"], lambda row: row["category"]))
    months = coverage_by(rows["LSTM"], lambda row: row["origin"].strftime("%Y-%m"))
    assert card["coverage_90_by_month"] == approximately(months)


def test_coverage_is_told_of_each_strategy(evaluation: Evaluation, rows: dict[str, Rows]) -> None:
    card = evaluation.scores["scores"]["LSTM"]["coverage_90_of_strategies"]
    own = coverage_by(rows["LSTM"], lambda row: row["strategy_id"])
    covered = [mean(hits) for hits in own.values() if len(hits) >= 20]
    assert card["n_strategies"] == len(covered) > 0
    assert card["mean_gap"] == pytest.approx(mean(abs(share - 0.9) for share in covered))
    assert card["least_tenth"] == pytest.approx(float(np.quantile(covered, 0.1)))


def coverage_by(rows: Rows, label: Any) -> dict[str, list[bool]]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        groups[label(row)].append(row["q05"] <= row["actual_apy"] <= row["q95"])
    return groups


def approximately(groups: dict[str, list[bool]]) -> dict[str, Any]:
    return {label: {"coverage": pytest.approx(mean(hits)), "n_forecasts": len(hits)} for label, hits in groups.items()}


def test_volatility_terciles_hold_a_third_of_the_forecasts_each(evaluation: Evaluation, rows: dict[str, Rows]) -> None:
    groups = evaluation.scores["scores"]["LSTM"]["coverage_90_by_volatility"]
    ordered = sorted(rows["LSTM"], key=lambda row: row["volatility"])
    third = len(ordered) / 3
    assert set(groups) == {"calm", "middle", "volatile"}
    assert all(abs(entry["n_forecasts"] - third) <= 1 for entry in groups.values())
    calmest = ordered[: groups["calm"]["n_forecasts"]]
    hits = mean(row["q05"] <= row["actual_apy"] <= row["q95"] for row in calmest)
    assert groups["calm"]["coverage"] == pytest.approx(hits)


def test_qlike_judges_volatilities_no_finer_than_a_basis_point(
    evaluation: Evaluation, rows: dict[str, Rows], name: str
) -> None:
    losses = []
    for row in rows[name]:
        ratio = (max(row["actual_volatility"], 1e-4) / max(row["volatility"], 1e-4)) ** 2
        losses.append(ratio - math.log(ratio) - 1)
    card = evaluation.scores["scores"][name]
    assert card["qlike"] == pytest.approx(mean(losses))
    assert card["qlike_median"] == pytest.approx(float(np.median(losses)))


def test_nine_outcomes_are_too_few_to_count(tiny_bundle: Bundle) -> None:
    end = market().last_date - dt.timedelta(days=7)
    scored = [
        evaluate(EvaluationOrder(market(), tiny_bundle, end - dt.timedelta(days=7 * back), end)).scores
        for back in (8, 9)
    ]
    assert scored[0]["n_scored_strategies"] == 0
    assert scored[1]["n_scored_strategies"] > 0


def test_a_rate_that_never_moves_does_not_count(tiny_bundle: Bundle) -> None:
    still = pl.when(pl.col("strategy_id") == "lido:ethereum:steth").then(0.04).otherwise(pl.col("apy"))
    frozen = replace(market(), yields=market().yields.with_columns(still.alias("apy")))
    scores = evaluate(EvaluationOrder(frozen, tiny_bundle)).scores
    assert scores["n_scored_strategies"] == 11
    assert "staking" not in scores["scores"]["LSTM"]["rel_mae_by_category"]
