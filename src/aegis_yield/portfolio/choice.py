"""What is open and what is closed, where gas, least sizes or a number of positions matter.

A mixed-integer program decides among the candidates that were chosen without them and those that came nearest. With
that settled the amounts are made exact, gas paid out of the capital; and whatever might still pay to be opened or
closed by the prices found there is tried, one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from aegis_yield.domain.errors import InfeasibleError
from aegis_yield.portfolio.outcome import held_usd
from aegis_yield.portfolio.passes import (
    DUST_SHARE,
    Pass,
    UnansweredError,
    next_dollars,
    refined,
    solved,
    unit_of_prices,
)
from aegis_yield.portfolio.problem import Problem
from aegis_yield.portfolio.scope import Scope, first_breaks, weight_of_certain
from aegis_yield.portfolio.segments import even_breaks
from aegis_yield.utils.typing import BoolArray, FloatArray

MAX_EXACT: Final = 25
"""So many candidates at most enter the mixed-integer pass: those chosen before, then those that came nearest."""

SURE_GAS: Final = 2.0
"""A position worth so many times its gas, beyond what its capital would earn elsewhere, is not questioned again."""

EVEN_SHARE: Final = 1e-6
"""Of capital over the horizon: so near to the income is a chord where a position may be opened."""

MAX_FLIPS: Final = (8, 3)
"""So many further openings and closings are tried at most: where no chosen pool is above its kink, and where one is."""

_MAX_TRIES: Final = 4
_BETTER: Final = 1e-9


def needs_decision(problem: Problem, relaxed: Pass) -> bool:
    """Return whether gas, a least size or a number of positions speaks against an answer that leaves them out."""
    limits, positions = problem.limits, relaxed.positions_usd
    too_small = ((positions > 0) & (positions < limits.min_ticket_usd)).any()
    too_many = limits.max_positions is not None and int((positions > 0).sum()) > limits.max_positions
    return bool(too_small or too_many or _gas(problem, positions != held_usd(problem)) > 0.0)


def decided(problem: Problem, relaxed: Pass) -> Pass:
    """Decide gas, least sizes and the number of positions.

    Parameters
    ----------
    problem : Problem
        What is to be decided.
    relaxed : Pass
        The best without them.

    Returns
    -------
    Pass
        The gap and certificate are of the choice among the candidates in its scope, and of the amounts.

    Raises
    ------
    InfeasibleError
        If the limits cannot all be met.
    UnansweredError
        If the search found nothing in time and what is chosen by size alone does not meet the limits.
    """
    members = _contenders(problem, relaxed)
    bent = {index: _even(problem, relaxed.scope, index) for index in members if relaxed.columns.rises[index]}
    fine = {index: relaxed.columns.breaks_usd[index] for index in np.flatnonzero(relaxed.positions_usd).tolist()}
    scope = replace(relaxed.scope, members=members, breaks_usd=bent | fine, has_switches=True)
    scope = replace(scope, surely_open=_surely_open(problem, relaxed))
    seconds = 0.0
    for attempt in range(_MAX_TRIES):
        try:
            choice = solved(problem, scope)
        except InfeasibleError:
            if len(scope.members) == len(relaxed.scope.members):
                raise
            scope = replace(scope, members=relaxed.scope.members)  # it may take more than the nearest to meet them
            continue
        except UnansweredError as reason:
            return _rounded(problem, relaxed, reason)
        seconds += choice.found.seconds
        try:
            final = refined(problem, _as_chosen(problem, choice))
        except InfeasibleError:
            # What is needed for gas cannot be invested: known only now. In the end enough for whatever is chosen.
            known = _gas(problem, choice.positions_usd != held_usd(problem))
            most = _gas(problem, np.ones(len(problem.candidates), dtype=bool))
            scope = replace(scope, reserve_usd=known if attempt < _MAX_TRIES - 2 else most)
            continue
        return _joint(choice, _flipped(problem, final), seconds)
    raise InfeasibleError(["capital", "gas"])


def _gas(problem: Problem, touched: BoolArray) -> float:
    gas = np.array([candidate.cost.gas_usd for candidate in problem.candidates])
    return min(float(gas[touched].sum()), problem.holdings.capital_usd)  # more gas than capital is no conflict


def _surely_open(problem: Problem, relaxed: Pass) -> frozenset[int]:
    """Return the positions that neither gas nor a least size can close: one decision less each.

    What a column adds beyond the price of what it uses, times its amount, is a supergradient's bound: without the
    column the optimum falls by at least that much. Where it is well above the gas, closing the position cannot pay.
    """
    if problem.limits.max_positions is not None:
        return frozenset()
    n, capital = len(problem.candidates), problem.holdings.capital_usd
    columns, found = relaxed.columns, relaxed.found
    full = columns.is_segment & (found.values > 0)
    worth = np.maximum(found.reduced_gains, 0.0) * found.values * full
    surplus = np.bincount(columns.owner, weights=worth, minlength=n) * capital
    gas = np.array([candidate.cost.gas_usd for candidate in problem.candidates])
    large = columns.positions(found.values, n) * capital >= np.maximum(2.0 * problem.limits.min_ticket_usd, 1.0)
    return frozenset(int(index) for index in np.flatnonzero(large & (surplus >= SURE_GAS * gas)))


def _contenders(problem: Problem, relaxed: Pass) -> tuple[int, ...]:
    """Return who enters the mixed-integer pass: those chosen or held, then the others by how near they came."""
    marginal, _ = next_dollars(problem, relaxed)
    chosen = (relaxed.positions_usd > 0) | (held_usd(problem) > 0)
    first = [index for index in relaxed.scope.members if chosen[index]]
    rest = sorted((index for index in relaxed.scope.members if not chosen[index]), key=lambda index: -marginal[index])
    return tuple(sorted((*first, *rest[: max(0, MAX_EXACT - len(first))])))


def _as_chosen(problem: Problem, choice: Pass) -> Scope:
    """Return the scope in which what was chosen is settled, its gas put aside, and what is closed cut evenly.

    What is closed and pays more the more is deposited is left out: the search has seen it cut evenly, and each such
    income is a further decision.
    """
    names = [candidate.strategy_id for candidate in problem.candidates]
    opened = {**choice.found.open, **{f"position {names[index]}": True for index in choice.scope.surely_open}}
    inside, breaks = choice.positions_usd > 0.0, dict(choice.columns.breaks_usd)
    members = tuple(index for index in choice.scope.members if inside[index] or not choice.columns.rises[index])
    breaks |= {index: _even(problem, choice.scope, index) for index in members if not inside[index]}
    scope = replace(choice.scope, members=members, breaks_usd=breaks, surely_open=frozenset())
    return _settled(problem, scope, opened)


def _even(problem: Problem, scope: Scope, index: int) -> FloatArray:
    """Return breaks that are fine enough everywhere: once it is open, a position may be of any size."""
    candidate, cap = problem.candidates[index], scope.caps_usd[index]
    held = problem.holdings.positions_usd.get(candidate.strategy_id, 0.0)
    tolerance = EVEN_SHARE * problem.holdings.capital_usd / problem.years
    return even_breaks(candidate, held, first_breaks(problem, index, cap), tolerance)


def _settled(problem: Problem, scope: Scope, opened: Mapping[str, bool]) -> Scope:
    """Return the scope with what is open, and its gas put aside."""
    held = held_usd(problem)
    touched = [
        opened.get(f"{'trade' if amount > 0.0 else 'position'} {candidate.strategy_id}", False)
        for candidate, amount in zip(problem.candidates, held, strict=True)
    ]
    return replace(scope, opened=dict(opened), reserve_usd=_gas(problem, np.array(touched)))


def _flipped(problem: Problem, best: Pass) -> Pass:
    """Open or close, one at a time, whatever may pay by the prices of an answer, as long as something does."""
    seconds, tried = best.found.seconds, set[str]()
    most = MAX_FLIPS[bool(best.columns.program.orders)]
    while len(tried) < most:
        name = next((name for name in _doubtful(problem, best) if name not in tried), None)
        if name is None:
            break
        tried.add(name)
        assert best.scope.opened is not None
        opened = {**best.scope.opened, name: not best.scope.opened[name]}
        try:
            other = solved(problem, _settled(problem, best.scope, opened))
            if other.found.objective > best.found.objective - 2.0 * EVEN_SHARE:
                seconds += other.found.seconds
                other = refined(problem, other.scope)
        except (InfeasibleError, UnansweredError):
            continue
        seconds += other.found.seconds
        if other.found.objective > best.found.objective + _BETTER and _counts(problem, other):
            best = other
    return replace(best, found=replace(best.found, seconds=seconds))


def _counts(problem: Problem, step: Pass) -> bool:
    most = problem.limits.max_positions
    return most is None or int((step.positions_usd > 0).sum()) <= most


def _doubtful(problem: Problem, step: Pass) -> list[str]:
    """Return the switches that may pay to be flipped, the likeliest first: no other can, by the prices of the answer.

    With a switch's own row gone, what its columns would add at most bounds what opening it brings; what they add where
    they are bounds what closing it costs.
    """
    columns, found, promise = step.columns, step.found, dict[str, float]()
    names = {candidate.strategy_id: index for index, candidate in enumerate(problem.candidates)}
    unit, weight = unit_of_prices(problem, step), weight_of_certain(problem.objective)
    rows = {limit.name: limit.coefficients for limit in columns.program.limits}
    for name, is_open in (step.scope.opened or {}).items():
        row, (kind, _, strategy) = rows.get(f"settled {name}"), name.partition(" ")
        if row is None:
            continue
        gas = weight * problem.candidates[names[strategy]].cost.gas_usd / problem.holdings.capital_usd
        if kind == "position" and f"settled trade {strategy}" in rows:
            gas = 0.0  # counted where it is traded
        worth = unit * (found.reduced_gains + found.shadow_prices[f"settled {name}"] * row) * (row > 0)
        brings = float(worth @ found.values) if is_open else float(np.maximum(worth, 0.0) @ columns.program.upper)
        gain = gas - brings if is_open else brings - gas
        if gain > _BETTER:
            promise[name] = gain
    return sorted(promise, key=lambda name: -promise[name])


def _rounded(problem: Problem, relaxed: Pass, reason: UnansweredError) -> Pass:
    """Return an answer of the largest positions of one that leaves gas and the rest out, as many as are allowed.

    It is not certified; that other answer says how far it can be from the best.
    """
    amounts = relaxed.positions_usd
    large = [index for index in np.argsort(-amounts, kind="stable").tolist() if amounts[index] > 0.0]
    inside = tuple(sorted(large[: problem.limits.max_positions]))
    names = [candidate.strategy_id for candidate in problem.candidates]
    opened = {f"position {names[index]}": True for index in inside} | {f"trade {name}": True for name in names}
    scope = replace(relaxed.scope, members=inside, has_switches=True)
    try:
        final = refined(problem, _settled(problem, scope, opened))
    except InfeasibleError:
        raise reason from None
    best, own = relaxed.found.objective, final.found.objective
    gap = float(max(best - own, 0.0) / max(abs(best), abs(own), DUST_SHARE))
    found = replace(final.found, status="time_limit", gap=gap, certified=False)
    return replace(final, scope=replace(final.scope, members=()), found=found)


def _joint(choice: Pass, final: Pass, seconds: float) -> Pass:
    """Return the final amounts with a certificate for them and for the choice."""
    first, last = choice.found, final.found
    certified = first.certified and last.certified
    found = replace(
        last,
        status=last.status if certified or not last.certified else first.status,
        solver=first.solver,
        gap=max(first.gap, last.gap),
        certified=certified,
        seconds=seconds + last.seconds,
    )
    return replace(final, scope=replace(final.scope, members=choice.scope.members), found=found)
