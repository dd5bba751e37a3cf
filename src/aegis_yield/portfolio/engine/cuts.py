"""The cuts a solve has learned of one risk: only the units that matter, a few hundred of thousands.

A tail at level 0.95 is made by one scenario in twenty. A program that knows only the scenarios that were ever in the
tail of a trial answer has the same optimum as the whole one: the rest would be slack. Its duals are duals of the whole
program too (zero for what it never saw), so that the bound they prove holds for the whole program.
"""

from __future__ import annotations

import numpy as np

from aegis_yield.portfolio.engine.program import Program
from aegis_yield.portfolio.engine.risks import Risk
from aegis_yield.utils.typing import FloatArray, IntArray

BATCH = 100
VIOLATION = 1e-9


class Cuts:
    """Rows ``loss_unit(v) >= row'E v + offset`` of one risk, E its exposure.

    Attributes
    ----------
    risk : Risk
        What is cut.
    units : ndarray of shape (n_cuts,)
        The unit of each cut; a drawdown's unit may have several.
    rows, offsets : ndarray of shape (n_cuts, n_exposures), (n_cuts,)
        The cuts.
    """

    def __init__(self, risk: Risk) -> None:
        self.risk = risk
        self.units: IntArray = np.zeros(0, dtype=np.int64)
        width = risk.n_columns if risk.exposure is None else risk.exposure.shape[0]
        self.rows: FloatArray = np.zeros((0, width))
        self.offsets: FloatArray = np.zeros(0)
        self._known: set[int] = set()
        self.order: list[int] = []
        """The distinct units, in the order of their coming."""

    def touch(self, values: FloatArray) -> None:
        """Learn the whole tail at these values: enough units to make the tail's mass."""
        losses, weight = self.risk.losses(values), self.risk.weight
        worst_first = np.argsort(-losses, kind="stable")
        needed = 1 + int(np.searchsorted(np.cumsum(weight[worst_first]), 1.0 - VIOLATION))
        self._learn(worst_first[:needed], values)

    def learn_violated(self, values: FloatArray, level: float, excess: FloatArray, tolerance: float) -> bool:
        """Learn the worst units that an answer underrates.

        Parameters
        ----------
        values : ndarray of shape (m,)
            The trial answer.
        level : float
            Its level a.
        excess : ndarray of shape (n_units known,)
            What it holds each known unit to lose above the level, in the order of ``order``.
        tolerance : float
            How much it may err, in the risk's unit.

        Returns
        -------
        bool
            Whether there was anything to learn.
        """
        allowed = np.full(len(self.risk.weight), level)
        allowed[self.order] += excess
        over = np.where(self.risk.weight > 0, self.risk.losses(values) - allowed, 0.0)
        worst = np.argsort(-over, kind="stable")[: max(BATCH, len(over) // 50)]
        found = worst[over[worst] > tolerance]
        if len(found):
            self._learn(found, values)
        return len(found) > 0

    def _learn(self, units: IntArray, values: FloatArray) -> None:
        rows, offsets = self.risk.cuts(units, values)
        self.units = np.concatenate([self.units, units])
        self.rows = np.concatenate([self.rows, rows])
        self.offsets = np.concatenate([self.offsets, offsets])
        for unit in units.tolist():
            if unit not in self._known:
                self._known.add(unit)
                self.order.append(unit)

    def columns(self) -> IntArray:
        """Return the place in ``order`` of each cut's unit, shape (n_cuts,)."""
        place = np.zeros(len(self.risk.weight), dtype=np.int64)
        place[self.order] = np.arange(len(self.order))
        return place[self.units]

    def combine(self, duals: FloatArray) -> tuple[FloatArray, float]:
        """Return one cut of the whole risk, ``risk(v) >= slope'v + offset`` for every v.

        Parameters
        ----------
        duals : ndarray of shape (n_cuts,)
            A solver's; whatever they are, they are first made a member of the risk's envelope (at least 0, at most the
            unit's weight, for a tail 1 in all), so that the cut holds even if the solver was wrong.

        Returns
        -------
        tuple of ndarray of shape (m,) and float
            Slope and offset.
        """
        share = np.maximum(np.nan_to_num(duals), 0.0)
        columns = self.columns()
        if not self.risk.has_level:
            share = share / max(float(share.sum()), 1.0)
            return self._slope(share), float(self.offsets @ share)
        share = share / (share.sum() or 1.0)
        weight = self.risk.weight[self.order]
        held = np.bincount(columns, share, minlength=len(weight))
        share = share * np.minimum(1.0, weight / np.maximum(held, 1e-300))[columns]
        room = weight - np.minimum(held, weight)
        first = np.unique(columns, return_index=True)[1]
        share[first] += room * (1.0 - share.sum()) / (room.sum() or 1.0)
        return self._slope(share), float(self.offsets @ share)

    def _slope(self, share: FloatArray) -> FloatArray:
        """Return the cuts' mixture as a row over the columns."""
        slope: FloatArray = self.rows.T @ share
        return slope if self.risk.exposure is None else np.asarray(self.risk.exposure.T @ slope)


def risks_of(program: Program) -> tuple[Risk, ...]:
    """Return the risks of a program: that of the objective, if it counts, then those of the budgets."""
    head = (program.risk,) if program.risk is not None and program.counts_risk else ()
    return (*head, *(limit.risk for limit in program.risk_limits))


def first_cuts(program: Program) -> list[Cuts]:
    """Return the cuts of each risk at two plain portfolios: equal, and greedy by gain."""
    capacity = program.capacity()
    finite = np.where(np.isfinite(capacity), capacity, capacity[np.isfinite(capacity)].max(initial=1.0))
    greedy = np.where(np.arange(len(finite)) == int(np.argmax(program.gain)), finite, 0.0)
    found = []
    for risk in risks_of(program):
        cuts = Cuts(risk)
        for values in (finite / max(len(finite), 1), greedy):
            cuts.touch(values)
        found.append(cuts)
    return found
