"""What an evaluation holds: the promised table, every eligible strategy, outcomes as paid, orders refused."""

from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from bundles import market, trained_until

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import DataError, RequestError
from aegis_yield.models.baselines import Ewma
from aegis_yield.models.bundle import Bundle
from aegis_yield.pipelines.evaluate import Evaluation, EvaluationOrder, evaluate
from aegis_yield.pipelines.predict import Forecaster, Question

COLUMNS = [
    "strategy_id", "origin", "horizon_days", "apy", "volatility", "q025", "q05", "q10", "q25", "q50", "q75", "q90",
    "q95", "q975", "actual_apy", "actual_volatility",
]  # fmt: skip
START = trained_until() + dt.timedelta(days=7)
END = market().last_date
Series = dict[str, dict[dt.date, float]]


def series_of(dataset: Dataset) -> Series:
    series: Series = {}
    for strategy, date, apy in dataset.yields.select("strategy_id", "date", "apy").iter_rows():
        series.setdefault(strategy, {})[date] = apy
    return series


def is_eligible(rows: dict[dt.date, float], day: dt.date) -> bool:
    return day in rows and sum(day - dt.timedelta(days=60) < date <= day for date in rows) >= 30


@pytest.fixture(scope="session")
def gappy() -> Dataset:
    """Half of all rows: strategies hover around thirty rows in sixty days."""
    kept = pl.Series(np.random.default_rng(5).random(market().yields.height) < 0.5)
    return replace(market(), yields=market().yields.filter(kept))


@pytest.fixture(scope="session")
def evaluation(gappy: Dataset, tiny_bundle: Bundle) -> Evaluation:
    return evaluate(EvaluationOrder(gappy, tiny_bundle, START, END, every_days=3, horizon_days=2))


def test_the_table_has_the_promised_columns_and_types(evaluation: Evaluation) -> None:
    table = evaluation.forecasts
    assert table.columns == COLUMNS
    assert table.schema["strategy_id"] == pl.String
    assert table.schema["origin"] == pl.Date
    assert table.schema["horizon_days"].is_integer()
    assert set(table["horizon_days"]) == {2}
    assert all(table.schema[name] == pl.Float64 for name in COLUMNS[3:])


def test_only_outcomes_may_be_null(evaluation: Evaluation) -> None:
    nulls = {name: count for name, count in evaluation.forecasts.null_count().row(0, named=True).items() if count}
    assert set(nulls) == {"actual_apy", "actual_volatility"}
    assert evaluation.forecasts.select(pl.col(COLUMNS[3:14]).is_finite().all()).row(0) == (True,) * 11


def test_quantiles_never_cross(evaluation: Evaluation) -> None:
    quantiles = evaluation.forecasts.select(COLUMNS[5:14]).to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()


def test_every_eligible_strategy_is_forecast_once_and_no_other(evaluation: Evaluation, gappy: Dataset) -> None:
    days = [START + dt.timedelta(days=n) for n in range(0, (END - START).days + 1, 3)]
    expected = {(name, day) for name, rows in series_of(gappy).items() for day in days if is_eligible(rows, day)}
    received = list(evaluation.forecasts.select("strategy_id", "origin").iter_rows())
    assert len(received) == len(set(received))
    assert set(received) == expected
    assert 0 < len(expected) < 12 * len(days)
    assert evaluation.scores["share_of_eligible_forecast"] == 1.0


def test_outcomes_are_what_was_paid_and_null_unless_every_day_is_known(evaluation: Evaluation, gappy: Dataset) -> None:
    series = series_of(gappy)
    for row in evaluation.forecasts.iter_rows(named=True):
        days = [row["origin"] + dt.timedelta(days=k) for k in range(3)]
        paid = [series[row["strategy_id"]].get(day) for day in days]
        apy, volatility = _naive_outcome([rate for rate in paid if rate is not None])
        assert row["actual_apy"] == (pytest.approx(apy, rel=1e-9, abs=1e-12) if None not in paid else None)
        assert row["actual_volatility"] == (pytest.approx(volatility, rel=1e-9) if None not in paid else None)
    assert 0 < evaluation.forecasts["actual_apy"].null_count() < evaluation.forecasts.height


