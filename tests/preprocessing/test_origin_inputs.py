from __future__ import annotations

import dataclasses
import datetime as dt
import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.dataset import Dataset
from aegis_yield.preprocessing.features import WINDOW_DAYS
from aegis_yield.preprocessing.origins import HISTORY_DAYS, OriginBatch, history_before, outcomes, walk_origins
from aegis_yield.preprocessing.panel import Panel, build_panel, to_date, to_day
from aegis_yield.preprocessing.windows import build_windows


def at(panel: Panel, columns: list[int]) -> list[OriginBatch]:
    return list(walk_origins(panel, [panel.first_day + column for column in columns]))


def same(one: OriginBatch, other: OriginBatch) -> bool:
    arrays = [
        (getattr(one.inputs, name), getattr(other.inputs, name))
        for name in ("windows", "last_apy", "local_scale", "history")
    ]
    keys = [(getattr(one.keys, name), getattr(other.keys, name)) for name in ("strategy_id", "origin", "category")]
    equal_keys = all(a.tolist() == b.tolist() for a, b in keys)
    return equal_keys and all(np.array_equal(a, b, equal_nan=True) for a, b in arrays)


def test_inputs_are_the_windows_that_training_sees(rough_panel: Panel) -> None:
    rows = build_windows(rough_panel)
    windows = rows.windows()
    place = {key: row for row, key in enumerate(zip(rows.strategy.tolist(), rows.day.tolist(), strict=True))}
    for batch in at(rough_panel, [60, 130, 170, 230, 299]):
        row = np.array([place[int(strategy), batch.day] for strategy in batch.rows])
        assert len(row) > 3
        assert np.array_equal(batch.inputs.windows, windows[row - WINDOW_DAYS + 1].transpose(0, 2, 1))
        assert np.array_equal(batch.inputs.last_apy, rows.apy[row])
        assert np.array_equal(batch.inputs.local_scale, rows.scale[row])


def test_exactly_the_eligible_strategies_are_there(rough_panel: Panel) -> None:
    eligible = rough_panel.eligible()
    columns = list(range(0, 300, 7))
    for column, batch in zip(columns, at(rough_panel, columns), strict=True):
        assert batch.rows.tolist() == np.flatnonzero(eligible[:, column]).tolist()
        assert batch.keys.strategy_id.tolist() == rough_panel.strategy_ids[batch.rows].tolist()
        assert set(batch.keys.origin.tolist()) <= {to_date(batch.day)}
        assert len(batch.inputs) == len(batch.keys) == len(batch.rows)


def test_an_origin_without_an_eligible_strategy_gives_an_empty_batch(rough_panel: Panel) -> None:
    for batch in at(rough_panel, [0, 3, 20]):
        assert len(batch.keys) == 0
        assert batch.inputs.windows.shape[0] == 0
        assert batch.inputs.history.shape == (0, HISTORY_DAYS)


def test_no_origins_give_no_batches(rough_panel: Panel) -> None:
    assert at(rough_panel, []) == []


def test_recent_history_is_that_of_a_plain_loop(rough: Dataset, rough_panel: Panel) -> None:
    known = {(s, to_day(d)): v for s, d, v in rough.yields.select("strategy_id", "date", "apy").iter_rows()}
    for batch in at(rough_panel, [60, 199, 245]):
        for strategy, history in zip(batch.keys.strategy_id, batch.inputs.history, strict=True):
            for position, day in enumerate(range(batch.day - HISTORY_DAYS + 1, batch.day + 1)):
                carried = [known[strategy, day - age] for age in range(31) if (strategy, day - age) in known]
                assert history[position] == pytest.approx(carried[0] if carried else np.nan, abs=0, nan_ok=True)


def test_walking_in_one_go_equals_one_origin_at_a_time(rough_panel: Panel) -> None:
    columns = [35, 36, 100, 154, 155, 156, 220, 275, 299]  # some origins share a stretch of features, some do not
    for column, batch in zip(columns, at(rough_panel, columns), strict=True):
        (alone,) = at(rough_panel, [column])
        assert same(batch, alone)


@pytest.mark.parametrize("column", [180, 214, 245, 299])
def test_a_panel_trimmed_as_far_as_allowed_gives_the_same_inputs(
    rough: Dataset, rough_panel: Panel, column: int
) -> None:
    (full,) = at(rough_panel, [column])
    start = to_date(max(history_before(full.day), rough_panel.first_day))
    (trimmed,) = walk_origins(build_panel(rough, start, to_date(full.day)), [full.day])
    assert same(full, trimmed)


