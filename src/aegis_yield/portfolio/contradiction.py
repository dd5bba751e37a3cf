"""Limits that cannot all be met, in the words of whoever set them.

The engine names rows of a program. Some of them are no limits but sums and balances, which nobody can relax: they
always hold here, and the smallest conflict and the least relaxation are sought among the limits that were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from aegis_yield.domain.errors import InfeasibleError
from aegis_yield.portfolio.columns import columns_of
from aegis_yield.portfolio.engine import CAPACITY, Program, Settings, diagnose, solve
from aegis_yield.portfolio.engine.conflict import feasible
from aegis_yield.portfolio.engine.elastic import WIDE, Elastic
from aegis_yield.portfolio.engine.program import RESIDUAL_TOLERANCE
from aegis_yield.portfolio.problem import Problem
from aegis_yield.portfolio.scope import CAPITAL, Columns, Scope

TICKET: Final = "min_ticket_usd"

_ACCOUNTS: Final = ("balance of ", "sum below ", "sum above ", "settled ", "trade ")
_TICKETS: Final = ("position ", f"{TICKET} of ")
_STANDING: Final = (CAPITAL, CAPACITY, "max_loss_probability")
"""Part of a conflict, not of a relaxation: nobody has more capital, a pool no more room, and the last is a probability
in the limits but a loss in the program. What must be invested or traded can always give instead."""


def contradiction(problem: Problem, scope: Scope, columns: Columns, settings: Settings) -> InfeasibleError | None:
    """Return why a program has no answer, None if it has one.

    Parameters
    ----------
    problem, scope : Problem, Scope
        What was asked.
    columns : Columns
        Its program.
    settings : Settings
        For programs with switches.

    Returns
    -------
    InfeasibleError or None
        Its limits are fields of ``Limits`` (with the group or strategy they speak of), ``capital``, or ``capacity``
        where largest positions of several origins conflict with the rest. Each amount of its relaxation is in the
        limit's own unit.
    """
    conflict = diagnose(columns.program, settings)
    if conflict is None:
        return None
    words = _words(conflict.limits)
    if feasible(_with_only(columns, words), settings):  # a largest position is part of a row that the engine spared
        words = _words([*columns.program.limit_names, *(x.name for x in columns.program.switches)])
        words += [*(x.name for x in columns.program.counts), CAPACITY]
    for word in tuple(words):
        others = [other for other in words if other != word]
        if not feasible(_with_only(columns, others), settings):
            words = others
    shown = [_origin(problem, scope) if word == CAPACITY else word for word in words]
    whole = columns.program
    if not scope.has_switches and (problem.limits.min_ticket_usd > 0.0 or problem.limits.max_positions is not None):
        whole = columns_of(problem, replace(scope, has_switches=True)).program  # the remedy has to do for these too
    return InfeasibleError(shown, tuple(_relaxation(whole, settings).items()))


def _words(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(word for word in map(_word, names) if word))


def _word(name: str) -> str:
    """Return the limit that a row stands for; nothing for a sum or balance."""
    if name.startswith(_ACCOUNTS):
        return ""
    return TICKET if name.startswith(_TICKETS) else name


def _with_only(columns: Columns, words: list[str]) -> Program:
    """Return the program with sums, balances and the named limits."""
    program, wide = columns.program, WIDE
    kept = {"", *words}
    lifted = CAPACITY not in kept
    return replace(
        program,
        upper=np.where(columns.is_last, np.maximum(program.upper, wide), program.upper) if lifted else program.upper,
        limits=tuple(limit for limit in program.limits if _word(limit.name) in kept),
        risk_limits=tuple(limit for limit in program.risk_limits if limit.name in kept),
        switches=tuple(
            replace(x, ticket=x.ticket if TICKET in kept else 0.0, ceiling=wide if lifted else x.ceiling)
            for x in program.switches
        ),
        counts=tuple(count for count in program.counts if count.name in kept),
    )


def _relaxation(program: Program, settings: Settings) -> dict[str, float]:
    """Return the least relaxation, relative to their bounds, of limits that can be relaxed."""
    elastic, m = Elastic.of(program), program.n_columns
    fixed = [not _word(name) or _word(name) in (*_STANDING, TICKET) for name in elastic.names]
    most = np.where(fixed, 0.0, WIDE * elastic.capital)
    upper = np.concatenate([program.upper, np.zeros(m), most])
    found = solve(replace(elastic.program, upper=upper), settings)
    given: dict[str, float] = {}
    if np.isfinite(found.objective):
        for name, amount in zip(elastic.names, found.values[2 * m :] / elastic.capital, strict=True):
            if amount > RESIDUAL_TOLERANCE:
                given[name] = given.get(name, 0.0) + float(amount) * elastic.units[name]
    return given


def _origin(problem: Problem, scope: Scope) -> str:
    """Return the limit that sets all the largest positions, if it is one."""
    limits, capital = problem.limits, problem.holdings.capital_usd
    shares = {
        index: limits.strategy_share.get(problem.candidates[index].strategy_id, limits.max_share)
        for index in scope.members
    }
    by_share = [np.isclose(scope.caps_usd[index], share * capital) for index, share in shares.items()]
    return "max_share" if by_share and all(by_share) and not limits.strategy_share else CAPACITY
