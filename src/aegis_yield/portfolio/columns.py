"""From an allocation problem to a program of the engine: columns, gains, scenario returns, limits.

Columns are segments of positions and, for what is held now, purchases and sales::

    maximise   sum of segments' expected return  -  trading costs  -  gas of what is touched  -  aversion * risk
    position_i = sum of its segments = held_i + bought_i - sold_i
    sum of positions + costs <= capital,  each position and each group within its limit, ...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.portfolio.engine import Count, CVaR, Drawdown, Limit, Order, Program, Risk, RiskLimit, Switch, Variance
from aegis_yield.portfolio.problem import GROUPS, SIGNIFICANT_LOSS, Candidate, Goal, Problem
from aegis_yield.portfolio.segments import Segments, segments_of
from aegis_yield.utils.typing import FloatArray, IntArray

CAPITAL: Final = "capital"

_HIGHEST_LEVEL: Final = 1.0 - 1e-6


@dataclass(frozen=True)
class Columns:
    """Which column is what.

    Attributes
    ----------
    program : Program
        For the engine; amounts in units of the capital, so that numbers are of order one.
    owner : ndarray of shape (m,)
        Candidate of each column.
    is_segment : ndarray of shape (m,)
        Whether it is part of a position (else a purchase or a sale).
    """

    program: Program
    owner: IntArray
    is_segment: np.ndarray

    def positions(self, values: FloatArray, n: int) -> FloatArray:
        """Return the position of each of n candidates, as shares of capital."""
        found: FloatArray = np.bincount(
            self.owner[self.is_segment], weights=values[self.is_segment], minlength=n
        ).astype(float)
        return found


@dataclass(frozen=True)
class Scope:
    """What of a problem is in a program.

    Attributes
    ----------
    members : tuple of int
        Candidates that may have a position.
    caps_usd : mapping of int to float
        Largest position of each.
    near_usd : mapping of int to float
        Positions of the pass before, around which segments are fine.
    reserve_usd : float
        Kept aside for gas.
    has_switches : bool
        Whether gas, tickets and the number of positions are exact (a mixed-integer program) or left out.
    surely_open : frozenset of int
        Candidates so large that nobody doubts their position: their gas is paid and not decided.
    """

    members: tuple[int, ...]
    caps_usd: Mapping[int, float]
    near_usd: Mapping[int, float]
    reserve_usd: float = 0.0
    has_switches: bool = False
    surely_open: frozenset[int] = frozenset()


class _Builder:
    """Collects columns, then writes the program over all of them."""

    def __init__(self, problem: Problem, scope: Scope) -> None:
        self.problem, self.scope = problem, scope
        self.capital = problem.holdings.capital_usd
        names = [candidate.strategy_id for candidate in problem.candidates]
        self.held = np.array([problem.holdings.positions_usd.get(name, 0.0) for name in names]) / self.capital
        self.segments: dict[int, Segments] = {}
        self.rows: list[tuple[int, str, float]] = []  # owner, kind, length
        for index in scope.members:
            self._add(index)
        for held in np.flatnonzero(self.held):
            self.rows += [(int(held), "buy", np.inf), (int(held), "sell", float(self.held[held]))]
        self.owner = np.array([owner for owner, _, _ in self.rows], dtype=int)
        self.kind = np.array([kind for _, kind, _ in self.rows])
        self.upper = np.array([length for _, _, length in self.rows])
        self.is_segment = np.char.isnumeric(self.kind) if len(self.rows) else np.zeros(0, dtype=bool)

    def _add(self, index: int) -> None:
        candidate = self.problem.candidates[index]
        held, cap = self.held[index] * self.capital, self.scope.caps_usd[index]
        cut = segments_of(candidate, held, cap, self.scope.near_usd.get(index))
        self.segments[index] = cut
        self.rows += [(index, str(k), float(length) / self.capital) for k, length in enumerate(cut.length_usd)]

    def _of(self, index: int) -> IntArray:
        return np.flatnonzero(self.is_segment & (self.owner == index))

    def returns(self) -> FloatArray:
        """Scenario return of a dollar in each column, shape (s, m): principal moves, and the diluted rate on it."""
        scenarios = self.problem.scenarios
        principal = scenarios.principal_returns()
        growth = np.power(np.maximum(1.0 + scenarios.apy, 1e-6), self.problem.years) - 1.0
        found = np.zeros((len(scenarios.probability), len(self.rows)))
        for index, cut in self.segments.items():
            # A loss is not diluted by one's own deposit: only what is earned is shared with it.
            earned = np.maximum(growth[:, index], 0.0)[:, None] * cut.multiple[None, :]
            lost = np.minimum(growth[:, index], 0.0)[:, None]
            kept = 1.0 + principal[:, index][:, None]
            found[:, self._of(index)] = principal[:, index][:, None] + kept * (earned + lost)
        return found

    def gain(self, returns: FloatArray) -> FloatArray:
        """Expected return of each column over the horizon, over that of cash, after the costs of trading."""
        problem = self.problem
        gain = problem.scenarios.probability @ returns
        if problem.objective.goal == Goal.ROBUST:
            gain = gain + self._pessimism()
        net: FloatArray = np.where(self.is_segment, gain - self.cash_return(), 0.0) - self.trading_cost()
        return net - np.where(self.kind == "sell", problem.objective.no_trade_apy * problem.years, 0.0)

    def _pessimism(self) -> FloatArray:
        """What each column earns less if its rate is at the lower end of its forecast's interval."""
        less = np.zeros(len(self.rows))
        for index, cut in self.segments.items():
            candidate = self.problem.candidates[index]
            gap = min(0.0, candidate.apy_low - candidate.apy) * self.problem.years
            less[self._of(index)] = gap * np.maximum(cut.multiple, 0.0)
        return less

    def cash_return(self) -> float:
        """What idle capital earns over the horizon."""
        return float((1.0 + self.problem.objective.risk_free_apy) ** self.problem.years - 1.0)

    def trading_cost(self) -> FloatArray:
        """Cost of a dollar of each column: of entering where nothing is held, else of what is bought or sold."""
        costs = [candidate.cost for candidate in self.problem.candidates]
        found = np.zeros(len(self.rows))
        for column, (owner, kind, _) in enumerate(self.rows):
            if kind == "sell":
                found[column] = costs[owner].exit
            elif kind == "buy" or self.held[owner] == 0.0:
                found[column] = costs[owner].entry
        return found

    def limits(self) -> list[Limit]:
        """Every linear limit, named as people know it."""
        limits, problem = self.problem.limits, self.problem
        positions = self.is_segment.astype(float)
        available = 1.0 - self.scope.reserve_usd / self.capital
        found = [Limit(CAPITAL, positions + self.trading_cost(), upper=available)]
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
        return found

    def _group_limits(self, kind: str, share: float) -> list[Limit]:
        names = [candidate.groups.get(kind, "") for candidate in self.problem.candidates]
        found = []
        for name in sorted({names[index] for index in self.scope.members} - {""}):
            mine = np.array([names[owner] == name for owner in self.owner]) & self.is_segment
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
        trades: FloatArray = (~self.is_segment | (self.held[self.owner] == 0.0)).astype(float)
        return trades

    def budgets(self, returns: FloatArray, tail: CVaR) -> list[RiskLimit]:
        """Risk budgets, as shares of capital."""
        limits, probability = self.problem.limits, self.problem.scenarios.probability
        found = []
        if limits.max_cvar is not None:
            found.append(RiskLimit("max_cvar", tail, limits.max_cvar))
        if limits.max_loss_probability is not None:
            # The mean of the worst p of outcomes within the threshold: then no more than p of them exceed it.
            level = min(max(1.0 - limits.max_loss_probability, 0.0), _HIGHEST_LEVEL)
            beyond = CVaR(returns, probability, level)
            found.append(RiskLimit("max_loss_probability", beyond, SIGNIFICANT_LOSS))
        if limits.max_drawdown is not None and self.problem.paths is not None:
            paths = self.problem.paths
            moves = paths.nav[:, 1:, :] - 1.0
            gained = np.zeros((*moves.shape[:2], len(self.rows)))
            gained[:, :, self.is_segment] = moves[:, :, self.owner[self.is_segment]]
            fall = Drawdown(gained, paths.probability, self.problem.objective.level, per="path")
            found.append(RiskLimit("max_drawdown", fall, limits.max_drawdown))
        return found

    def switches(self) -> tuple[list[Switch], list[Count]]:
        """Gas of what is touched, least sizes and the number of positions."""
        limits = self.problem.limits
        found, counted = [], []
        ticket = limits.min_ticket_usd / self.capital
        for index in self.scope.members:
            if index in self.scope.surely_open:
                continue
            row = np.zeros(len(self.rows))
            row[self._of(index)] = 1.0
            candidate = self.problem.candidates[index]
            gas = candidate.cost.gas_usd / self.capital if self.held[index] == 0.0 else 0.0
            if gas > 0.0 or ticket > 0.0 or limits.max_positions is not None:
                ceiling = self.scope.caps_usd[index] / self.capital
                name = f"position {candidate.strategy_id}"
                found.append(Switch(name, row, ticket=min(ticket, ceiling), ceiling=ceiling, cost=gas))
                counted.append(name)
        found += [self._touch(int(index)) for index in np.flatnonzero(self.held)]
        counts = [Count("max_positions", tuple(counted), at_most=limits.max_positions)] if limits.max_positions else []
        return found, counts

    def sure_gas(self) -> float:
        """Gas of the new positions that are surely opened, as a share of capital."""
        new = [index for index in self.scope.surely_open if self.held[index] == 0.0]
        return sum(self.problem.candidates[index].cost.gas_usd for index in new) / self.capital

    def _touch(self, index: int) -> Switch:
        row = ((self.owner == index) & ~self.is_segment).astype(float)
        candidate = self.problem.candidates[index]
        ceiling = float(self.held[index]) + self.scope.caps_usd.get(index, 0.0) / self.capital
        cost = candidate.cost.gas_usd / self.capital
        return Switch(f"trade {candidate.strategy_id}", row, ceiling=ceiling, cost=cost)

    def orders(self) -> list[Order]:
        """Segments that pay more than the one before and so must wait for it."""
        found = []
        for index, cut in self.segments.items():
            columns = self._of(index)
            found += [Order(int(columns[k - 1]), int(columns[k])) for k in np.flatnonzero(cut.rises)]
        return found