def test_the_oldest_carried_value_of_the_history_survives_trimming(rough: Dataset) -> None:
    # A gap of thirty days right before the history begins: its first day still carries the value from before the gap.
    last = rough.first_date + dt.timedelta(days=299)
    oldest = last - dt.timedelta(days=HISTORY_DAYS - 1)
    gap = pl.col("date").is_between(oldest - dt.timedelta(days=29), oldest)
    holed = dataclasses.replace(rough, yields=rough.yields.filter(~gap))
    (full,) = walk_origins(build_panel(holed), [to_day(last)])
    trimmed_panel = build_panel(holed, start=to_date(history_before(to_day(last))))
    (trimmed,) = walk_origins(trimmed_panel, [to_day(last)])
    assert not np.isnan(full.inputs.history[:, 0]).all()
    assert same(full, trimmed)


@settings(max_examples=12, deadline=None)
@given(column=st.integers(60, 298), seed=st.integers(0, 10**6))
def test_the_future_changes_no_input(rough: Dataset, column: int, seed: int) -> None:
    day = rough.first_date + dt.timedelta(days=column)
    rng = np.random.default_rng(seed)
    noise, kept = pl.Series(rng.normal(0, 50, rough.yields.height)), pl.Series(rng.random(rough.yields.height) < 0.7)
    later = pl.col("date") > day
    numbers = ["apy", "apy_reward", "tvl_usd", "utilization"]
    scrambled = rough.yields.with_columns(
        [pl.when(later).then(noise).otherwise(pl.col(name)).alias(name) for name in numbers]
    ).filter(~later | kept)
    other = dataclasses.replace(rough, yields=scrambled, market=rough.market.filter(~later))
    (before,) = at(build_panel(rough), [column])
    for dataset in (other, rough.known_at(day)):
        (after,) = walk_origins(build_panel(dataset, rough.first_date), [to_day(day)])
        assert same(before, after)


@pytest.mark.parametrize("horizon", [1, 7, 30])
def test_outcomes_are_known_only_if_every_day_is(rough_panel: Panel, horizon: int) -> None:
    rows, unknown = np.arange(rough_panel.n_strategies), 0
    for column in range(0, 300, 3):
        apy, volatility = outcomes(rough_panel, rows, rough_panel.first_day + column, horizon)
        future = rough_panel.series["apy"][:, column + 1 : column + horizon + 1]
        complete = (~np.isnan(future)).all(axis=1) & (future.shape[1] == horizon)
        assert (~np.isnan(apy)).tolist() == complete.tolist()
        observed = rough_panel.observed[:, column]
        assert (~np.isnan(volatility)).tolist() == (complete & observed).tolist()
        unknown += int((~complete).sum())
    assert unknown > 0


def test_outcomes_are_those_of_the_definition(rough_panel: Panel) -> None:
    (batch,) = at(rough_panel, [200])
    apy, volatility = outcomes(rough_panel, batch.rows, batch.day, 7)
    for row, strategy in enumerate(batch.rows):
        days = rough_panel.series["apy"][strategy, 200:208].tolist()
        growth = np.prod([max(1 + x, 1e-6) for x in days[1:]])
        assert apy[row] == pytest.approx(growth ** (1 / 7) - 1, rel=1e-9, nan_ok=True)
        square = sum((b - a) ** 2 for a, b in itertools.pairwise(days))
        assert volatility[row] == pytest.approx(np.sqrt(365 / 7 * square), rel=1e-9, nan_ok=True)


def test_a_subset_keeps_keys_inputs_and_rows_together(rough_panel: Panel) -> None:
    (batch,) = at(rough_panel, [250])
    chosen = np.array([3, 0])
    part = batch.subset(chosen)
    assert part.keys.strategy_id.tolist() == batch.keys.strategy_id[[3, 0]].tolist()
    assert part.rows.tolist() == batch.rows[[3, 0]].tolist()
    assert np.array_equal(part.inputs.windows, batch.inputs.windows[[3, 0]])
    assert part.inputs.last_apy.tolist() == rough_panel.series["apy"][part.rows, 250].tolist()
