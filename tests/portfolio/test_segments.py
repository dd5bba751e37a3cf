"""Incomes in segments: chords that promise no more than is earned, exact at breaks, cut where it matters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_problems import candidate, draw_curve

from aegis_yield.portfolio.impact import AdaptiveCurve, KinkedCurve, PriceTaker, ProRata, RateCurve
from aegis_yield.portfolio.problem import Candidate
from aegis_yield.portfolio.segments import FINE, coarse_breaks, finer_breaks, joined, segments_of

CAP = 1_000_000.0
POOL = ProRata(400_000.0, 0.10, 0.01)
ABOVE = KinkedCurve(900_000.0, 800_000.0, 0.0, 0.05, 1.0, 0.8)
"""Above its kink, which a deposit of 100,000 reaches."""


def one(curve: RateCurve, apy: float = 0.06) -> Candidate:
    return candidate("a", curve, apy)


def income(of: Candidate, held: float, positions: np.ndarray) -> np.ndarray:
    return positions * of.curve.rate(positions - held)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0), st.booleans())
def test_chords_are_exact_at_breaks_and_lengths_sum_to_the_cap(seed: int, share: float, concave: bool) -> None:
    rng = np.random.default_rng(seed)
    of, cap = one(draw_curve(rng, concave)), float(rng.uniform(1e3, 2e6))
    held = 0.3 * share * cap
    breaks = coarse_breaks(of, held, cap)
    cut = segments_of(of, held, breaks)
    assert breaks[0] == 0.0
    assert breaks[-1] == cap
    assert np.sum(cut.length_usd) == pytest.approx(cap, rel=1e-12)
    assert (cut.length_usd > 0).all()
    promised = np.append(0.0, np.cumsum(cut.rate * cut.length_usd))
    np.testing.assert_allclose(promised, income(of, held, breaks), rtol=1e-9, atol=1e-9 * cap)
    now = float(of.curve.rate(np.zeros(1))[0])
    np.testing.assert_allclose(cut.multiple * now, cut.rate)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_a_chord_is_never_above_a_concave_income(seed: int) -> None:
    rng = np.random.default_rng(seed)
    of = one(draw_curve(rng, concave=True))
    cap = min(5e6, of.curve.capacity_usd)
    breaks = coarse_breaks(of, 0.0, cap)
    cut = segments_of(of, 0.0, breaks)
    if not of.curve.is_concave(cap):
        return
    points = np.linspace(0.0, cap, 500)
    promised = np.interp(points, breaks, np.append(0.0, np.cumsum(cut.rate * cut.length_usd)))
    assert (promised <= income(of, 0.0, points) + 1e-9 * cap).all()
    assert not cut.rises.any()
    assert (np.diff(cut.rate) <= 1e-8).all()


def test_a_rate_rises_only_where_the_pool_comes_down_to_its_kink() -> None:
    of = one(ABOVE)
    breaks = coarse_breaks(of, 0.0, CAP)
    cut = segments_of(of, 0.0, breaks)
    (rise,) = np.flatnonzero(cut.rises)
    assert breaks[rise] == pytest.approx(100_000.0)
    assert cut.rate[rise] > cut.rate[rise - 1]
    assert not segments_of(one(POOL), 0.0, coarse_breaks(one(POOL), 0.0, CAP)).rises.any()
    assert not cut.rises[0]


def test_a_kink_lies_that_much_higher_where_something_is_held() -> None:
    breaks = coarse_breaks(one(ABOVE), 50_000.0, CAP)
    assert np.isclose(breaks, 150_000.0).any()
    assert np.isclose(breaks, 50_000.0).any()


def test_what_is_held_is_in_the_pool_already() -> None:
    of, held = one(POOL), 300_000.0
    breaks = coarse_breaks(of, held, CAP)
    promised = np.append(0.0, np.cumsum(np.prod([part(of, held, breaks) for part in (rates, lengths)], axis=0)))
    at = int(np.flatnonzero(breaks == held)[0])
    assert promised[at] == pytest.approx(held * float(of.curve.rate(np.zeros(1))[0]))
    below = breaks[1]  # a withdrawal: the rest is paid more
    assert promised[1] / below > promised[at] / held
    assert promised[-1] / CAP < promised[at] / held


def rates(of: Candidate, held: float, breaks: np.ndarray) -> np.ndarray:
    return segments_of(of, held, breaks).rate


def lengths(of: Candidate, held: float, breaks: np.ndarray) -> np.ndarray:
    return segments_of(of, held, breaks).length_usd


def test_a_loss_is_not_diluted() -> None:
    cut = segments_of(one(POOL, -0.02), 0.0, coarse_breaks(one(POOL, -0.02), 0.0, CAP))
    np.testing.assert_array_equal(cut.multiple, 1.0)
    np.testing.assert_allclose(cut.rate, cut.rate[0])


@pytest.mark.parametrize("position", [0.0, 1_000.0, 15_625.0, 333_333.0, 1_000_000.0])
def test_cutting_brings_the_chord_to_the_income_where_the_position_is(position: float) -> None:
    of = one(POOL)
    breaks, errors = coarse_breaks(of, 0.0, CAP), []
    around = np.clip(position + CAP * np.linspace(-1e-5, 1e-5, 21), 0.0, CAP)
    for _ in range(4):
        cut = segments_of(of, 0.0, breaks)
        promised = np.append(0.0, np.cumsum(cut.rate * cut.length_usd))
        errors.append(float(np.abs(np.interp(around, breaks, promised) - income(of, 0.0, around)).max()))
        finer = finer_breaks(of, 0.0, breaks, position, 0.0)
        assert set(breaks) <= set(finer)
        breaks = finer
    assert errors[0] > 1e-3
    assert errors[-1] < 0.01 * errors[0]  # an eighth of the length each time


def test_only_segments_at_the_position_are_cut() -> None:
    of = one(POOL)
    breaks = coarse_breaks(of, 0.0, CAP)
    new = np.setdiff1d(finer_breaks(of, 0.0, breaks, 200_000.0, 0.0), breaks)
    assert len(new) == FINE - 1
    assert ((new > breaks[3]) & (new < breaks[4])).all()
    at_break = np.setdiff1d(finer_breaks(of, 0.0, breaks, breaks[3], 0.0), breaks)
    assert len(at_break) == 2 * (FINE - 1)


def test_what_is_straight_enough_is_left_as_it_is() -> None:
    of = one(PriceTaker(0.05))
    breaks = coarse_breaks(of, 0.0, CAP)
    assert finer_breaks(of, 0.0, breaks, 200_000.0, 1e-6) is breaks
    pool = coarse_breaks(one(POOL), 0.0, CAP)
    assert finer_breaks(one(POOL), 0.0, pool, 200_000.0, 1e9) is pool


def test_marks_and_caps_are_breaks_and_nothing_crowds() -> None:
    breaks = coarse_breaks(one(POOL), 0.0, CAP, (123_456.0, 2e6, 0.0))
    assert np.isclose(breaks, 123_456.0).any()
    assert breaks[-1] == CAP
    crowded = joined(breaks, np.array([breaks[3] + 1e-4, CAP - 1e-4]))
    np.testing.assert_array_equal(crowded, breaks)


def test_a_rate_that_drifts_is_cut_like_any_other() -> None:
    of = one(AdaptiveCurve(1e6, 9e5, 0.04, 30.0))
    breaks = coarse_breaks(of, 0.0, CAP)
    cut = segments_of(of, 0.0, breaks)
    assert np.dot(cut.rate, cut.length_usd) == pytest.approx(float(income(of, 0.0, np.array([CAP]))[0]))
