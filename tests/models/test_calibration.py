from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import laplace

from aegis_yield.domain.categories import CATEGORIES, CATEGORY_CODE, NEVER_NEGATIVE
from aegis_yield.domain.forecast import QUANTILE_LEVELS, ForecastKeys, Forecasts
from aegis_yield.domain.targets import GROWTH_FLOOR
from aegis_yield.models.calibration import (
    BORROWED_WEIGHT,
    FACTOR_RANGE,
    HORIZON_BANDWIDTH,
    LEAST_SHAPE,
    MAX_ABS_RATIO,
    SIDE_LEVELS,
    Calibrator,
    LocationScale,
    ScorePool,
    scores_of,
)
from aegis_yield.models.own_records import strategy_codes

TODAY = 20_000
STAKING, LENDING, OTHER = (CATEGORY_CODE[name] for name in ("staking", "lending", "other"))
LEVELS = np.array(QUANTILE_LEVELS)
SIDES = np.array(SIDE_LEVELS)
INSIDE = np.maximum(SIDES, 1.0 - SIDES)


def pool_of(
    score: np.ndarray | list[float], category: int = STAKING, horizon: int = 7, known_day: int = TODAY
) -> ScorePool:
    n = len(score)
    columns = (np.full(n, value, dtype=np.int32) for value in (category, horizon, known_day))
    return ScorePool.of_scores(np.asarray(score, dtype=float), *columns)


def ratios_of(ratio: list[float], category: int = STAKING, horizon: int = 7, known_day: int = TODAY) -> ScorePool:
    """Return a pool with the same ratio at every level."""
    columns = (np.full(len(ratio), value, dtype=np.int32) for value in (category, horizon, known_day, 0, 0))
    return ScorePool(np.repeat(np.array(ratio, dtype=np.float16)[:, None], len(SIDE_LEVELS), axis=1), *columns)


def keys_of(n: int, category: int = STAKING, today: int = TODAY) -> ForecastKeys:
    origin = np.full(n, today).astype("datetime64[D]")
    return ForecastKeys(np.arange(n).astype(str), origin, np.full(n, category))


def score_quantiles(
    calibrator: Calibrator, category: int = STAKING, horizon: int = 7, levels: tuple[float, ...] = QUANTILE_LEVELS
) -> np.ndarray:
    """The quantiles of a forecast of 100 with spread 1: far from every floor."""
    raw = LocationScale(np.full(1, 100.0), np.ones(1), np.ones(1))
    return calibrator.forecasts(raw, keys_of(1, category), horizon, levels).quantiles[0] - 100.0


def width(quantiles: np.ndarray) -> float:
    return float(quantiles[QUANTILE_LEVELS.index(0.95)] - quantiles[QUANTILE_LEVELS.index(0.05)])


def laplace_pool(n: int, scale: float = 1.0, seed: int = 0, **where: int) -> ScorePool:
    return pool_of(np.random.default_rng(seed).laplace(scale=scale, size=n), **where)


