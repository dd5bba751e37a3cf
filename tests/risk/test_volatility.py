from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_yield.domain.errors import RequestError
from aegis_yield.domain.targets import realised_volatility
from aegis_yield.risk.volatility import (
    FAST_DECAY,
    SLOW_DECAY,
    ewma_variance,
    ewma_volatility,
    har_volatility,
    sd_of_mean,
    trailing_realised,
)


def bursts(n_series: int, n_days: int, seed: int, day_autocorrelation: float = 0.97) -> np.ndarray:
    """Changes whose log variance is an AR(1): what HAR is for."""
    rng = np.random.default_rng(seed)
    log_variance = np.zeros((n_series, n_days))
    for day in range(1, n_days):
        log_variance[:, day] = day_autocorrelation * log_variance[:, day - 1] + 0.4 * rng.standard_normal(n_series)
    return 0.01 * np.exp(log_variance / 2) * rng.standard_normal((n_series, n_days))


def naive_ewma(changes: np.ndarray, decay: float) -> list[float]:
    result, total, weight = [], 0.0, 0.0
    for change in changes:
        total, weight = decay * total, decay * weight
        if not math.isnan(change):
            total, weight = total + change**2, weight + 1.0
        result.append(total / weight if weight else math.nan)
    return result


@pytest.mark.parametrize("decay", [FAST_DECAY, SLOW_DECAY])
def test_ewma_follows_its_recursion_over_known_days(decay: float) -> None:
    changes = np.random.default_rng(1).normal(size=(3, 2, 80))
    changes[0, 0, :5] = np.nan
    changes[1, 1, 30:50] = np.nan
    changes[2, 0] = np.nan
    variance = ewma_variance(changes, decay)
    for i, j in np.ndindex(3, 2):
        np.testing.assert_allclose(variance[i, j], naive_ewma(changes[i, j], decay), rtol=1e-10)
    np.testing.assert_allclose(ewma_volatility(changes, decay), np.sqrt(365 * variance[..., -1]))


def test_ewma_of_even_changes_is_their_size() -> None:
    changes = np.array([0.01, -0.01] * 20)
    np.testing.assert_allclose(ewma_variance(changes), 1e-4)
    assert ewma_volatility(changes) == pytest.approx(0.01 * math.sqrt(365))


def test_realised_is_the_forecast_target_of_every_stretch() -> None:
    apy = np.random.default_rng(4).normal(0.05, 0.01, (2, 40))
    apy[1, 20] = np.nan
    trailing = trailing_realised(apy, 7)
    assert trailing.shape == (2, 33)
    for k in range(33):
        np.testing.assert_array_equal(trailing[:, k], realised_volatility(apy[:, k : k + 8]))
    assert np.isnan(trailing[1]).sum() == 8
    with pytest.raises(RequestError, match="horizon_days"):
        trailing_realised(apy, 40)


@pytest.mark.parametrize(("horizon_days", "n_days"), [(1, 40), (7, 5), (7, 36), (7, 65), (30, 88)])
def test_har_with_too_little_data_is_ewma(horizon_days: int, n_days: int) -> None:
    # 30 rows of a month behind and a horizon ahead need 59 + horizon days
    assert n_days < 59 + horizon_days
    changes = bursts(4, n_days, seed=2)
    np.testing.assert_array_equal(har_volatility(changes, horizon_days), ewma_volatility(changes))


def test_har_starts_to_speak_with_thirty_rows() -> None:
    changes = bursts(1, 66, seed=2)
    assert har_volatility(changes, 7) != ewma_volatility(changes)


def naive_har(square: np.ndarray, horizon_days: int, local: float) -> float:
    """One series, no gaps: rows by a loop, slopes by lstsq."""
    size = square.mean()
    v = square / size

    def row(day: int) -> list[float]:
        parts = (v[day], v[day - 6 : day + 1].mean(), v[day - 29 : day + 1].mean())
        return [1.0, *(math.log(part + 1e-4) for part in parts)]

    days = range(29, len(v) - horizon_days)
    outcome = np.array([math.log(v[day + 1 : day + 1 + horizon_days].mean() + 1e-4) for day in days])
    slopes = np.linalg.lstsq(np.array([row(day) for day in days]), outcome, rcond=None)[0]
    forecast = float(np.clip(np.dot(row(len(v) - 1), slopes), outcome.min(), outcome.max()))
    separate = len(outcome) / horizon_days
    share = separate / (separate + 30)
    mixed = share * forecast + (1 - share) * math.log(local / size + 1e-4)
    return math.sqrt(365 * max(math.exp(mixed) - 1e-4, 0.0) * size)


@pytest.mark.parametrize("horizon_days", [1, 7, 30])
def test_har_is_least_squares_on_day_week_and_month(horizon_days: int) -> None:
    changes = bursts(3, 400, seed=5)
    local = ewma_variance(changes)[:, -1]
    expected = [naive_har(row**2, horizon_days, v) for row, v in zip(changes, local, strict=True)]
    np.testing.assert_allclose(har_volatility(changes, horizon_days), expected, rtol=1e-7)


