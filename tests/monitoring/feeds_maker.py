"""Simulated rates that behave the same for years, faults planted in them, and the alarms that come of it."""

from __future__ import annotations

import datetime as dt

import numpy as np

from aegis_yield.monitoring.alarms import RAISED, advance
from aegis_yield.monitoring.feeds import Feeds, FeedWatch

TRAINED = 500
FIRST = dt.date(2024, 1, 1)


def stationary(seed: int, strategies: int = 24, days: int = 900) -> np.ndarray:
    """Rates with a common and an own part, both autocorrelated, about their own levels; shape (strategies, days)."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((strategies + 1, days))
    paths = np.zeros_like(noise)
    memory = np.full(strategies + 1, 0.9)
    memory[0] = 0.95
    for day in range(1, days):
        paths[:, day] = memory * paths[:, day - 1] + np.array([0.05, *[0.1] * strategies]) * noise[:, day]
    level = 0.05 * np.exp(rng.normal(0.0, 0.5, (strategies, 1)))
    return level * np.exp(paths[1:] + 0.5 * paths[0])


def feeds_of(apy: np.ndarray, category: np.ndarray | None = None, trained: int = TRAINED) -> Feeds:
    category = np.arange(len(apy)) % 3 if category is None else category
    return Feeds(apy, category, np.array([f"strategy {n}" for n in range(len(apy))]), trained)


def raised(feeds: Feeds, first: int, last: int) -> list[tuple[int, str]]:
    """Return which alarms are raised between two days, and how many days after the first."""
    watch, states = FeedWatch(feeds), {}  # type: FeedWatch, dict[str, AlarmState]
    found = []
    for column in range(first, last):
        states, events = advance(states, FIRST + dt.timedelta(days=column), watch.readings(column))
        found += [(column - first, event.name) for event in events if event.kind == RAISED]
    return found
