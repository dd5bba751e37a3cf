from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.categories import CATEGORY_CODE
from aegis_yield.domain.forecast import QUANTILE_LEVELS, ForecastKeys
from aegis_yield.models.calibration import (
    RECORD_PRIOR,
    SHAPED_STRENGTH,
    SIDE_LEVELS,
    Calibrator,
    LocationScale,
    ScorePool,
    scores_of,
)
from aegis_yield.models.own_records import MAX_ERROR, OwnRecords, error_in_spreads, strategy_codes

LENDING = CATEGORY_CODE["lending"]
IDS = np.array(["aave-v3:ethereum:usdc", "lido:ethereum:steth", "aave-v3:ethereum:usdc"])


def test_a_code_is_the_same_everywhere_and_each_strategys_own() -> None:
    # printf %s lido:ethereum:steth | b2sum -l 64
    assert strategy_codes(IDS)[1] == int.from_bytes(bytes.fromhex("a5d45a4517023797"), "big", signed=True)
    assert strategy_codes(IDS)[0] == strategy_codes(IDS)[2]
    many = strategy_codes(np.arange(5_000).astype(str))
    assert many.dtype == np.int64
    assert len(np.unique(many)) == 5_000


@given(error=st.floats(-50.0, 50.0), spread=st.floats(1e-4, 10.0), wider=st.floats(0.5, 4.0))
def test_errors_are_told_in_spreads_of_laplaces_shape(error: float, spread: float, wider: float) -> None:
    raw = LocationScale(np.array([100.0]), np.array([spread]), np.ones(1))
    keys = ForecastKeys(IDS[:1], np.zeros(1, dtype="datetime64[D]"), np.array([LENDING]))
    pool = scores_of(raw, keys, np.array([100.0 + error * spread]), 7)
    assert error_in_spreads(pool.ratio, SIDE_LEVELS)[0] == pytest.approx(abs(error), rel=2e-3, abs=1e-4)
    assert error_in_spreads(pool.ratio / wider, SIDE_LEVELS)[0] == pytest.approx(abs(error) / wider, rel=2e-3, abs=1e-4)


def naive_factor(errors: list[tuple[float, int, int, int, float]], code: int, prior: float) -> float:
    """Rows of error, code, horizon, known day, weight: a loop over periods."""
    mine: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for error, whose, horizon, day, weight in errors:
        if whose == code:
            mine.setdefault((horizon, day // horizon), []).append((min(error, MAX_ERROR), weight))
    total, count = prior, prior
    for rows in mine.values():
        total += sum(error * weight for error, weight in rows) / len(rows)
        count += sum(weight for _, weight in rows) / len(rows)
    return total / count


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 60), prior=st.floats(0.5, 30.0))
def test_factors_equal_a_loop_over_each_strategys_periods(seed: int, n: int, prior: float) -> None:
    rng = np.random.default_rng(seed)
    error, code = rng.exponential(2.0, n), rng.integers(-3, 3, n)
    horizon, day, weight = rng.choice([1, 7, 14], n), rng.integers(0, 40, n), rng.uniform(0.01, 1.0, n)
    known = rng.random(n) < 0.7
    records = OwnRecords.of(error, code, day, horizon)
    asked = np.arange(-4, 4)
    found = records.factors(asked, known, weight[known], prior)
    columns = [column[known].tolist() for column in (error, code, horizon, day, weight)]
    rows = list(zip(*columns, strict=True))
    np.testing.assert_allclose(found, [naive_factor(rows, one, prior) for one in asked.tolist()], rtol=1e-9)


def pool_of(errors: np.ndarray, strategy: str, known_day: np.ndarray, horizon: int = 7) -> ScorePool:
    n = len(errors)
    pool = ScorePool.of_scores(errors, np.full(n, LENDING), np.full(n, horizon), known_day)
    return replace(pool, strategy=np.repeat(strategy_codes(np.array([strategy])), n))


def width_of(calibrator: Calibrator, strategy: str, today: int = 1_000) -> float:
    raw = LocationScale(np.array([100.0]), np.ones(1), np.ones(1))
    keys = ForecastKeys(np.array([strategy]), np.array([today], dtype="datetime64[D]"), np.array([LENDING]))
    low, high = calibrator.forecasts(raw, keys, 7, QUANTILE_LEVELS).interval(0.9)
    return float(high[0] - low[0])


