"""Branch and bound over switches and orders, on linear programs that go on from one another.

A general mixed-integer solver spends seconds at the root of these programs, on cutting planes over dense rows of
scenarios; what they need is small trees with good bounds. Here every node is the same linear program with other bounds
on a few columns: the simplex goes on from the node before, and what one node learns of a risk holds at all of them.

Nodes are taken best first, each followed down to its end. A switch to branch on is chosen by what both its sides were
seen to cost (strong branching first, then pseudocosts: Achterberg, Koch and Martin 2005); reduced costs settle switches
that cannot pay any more; an answer that is found is improved by flipping one switch at a time.
"""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import dataclass, field

import numpy as np

from aegis_yield.portfolio.engine.answer import Answer
from aegis_yield.portfolio.engine.converging import converge
from aegis_yield.portfolio.engine.cuts import Cuts
from aegis_yield.portfolio.engine.linear import LinearMaster
from aegis_yield.portfolio.engine.program import Program, Settings
from aegis_yield.portfolio.engine.scales import Scales
from aegis_yield.portfolio.engine.verify import size_of
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

_WHOLE = 1e-7
"""So near to 0 or 1 a switch is off or on."""

_TRIES = 8
"""So many switches at most are looked at from both sides at a node."""

_ROUNDING = (0.5, 0.1, 0.9)
_LEAST_DROP = 1e-12


@dataclass(frozen=True, eq=False)
class Node:
    """Some switches settled, and what the rest could bring at most.

    Attributes
    ----------
    bound : float
        No answer within the node is better.
    lower, upper : ndarray of shape (n_switches,)
        Where they are equal the switch is settled.
    switched, prices : ndarray of shape (n_switches,)
        The relaxed switches, and what the objective would lose by one more unit of each.
    """

    bound: float
    lower: FloatArray
    upper: FloatArray
    switched: FloatArray
    prices: FloatArray

    @property
    def fractional(self) -> IntArray:
        """Return the switches that are neither on nor off."""
        return np.flatnonzero(np.minimum(self.switched, 1.0 - self.switched) > _WHOLE)


@dataclass
class Search:
    """What a search has found.

    Attributes
    ----------
    bound : float
        No answer is better.
    answers : list of tuple
        Objective and switches of each answer that was better than those before.
    timed_out, broken : bool
        Whether time was up, or a solver failed somewhere.
    """

    bound: float = np.inf
    answers: list[tuple[float, BoolArray]] = field(default_factory=list)
    timed_out: bool = False
    broken: bool = False

    @property
    def best(self) -> float:
        """Return the best objective so far."""
        return self.answers[-1][0] if self.answers else -np.inf


