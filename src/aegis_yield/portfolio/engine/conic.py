"""Programs with square forms, as cone programs for Clarabel; also the second opinion on linear ones.

In solver units, with x the columns, then for each risk either its level a and losses u (known by cuts), or one column
r that stands for the root of a square form::

    minimise    -gain'x + aversion (a_0 + w_0'u_0  or  x' Q x  or  r)
    subject to  the linear rows of ``linear``,
                |U x| <= r                                          the objective's standard deviation
                |U x| <= budget + allowance'x                       a limit on it
                |(2 U x, s - 1)| <= s + 1,  s = budget + allowance'x    a limit on the variance

with ``U'U = Q``. Duals come with the sign of ``A x + slack = b``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import clarabel
import numpy as np
from scipy import sparse

from aegis_yield.portfolio.engine.answer import Answer, Verdict
from aegis_yield.portfolio.engine.cuts import Cuts
from aegis_yield.portfolio.engine.program import Program
from aegis_yield.portfolio.engine.risks import Variance
from aegis_yield.portfolio.engine.scales import Scales
from aegis_yield.utils.typing import FloatArray

_TOLERANCE = 1e-10
_MAX_ITERATIONS = 400
_NO_PRICE = 1e-12
_VERDICTS: dict[str, Verdict] = {
    "Solved": "optimal",
    "AlmostSolved": "optimal",
    "PrimalInfeasible": "infeasible",
    "DualInfeasible": "unbounded",
}
"""An almost solved program is let through: what it is worth is found out by the checks."""


@dataclass
class _Blocks:
    """Rows ``A x + slack = b`` with the cone that each run of slacks lies in."""

    rows: list[sparse.csr_array] = field(default_factory=list)
    sides: list[FloatArray] = field(default_factory=list)
    cones: list[object] = field(default_factory=list)
    names: list[tuple[str, int]] = field(default_factory=list)

    def add(self, name: tuple[str, int], rows: sparse.csr_array, sides: FloatArray, cone: str = "below") -> None:
        """Add ``rows x <= sides`` ("below"), equalities ("equal") or a second-order cone ("round")."""
        if not len(sides):
            return
        kinds = {"below": clarabel.NonnegativeConeT, "equal": clarabel.ZeroConeT, "round": clarabel.SecondOrderConeT}
        self.rows.append(rows)
        self.sides.append(sides)
        self.cones.append(kinds[cone](len(sides)))
        self.names.append(name)

    def split(self, duals: FloatArray) -> dict[tuple[str, int], FloatArray]:
        """Return the duals of each block by its name."""
        ends = np.cumsum([len(side) for side in self.sides])
        return dict(zip(self.names, np.split(duals, ends[:-1]), strict=True)) if len(ends) else {}


class ConicMaster:
    """A program and its cuts in Clarabel, built afresh at every solve; it takes square forms whole.

    Parameters
    ----------
    program : Program
        Without switches.
    cuts : list of Cuts
        One for each risk.
    scales : Scales, optional
        Solver units; by default those of the whole program.
    equilibrate : bool
        Whether Clarabel rescales the matrix; the other choice is a second try.
    """

    def __init__(
        self, program: Program, cuts: list[Cuts], scales: Scales | None = None, *, equilibrate: bool = True
    ) -> None:
        self._program, self._cuts, self._scales = program, cuts, scales or Scales.of(program)
        self._equilibrate = equilibrate
        self._counts = program.counts_risk

    @property
    def name(self) -> str:
        """Return Clarabel, and whether it took the matrix as it is."""
        return "Clarabel" if self._equilibrate else "Clarabel, not equilibrated"

    def knows(self, risk: int) -> bool:
        """Return True for a square form."""
        return isinstance(self._cuts[risk].risk, Variance)

    def solve(self) -> Answer:
        """Build the cone program with all cuts learned by now and solve it."""
        self._place_columns()
        blocks, square, cost = self._linear_blocks(), self._square(), self._cost()
        for risk in range(len(self._cuts)):
            self._add_risk(blocks, risk)
        settings = clarabel.DefaultSettings()
        settings.verbose, settings.max_threads, settings.max_iter = False, 1, _MAX_ITERATIONS
        settings.equilibrate_enable = self._equilibrate
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = _TOLERANCE
        matrix = sparse.csc_matrix(sparse.vstack(blocks.rows)) if blocks.rows else sparse.csc_matrix((0, self._width))
        sides = np.concatenate(blocks.sides) if blocks.sides else np.zeros(0)
        found = clarabel.DefaultSolver(square, cost, matrix, sides, blocks.cones, settings).solve()
        verdict = _VERDICTS.get(str(found.status), "failed")
        if verdict in ("infeasible", "unbounded"):
            return Answer.without_values(verdict)
        return self._read(verdict, np.asarray(found.x), blocks.split(np.asarray(found.z)))

    def _place_columns(self) -> None:
        """Give each risk its columns: a level and its units' losses, or one column for a square form."""
        self._first = np.zeros(len(self._cuts), dtype=int)
        width = self._program.n_columns
        for risk, cuts in enumerate(self._cuts):
            self._first[risk] = width
            width += 1 if self.knows(risk) else 1 + len(cuts.order)
        self._width = width

    def _square(self) -> sparse.csc_matrix:
        """Return the upper triangle of the objective's Hessian."""
        risk = self._cuts[0].risk if self._counts else None
        if not isinstance(risk, Variance) or risk.root:
            return sparse.csc_matrix((self._width, self._width))
        hessian = 2.0 * self._program.aversion * self._scales.capital**2 / self._scales.money * risk.covariance
        square = sparse.csc_matrix(np.triu(hessian))
        square.resize((self._width, self._width))
        return square

    def _cost(self) -> FloatArray:
        cost = np.zeros(self._width)
        cost[: self._program.n_columns] = -self._program.gain * self._scales.capital / self._scales.money
        if self._counts:
            unit = self._program.aversion * self._scales.risks[0] / self._scales.money
            cost[self._objective_columns()] = unit * self._tail_weight(0)
        return cost

    def _objective_columns(self) -> slice:
        return slice(self._first[0], self._first[0] + len(self._tail_weight(0)))

    def _tail_weight(self, risk: int) -> FloatArray:
        """Return what a risk's own columns add up to it with: 1 for the level or root, the weight for each unit."""
        cuts = self._cuts[risk]
        if self.knows(risk):
            square_in_objective = risk == 0 and self._counts and not getattr(cuts.risk, "root", True)
            return np.array([0.0 if square_in_objective else 1.0])
        return np.concatenate([[1.0], cuts.risk.weight[cuts.order]])

    def _linear_blocks(self) -> _Blocks:
        """Return bounds and limits."""
        program, scales, m = self._program, self._scales, self._program.n_columns
        blocks = _Blocks()
        bounded = np.flatnonzero(np.isfinite(program.upper))
        unit = sparse.eye_array(m, self._width, format="csr")
        blocks.add(("floor", 0), -unit, np.zeros(m))
        blocks.add(("ceiling", 0), unit[bounded], program.upper[bounded] / scales.capital)
        for place, (limit, size) in enumerate(zip(program.limits, scales.limits, strict=True)):
            row = self._widened(limit.coefficients[None] * (scales.capital / size))
            if limit.lower == limit.upper:
                blocks.add(("equal", place), row, np.array([limit.upper / size]), "equal")
                continue
            if np.isfinite(limit.upper):
                blocks.add(("upper", place), row, np.array([limit.upper / size]))
            if np.isfinite(limit.lower):
                blocks.add(("lower", place), -row, np.array([-limit.lower / size]))
        return blocks

    def _widened(self, rows: FloatArray | sparse.csr_array) -> sparse.csr_array:
        wide = sparse.csr_array(rows)
        wide.resize((rows.shape[0], self._width))
        return wide

    def _add_risk(self, blocks: _Blocks, risk: int) -> None:
        """Add what defines a risk's columns, and its budget if it has one."""
        cuts, unit, m = self._cuts[risk], self._scales.risks[risk], self._program.n_columns
        budget = None if self._counts and risk == 0 else self._program.risk_limits[risk - int(self._counts)]
        row, side = np.zeros((1, self._width)), np.zeros(1)
        if budget is not None:
            side[0] = budget.upper / unit
            row[0, :m] = 0.0 if budget.allowance is None else -budget.allowance * self._scales.capital / unit
        if self.knows(risk):
            self._add_square(blocks, risk, row, side)
            return
        first, n = self._first[risk], len(cuts.order)
        row[0, first : first + 1 + n] = self._tail_weight(risk)
        if budget is not None:
            blocks.add(("budget", risk), sparse.csr_array(row), side)
        k, places = len(cuts.units), np.arange(len(cuts.units))
        own = sparse.coo_array(
            (np.ones(2 * k), (np.tile(places, 2), np.append(np.full(k, first), first + 1 + cuts.columns()))),
            shape=(k, self._width),
        )
        exposure = cuts.risk.exposure
        over_columns = cuts.rows if exposure is None else sparse.csr_array(cuts.rows) @ exposure
        rows = self._widened(over_columns * (self._scales.capital / unit)) - own.tocsr()
        blocks.add(("cuts", risk), sparse.csr_array(rows), -cuts.offsets / unit)
        losses = sparse.eye_array(n, self._width, k=first + 1, format="csr")
        blocks.add(("losses", risk), -losses, np.zeros(n))
        if not cuts.risk.has_level:
            level = sparse.eye_array(1, self._width, k=first, format="csr")
            blocks.add(("level", risk), level, np.zeros(1), "equal")

    def _add_square(self, blocks: _Blocks, risk: int, row: FloatArray, side: FloatArray) -> None:
        """Add the cone of a square form; ``side - row x`` is its budget."""
        form = self._cuts[risk].risk
        assert isinstance(form, Variance)
        in_objective = self._counts and risk == 0
        own = sparse.eye_array(1, self._width, k=self._first[risk], format="csr")
        if in_objective and not form.root:
            blocks.add(("unused", risk), own, np.zeros(1), "equal")
            return
        size = self._scales.risks[risk]
        spread = self._widened(form.factor * (self._scales.capital / (size if form.root else np.sqrt(size))))
        m, zeros = self._program.n_columns, np.zeros(self._program.n_columns)
        if in_objective:
            blocks.add(("cone", risk), sparse.vstack([-own, -spread]).tocsr(), np.zeros(m + 1), "round")
            return
        blocks.add(("unused", risk), own, np.zeros(1), "equal")
        wide = sparse.csr_array(row)
        if form.root:
            blocks.add(("cone", risk), sparse.vstack([wide, -spread]).tocsr(), np.append(side, zeros), "round")
            return
        rows = sparse.vstack([wide, -2.0 * spread, wide]).tocsr()
        blocks.add(("cone", risk), rows, np.concatenate([side + 1.0, zeros, side - 1.0]), "round")

    def _read(self, verdict: Verdict, x: FloatArray, duals: dict[tuple[str, int], FloatArray]) -> Answer:
        """Return what Clarabel found, in the program's units."""
        program, scales, m, n = self._program, self._scales, self._program.n_columns, len(self._cuts)
        prices = np.zeros(len(program.limits))
        for (kind, place), dual in duals.items():
            if kind in ("equal", "upper", "lower"):
                prices[place] += (-1.0 if kind == "lower" else 1.0) * dual[0]
        ends = [self._first[risk] + len(self._tail_weight(risk)) for risk in range(n)]
        excess = tuple(
            x[first + 1 : end] * unit for first, end, unit in zip(self._first, ends, scales.risks, strict=True)
        )
        budgets = np.array([self._budget_price(risk, duals) for risk in range(int(self._counts), n)])
        return Answer(
            verdict,
            values=x[:m] * scales.capital,
            levels=x[self._first] * scales.risks,
            excess=excess,
            prices=prices * scales.money / scales.limits,
            budget_prices=budgets,
            duals=tuple(self._shares(risk, duals) for risk in range(n)),
            directions=tuple(self._direction(risk, x, duals) for risk in range(n)),
        )

    def _budget_price(self, risk: int, duals: dict[tuple[str, int], FloatArray]) -> float:
        unit = float(self._scales.money / self._scales.risks[risk])
        if not self.knows(risk):
            return max(float(duals["budget", risk][0]), 0.0) * unit
        dual, root = duals["cone", risk], getattr(self._cuts[risk].risk, "root", False)
        return max(float(dual[0] if root else dual[0] + dual[-1]), 0.0) * unit

    def _direction(self, risk: int, x: FloatArray, duals: dict[tuple[str, int], FloatArray]) -> FloatArray | None:
        """Return where the supporting cut of a square form touches, by its cone's dual: better than by the values."""
        form = self._cuts[risk].risk
        if not isinstance(form, Variance):
            return None
        m, here = self._program.n_columns, form.factor @ (x[: self._program.n_columns] * self._scales.capital)
        dual = duals.get(("cone", risk), np.zeros(m + 2))
        price = float(dual[0] if form.root else dual[0] + dual[-1])
        if price <= _NO_PRICE:
            return here / (float(np.linalg.norm(here)) or 1.0) if form.root else here
        unit = 1.0 if form.root else np.sqrt(self._scales.risks[risk])
        direction: FloatArray = -dual[1 : m + 1] * (unit / price)
        return direction

    def _shares(self, risk: int, duals: dict[tuple[str, int], FloatArray]) -> FloatArray:
        """Return the duals of a risk's cuts as shares of the risk; none for a square form."""
        raw = duals.get(("cuts", risk), np.zeros(0))
        shares: FloatArray = raw / (float(raw.sum()) or 1.0)
        return shares
