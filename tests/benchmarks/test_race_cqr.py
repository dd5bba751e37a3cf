"""Rolling conformal corrections: Hazen's rule, coverage, lateness, and point forecasts as a special case."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.domain.forecast import QUANTILE_LEVELS
from benchmarks.race.cqr import BORROWED_WEIGHT, RollingCqr, Scores, weighted_quantiles

LEVELS = np.array(QUANTILE_LEVELS)


def pool(miss: np.ndarray, category: int = 0, day: int = 0) -> Scores:
    return Scores(miss, np.full(len(miss), category), np.full(len(miss), day))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_with_equal_weights_quantiles_follow_hazen(values: list[float]) -> None:
    ours = weighted_quantiles(np.array(values), np.ones(len(values)), LEVELS)
    assert ours == pytest.approx(np.quantile(values, LEVELS, method="hazen"), abs=1e-9)


def test_whole_weights_count_like_repeated_values() -> None:
    rng = np.random.default_rng(0)
    values, weights = rng.uniform(size=4_000), rng.integers(1, 4, 4_000)
    repeated = np.quantile(np.repeat(values, weights), LEVELS, method="hazen")
    assert weighted_quantiles(values, weights.astype(float), LEVELS) == pytest.approx(repeated, abs=0.002)


def test_without_scores_quantiles_stay() -> None:
    quantiles = np.sort(np.random.default_rng(1).normal(size=(5, len(LEVELS))), axis=1)
    calibrated = RollingCqr(LEVELS).calibrated(quantiles, np.ones(5), np.zeros(5, dtype=int), today=0)
    assert np.array_equal(calibrated, quantiles)


def test_wrong_quantiles_are_put_right() -> None:
    rng = np.random.default_rng(2)
    believed = np.linspace(-0.3, 0.3, len(LEVELS))  # far too narrow for a standard normal
    actual = rng.normal(size=40_000)
    calibrator = RollingCqr(LEVELS)
    calibrator.add(Scores.of(np.tile(believed, (20_000, 1)), np.ones(20_000), actual[:20_000],
                             (np.zeros(20_000, dtype=int), np.zeros(20_000, dtype=int))))  # fmt: skip
    corrected = calibrator.calibrated(believed[None], np.ones(1), np.zeros(1, dtype=int), today=0)[0]
    shares = (actual[20_000:, None] <= corrected).mean(axis=0)
    assert shares == pytest.approx(LEVELS, abs=0.012)


def test_an_outcome_counts_from_the_day_it_is_known() -> None:
    calibrator = RollingCqr(LEVELS)
    calibrator.add(pool(np.full((50, len(LEVELS)), 3.0), day=10))
    row = np.zeros((1, len(LEVELS)))
    before, after = (calibrator.calibrated(row, np.ones(1), np.zeros(1, dtype=int), today) for today in (9, 10))
    assert np.array_equal(before, row)
    assert after == pytest.approx(row + 3.0)


def test_corrections_are_in_scales_of_the_row() -> None:
    calibrator = RollingCqr(LEVELS)
    calibrator.add(pool(np.full((50, len(LEVELS)), 2.0)))
    shift = calibrator.calibrated(np.zeros((2, len(LEVELS))), np.array([1.0, 0.01]), np.zeros(2, dtype=int), 0)
    assert shift[:, 0] == pytest.approx([2.0, 0.02])


def test_old_scores_fade_by_half_a_halflife() -> None:
    levels = np.array([0.5])
    calibrator = RollingCqr(levels, halflife_days=10.0)
    calibrator.add(pool(np.full((100, 1), -1.0), day=0))
    calibrator.add(pool(np.full((100, 1), 1.0), day=10))
    # The old hundred weigh as fifty: two thirds of the weight is at +1, so the median is there.
    assert calibrator.corrections(10, np.array([0]))[0][0] == pytest.approx(1.0)


def test_a_category_of_its_own_outweighs_what_it_borrows() -> None:
    levels = np.array([0.5])
    calibrator = RollingCqr(levels)
    calibrator.add(pool(np.full((10 * int(BORROWED_WEIGHT), 1), 1.0), category=0))
    calibrator.add(pool(np.full((5_000, 1), -1.0), category=1))
    table = calibrator.corrections(0, np.array([0, 1, 2]))
    assert (table[0][0], table[1][0]) == (1.0, -1.0)
    assert table[2][0] == -1.0  # nothing of its own: what the others have, by their number


def test_a_location_alone_gets_split_conformal_quantiles() -> None:
    rng = np.random.default_rng(3)
    actual, scale, location = rng.normal(size=300), rng.uniform(1, 2, 300), rng.normal(size=300)
    everywhere = np.repeat(location[:, None], len(LEVELS), axis=1)
    calibrator = RollingCqr(LEVELS)
    zeros = np.zeros(300, dtype=int)
    calibrator.add(Scores.of(everywhere, scale, actual, (zeros, zeros)))
    got = calibrator.calibrated(np.zeros((1, len(LEVELS))), np.ones(1), zeros[:1], 0)[0]
    assert got == pytest.approx(np.quantile((actual - location) / scale, LEVELS, method="hazen"))


def test_unknown_outcomes_leave_no_score() -> None:
    quantiles, scale = np.zeros((3, len(LEVELS))), np.ones(3)
    rows = (np.array([0, 1, 2]), np.array([5, 6, 7]))
    scores = Scores.of(quantiles, scale, np.array([1.0, np.nan, 2.0]), rows)
    assert scores.category.tolist() == [0, 2]
    assert scores.known_day.tolist() == [5, 7]
    assert scores.miss[:, 0].tolist() == [1.0, 2.0]


def test_corrected_quantiles_never_cross() -> None:
    rng = np.random.default_rng(4)
    calibrator = RollingCqr(LEVELS)
    calibrator.add(pool(rng.normal(size=(40, len(LEVELS)))))
    quantiles = np.sort(rng.normal(size=(30, len(LEVELS))), axis=1)
    calibrated = calibrator.calibrated(quantiles, np.ones(30), np.zeros(30, dtype=int), 0)
    assert (np.diff(calibrated, axis=1) >= 0).all()