class Tree:
    """One search.

    Parameters
    ----------
    program : Program
        With switches or orders.
    cuts : list of Cuts
        One for each risk; they grow.
    settings : Settings
        Time limit, and the gap that is good enough.
    size : float
        The least that the gap is relative to.
    """

    def __init__(self, program: Program, cuts: list[Cuts], settings: Settings, size: float) -> None:
        self._program, self._cuts, self._size = program, cuts, size
        self._scales = Scales.of(program)
        self._master = LinearMaster(program, cuts, self._scales)
        self._deadline = time.perf_counter() + settings.time_limit_s
        self._gap, self._enough = settings.mixed_gap, 0.0
        self._n = self._master.n_switches
        self._open: list[tuple[float, int, Node]] = []
        self._number = itertools.count()
        self._drop = np.zeros((2, self._n))  # of the bound, per unit that a switch was moved down or up
        self._seen = np.zeros((2, self._n), dtype=int)
        self._tried: set[bytes] = set()
        self._lost = -np.inf
        self.found = Search()

    def run(self) -> tuple[Answer, Search]:
        """Search.

        Returns
        -------
        Answer
            The root's: its verdict says whether there is anything to find.
        Search
            What was found.
        """
        answer = self._solve(np.zeros(self._n), np.ones(self._n))
        if answer.verdict == "optimal":
            self._enough = self._gap * max(self._size, size_of(self._program, answer.values))
            root = self._node(answer, np.zeros(self._n), np.ones(self._n))
            self._round(root)
            self._push(root)
            while self._open and not self._is_over():
                self._follow(heapq.heappop(self._open)[2])
            self.found.bound = max(self.found.best, self._lost, *(-bound for bound, _, _ in self._open[:1]))
        return answer, self.found

    def _is_over(self) -> bool:
        if time.perf_counter() > self._deadline:
            self.found.timed_out = True
        return self.found.timed_out or -self._open[0][0] <= self.found.best + self._enough

    def _follow(self, node: Node | None) -> None:
        """Go down from a node, always to the better side; the other waits."""
        while node is not None:
            if node.bound <= self.found.best + self._enough:
                return
            if not len(node.fractional):
                self._note(node.bound, node.switched > 0.5)
                return
            if time.perf_counter() > self._deadline:
                self.found.timed_out = True
                self._push(node)
                return
            sides = self._branch(self._tightened(node))
            sides.sort(key=lambda side: -side.bound)
            for side in sides[1:]:
                self._push(side)
            node = sides[0] if sides else None

    def _push(self, node: Node) -> None:
        heapq.heappush(self._open, (-node.bound, next(self._number), node))

    def _solve(self, lower: FloatArray, upper: FloatArray) -> Answer:
        self._master.bound_switches(lower, upper)
        return converge(self._master, self._cuts, self._scales)

    def _node(self, answer: Answer, lower: FloatArray, upper: FloatArray) -> Node:
        assert answer.switched is not None
        assert answer.switch_prices is not None
        return Node(answer.bound, lower, upper, answer.switched, answer.switch_prices)

    def _child(self, node: Node, switch: int, on: float) -> Node | None:
        """Return one side of a node, None if nothing is there."""
        lower, upper = node.lower.copy(), node.upper.copy()
        lower[switch] = upper[switch] = on
        answer = self._solve(lower, upper)
        if answer.verdict == "infeasible":
            return None
        if answer.verdict != "optimal":
            self._lost, self.found.broken = max(self._lost, node.bound), True
            return None
        child = self._node(answer, lower, upper)
        side, moved = int(on), abs(on - float(node.switched[switch]))
        self._drop[side, switch] += max(node.bound - child.bound, 0.0) / max(moved, _WHOLE)
        self._seen[side, switch] += 1
        return child

    def _tightened(self, node: Node) -> Node:
        """Settle what cannot pay any more: moved off its bound it would cost more than there is to gain."""
        room = node.bound - self.found.best - self._enough
        off = (node.switched <= _WHOLE) & (node.prices > room)
        on = (node.switched >= 1.0 - _WHOLE) & (-node.prices > room)
        lower, upper = np.where(on, 1.0, node.lower), np.where(off, 0.0, node.upper)
        return Node(node.bound, lower, upper, node.switched, node.prices)

    def _branch(self, node: Node) -> list[Node]:
        """Return both sides of the switch that is worth most to settle."""
        open_ = node.fractional
        guess = self._scores(node, open_)
        by_guess = open_[np.argsort(-guess, kind="stable")]
        unsure = [int(j) for j in by_guess if self._seen[:, j].min() == 0][:_TRIES]
        best: tuple[float, list[Node]] | None = None
        for switch in unsure:
            sides = [self._child(node, switch, on) for on in (0.0, 1.0)]
            there = [side for side in sides if side is not None]
            if len(there) < 2:
                return there
            drops = [max(node.bound - side.bound, _LEAST_DROP) for side in there]
            score = drops[0] * drops[1]
            if best is None or score > best[0]:
                best = score, there
        sure = [int(j) for j in by_guess if self._seen[:, j].min() > 0][:1]
        if best is None or (sure and self._scores(node, np.array(sure))[0] > best[0]):
            pair = [self._child(node, sure[0], on) for on in (0.0, 1.0)]
            return [side for side in pair if side is not None]
        return best[1]

    def _scores(self, node: Node, switches: IntArray) -> FloatArray:
        """Return what settling each switch is expected to bring: the product of what both sides lose."""
        typical = self._drop.sum() / max(self._seen.sum(), 1)
        seen = np.maximum(self._seen[:, switches], 1)
        rate = np.where(self._seen[:, switches] > 0, self._drop[:, switches] / seen, typical)
        share = node.switched[switches]
        down, up = rate[0] * share, rate[1] * (1.0 - share)
        return np.asarray(np.maximum(down, _LEAST_DROP) * np.maximum(up, _LEAST_DROP) + 1e-30 * share * (1.0 - share))

    def _round(self, root: Node) -> None:
        """Look for a first answer by rounding."""
        for least in _ROUNDING:
            self._try(root.switched >= least)

    def _try(self, on: BoolArray) -> None:
        value = self._value(on)
        if value is not None:
            self._note(value, on)

    def _value(self, on: BoolArray) -> float | None:
        """Return what an answer with these switches brings, None if there is none or it was tried before."""
        if on.tobytes() in self._tried or time.perf_counter() > self._deadline:
            return None
        self._tried.add(on.tobytes())
        answer = self._solve(on.astype(float), on.astype(float))
        return answer.bound if answer.verdict == "optimal" else None

    def _note(self, value: float, on: BoolArray) -> None:
        """Note an answer if it is better than all before, and try to better it by one flip at a time."""
        self._tried.add(on.tobytes())
        while value > self.found.best:
            self.found.answers.append((value, on))
            for switch in range(self._n):
                flipped = on.copy()
                flipped[switch] = not flipped[switch]
                other = self._value(flipped)
                if other is not None and other > value:
                    value, on = other, flipped
