"""Scenarios: exact probabilities, marginals that are the forecasts', closed forms of tail risk."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aegis_yield.domain.categories import CATEGORY_CODE
from aegis_yield.domain.errors import RequestError
from aegis_yield.domain.forecast import QUANTILE_LEVELS, ForecastKeys, Forecasts
from aegis_yield.risk.events import EventTable
from aegis_yield.risk.paths import History
from aegis_yield.risk.scenarios import Draw, JointForecast, build
from aegis_yield.risk.scenarios_value import Scenarios

N = 8
NAMES = tuple(f"strategy-{i}" for i in range(N))


def forecast_of(seed: int = 0, n: int = N, horizon: int = 7) -> JointForecast:
    rng = np.random.default_rng(seed)
    quantiles = rng.uniform(0, 0.1, n)[:, None] + rng.uniform(0.001, 0.05, n)[:, None] * stats.norm.ppf(QUANTILE_LEVELS)
    factors = rng.normal(size=(n, 3))
    covariance = factors @ factors.T + np.eye(n)
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    return JointForecast(NAMES[:n], horizon, QUANTILE_LEVELS, quantiles, correlation, np.full(n, -0.9))


def history_of(seed: int = 1, n: int = N) -> History:
    rng = np.random.default_rng(seed)
    price = rng.normal(0, 0.005, (200, n))
    return History(price - price.mean(axis=0), rng.normal(0, 0.01, (200, n)))


def events_of(probability: list[float], loss: list[list[float]], names: tuple[str, ...] = NAMES) -> EventTable:
    labels = tuple(f"event {i}" for i in range(len(probability)))
    return EventTable(names, labels, np.array(probability), np.array(loss))


def tail_mean(losses: np.ndarray, probability: np.ndarray, level: float) -> float:
    """CVaR from the definition: the mean of the worst ``1 - level``, splitting the atom at the edge."""
    order = np.argsort(-losses)
    taken = np.minimum(np.cumsum(probability[order]), 1 - level)
    return float(np.dot(np.diff(taken, prepend=0.0), losses[order]) / (1 - level))


def test_every_column_has_the_quantiles_and_the_mean_of_its_forecast() -> None:
    forecast = forecast_of()
    apy = build(forecast, draw=Draw(1_000)).scenarios.apy
    found = np.quantile(apy, QUANTILE_LEVELS, axis=0, method="hazen").T
    np.testing.assert_allclose(found, forecast.quantiles, atol=1e-4)
    np.testing.assert_allclose(apy.mean(axis=0), forecast.mean_apy(), atol=1e-5)


def test_errors_move_together_as_asked() -> None:
    forecast = forecast_of()
    apy = build(forecast, draw=Draw(2_000)).scenarios.apy
    spearman = np.corrcoef(np.argsort(np.argsort(apy, axis=0), axis=0), rowvar=False)
    np.testing.assert_allclose(spearman, 6 / np.pi * np.arcsin(forecast.correlation / 2), atol=0.05)


def test_no_tail_goes_below_the_floor() -> None:
    forecast = dataclasses.replace(forecast_of(), floor=np.zeros(N))
    apy = build(forecast).scenarios.apy
    assert apy.min() == 0.0
    assert build(dataclasses.replace(forecast, floor=np.full(N, -np.inf))).scenarios.apy.min() > -1


@given(
    st.lists(st.floats(1e-9, 0.05), min_size=0, max_size=8),
    st.integers(1, 60),
    st.integers(1, 9),
    st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_probabilities_are_exact(chances: list[float], n_scenarios: int, draws: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    events = events_of(chances, rng.random((len(chances), N)).tolist())
    if not chances:
        events = EventTable(NAMES, (), np.empty(0), np.empty((0, N)))
    found = build(forecast_of(seed), history_of(), events, Draw(n_scenarios, seed, draws)).scenarios
    labels = np.array(found.label)
    for name, chance in zip(events.names, chances, strict=True):
        assert found.probability[labels == name].sum() == pytest.approx(chance, abs=1e-12)
    assert found.probability[labels == ""].sum() == pytest.approx(1 - sum(chances), abs=1e-12)
    assert found.probability.sum() == pytest.approx(1, abs=1e-12)
    assert ((found.loss >= 0) & (found.loss <= 1)).all()
    np.testing.assert_allclose(found.probability @ found.loss, np.array(chances) @ events.loss, atol=1e-12)
    assert not found.loss[labels == ""].any()


@pytest.mark.parametrize(("per_year", "loss"), [(0.02, 0.5), (0.05, 0.3), (0.4, 0.8)])
def test_tail_risk_of_a_single_hazard_is_the_closed_form(per_year: float, loss: float) -> None:
    chance = -np.expm1(-per_year)
    nothing = JointForecast(("x",), 7, (0.1, 0.5, 0.9), np.zeros((1, 3)), np.eye(1), np.zeros(1))
    found = build(nothing, events=events_of([chance], [[loss]], ("x",))).scenarios
    losses = -found.principal_returns()[:, 0]
    # Bernoulli: p L / (1 - level) while p is below 1 - level, else L; probability of a significant loss: p.
    for level in (0.90, 0.95, 0.99):
        assert tail_mean(losses, found.probability, level) == pytest.approx(
            min(chance / (1 - level), 1) * loss, abs=1e-12
        )
    assert found.probability[losses > 0.01].sum() == pytest.approx(chance, abs=1e-12)
    np.testing.assert_allclose(found.returns()[:, 0], -losses, atol=1e-12)


def test_published_example_of_value_at_risk_that_sees_nothing() -> None:
    # A hazard of 2 % and a loss of 50 %: mean 1 %, VaR95 0, CVaR95 20 %, CVaR99 50 %.
    nothing = JointForecast(("x",), 7, (0.1, 0.5, 0.9), np.zeros((1, 3)), np.eye(1), np.zeros(1))
    found = build(nothing, events=events_of([0.02], [[0.5]], ("x",))).scenarios
    tails = [tail_mean(found.loss[:, 0], found.probability, level) for level in (0.0, 0.95, 0.99)]
    assert tails == pytest.approx([0.01, 0.20, 0.50], abs=1e-12)


def test_an_event_crosses_good_and_bad_futures() -> None:
    events = events_of([0.01, 0.02], [[0.3] * N, [0.1] * N])
    simulation = build(forecast_of(), history_of(), events, Draw(1_000, draws_per_event=5))
    found = simulation.scenarios
    calm = np.array(found.label) == ""
    mean = found.apy.mean(axis=1) * 7 / 365 + np.log1p(found.price_return).mean(axis=1)
    quintiles = np.quantile(mean[calm], [0.2, 0.4, 0.6, 0.8])
    for name in events.names:
        strata = np.searchsorted(quintiles, mean[np.array(found.label) == name])
        assert sorted(strata) == [0, 1, 2, 3, 4]
    # Each crossed future is one of the ordinary ones, and its loss falls on some day of the horizon.
    assert {row.tobytes() for row in found.apy[~calm]} <= {row.tobytes() for row in found.apy[calm]}
    assert (simulation.plan.event_day[calm] == 0).all()
    assert ((simulation.plan.event_day[~calm] >= 1) & (simulation.plan.event_day[~calm] <= 7)).all()


def test_days_of_events_are_spread_evenly() -> None:
    events = events_of([1e-5] * 2_000, [[0.1] * N] * 2_000)
    days = build(forecast_of(horizon=10), events=events, draw=Draw(100)).plan.event_day
    shares = np.bincount(days[days > 0], minlength=11)[1:] / (5 * 2_000)
    np.testing.assert_allclose(shares, 0.1, atol=0.01)


def test_paths_end_where_scenarios_do() -> None:
    events = events_of([0.01], [[0.3, 1.0, *[0.0] * (N - 2)]])
    simulation = build(forecast_of(), history_of(), events, Draw(300))
    nav = simulation.nav()
    assert nav.shape == (305, 8, N)
    np.testing.assert_array_equal(nav[:, 0], 1.0)
    np.testing.assert_allclose(nav[:, -1], 1 + simulation.scenarios.returns(), atol=5e-6)
    assert simulation.scenarios.price_return.std() > 0.005


def test_prices_move_together_as_they_did() -> None:
    rng = np.random.default_rng(8)
    common = rng.normal(0, 0.01, (300, 1))
    price = np.concatenate([common, common, -common, rng.normal(0, 0.01, (300, N - 3))], axis=1)
    history = History(price - price.mean(axis=0), np.zeros((300, N)))
    moved = np.log1p(build(forecast_of(), history, draw=Draw(4_000, block_days=1.0)).scenarios.price_return)
    np.testing.assert_allclose(moved[:, 0], moved[:, 1], atol=1e-12)
    np.testing.assert_allclose(moved[:, 0], -moved[:, 2], atol=1e-12)
    # Independent days: variance of 7 of them, and no drift.
    np.testing.assert_allclose(moved.std(axis=0), np.sqrt(7) * history.price_moves.std(axis=0), rtol=0.05)
    assert np.abs(moved.mean(axis=0)).max() < 0.0015


@given(st.permutations(range(N)), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_permuting_strategies_permutes_columns(order: list[int], seed: int) -> None:
    forecast, history = forecast_of(seed), history_of()
    loss = np.random.default_rng(seed).random((3, N))
    names = tuple(NAMES[i] for i in order)
    plain = build(forecast, history, events_of([0.01] * 3, loss.tolist()), Draw(50, seed))
    moved = build(
        forecast.ordered(np.array(order)),
        History(history.price_moves[:, order], history.rate_moves[:, order]),
        events_of([0.01] * 3, loss[:, order].tolist(), names),
        Draw(50, seed),
    )
    assert moved.scenarios.strategy_ids == names
    for name in ("apy", "price_return", "loss"):
        np.testing.assert_allclose(
            getattr(moved.scenarios, name), getattr(plain.scenarios, name)[:, order], rtol=0, atol=1e-14
        )
    np.testing.assert_array_equal(moved.plan.event_day, plain.plan.event_day)
    np.testing.assert_allclose(moved.nav(), plain.nav()[:, :, order], atol=1e-6)


def test_a_seed_decides_everything() -> None:
    events = events_of([0.01], [[0.3] * N])
    first, again, other = (build(forecast_of(), history_of(), events, Draw(100, seed)) for seed in (5, 5, 6))
    for field in dataclasses.fields(Scenarios):
        np.testing.assert_array_equal(getattr(first.scenarios, field.name), getattr(again.scenarios, field.name))
    np.testing.assert_array_equal(first.nav(), again.nav())
    assert (first.scenarios.apy != other.scenarios.apy).any()
    np.testing.assert_allclose(first.scenarios.apy[:100].mean(axis=0), other.scenarios.apy[:100].mean(axis=0))


def test_forecasts_become_joint_ones() -> None:
    codes = np.array([CATEGORY_CODE["lending"], CATEGORY_CODE["delta_neutral"]])
    keys = ForecastKeys(np.array(["a", "b"], dtype=object), np.array(["2025-01-01"] * 2, "datetime64[D]"), codes)
    quantiles = np.tile(np.linspace(-0.1, 0.2, 9), (2, 1))
    forecast = JointForecast.of(Forecasts(keys, 7, QUANTILE_LEVELS, np.zeros(2), np.zeros(2), quantiles))
    apy = build(forecast).scenarios.apy
    assert forecast.strategy_ids == ("a", "b")
    assert apy[:, 0].min() == 0.0  # a lender is never charged
    assert apy[:, 1].min() < -0.1
    assert abs(np.corrcoef(apy, rowvar=False)[0, 1]) < 0.1


def test_a_single_scenario_is_the_median() -> None:
    found = build(forecast_of(), draw=Draw(1)).scenarios
    np.testing.assert_allclose(found.apy[0], forecast_of().quantiles[:, 4])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"correlation": np.full((N, N), -0.5) + 1.5 * np.eye(N)}, r"smallest eigenvalue -2\.5"),
        ({"quantiles": np.full((N, 9), np.nan)}, "quantiles.*strategy-0"),
        ({"quantiles": np.tile(np.arange(9.0)[::-1], (N, 1))}, "never fall"),
        ({"quantiles": np.zeros((N, 3))}, "shapes"),
        ({"strategy_ids": ("a",) * N}, "each named once"),
    ],
)
def test_bad_forecasts_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        build(dataclasses.replace(forecast_of(), **change))  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RequestError, match="history"):
        build(forecast_of(), history_of(n=3))
    with pytest.raises(RequestError, match="events"):
        build(forecast_of(), events=events_of([0.1], [[0.1] * N], NAMES[::-1]))
    with pytest.raises(RequestError, match="n_scenarios"):
        Draw(0)
    with pytest.raises(RequestError, match="draws_per_event"):
        Draw(draws_per_event=0)
