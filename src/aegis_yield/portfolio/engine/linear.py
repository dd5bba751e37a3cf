"""Programs whose risks are known by cuts, as linear programs for HiGHS.

In solver units, with x the columns, a the levels, u the losses above them and z the switches::

    minimise    -gain'x + aversion (a_0 + w_0'u_0) + cost'z
    subject to  lower <= A x <= upper
                a_k + w_k'u_k - allowance_k'x <= budget_k          for each risk limit k
                u_k,i + a_k - row'e_k >= offset                    for each cut of a unit i of risk k
                E_k x - e_k = 0                                    for each risk k with exposures; else e_k = x
                ticket z <= amount(x) <= ceiling z                 for each switch

A round of new cuts adds rows to the model and the simplex goes on from its last basis.
"""

from __future__ import annotations

from typing import Literal

import highspy
import numpy as np
from scipy import sparse

from aegis_yield.portfolio.engine.answer import Answer, Verdict
from aegis_yield.portfolio.engine.cuts import Cuts
from aegis_yield.portfolio.engine.program import Program
from aegis_yield.portfolio.engine.scales import Scales
from aegis_yield.portfolio.engine.switches import rows_of_switches
from aegis_yield.utils.typing import FloatArray, IntArray

_TOLERANCE = 1e-10
_INFINITY = highspy.kHighsInf
_VERDICTS: dict[highspy.HighsModelStatus, Verdict] = {
    highspy.HighsModelStatus.kOptimal: "optimal",
    highspy.HighsModelStatus.kInfeasible: "infeasible",
    highspy.HighsModelStatus.kUnbounded: "unbounded",
}


