from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.signal import lfilter

from aegis_yield.domain.errors import RequestError
from aegis_yield.risk.drawdown import max_drawdown
from aegis_yield.risk.expected_drawdown import autocorrelation_factor, drawdown_q, expected_max_drawdown

# x, Q_p, Q_n as published by Magdon-Ismail et al. (2004); the paper's own precision is about 0.4 %.
PUBLISHED = [
    (0.0005, 0.019690, 0.019965),
    (0.01, 0.084693, 0.092708),
    (0.1, 0.243050, 0.325586),
    (0.5, 0.463159, 0.884593),
    (1.5, 0.668992, 1.970740),
    (4.5, 0.905305, 4.990430),
    (10.0, 1.0890, None),
    (50.0, 1.4765, None),
    (1000.0, 2.2198, None),
]


def survival(level: float, drift: float, time: float = 1.0) -> float:
    """P(max drawdown of B_t + drift t is below the level): eigenfunctions of the reflected, killed motion."""
    k = drift * level

    def term(frequency: complex) -> float:
        # (cos, sin) of the n-th root of tan(w) = w / k, or of the hyperbolic one when k > 1
        rate = (frequency**2 / level**2 + drift**2) / 2
        weight = frequency * np.sin(frequency) / (frequency**2 + k**2 - k)
        return float(np.real(2.0 * weight * np.exp(-k - rate * time)))

    def equation(w: float) -> float:
        return k * math.sin(w) - w * math.cos(w)

    total = 0.0
    if k > 1:
        total += term(1j * brentq(lambda w: k * math.sinh(w) - w * math.cosh(w), 1e-9, k, xtol=1e-15))
    for n in range(400):
        low, high = n * math.pi + (1e-9 if n == 0 else 0.0), (n + 1) * math.pi
        if equation(low) * equation(high) < 0:
            added = term(brentq(equation, low, high, xtol=1e-14))
            total += added
            if n > 3 and abs(added) < 1e-17:
                break
    return total


def by_eigenfunctions(drift: float) -> float:
    """Return E[max drawdown] over unit time as the integral of P(max drawdown > level)."""
    far = 6.0 + max(-drift, 0.0)
    return quad(lambda d: 1.0 - survival(d, drift), 0.02, far, epsabs=1e-9, epsrel=1e-9, limit=200)[0] + 0.02