def _naive_outcome(rates: list[float]) -> tuple[float, float]:
    growth = math.prod(max(1 + rate, 1e-6) ** (1 / 365) for rate in rates[1:])
    squares = [(b - a) ** 2 for a, b in pairwise(rates)]
    h = max(len(rates) - 1, 1)
    return growth ** (365 / h) - 1, math.sqrt(365 * sum(squares) / h)


def test_counts_agree_with_the_table(evaluation: Evaluation) -> None:
    scores = evaluation.scores
    assert scores["n_forecasts"] == evaluation.forecasts.height
    assert scores["n_known_outcomes"] == evaluation.forecasts["actual_apy"].drop_nulls().len()
    assert scores["n_origins"] == len(range(0, (END - START).days + 1, 3))
    assert (scores["start"], scores["end"]) == (START.isoformat(), END.isoformat())
    assert scores["data"] == {"name": market().name, "simulated": True}
    json.dumps(scores)


def test_last_value_scores_exactly_one(tiny_bundle: Bundle) -> None:
    card = evaluate(EvaluationOrder(market(), tiny_bundle, START, END)).scores["scores"]["last value"]
    assert card["rel_mae"] == 1.0
    assert card["rel_crps"] == 1.0
    assert {entry["score"] for entry in card["rel_mae_by_category"].values()} == {1.0}


def test_last_value_forecasts_the_days_own_rate(evaluation: Evaluation, gappy: Dataset) -> None:
    series = series_of(gappy)
    walk = next(walk for walk in evaluation.walks if walk.name == "last value")
    keys = zip(walk.forecasts.keys.strategy_id, walk.forecasts.keys.origin.tolist(), strict=True)
    category = dict(market().strategies.select("strategy_id", "category").iter_rows())
    floors = {"lending": 0.0, "amm_lp": 0.0}  # what cannot be below nothing; the others end at losing it all
    for apy, (strategy, day) in zip(walk.forecasts.apy, keys, strict=True):
        assert apy == max(series[strategy][day], floors.get(category[strategy], 1e-6 - 1))


def test_all_contenders_forecast_the_same_rows(evaluation: Evaluation) -> None:
    first = evaluation.walks[0]
    for walk in evaluation.walks[1:]:
        assert np.array_equal(walk.forecasts.keys.strategy_id, first.forecasts.keys.strategy_id)
        assert np.array_equal(walk.forecasts.keys.origin, first.forecasts.keys.origin)
        assert np.array_equal(walk.actual_apy, first.actual_apy, equal_nan=True)


def test_peers_race_on_the_same_origins(tiny_bundle: Bundle) -> None:
    order = EvaluationOrder(market(), tiny_bundle, START, END, peers=(Ewma(0.5),))
    scores = evaluate(order).scores["scores"]
    assert "EWMA 0.5" in scores
    assert list(scores)[:2] == ["LSTM", "last value"]


def test_progress_counts_every_origin_to_the_end(tiny_bundle: Bundle) -> None:
    seen: list[tuple[int, int]] = []
    evaluate(EvaluationOrder(market(), tiny_bundle, START, END), lambda *step: seen.append(step))
    total = seen[0][1]
    assert seen == [(number, total) for number in range(1, total + 1)]


def test_one_origin_equals_asking_as_of_that_day(forecaster: Forecaster) -> None:
    """Until the first outcome is known, evaluating and asking are the same forecast to the last bit."""
    day = trained_until() + dt.timedelta(days=3)
    walked = evaluate(EvaluationOrder(forecaster.dataset, forecaster.bundle, day, day)).forecasts
    asked = forecaster.ask(Question(walked["strategy_id"].to_list(), as_of=day)).forecasts
    assert walked.sort("strategy_id").drop("actual_apy", "actual_volatility").equals(asked.sort("strategy_id"))