def test_an_empty_pool_falls_back_to_laplace() -> None:
    raw = LocationScale(np.array([0.5, 0.7]), np.array([0.01, 0.02]), np.ones(2))
    found = Calibrator(ScorePool.empty()).forecasts(raw, keys_of(2), 7, QUANTILE_LEVELS).quantiles
    expected = [laplace.ppf(LEVELS, loc, scale) for loc, scale in zip(raw.location, raw.scale, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_ratios_are_errors_over_distances_known_a_horizon_later() -> None:
    raw = LocationScale(np.array([0.05, 0.05, 0.05]), np.array([0.01, 0.02, 0.01]), np.ones(3))
    pool = scores_of(raw, keys_of(3, LENDING), np.array([0.07, np.nan, 0.04]), 14)
    np.testing.assert_allclose(pool.ratio, [2.0 / laplace.ppf(SIDES), -1.0 / laplace.ppf(SIDES)], rtol=1e-3)
    assert pool.known_day.tolist() == [TODAY + 14] * 2
    assert pool.horizon_days.tolist() == [14, 14]
    assert pool.category.tolist() == [LENDING] * 2


def test_a_ratio_is_bounded() -> None:
    raw = LocationScale(np.zeros(2), np.full(2, 1e-6), np.ones(2))
    ratio = scores_of(raw, keys_of(2), np.array([50.0, -50.0]), 1).ratio
    assert np.abs(ratio).max() == MAX_ABS_RATIO
    assert (np.sign(ratio[0]) == np.sign(SIDES - 0.5)).all()
    assert (ratio[1] == -ratio[0]).all()


def test_the_models_own_shape_is_what_is_stretched() -> None:
    shape = np.array([[-4.0, -3.0, -2.0, -1.0, 0.5, 1.0, 2.0, 8.0]])
    raw = LocationScale(np.array([100.0]), np.array([2.0]), np.ones(1), shape)
    np.testing.assert_allclose(raw.distances(), 2.0 * shape)
    pool = scores_of(raw, keys_of(1), np.array([104.0]), 7)
    np.testing.assert_allclose(pool.ratio[0], 2.0 / shape[0], rtol=1e-3)
    whole = Calibrator(ratios_of([1.5] * 400))
    for strength in (0.0, 0.5, 1.0):
        made = Calibrator(whole.pool, strength=(strength,) * 8).forecasts(raw, keys_of(1), 7, QUANTILE_LEVELS)
        np.testing.assert_allclose(np.delete(made.quantiles[0], 4), 100.0 + 2.0 * shape[0] * 1.5**strength)
        assert made.quantiles[0, 4] == made.apy[0] == 100.0


def test_a_shape_that_folds_back_or_has_no_width_is_put_right() -> None:
    folded = np.array([[-1.0, -3.0, 0.2, 0.0, 0.0, -0.5, 2.0, 1.0]])
    apart = LocationScale(np.zeros(1), np.ones(1), np.ones(1), folded).distances()[0]
    tiny = LEAST_SHAPE
    np.testing.assert_allclose(apart, [-3.0, -3.0, -tiny, -tiny, tiny, tiny, 2.0, 2.0])


def test_factors_are_weighted_quantiles_of_the_ratios() -> None:
    rng = np.random.default_rng(3)
    pool = ScorePool(
        rng.normal(0, 2, (300, len(SIDES))).astype(np.float16),
        rng.integers(0, 3, 300),
        rng.choice([3, 7, 14], 300),
        TODAY - rng.integers(-20, 200, 300),
        rng.integers(0, 2, 300),
        np.zeros(300, dtype=np.int64),
    )
    found = Calibrator(pool, halflife_days=40.0).factors(1, 7, TODAY, state=1)
    seen = pool.known_day <= TODAY
    weight = 0.5 ** ((TODAY - pool.known_day) / 40.0) * np.exp(
        -0.5 * (np.log(pool.horizon_days / 7) / HORIZON_BANDWIDTH) ** 2
    )
    weight = np.where(seen, weight, 0.0)
    weight /= weight.max()
    weight *= (pool.category == 1) + BORROWED_WEIGHT / weight.sum()
    weight *= (pool.state == 1) + BORROWED_WEIGHT / weight.sum()
    for j, inside in enumerate(INSIDE):
        mass, before = sorted(zip(pool.ratio[seen, j].astype(float), weight[seen], strict=True)), 0.0
        at, values = [], []
        for value, w in mass:
            at.append((before + w / 2) / weight.sum())
            values.append(value)
            before += w
        assert found[j] == pytest.approx(np.clip(np.interp(inside, at, values), *FACTOR_RANGE), rel=1e-9)


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("seed", [0, 1])
def test_fresh_draws_are_covered_at_the_level(level: float, seed: int) -> None:
    n, n_fresh = 4_000, 20_000
    low, high = (1 - level) / 2, (1 + level) / 2
    rng = np.random.default_rng(seed)
    ends = score_quantiles(Calibrator(pool_of(rng.standard_t(3, n))), levels=(low, high))
    fresh = rng.standard_t(3, n_fresh)
    covered = np.mean((fresh >= ends[0]) & (fresh <= ends[1]))
    assert abs(covered - level) < 4 * np.sqrt(level * (1 - level) * (1 / n + 1 / n_fresh))


def walk_coverage(calibrator: Calibrator, scale_on: np.ndarray, n: int = 40, horizon: int = 7) -> np.ndarray:
    """Forecast every day, learn each outcome when it is known; return the share inside the 90 % interval."""
    rng, covered, waiting = np.random.default_rng(4), [], {}
    for day, scale in enumerate(scale_on):
        calibrator = calibrator.updated(waiting.pop(day, ScorePool.empty()))
        raw = LocationScale(np.full(n, 100.0), np.ones(n), np.ones(n))
        low, high = calibrator.forecasts(raw, keys_of(n, today=day), horizon, QUANTILE_LEVELS).interval(0.9)
        actual = 100.0 + rng.laplace(scale=scale, size=n)
        covered.append(np.mean((actual >= low) & (actual <= high)))
        waiting[day + horizon] = scores_of(raw, keys_of(n, today=day), actual, horizon)
    return np.array(covered)


def test_coverage_recovers_some_halflives_after_a_shift() -> None:
    halflife, shift, n_days = 10, 100, 200
    scale_on = np.where(np.arange(n_days) < shift, 1.0, 3.0)
    adapting = walk_coverage(Calibrator(ScorePool.empty(), halflife_days=halflife), scale_on)
    assert adapting[50:shift].mean() == pytest.approx(0.9, abs=0.02)
    assert adapting[shift : shift + 7].mean() < 0.65
    assert adapting[shift + 6 * halflife :].mean() == pytest.approx(0.9, abs=0.03)
    frozen = walk_coverage(Calibrator(ScorePool.empty(), halflife_days=1e9), scale_on)
    assert frozen[shift + 6 * halflife :].mean() < 0.85


@settings(deadline=None)
@given(data=st.data(), n=st.integers(1, 50), n_past=st.sampled_from([0, 1, 80]))
def test_outcomes_not_yet_known_change_nothing(data: st.DataObject, n: int, n_past: int) -> None:
    scores = data.draw(arrays(np.float32, n, elements=st.floats(-1e4, 1e4, width=32)))
    later = pool_of(scores, data.draw(st.sampled_from([STAKING, OTHER])), 7, TODAY + data.draw(st.integers(1, 99)))
    later = replace(later, strategy=np.full(n, strategy_codes(np.array(["0"]))[0]))
    past = replace(laplace_pool(n_past), strategy=np.full(n_past, later.strategy[0]))
    calibrator = Calibrator(past, record_prior=2.0)
    assert np.array_equal(score_quantiles(calibrator), score_quantiles(calibrator.updated(later)))


def mixed_pool(n: int, seed: int = 5) -> ScorePool:
    """Ratios of every kind, known on days around TODAY."""
    rng = np.random.default_rng(seed)
    ratio = rng.normal(0, 2, (n, len(SIDES))).astype(np.float16)
    days = TODAY + rng.integers(-60, 20, n)
    codes = strategy_codes(rng.integers(0, 30, n))
    return ScorePool(ratio, rng.integers(0, 3, n), rng.choice([3, 7, 14], n), days, rng.integers(0, 3, n), codes)


def test_forecasts_of_many_origins_are_each_what_its_own_origin_says() -> None:
    rng, n = np.random.default_rng(6), 60
    calibrator = Calibrator(mixed_pool(400), strength=(0.7,) * 8, record_prior=8.0)
    days = TODAY + rng.integers(-70, 40, n)
    keys = ForecastKeys(np.arange(n).astype(str), days.astype("datetime64[D]"), rng.integers(0, 4, n))
    state = rng.integers(0, 3, n)
    raw = LocationScale(rng.normal(100, 1, n), rng.uniform(0.5, 2, n), np.ones(n), state=state)
    together = calibrator.forecasts(raw, keys, 7, QUANTILE_LEVELS).quantiles
    for row in range(n):
        one = slice(row, row + 1)
        alone = calibrator.forecasts(
            LocationScale(raw.location[one], raw.scale[one], np.ones(1), state=state[one]),
            ForecastKeys(keys.strategy_id[one], keys.origin[one], keys.category[one]),
            7,
            QUANTILE_LEVELS,
        )
        assert np.array_equal(together[row], alone.quantiles[0])
    assert len({tuple(row) for row in np.round(together - raw.location[:, None], 6)}) > n / 2  # days do matter


def test_while_nothing_new_is_known_a_later_day_changes_nothing() -> None:
    """Weights are relative: all ratios age alike."""
    calibrator = Calibrator(mixed_pool(400))
    found = [calibrator.factors(1, 7, TODAY + late, state=2) for late in (20, 21, 400)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_outcomes_known_today_count() -> None:
    calibrator = Calibrator(laplace_pool(80, known_day=TODAY - 1))
    with_today = calibrator.updated(laplace_pool(80, scale=9.0, known_day=TODAY))
    assert width(score_quantiles(with_today)) > 1.5 * width(score_quantiles(calibrator))


def test_a_ratio_aged_one_halflife_counts_half() -> None:
    pool = ratios_of([1.0], OTHER).extended(ratios_of([2.0], OTHER, known_day=TODAY - 20))
    found = Calibrator(pool, halflife_days=20.0).factors(STAKING, 7, TODAY)
    # mid-points of steps of weight 1 and 1/2
    np.testing.assert_allclose(found, np.interp(INSIDE, [1 / 3, 5 / 6], [1.0, 2.0]), rtol=1e-9)


def test_a_ratio_of_another_horizon_counts_by_its_distance() -> None:
    weight = np.exp(-0.5 * (np.log(14 / 7) / HORIZON_BANDWIDTH) ** 2)
    pool = ratios_of([2.0], OTHER, 7).extended(ratios_of([1.0], OTHER, 14))
    found = Calibrator(pool).factors(STAKING, 7, TODAY)
    middles = [weight / 2 / (1 + weight), (weight + 0.5) / (1 + weight)]
    np.testing.assert_allclose(found, np.interp(INSIDE, middles, [1.0, 2.0]), rtol=1e-9)


def test_each_horizon_has_its_own_shape() -> None:
    calibrator = Calibrator(laplace_pool(500, 1.0, horizon=1).extended(laplace_pool(500, 4.0, horizon=30)))
    short, long = (width(score_quantiles(calibrator, horizon=h)) for h in (1, 30))
    assert long / short == pytest.approx(4.0, rel=0.05)


@pytest.mark.parametrize("where", [{"known_day": TODAY - 9_000}, {"horizon": 30}])
def test_far_ratios_are_better_than_none(where: dict[str, int]) -> None:
    pool = laplace_pool(300, 2.5, **where)
    found = score_quantiles(Calibrator(pool), horizon=1)
    scores = np.random.default_rng(0).laplace(scale=2.5, size=300)
    np.testing.assert_allclose(
        np.delete(found, 4), np.delete(np.quantile(scores, LEVELS, method="hazen"), 4), rtol=2e-3
    )


def test_a_small_category_borrows_from_the_others() -> None:
    few = max(1, int(BORROWED_WEIGHT / 10))
    others = laplace_pool(1_000, 5.0, category=OTHER)
    small = Calibrator(others.extended(pool_of([0.0] * few)))
    assert width(score_quantiles(small)) > 0.5 * width(score_quantiles(Calibrator(others)))


def test_a_large_category_goes_its_own_way() -> None:
    n = int(100 * BORROWED_WEIGHT)
    own = laplace_pool(n, 1.0)
    both = Calibrator(own.extended(laplace_pool(n, 20.0, seed=1, category=OTHER)))
    assert width(score_quantiles(both)) == pytest.approx(width(score_quantiles(Calibrator(own))), rel=0.15)


def test_borrowing_weighs_as_much_as_so_many_fresh_ratios() -> None:
    """Own ratios at 1 and others at 2: which one a level gets is decided by the weights."""
    for n_own in (10, 400):
        calibrator = Calibrator(ratios_of([1.0] * n_own).extended(ratios_of([2.0] * 160, OTHER)))
        share = (n_own + BORROWED_WEIGHT * n_own / (n_own + 160)) / (n_own + BORROWED_WEIGHT)
        found = calibrator.factors(STAKING, 7, TODAY)
        clear = np.abs(INSIDE - share) > 0.02
        np.testing.assert_allclose(found[clear], np.where(share > INSIDE, 1.0, 2.0)[clear])


def test_an_unseen_category_gets_the_ratios_of_all() -> None:
    one, other = (
        np.random.default_rng(0).laplace(scale=1.0, size=200),
        np.random.default_rng(0).laplace(scale=5.0, size=300),
    )
    found = score_quantiles(
        Calibrator(laplace_pool(200, 1.0).extended(laplace_pool(300, 5.0, category=OTHER))), LENDING
    )
    expected = np.quantile(np.concatenate([one, other]), LEVELS, method="hazen")
    np.testing.assert_allclose(np.delete(found, 4), np.delete(expected, 4), rtol=2e-3)


def test_any_level_may_be_asked_for() -> None:
    raw = LocationScale(np.array([100.0]), np.ones(1), np.ones(1))
    levels = (0.01, 0.07, 0.3, 0.5, 0.62, 0.95, 0.99)
    found = Calibrator(laplace_pool(4_000)).forecasts(raw, keys_of(1), 7, levels).quantiles[0] - 100.0
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(found, laplace.ppf(levels), atol=0.35)
    known = Calibrator(laplace_pool(4_000)).forecasts(raw, keys_of(1), 7, QUANTILE_LEVELS).quantiles[0] - 100.0
    assert found[5] == known[QUANTILE_LEVELS.index(0.95)]


@pytest.mark.parametrize("name", CATEGORIES)
def test_only_what_can_lose_may_be_forecast_to_lose(name: str) -> None:
    raw = LocationScale(np.array([-0.01, 0.01, 0.01]), np.array([0.01, 0.02, 3.0]), np.ones(3))
    made = Calibrator(laplace_pool(100)).forecasts(raw, keys_of(3, CATEGORY_CODE[name]), 7, QUANTILE_LEVELS)
    least = 0.0 if name in NEVER_NEGATIVE else GROWTH_FLOOR - 1.0
    assert made.quantiles.min() == least
    assert made.apy.min() == (0.0 if name in NEVER_NEGATIVE else -0.01)


@settings(deadline=None)
@given(data=st.data(), n=st.integers(0, 12), n_scores=st.integers(0, 40), horizon=st.integers(1, 30))
def test_quantiles_never_cross(data: st.DataObject, n: int, n_scores: int, horizon: int) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    size = data.draw(st.floats(1e-6, 1e4))
    pool = ScorePool(
        np.clip(size * rng.standard_t(1, (n_scores, 8)), -MAX_ABS_RATIO, MAX_ABS_RATIO).astype(np.float16),
        rng.integers(0, len(CATEGORIES), n_scores),
        rng.integers(1, 31, n_scores),
        TODAY - rng.integers(-5, 400, n_scores),
        rng.integers(0, 3, n_scores),
        strategy_codes(rng.integers(0, 9, n_scores)),
    )
    shape = rng.normal(0, 2, (n, 8)) if data.draw(st.booleans()) else None
    raw = LocationScale(rng.normal(0, 0.1, n), rng.uniform(1e-6, 1.0, n), np.ones(n), shape)
    keys = ForecastKeys(np.arange(n), keys_of(n).origin, rng.integers(0, len(CATEGORIES), n))
    made = Calibrator(pool, record_prior=3.0).forecasts(raw, keys, horizon, QUANTILE_LEVELS)
    assert isinstance(made, Forecasts)
    assert (np.diff(made.quantiles, axis=1) >= 0).all()


def test_each_row_is_calibrated_by_its_own_category() -> None:
    calibrator = Calibrator(laplace_pool(900, 1.0).extended(laplace_pool(900, 6.0, category=OTHER)))
    raw = LocationScale(np.full(2, 100.0), np.ones(2), np.ones(2))
    keys = ForecastKeys(np.array(["a", "b"]), keys_of(2).origin, np.array([OTHER, STAKING]))
    both = calibrator.forecasts(raw, keys, 7, QUANTILE_LEVELS).quantiles - 100.0
    alone = [score_quantiles(calibrator, category) for category in (OTHER, STAKING)]
    np.testing.assert_allclose(both, alone, atol=1e-9)


def test_a_calibrator_is_a_value() -> None:
    calibrator = Calibrator(laplace_pool(10))
    assert calibrator.updated(ScorePool.empty()) is calibrator
    assert len(calibrator.updated(laplace_pool(5)).pool) == 15
    assert len(calibrator.pool) == 10
