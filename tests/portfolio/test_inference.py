"""A curve read from history: known parameters come back, the interval covers, and every fallback says what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aegis_yield.domain.errors import HistoryError, RequestError
from aegis_yield.portfolio.impact import KinkedCurve, ProRata, SeparateSupplyCurve
from aegis_yield.portfolio.inference import InferredCurve, PoolHistory, infer_curve, stated

TRUE = KinkedCurve(100e6, 80e6, base=0.005, slope1=0.05, slope2=0.6, optimal=0.85, reserve_factor=0.15)


def utilizations(rng: np.random.Generator, n_days: int, low: float = 0.70, high: float = 0.95) -> np.ndarray:
    """Return a path that wanders between two values."""
    path = 0.5 * (low + high) + np.cumsum(rng.normal(0, 0.015, n_days))
    folded = np.abs((path - low) % (2 * (high - low)) - (high - low))
    return high - folded


def history_of(curve: KinkedCurve, used: np.ndarray, noise: float = 0.0, seed: int = 0) -> PoolHistory:
    """Return what a pool with this curve would have shown."""
    rng = np.random.default_rng(seed)
    supply = np.full(len(used), curve.supply_usd)
    borrowed = curve.borrow_rate(used) * np.exp(noise * rng.normal(size=len(used)))
    return PoolHistory(
        apy=np.expm1((1 - curve.reserve_factor) * used * borrowed),
        borrow_apy=np.expm1(borrowed),
        utilization=used,
        total_supply_usd=supply,
        total_borrow_usd=used * supply,
        tvl_usd=(1 - used) * supply,
    )


def unknown(history: PoolHistory, *names: str) -> PoolHistory:
    return replace(history, **{name: np.full(len(history.apy), np.nan) for name in names})


def kept_by(curve: KinkedCurve | SeparateSupplyCurve, used: float) -> float:
    now, after = replace(curve, borrow_usd=used * curve.supply_usd).rate(np.array([0.0, 0.1 * curve.supply_usd]))
    return float(after / now)


def kinked(found: InferredCurve) -> KinkedCurve:
    assert isinstance(found.curve, KinkedCurve)
    return found.curve


def test_parameters_come_back_from_a_clean_history() -> None:
    used = utilizations(np.random.default_rng(1), 180)
    found = infer_curve(history_of(TRUE, used))
    curve = kinked(found)
    assert found.quality == "fitted"
    assert (curve.supply_usd, curve.borrow_usd) == pytest.approx((100e6, used[-1] * 100e6))
    for name in ("base", "slope1", "slope2", "optimal", "reserve_factor"):
        assert getattr(curve, name) == pytest.approx(getattr(TRUE, name), abs=2e-4), name
    assert found.kept == pytest.approx(kept_by(TRUE, float(used[-1])), rel=1e-4)
    low, middle, high = found.rate_at_probe(0.05)
    assert low <= middle <= high
    assert middle == pytest.approx(0.05 * found.kept)


def test_gaps_and_wild_days_do_not_move_it() -> None:
    rng = np.random.default_rng(2)
    used = utilizations(rng, 180)
    history = history_of(TRUE, used)
    gaps, wild = rng.random(180) < 0.3, rng.random(180) < 0.08
    borrow_apy, utilization = history.borrow_apy.copy(), history.utilization.copy()
    borrow_apy[gaps], borrow_apy[wild] = np.nan, 9.0
    utilization[rng.random(180) < 0.1] = np.nan
    curve = kinked(infer_curve(replace(history, borrow_apy=borrow_apy, utilization=utilization)))
    assert (curve.slope1, curve.slope2, curve.optimal) == pytest.approx((0.05, 0.6, 0.85), rel=0.03)


def test_the_interval_covers_what_the_pool_really_keeps() -> None:
    covered, widths = [], []
    for seed in range(40):
        used = utilizations(np.random.default_rng([3, seed]), 180)
        found = infer_curve(history_of(TRUE, used, noise=0.05, seed=seed))
        truth = kept_by(TRUE, float(used[-1]))
        covered.append(found.kept_low <= truth <= found.kept_high)
        widths.append(found.kept_high - found.kept_low)
    assert np.mean(covered) >= 0.85  # of intervals of level 0.90
    assert 0.0 < np.median(widths) < 0.10  # it says something: knowing nothing would be about 0.5


def test_more_noise_widens_the_interval() -> None:
    used = utilizations(np.random.default_rng(4), 180)
    calm, rough = (infer_curve(history_of(TRUE, used, noise=noise)) for noise in (0.01, 0.10))
    assert rough.kept_high - rough.kept_low > 1.2 * (calm.kept_high - calm.kept_low)


def test_new_parameters_are_learned_within_weeks_of_the_vote() -> None:
    used = utilizations(np.random.default_rng(5), 180)
    before, after = history_of(TRUE, used[:130]), history_of(replace(TRUE, slope1=0.10), used[130:])
    names = ("apy", "borrow_apy", "utilization", "total_supply_usd", "total_borrow_usd", "tvl_usd")
    joined = PoolHistory(*(np.concatenate([getattr(before, name), getattr(after, name)]) for name in names))
    curve = kinked(infer_curve(joined))
    assert curve.slope1 == pytest.approx(0.10, rel=0.15)


def test_suppliers_own_line_is_found_where_borrowers_pay_by_another() -> None:
    used = utilizations(np.random.default_rng(6), 180)
    true = SeparateSupplyCurve(100e6, used[-1] * 100e6, 0.0, 0.04, 1.5, kink=0.85)
    history = history_of(TRUE, used)
    supplied = replace(true, borrow_usd=0.0)  # only its line is used
    line = supplied.slope_low * np.minimum(used, 0.85) + supplied.slope_high * np.maximum(used - 0.85, 0)
    found = infer_curve(replace(history, apy=np.expm1(line)))
    assert found.quality == "fitted"
    assert isinstance(found.curve, SeparateSupplyCurve)
    assert (found.curve.slope_low, found.curve.slope_high, found.curve.kink) == pytest.approx(
        (0.04, 1.5, 0.85), rel=1e-2
    )
    alone = infer_curve(unknown(replace(history, apy=np.expm1(line)), "borrow_apy"))
    assert alone.kept == pytest.approx(kept_by(true, float(used[-1])), rel=0.02)


def test_a_kink_never_reached_is_put_beyond_all_that_was_seen() -> None:
    used = utilizations(np.random.default_rng(7), 180, 0.55, 0.80)
    found = infer_curve(history_of(TRUE, used))
    curve = kinked(found)
    assert found.note == "no kink seen"
    assert curve.optimal >= 0.9
    assert curve.kinks_usd(1e12) == ()
    assert found.kept == pytest.approx(kept_by(TRUE, float(used[-1])), rel=1e-4)


def test_supply_follows_from_what_is_not_borrowed() -> None:
    used = utilizations(np.random.default_rng(8), 180)
    history = history_of(TRUE, used)
    lean = unknown(history, "total_supply_usd", "total_borrow_usd")
    assert infer_curve(lean).curve.rate(np.array([1e6])) == pytest.approx(
        infer_curve(history).curve.rate(np.array([1e6]))
    )


def test_what_cannot_be_fitted_is_assumed_and_says_why() -> None:
    rng = np.random.default_rng(9)
    used = utilizations(rng, 180)
    history = history_of(TRUE, used)
    still = history_of(TRUE, np.full(180, 0.7))
    drifting = np.exp(np.cumsum(rng.normal(0, 0.1, 180))) * 0.05
    adrift = replace(history, borrow_apy=drifting, apy=np.expm1(used * np.log1p(drifting)))
    short = PoolHistory(*(np.asarray(values)[-20:] for values in vars(history).values()))
    for case, reason in ((still, "utilisation stayed"), (adrift, "explains"), (short, "30 needed")):
        found = infer_curve(case)
        assert found.quality == "assumed"
        assert reason in found.note
        assert found.kept_low <= found.kept <= found.kept_high < 1.0
    # proportional to utilisation: the rate falls as the square of the supply's growth
    assert infer_curve(still).kept == pytest.approx(1 / 1.1**2)
    assert float(infer_curve(still).curve.rate(np.zeros(1))[0]) == pytest.approx(np.log1p(still.apy[-1]))


def test_only_a_size_means_pro_rata_and_never_a_price_taker() -> None:
    used = utilizations(np.random.default_rng(10), 60)
    bare = unknown(history_of(TRUE, used), "borrow_apy", "utilization", "total_supply_usd", "total_borrow_usd")
    found = infer_curve(bare)
    assert isinstance(found.curve, ProRata)
    assert found.quality == "assumed"
    assert found.curve.tvl_usd == pytest.approx(bare.tvl_usd[-1])
    assert found.kept == pytest.approx(1 / 1.1)
    with pytest.raises(HistoryError, match="size was never known"):
        infer_curve(unknown(bare, "tvl_usd"))


@pytest.mark.parametrize("used", [0.6, 0.7, 0.84])
def test_pro_rata_on_tvl_is_the_cautious_choice_for_lending(used: float) -> None:
    pool = replace(TRUE, base=0.0, borrow_usd=used * TRUE.supply_usd)
    deposits = np.geomspace(1e3, (1 / (1 - used) - 2) * TRUE.supply_usd, 60)
    by_curve = pool.rate(deposits) / pool.rate(np.zeros(1))
    on_tvl = ProRata((1 - used) * TRUE.supply_usd, 0.05).rate(deposits) / 0.05
    on_supply = ProRata(TRUE.supply_usd, 0.05).rate(deposits) / 0.05
    assert (on_tvl <= by_curve + 1e-12).all()
    assert (on_supply >= by_curve - 1e-12).all()  # the mild one, though it may look careful


def test_nothing_borrowed_is_shared_pro_rata() -> None:
    found = infer_curve(history_of(TRUE, np.zeros(60)))
    assert isinstance(found.curve, ProRata)
    assert found.curve.tvl_usd == 100e6


def test_stated_parameters_have_no_interval() -> None:
    found = stated(TRUE, TRUE.supply_usd)
    assert (found.quality, found.probe_usd) == ("contract", 10e6)
    assert found.kept_low == found.kept == found.kept_high == pytest.approx(kept_by(TRUE, 0.8))


def test_the_same_history_gives_the_same_answer() -> None:
    history = history_of(TRUE, utilizations(np.random.default_rng(11), 180), noise=0.05)
    assert infer_curve(history) == infer_curve(history)
    assert infer_curve(history, seed=1).kept == infer_curve(history).kept


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(RequestError, match=r"^tvl_usd: "):
        PoolHistory(*[np.zeros(3)] * 5, np.zeros(2))


@pytest.mark.reference
@pytest.mark.parametrize(("strategy", "reserve_factor"), [("usdc", 0.075), ("dai", 0.15)])
def test_real_pools_show_published_parameters(reference_data: Path, strategy: str, reserve_factor: float) -> None:
    rows = (
        pl.scan_parquet(reference_data / "yields.parquet")
        .filter(pl.col("strategy_id") == f"compound-v2:ethereum:{strategy}")
        .sort("date")
        .collect()
    )
    names = ("apy", "borrow_apy", "utilization", "total_supply_usd", "total_borrow_usd", "tvl_usd")
    found = infer_curve(PoolHistory(*(rows[name].cast(pl.Float64).to_numpy() for name in names)))
    assert found.quality == "fitted"
    assert kinked(found).reserve_factor == pytest.approx(reserve_factor, abs=1e-3)
    assert kinked(found).base == pytest.approx(0.0, abs=2e-3)
