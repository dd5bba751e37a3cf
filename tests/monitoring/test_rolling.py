from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from forecast_maker import ORIGIN, outcomes

from aegis_yield.monitoring.alarms import RAISED, Hysteresis, advance
from aegis_yield.monitoring.records import KeptForecast
from aegis_yield.monitoring.rolling import Outcomes, category_scores, effective_outcomes, score_readings


def day(n: int) -> dt.date:
    return ORIGIN + dt.timedelta(days=n)


def alarms(kept: list[KeptForecast], days: range) -> list[str]:
    known, states = Outcomes.of(kept), {}  # type: Outcomes, dict[str, AlarmState]
    found = []
    for n in days:
        states, events = advance(states, day(n), score_readings(known, day(n)), Hysteresis(raise_days=3))
        found += [event.name for event in events if event.kind == RAISED]
    return found


def test_scores_are_what_their_names_say() -> None:
    kept = outcomes(84)
    (score,) = (s for s in category_scores(Outcomes.of(kept), day(90), (60,)) if s.category == "lending")
    rows = [k for k in kept if k.made.category == "lending" and day(30) < k.made.due <= day(90)]
    actual = np.array([k.actual_apy for k in rows])
    low, high = (np.array([k.made.quantiles[n] for k in rows]) for n in (1, 7))
    assert score.n_outcomes == len(rows)
    assert score.coverage == pytest.approx(np.mean((low <= actual) & (actual <= high)))
    assert score.bias == pytest.approx(np.mean([k.made.apy for k in rows] - actual))
    assert score.median_width == pytest.approx(np.median(high - low))
    ratios = []
    for name in {k.made.strategy_id for k in rows}:
        own = [k for k in rows if k.made.strategy_id == name]
        error = np.mean([abs(k.made.apy - (k.actual_apy or 0)) for k in own])
        ratios.append(error / np.mean([abs(k.made.last_apy - (k.actual_apy or 0)) for k in own]))
    assert score.rel_mae == pytest.approx(np.exp(np.mean(np.log(ratios))))


def test_windows_are_days_on_which_outcomes_became_known() -> None:
    known = Outcomes.of(outcomes(120))
    sizes = {s.window_days: s.n_outcomes for s in category_scores(known, day(100)) if s.category == "staking"}
    assert sizes[30] == 5 * sum(70 < n + 7 <= 100 for n in range(0, 120, 7))
    assert sizes[60] == 5 * sum(40 < n + 7 <= 100 for n in range(0, 120, 7))


def test_of_repeated_forecasts_the_newest_counts() -> None:
    kept = outcomes(14, strategies=2)
    again = [replace(one, id=one.id + "x", made_at="2025-01-02", actual_apy=9.0) for one in kept]
    assert len(Outcomes.of([*again, *kept])) == len(kept)
    assert not Outcomes.of([*again, *kept]).inside.any()


def test_what_is_not_known_yet_is_left_out() -> None:
    kept = [replace(one, actual_apy=None) for one in outcomes(70)]
    assert len(Outcomes.of(kept)) == 0
    assert category_scores(Outcomes.of(kept), day(80)) == []
    assert score_readings(Outcomes.of([]), day(80)) == []


def test_intervals_too_narrow_raise_an_alarm_that_says_so() -> None:
    found = score_readings(Outcomes.of(outcomes(140, strategies=40, spread=2.0)), day(140))
    reading = next(one for one in found if one.name == "coverage:lending")
    assert reading.severity >= 1
    assert reading.reason.startswith("lending coverage ")
    assert reading.reason.endswith(" % over 60 days, nominal 90 %")
    assert "coverage:lending" in alarms(outcomes(140, strategies=40, spread=2.0), range(70, 140))


def test_a_bias_is_seen() -> None:
    assert "bias:lending" in alarms(outcomes(160, strategies=40, bias=0.02), range(70, 160))


def test_being_worse_than_the_last_value_is_seen() -> None:
    rng = np.random.default_rng(3)
    kept = [
        replace(one, made=replace(one.made, apy=one.made.apy + 0.04 * rng.standard_normal()))
        for one in outcomes(160, strategies=40)
    ]
    assert "skill:staking" in alarms(kept, range(70, 160))


@pytest.mark.parametrize("every", [1, 7])
def test_a_year_of_calibrated_forecasts_raises_at_most_one_alarm(every: int) -> None:
    for seed in range(3):
        assert len(alarms(outcomes(430, every=every, seed=seed), range(65, 430))) <= 1


def test_few_outcomes_raise_nothing() -> None:
    assert score_readings(Outcomes.of(outcomes(60, strategies=4, spread=9.0)), day(60)) == []


def test_overlapping_and_tied_outcomes_count_less() -> None:
    weekly, daily = (Outcomes.of(outcomes(56, every=every)) for every in (7, 1))
    assert effective_outcomes(daily) == pytest.approx(effective_outcomes(weekly), rel=0.2)
    assert effective_outcomes(weekly) < len(weekly)
    alone = Outcomes.of(outcomes(56, strategies=1))
    assert effective_outcomes(alone) == len(alone)
