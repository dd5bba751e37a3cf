from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.limits import MAX_HORIZON_DAYS
from aegis_yield.domain.targets import realised_apy, realised_volatility
from aegis_yield.preprocessing.features import WINDOW_DAYS, compute_features
from aegis_yield.preprocessing.panel import Panel, build_panel
from aegis_yield.preprocessing.splits import split_time
from aegis_yield.preprocessing.windows import WindowSet, build_windows, mean_log_growth, mean_square_change


@pytest.fixture(scope="module")
def rows(rough_panel: Panel) -> WindowSet:
    return build_windows(rough_panel)


def places(rows: WindowSet, panel: Panel) -> list[tuple[int, int]]:
    """Panel row and column of every flat row."""
    return [(int(s), int(d) - panel.first_day) for s, d in zip(rows.strategy, rows.day, strict=True)]


def test_windows_and_futures_are_views(rows: WindowSet) -> None:
    assert np.shares_memory(rows.windows(), rows.features)
    assert np.shares_memory(rows.futures(), rows.apy)


def test_a_window_holds_the_features_of_its_seven_days(rows: WindowSet) -> None:
    windows = rows.windows()
    assert windows.shape == (len(rows.day) - WINDOW_DAYS + 1, rows.features.shape[1], WINDOW_DAYS)
    for item in range(0, len(windows), 37):
        for age in range(WINDOW_DAYS):
            assert np.array_equal(windows[item][:, age], rows.features[item + age])


def test_every_day_of_a_life_is_one_row(rows: WindowSet, rough_panel: Panel) -> None:
    expected = []
    for strategy, observed in enumerate(rough_panel.observed):
        days = np.flatnonzero(observed)
        expected += [(strategy, day) for day in range(days[0], days[-1] + 1)]
    assert places(rows, rough_panel) == expected


def test_rows_hold_what_the_panel_holds(rows: WindowSet, rough_panel: Panel) -> None:
    block = compute_features(rough_panel, 0, rough_panel.n_days)
    eligible = rough_panel.eligible()
    for row, place in enumerate(places(rows, rough_panel)):
        assert np.array_equal(rows.features[row], block.values[place])
        assert rows.scale[row] == block.scale[place]
        assert np.array_equal(rows.apy[row], rough_panel.series["apy"][place], equal_nan=True)
        assert rows.eligible[row] == eligible[place]
        assert rows.category[row] == rough_panel.categories[place[0]]


def test_the_longest_horizon_is_that_of_a_plain_loop(rows: WindowSet, rough_panel: Panel) -> None:
    apy = rough_panel.series["apy"]
    for row, (strategy, column) in enumerate(places(rows, rough_panel)):
        known = 0
        while (
            known < 30 and column + known + 1 < rough_panel.n_days and not np.isnan(apy[strategy, column + known + 1])
        ):
            known += 1
        assert rows.max_horizon[row] == known
    assert {0, 30} <= set(rows.max_horizon.tolist())


def test_targets_are_those_of_the_definition(rows: WindowSet, rough_panel: Panel) -> None:
    rng = np.random.default_rng(0)
    for row in rng.choice(np.flatnonzero((rows.max_horizon >= 1) & rows.eligible), 200):
        horizon = rng.integers(1, rows.max_horizon[row], endpoint=True)
        column = rows.day[row] - rough_panel.first_day
        days = rough_panel.series["apy"][rows.strategy[row], column : column + horizon + 1]
        futures, horizons = rows.futures()[[row]], np.array([horizon])
        apy, volatility = (
            np.expm1(mean_log_growth(futures, horizons)),
            (365 * mean_square_change(futures, horizons)) ** 0.5,
        )
        assert apy[0] == pytest.approx(float(realised_apy(days[1:])), rel=1e-12, abs=1e-15)
        assert volatility[0] == pytest.approx(float(realised_volatility(days)), rel=1e-12, abs=1e-15)


def test_each_row_of_a_batch_has_its_own_horizon() -> None:
    futures = np.random.default_rng(0).normal(0.1, 0.5, (30, MAX_HORIZON_DAYS + 1))
    horizons = np.arange(1, 31)
    growth, square = mean_log_growth(futures, horizons), mean_square_change(futures, horizons)
    for row, h in enumerate(horizons):
        assert np.expm1(growth[row]) == pytest.approx(realised_apy(futures[row, 1 : h + 1]), rel=1e-12)
        assert square[row] == pytest.approx(np.mean(np.diff(futures[row, : h + 1]) ** 2), rel=1e-12)


def test_days_beyond_the_horizon_do_not_matter() -> None:
    futures = np.full((1, MAX_HORIZON_DAYS + 1), 0.05)
    spoilt = futures.copy()
    spoilt[0, 8:] = np.nan
    for target in (mean_log_growth, mean_square_change):
        assert target(spoilt, np.array([7])) == target(futures, np.array([7]))
        assert target(futures, np.array([7])).shape == (1,)


@pytest.mark.parametrize(("first", "span"), [(-10, 400), (0, 300), (0, 30), (59, 1), (100, 57), (180, 119), (290, 40)])
def test_origins_are_those_of_a_plain_loop(rows: WindowSet, rough_panel: Panel, first: int, span: int) -> None:
    start, end = rough_panel.first_day + first, rough_panel.first_day + first + span
    expected = [
        row
        for row in range(len(rows.day))
        if rows.eligible[row] and start <= rows.day[row] < end and rows.max_horizon[row] >= 1
    ]
    assert rows.origins_between(start, end).tolist() == expected


@pytest.mark.parametrize(("first", "span"), [(0, 300), (40, 30), (59, 1), (100, 57), (180, 80), (250, 10), (298, 1)])
def test_no_target_uses_a_day_after_the_last_one_allowed(
    rows: WindowSet, rough_panel: Panel, first: int, span: int
) -> None:
    start, end = rough_panel.first_day + first, rough_panel.first_day + first + span
    origins = rows.origins_between(start, end)
    limit = rows.horizon_limit(origins, end)
    assert (limit >= 1).all()
    assert (limit <= MAX_HORIZON_DAYS).all()
    last_used = rows.day[origins + limit]
    assert (last_used == rows.day[origins] + limit).all()
    assert (last_used <= end).all()
    assert (rows.strategy[origins + limit] == rows.strategy[origins]).all()
    assert not any(np.isnan(rows.apy[o : o + h + 1]).any() for o, h in zip(origins, limit, strict=True))


def test_input_windows_of_eligible_origins_stay_within_a_strategy(rows: WindowSet) -> None:
    origins = np.flatnonzero(rows.eligible)
    oldest = origins - WINDOW_DAYS + 1
    assert (oldest >= 0).all()
    assert (rows.strategy[oldest] == rows.strategy[origins]).all()
    assert (rows.day[origins] - rows.day[oldest] == WINDOW_DAYS - 1).all()


@pytest.mark.parametrize("horizon", [1, 7, 30])
def test_blocks_share_no_outcome(small_market: Dataset, horizon: int) -> None:
    panel = build_panel(small_market)
    rows = build_windows(panel)
    split = split_time(panel.first_day, panel.first_day + panel.n_days - 1)
    blocks = []
    for start, end in itertools.pairwise(dataclasses.astuple(split)):
        origins = rows.origins_between(start, end)
        blocks.append(rows.day[origins[rows.horizon_limit(origins, end) >= horizon]])
    assert len(blocks) == 3
    for earlier, later in itertools.pairwise(blocks):
        assert later.min() - earlier.max() >= horizon  # no outcome day of one is an outcome day of the next
