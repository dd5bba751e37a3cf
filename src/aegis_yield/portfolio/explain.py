"""Why an allocation is what it is: each candidate in or out, each limit's slack and price, each trade and its cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.portfolio.allocate import Allocation, cutoff
from aegis_yield.portfolio.outcome import diluted_rates, held_usd, trading_costs
from aegis_yield.portfolio.problem import GROUPS, Goal, Problem
from aegis_yield.portfolio.rate_curve import effective_rate
from aegis_yield.portfolio.scope import CAPITAL, instant_share
from aegis_yield.risk.measures import conditional_value_at_risk
from aegis_yield.utils.typing import FloatArray

BINDING: Final = 1e-6
"""Of capital: a limit with less slack binds."""

_DAYS_A_YEAR: Final = 365.0
_NO_PRICE: Final = 1e-9
_RISK_BUDGETS: Final = ("max_cvar", "max_loss_probability", "max_drawdown")


@dataclass(frozen=True)
class Verdict:
    """One candidate's place in an allocation.

    Attributes
    ----------
    strategy_id : str
        Which.
    amount_usd, share : float
        Its position, and that as a share of capital.
    before_usd : float
        What was held.
    apy, apy_after : float
        Forecast, and what is left of it with one's own deposit in the pool.
    marginal_apy : float
        What its next dollar would add a year, after dilution, expected losses, risk, costs and the price of limits,
        over the cut-off; at its cap what more room would add; NaN if it was not considered.
    why : str
        In words.
    """

    strategy_id: str
    amount_usd: float
    share: float
    before_usd: float
    apy: float
    apy_after: float
    marginal_apy: float
    why: str


@dataclass(frozen=True)
class LimitState:
    """One limit and how near an allocation is to it.

    Attributes
    ----------
    name : str
        As it was set.
    used, allowed : float
        Shares of capital (days for ``max_exit_days``, a probability for ``max_loss_probability``). Where a least share
        is asked for (invested, withdrawable at once), of the rest: so much may not be.
    price : float
        What a year's objective would gain from a bound wider by one dollar of capital (``max_exit_days``: by a day of
        all capital; ``max_loss_probability``: from a dollar more that does not yet count as a significant loss);
        0 where it does not bind.
    binds : bool
        Whether there is no slack, or a price.
    """

    name: str
    used: float
    allowed: float
    price: float
    binds: bool


@dataclass(frozen=True)
class Trade:
    """Money to be moved.

    Attributes
    ----------
    strategy_id : str
        From or to which.
    amount_usd : float
        Deposited; negative for a withdrawal.
    cost_usd : float
        Gas, fees and slippage.
    break_even_days : float
        After so many days a deposit has earned its cost, against idle cash; infinite if never, 0 for a withdrawal.
    """

    strategy_id: str
    amount_usd: float
    cost_usd: float
    break_even_days: float


def verdicts(allocation: Allocation) -> list[Verdict]:
    """Return every candidate's place, the largest positions first."""
    problem = allocation.problem
    after = effective_rate(diluted_rates(problem, allocation.positions_usd), problem.scenarios.horizon_days)
    held, states = held_usd(problem), limit_states(allocation)
    found = []
    for index, candidate in enumerate(problem.candidates):
        amount = float(allocation.positions_usd[index])
        found.append(
            Verdict(
                strategy_id=candidate.strategy_id,
                amount_usd=amount,
                share=amount / problem.holdings.capital_usd,
                before_usd=float(held[index]),
                apy=candidate.apy,
                apy_after=float(after[index]),
                marginal_apy=float(allocation.marginal[index]) / problem.years,
                why=_why(allocation, index, states),
            )
        )
    return sorted(found, key=lambda verdict: (-verdict.amount_usd, -_or_lowest(verdict.marginal_apy)))


def _or_lowest(value: float) -> float:
    return -np.inf if np.isnan(value) else value


