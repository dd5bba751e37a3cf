"""Paths of NAV: how each scenario's outcome comes about day by day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from aegis_yield.domain.targets import DAYS_PER_YEAR, GROWTH_FLOOR, log_growth
from aegis_yield.risk.bootstrap import sums_over
from aegis_yield.utils.typing import FloatArray, IntArray

HISTORY_DAYS: Final = 365
MIN_MOVES: Final = 30
"""With fewer days that tell a move, a price or the shape of a rate counts as unknown."""

_CHUNK: Final = 32
"""Scenarios worked on at once: so many days of so many strategies stay in the processor's cache."""


@dataclass(frozen=True)
class History:
    """Daily moves of n strategies on the same t days, free of NaN, ready to be resampled together.

    Attributes
    ----------
    price_moves : ndarray of shape (t, n)
        Log changes of price or peg without their mean; 0 in the column of a strategy whose price is unknown.
    rate_moves : ndarray of shape (t, n)
        Changes of ``log(1 + apy)``; 0 where unknown.
    """

    price_moves: FloatArray
    rate_moves: FloatArray

    @classmethod
    def flat(cls, n: int) -> History:
        """Return a history in which nothing moves: paths grow evenly, prices stand still."""
        return cls(np.zeros((1, n)), np.zeros((1, n)))

    @classmethod
    def of(
        cls, yields: pl.DataFrame, strategy_ids: Sequence[str], origin: dt.date, n_days: int = HISTORY_DAYS
    ) -> History:
        """Read the moves of the days up to ``origin``; nothing later is looked at.

        A move across missing days falls on the first day that is known again. A shorter history is repeated for the
        days before it, so that every strategy moves on every day. The mean price move is removed: a price is not
        expected to go anywhere.

        Parameters
        ----------
        yields : polars.DataFrame
            ``strategy_id, date, apy`` and perhaps ``price``.
        strategy_ids : sequence of str
            Columns wanted, in this order; unknown ones are allowed and never move.
        origin : date
            Last day that counts.
        n_days : int
            Days of history, at least 2.
        """
        first = origin - dt.timedelta(days=n_days)
        own = yields.filter(pl.col("strategy_id").is_in(list(strategy_ids)), pl.col("date").is_between(first, origin))
        grid = _Grid(own, strategy_ids, first, n_days + 1)
        rate = _moves(log_growth(grid.values("apy")))
        price = grid.values("price") if "price" in own.columns else np.full((n_days + 1, len(strategy_ids)), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            moves = _moves(np.where(price > 0, np.log(price), np.nan))
        return cls(_repeated(moves, centred=True), _repeated(rate, centred=False))


class _Grid:
    """A long table laid out with a row for each day and a column for each strategy."""

    def __init__(self, table: pl.DataFrame, strategy_ids: Sequence[str], first: dt.date, n_days: int) -> None:
        column = {strategy: code for code, strategy in enumerate(strategy_ids)}
        self._table = table
        self._shape = (n_days, len(strategy_ids))
        self._column = [column[strategy] for strategy in table["strategy_id"]]
        self._row = (table["date"] - first).dt.total_days().to_numpy()

    def values(self, name: str) -> FloatArray:
        """Return a column of the table, NaN where it has no row."""
        grid = np.full(self._shape, np.nan)
        grid[self._row, self._column] = self._table[name].cast(pl.Float64).to_numpy()
        return grid


def _moves(levels: FloatArray) -> FloatArray:
    """Return daily changes of levels that stand still where they are missing; NaN up to the first known level."""
    day = np.arange(len(levels))[:, None]
    last_known = np.maximum.accumulate(np.where(np.isfinite(levels), day, 0), axis=0)
    return np.asarray(np.diff(np.take_along_axis(levels, last_known, axis=0), axis=0))


def _repeated(moves: FloatArray, centred: bool) -> FloatArray:
    """Fill the days before each column's first move by repeating the column; 0 in columns with too few moves."""
    filled = np.zeros(moves.shape)
    for column in range(moves.shape[1]):
        known = moves[np.isfinite(moves[:, column]), column]
        if len(known) < MIN_MOVES:
            continue
        known = known - known.mean() if centred else known
        missing = len(moves) - len(known)
        filled[:, column] = known[(np.arange(len(moves)) - missing) % len(known)]
    return filled


@dataclass(frozen=True)
class PathPlan:
    """What s scenarios of n strategies have to end with, and how they get there.

    Attributes
    ----------
    apy : ndarray of shape (s, n)
        Realised apy of the horizon.
    loss : ndarray of shape (s, n)
        Share of the principal lost to an event.
    event_day : ndarray of int, shape (s,)
        Day of the event, 1 … h; 0 for none.
    rows : ndarray of int, shape (s, h)
        Row of the history that each day repeats.
    floor : ndarray of shape (n,)
        Least apy of any day: 0 where depositors never pay.
    """

    apy: FloatArray
    loss: FloatArray
    event_day: IntArray
    rows: IntArray
    floor: FloatArray


def nav_paths(plan: PathPlan, history: History) -> FloatArray:
    """Lay out the NAV of a unit deposit in every scenario, day by day.

    Each day accrues the scenario's apy plus the shape that the resampled rate moves draw around their own mean, so
    that the whole horizon accrues exactly the apy; the shape is flattened as far as it would take a day below the
    floor. Resampled price moves come on top, and on the event's day the loss.

    Parameters
    ----------
    plan : PathPlan
        s scenarios over h days.
    history : History
        Moves of the same n strategies.

    Returns
    -------
    ndarray of float32, shape (s, h + 1, n)
        1 on day 0; the last day is one plus the scenario's return to about 1e-6. Never falls without a price move
        or a loss where the floor is 0 (and the apy not below it).
    """
    n_scenarios, horizon = plan.rows.shape
    nav = np.ones((n_scenarios, horizon + 1, plan.apy.shape[1]), dtype=np.float32)
    price = history.price_moves.astype(np.float32) if history.price_moves.any() else None
    rate = history.rate_moves.astype(np.float32) if history.rate_moves.any() else None
    target, least = log_growth(plan.apy).astype(np.float32), log_growth(plan.floor).astype(np.float32)
    for first in range(0, n_scenarios, _CHUNK):
        part = slice(first, min(first + _CHUNK, n_scenarios))
        days = plan.rows[part].T  # days come first: each is one block of memory
        growth = _accrual(target[part], least, rate, days)
        if price is not None:
            growth += price[days]
        for day in range(1, horizon):
            growth[day] += growth[day - 1]
        np.exp(growth.transpose(1, 0, 2), out=nav[part, 1:])
    for scenario in np.flatnonzero(plan.event_day):
        nav[scenario, plan.event_day[scenario] :] *= (1.0 - plan.loss[scenario]).astype(np.float32)
    return nav


def _accrual(target: FloatArray, least: FloatArray, rate: FloatArray | None, days: IntArray) -> FloatArray:
    """Return the log growth of each day, (h, c, n), of which the sum over h days is ``target * h / 365``."""
    if rate is None:
        return np.repeat((target / np.float32(DAYS_PER_YEAR))[None], len(days), axis=0)
    shape = rate[days]
    for day in range(1, len(days)):
        shape[day] += shape[day - 1]
    shape -= shape.mean(axis=0)
    lowest = np.minimum(shape.min(axis=0), np.float32(-1e-12))
    room = np.maximum(target - least, np.float32(0.0))
    shape *= np.minimum(room / -lowest, np.float32(1.0))
    shape += target
    # Rounding must not take a day below the floor, nor lift a scenario that lies below it as a whole.
    np.maximum(shape, np.minimum(least, target), out=shape)
    shape *= np.float32(1.0 / DAYS_PER_YEAR)
    return shape


def price_returns(rows: IntArray, history: History) -> FloatArray:
    """Return the change of price over each scenario's resampled days.

    Parameters
    ----------
    rows : ndarray of int, shape (s, h)
    history : History

    Returns
    -------
    ndarray of shape (s, n)
        0 where the price is unknown.
    """
    return np.asarray(np.expm1(sums_over(rows, history.price_moves)))


def lowest_apy(never_negative: Sequence[bool]) -> FloatArray:
    """Return the floor of each strategy: 0 where depositors never pay, else the growth floor less one."""
    return np.where(np.asarray(never_negative, dtype=bool), 0.0, GROWTH_FLOOR - 1.0)
