"""When a strategy is there to be seen: births, deaths after a decline, gaps, stale reports and glitches."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aegis_yield.simulation.paths import LendingBook, Paths
from aegis_yield.simulation.processes import held_days, log_uniform
from aegis_yield.simulation.streams import Streams
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

_ALIVE_FROM_START = 0.35
_DEATH_CHANCE = 0.20
_MIN_LIFE_DAYS = 60
_DECLINE_DAYS = 45.0
_DECLINE_LOGS = 2.5
_SHORT_GAP_CHANCE, _LONG_GAP_CHANCE = 0.005, 0.00025
_STALE_SHARE = 0.12
_GLITCH_PRONE, _GLITCH_CHANCE = 0.30, 0.0018
_WITHOUT_TVL = 0.10


@dataclass(frozen=True)
class Lifecycle:
    """What can be seen of a block of strategies, each array of shape (n_strategies, n_days) but one.

    Attributes
    ----------
    present : ndarray of bool
        Days with a row in the table.
    shown_day : ndarray of int
        Day whose values the source shows; earlier than the row's own day while it is stale.
    decline : ndarray
        Factor on the capital in the weeks before a death, 1.0 before that.
    glitch : ndarray
        Factor that a faulty report puts on the apy for one day, 1.0 on all others.
    has_tvl : ndarray of bool, shape (n_strategies, 1)
        Whether the source reports the capital at all.
    """

    present: BoolArray
    shown_day: IntArray
    decline: FloatArray
    glitch: FloatArray
    has_tvl: BoolArray


def simulate_lifecycle(streams: Streams, n_days: int) -> Lifecycle:
    """Decide when each strategy of a block can be seen.

    Flagship strategies live the whole span, without gaps, stale reports or glitches.

    Parameters
    ----------
    streams : Streams
        The strategies' lifecycle streams.
    n_days : int
        Number of days.

    Returns
    -------
    Lifecycle
    """
    flagship = streams.flagship[:, None]
    born, late, dies, when, stale, prone, tvl = streams.traits(7)
    days = np.arange(n_days)
    latest_birth = n_days - _MIN_LIFE_DAYS
    birth = np.where((born < _ALIVE_FROM_START) | flagship, 0, np.floor(late * latest_birth))
    earliest_death = birth + _MIN_LIFE_DAYS
    is_mortal = (dies < _DEATH_CHANCE) & ~flagship
    death = np.where(is_mortal, np.floor(earliest_death + when * (n_days - earliest_death)), n_days + 1_000)
    # The day of birth is always seen: nobody knows a strategy that was never reported.
    gaps = _gaps(streams, n_days) & (days != birth) & ~flagship
    frozen = _stale(streams, n_days) & (stale < _STALE_SHARE) & ~flagship
    return Lifecycle(
        present=~gaps & (days >= birth) & (days < death),
        shown_day=held_days(~frozen),
        decline=np.exp(-_DECLINE_LOGS * np.clip(1.0 - (death - days) / _DECLINE_DAYS, 0.0, 1.0)),
        glitch=np.where((prone < _GLITCH_PRONE) & ~flagship, _glitches(streams, n_days), 1.0),
        has_tvl=(tvl > _WITHOUT_TVL) | flagship,
    )


def apply_lifecycle(paths: Paths, life: Lifecycle, is_fading: bool) -> Paths:
    """Show paths the way their source reports them.

    Parameters
    ----------
    paths : Paths
        What happened.
    life : Lifecycle
        What can be seen of it.
    is_fading : bool
        Whether the yield itself dries up as capital leaves (fees and harvests do, a rate does not).

    Returns
    -------
    Paths
        What is shown; capital is NaN where the source does not report it.
    """
    fade = life.decline if is_fading else np.ones_like(life.decline)
    shown = Paths(
        apy_base=_shown(paths.apy_base * fade, life) * life.glitch,
        apy_reward=_shown(paths.apy_reward * life.decline, life),
        tvl_usd=np.where(life.has_tvl, _shown(paths.tvl_usd * life.decline, life), np.nan),
        price=paths.price,
    )
    if paths.book is None:
        return shown
    book = LendingBook(
        borrow_apy=_shown(paths.book.borrow_apy, life),
        utilization=_shown(paths.book.utilization, life),
        supply_usd=np.where(life.has_tvl, _shown(paths.book.supply_usd * life.decline, life), np.nan),
    )
    return replace(shown, book=book)


def _shown(values: FloatArray, life: Lifecycle) -> FloatArray:
    return np.take_along_axis(values, life.shown_day, axis=1)


def _gaps(streams: Streams, n_days: int) -> BoolArray:
    """Days that the source missed: often a few, rarely a month or more."""
    short = np.where(streams.uniform(n_days) < _SHORT_GAP_CHANCE, 1 + 5 * streams.uniform(n_days), 0.0)
    rare = streams.uniform(n_days) < _LONG_GAP_CHANCE
    return _spells(short) | _spells(np.where(rare, log_uniform(10.0, 90.0, streams.uniform(n_days)), 0.0))


def _stale(streams: Streams, n_days: int) -> BoolArray:
    """Weeks through which a source repeats itself, about twice a year."""
    begins = streams.uniform(n_days) < 2.0 / 365.0
    return _spells(np.where(begins, log_uniform(10.0, 60.0, streams.uniform(n_days)), 0.0))


def _spells(lengths: FloatArray) -> BoolArray:
    """Days covered by spells that begin where a length (in days, 0 for none) is given."""
    days = np.arange(lengths.shape[1])
    last = np.where(lengths >= 1.0, days + np.floor(lengths) - 1, -1.0)
    return np.asarray(np.maximum.accumulate(last, axis=1) >= days, dtype=np.bool_)


def _glitches(streams: Streams, n_days: int) -> FloatArray:
    """Faulty reports: percent read as fraction, a burst of nonsense, or nothing at all."""
    kind = streams.uniform(n_days)
    burst = log_uniform(4.0, 60.0, np.clip((kind - 0.5) * 2.0, 0.0, 1.0))
    factor = np.select([kind < 0.25, kind < 0.5], [np.zeros_like(kind), np.full_like(kind, 100.0)], burst)
    return np.where(streams.uniform(n_days) < _GLITCH_CHANCE, factor, 1.0)
