"""From an allocation problem to a program of the engine: columns, gains, scenario returns, limits.

Columns are segments of positions and, for what is held now, purchases and sales::

    maximise   sum of segments' expected return  -  trading costs  -  gas of what is touched  -  aversion * risk
    position_i = sum of its segments = held_i + bought_i - sold_i
    sum of positions + costs <= capital,  each position and each group within its limit, ...

Where a segment pays more than the one before, two more columns are the sums of all segments before and of all from
there on, and an order ties them: nothing beyond the rise unless all before it is full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from scipy import sparse

from aegis_yield.portfolio.engine import Count, CVaR, Drawdown, Limit, Order, Program, Risk, RiskLimit, Switch, Variance
from aegis_yield.portfolio.exposures import Exposures, exposures
from aegis_yield.portfolio.problem import GROUPS, SIGNIFICANT_LOSS, SMALLEST_GROWTH, Goal, Problem
from aegis_yield.portfolio.scope import (
    CAPITAL,
    Columns,
    Scope,
    cash_return,
    first_breaks,
    instant_share,
    weight_of_certain,
)
from aegis_yield.portfolio.segments import Segments, segments_of
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

_HIGHEST_LEVEL: Final = 1.0 - 1e-6


class _Builder:
    """Collects columns, then writes the program over all of them."""

    def __init__(self, problem: Problem, scope: Scope) -> None:
        self.problem, self.scope = problem, scope
        self.capital = problem.holdings.capital_usd
        names = [candidate.strategy_id for candidate in problem.candidates]
        self.held = np.array([problem.holdings.positions_usd.get(name, 0.0) for name in names]) / self.capital
        self.segments: dict[int, Segments] = {}
        self.breaks_usd: dict[int, FloatArray] = {}
        self.rows: list[tuple[int, str, float]] = []  # owner, kind, length
        for index in scope.members:
            self._add(index)
        for index, cut in self.segments.items():
            for rise in np.flatnonzero(cut.rises).tolist():
                ends = [float(part.sum()) / self.capital for part in np.split(cut.length_usd, [rise])]
                self.rows += [(index, "below", ends[0]), (index, "above", ends[1])]
        for held in np.flatnonzero(self.held):
            # A sale's own bound never binds: the balance holds it, so that its price is the balance's.
            room = scope.caps_usd.get(int(held), 0.0) / self.capital
            self.rows += [(int(held), "buy", room), (int(held), "sell", 2.0 * float(self.held[held]))]
        if not self.rows:  # everything is forbidden and nothing held: a column for nothing, as an engine needs one
            self.rows.append((0, "none", 0.0))
        self.owner = np.array([owner for owner, _, _ in self.rows], dtype=int)
        self.kind = np.array([kind for _, kind, _ in self.rows])
        self.upper = np.array([length for _, _, length in self.rows])
        self.is_segment = np.char.isnumeric(self.kind)
        self.is_trade = np.isin(self.kind, ("buy", "sell"))

    def _add(self, index: int) -> None:
        candidate = self.problem.candidates[index]
        held = float(self.held[index]) * self.capital
        breaks = self.scope.breaks_usd.get(index)
        if breaks is None:
            breaks = first_breaks(self.problem, index, self.scope.caps_usd[index])
        cut = segments_of(candidate, held, breaks)
        self.segments[index], self.breaks_usd[index] = cut, breaks
        self.rows += [(index, str(k), float(length) / self.capital) for k, length in enumerate(cut.length_usd)]

    def _of(self, index: int) -> IntArray:
        return np.flatnonzero(self.is_segment & (self.owner == index))

    def is_last(self) -> BoolArray:
        """Whether a column would grow if a position might be larger than its largest."""
        last: BoolArray = np.isin(self.kind, ("above", "buy"))
        last[[self._of(index)[-1] for index in self.segments]] = True
        return last

    def returns(self) -> Exposures:
        """Scenario return of a dollar in each column: principal moves, and the diluted rate on it."""
        columns = {index: self._of(index) for index in self.segments}
        return exposures(self.problem, columns, [cut.multiple for cut in self.segments.values()], len(self.rows))

    def over_cash(self) -> FloatArray:
        """What each column's return is lowered by for sure: what cash earns, and the cost of trading."""
        certain: FloatArray = np.where(self.is_segment, cash_return(self.problem), 0.0) + self.trading_cost()
        return certain

    def gain(self, returns: Exposures) -> FloatArray:
        """Expected return of each column over the horizon, over that of cash, after the costs of trading."""
        problem = self.problem
        gain: FloatArray = returns.expected(problem.scenarios.probability) - self.over_cash()
        if problem.objective.goal == Goal.ROBUST:
            gain = gain + self._pessimism()
        return gain - np.where(self.kind == "sell", problem.objective.no_trade_apy * problem.years, 0.0)

    def _pessimism(self) -> FloatArray:
        """What each column earns less if its rate is at the lower end of its forecast's interval."""
        less = np.zeros(len(self.rows))
        growth, kept = self.problem.growth, 1.0 + self.problem.principal
        for index, cut in self.segments.items():
            candidate = self.problem.candidates[index]
            rates = np.maximum(np.array([candidate.apy, min(candidate.apy_low, candidate.apy)]), -1.0)
            middle, low = np.maximum(1.0 + rates, SMALLEST_GROWTH) ** self.problem.years - 1.0
            # As in every scenario: what is earned is shared with one's own deposit, what is lost is not. Nor can more
            # be taken off than is earned: a later segment would look better than an earlier one.
            earned = self.problem.scenarios.probability @ (kept[:, index] * np.maximum(growth[:, index], 0.0))
            shared = max(max(low, 0.0) - max(middle, 0.0), -float(earned))
            less[self._of(index)] = shared * cut.multiple + min(low, 0.0) - min(middle, 0.0)
        return less

    def trading_cost(self) -> FloatArray:
        """Cost of a dollar of each column: of entering where nothing is held, else of what is bought or sold."""
        costs = [candidate.cost for candidate in self.problem.candidates]
        found = np.zeros(len(self.rows))
        for column, (owner, kind, _) in enumerate(self.rows):
            if kind == "sell":
                found[column] = costs[owner].exit
            elif kind == "buy" or (self.is_segment[column] and self.held[owner] == 0.0):
                found[column] = costs[owner].entry
        return found

    def limits(self) -> list[Limit]:
        """Every linear limit, named as people know it."""
        limits, problem = self.problem.limits, self.problem
        positions: FloatArray = self.is_segment.astype(float)
        available = 1.0 - self.scope.reserve_usd / self.capital
        found = [Limit(CAPITAL, positions + self.trading_cost(), upper=available), *self._sums()]
        for index in np.flatnonzero(self.held):
            row = np.zeros(len(self.rows))
            row[self._of(int(index))] = 1.0
            row[(self.owner == index) & (self.kind == "buy")] = -1.0
            row[(self.owner == index) & (self.kind == "sell")] = 1.0
            held = float(self.held[index])
            found.append(Limit(f"balance of {problem.candidates[index].strategy_id}", row, held, held))
        for kind in GROUPS:
            if kind in limits.max_group_share:
                found += self._group_limits(kind, limits.max_group_share[kind])
        if limits.min_invested_share > 0.0:
            found.append(Limit("min_invested_share", positions, lower=limits.min_invested_share))
        if limits.min_instant_share > 0.0:
            found.append(self._instant_limit(positions, limits.min_instant_share))
        if np.isfinite(limits.max_exit_days):
            days = np.array([candidate.exit_days for candidate in problem.candidates])
            found.append(Limit("max_exit_days", positions * days[self.owner], upper=limits.max_exit_days))
        if limits.max_turnover is not None:
            found.append(Limit("max_turnover", self._traded(), upper=limits.max_turnover))
        return found + self._sure_tickets()

    def _sure_tickets(self) -> list[Limit]:
        ticket = self.problem.limits.min_ticket_usd / self.capital
        names = [candidate.strategy_id for candidate in self.problem.candidates]
        sure = sorted(self.scope.surely_open) if ticket > 0.0 else []
        rows = {index: (self.is_segment & (self.owner == index)).astype(float) for index in sure}
        return [Limit(f"min_ticket_usd of {names[index]}", row, lower=ticket) for index, row in rows.items()]

    def _group_limits(self, kind: str, share: float) -> list[Limit]:
        groups = [candidate.members_of(kind) for candidate in self.problem.candidates]
        found = []
        for name in sorted(frozenset().union(*(groups[index] for index in self.scope.members))):
            mine = np.array([name in groups[owner] for owner in self.owner]) & self.is_segment
            found.append(Limit(f"max_{kind}_share of {name}", mine.astype(float), upper=share))
        return found

    def _instant_limit(self, positions: FloatArray, share: float) -> Limit:
        """What cannot be withdrawn at once may be no more than the rest of the capital."""
        slow = positions.copy()
        for index in self.scope.members:
            columns = self._of(index)
            ends = np.cumsum(self.upper[columns])
            starts = ends - self.upper[columns]
            instant = instant_share(self.problem.candidates[index], self.capital)
            fast = np.clip(instant - starts, 0.0, self.upper[columns]) / self.upper[columns]
            slow[columns] = 1.0 - fast
        return Limit("min_instant_share", slow, upper=1.0 - share)

    def _traded(self) -> FloatArray:
        trades: FloatArray = (self.is_trade | (self.is_segment & (self.held[self.owner] == 0.0))).astype(float)
        return trades

    def budgets(self, net: Exposures) -> list[RiskLimit]:
        """Risk budgets, as shares of capital; what cash earns and what trading costs count as in the outcome."""
        limits, probability = self.problem.limits, self.problem.scenarios.probability
        idle = cash_return(self.problem)
        certain = idle - (1.0 + idle) * self.scope.reserve_usd / self.capital
        found = []
        if limits.max_cvar is not None:
            tail = CVaR(net.outcomes, probability, self.problem.objective.level, net.loading)
            found.append(RiskLimit("max_cvar", tail, limits.max_cvar + certain))
        if limits.max_loss_probability is not None and limits.max_loss_probability < 1.0:
            # The mean of the worst p of outcomes within the threshold: then no more than p of them exceed it.
            level = min(1.0 - limits.max_loss_probability, _HIGHEST_LEVEL)
            beyond = CVaR(net.outcomes, probability, level, net.loading)
            found.append(RiskLimit("max_loss_probability", beyond, SIGNIFICANT_LOSS + certain))
        if limits.max_drawdown is not None and self.problem.paths is not None:
            paths = self.problem.paths
            segments = np.flatnonzero(self.is_segment)
            shape = (paths.nav.shape[2], len(self.rows))
            of_owner = sparse.coo_array((np.ones(len(segments)), (self.owner[segments], segments)), shape=shape)
            level = self.problem.objective.level
            fall = Drawdown(paths.nav[:, 1:, :] - 1.0, paths.probability, level, "path", sparse.csr_array(of_owner))
            found.append(RiskLimit("max_drawdown", fall, limits.max_drawdown))
        return found

    def switches(self) -> tuple[list[Switch], list[Count]]:
        """Gas of what is touched, least sizes and the number of positions."""
        limits, weight = self.problem.limits, weight_of_certain(self.problem.objective)
        found, counted = [], []
        ticket = limits.min_ticket_usd / self.capital
        for index in self.scope.members:
            if index in self.scope.surely_open:
                continue
            row = np.zeros(len(self.rows))
            row[self._of(index)] = 1.0
            candidate = self.problem.candidates[index]
            gas = weight * candidate.cost.gas_usd / self.capital if self.held[index] == 0.0 else 0.0
            if gas > 0.0 or ticket > 0.0 or limits.max_positions is not None:
                ceiling = self.scope.caps_usd[index] / self.capital
                name = f"position {candidate.strategy_id}"
                found.append(Switch(name, row, ticket=ticket, ceiling=ceiling, cost=gas))
                counted.append(name)
        found += [self._touch(int(index), weight) for index in np.flatnonzero(self.held)]
        counts = [Count("max_positions", tuple(counted), at_most=limits.max_positions)] if limits.max_positions else []
        return found, counts

    def sure_gas(self) -> float:
        """Gas of the new positions that are surely opened, as a share of capital."""
        new = [index for index in self.scope.surely_open if self.held[index] == 0.0]
        return sum(self.problem.candidates[index].cost.gas_usd for index in new) / self.capital

    def _touch(self, index: int, weight: float) -> Switch:
        row = ((self.owner == index) & self.is_trade).astype(float)
        candidate = self.problem.candidates[index]
        ceiling = 2.0 * float(self.held[index]) + self.scope.caps_usd.get(index, 0.0) / self.capital
        cost = weight * candidate.cost.gas_usd / self.capital
        return Switch(f"trade {candidate.strategy_id}", row, ceiling=ceiling, cost=cost)

    def _sums(self) -> list[Limit]:
        """What the columns below and above each rise are the sums of."""
        found = []
        for index, rise, below, above in self._rises():
            mine, name = self._of(index), self.problem.candidates[index].strategy_id
            for column, part, side in ((below, mine[:rise], "below"), (above, mine[rise:], "above")):
                row = np.zeros(len(self.rows))
                row[part], row[column] = 1.0, -1.0
                found.append(Limit(f"sum {side} {rise} of {name}", row, 0.0, 0.0))
        return found

    def _rises(self) -> list[tuple[int, int, int, int]]:
        """Candidate, first segment that pays more, and the columns of the sums below and above it."""
        rises = [(index, int(k)) for index, cut in self.segments.items() for k in np.flatnonzero(cut.rises)]
        below, above = (np.flatnonzero(self.kind == side).tolist() for side in ("below", "above"))
        return [(index, k, low, high) for (index, k), low, high in zip(rises, below, above, strict=True)]

    def orders(self) -> list[Order]:
        """What pays more than something before it must wait until all of that is full."""
        return [Order(below, above) for _, _, below, above in self._rises()]


