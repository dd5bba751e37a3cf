"""Alarms with hysteresis: raised after some days above a threshold, cleared only after more days well below it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

RAISED: Final = "raised"
CLEARED: Final = "cleared"


@dataclass(frozen=True)
class Hysteresis:
    """When an alarm comes and goes.

    Attributes
    ----------
    raise_days : int
        Days in a row with a severity of at least 1 that raise it.
    clear_days : int
        Days in a row below ``clear_below`` that clear it.
    clear_below : float
        Severity that counts as well again; between this and 1 an alarm stays as it is.
    """

    raise_days: int = 2
    clear_days: int = 7
    clear_below: float = 0.7


@dataclass(frozen=True)
class Reading:
    """How one thing stands on one day.

    Attributes
    ----------
    kind : str
        What is watched: ``coverage``, ``skill``, ``bias``, ``level``, ``volatility``, ``units``, ``frozen``,
        ``inputs`` or ``stale``.
    subject : str
        Of what: a category, or all data.
    severity : float
        1 is the threshold.
    reason : str
        For people, with figures.
    """

    kind: str
    subject: str
    severity: float
    reason: str

    @property
    def name(self) -> str:
        """Name of the alarm."""
        return f"{self.kind}:{self.subject}"


@dataclass(frozen=True)
class AlarmState:
    """Where an alarm stands.

    Attributes
    ----------
    name : str
        ``kind:subject``.
    active : bool
        Whether it is raised.
    since : str
        ISO date on which it was raised; empty while it is not.
    above, below : int
        Days in a row at or above the threshold, and well below it, counted as far as they matter.
    reason : str
        Of the newest reading that counted against it.
    severity : float
        Of the newest reading.
    """

    name: str
    active: bool = False
    since: str = ""
    above: int = 0
    below: int = 0
    reason: str = ""
    severity: float = 0.0


@dataclass(frozen=True)
class Event:
    """An alarm came or went."""

    day: str
    name: str
    kind: str
    reason: str


States = Mapping[str, AlarmState]


def advance(
    states: States, day: dt.date, readings: Sequence[Reading], rule: Hysteresis | None = None
) -> tuple[dict[str, AlarmState], list[Event]]:
    """Bring alarms one day forward.

    Parameters
    ----------
    states : mapping
        As they stood the day before, by name.
    day : datetime.date
        The day.
    readings : sequence of Reading
        What was seen. An alarm without a reading stays as it is: silence neither raises nor clears.
    rule : Hysteresis, optional
        When alarms come and go.

    Returns
    -------
    states : dict
        After the day.
    events : list of Event
        What was raised and cleared.
    """
    rule = rule or Hysteresis()
    after, events = dict(states), []
    for reading in readings:
        before = after.get(reading.name, AlarmState(reading.name))
        now = _moved(before, reading, rule)
        if now.active and not before.active:
            now = replace(now, since=day.isoformat())
            events.append(Event(day.isoformat(), now.name, RAISED, now.reason))
        if before.active and not now.active:
            events.append(Event(day.isoformat(), now.name, CLEARED, reading.reason))
            now = replace(now, since="")
        after[reading.name] = now
    return after, events


def _moved(state: AlarmState, reading: Reading, rule: Hysteresis) -> AlarmState:
    is_above, is_below = reading.severity >= 1.0, reading.severity < rule.clear_below
    above = min(state.above + 1, rule.raise_days) if is_above else 0
    below = min(state.below + 1, rule.clear_days) if is_below else 0
    active = state.active
    if not active and above >= rule.raise_days:
        active = True
    elif active and below >= rule.clear_days:
        active = False
    reason = reading.reason if is_above or not active else state.reason
    return replace(
        state, active=active, above=above, below=below, reason=reason, severity=round(float(reading.severity), 3)
    )


def states_to_plain(states: States) -> dict[str, dict[str, Any]]:
    """Return alarm states as plain values."""
    return {name: asdict(state) for name, state in sorted(states.items())}


def states_from_plain(content: Mapping[str, Mapping[str, Any]]) -> dict[str, AlarmState]:
    """Return alarm states from :func:`states_to_plain`."""
    return {name: AlarmState(**values) for name, values in content.items()}