WEEKS = 1_000 - 7 * np.arange(12)


def test_who_surprises_gets_wider_intervals_and_who_does_not_narrower() -> None:
    pool = pool_of(np.full(12, 3.0), "wild", WEEKS).extended(pool_of(np.full(12, 0.2), "calm", WEEKS))
    calibrator = Calibrator(pool, strength=(0.0,) * 8, record_prior=8.0)
    wild, calm, unknown = (width_of(calibrator, name) for name in ("wild", "calm", "unknown"))
    assert calm < unknown < wild
    assert unknown == width_of(replace(calibrator, record_prior=None), "wild") == pytest.approx(2 * np.log(10.0))
    weight = (0.5 ** ((1_000 - WEEKS) / calibrator.halflife_days)).sum()
    assert wild / unknown == pytest.approx((8.0 + 3.0 * weight) / (8.0 + weight), rel=2e-3)


def test_the_same_outcome_seen_every_day_is_one_outcome() -> None:
    week = np.arange(994, 1_001)  # 142 times 7 to 143 times 7, less a day
    week = week[week // 7 == 142]
    assert len(week) == 7
    once, daily = (pool_of(np.full(len(days), 4.0), "x", days) for days in (week[-1:], week))
    one, seven = (Calibrator(p, 1e9, strength=(0.0,) * 8, record_prior=8.0) for p in (once, daily))
    assert width_of(seven, "x") == pytest.approx(width_of(one, "x"), rel=1e-6)


def test_a_single_jump_is_no_habit() -> None:
    calibrator = Calibrator(pool_of(np.array([5_000.0]), "x", WEEKS[:1]), strength=(0.0,) * 8, record_prior=8.0)
    assert width_of(calibrator, "x") / width_of(calibrator, "y") == pytest.approx((8.0 + MAX_ERROR) / 9.0)


def test_intervals_hold_strategy_by_strategy() -> None:
    """Strategies whose spreads are half or twice as large as said: without records only their mean is covered right."""
    rng, n_weeks, horizon = np.random.default_rng(11), 120, 7
    truth = np.repeat([0.5, 1.0, 2.0], 12)
    names = np.array([f"s{place}" for place in range(len(truth))])
    covered = {}
    for prior in (None, RECORD_PRIOR):
        calibrator = Calibrator(ScorePool.empty(), strength=SHAPED_STRENGTH, record_prior=prior)
        inside = np.zeros((n_weeks, len(truth)))
        for week in range(n_weeks):
            keys = ForecastKeys(
                names, np.full(len(truth), 7 * week, dtype="datetime64[D]"), np.full(len(truth), LENDING)
            )
            raw = LocationScale(np.full(len(truth), 100.0), np.ones(len(truth)), np.ones(len(truth)))
            actual = 100.0 + truth * rng.laplace(size=len(truth))
            low, high = calibrator.forecasts(raw, keys, horizon, QUANTILE_LEVELS).interval(0.9)
            inside[week] = (low <= actual) & (actual <= high)
            calibrator = calibrator.updated(scores_of(raw, keys, actual, horizon))
        covered[prior] = inside[30:].mean(axis=0)
    gap = {prior: np.abs(shares - 0.9).mean() for prior, shares in covered.items()}
    assert gap[RECORD_PRIOR] < 0.6 * gap[None]
    assert covered[RECORD_PRIOR][truth == 2.0].mean() > covered[None][truth == 2.0].mean() + 0.08


def test_permuting_strategies_permutes_their_factors() -> None:
    rng = np.random.default_rng(2)
    code = strategy_codes(rng.integers(0, 9, 200))
    error, day = rng.exponential(1.0, 200), rng.integers(0, 90, 200)
    records = OwnRecords.of(error, code, day, np.full(200, 7))
    asked, everything = np.unique(code), np.ones(200, dtype=bool)
    order = rng.permutation(len(asked))
    found = records.factors(asked, everything, np.ones(200), 8.0)
    assert np.array_equal(records.factors(asked[order], everything, np.ones(200), 8.0), found[order])