def _why(allocation: Allocation, index: int, states: list[LimitState]) -> str:
    amount = float(allocation.positions_usd[index])
    if index in allocation.excluded:
        return allocation.excluded[index]
    if amount > 0.0:
        return _why_no_more(allocation, index, states)
    if allocation.wanted_usd[index] > 0.0:
        return _why_closed(allocation, index)
    short = -float(allocation.marginal[index])
    charges = {name: charge for name, charge in allocation.charges[index].items() if name != CAPITAL}
    if 0.0 < short < sum(charges.values()):
        return f"would pay, but others use {_named(charges)} better"
    if short > 0.0 and allocation.problem.objective.goal == Goal.RATIO:
        return "would lower the ratio of income to risk"
    if short > 0.0:
        budgets = [state.name for state in states if state.price > 0 and state.name in _RISK_BUDGETS]
        of_budgets = f" (and {' and '.join(budgets)})" if budgets else ""
        a_year = 100 * short / allocation.problem.years
        return f"its first dollar falls {a_year:.2f} % a year short of the cut-off, after risk{of_budgets} and costs"
    return "another at the cut-off was as good"


def _named(charges: Mapping[str, float]) -> str:
    """Return the limits in words, the dearest first."""
    dearest = sorted(charges, key=lambda name: -charges[name])
    return " and ".join("the limit on " + name.removeprefix("max_").replace("_share of ", " ") for name in dearest)


def _why_closed(allocation: Allocation, index: int) -> str:
    """Say what stands against a position that would pay if it cost no gas and could be of any size."""
    problem, wanted = allocation.problem, float(allocation.wanted_usd[index])
    limits, gas = problem.limits, problem.candidates[index].cost.gas_usd
    reasons = []
    if gas > 0.0:
        reasons.append(f"does not pay for {gas:,.2f} USD of gas")
    if wanted < limits.min_ticket_usd:
        reasons.append(f"is not worth a position of at least {limits.min_ticket_usd:,.0f} USD")
    if limits.max_positions is not None and int((allocation.positions_usd > 0).sum()) >= limits.max_positions:
        reasons.append(f"is less than what the {limits.max_positions} allowed positions bring")
    return f"what it would add over the horizon {' or '.join(reasons)}" if reasons else "others fit better together"


def _why_no_more(allocation: Allocation, index: int, states: list[LimitState]) -> str:
    problem, amount = allocation.problem, float(allocation.positions_usd[index])
    capital, name = problem.holdings.capital_usd, problem.candidates[index].strategy_id
    if amount >= allocation.caps_usd[index] - BINDING * capital:
        return f"at its cap: {_cap_words(problem, index, allocation.caps_usd[index])}"
    for state in states:
        kind, _, group = state.name.removeprefix("max_").partition("_share of ")
        if state.binds and group and group in problem.candidates[index].members_of(kind):
            return f"up to the limit on {kind} {group}"
    if amount == problem.holdings.positions_usd.get(name, 0.0):
        return "kept: changing it would cost more than it brings"
    charges = {
        name: x for name, x in allocation.charges[index].items() if name in ("max_exit_days", "min_instant_share")
    }
    if charges:
        return f"as much as {_named(charges)} leaves it"
    if allocation.cash_usd > BINDING * capital:
        return "as much as pays for its risk: more would lower its own rate or weigh on the tail"
    return "up to the point where its next dollar earns what it would elsewhere"


def _cap_words(problem: Problem, index: int, cap: float) -> str:
    candidate, limits, capital = problem.candidates[index], problem.limits, problem.holdings.capital_usd
    share = limits.strategy_share.get(candidate.strategy_id, limits.max_share)
    if cap >= share * capital * (1.0 - BINDING):
        return f"{100 * share:g} % of capital"
    held = problem.holdings.positions_usd.get(candidate.strategy_id, 0.0)
    if cap >= (held + candidate.curve.capacity_usd) * (1.0 - BINDING):
        return "the pool takes no more"
    return f"{100 * limits.max_tvl_share:g} % of the pool"


