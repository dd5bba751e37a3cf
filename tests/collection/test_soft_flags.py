"""Soft faults: each flag where it belongs and nowhere else, known on its day, one strategy blind to the others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.collection.assemble.flags import Flag, counted, flagged

START = dt.date(2024, 1, 1)
N_DAYS = 90
Change = Callable[[list[float]], None]


def series(strategy: str = "a", n_days: int = N_DAYS, seed: int = 0) -> pl.DataFrame:
    """A clean series: a rate that moves a little every day, a TVL that hardly does, a second source that agrees."""
    chance = np.random.default_rng(seed)
    apy = 0.05 + 0.002 * np.sin(np.arange(n_days) / 9 + seed) + chance.uniform(-4e-4, 4e-4, n_days)
    return pl.DataFrame(
        {
            "strategy_id": [strategy] * n_days,
            "date": [START + dt.timedelta(days=number) for number in range(n_days)],
            "apy": apy,
            "tvl_usd": 1e6 * np.exp(chance.normal(0, 0.02, n_days).cumsum()),
            "other_apy": apy + chance.uniform(-1e-3, 1e-3, n_days),
        },
        schema_overrides={"date": pl.Date},
    )


def with_column(frame: pl.DataFrame, name: str, change: Callable[[list[float | None]], None]) -> pl.DataFrame:
    values = frame[name].to_list()
    change(values)
    return frame.with_columns(pl.Series(name, values, dtype=pl.Float64))


def put(place: int, *new: float | None) -> Callable[[list[float | None]], None]:
    def change(values: list[float | None]) -> None:
        values[place : place + len(new)] = new

    return change


def marks(frame: pl.DataFrame) -> dict[int, int]:
    """Flags by the number of the day, where there are any."""
    found = flagged(frame)
    assert found["quality_flags"].dtype == pl.Int32
    assert "other_apy" not in found.columns
    numbers = (found["date"] - START).dt.total_days()
    return {day: flags for day, flags in zip(numbers, found["quality_flags"], strict=True) if flags}


def test_a_clean_series_has_no_mark() -> None:
    for seed in range(10):
        assert marks(series(seed=seed)) == {}


def test_a_jump_and_the_way_back_are_spikes() -> None:
    assert marks(with_column(series(), "apy", put(60, 0.09)).with_columns(other_apy=None)) == {
        60: Flag.SPIKE,
        61: Flag.SPIKE,
    }


def test_a_move_of_less_than_twenty_five_basis_points_is_no_spike_however_quiet_it_was_before() -> None:
    quiet = pl.Series("apy", [0.05 + 1e-7 * (n % 2) for n in range(N_DAYS)])
    frame = series().with_columns(quiet, other_apy=None)
    assert marks(with_column(frame, "apy", put(60, 0.0524))) == {}
    assert marks(with_column(frame, "apy", put(60, 0.0526))) == {60: Flag.SPIKE, 61: Flag.SPIKE}


def test_a_jump_among_the_first_days_is_no_spike_because_nothing_is_typical_yet() -> None:
    # Ten moves make something typical: the tenth is that of day 10.
    for place, expected in ((8, {}), (10, {11: Flag.SPIKE}), (11, {11: Flag.SPIKE, 12: Flag.SPIKE})):
        assert marks(with_column(series(), "apy", put(place, 0.09)).with_columns(other_apy=None)) == expected


def test_zeros_after_a_rate_are_a_run_from_the_second_one_on() -> None:
    frame = with_column(series(), "apy", put(5, 0.0, 0.0, 0.0, 0.0)).with_columns(other_apy=None)
    assert marks(frame) == dict.fromkeys((6, 7, 8), Flag.ZERO_RUN)


def test_zeros_from_the_beginning_are_no_run() -> None:
    assert marks(with_column(series(), "apy", put(0, *[0.0] * 8)).with_columns(other_apy=None)) == {}


def test_the_same_rate_three_days_in_a_row_is_frozen_from_the_third_on() -> None:
    frozen = 0.0503
    frame = with_column(series(), "apy", put(30, frozen, frozen, frozen, frozen)).with_columns(other_apy=None)
    assert marks(frame) == {32: Flag.FROZEN, 33: Flag.FROZEN}


def test_a_row_after_missing_days_is_a_gap() -> None:
    frame = series().filter(~pl.col("date").is_in([START + dt.timedelta(days=n) for n in (20, 40, 41, 42)]))
    assert marks(frame) == {21: Flag.GAP, 43: Flag.GAP}


@pytest.mark.parametrize(("factor", "expected"), [(5.5, True), (4.5, False), (1 / 5.5, True), (1 / 4.5, False)])
def test_a_tvl_that_jumps_fivefold_either_way_is_marked_once(factor: float, expected: bool) -> None:
    frame = series().with_columns(
        tvl_usd=pl.when(pl.int_range(pl.len()) >= 50).then(1e6 * factor).otherwise(pl.lit(1e6))
    )
    assert marks(frame) == ({50: Flag.TVL_JUMP} if expected else {})


def test_a_tvl_of_nothing_or_unknown_marks_nothing_but_its_own_jump() -> None:
    frame = series().with_columns(tvl_usd=pl.lit(1e6))
    assert marks(with_column(frame, "tvl_usd", put(50, None, None))) == {}
    assert marks(with_column(frame, "tvl_usd", put(50, 0.0, 0.0))) == {50: Flag.TVL_JUMP, 52: Flag.TVL_JUMP}


@pytest.mark.parametrize("factor", [100.0, 0.01])
def test_percent_for_a_fraction_is_suspected_and_is_a_spike_too(factor: float) -> None:
    frame = series().with_columns(other_apy=None)
    found = marks(with_column(frame, "apy", lambda values: put(60, (values[60] or 0.0) * factor)(values)))
    assert found == {60: Flag.SPIKE | Flag.UNIT_SUSPECT, 61: Flag.SPIKE}


@pytest.mark.parametrize("factor", [40.0, 250.0, 1 / 40, 1 / 250])
def test_other_factors_are_spikes_and_no_matter_of_units(factor: float) -> None:
    frame = series().with_columns(other_apy=None)
    found = marks(with_column(frame, "apy", lambda values: put(60, (values[60] or 0.0) * factor)(values)))
    assert found == {60: Flag.SPIKE, 61: Flag.SPIKE}


@pytest.mark.parametrize(
    ("apy", "other", "expected"),
    [
        (0.050, 0.0610, True),  # more than a fifth away
        (0.050, 0.0590, False),
        (0.050, 0.0390, True),
        (0.005, 0.0074, False),  # more than a fifth, but less than 25 basis points
        (0.005, 0.0076, True),
        (0.0, 0.0026, True),
        (0.05, None, False),
    ],
)
def test_another_source_disagrees_beyond_a_fifth_and_beyond_25_basis_points(
    apy: float, other: float | None, expected: bool
) -> None:
    frame = series(n_days=1).with_columns(apy=pl.lit(apy), other_apy=pl.lit(other, pl.Float64))
    assert marks(frame) == ({0: Flag.DISAGREEMENT} if expected else {})


def test_marks_add_up_and_are_counted_by_name() -> None:
    frame = with_column(series(), "apy", put(60, 5.0, 5.0, 5.0))
    frame = with_column(frame, "tvl_usd", put(62, 1e9))
    frame = frame.filter(pl.col("date") != START + dt.timedelta(days=59))
    found = flagged(frame)
    day = marks(frame)
    assert day[60] == Flag.SPIKE | Flag.GAP | Flag.UNIT_SUSPECT | Flag.DISAGREEMENT
    assert day[62] == Flag.FROZEN | Flag.TVL_JUMP | Flag.UNIT_SUSPECT | Flag.DISAGREEMENT
    assert counted(found) == {
        "spike": 2,
        "zero_run": 0,
        "frozen": 1,
        "gap": 1,
        "tvl_jump": 2,
        "unit_suspect": 3,
        "disagreement": 3,
    }


def test_one_strategy_is_judged_without_the_others() -> None:
    wild = with_column(series("b", seed=3), "apy", put(0, 9.0, 0.0, 0.0, 0.0, 7.0))
    wild = with_column(wild, "tvl_usd", put(0, 1.0, 1e9, 1.0))
    wild = with_column(wild, "apy", put(9, 5.0))  # one more day before it, and it would be a hundred times the usual
    frames = [series("a"), wild, series("c", seed=5)]
    together = flagged(pl.concat(frames))
    for frame in frames:
        alone = flagged(frame)
        assert together.filter(pl.col("strategy_id") == frame["strategy_id"][0]).equals(alone)


def test_no_rows_have_no_marks() -> None:
    assert flagged(series(n_days=0)).height == 0
    assert set(counted(flagged(series(n_days=0))).values()) == {0}


rates = st.one_of(st.just(0.0), st.just(0.05), st.floats(-2, 20), st.floats(0.04, 0.06))


@st.composite
def rough(draw: st.DrawFn) -> pl.DataFrame:
    """Two strategies of rough days: zeros, repeats, jumps, missing days, unknown TVL."""
    frames = []
    for strategy in ("a", "b"):
        days = sorted(draw(st.sets(st.integers(0, 60), min_size=12, max_size=40)))
        columns = {
            "strategy_id": [strategy] * len(days),
            "date": [START + dt.timedelta(days=day) for day in days],
            "apy": [draw(rates) for _ in days],
            "tvl_usd": [draw(st.one_of(st.none(), st.sampled_from([0.0, 1e5, 1e6, 6e6]))) for _ in days],
            "other_apy": [draw(st.one_of(st.none(), rates)) for _ in days],
        }
        kinds = {"date": pl.Date, "apy": pl.Float64, "tvl_usd": pl.Float64, "other_apy": pl.Float64}
        frames.append(pl.DataFrame(columns, schema_overrides=kinds))
    return pl.concat(frames)


@settings(max_examples=40, deadline=None)
@given(frame=rough(), after=st.integers(0, 60), seed=st.integers(0, 9))
def test_whatever_comes_after_a_day_changes_no_mark_up_to_it(frame: pl.DataFrame, after: int, seed: int) -> None:
    last = START + dt.timedelta(days=after)
    later = pl.col("date") > last
    chance = np.random.default_rng(seed)
    scrambled = frame.with_columns(
        pl.when(later).then(pl.Series(chance.uniform(-1, 9, frame.height))).otherwise(pl.col(name)).alias(name)
        for name in ("apy", "tvl_usd", "other_apy")
    )
    scrambled = scrambled.filter(~later | pl.Series(chance.random(frame.height) < 0.7))
    before = flagged(frame).filter(~later)
    assert flagged(scrambled).filter(~later).equals(before)
    assert flagged(frame.filter(~later)).equals(before)
