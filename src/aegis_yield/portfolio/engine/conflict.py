"""Why nothing satisfies a program: the smallest conflict found, and the least that would have to give.

The elastic program gives every limit a slack and pays for it, relative to the limit's bound; what it uses is the least
relaxation. The limits with a price there contradict each other; leaving out one after another whatever is not
needed for that (deletion filter, Chinneck and Dravnieks 1991) leaves an irreducible set: without any one of its members
the others can be met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from aegis_yield.portfolio.engine.elastic import WIDE, Elastic
from aegis_yield.portfolio.engine.program import RESIDUAL_TOLERANCE, Program, Settings
from aegis_yield.portfolio.engine.scales import capital_of
from aegis_yield.portfolio.engine.solving import solve

CAPACITY = "capacity"
"""The name of the columns' upper bounds, taken together."""
_PRICE = 1e-7


@dataclass(frozen=True)
class Conflict:
    """Why a program has no answer.

    Attributes
    ----------
    limits : tuple of str
        Names of limits, risk limits, switches (their least size) and counts that cannot all be met, none of which can
        be spared; ``CAPACITY`` stands for the columns' upper bounds together.
    relaxation : mapping of str to float
        The least total relaxation, relative to the limits' bounds, that lets all be met: by how much each bound would
        have to give, in its own unit; for ``CAPACITY`` the sum over columns. Switches and counts are not relaxed: empty
        where no relaxation of the others would do.
    """

    limits: tuple[str, ...]
    relaxation: Mapping[str, float]


def diagnose(program: Program, settings: Settings | None = None) -> Conflict | None:
    """Return the conflict of a program that cannot be met, None where it can.

    Parameters
    ----------
    program : Program
        Its gain and risk do not matter.
    settings : Settings, optional
        For programs with switches.
    """
    relaxation, priced = _relax(program, settings)
    if relaxation is not None and not relaxation:
        return None
    names = [*program.limit_names, *(x.name for x in program.counts), *(x.name for x in program.switches)]
    suspects = [name for name in (*names, CAPACITY) if name in priced]
    if program.is_mixed or feasible(_only(program, suspects), settings):
        suspects = [*names, CAPACITY]
    for name in tuple(suspects):
        without = [other for other in suspects if other != name]
        if not feasible(_only(program, without), settings):
            suspects = without
    return Conflict(tuple(suspects), relaxation or {})


def feasible(program: Program, settings: Settings | None = None) -> bool:
    """Return whether all limits of a program can be met, to the residual that an answer may have."""
    relaxation, _ = _relax(program, settings)
    return relaxation is not None and not relaxation


def _only(program: Program, names: list[str]) -> Program:
    """Return a program with nothing but the named limits; a switch that is left out has no least size."""
    kept = set(names)
    wide = WIDE * capital_of(program) if program.is_mixed else np.inf
    return replace(
        program,
        upper=program.upper if CAPACITY in kept else np.maximum(program.upper, wide),
        limits=tuple(limit for limit in program.limits if limit.name in kept),
        risk_limits=tuple(limit for limit in program.risk_limits if limit.name in kept),
        switches=tuple(x if x.name in kept else replace(x, ticket=0.0) for x in program.switches),
        counts=tuple(count for count in program.counts if count.name in kept),
    )


def _relax(program: Program, settings: Settings | None) -> tuple[dict[str, float] | None, set[str]]:
    """Return the least relaxation by name (None if there is none), and the names with a price there."""
    elastic = Elastic.of(program)
    found = solve(elastic.program, settings)
    if not np.isfinite(found.objective):
        return None, set()
    m = program.n_columns
    used = dict.fromkeys(elastic.units, 0.0)
    total = 0.0
    for name, amount in zip(elastic.names, found.values[2 * m :] / elastic.capital, strict=True):
        used[name] += float(amount) * elastic.units[name]
        total += float(amount)
    beyond = found.values[m : 2 * m]
    total += float(beyond @ -elastic.program.gain[m : 2 * m])
    if total <= RESIDUAL_TOLERANCE:
        return {}, set()
    relaxation = {name: amount for name, amount in used.items() if amount > RESIDUAL_TOLERANCE * elastic.units[name]}
    if beyond.sum() > RESIDUAL_TOLERANCE * elastic.capital:
        relaxation[CAPACITY] = float(beyond.sum())
    priced = {name for name, price in found.shadow_prices.items() if abs(price) * elastic.units[name] > _PRICE}
    gains = found.reduced_gains[:m]
    if (gains > _PRICE / elastic.capital).any():
        priced.add(CAPACITY)
    return relaxation, priced
