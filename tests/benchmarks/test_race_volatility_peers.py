"""HAR and GARCH against loops, closed forms and series whose volatility is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.race.volatility import (
    HAR_DAYS,
    MAX_POOLED_ROWS,
    Garch,
    Histories,
    fit_garch,
    har_design,
    mean_square,
    pooled_har,
)


def known(*changes: np.ndarray, category: int = 0) -> Histories:
    return Histories([f"s{n}" for n in range(len(changes))], np.full(len(changes), category), list(changes))


@pytest.mark.parametrize("horizon", [1, 7, 30])
def test_har_reads_means_of_the_last_day_week_and_month(horizon: int) -> None:
    squares = np.random.default_rng(0).exponential(size=100)
    design = har_design(squares, horizon)
    assert design is not None
    unit = squares / squares.mean()
    for row, end in enumerate(range(28, 100 - horizon + 1)):
        wanted = [1.0, *(unit[end - days : end].mean() for days in HAR_DAYS)]
        assert design.x[row] == pytest.approx(wanted)
        assert design.y[row] == pytest.approx(unit[end : end + horizon].mean())
    assert len(design.y) == 100 - 28 - horizon + 1
    assert design.x[-1, 1:] == pytest.approx([unit[-days:].mean() for days in HAR_DAYS])


def test_har_learns_only_from_days_that_are_over() -> None:
    """The last row that teaches ends its horizon with the last known day."""
    squares = np.ones(60)
    squares[-1] = 60.0
    design = har_design(squares, 7)
    assert design is not None
    moved = design.y > 2.0 * design.y.min()
    assert np.flatnonzero(moved).tolist() == [len(design.y) - 1]


def test_har_takes_about_as_many_rows_from_old_strategies_as_from_young_ones() -> None:
    design = har_design(np.random.default_rng(1).exponential(size=2_000), 7)
    assert design is not None
    assert MAX_POOLED_ROWS <= len(design.y) < 2 * MAX_POOLED_ROWS


def test_har_has_nothing_to_say_of_the_motionless_and_the_young() -> None:
    assert har_design(np.zeros(100), 7) is None
    assert har_design(np.ones(34), 7) is None
    old = np.random.default_rng(2).normal(size=300)
    found = pooled_har(known(old, np.zeros(300), old[:20]), 7, logarithms=False)
    assert np.isfinite(found).tolist() == [True, False, False]


def test_har_finds_a_constant_variance_of_each_strategy() -> None:
    rng = np.random.default_rng(3)
    series = [sigma * rng.normal(size=500) for sigma in (1e-4, 1e-2, 1.0) * 6]
    found = pooled_har(known(*series), 7, logarithms=False)
    truth = np.array([1e-8, 1e-4, 1.0] * 6)
    assert np.log(found / truth) == pytest.approx(np.zeros(18), abs=0.4)


@pytest.mark.parametrize("logarithms", [False, True])
def test_har_knows_calm_from_storm(logarithms: bool) -> None:
    rng = np.random.default_rng(4)

    def series() -> np.ndarray:
        regime = np.repeat(rng.permutation([0.2, 2.0] * 8), 40)
        return rng.normal(size=len(regime)) * regime

    past = [series() for _ in range(10)]
    calm, storm = past[0].copy(), past[0].copy()
    calm[-28:], storm[-28:] = 0.2 * rng.normal(size=28), 2.0 * rng.normal(size=28)
    found = pooled_har(known(*past, calm, storm), 7, logarithms)
    assert found[-1] > 5.0 * found[-2]


def test_categories_do_not_teach_each_other() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(3, 300)), rng.standard_t(3, size=(3, 300))
    both = Histories([f"s{n}" for n in range(6)], np.array([0, 0, 0, 1, 1, 1]), [*first, *second])
    alone = pooled_har(known(*first), 7, logarithms=False)
    assert pooled_har(both, 7, logarithms=False)[:3] == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("horizon", [1, 2, 30])
def test_garch_is_its_recursion(horizon: int) -> None:
    changes = np.random.default_rng(6).normal(size=200)
    omega, alpha, beta = 0.05, 0.1, 0.85
    variance = float(np.mean(changes**2))
    for change in changes:
        variance = omega + alpha * change**2 + beta * variance
    path = [variance]
    for _ in range(horizon - 1):
        path.append(omega + (alpha + beta) * path[-1])
    assert mean_square(changes, np.array([omega, alpha, beta]), horizon) == pytest.approx(np.mean(path), rel=1e-10)


def test_garch_finds_the_parameters_of_a_garch() -> None:
    pytest.importorskip("arch")
    rng = np.random.default_rng(7)
    variance, changes = 1.0, np.empty(6_000)
    for at in range(len(changes)):
        changes[at] = np.sqrt(variance) * rng.normal()
        variance = 0.05 + 0.10 * changes[at] ** 2 + 0.85 * variance
    assert fit_garch(changes) == pytest.approx([0.05, 0.10, 0.85], abs=0.04)


def test_garch_is_fitted_anew_every_fourth_origin_and_scales_with_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []

    def fit(changes: np.ndarray) -> np.ndarray:
        fits.append(len(changes))
        return np.array([0.1, 0.1, 0.8])

    monkeypatch.setattr("benchmarks.race.volatility.fit_garch", fit)
    changes = np.random.default_rng(8).normal(size=200)
    garch, large = Garch(), Garch()
    for origin in range(9):
        for horizon in (1, 7):
            own = garch(known(changes[: 100 + origin]), horizon)
            assert large(known(1e3 * changes[: 100 + origin]), horizon) == pytest.approx(1e6 * own)
    assert fits == [100, 100, 104, 104, 108, 108]


def test_garch_leaves_the_motionless_and_the_young_to_others() -> None:
    found = Garch()(known(np.zeros(200), np.ones(20)), 7)
    assert np.isnan(found).all()