def simulated(drift: float, horizon_days: int, phi: float, seed: int) -> tuple[float, float]:
    """Return mean and standard error of the maximum drawdown of daily log NAV with volatility 4 %."""
    rng = np.random.default_rng(seed)
    shocks = rng.standard_normal((2_000_000 // (horizon_days + 30), horizon_days))
    start = phi * rng.standard_normal((len(shocks), 1))
    noise, _ = lfilter([math.sqrt(1 - phi**2)], [1.0, -phi], shocks, axis=1, zi=start)
    steps = drift / 365 + 0.04 / math.sqrt(365) * noise
    log_nav = np.concatenate([np.zeros((len(steps), 1)), np.cumsum(steps, axis=1)], axis=1)
    falls = -np.log1p(-max_drawdown(np.exp(log_nav)))
    return float(falls.mean()), float(falls.std() / math.sqrt(len(falls)))


def test_without_drift_it_is_the_closed_form() -> None:
    for sigma, days in [(0.04, 30.0), (0.8, 365.0), (1e-5, 1.0)]:
        expected = math.sqrt(math.pi / 2) * sigma * math.sqrt(days / 365)
        assert expected_max_drawdown(0.0, sigma, days, sampling_days=0) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("x", "q_p", "q_n"), PUBLISHED)
def test_the_published_table(x: float, q_p: float, q_n: float | None) -> None:
    mine_p, mine_n = drawdown_q(x)
    assert mine_p == pytest.approx(q_p, rel=5e-3)
    assert q_n is None or mine_n == pytest.approx(q_n, rel=5e-3)


@pytest.mark.parametrize("drift", [-2.0, -0.7, 0.0, 0.3, 1.7, 2.0])
def test_the_contour_agrees_with_eigenfunctions(drift: float) -> None:
    # unit time and unit spread: 365 days at volatility 1
    mine = expected_max_drawdown(drift, 1.0, 365.0, sampling_days=0)
    assert mine == pytest.approx(by_eigenfunctions(drift), abs=2e-8)


def test_far_out_it_meets_its_asymptotes() -> None:
    x = np.array([1e2, 1e4, 1e8, 1e20, 1e100])
    q_p, q_n = drawdown_q(x)
    limit = (np.log(4 * x) + np.euler_gamma) / 4
    np.testing.assert_allclose(q_p, limit, atol=2e-2, rtol=0)
    np.testing.assert_allclose(q_p[2:], limit[2:], rtol=1e-7)
    assert limit[0] - math.log(100) / 4 == pytest.approx(0.49088, abs=5e-6)
    np.testing.assert_allclose(q_n, x + 0.5, rtol=1e-10)


def test_near_no_drift_it_is_continuous() -> None:
    drifts = np.array([-1e-3, -1e-7, -1e-12, 0.0, 1e-12, 1e-7, 1e-3])
    falls = expected_max_drawdown(drifts, 1.0, 365.0, sampling_days=0)
    # The slope at 0 follows from the transform: 1/2 less Catalan's constant.
    np.testing.assert_allclose(falls, math.sqrt(math.pi / 2) + (0.5 - 0.915965594177219) * drifts, atol=2e-7)
    assert (np.diff(falls[[0, 1, 3, 5, 6]]) < 0).all()


def test_it_falls_with_drift_and_rises_with_volatility_and_time() -> None:
    drifts = np.linspace(-2.0, 2.0, 81)
    falls = expected_max_drawdown(drifts, 0.2, 90)
    assert (np.diff(falls) < 0).all()
    assert (falls >= np.maximum(-drifts * 90 / 365, 0.0)).all()
    assert (np.diff(expected_max_drawdown(0.05, np.linspace(0.01, 1.0, 60), 90)) > 0).all()
    by_days = [float(expected_max_drawdown(0.05, 0.2, days)) for days in (7, 14, 30, 90, 365)]
    assert by_days == sorted(by_days)


@pytest.mark.parametrize(
    ("horizon_days", "sampled", "continuous"), [(30, 0.00955, 0.0120), (90, 0.01597, 0.0184), (365, 0.02665, 0.0291)]
)
def test_the_reference_figures_of_daily_sampling(horizon_days: int, sampled: float, continuous: float) -> None:
    drift = 0.08 - 0.04**2 / 2
    assert expected_max_drawdown(drift, 0.04, horizon_days) == pytest.approx(sampled, rel=6e-3)
    assert expected_max_drawdown(drift, 0.04, horizon_days, sampling_days=0) == pytest.approx(continuous, rel=6e-3)


@pytest.mark.parametrize(("horizon_days", "short"), [(7, 0.065), (30, 0.015), (365, 0.005)])
@pytest.mark.parametrize("drift", [0.0792, 0.0, -0.2])
def test_daily_sampling_agrees_with_simulation(horizon_days: int, short: float, drift: float) -> None:
    mean, error = simulated(drift, horizon_days, 0.0, seed=horizon_days)
    assert expected_max_drawdown(drift, 0.04, horizon_days) == pytest.approx(mean, abs=short * mean + 4 * error)


@pytest.mark.parametrize(
    ("phi", "horizon_days"), [(0.3, 30), (0.6, 30), (-0.3, 30), (0.6, 365), (-0.3, 365), (0.9, 90), (0.9, 365)]
)
def test_autocorrelation_agrees_with_simulation(phi: float, horizon_days: int) -> None:
    mean, error = simulated(0.0792, horizon_days, phi, seed=17)
    assert expected_max_drawdown(0.0792, 0.04, horizon_days, phi) == pytest.approx(mean, abs=0.07 * mean + 4 * error)


@pytest.mark.parametrize(("phi", "factor"), [(0.3, 1.36), (0.6, 2.0), (-0.3, 0.73), (0.0, 1.0)])
def test_the_autocorrelation_factor(phi: float, factor: float) -> None:
    assert autocorrelation_factor(phi) == pytest.approx(factor, abs=0.005)
    # over a long horizon the drawdown grows by it
    alone, correlated = (expected_max_drawdown(0.0, 0.04, 365_000, p) for p in (0.0, phi))
    assert correlated / alone == pytest.approx(float(autocorrelation_factor(phi)), rel=0.005)


def test_without_volatility_only_the_trend_is_left() -> None:
    falls = expected_max_drawdown(np.array([0.1, 0.0, -0.1, -0.1]), np.array([0.0, 0.0, 0.0, 1e-200]), 73)
    np.testing.assert_allclose(falls, [0.0, 0.0, 0.02, 0.02])


def test_shapes_broadcast() -> None:
    falls = expected_max_drawdown(np.zeros((3, 1)), np.array([0.1, 0.2]), 30)
    assert falls.shape == (3, 2)
    assert falls[2, 1] == pytest.approx(2 * float(expected_max_drawdown(0.0, 0.1, 30)))
    assert drawdown_q(0.5)[0].shape == ()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((np.nan, 0.1, 30), "drift: received nan"),
        ((0.0, -0.1, 30), "volatility: received -0.1"),
        ((0.0, np.inf, 30), "volatility: received inf"),
        ((0.0, 0.1, 0), "horizon_days: received 0"),
        ((0.0, 0.1, 6), "sampling_days: received 1.0, .* simulate"),
        ((0.0, 0.1, 30, 0.0, -1.0), "sampling_days: received -1.0"),
        ((0.0, 0.1, 30, 1.0), "autocorrelation: received 1.0"),
        ((0.0, 0.1, 30, 0.9), "autocorrelation: received 0.9, allowed is at most 0.7 .* simulate"),
        ((0.0, 0.1, 30, 0.2, 0.0), "autocorrelation: received 0.2, allowed is 0 under"),
    ],
)
def test_bad_input_is_named(arguments: tuple[float, ...], named: str) -> None:
    with pytest.raises(RequestError, match=named):
        expected_max_drawdown(*arguments)


def test_other_bad_input_is_named() -> None:
    with pytest.raises(RequestError, match=r"x: received 0\.0"):
        drawdown_q(np.array([1.0, 0.0]))
    with pytest.raises(RequestError, match=r"phi: received -1\.0"):
        autocorrelation_factor(np.array([0.2, -1.0]))