def limit_states(allocation: Allocation) -> list[LimitState]:
    """Return every limit on the whole portfolio but the number of positions, binding ones first."""
    problem, shares = allocation.problem, allocation.positions_usd / allocation.problem.holdings.capital_usd
    limits, rows = problem.limits, list[tuple[str, float, float]]()
    rows.append((CAPITAL, 1.0 - allocation.cash_usd / problem.holdings.capital_usd, 1.0))
    for kind in GROUPS:
        if kind in limits.max_group_share:
            groups = [candidate.members_of(kind) for candidate in problem.candidates]
            for name in sorted(frozenset().union(*groups)):
                used = float(sum(share for share, mine in zip(shares, groups, strict=True) if name in mine))
                rows.append((f"max_{kind}_share of {name}", used, limits.max_group_share[kind]))
    rows += _whole_rows(problem, shares, allocation)
    found = [_state(allocation, *row) for row in rows]
    return sorted(found, key=lambda state: (not state.binds, state.name))


def _whole_rows(problem: Problem, shares: FloatArray, allocation: Allocation) -> list[tuple[str, float, float]]:
    limits, capital = problem.limits, problem.holdings.capital_usd
    rows = []
    if limits.min_invested_share > 0.0:
        rows.append(("min_invested_share", 1.0 - float(shares.sum()), 1.0 - limits.min_invested_share))
    if limits.min_instant_share > 0.0:
        slow = [max(0.0, x - instant_share(c, capital)) for c, x in zip(problem.candidates, shares, strict=True)]
        rows.append(("min_instant_share", float(sum(slow)), 1.0 - limits.min_instant_share))
    if np.isfinite(limits.max_exit_days):
        days = np.array([candidate.exit_days for candidate in problem.candidates])
        rows.append(("max_exit_days", float(days @ shares), limits.max_exit_days))
    if limits.max_turnover is not None:
        traded = float(np.abs(allocation.positions_usd - held_usd(problem)).sum()) / capital
        rows.append(("max_turnover", traded, limits.max_turnover))
    if limits.max_cvar is not None:
        rows.append(("max_cvar", allocation.outcome.cvar, limits.max_cvar))
    if limits.max_loss_probability is not None:
        rows.append(("max_loss_probability", allocation.outcome.loss_probability, limits.max_loss_probability))
    if limits.max_drawdown is not None:
        rows.append(("max_drawdown", _drawdown(allocation), limits.max_drawdown))
    return rows


def _drawdown(allocation: Allocation) -> float:
    """Return the mean of the worst deepest falls on the way, as the limit counts it: gains summed, undiluted."""
    paths = allocation.problem.paths
    if paths is None:
        return float("nan")
    shares = allocation.positions_usd / allocation.problem.holdings.capital_usd
    gained = (paths.nav[:, 1:, :] - 1.0) @ shares
    falls = (np.maximum(np.maximum.accumulate(gained, axis=1), 0.0) - gained).max(axis=1)
    return float(conditional_value_at_risk(falls, allocation.problem.objective.level, paths.probability))


def _state(allocation: Allocation, name: str, used: float, allowed: float) -> LimitState:
    price = abs(allocation.shadow_prices.get(name, 0.0)) / allocation.problem.years
    price = price if price > _NO_PRICE else 0.0
    return LimitState(name, used, allowed, price, binds=used >= allowed - BINDING or price > 0.0)


def trades(allocation: Allocation) -> list[Trade]:
    """Return what has to be moved, withdrawals first, the largest first."""
    problem = allocation.problem
    moved = allocation.positions_usd - held_usd(problem)
    costs = trading_costs(problem, allocation.positions_usd)
    paid = diluted_rates(problem, allocation.positions_usd) - problem.objective.risk_free_apy
    found = []
    for index in np.flatnonzero(moved):
        a_day = float(paid[index]) * float(moved[index]) / _DAYS_A_YEAR
        days = 0.0 if moved[index] < 0 else costs[index] / a_day if a_day > 0 else np.inf
        name = problem.candidates[index].strategy_id
        found.append(Trade(name, float(moved[index]), float(costs[index]), float(days)))
    return sorted(found, key=lambda trade: trade.amount_usd if trade.amount_usd < 0 else 1e18 - trade.amount_usd)


def cutoff_apy(allocation: Allocation) -> float:
    """Return the cut-off as a rate: what one more dollar of capital would add to the objective a year."""
    return cutoff(allocation) / allocation.problem.years
