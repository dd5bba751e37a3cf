from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.domain.errors import HistoryError
from aegis_yield.preprocessing.splits import TimeSplit, split_time


@given(first=st.integers(0, 30_000), n_days=st.integers(200, 5_000))
def test_blocks_follow_one_another_and_cover_the_span(first: int, n_days: int) -> None:
    split = split_time(first, first + n_days - 1)
    assert (
        first == split.first_day < split.train_end < split.validation_end < split.calibration_end == first + n_days - 1
    )
    assert split.train_end - first > n_days / 2


@given(n_days=st.integers(200, 5_000), horizon=st.integers(1, 30))
def test_origins_of_two_blocks_lie_at_least_a_horizon_apart(n_days: int, horizon: int) -> None:
    split = split_time(0, n_days - 1)
    last_training_origin = max(day for day in range(n_days) if day + horizon <= split.train_end)
    last_validation_origin = max(day for day in range(n_days) if day + horizon <= split.validation_end)
    assert split.train_end - last_training_origin >= horizon
    assert split.validation_end - last_validation_origin >= horizon
    # The first outcome day of a later block comes after the last outcome day of the one before.
    assert split.train_end + 1 > last_training_origin + horizon


@given(st.integers(200, 5_000))
def test_every_block_has_room_for_the_longest_horizon_once_the_history_is_long(n_days: int) -> None:
    split = split_time(0, n_days - 1)
    assert split.validation_end - split.train_end >= min(60, n_days // 10)
    assert split.calibration_end - split.validation_end >= min(120, n_days // 5)


@pytest.mark.parametrize(
    ("n_days", "validation", "calibration"),
    [(200, 20, 40), (400, 40, 80), (599, 59, 119), (600, 60, 120), (3_000, 60, 120)],
)
def test_sizes_are_a_tenth_and_a_fifth_up_to_60_and_120_days(n_days: int, validation: int, calibration: int) -> None:
    split = split_time(1_000, 1_000 + n_days - 1)
    assert split.validation_end - split.train_end == validation
    assert split.calibration_end - split.validation_end == calibration


@pytest.mark.parametrize("n_days", [199, 30, 1, 0, -5])
def test_too_short_a_history_is_refused_with_what_is_needed(n_days: int) -> None:
    with pytest.raises(HistoryError, match=f"received {n_days} days of yields, training needs at least 200"):
        split_time(0, n_days - 1)


@pytest.mark.parametrize("days", [(0, 0, 2, 3), (0, 2, 1, 3), (0, 1, 3, 3), (5, 4, 3, 2)])
def test_blocks_out_of_order_are_refused(days: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="blocks must follow one another"):
        TimeSplit(*days)
