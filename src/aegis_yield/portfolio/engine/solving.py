"""Solve a program and check the answer; if it does not pass, ask another solver.

Linear programs: HiGHS's simplex, its interior point, Clarabel. With square forms: Clarabel, Clarabel on the matrix as
it is, HiGHS on cuts. Mixed-integer programs: branch and bound on HiGHS's simplex, then the convex program that is left
when the switches are settled. OSQP, SCS and HiGHS's quadratic solver are not used: they have called wrong answers
optimal, or not come back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from aegis_yield.portfolio.engine.answer import Master
from aegis_yield.portfolio.engine.branching import Tree
from aegis_yield.portfolio.engine.conic import ConicMaster
from aegis_yield.portfolio.engine.converging import converge
from aegis_yield.portfolio.engine.cuts import Cuts, first_cuts, risks_of
from aegis_yield.portfolio.engine.elastic import Elastic
from aegis_yield.portfolio.engine.linear import LinearMaster
from aegis_yield.portfolio.engine.program import GAP_TOLERANCE, RESIDUAL_TOLERANCE, Program, Settings, Solution, Status
from aegis_yield.portfolio.engine.risks import Variance
from aegis_yield.portfolio.engine.scales import Scales, capital_of
from aegis_yield.portfolio.engine.switches import settle
from aegis_yield.portfolio.engine.verify import Certificate, Footing, certify, size_of
from aegis_yield.utils.typing import BoolArray

_SETTLED = 3
_SMALL = 0.1
_TREE = "branch and bound"


def solve(program: Program, settings: Settings | None = None) -> Solution:
    """Return the best values of a program, checked.

    Parameters
    ----------
    program : Program
        What to solve.
    settings : Settings, optional
        For programs with switches.

    Returns
    -------
    Solution
        Its status says whether it is what was asked; see there.
    """
    return solve_with(program, first_cuts(program), settings)


def solve_with(
    program: Program, cuts: list[Cuts], settings: Settings | None = None, footing: Footing | None = None
) -> Solution:
    """Return the best values of a program, from what earlier solves with the same risks have learned.

    Parameters
    ----------
    program : Program
        What to solve.
    cuts : list of Cuts
        One for each risk; they grow.
    settings : Settings, optional
        For programs with switches.
    footing : Footing, optional
        What the answer is expected to be near.
    """
    started = time.perf_counter()
    if program.is_mixed:
        found = _search(program, cuts, settings or Settings(), footing or Footing())
    else:
        found = _solve_convex(program, cuts, footing or Footing())
    return replace(found, seconds=time.perf_counter() - started)


def _masters(program: Program, cuts: list[Cuts], scales: Scales) -> Iterator[Callable[[], Master]]:
    """Yield the solvers to ask, best first."""
    if any(isinstance(risk, Variance) for risk in risks_of(program)):
        yield lambda: ConicMaster(program, cuts, scales)
        yield lambda: ConicMaster(program, cuts, scales, equilibrate=False)
        yield lambda: LinearMaster(program, cuts, scales)
    else:
        yield lambda: LinearMaster(program, cuts, scales)
        yield lambda: LinearMaster(program, cuts, scales, "ipm")
        yield lambda: ConicMaster(program, cuts, scales)


def _solve_convex(program: Program, cuts: list[Cuts], footing: Footing) -> Solution:
    """Ask the solvers; where the best is far smaller than the program and not proven, ask them in its own units."""
    found = _ask(program, cuts, footing)
    largest = float(np.abs(found.values).max(initial=0.0))
    if found.status != "uncertified" or not 0 < largest < _SMALL * (footing.capital or capital_of(program)):
        return found
    closer = _ask(program, cuts, replace(footing, capital=largest))
    return min(found, closer, key=_merit)


def _ask(program: Program, cuts: list[Cuts], footing: Footing) -> Solution:
    """Ask one solver after another until an answer passes the checks, or it is proven that there is none."""
    best: Solution | None = None
    refusals: list[Status] = []
    scales = Scales.of(program, footing.capital)
    for build in _masters(program, cuts, scales):
        master = build()
        answer = converge(master, cuts, scales)
        if answer.verdict == "infeasible" and "infeasible" not in refusals and proven_infeasible(program):
            return without_answer(program, "infeasible", master.name)
        if answer.verdict == "unbounded" and "unbounded" in refusals:
            return without_answer(program, "unbounded", master.name)
        if answer.verdict in ("infeasible", "unbounded"):
            refusals.append("infeasible" if answer.verdict == "infeasible" else "unbounded")
        if not len(answer.values):
            continue
        solution = _solution(program, certify(program, cuts, answer, footing), master.name)
        if solution.certified:
            return solution
        if best is None or _merit(solution) < _merit(best):
            best = solution
    return best or without_answer(program, "uncertified", "none")


def proven_infeasible(program: Program) -> bool:
    """Return whether the least total slack that a convex program needs is proven to be above an answer's residual."""
    elastic = Elastic.of(program).program
    cuts, scales = first_cuts(elastic), Scales.of(elastic)
    for build in _masters(elastic, cuts, scales):
        answer = converge(build(), cuts, scales)
        if len(answer.values):
            proof = certify(elastic, cuts, answer)
            if proof.holds:
                return proof.bound < -RESIDUAL_TOLERANCE
    return False


