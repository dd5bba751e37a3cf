"""What a pool pays after one's own deposit: formulas by hand, published figures, derivatives, laws of every curve."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.impact import (
    AdaptiveCurve,
    FundingDepth,
    KinkedCurve,
    PriceTaker,
    ProRata,
    RateCurve,
    SeparateSupplyCurve,
    effective_rate,
    income_usd,
    simple_rate,
)

AAVE = KinkedCurve(100e6, 95e6, base=0.0, slope1=0.055, slope2=0.60, optimal=0.92, reserve_factor=0.10)
COMPOUND = SeparateSupplyCurve(100e6, 90e6, base=0.0, slope_low=0.0325, slope_high=0.4, kink=0.8)
MORPHO = AdaptiveCurve(100e6, 90e6, rate_at_target=0.04, horizon_days=30.0, fee=0.1)
CURVES: list[RateCurve] = [
    AAVE,
    COMPOUND,
    MORPHO,
    AdaptiveCurve(10e6, 9.9e6, rate_at_target=0.5, horizon_days=90.0),  # meets the upper bound
    AdaptiveCurve(10e6, 2e6, rate_at_target=0.002, horizon_days=90.0),  # meets the lower one
    ProRata(5e6, 0.2, base_apy=0.03),
    PriceTaker(0.03, 40e6),
    FundingDepth(0.12, 500e6, drop_apy=0.6, max_share=0.1),
]
NAMES = [f"{n}-{type(curve).__name__}" for n, curve in enumerate(CURVES)]
every_curve = pytest.mark.parametrize("curve", CURVES, ids=NAMES)


def at(curve: RateCurve, deposit_usd: float) -> float:
    return float(curve.rate(np.array([deposit_usd]))[0])


def test_aave_by_hand() -> None:
    # above the kink: U = .95, b = .055 + .6 * .03/.08; below: +$20M -> U = 95/120, b = .055 U/.92
    assert at(AAVE, 0.0) == pytest.approx(0.95 * (0.055 + 0.6 * 0.03 / 0.08) * 0.9, rel=1e-13)
    used = 95 / 120
    assert at(AAVE, 20e6) == pytest.approx(used * 0.055 * used / 0.92 * 0.9, rel=1e-13)
    assert AAVE.kinks_usd(20e6) == pytest.approx((95e6 / 0.92 - 100e6,))
    assert AAVE.kinks_usd(1e6) == ()


def test_compound_by_hand() -> None:
    assert at(COMPOUND, 0.0) == pytest.approx(0.0325 * 0.8 + 0.4 * 0.1, rel=1e-13)
    assert at(COMPOUND, 50e6) == pytest.approx(0.0325 * 0.6, rel=1e-13)
    assert COMPOUND.kinks_usd(50e6) == pytest.approx((12.5e6,))


@pytest.mark.parametrize(
    ("share", "average", "at_once"), [(0.02, 0.93, 0.97), (0.05, 0.83, 0.92), (0.10, 0.71, 0.85), (0.25, 0.46, 0.68)]
)
def test_morpho_leaves_what_was_measured(share: float, average: float, at_once: float) -> None:
    slow, fast = MORPHO, AdaptiveCurve(100e6, 90e6, 0.04, horizon_days=0.0)
    assert at(slow, share * 100e6) / at(slow, 0.0) == pytest.approx(average, abs=0.005)
    assert at(fast, share * 100e6) / at(fast, 0.0) == pytest.approx(at_once, abs=0.005)


@pytest.mark.parametrize("utilization", [0.15, 0.6, 0.88, 0.9, 0.93, 0.999])
@pytest.mark.parametrize("rate_at_target", [0.0015, 0.04, 1.2])
def test_morpho_average_is_the_integral_of_the_drifting_rate(utilization: float, rate_at_target: float) -> None:
    days, steps = 90.0, 20_000
    times = (np.arange(steps) + 0.5) / steps * days / 365
    error = (utilization - 0.9) / (0.1 if utilization > 0.9 else 0.9)
    drifting = np.clip(rate_at_target * np.exp(50 * error * times), 0.001, 2.0)
    expected = utilization * (1 + (3 * error if error > 0 else 0.75 * error)) * drifting.mean()
    curve = AdaptiveCurve(1.0, utilization, rate_at_target, days)
    assert at(curve, 0.0) == pytest.approx(expected, rel=1e-6)


def test_pro_rata_and_price_taker() -> None:
    shared = ProRata(5e6, 0.2, base_apy=0.03)
    assert at(shared, 5e6) == pytest.approx(0.03 + 0.1)
    assert income_usd(PriceTaker(0.03, 40e6), np.array([40e6, 80e6])) == pytest.approx([1.2e6, 1.2e6])
    assert PriceTaker(0.03, 40e6).kinks_usd(50e6) == (40e6,)


def test_funding_falls_with_the_share_of_open_interest() -> None:
    curve = FundingDepth(0.12, 500e6, drop_apy=0.6, max_share=0.1)
    assert curve.capacity_usd == 50e6
    assert at(curve, 50e6) == pytest.approx(0.06)
    turned = curve.scaled_to(-0.05)
    assert (at(turned, 0.0), at(turned, 50e6)) == pytest.approx((-0.05, -0.11))


@every_curve
def test_marginal_is_the_derivative_of_income(curve: RateCurve) -> None:
    kinks = np.array([0.0, *curve.kinks_usd(1e9)])
    points = np.geomspace(1e4, 3e7, 40)
    points = points[np.abs(points[:, None] - kinks).min(axis=1) > 100.0]
    step = 10.0
    numeric = (income_usd(curve, points + step) - income_usd(curve, points - step)) / (2 * step)
    np.testing.assert_allclose(curve.marginal(points), numeric, rtol=1e-5, atol=1e-9)


@every_curve
def test_rate_and_marginal_agree_on_nothing_deposited_and_keep_shape_and_nan(curve: RateCurve) -> None:
    assert curve.marginal(np.zeros(1)) == pytest.approx(curve.rate(np.zeros(1)))
    deposits = np.array([[0.0, np.nan], [1e5, 2e5]])
    for values in (curve.rate(deposits), curve.marginal(deposits)):
        assert values.shape == (2, 2)
        assert np.isnan(values).tolist() == [[False, True], [False, False]]


@every_curve
def test_a_deposit_never_raises_the_rate_nor_a_withdrawal_lowers_it(curve: RateCurve) -> None:
    deposits = np.linspace(-1e6, min(curve.capacity_usd, 1e9), 400)
    assert (np.diff(curve.rate(deposits)) <= 1e-15).all()


@every_curve
@pytest.mark.parametrize("limit_usd", [1e5, 2e6, 3e7, 4e8])
def test_is_concave_is_what_a_fine_grid_says(curve: RateCurve, limit_usd: float) -> None:
    deposits = np.linspace(0.0, limit_usd, 20_001)
    income = income_usd(curve, deposits)
    bends = np.diff(income, 2)
    assert curve.is_concave(limit_usd) == (bends.max() <= 1e-7 * np.abs(bends).max() + 1e-6)


@pytest.mark.parametrize("curve", CURVES[:-1], ids=NAMES[:-1])  # funding is shifted: tested by itself
def test_scaled_curves_keep_their_shape(curve: RateCurve) -> None:
    scaled = curve.scaled_to(0.08)
    deposits = np.array([0.0, 1e5, 3e6, 4e7])
    np.testing.assert_allclose(scaled.rate(deposits) / 0.08, curve.rate(deposits) / at(curve, 0.0), rtol=1e-12)
    assert at(scaled, 0.0) == pytest.approx(0.08, rel=1e-13)
    assert scaled.kinks_usd(1e9) == curve.kinks_usd(1e9)
    assert scaled.capacity_usd == curve.capacity_usd
    assert at(scaled.scaled_to(0.02), 0.0) == pytest.approx(0.02, rel=1e-13)


@every_curve
@pytest.mark.parametrize("apy", [0.0, -0.03])
def test_a_loss_is_not_diluted(curve: RateCurve, apy: float) -> None:
    scaled = curve.scaled_to(apy)
    assert scaled.capacity_usd == curve.capacity_usd
    deposits = np.array([0.0, 0.5, 1.0]) * min(curve.capacity_usd, 1e7)
    assert (scaled.rate(deposits) <= apy + 1e-15).all()


def test_a_curve_that_pays_nothing_cannot_be_scaled() -> None:
    with pytest.raises(RequestError, match="pays 0 now"):
        KinkedCurve(1e6, 0.0, 0.01, 0.04, 0.6, 0.9).scaled_to(0.02)


def test_no_more_can_be_withdrawn_than_is_not_borrowed() -> None:
    assert at(AAVE, -5e6) == pytest.approx(0.9 * (0.055 + 0.6))  # U = 1
    assert at(AAVE, -50e6) == at(AAVE, -5e6)


@given(
    used=st.floats(0.05, 1.0),
    optimal=st.floats(0.3, 0.97),
    base=st.floats(0.0, 0.1),
    slopes=st.tuples(st.floats(0.0, 0.3), st.floats(0.0, 4.0)),
)
@settings(max_examples=200, deadline=None)
def test_kinked_income_is_concave_on_each_side_of_the_kink_while_it_rises(
    used: float, optimal: float, base: float, slopes: tuple[float, float]
) -> None:
    curve = KinkedCurve(1.0, used, base, *slopes, optimal)
    ends = (0.0, *curve.kinks_usd(20.0), 20.0)
    for low, high in pairwise(ends):
        inset = 1e-9 * (high - low)
        marginal = curve.marginal(np.linspace(low + inset, high - inset, 2001))
        rising = marginal[: np.argmax(marginal <= 0.0)] if (marginal <= 0.0).any() else marginal
        assert (np.diff(rising) <= 1e-9 * np.abs(marginal).max()).all()


def test_simple_and_effective_rates_are_inverse() -> None:
    apy = np.array([-0.5, 0.0, 0.05, 4.0])
    for days in (1, 7, 30, 365):
        np.testing.assert_allclose(effective_rate(simple_rate(apy, days), days), apy, rtol=1e-12, atol=1e-15)
    assert simple_rate(np.array([0.05]), 365) == pytest.approx([0.05])
    assert simple_rate(np.array([0.05]), 7) == pytest.approx([(1.05 ** (7 / 365) - 1) * 365 / 7])
    assert np.isfinite(simple_rate(np.array([-3.0]), 7)).all()  # a bad day of funding reads below -1


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: KinkedCurve(0.0, 0.0, 0, 0.1, 1, 0.9), "supply_usd"),
        (lambda: KinkedCurve(1.0, 1.1, 0, 0.1, 1, 0.9), "borrow_usd"),
        (lambda: KinkedCurve(1.0, float("nan"), 0, 0.1, 1, 0.9), "borrow_usd"),
        (lambda: KinkedCurve(1.0, 0.5, -0.1, 0.1, 1, 0.9), "base"),
        (lambda: KinkedCurve(1.0, 0.5, 0, 0.1, 1, 1.0), "optimal"),
        (lambda: KinkedCurve(1.0, 0.5, 0, 0.1, 1, 0.9, 1.5), "reserve_factor"),
        (lambda: SeparateSupplyCurve(1.0, 0.5, 0, -0.1, 1, 0.9), "slope_low"),
        (lambda: AdaptiveCurve(1.0, 0.5, 3.0, 7.0), "rate_at_target"),
        (lambda: AdaptiveCurve(1.0, 0.5, 0.04, -1.0), "horizon_days"),
        (lambda: ProRata(0.0, 0.1), "tvl_usd"),
        (lambda: ProRata(1.0, -0.1), "shared_apy"),
        (lambda: PriceTaker(float("nan")), "apy"),
        (lambda: PriceTaker(0.1, -1.0), "capacity_usd"),
        (lambda: FundingDepth(0.1, 0.0, 0.1), "open_interest_usd"),
        (lambda: FundingDepth(0.1, 1.0, 0.1, 1.5), "max_share"),
        (lambda: AAVE.scaled_to(float("nan")), "rate"),
    ],
)
def test_bad_parameters_are_named(build: object, named: str) -> None:
    with pytest.raises(RequestError, match=f"^{named}: "):
        build()  # type: ignore[operator]
