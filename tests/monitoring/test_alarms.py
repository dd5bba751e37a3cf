from __future__ import annotations

import datetime as dt
import json

import pytest

from aegis_yield.monitoring.alarms import (
    CLEARED,
    RAISED,
    AlarmState,
    Event,
    Hysteresis,
    Reading,
    advance,
    states_from_plain,
    states_to_plain,
)

FIRST = dt.date(2025, 3, 1)
NAME = "coverage:lending"


def walked(severities: list[float | None], rule: Hysteresis | None = None) -> tuple[list[Event], dict[str, AlarmState]]:
    states: dict[str, AlarmState] = {}
    events: list[Event] = []
    for n, severity in enumerate(severities):
        readings = [] if severity is None else [Reading("coverage", "lending", severity, f"reading {n}")]
        states, more = advance(states, FIRST + dt.timedelta(days=n), readings, rule)
        events += more
    return events, states


def test_an_alarm_needs_days_in_a_row() -> None:
    assert walked([1.2, 0.9, 1.2, 0.9, 1.2])[0] == []
    events, states = walked([1.2, 1.0])
    assert events == [Event("2025-03-02", NAME, RAISED, "reading 1")]
    assert states[NAME].since == "2025-03-02"


def test_it_clears_only_after_a_week_well_below() -> None:
    events, states = walked([2.0, 2.0, *[0.5] * 6])
    assert states[NAME].active
    assert [event.kind for event in events] == [RAISED]
    events, states = walked([2.0, 2.0, *[0.5] * 7])
    assert [event.kind for event in events] == [RAISED, CLEARED]
    assert not states[NAME].active
    assert states[NAME].since == ""


def test_between_the_thresholds_nothing_changes() -> None:
    assert [event.kind for event in walked([2.0, 2.0, *[0.9] * 60])[0]] == [RAISED]
    assert walked([0.9] * 60)[0] == []


def test_flickering_about_the_threshold_is_one_alarm() -> None:
    events, _ = walked([1.1, 1.1, *[0.95, 1.05] * 50])
    assert len(events) == 1


def test_silence_neither_raises_nor_clears() -> None:
    assert walked([1.5, None, 1.5])[0] == [Event("2025-03-03", NAME, RAISED, "reading 2")]
    assert [event.kind for event in walked([1.5, 1.5, *[None] * 30])[0]] == [RAISED]


def test_the_reason_is_that_of_the_last_bad_day() -> None:
    _, states = walked([1.5, 1.6, 0.8])
    assert states[NAME].reason == "reading 1"
    assert states[NAME].severity == 0.8


@pytest.mark.parametrize("days", [1, 3])
def test_a_rule_of_its_own(days: int) -> None:
    events, _ = walked([1.0] * 5, Hysteresis(raise_days=days))
    assert events[0].day == (FIRST + dt.timedelta(days=days - 1)).isoformat()


def test_states_survive_json() -> None:
    _, states = walked([1.5, 1.6, 0.8])
    assert states_from_plain(json.loads(json.dumps(states_to_plain(states)))) == states
