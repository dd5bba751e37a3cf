"""What peers are given and how their answers are read: never the future, never an unknown outcome."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.domain.targets import realised_apy
from aegis_yield.preprocessing.features.context import fill_limited
from aegis_yield.preprocessing.origins import walk_origins
from aegis_yield.preprocessing.panel import build_panel, to_date, to_day
from aegis_yield.preprocessing.windows import build_windows
from benchmarks.race import classical
from benchmarks.race.classical import one_path, path_reader
from benchmarks.race.neural import Reader, carried, training_frames
from benchmarks.race.store import Store
from benchmarks.race.task import Assignment, Run, Task, held_out_strategies, without
from benchmarks.race.trees import TreePlan, known_rows, quantile_trees, realised
from benchmarks.race.zero_shot import at_levels, forecast_mean

LEVELS = np.array(QUANTILE_LEVELS)


def assignment(market: Dataset, held_out: frozenset[str] = frozenset()) -> Assignment:
    cutoff = market.last_date - dt.timedelta(days=60)
    return Assignment(market, cutoff, [cutoff + dt.timedelta(days=d) for d in (3, 10, 17, 24)], 7, held_out)


def task(market: Dataset, folder: Path, horizons: tuple[int, ...] = (1, 7)) -> Task:
    last = to_day(market.last_date)
    origins = tuple(range(last - 40, last - 6, 7))
    return Task(market, None, origins, horizons, frozenset(), {}, Store(folder), "v1", lambda *_: None)


@pytest.mark.parametrize("horizon", [1, 7, 30])
def test_training_outcomes_end_by_the_cutoff(small_market: Dataset, horizon: int) -> None:
    panel = build_panel(small_market)
    data = build_windows(panel)
    cutoff = panel.first_day + 250
    rows = known_rows(data, (0, cutoff), horizon)
    assert (data.day[rows] + horizon).max() == cutoff
    at = np.random.default_rng(0).choice(rows, 40)
    futures = [panel.series["apy"][data.strategy[r], panel.column_of(data.day[r] + 1) :][:horizon] for r in at]
    assert realised(data, at, horizon) == pytest.approx([float(realised_apy(future)) for future in futures])


def test_held_out_strategies_are_not_in_the_training_data(small_market: Dataset) -> None:
    held_out = held_out_strategies(small_market, 0.5)
    assert 0 < len(held_out) < small_market.strategies.height
    known = assignment(small_market, held_out).training_data()
    assert not set(known.yields["strategy_id"]) & held_out
    assert not set(known.strategies["strategy_id"]) & held_out
    assert known.last_date <= assignment(small_market).cutoff
    assert without(small_market, frozenset()) is small_market


def test_the_same_strategies_are_held_out_whatever_else_there_is(small_market: Dataset) -> None:
    everyone = held_out_strategies(small_market, 0.3)
    half = replace(small_market, strategies=small_market.strategies.head(6))
    assert held_out_strategies(half, 0.3) == everyone & set(half.strategies["strategy_id"])
    assert everyone <= held_out_strategies(small_market, 0.6)


def test_quantile_trees_never_look_ahead(small_market: Dataset) -> None:
    pytest.importorskip("lightgbm")
    wanted = assignment(small_market)
    plan = TreePlan(trees=5, min_rows_in_leaf=20)
    second = wanted.origins[1]
    future = pl.col("date") > second
    noise = np.random.default_rng(0).uniform(0.5, 2.0, small_market.yields.height)
    changed = small_market.yields.with_columns(
        pl.when(future).then(pl.col("apy") * noise + 0.1).otherwise("apy").alias("apy")
    )
    plain = quantile_trees(wanted, plan)
    other = quantile_trees(replace(wanted, dataset=replace(small_market, yields=changed)), plan)
    early = plain.forecasts.keys.origin <= np.datetime64(second)
    assert 0 < early.sum() < len(early)
    assert np.array_equal(plain.forecasts.quantiles[early], other.forecasts.quantiles[early])
    assert not np.array_equal(plain.forecasts.quantiles[~early], other.forecasts.quantiles[~early])


class Drift:
    """A stand-in for a statsforecast model: the last value, then up by its number of known days each day."""

    calls = 0

    def forecast(self, y: np.ndarray, h: int) -> dict[str, np.ndarray]:
        Drift.calls += 1
        if y[-1] > 1e3:
            raise ValueError("no such rate")
        return {"mean": y[-1] + 1e-6 * len(y) * np.arange(1, h + 1)}


def test_paths_are_averaged_over_the_horizon_as_the_target_is(small_market: Dataset, tmp_path: Path) -> None:
    asked = task(small_market, tmp_path)
    run: Run = classical._run(asked, Drift())
    panel = build_panel(small_market)
    for horizon, table in run.tables.items():
        row = table.row(5, named=True)
        column = panel.column_of(to_day(row["origin"]))
        known = fill_limited(panel.series["apy"])[0][panel.strategy_ids.tolist().index(row["strategy_id"])]
        known = known[: column + 1][-classical.CONTEXT_DAYS :]
        path = known[-1] + 1e-6 * len(known) * np.arange(1, horizon + 1)
        assert row["apy"] == pytest.approx(float(realised_apy(path)))


def test_a_killed_run_goes_on_with_the_chunks_it_had(small_market: Dataset, tmp_path: Path) -> None:
    Drift.calls = 0
    first = classical._run(task(small_market, tmp_path), Drift())
    made = Drift.calls
    chunks = sorted(tmp_path.glob("paths-*.parquet"))
    assert made > 0
    assert len(chunks) > 2
    chunks[0].unlink()
    again = classical._run(task(small_market, tmp_path), Drift())
    assert 0 < Drift.calls - made < made / 2
    assert all(first.tables[h].equals(again.tables[h]) for h in first.tables)


def test_a_model_that_fails_leaves_the_last_value() -> None:
    assert np.isnan(one_path(Drift(), np.array([1.0, 2e3]))).all()
    assert one_path(Drift(), np.full(9, 0.05)) == pytest.approx(np.full(30, 0.05))


def test_failed_paths_are_read_as_the_last_value(small_market: Dataset) -> None:
    day = to_day(small_market.last_date)
    batch = next(iter(walk_origins(build_panel(small_market), [day])))
    paths = pl.DataFrame({"strategy_id": batch.keys.strategy_id.tolist(), "day": [day] * len(batch.keys)})
    paths = paths.with_columns(pl.lit(float("nan")).alias(name) for name in classical.PATH)
    assert path_reader(paths, 7)(batch)[:, 4] == pytest.approx(batch.inputs.last_apy)


def test_neural_peers_are_trained_on_the_trailing_mean(small_market: Dataset) -> None:
    pytest.importorskip("pandas")
    panel = build_panel(assignment(small_market).training_data())
    frame, static = training_frames(panel, 7, 28)
    mean = carried(panel, 7)[0]
    name = str(panel.strategy_ids[0])
    own = frame[frame["unique_id"] == name]
    assert np.array_equal(own["y"].to_numpy(), mean[0, own["ds"].to_numpy()])
    assert own["ds"].diff().dropna().eq(1).all()
    at = int(own["ds"].iloc[20])
    assert mean[0, at] == pytest.approx(float(realised_apy(panel.series["apy"][0, at - 6 : at + 1])))
    assert set(static["unique_id"]) == set(frame["unique_id"])
    assert (static.drop(columns="unique_id").sum(axis=1) == 1).all()


class Echo:
    """A stand-in for NeuralForecast: the h-th step's quantiles are the last mean plus the level."""

    def __init__(self, horizon: int) -> None:
        self.horizon, self.frames = horizon, []

    def predict(self, frame: Any, static_df: Any) -> Any:
        pd = pytest.importorskip("pandas")
        self.frames.append(frame)
        last = frame.groupby("unique_id", sort=False)["y"].last()
        steps = np.repeat(last.to_numpy()[:, None], self.horizon, axis=1)[:, :, None] + LEVELS[::-1]
        table = pd.DataFrame(steps.reshape(-1, len(LEVELS)))
        table.insert(0, "ds", 0)
        table.insert(0, "unique_id", np.repeat(last.index.to_numpy(), self.horizon))
        return table


