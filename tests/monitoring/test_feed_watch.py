from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from feeds_maker import TRAINED, feeds_of, raised, stationary

from aegis_yield.monitoring.feeds import ALL, FeedWatch
from aegis_yield.pipelines.datasets import simulated_dataset
from aegis_yield.preprocessing.panel import build_panel
from aegis_yield.simulation import MarketSpec

PLANTED = 620
"""Day on which a fault begins."""

Fault = Callable[[np.ndarray], None]


def lending(apy: np.ndarray) -> np.ndarray:
    return apy[::3]


def level(apy: np.ndarray) -> None:
    lending(apy)[:, PLANTED:] *= 2.5


def level_of_all(apy: np.ndarray) -> None:
    apy[:, PLANTED:] += 0.05


def variance(apy: np.ndarray) -> None:
    middle = apy[:, :TRAINED].mean(axis=1, keepdims=True)
    apy[:, PLANTED:] = (middle + np.sqrt(2.0) * (apy - middle))[:, PLANTED:]


def percent(apy: np.ndarray) -> None:
    lending(apy)[:, PLANTED:] *= 100.0


def percent_read_as_fraction_of_one(apy: np.ndarray) -> None:
    apy[4, PLANTED:] /= 100.0


def frozen(apy: np.ndarray) -> None:
    lending(apy)[:, PLANTED:] = lending(apy)[:, PLANTED - 1 : PLANTED]


def frozen_alone(apy: np.ndarray) -> None:
    apy[4, PLANTED:] = apy[4, PLANTED - 1]


def ended(apy: np.ndarray) -> None:
    lending(apy)[:, PLANTED:] = np.nan


CASES: dict[str, tuple[Fault, str]] = {
    "level": (level, "level:lending"),
    "level of all": (level_of_all, f"level:{ALL}"),
    "variance": (variance, f"volatility:{ALL}"),
    "percent": (percent, "units:lending"),
    "percent of one": (percent_read_as_fraction_of_one, "units:staking"),
    "frozen": (frozen, "frozen:lending"),
    "frozen alone": (frozen_alone, "frozen:staking"),
    "ended": (ended, "silent:lending"),
}


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_a_planted_fault_raises_its_alarm_within_a_fortnight(case: str, seed: int) -> None:
    plant, name = CASES[case]
    apy = stationary(seed, days=PLANTED + 15)
    plant(apy)
    alarms = raised(feeds_of(apy), PLANTED, PLANTED + 14)
    assert name in [alarm for _, alarm in alarms]


@pytest.mark.parametrize("case", ["percent", "percent of one", "frozen", "frozen alone", "ended"])
def test_a_broken_feed_raises_nothing_else(case: str) -> None:
    plant, name = CASES[case]
    apy = stationary(5, days=PLANTED + 15)
    plant(apy)
    assert [alarm for _, alarm in raised(feeds_of(apy), PLANTED, PLANTED + 14)] == [name]


def test_years_of_stationary_data_raise_at_most_one_false_alarm_each() -> None:
    alarms = [raised(feeds_of(stationary(seed)), TRAINED, TRAINED + 365) for seed in range(10, 22)]
    assert max(len(found) for found in alarms) <= 1
    assert sum(len(found) for found in alarms) <= 3


@pytest.mark.parametrize("seed", [7, 2, 5])
def test_a_year_of_the_simulated_market_raises_at_most_one_false_alarm(seed: int) -> None:
    panel = build_panel(simulated_dataset(MarketSpec(n_strategies=60, n_days=1165, seed=seed)))
    apy = panel.series["apy"]
    found = raised(feeds_of(apy, panel.categories, trained=800), 800, 1165)
    # Some of its feeds do stand still for weeks, as real ones do: those alarms are not false.
    assert len([name for _, name in found if not name.startswith("frozen")]) <= 1
    still = np.stack([np.diff(apy[:, day - 12 : day], axis=1) == 0 for day in range(812, 1165)])
    assert len([name for _, name in found if name.startswith("frozen")]) <= still.all(axis=2).any(axis=0).sum()


def test_a_single_wild_day_raises_nothing() -> None:
    apy = stationary(3, days=PLANTED + 15)
    apy[::3, PLANTED] *= 100.0
    assert raised(feeds_of(apy), PLANTED, PLANTED + 14) == []


def test_readings_look_at_no_later_day() -> None:
    apy = stationary(4, days=700)
    changed = apy.copy()
    changed[:, 650:] = np.random.default_rng(1).normal(size=changed[:, 650:].shape)
    before, after = FeedWatch(feeds_of(apy)), FeedWatch(feeds_of(changed))
    for column in (600, 640, 649):
        assert before.readings(column) == after.readings(column)
    assert before.readings(655) != after.readings(655)


def test_what_always_stood_still_is_not_frozen() -> None:
    apy = stationary(6)
    apy[1] = np.repeat(apy[1, ::30], 30)[: apy.shape[1]]
    assert [name for _, name in raised(feeds_of(apy), TRAINED, 900)] == []


def test_a_rate_of_nothing_is_no_frozen_feed() -> None:
    apy = stationary(6, days=700)
    apy[1, 600:] = 0.0
    assert "frozen:staking" not in [name for _, name in raised(feeds_of(apy), 600, 700)]


def test_without_enough_training_levels_and_volatility_are_not_judged() -> None:
    feeds = feeds_of(stationary(1, days=400), trained=100)
    kinds = {reading.kind for reading in FeedWatch(feeds).readings(399)}
    assert kinds == {"units", "frozen", "silent"}


def test_reasons_have_figures_and_names() -> None:
    apy = stationary(0, days=PLANTED + 15)
    percent(apy)
    readings = {reading.name: reading for reading in FeedWatch(feeds_of(apy)).readings(PLANTED + 2)}
    reason = readings["units:lending"].reason
    assert reason.startswith("lending: 8 of 8 strategies pay about 100 times as much or as little as before")
    assert "strategy 0, strategy 3, strategy 6 and 5 more" in reason
