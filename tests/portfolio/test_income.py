"""The best split by income: closed forms, optimality conditions, laws, an independent programme on random markets."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lending_markets import Plain, best_by_programme, sturdy_market

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.impact import (
    AdaptiveCurve,
    FundingDepth,
    KinkedCurve,
    PriceTaker,
    ProRata,
    RateCurve,
    SeparateSupplyCurve,
    income_usd,
)
from aegis_yield.portfolio.income import best_split

N_MARKETS = 300
CAPITALS = (0.1, 0.5, 2.0, 5.0, 20.0)  # in pools, of which there are ten


def any_curve(rng: np.random.Generator, scale: float) -> RateCurve:
    supply = float(np.exp(rng.uniform(0, 5))) * scale
    borrow = supply * rng.uniform(0.3, 0.99)
    choices: list[RateCurve] = [
        KinkedCurve(supply, borrow, rng.uniform(0, 0.02), rng.uniform(0, 0.1), rng.uniform(0.1, 2), 0.8, 0.1),
        SeparateSupplyCurve(supply, borrow, 0.0, rng.uniform(0, 0.05), rng.uniform(0.1, 1), rng.uniform(0.6, 0.95)),
        ProRata(supply, rng.uniform(0, 0.3), rng.uniform(-0.01, 0.05)),
        PriceTaker(rng.uniform(-0.01, 0.06), supply),
        FundingDepth(rng.uniform(-0.1, 0.2), supply * 10, rng.uniform(0, 0.5)),
        AdaptiveCurve(supply, borrow, float(np.exp(rng.uniform(-4, -1))), float(rng.choice([0, 7, 30, 90]))),
    ]
    return choices[int(rng.integers(len(choices)))]


def closed_form(tvl: np.ndarray, apy: np.ndarray, capital: float) -> np.ndarray:
    """Fill T_i (sqrt(A_i) (K + sum T) / (sum T sqrt(A)) - 1), dropping pools that would get less than nothing."""
    active = np.ones(len(tvl), dtype=bool)
    while True:
        level = (capital + tvl[active].sum()) / (tvl[active] * np.sqrt(apy[active])).sum()
        deposits = np.where(active, tvl * (np.sqrt(apy) * level - 1.0), 0.0)
        if (deposits >= 0.0).all():
            return deposits
        active &= deposits > 0.0


@pytest.mark.parametrize("capital", [1e4, 1e6, 1e8])
def test_proportional_dilution_has_a_closed_form(capital: float) -> None:
    rng = np.random.default_rng(1)
    tvl, apy = np.exp(rng.uniform(12, 18, 30)), rng.uniform(0.01, 0.4, 30)
    expected = closed_form(tvl, apy, capital)
    found = best_split([ProRata(t, a) for t, a in zip(tvl, apy, strict=True)], capital)
    np.testing.assert_allclose(found.deposit_usd, expected, rtol=1e-7, atol=1e-9 * capital)
    assert (expected > 0).sum() > 0
    first = int(np.argmax(expected))
    assert found.marginal_income == pytest.approx(apy[first] * (tvl[first] / (tvl[first] + expected[first])) ** 2)
    assert found.certified
    assert found.branches == 0


@pytest.mark.parametrize("capital", CAPITALS)
@pytest.mark.parametrize("seed", range(12))
def test_marginal_incomes_are_equal_where_deposited_and_lower_elsewhere(seed: int, capital: float) -> None:
    market = sturdy_market(seed)
    found = best_split(market, capital)
    cutoff, step = found.marginal_income, 1e-7
    plain = Plain(market)
    above = (plain.incomes(found.deposit_usd + step) - plain.incomes(found.deposit_usd)) / step
    below = (plain.incomes(found.deposit_usd) - plain.incomes(found.deposit_usd - step)) / step
    held = found.deposit_usd > 1e-6
    assert held.any()
    np.testing.assert_allclose(above[held], cutoff, atol=1e-5)
    np.testing.assert_allclose(below[held], cutoff, atol=1e-5)
    assert (above[~held] <= cutoff + 1e-5).all()


@pytest.mark.parametrize("capital", CAPITALS)
def test_random_markets_are_solved_and_proved(capital: float) -> None:
    above_kink = 0
    for seed in range(0, N_MARKETS, 3):
        market = sturdy_market(seed)
        above_kink += any(pool.kinks_usd(20.0) for pool in market)
        found = best_split(market, capital)
        assert found.certified, seed
        assert found.relative_gap <= 1e-6
        assert found.income_usd <= found.upper_bound_usd
        assert (found.deposit_usd >= 0.0).all()
        assert found.deposit_usd.sum() <= capital * (1 + 1e-12)
        assert Plain(market).total(found.deposit_usd) == pytest.approx(found.income_usd, rel=1e-12)
    assert above_kink > 0.9 * N_MARKETS / 3  # harsh on purpose


def assert_best_known(seed: int, capital: float) -> None:
    market = sturdy_market(seed)
    best_known = Plain(market).total(best_by_programme(market, capital))
    found = best_split(market, capital)
    assert found.certified, (seed, capital)
    assert found.income_usd >= 0.999 * best_known, (seed, capital)  # what is promised
    assert found.income_usd >= (1 - 1e-6) * best_known, (seed, capital)  # what is done
    assert found.upper_bound_usd >= (1 - 1e-9) * best_known, (seed, capital)


@pytest.mark.parametrize("capital", CAPITALS)
@pytest.mark.parametrize("seed", range(5))
def test_a_fine_programme_finds_nothing_better(seed: int, capital: float) -> None:
    assert_best_known(seed, capital)


@pytest.mark.slow
@pytest.mark.parametrize("capital", CAPITALS)
def test_a_fine_programme_finds_nothing_better_on_any_market(capital: float) -> None:
    for seed in range(N_MARKETS):
        assert_best_known(seed, capital)


def best_on_grid(curves: list[RateCurve], capital: float, caps: np.ndarray, n_steps: int = 600) -> float:
    grid = np.linspace(0.0, capital, n_steps + 1)
    best = np.zeros(n_steps + 1)
    for curve, cap in zip(curves, caps, strict=True):
        earned = np.where(grid <= min(cap, curve.capacity_usd), income_usd(curve, grid), -np.inf)
        best = np.array([(best[: k + 1] + earned[k::-1]).max() for k in range(n_steps + 1)])
    return float(best.max())


@pytest.mark.parametrize("seed", range(30))
def test_any_mix_of_curves_under_caps(seed: int) -> None:
    rng = np.random.default_rng([5, seed])
    scale = 10.0 ** rng.integers(0, 9)
    curves = [any_curve(rng, scale) for _ in range(rng.integers(1, 10))]
    capital = float(np.exp(rng.uniform(-1, 6)) * scale)
    caps = np.where(rng.random(len(curves)) < 0.5, np.inf, capital * rng.uniform(0, 1, len(curves)))
    found = best_split(curves, capital, caps)
    capacity = np.minimum(caps, [curve.capacity_usd for curve in curves])
    assert ((found.deposit_usd >= 0) & (found.deposit_usd <= capacity * (1 + 1e-12))).all()
    assert found.deposit_usd.sum() <= capital * (1 + 1e-12)
    earned = sum(float(income_usd(c, np.array([x]))[0]) for c, x in zip(curves, found.deposit_usd, strict=True))
    assert earned == pytest.approx(found.income_usd, rel=1e-12)
    on_grid = best_on_grid(curves, capital, caps)
    assert found.income_usd >= on_grid * (1 - 1e-9)
    assert found.upper_bound_usd >= on_grid * (1 - 1e-12)
    assert found.certified


def test_two_best_deposits_of_one_pool_above_its_kink() -> None:
    pool = KinkedCurve(1.0, 0.95, 0.01, 0.02, 0.6, 0.8)
    elsewhere = PriceTaker(0.012)
    grid = np.linspace(0, 3, 300_001)
    for capital in (0.01, 0.05, 0.1, 1.0, 3.0):
        found = best_split([pool, elsewhere], capital)
        held = grid[grid <= capital + 1e-12]
        best = (income_usd(pool, held) + 0.012 * (capital - held)).max()
        assert found.income_usd == pytest.approx(best, rel=1e-8)


def test_a_flat_rate_takes_what_the_others_leave() -> None:
    curves: list[RateCurve] = [ProRata(1e6, 0.2), PriceTaker(0.05), PriceTaker(0.05), PriceTaker(0.08, 1e6)]
    found = best_split(curves, 10e6)
    # 0.2 T² / (T + x)² = 0.05 at x = T
    assert found.deposit_usd[[0, 3]] == pytest.approx([1e6, 1e6], rel=1e-9)
    assert found.deposit_usd.sum() == pytest.approx(10e6, rel=1e-12)
    assert found.marginal_income == pytest.approx(0.05)


def test_capital_is_left_over_where_more_would_earn_less() -> None:
    pool = KinkedCurve(1e6, 0.5e6, 0.0, 0.05, 0.6, 0.9)  # x U² is largest at x = S
    found = best_split([pool, PriceTaker(-0.01)], 50e6)
    assert found.deposit_usd == pytest.approx([1e6, 0.0], rel=1e-6)
    assert found.marginal_income == pytest.approx(0.0, abs=1e-12)
    assert found.income_usd == pytest.approx(1e6 * float(pool.rate(np.array([1e6]))[0]), rel=1e-12)


@pytest.mark.parametrize("factor", [1e-6, 1e9])
def test_the_unit_of_money_does_not_matter(factor: float) -> None:
    small = sturdy_market(3)
    names = ("base", "slope1", "slope2", "optimal")
    large = [KinkedCurve(factor, factor * pool.borrow_usd, *(getattr(pool, name) for name in names)) for pool in small]
    one, other = best_split(small, 5.0), best_split(large, 5.0 * factor)
    np.testing.assert_allclose(other.deposit_usd / factor, one.deposit_usd, rtol=1e-8, atol=1e-9)
    assert other.income_usd / factor == pytest.approx(one.income_usd, rel=1e-10)


@given(order=st.permutations(range(10)), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_the_order_of_pools_does_not_matter(order: list[int], seed: int) -> None:
    market = sturdy_market(seed)
    one, other = best_split(market, 5.0), best_split([market[i] for i in order], 5.0)
    assert other.income_usd == pytest.approx(one.income_usd, rel=1e-6)  # deposits may differ where pools tie
    assert other.deposit_usd.sum() == pytest.approx(one.deposit_usd.sum(), rel=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_more_capital_a_wider_cap_or_another_pool_never_earns_less(seed: int) -> None:
    market = sturdy_market(seed)
    incomes = [best_split(market, capital).income_usd for capital in np.linspace(0.0, 20.0, 15)]
    assert (np.diff(incomes) >= -1e-6 * np.array(incomes[1:])).all()
    tight, loose = (best_split(market, 5.0, np.full(10, cap)).income_usd for cap in (0.6, 1.2))
    assert tight <= loose * (1 + 1e-6)
    assert best_split(market[:5], 5.0).income_usd <= best_split(market, 5.0).income_usd * (1 + 1e-6)


def test_identical_pools_above_their_kink_are_proved_too() -> None:
    found = best_split([KinkedCurve(1.0, 0.95, 0.02, 0.05, 0.6, 0.8)] * 10, 5.0)
    assert found.certified
    crossed = found.deposit_usd > 0.2  # a few pools are taken past their kink, the others held at their best above it
    assert 0 < crossed.sum() < 10


def test_a_search_cut_short_says_so_by_its_gap() -> None:
    market = [KinkedCurve(1.0, 0.95, 0.02, 0.05, 0.6, 0.8)] * 10
    short, full = best_split(market, 5.0, max_branches=0), best_split(market, 5.0)
    assert not short.certified
    assert short.relative_gap > 1e-6
    assert short.income_usd <= full.income_usd <= short.upper_bound_usd


def test_nothing_to_split() -> None:
    assert best_split([], 5.0).income_usd == 0.0
    nothing = best_split(sturdy_market(0), 0.0)
    assert nothing.deposit_usd.tolist() == [0.0] * 10
    assert nothing.certified
    closed = best_split(sturdy_market(0), 5.0, np.zeros(10))
    assert (closed.income_usd, closed.upper_bound_usd) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("capital", "caps", "named"),
    [
        (-1.0, None, "capital_usd"),
        (float("nan"), None, "capital_usd"),
        (float("inf"), None, "capital_usd"),
        (1.0, np.ones(9), "caps_usd"),
        (1.0, np.full(10, np.nan), "caps_usd"),
        (1.0, np.full(10, -1.0), "caps_usd"),
    ],
)
def test_bad_requests_are_named(capital: float, caps: np.ndarray | None, named: str) -> None:
    with pytest.raises(RequestError, match=f"^{named}: "):
        best_split(sturdy_market(0), capital, caps)


def test_it_is_quick() -> None:
    """A loose ceiling, in seconds of this process; benchmarks/allocation.py measures."""
    rng = np.random.default_rng(0)
    market, many = sturdy_market(5), [ProRata(float(t), 0.1) for t in np.exp(rng.uniform(0, 6, 200))]
    started = time.process_time()
    for _ in range(5):
        best_split(market, 5.0)
        best_split(many, 1e3)
    assert (time.process_time() - started) / 5 < 0.5