class LinearMaster:
    """A program and its cuts in HiGHS.

    Parameters
    ----------
    program : Program
        Its switches are part of the model, at first between closed and open.
    cuts : list of Cuts
        One for each risk; what is learned later is passed on at the next solve.
    scales : Scales, optional
        Solver units; by default those of the whole program.
    method : {"simplex", "ipm"}
        HiGHS's solver for linear programs.
    """

    def __init__(
        self,
        program: Program,
        cuts: list[Cuts],
        scales: Scales | None = None,
        method: Literal["simplex", "ipm"] = "simplex",
    ) -> None:
        self._program, self._cuts, self._scales = program, cuts, scales or Scales.of(program)
        self._method = method
        self._highs = highspy.Highs()  # type: ignore[no-untyped-call]
        self._columns: list[IntArray] = [np.zeros(0, dtype=np.int32) for _ in cuts]
        self._cut_rows: list[IntArray] = [np.zeros(0, dtype=np.int32) for _ in cuts]
        self._counts = program.counts_risk
        self._n_switches = 0
        self._set_options()
        self._add_columns()
        self._add_limits()
        self._add_switches()
        self._exposed: list[IntArray] = []
        for risk in range(len(cuts)):
            self._exposed.append(self._add_exposures(risk))

    @property
    def name(self) -> str:
        """Return HiGHS and its method."""
        return f"HiGHS {self._method}"

    def knows(self, risk: int) -> bool:  # noqa: ARG002  (the protocol's)
        """Return False: HiGHS knows every risk by its cuts."""
        return False

    @property
    def n_switches(self) -> int:
        """Return the number of switches and orders."""
        return self._n_switches

    def bound_switches(self, lower: FloatArray, upper: FloatArray) -> None:
        """Keep each switch, then each order, between bounds from 0 (off) to 1 (on), shape (n_switches,)."""
        first = self._program.n_columns + len(self._cuts)
        where = np.arange(first, first + self._n_switches, dtype=np.int32)
        self._highs.changeColsBounds(len(where), where, lower.astype(np.float64), upper.astype(np.float64))

    def solve(self) -> Answer:
        """Pass new cuts on and solve."""
        for risk in range(len(self._cuts)):
            self._add_cuts(risk)
        self._highs.run()
        verdict = _VERDICTS.get(self._highs.getModelStatus(), "failed")
        has_point = self._highs.getInfo().primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        return (
            self._read(verdict) if has_point else Answer.without_values("failed" if verdict == "optimal" else verdict)
        )

    def _set_options(self) -> None:
        for name, value in (
            ("output_flag", False),
            ("threads", 1),
            ("presolve", "off"),
            ("solver", self._method),
            ("primal_feasibility_tolerance", _TOLERANCE),
            ("dual_feasibility_tolerance", _TOLERANCE),
        ):
            self._highs.setOptionValue(name, value)

    def _add_columns(self) -> None:
        """Add the columns, then a level for each risk (held at 0 for a square form)."""
        program, scales = self._program, self._scales
        free = np.array([_INFINITY if cuts.risk.has_level else 0.0 for cuts in self._cuts])
        cost = np.concatenate([-program.gain * scales.capital / scales.money, np.zeros(len(free))])
        if self._counts:
            cost[program.n_columns] = self._risk_cost()
        lower = np.concatenate([np.zeros(program.n_columns), -free])
        upper = np.concatenate([program.upper / scales.capital, free])
        self._new_columns(cost, lower, upper)

    def _risk_cost(self) -> float:
        return self._program.aversion * float(self._scales.risks[0]) / self._scales.money

    def _add_limits(self) -> None:
        """Add a row for each limit and one for each risk budget."""
        program, scales, m = self._program, self._scales, self._program.n_columns
        for limit, unit in zip(program.limits, scales.limits, strict=True):
            used = np.flatnonzero(limit.coefficients).astype(np.int32)
            row = limit.coefficients[used] * scales.capital / unit
            self._highs.addRow(limit.lower / unit, limit.upper / unit, len(used), used, row)
        for place, budget in enumerate(program.risk_limits, start=int(self._counts)):
            unit = scales.risks[place]
            allowance = np.zeros(m) if budget.allowance is None else budget.allowance * scales.capital / unit
            used = np.flatnonzero(allowance).astype(np.int32)
            where = np.append(used, np.int32(m + place))
            self._highs.addRow(-_INFINITY, budget.upper / unit, len(where), where, np.append(-allowance[used], 1.0))

    def _add_switches(self) -> None:
        """Add a column for each switch and order, and the rows that tie them to the columns."""
        first = self._program.n_columns + len(self._cuts)
        cost, rows = rows_of_switches(self._program, self._scales.capital)
        self._n_switches = len(cost)
        self._new_columns(cost / self._scales.money, np.zeros(len(cost)), np.ones(len(cost)))
        for row in rows:
            used = np.flatnonzero(row.columns).astype(np.int32)
            on = np.flatnonzero(row.switches).astype(np.int32)
            value = np.concatenate([row.columns[used], row.switches[on]])
            self._highs.addRow(row.lower, row.upper, len(value), np.concatenate([used, on + np.int32(first)]), value)

    def _add_exposures(self, risk: int) -> IntArray:
        """Return the columns that a risk's cuts are over: its exposures, tied to the program's columns by a row each.

        Risks that share their exposures share these columns.
        """
        exposure = self._cuts[risk].risk.exposure
        if exposure is None:
            return np.arange(self._program.n_columns, dtype=np.int32)
        for other in range(risk):
            if self._cuts[other].risk.exposure is exposure:
                return self._exposed[other]
        n, first = exposure.shape[0], self._highs.getNumCol()
        self._new_columns(np.zeros(n), np.full(n, -_INFINITY), np.full(n, _INFINITY))
        where = np.arange(first, first + n, dtype=np.int32)
        tie = sparse.csr_array(
            sparse.hstack([exposure, sparse.csr_array((n, first - exposure.shape[1])), -sparse.eye_array(n)])
        )
        zeros = np.zeros(n)
        self._highs.addRows(
            n, zeros, zeros, tie.nnz, tie.indptr[:-1].astype(np.int32), tie.indices.astype(np.int32), tie.data
        )
        return where

    def _new_columns(self, cost: FloatArray, lower: FloatArray, upper: FloatArray) -> None:
        none = np.zeros(0, dtype=np.int32)
        bounds = lower.astype(np.float64), upper.astype(np.float64)
        self._highs.addCols(len(cost), cost.astype(np.float64), *bounds, 0, none, none, np.zeros(0))

    def _add_cuts(self, risk: int) -> None:
        """Add a column for each new unit of a risk and a row for each new cut."""
        cuts, unit, m = self._cuts[risk], self._scales.risks[risk], len(self._exposed[risk])
        self._add_units(risk)
        done = len(self._cut_rows[risk])
        k = len(cuts.units) - done
        if not k:
            return
        width = m + 2
        index = np.empty((k, width), dtype=np.int32)
        index[:, :m], index[:, m] = self._exposed[risk], self._program.n_columns + risk
        index[:, m + 1] = self._columns[risk][cuts.columns()[done:]]
        value = np.hstack([-cuts.rows[done:] * (self._scales.capital / unit), np.ones((k, 2))])
        first = self._highs.getNumRow()
        starts = np.arange(k, dtype=np.int32) * np.int32(width)
        lower = cuts.offsets[done:] / unit
        self._highs.addRows(k, lower, np.full(k, _INFINITY), k * width, starts, index.ravel(), value.ravel())
        self._cut_rows[risk] = np.append(self._cut_rows[risk], np.arange(first, first + k, dtype=np.int32))

    def _add_units(self, risk: int) -> None:
        """Add a loss above the level for each new unit, at its weight in the objective or in its budget's row."""
        cuts, known = self._cuts[risk], self._columns[risk]
        weight = cuts.risk.weight[cuts.order[len(known) :]].astype(np.float64)
        k, first = len(weight), self._highs.getNumCol()
        ones, top = np.zeros(k), np.full(k, _INFINITY)
        if self._counts and risk == 0:
            self._new_columns(weight * self._risk_cost(), ones, top)
        else:
            row = np.full(k, len(self._program.limits) + risk - int(self._counts), dtype=np.int32)
            self._highs.addCols(k, ones, ones, top, k, np.arange(k, dtype=np.int32), row, weight)
        self._columns[risk] = np.append(known, np.arange(first, first + k, dtype=np.int32))

    def _read(self, verdict: Verdict) -> Answer:
        """Return what HiGHS found, in the program's units."""
        program, scales, m, n = self._program, self._scales, self._program.n_columns, len(self._cuts)
        found = self._highs.getSolution()
        x = np.asarray(found.col_value)
        dual = np.asarray(found.row_dual) if found.dual_valid else np.zeros(self._highs.getNumRow())
        n_limits, n_budgets = len(program.limits), len(program.risk_limits)
        budgets = dual[n_limits : n_limits + n_budgets] * scales.money / scales.risks[n - n_budgets :]
        return Answer(
            verdict,
            values=x[:m] * scales.capital,
            levels=x[m : m + n] * scales.risks,
            excess=tuple(x[where] * unit for where, unit in zip(self._columns, scales.risks, strict=True)),
            prices=-dual[:n_limits] * scales.money / scales.limits,
            budget_prices=np.maximum(-budgets, 0.0),
            duals=tuple(self._row_duals(risk, dual) for risk in range(n)),
            directions=(None,) * n,
            bound=program.constant - self._highs.getInfo().objective_function_value * scales.money,
            switched=x[m + n : m + n + self._n_switches],
            switch_prices=np.asarray(found.col_dual)[m + n : m + n + self._n_switches] * scales.money,
        )

    def _row_duals(self, risk: int, dual: FloatArray) -> FloatArray:
        """Return the duals of a risk's cuts as shares of the risk: of its cost, or of its budget's price."""
        raw = dual[self._cut_rows[risk]]
        total = self._risk_cost() if self._counts and risk == 0 else float(raw.sum())
        shares: FloatArray = raw / (total or 1.0)
        return shares