def test_neural_peers_are_asked_with_the_days_up_to_the_origin_only(small_market: Dataset) -> None:
    pytest.importorskip("pandas")
    wanted = assignment(small_market)
    panel = wanted.panel()
    echo = Echo(7)
    reader = Reader(echo, 7, panel, 28)
    batch = next(iter(walk_origins(panel, [to_day(wanted.origins[0])])))
    quantiles = reader(batch)
    column = panel.column_of(batch.day)
    mean, apy = (series[batch.rows, column] for series in carried(panel, 7))
    moved = np.array([np.ptp(group["apy"]) > 0 for _, group in echo.frames[0].groupby("unique_id", sort=False)])
    assert moved.any()
    assert quantiles[moved] == pytest.approx(mean[moved, None] + LEVELS)
    assert quantiles[~moved] == pytest.approx(np.repeat(apy[~moved, None], len(LEVELS), axis=1))
    assert len(echo.frames[0]) == 28 * len(batch.rows)


def test_levels_in_between_are_interpolated_and_tails_are_those_of_a_laplace() -> None:
    own = np.arange(1, 10) / 10
    laplace = np.where(LEVELS < 0.5, np.log(2 * LEVELS), -np.log(2 * (1 - LEVELS)))
    its_own = np.where(own < 0.5, np.log(2 * own), -np.log(2 * (1 - own)))
    found = at_levels(np.stack([its_own, 5 + 2 * its_own]), own, LEVELS)
    tails = [0, 1, 2, 6, 7, 8]
    assert found[0, tails] == pytest.approx(laplace[tails])
    assert found[1, tails] == pytest.approx(5 + 2 * laplace[tails])
    assert found[0, 3] == pytest.approx((its_own[1] + its_own[2]) / 2)
    assert found[0, 4] == 0.0
    assert at_levels(np.empty((0, 9)), own, LEVELS).shape == (0, len(LEVELS))


class Flat:
    """A stand-in for fracast: every day's quantiles are the last known value times 1 + level."""

    quantiles = tuple(np.arange(1, 10) / 10)

    def forecast_batch(self, context: np.ndarray, horizon: int) -> np.ndarray:
        last = np.array([row[~np.isnan(row)][-1] for row in context])
        return np.repeat((last[:, None] * (1 + np.arange(1, 10) / 10))[:, None, :], horizon, axis=1)


@pytest.mark.parametrize("of", ["days", "mean"])
def test_equal_days_have_the_mean_of_any_of_them(of: str) -> None:
    filled = np.tile(np.array([0.01, 0.04, 0.2])[:, None], (1, 90))
    found = forecast_mean(Flat(), filled, 7, of)
    assert found[:, 4] == pytest.approx(np.array([0.01, 0.04, 0.2]) * 1.5)
    assert (np.diff(found, axis=1) > 0).all()


def test_origins_of_a_task_are_dates_of_an_assignment(small_market: Dataset, tmp_path: Path) -> None:
    asked = task(small_market, tmp_path)
    with pytest.raises(ValueError, match="without a cut-off"):
        asked.assignment(7)
    trained = replace(asked, cutoff=asked.origins[0] - 1)
    assert trained.assignment(7).origins == [to_date(day) for day in asked.origins]