def _merit(solution: Solution) -> tuple[float, float]:
    if not np.isfinite(solution.objective):
        return np.inf, np.inf
    return max(solution.primal_residual, RESIDUAL_TOLERANCE), solution.gap


def _solution(program: Program, proof: Certificate, solver: str) -> Solution:
    prices = np.concatenate([proof.prices, proof.budget_prices]).tolist()
    return Solution(
        status="optimal" if proof.holds else "uncertified",
        values=proof.values,
        objective=proof.objective,
        shadow_prices=dict(zip(program.limit_names, prices, strict=True)),
        reduced_gains=proof.reduced_gains,
        primal_residual=proof.primal_residual,
        gap=proof.gap,
        certified=proof.holds,
        solver=solver,
        seconds=0.0,
    )


def without_answer(program: Program, status: Status, solver: str) -> Solution:
    """Return a solution that has no values."""
    nothing = np.full(program.n_columns, np.nan)
    return Solution(
        status=status,
        values=nothing,
        objective=np.nan,
        shadow_prices=dict.fromkeys(program.limit_names, np.nan),
        reduced_gains=nothing,
        primal_residual=np.nan,
        gap=np.nan,
        certified=False,
        solver=solver,
        seconds=0.0,
    )


def _search(program: Program, cuts: list[Cuts], settings: Settings, footing: Footing) -> Solution:
    """Search over switches: a bound from the tree, an answer from the settled convex program, solved whole."""
    relaxed, search = Tree(program, cuts, settings, footing.size).run()
    if relaxed.verdict in ("infeasible", "unbounded"):
        return without_answer(program, "infeasible" if relaxed.verdict == "infeasible" else "unbounded", _TREE)
    if not search.answers:
        is_sure = relaxed.verdict == "optimal" and not (search.timed_out or search.broken)
        return without_answer(
            program, "infeasible" if is_sure else "time_limit" if search.timed_out else "uncertified", _TREE
        )
    best: Solution | None = None
    for _, switched in reversed(search.answers[-_SETTLED:]):
        best = _better(best, _settled(program, cuts, switched))
        if best is not None and best.certified:
            break
    if best is None:
        return without_answer(program, "uncertified", _TREE)
    return _searched(
        best, _gap(program, best, search.bound, footing), "time_limit" if search.timed_out else "uncertified"
    )


def _settled(program: Program, cuts: list[Cuts], switched: BoolArray) -> Solution | None:
    """Solve the convex program that a search's switches leave."""
    found = _solve_convex(settle(program, switched), cuts, Footing())
    if not np.isfinite(found.objective):
        return None
    opened = dict(zip((switch.name for switch in program.switches), switched.tolist(), strict=False))
    prices = {name: found.shadow_prices[name] for name in program.limit_names}
    return replace(found, shadow_prices=prices, open=opened)


def _better(one: Solution | None, other: Solution | None) -> Solution | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda solution: (solution.primal_residual <= RESIDUAL_TOLERANCE, solution.objective))


def _gap(program: Program, found: Solution, bound: float, footing: Footing) -> float:
    return max(bound - found.objective, 0.0) / max(size_of(program, found.values), footing.size)


def _searched(best: Solution, gap: float, status: Status) -> Solution:
    """Return the best answer of a search with the gap that the search has proven."""
    certified = best.primal_residual <= RESIDUAL_TOLERANCE and gap <= GAP_TOLERANCE
    return replace(
        best,
        status="optimal" if certified else status,
        gap=gap,
        certified=certified,
        solver=f"{_TREE}, {best.solver}",
    )