def test_after_adaptation_only_the_quantiles_differ_from_asking(forecaster: Forecaster) -> None:
    day = trained_until() + dt.timedelta(days=60)
    walked = evaluate(EvaluationOrder(forecaster.dataset, forecaster.bundle, day, day, horizon_days=3)).forecasts
    asked = forecaster.ask(Question(walked["strategy_id"].to_list(), 3, as_of=day)).forecasts
    point = ["strategy_id", "origin", "horizon_days", "apy", "volatility"]
    assert walked.sort("strategy_id").select(point).equals(asked.sort("strategy_id").select(point))
    assert not walked.sort("strategy_id").select("q05", "q95").equals(asked.sort("strategy_id").select("q05", "q95"))


def test_the_default_span_is_the_last_half_year_with_known_outcomes(tiny_bundle: Bundle) -> None:
    start, end = EvaluationOrder(market(), tiny_bundle, horizon_days=9).span
    assert end == END - dt.timedelta(days=9)
    assert start == end - dt.timedelta(days=182)


@pytest.mark.parametrize(("days_late", "seen"), [(-1, True), (1, False)])
def test_days_seen_in_training_are_admitted(tiny_bundle: Bundle, days_late: int, seen: bool) -> None:
    start = trained_until() + dt.timedelta(days=days_late)
    order = EvaluationOrder(market(), tiny_bundle, start, start + dt.timedelta(days=7))
    assert evaluate(order).scores["seen_in_training"] is seen


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"horizon_days": 0}, "horizon_days: received 0"),
        ({"horizon_days": 31}, "horizon_days: received 31"),
        ({"horizon_days": 7.0}, "horizon_days: received 7.0"),
        ({"horizon_days": True}, "horizon_days: received True"),
        ({"every_days": 0}, "every: received 0"),
        ({"every_days": 366}, "every: received 366"),
        ({"start": END, "end": START}, f"start: received '{END}'"),
        ({"start": END}, f"start: received '{END}'"),
        ({"start": dt.date.max}, "start: received '9999-12-31'"),
    ],
)
def test_impossible_orders_are_refused_by_name(tiny_bundle: Bundle, change: dict[str, Any], named: str) -> None:
    with pytest.raises(RequestError, match="allowed is") as refusal:
        EvaluationOrder(market(), tiny_bundle, **change)
    assert str(refusal.value).startswith(named)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (dt.date(2001, 1, 1), dt.date(2001, 6, 1)),
        (END + dt.timedelta(days=1), END + dt.timedelta(days=30)),
        (None, dt.date.min),
        (dt.date.max, dt.date.max),
        (market().first_date, market().first_date + dt.timedelta(days=20)),
    ],
)
def test_a_span_without_anything_to_forecast_says_where_the_data_is(
    tiny_bundle: Bundle, start: dt.date | None, end: dt.date
) -> None:
    with pytest.raises(DataError, match="no strategy can be forecast") as refusal:
        evaluate(EvaluationOrder(market(), tiny_bundle, start, end))
    assert f"{market().first_date} … {END}" in str(refusal.value)


def test_a_span_wider_than_the_data_is_walked_where_there_is_data(tiny_bundle: Bundle) -> None:
    order = EvaluationOrder(market(), tiny_bundle, dt.date.min, dt.date.max, every_days=30)
    table = evaluate(order).forecasts
    assert table["origin"].min() >= market().first_date
    assert table["origin"].max() > END - dt.timedelta(days=30)
    assert {(day - dt.date.min).days % 30 for day in table["origin"]} == {0}


def test_a_span_whose_outcomes_are_all_unknown_still_forecasts(tiny_bundle: Bundle) -> None:
    result = evaluate(EvaluationOrder(market(), tiny_bundle, END, END))
    assert result.forecasts.height > 0
    assert result.forecasts["actual_apy"].is_null().all()
    assert result.scores["n_known_outcomes"] == 0
    assert math.isnan(result.scores["scores"]["LSTM"]["rel_mae"])