def test_har_is_nearer_to_what_comes_than_ewma_where_bursts_pass() -> None:
    changes = bursts(300, 760, seed=6, day_autocorrelation=0.9)
    known, coming = changes[:, :730], changes[:, 730:]
    outcome = np.sqrt(365 * np.mean(coming**2, axis=1))
    error = {
        name: np.abs(np.log(forecast / outcome)).mean()
        for name, forecast in [("har", har_volatility(known, 30)), ("ewma", ewma_volatility(known))]
    }
    assert error["har"] < 0.95 * error["ewma"]


def test_har_knows_no_scale() -> None:
    changes = bursts(5, 300, seed=7)
    np.testing.assert_allclose(har_volatility(1e-6 * changes, 7), 1e-6 * har_volatility(changes, 7), rtol=1e-9)


def test_har_bears_gaps_and_silence() -> None:
    changes = bursts(6, 300, seed=9)
    whole = har_volatility(changes, 7)
    changes[0, 100:110] = np.nan
    changes[1, -3:] = np.nan
    changes[2, -60:] = np.nan  # no month to forecast from
    changes[3] = 0.0
    changes[4] = np.nan
    holed = har_volatility(changes, 7)
    assert np.isfinite(holed[[0, 1]]).all()
    assert holed[0] == pytest.approx(whole[0], rel=0.2)
    assert holed[2] == ewma_volatility(changes[2])
    assert holed[3] == 0.0
    assert np.isnan(holed[4])
    assert holed[5] == whole[5]  # a series knows nothing of the others


def test_har_keeps_leading_axes() -> None:
    changes = bursts(6, 200, seed=10)
    shaped = har_volatility(changes.reshape(2, 3, 200), 7)
    np.testing.assert_array_equal(shaped, har_volatility(changes, 7).reshape(2, 3))
    assert har_volatility(changes[0], 7) == pytest.approx(shaped[0, 0])


@pytest.mark.parametrize(
    ("sd", "phi", "horizon_days", "expected"),
    [
        (0.05, 0.97, 30, 0.0434),
        (0.05, 0.0, 30, 0.0091),
        (0.05, 1.0, 30, 0.05),
        (0.05, -1.0, 2, 0.0),
        (0.05, 0.4, 1, 0.05),
    ],
)
def test_sd_of_a_mean_has_its_closed_form(sd: float, phi: float, horizon_days: int, expected: float) -> None:
    assert sd_of_mean(sd, phi, horizon_days) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("phi", "ratio"), [(0.9, 3.6), (0.97, 4.8), (0.99, 5.2)])
def test_root_of_time_understates_a_rate_that_persists(phi: float, ratio: float) -> None:
    assert sd_of_mean(1.0, phi, 30) * math.sqrt(30) == pytest.approx(ratio, abs=0.05)


@given(st.floats(0, 10), st.floats(-1, 1), st.integers(1, 60))
def test_sd_of_a_mean_is_that_of_the_covariance_matrix(sd: float, phi: float, horizon_days: int) -> None:
    days = np.arange(horizon_days)
    covariance = sd**2 * np.power(phi, np.abs(days[:, None] - days[None, :]))
    expected = max(float(covariance.mean()), 0.0)
    assert sd_of_mean(sd, phi, horizon_days) ** 2 == pytest.approx(expected, abs=1e-12, rel=1e-9)


def test_sd_of_a_mean_agrees_with_simulation() -> None:
    rng = np.random.default_rng(11)
    rate = rng.standard_normal(40_000)
    total = rate.copy()
    for _ in range(29):
        rate = 0.9 * rate + math.sqrt(1 - 0.9**2) * rng.standard_normal(len(rate))
        total += rate
    assert sd_of_mean(1.0, 0.9, 30) == pytest.approx((total / 30).std(), rel=0.015)


def test_sd_of_a_mean_broadcasts() -> None:
    result = sd_of_mean(np.array([[0.01], [0.05]]), np.array([0.0, 0.5, 0.97]), 7)
    assert result.shape == (2, 3)
    np.testing.assert_allclose(result[1], 5 * result[0])
    assert np.isnan(sd_of_mean(np.array([np.nan, 1.0]), 0.5, 7)).tolist() == [True, False]


def test_bad_input_is_named() -> None:
    changes = np.zeros(50)
    for decay in (0.0, 1.0, np.nan):
        with pytest.raises(RequestError, match="decay"):
            ewma_volatility(changes, decay)
    for call, named in [
        (lambda: har_volatility(changes, 0), "horizon_days"),
        (lambda: har_volatility(changes[:0], 7), "changes: received"),
        (lambda: ewma_volatility(np.zeros((3, 0))), "changes: received"),
        (lambda: sd_of_mean(0.1, 0.5, 0), "horizon_days"),
        (lambda: sd_of_mean(-0.1, 0.5, 7), "sd: received -0.1"),
        (lambda: sd_of_mean(0.1, np.array([0.5, -1.2]), 7), "autocorrelation: received -1.2"),
    ]:
        with pytest.raises(RequestError, match=named):
            call()