def columns_of(problem: Problem, scope: Scope) -> Columns:
    """Write the program of a problem over the candidates in scope.

    Parameters
    ----------
    problem : Problem
        What is to be decided.
    scope : Scope
        Which candidates, how large, how exact.
    """
    build = _Builder(problem, scope)
    returns = build.returns()
    net = returns.less(build.over_cash())
    program = Program(
        gain=build.gain(returns),
        upper=build.upper,
        limits=tuple(build.limits()),
        constant=cash_return(problem) - build.sure_gas(),
        risk=_risk(problem, returns, net),
        aversion=problem.objective.risk_aversion,
        risk_limits=tuple(build.budgets(net)),
        orders=tuple(build.orders()),
    )
    if scope.has_switches:
        switches, counts = build.switches()
        program = replace(program, switches=tuple(switches), counts=tuple(counts))
        program = program if scope.opened is None else settled(program, scope.opened)
    multiple = np.zeros(len(build.owner))
    multiple[build.is_segment] = np.concatenate([np.zeros(0), *(cut.multiple for cut in build.segments.values())])
    rises = {index: bool(cut.rises.any()) for index, cut in build.segments.items()}
    return Columns(program, build.owner, build.is_segment, build.is_last(), multiple, build.breaks_usd, rises)


def _risk(problem: Problem, returns: Exposures, net: Exposures) -> Risk | None:
    """Return the risk of the objective: of what comes in above cash and costs; a ratio's of the whole of it."""
    probability, objective = problem.scenarios.probability, problem.objective
    if objective.goal == Goal.INCOME:
        return None
    if objective.goal == Goal.MEAN_VARIANCE:
        apart = (returns.outcomes - probability @ returns.outcomes) * np.sqrt(probability)[:, None]
        loading = returns.loading
        return Variance(np.asarray(loading.T @ (loading.T @ (apart.T @ apart)).T))
    chosen = returns if objective.goal == Goal.RATIO else net
    return CVaR(chosen.outcomes, probability, objective.level, chosen.loading)


def settled(program: Program, opened: Mapping[str, bool]) -> Program:
    """Return a program with its switches as they were settled, as limits.

    Parameters
    ----------
    program : Program
        With switches.
    opened : mapping of str to bool
        By name; what is not named is closed.
    """
    limits, constant = list(program.limits), program.constant
    for switch in program.switches:
        low, high = (switch.ticket, switch.ceiling) if opened.get(switch.name, False) else (0.0, 0.0)
        limits.append(Limit(f"settled {switch.name}", switch.coefficients, low, high))
        constant -= switch.cost if high > 0.0 else 0.0
    return replace(program, limits=tuple(limits), constant=constant, switches=(), counts=())
