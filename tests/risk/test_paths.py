"""Paths of NAV: against a loop day by day, and laws that hold whatever the history."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_yield.domain.targets import realised_apy
from aegis_yield.risk.paths import History, PathPlan, lowest_apy, nav_paths, price_returns

ORIGIN = dt.date(2025, 6, 30)


def plan_of(seed: int, s: int = 40, h: int = 30, n: int = 5, floor: float = -0.999999) -> tuple[PathPlan, History]:
    rng = np.random.default_rng(seed)
    history = History(rng.normal(0, 0.01, (100, n)), rng.normal(0, 0.05, (100, n)))
    plan = PathPlan(
        apy=rng.normal(0.05, 0.05, (s, n)) if floor < 0 else rng.exponential(0.05, (s, n)),
        loss=rng.random((s, n)),
        event_day=rng.integers(0, h + 1, s),
        rows=rng.integers(0, 100, (s, h)),
        floor=np.full(n, floor),
    )
    return plan, history


def loop(plan: PathPlan, history: History, scenario: int, strategy: int) -> list[float]:
    """One path, one day after the other, in double precision."""
    rows, h = plan.rows[scenario], plan.rows.shape[1]
    level = np.cumsum(history.rate_moves[rows, strategy])
    target, least = np.log1p(plan.apy[scenario, strategy]), np.log1p(plan.floor[strategy])
    shape = level - level.mean()
    if shape.min() < 0:
        shape = shape * min(1.0, max(target - least, 0.0) / -shape.min())
    nav = [1.0]
    for day in range(1, h + 1):
        nav.append(nav[-1] * np.exp((target + shape[day - 1]) / 365 + history.price_moves[rows[day - 1], strategy]))
        if plan.event_day[scenario] == day:
            nav[-1] *= 1 - plan.loss[scenario, strategy]
    return nav


@pytest.mark.parametrize("floor", [-0.999999, 0.0])
def test_paths_are_those_of_the_loop(floor: float) -> None:
    plan, history = plan_of(1, floor=floor)
    nav = nav_paths(plan, history)
    assert nav.dtype == np.float32
    assert nav.shape == (40, 31, 5)
    for scenario in range(0, 40, 3):
        for strategy in range(5):
            np.testing.assert_allclose(nav[scenario, :, strategy], loop(plan, history, scenario, strategy), atol=5e-6)


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 70))
@settings(max_examples=40, deadline=None)
def test_the_last_day_is_the_outcome_of_the_scenario(seed: int, horizon: int, n_scenarios: int) -> None:
    plan, history = plan_of(seed, s=n_scenarios, h=horizon)
    lost = np.where(plan.event_day[:, None] > 0, plan.loss, 0.0)
    expected = (1 + plan.apy) ** (horizon / 365) * (1 + price_returns(plan.rows, history)) * (1 - lost)
    np.testing.assert_allclose(nav_paths(plan, history)[:, -1], expected, atol=5e-6)


def test_the_days_of_a_path_compound_to_the_apy() -> None:
    plan, history = plan_of(2)
    nav = nav_paths(plan, History(np.zeros_like(history.price_moves), history.rate_moves)).astype(float)
    calm = plan.event_day == 0
    daily = (nav[calm, 1:] / nav[calm, :-1]) ** 365 - 1
    for strategy in range(5):
        np.testing.assert_allclose(realised_apy(daily[:, :, strategy]), plan.apy[calm, strategy], atol=2e-4)
    assert daily.std(axis=1).min() > 0.01  # and they differ from day to day


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_where_depositors_never_pay_nav_never_falls(seed: int) -> None:
    plan, history = plan_of(seed, floor=0.0)
    calm = PathPlan(plan.apy, plan.loss, np.zeros(40, dtype=int), plan.rows, plan.floor)
    nav = nav_paths(calm, History(np.zeros_like(history.price_moves), history.rate_moves))
    assert (np.diff(nav, axis=1) >= 0).all()


def test_without_history_growth_is_even_and_a_loss_falls_on_its_day() -> None:
    plan = PathPlan(
        np.array([[0.1], [0.1]]), np.array([[0.4], [0.4]]), np.array([0, 3]), np.zeros((2, 5), int), np.zeros(1)
    )
    nav = nav_paths(plan, History.flat(1))[:, :, 0]
    even = 1.1 ** (np.arange(6) / 365)
    np.testing.assert_allclose(nav[0], even, atol=2e-7)
    np.testing.assert_allclose(nav[1], even * [1, 1, 1, 0.6, 0.6, 0.6], atol=2e-7)


def test_a_total_loss_stays_one() -> None:
    plan = PathPlan(np.array([[0.1]]), np.array([[1.0]]), np.array([1]), np.zeros((1, 4), int), np.zeros(1))
    np.testing.assert_array_equal(nav_paths(plan, History.flat(1))[0, :, 0], [1, 0, 0, 0, 0])


def test_permuting_strategies_permutes_paths() -> None:
    plan, history = plan_of(3)
    order = [3, 1, 4, 0, 2]
    moved = PathPlan(plan.apy[:, order], plan.loss[:, order], plan.event_day, plan.rows, plan.floor[order])
    nav = nav_paths(moved, History(history.price_moves[:, order], history.rate_moves[:, order]))
    np.testing.assert_array_equal(nav, nav_paths(plan, history)[:, :, order])


def yields_of(columns: dict[str, dict[int, tuple[float, float | None]]]) -> pl.DataFrame:
    """Rows by strategy and number of days before the origin: apy and price."""
    rows = [
        (strategy, ORIGIN - dt.timedelta(days=back), apy, price)
        for strategy, days in columns.items()
        for back, (apy, price) in days.items()
    ]
    schema = {"strategy_id": pl.String, "date": pl.Date, "apy": pl.Float64, "price": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def random_days(seed: int, n_days: int) -> dict[int, tuple[float, float | None]]:
    rng = np.random.default_rng(seed)
    return {back: (float(rng.exponential(0.05)), float(rng.uniform(0.98, 1.02))) for back in range(n_days)}


def test_history_reads_moves_and_centres_prices() -> None:
    days = random_days(1, 101)
    history = History.of(yields_of({"a": days}), ["a", "absent"], ORIGIN, n_days=100)
    rate = [np.log1p(days[back][0]) - np.log1p(days[back + 1][0]) for back in range(99, -1, -1)]
    price = np.array([np.log(days[back][1] / days[back + 1][1]) for back in range(99, -1, -1)])
    np.testing.assert_allclose(history.rate_moves[:, 0], rate, atol=1e-12)
    np.testing.assert_allclose(history.price_moves[:, 0], price - price.mean(), atol=1e-12)
    assert not history.rate_moves[:, 1].any()
    assert not history.price_moves[:, 1].any()


def test_history_never_looks_past_its_origin() -> None:
    days = random_days(2, 200)
    table = yields_of({"a": days})
    later = table.with_columns(
        pl.when(pl.col("date") > dt.date(2025, 5, 1)).then(9.0).otherwise(pl.col("apy")).alias("apy")
    )
    origin = dt.date(2025, 5, 1)
    for left, right in zip(
        vars(History.of(table, ["a"], origin, 90)).values(),
        vars(History.of(later, ["a"], origin, 90)).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(left, right)


def test_a_move_across_a_gap_falls_on_the_first_day_after_it() -> None:
    days = random_days(3, 61)
    del days[30], days[31]
    history = History.of(yields_of({"a": days}), ["a"], ORIGIN, n_days=60)
    moves = history.rate_moves[::-1, 0]  # position k: the move of k days before the origin
    assert moves[29] == pytest.approx(np.log1p(days[29][0]) - np.log1p(days[32][0]))
    assert moves[30] == moves[31] == 0.0


def test_a_short_history_is_repeated_and_a_tiny_one_ignored() -> None:
    history = History.of(yields_of({"a": random_days(4, 46), "b": random_days(5, 20)}), ["a", "b"], ORIGIN, n_days=100)
    assert history.rate_moves.shape == (100, 2)
    own = history.rate_moves[-45:, 0]
    np.testing.assert_array_equal(history.rate_moves[-90:-45, 0], own)
    np.testing.assert_array_equal(history.rate_moves[:10, 0], own[-10:])
    assert not history.rate_moves[:, 1].any()


def test_a_table_without_prices_has_prices_that_stand_still() -> None:
    table = yields_of({"a": random_days(6, 60)})
    for one in (table.drop("price"), table.with_columns(pl.lit(None, dtype=pl.Float64).alias("price"))):
        history = History.of(one, ["a"], ORIGIN)
        assert not history.price_moves.any()
        assert history.rate_moves.any()


def test_floors() -> None:
    np.testing.assert_allclose(lowest_apy([True, False]), [0.0, -0.999999])
