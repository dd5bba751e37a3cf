from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.monitoring.alarms import RAISED, Hysteresis, advance
from aegis_yield.monitoring.drift import (
    N_BINS,
    WINDOW_DAYS,
    DriftWatch,
    InputCounts,
    edges_of,
    histogram,
    stability_index,
)

counts = st.lists(st.integers(0, 1000), min_size=N_BINS, max_size=N_BINS).map(np.array)


def panel_counts(seed: int, shift: float = 0.0, features: int = 12, strategies: int = 20) -> InputCounts:
    """Counts of autocorrelated features over 400 days of training and 120 more, shifted from day 420."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((520, strategies, features))
    values = np.zeros_like(noise)
    for day in range(1, 520):
        values[day] = 0.9 * values[day - 1] + np.sqrt(1 - 0.81) * noise[day]
    values[420:] += shift
    edges = [edges_of(values[:400:7, :, n].ravel()) for n in range(features)]
    table = np.stack([[histogram(values[day, :, n], edges[n]) for n in range(features)] for day in range(520)])
    return InputCounts("lending", tuple(f"feature {n}" for n in range(features)), table, 400, strategies)


def raised(inputs: InputCounts, first: int, last: int) -> list[int]:
    watch, states, found = DriftWatch(inputs), {}, []  # type: DriftWatch, dict[str, AlarmState], list[int]
    for day in range(first, last):
        reading = watch.reading(day)
        assert reading is not None
        states, events = advance(states, dt.date(2025, 1, 1) + dt.timedelta(day), [reading], Hysteresis(raise_days=3))
        found += [day - first for event in events if event.kind == RAISED]
    return found


@given(counts, counts)
def test_the_index_is_symmetric_and_never_negative(expected: np.ndarray, found: np.ndarray) -> None:
    index = stability_index(expected, found)
    assert index >= 0
    assert index == pytest.approx(stability_index(found, expected))


@given(counts, st.integers(1, 9))
def test_the_index_of_the_same_shares_is_nothing(expected: np.ndarray, factor: int) -> None:
    if expected.sum():
        assert stability_index(expected, factor * expected) == pytest.approx(0.0, abs=1e-12)


def test_the_index_against_its_formula() -> None:
    expected, found = np.array([10] * N_BINS), np.array([50, 50, *[0] * (N_BINS - 2)])
    p = np.full(N_BINS, 0.1)
    q = np.array([0.46, 0.46, *[0.01] * (N_BINS - 2)])
    assert stability_index(expected, found) == pytest.approx(float(((q - p) * np.log(q / p)).sum()))


def test_bins_hold_equal_shares_and_are_open_at_the_ends() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    edges = edges_of(values)
    assert histogram(values, edges).min() >= 499
    assert histogram(np.array([-1e9, 1e9]), edges)[[0, -1]].tolist() == [1, 1]


@pytest.mark.parametrize("seed", range(4))
def test_stationary_inputs_raise_nothing(seed: int) -> None:
    assert raised(panel_counts(seed), 400, 520) == []


@pytest.mark.parametrize("seed", range(4))
def test_shifted_inputs_raise_an_alarm_within_a_fortnight(seed: int) -> None:
    found = raised(panel_counts(seed, shift=1.5), 420, 436)
    assert found
    assert found[0] <= 14


def test_drifts_are_sorted_and_say_what_training_saw() -> None:
    watch = DriftWatch(panel_counts(1, shift=2.0))
    drifts = watch.drifts(450)
    assert [drift.severity for drift in drifts] == sorted((drift.severity for drift in drifts), reverse=True)
    assert drifts[0].index > drifts[0].usual
    reading = watch.reading(450)
    assert reading is not None
    assert reading.severity > 1
    assert f"any {WINDOW_DAYS} days of it, {drifts[0].feature} most" in reading.reason


def test_short_training_or_a_small_group_says_nothing() -> None:
    inputs = panel_counts(1)
    short = InputCounts(inputs.group, inputs.features, inputs.counts, 60, inputs.n_strategies)
    small = InputCounts(inputs.group, inputs.features, inputs.counts, 400, 3)
    assert DriftWatch(short).reading(500) is None
    assert DriftWatch(small).reading(500) is None
    assert DriftWatch(small).drifts(500)