def instant_share(candidate: Candidate, capital_usd: float) -> float:
    """Return how much of a position can be withdrawn at once, as a share of capital.

    A strategy with a queue pays nothing at once; a pool of unknown liquidity is taken to pay all.
    """
    if candidate.exit_days > 0.0:
        return 0.0
    return np.inf if candidate.instant_usd is None else candidate.instant_usd / capital_usd


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
    objective = problem.objective
    probability = problem.scenarios.probability
    tail = CVaR(returns, probability, objective.level)
    risk: Risk | None = None if objective.goal == Goal.INCOME else tail
    if objective.goal == Goal.MEAN_VARIANCE:
        spread = (returns - probability @ returns) * np.sqrt(probability)[:, None]
        risk = Variance.of_factor(spread)
    budgets = tuple(build.budgets(returns, tail))
    switches, counts = build.switches() if scope.has_switches else ([], [])
    program = Program(
        gain=build.gain(returns),
        upper=build.upper,
        limits=tuple(build.limits()),
        constant=build.cash_return() - build.sure_gas(),
        risk=risk,
        aversion=objective.risk_aversion,
        risk_limits=budgets,
        switches=tuple(switches),
        orders=tuple(build.orders()),
        counts=tuple(counts),
    )
    return Columns(program, build.owner, build.is_segment)
