"""Nothing dated after an origin reaches its forecast; outcomes teach the calibration h days late."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from bundles import market, trained_until
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.models.bundle import Bundle
from aegis_yield.models.calibration import scores_of
from aegis_yield.pipelines.evaluate import EvaluationOrder, evaluate, forecast_table
from aegis_yield.pipelines.walk import Contender, Course, Walk, walk_forward
from aegis_yield.preprocessing.cleaning import clean
from aegis_yield.preprocessing.origins import outcomes, walk_origins
from aegis_yield.preprocessing.panel import Panel, build_panel, to_date, to_day

HORIZON = 7
OVERLAPPING = 3
"""Days between origins: fewer than the horizon, so that some outcomes are still unknown at the next origin."""
FIRST = trained_until() + dt.timedelta(days=7)
LAST = market().last_date
ACTUALS = ("actual_apy", "actual_volatility")
MORE_THAN_EVER = 10**9


def forecasts_of(dataset: Dataset, bundle: Bundle, horizon: int = HORIZON, every: int = 7) -> list[pl.DataFrame]:
    order = EvaluationOrder(dataset, bundle, FIRST, LAST, every_days=every, horizon_days=horizon)
    return [forecast_table(walk).drop(ACTUALS) for walk in evaluate(order).walks]


def scrambled_after(dataset: Dataset, day: dt.date, seed: int) -> Dataset:
    """Replace every number dated later, flip flags, and drop a third of the later rows."""
    return clean(
        replace(dataset, yields=_scrambled(dataset.yields, day, seed), market=_scrambled(dataset.market, day, seed))
    )


def _scrambled(table: pl.DataFrame, day: dt.date, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    late = pl.col("date") > day
    noise = [
        pl.when(late).then(pl.Series(rng.lognormal(-2, 2, table.height))).otherwise(pl.col(name)).alias(name)
        for name, kind in table.schema.items()
        if kind == pl.Float64
    ]
    if "is_outlier" in table.columns:
        flags = pl.Series(rng.random(table.height) < 0.5)
        noise.append(pl.when(late).then(flags).otherwise(pl.col("is_outlier")).alias("is_outlier"))
    kept = pl.Series(rng.random(table.height) > 1 / 3)
    return table.with_columns(noise).filter(~late | kept)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_bundle: Bundle) -> Bundle:
    """The small model, asking records as large ones do: its market is too small to teach it a shape."""
    return replace(tiny_bundle, calibrator=replace(tiny_bundle.calibrator, record_prior=2.0))


@pytest.fixture(scope="session")
def baseline(tiny_bundle: Bundle) -> list[pl.DataFrame]:
    return forecasts_of(market(), tiny_bundle, every=OVERLAPPING)


@settings(max_examples=12, deadline=None)
@given(day=st.dates(FIRST, LAST - dt.timedelta(days=1)), seed=st.integers(0, 2**32 - 1))
def test_later_rows_change_no_earlier_forecast(
    baseline: list[pl.DataFrame], tiny_bundle: Bundle, day: dt.date, seed: int
) -> None:
    changed = forecasts_of(scrambled_after(market(), day, seed), tiny_bundle, every=OVERLAPPING)
    early = pl.col("origin") <= day
    for before, after in zip(baseline, changed, strict=True):
        assert before.filter(early).height > 0
        assert before.filter(early).equals(after.filter(early))
    assert not baseline[0].filter(~early).equals(changed[0].filter(~early)) or day >= baseline[0]["origin"].max()


@pytest.mark.parametrize(("horizon", "every"), [(1, 1), (30, 7), (3, 10)])
def test_later_rows_change_nothing_at_other_horizons_either(tiny_bundle: Bundle, horizon: int, every: int) -> None:
    day = FIRST + dt.timedelta(days=50)
    before = forecasts_of(market(), tiny_bundle, horizon, every)[0]
    after = forecasts_of(scrambled_after(market(), day, 1), tiny_bundle, horizon, every)[0]
    early = pl.col("origin") <= day
    assert before.filter(early).equals(after.filter(early))
    assert not before.filter(~early).equals(after.filter(~early))


def test_quantiles_adapt_only_once_an_outcome_is_known(tiny_bundle: Bundle) -> None:
    panel = build_panel(market())
    adapting, frozen = (_walk(panel, tiny_bundle, day) for day in (to_day(FIRST), MORE_THAN_EVER))
    origin = adapting.forecasts.keys.origin.astype(np.int64)
    same = (adapting.forecasts.quantiles == frozen.forecasts.quantiles).all(axis=1)
    assert same[origin < to_day(FIRST) + HORIZON].all()
    assert not same[origin == to_day(FIRST) + HORIZON].all()
    assert np.array_equal(adapting.forecasts.apy, frozen.forecasts.apy)
    assert np.array_equal(adapting.forecasts.volatility, frozen.forecasts.volatility)


def _walk(panel: Panel, bundle: Bundle, learns_from: int) -> Walk:
    course = Course(tuple(range(to_day(FIRST), to_day(LAST), 1)), HORIZON, 1)
    return walk_forward(panel, [Contender(bundle.model, bundle.calibrator, learns_from)], course)[0]


def test_adaptation_equals_a_naive_loop_over_known_outcomes(tiny_bundle: Bundle) -> None:
    panel = build_panel(market())
    batches = list(walk_origins(panel, list(range(to_day(FIRST), to_day(FIRST) + 22))))
    raws = [tiny_bundle.model.locate(batch.inputs, HORIZON) for batch in batches]
    last = len(batches) - 1
    pool = tiny_bundle.calibrator.pool
    for batch, raw in zip(batches, raws, strict=True):
        if batch.day + HORIZON <= batches[last].day:
            paid = outcomes(panel, batch.rows, batch.day, HORIZON)[0]
            pool = pool.extended(scores_of(raw, batch.keys, paid, HORIZON))
    naive = replace(tiny_bundle.calibrator, pool=pool)
    expected = naive.forecasts(raws[last], batches[last].keys, HORIZON, QUANTILE_LEVELS).quantiles
    walked = _walk(panel, tiny_bundle, to_day(FIRST)).forecasts
    today = walked.keys.origin.astype(np.int64) == batches[last].day
    assert np.array_equal(walked.quantiles[today], expected)


def test_a_model_never_scores_itself_on_days_it_was_trained_on(tiny_bundle: Bundle) -> None:
    start = trained_until() - dt.timedelta(days=40)
    order = EvaluationOrder(market(), tiny_bundle, start, trained_until() - dt.timedelta(days=1), every_days=1)
    walked = evaluate(order).walks[0].forecasts
    day = order.end
    batch = next(iter(walk_origins(build_panel(market()), [to_day(day)])))
    raw = tiny_bundle.model.locate(batch.inputs, HORIZON)
    expected = tiny_bundle.calibrator.forecasts(raw, batch.keys, HORIZON, QUANTILE_LEVELS)
    assert np.array_equal(walked.quantiles[walked.keys.origin == np.datetime64(day)], expected.quantiles)


def test_origins_of_the_burn_in_come_before_the_scored_ones() -> None:
    panel = build_panel(market())
    course = Course((panel.first_day + 100, panel.first_day + 107), HORIZON, 7)
    burn_in = course.burn_in_days(panel)
    assert burn_in == [panel.first_day + 100 - 7 * k for k in range(14, 0, -1)]
    assert to_date(burn_in[0]) >= market().first_date
