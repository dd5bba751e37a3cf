"""Small allocation problems, drawn by seed, and what they bring, worked out once more in plain loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aegis_yield.portfolio.impact import (
    FundingDepth,
    KinkedCurve,
    PriceTaker,
    ProRata,
    RateCurve,
    SeparateSupplyCurve,
    simple_rate,
)
from aegis_yield.portfolio.problem import Candidate, Goal, Holdings, Limits, Objective, Paths, Problem, TradeCost
from aegis_yield.risk.scenarios_value import Scenarios
from aegis_yield.utils.typing import FloatArray

HORIZON_DAYS = 30
CAPITAL_USD = 1_000_000.0
FREE = Limits(max_share=1.0, max_tvl_share=1.0)
"""No limits at all."""


@dataclass(frozen=True)
class Make:
    """What a random problem is like."""

    n: int = 3
    scenarios: int = 60
    concave: bool = True
    costs: bool = False
    held: bool = False
    events: bool = True


def candidate(name: str, curve: RateCurve, apy: float, horizon_days: int = HORIZON_DAYS, **more: object) -> Candidate:
    """Return a candidate whose curve pays its forecast now."""
    scaled = curve.scaled_to(float(simple_rate(np.array(apy), horizon_days)))
    given: dict[str, object] = {"groups": {}, "apy_low": 0.7 * apy, **more}
    return Candidate(strategy_id=name, apy=apy, curve=scaled, **given)  # type: ignore[arg-type]


def draw_curve(rng: np.random.Generator, concave: bool = True) -> RateCurve:
    """Draw a pool's curve, of a few hundred thousand to some million dollars."""
    size = float(rng.uniform(3e5, 5e6))
    used = float(rng.uniform(0.5, 0.85)) if concave else float(rng.uniform(0.82, 0.97))
    kind = int(rng.integers(5 if concave else 2))
    if kind == 0:
        return KinkedCurve(size, used * size, 0.01, 0.05, 0.8, 0.9 if concave else 0.8, 0.1)
    if kind == 1:
        return SeparateSupplyCurve(size, used * size, 0.0, 0.05, 0.6, 0.9 if concave else 0.8)
    if kind == 2:
        return ProRata(size, 0.06, 0.02)
    if kind == 3:
        return PriceTaker(0.05, 0.4 * size)
    return FundingDepth(0.08, 4.0 * size, 0.3, max_share=0.2)


def draw_problem(seed: int, make: Make | None = None) -> Problem:
    """Draw a problem without limits, of goal mean-CVaR."""
    make = make or Make()
    rng = np.random.default_rng([7, seed])
    candidates = tuple(_draw_candidate(rng, f"s{index}", make) for index in range(make.n))
    scenarios = draw_scenarios(rng, candidates, make)
    held = {}
    if make.held:
        chosen = rng.choice(make.n, size=max(1, make.n // 2), replace=False)
        shares = rng.dirichlet(np.ones(len(chosen) + 1))[:-1]
        held = {f"s{index}": float(share) * CAPITAL_USD for index, share in zip(chosen, shares, strict=True)}
    return Problem(candidates, Holdings(CAPITAL_USD, held), scenarios, FREE, Objective(risk_aversion=0.05))


def _draw_candidate(rng: np.random.Generator, name: str, make: Make) -> Candidate:
    curve = draw_curve(rng, make.concave or bool(rng.integers(2)))
    apy = float(rng.uniform(0.02, 0.15))
    groups = {
        "protocol": f"p{rng.integers(max(2, make.n // 2))}",
        "chain": f"c{rng.integers(2)}",
        "category": f"k{rng.integers(2)}",
        "issuer": str(rng.choice(["i0", "i1", "i2", "i0+i1"])),
    }
    cost = TradeCost(float(rng.uniform(0, 60)), *rng.uniform(0, 4e-4, 2).tolist()) if make.costs else TradeCost()
    size = float(rng.uniform(1.1e6, 1e7))  # no smaller than what is held
    return candidate(
        name,
        curve,
        apy,
        groups=groups,
        apy_low=apy - float(rng.uniform(0.0, 0.06)),
        tvl_usd=size,
        instant_usd=float(rng.uniform(0.02, 0.5)) * size,
        exit_days=float(rng.choice([0.0, 0.0, 3.0, 7.0])),
        cost=cost,
    )


def draw_scenarios(rng: np.random.Generator, candidates: Sequence[Candidate], make: Make) -> Scenarios:
    """Draw ordinary scenarios around the forecasts, then events: one of each candidate, one that hits half of all."""
    n, s = len(candidates), make.scenarios
    forecast = np.array([one.apy for one in candidates])
    apy = forecast + 0.3 * forecast * rng.standard_normal((s, n)) + 0.005 * rng.standard_normal((s, 1))
    apy = apy - apy.mean(axis=0) + forecast
    price = np.where(np.arange(n) % 3 == 2, 0.004, 0.0) * rng.standard_normal((s, n))
    loss, probability, label = np.zeros((s, n)), np.ones(s), ("",) * s
    if make.events:
        hits = np.vstack([np.eye(n), (np.arange(n) % 2 == 0)[None, :].astype(float)])
        chance = np.append(rng.uniform(2e-4, 4e-3, n), 1e-3)
        loss = np.vstack([loss, hits * rng.uniform(0.2, 1.0, (n + 1, n))])
        apy, price = np.vstack([apy, np.tile(forecast, (n + 1, 1))]), np.vstack([price, np.zeros((n + 1, n))])
        probability = np.concatenate([np.full(s, (1.0 - chance.sum()) / s), chance])
        label += tuple(f"event {index}" for index in range(n + 1))
    names = tuple(one.strategy_id for one in candidates)
    return Scenarios(names, HORIZON_DAYS, apy, price, loss, probability / probability.sum(), label)


def draw_paths(seed: int, n: int, paths: int = 20, days: int = 10) -> Paths:
    """Draw NAV day by day."""
    rng = np.random.default_rng([8, seed])
    moves = 2e-4 + 4e-3 * rng.standard_normal((paths, days, n))
    nav = np.concatenate([np.ones((paths, 1, n)), np.cumprod(1.0 + moves, axis=1)], axis=1)
    return Paths(nav, rng.dirichlet(np.ones(paths)))


def steady(candidates: Sequence[Candidate], horizon_days: int = HORIZON_DAYS) -> Scenarios:
    """Return the one scenario in which every forecast comes true."""
    names, shape = tuple(one.strategy_id for one in candidates), (1, len(candidates))
    apy = np.array([[one.apy for one in candidates]])
    return Scenarios(names, horizon_days, apy, np.zeros(shape), np.zeros(shape), np.ones(1), ("",))


def income_problem(candidates: Sequence[Candidate], capital_usd: float, limits: Limits = FREE) -> Problem:
    """Return a problem of income alone, without any risk."""
    candidates = tuple(candidates)
    return Problem(candidates, Holdings(capital_usd), steady(candidates), limits, Objective(goal=Goal.INCOME))


def with_goal(problem: Problem, goal: Goal) -> Problem:
    return replace(problem, objective=replace(problem.objective, goal=goal))


def with_limits(problem: Problem, **limits: object) -> Problem:
    return replace(problem, limits=replace(problem.limits, **limits))  # type: ignore[arg-type]


def profits_of(problem: Problem, positions: FloatArray) -> FloatArray:
    """Return the profit of each scenario in dollars, shape (g, s), for positions of shape (g, n), one by one.

    What is earned is diluted in the proportion of the curve's rate with and without our deposit; what is lost is not.
    """
    years = problem.scenarios.horizon_days / 365.0
    grown = np.zeros((len(positions), len(problem.scenarios.probability)))
    for index, one in enumerate(problem.candidates):
        amount = positions[:, index]
        before = problem.holdings.positions_usd.get(one.strategy_id, 0.0)
        now = float(one.curve.rate(np.zeros(1))[0])
        kept = one.curve.rate(amount - before) / now if now > 0 else np.ones(len(amount))
        growth = (1.0 + problem.scenarios.apy[:, index]) ** years - 1.0
        earned = np.where(growth > 0, growth * kept[:, None], growth)
        still = (1.0 + problem.scenarios.price_return[:, index]) * (1.0 - problem.scenarios.loss[:, index])
        grown += amount[:, None] * (still * (1.0 + earned) - 1.0)
    costs = costs_of(problem, positions)
    idle = (1.0 + problem.objective.risk_free_apy) ** years - 1.0
    cash = problem.holdings.capital_usd - positions.sum(axis=1) - costs
    return grown + (cash * idle - costs)[:, None]


def costs_of(problem: Problem, positions: FloatArray) -> FloatArray:
    """Return gas, fees and slippage of getting to positions of shape (g, n), shape (g,)."""
    total = np.zeros(len(positions))
    for index, one in enumerate(problem.candidates):
        moved = positions[:, index] - problem.holdings.positions_usd.get(one.strategy_id, 0.0)
        total += np.where(moved > 0, one.cost.entry, -one.cost.exit) * moved + one.cost.gas_usd * (moved != 0)
    return total


def penalty_of(problem: Problem, positions: FloatArray) -> FloatArray:
    """Return what the no-trade band counts against withdrawals, shape (g,)."""
    total = np.zeros(len(positions))
    for index, one in enumerate(problem.candidates):
        before = problem.holdings.positions_usd.get(one.strategy_id, 0.0)
        total += np.maximum(before - positions[:, index], 0.0)
    return total * problem.objective.no_trade_apy * problem.scenarios.horizon_days / 365.0


def tails_of(losses: FloatArray, probability: FloatArray, level: float) -> FloatArray:
    """Return the mean of the worst 1 - level of losses of shape (g, s), shape (g,), by sorting."""
    order = np.argsort(-losses, axis=1)
    worst, mass = np.take_along_axis(losses, order, axis=1), probability[order]
    before = np.cumsum(mass, axis=1) - mass
    taken = np.clip(1.0 - level - before, 0.0, mass)
    found: FloatArray = (taken * worst).sum(axis=1) / (1.0 - level)
    return found


def objectives_of(problem: Problem, positions: FloatArray) -> FloatArray:
    """Return the objective in dollars (a ratio's as a number) for positions of shape (g, n), shape (g,)."""
    goal, aversion = problem.objective.goal, problem.objective.risk_aversion
    profits, probability = profits_of(problem, positions), problem.scenarios.probability
    income = profits @ probability - penalty_of(problem, positions)
    if goal == Goal.INCOME:
        return income
    if goal == Goal.MEAN_VARIANCE:
        spread = (profits - (profits @ probability)[:, None]) ** 2 @ probability
        return income - aversion * spread / problem.holdings.capital_usd
    if goal == Goal.RATIO:
        assert problem.objective.risk_free_apy == 0.0
        return income / tails_of(-profits, probability, problem.objective.level)
    if goal == Goal.ROBUST:
        income = income - pessimism_of(problem, positions)
    return income - aversion * tails_of(-profits, probability, problem.objective.level)


def pessimism_of(problem: Problem, positions: FloatArray) -> FloatArray:
    """Return what is earned less if each rate is at its interval's lower end, shape (g,): never more than is earned."""
    years, total = problem.scenarios.horizon_days / 365.0, np.zeros(len(positions))
    for index, one in enumerate(problem.candidates):
        amount, now = positions[:, index], float(one.curve.rate(np.zeros(1))[0])
        kept = one.curve.rate(amount - problem.holdings.positions_usd.get(one.strategy_id, 0.0)) / now
        middle, low = ((1.0 + rate) ** years - 1.0 for rate in (one.apy, one.apy_low))
        growth = np.maximum((1.0 + problem.scenarios.apy[:, index]) ** years - 1.0, 0.0)
        still = (1.0 + problem.scenarios.price_return[:, index]) * (1.0 - problem.scenarios.loss[:, index])
        most = float(problem.scenarios.probability @ (still * growth))
        total += amount * (min(middle - max(low, 0.0), most) * kept - min(low, 0.0))
    return total


def excesses_of(problem: Problem, positions: FloatArray) -> dict[str, FloatArray]:
    """Return by how much each limit is exceeded (shares of capital, days, counts), positions (g, n), values (g,)."""
    limits, capital, held = problem.limits, problem.holdings.capital_usd, held_of(problem)
    shares, ones = positions / capital, problem.candidates
    excess = {"capital": shares.sum(1) + costs_of(problem, positions) / capital - 1.0}
    for i, one in enumerate(ones):
        forbidden = one.strategy_id in limits.never or bool(limits.only and one.strategy_id not in limits.only)
        size = 0.0 if one.tvl_usd is None else one.tvl_usd
        cap = limits.strategy_share.get(one.strategy_id, limits.max_share)
        excess[f"share of {i}"] = shares[:, i] - (0.0 if forbidden or size < limits.min_tvl_usd else cap)
        excess[f"room of {i}"] = shares[:, i] - (held[i] + one.curve.capacity_usd) / capital
        if limits.max_tvl_share < 1.0 and one.tvl_usd is not None:
            pool = one.tvl_usd - held[i] + positions[:, i]
            excess[f"max_tvl_share of {i}"] = (positions[:, i] - limits.max_tvl_share * pool) / capital
        tiny = (positions[:, i] > 0) & (positions[:, i] < limits.min_ticket_usd)
        excess[f"min_ticket_usd of {i}"] = np.where(tiny, (limits.min_ticket_usd - positions[:, i]) / capital, -1.0)
    for kind, most in limits.max_group_share.items():
        for name in {name for one in ones for name in one.groups[kind].split("+")}:
            members = [name in one.groups[kind].split("+") for one in ones]
            excess[f"max_{kind}_share of {name}"] = shares[:, members].sum(1) - most
    excess["min_invested_share"] = limits.min_invested_share - shares.sum(1)
    at_once = [0.0 if one.exit_days > 0 else np.inf if one.instant_usd is None else one.instant_usd for one in ones]
    slow = np.maximum(shares - np.array(at_once) / capital, 0.0).sum(1)
    excess["min_instant_share"] = slow - (1.0 - limits.min_instant_share)
    if np.isfinite(limits.max_exit_days):
        excess["max_exit_days"] = shares @ np.array([one.exit_days for one in ones]) - limits.max_exit_days
    if limits.max_positions is not None:
        excess["max_positions"] = (positions > 0).sum(1) - float(limits.max_positions)
    if limits.max_turnover is not None:
        excess["max_turnover"] = np.abs(positions - held).sum(1) / capital - limits.max_turnover
    return excess | _risk_excesses(problem, positions)


def _risk_excesses(problem: Problem, positions: FloatArray) -> dict[str, FloatArray]:
    limits, probability, capital = problem.limits, problem.scenarios.probability, problem.holdings.capital_usd
    losses, excess = -profits_of(problem, positions) / capital, {}
    if limits.max_cvar is not None:
        excess["max_cvar"] = tails_of(losses, probability, problem.objective.level) - limits.max_cvar
    if limits.max_loss_probability is not None:
        excess["max_loss_probability"] = (losses > 0.01 + 1e-9) @ probability - limits.max_loss_probability
    if limits.max_drawdown is not None:
        assert problem.paths is not None
        nav = np.einsum("ptn,gn->gpt", problem.paths.nav - 1.0, positions / capital)  # starts at 0
        falls = (np.maximum.accumulate(nav, axis=2) - nav).max(axis=2)
        excess["max_drawdown"] = (
            tails_of(falls, problem.paths.probability, problem.objective.level) - limits.max_drawdown
        )
    return excess


def obeys(problem: Problem, positions: FloatArray, tolerance: float = 0.0) -> np.ndarray:
    """Return which positions of shape (g, n) keep to every limit, shape (g,)."""
    return np.all([values <= tolerance for values in excesses_of(problem, positions).values()], axis=0)


def grid(problem: Problem, steps: int, low: FloatArray | None = None, high: FloatArray | None = None) -> FloatArray:
    """Return the affordable points of a grid between two corners (default: nothing and everything), shape (g, n).

    Nothing, what is held and the most that a curve takes are points of each axis wherever they lie between the corners.
    """
    capital, n, held = problem.holdings.capital_usd, len(problem.candidates), held_of(problem)
    room = np.minimum(np.array([one.curve.capacity_usd for one in problem.candidates]) + held, capital)
    low = np.zeros(n) if low is None else np.clip(low, 0.0, room)
    high = room if high is None else np.clip(high, 0.0, room)
    axes = []
    for a, b, before in zip(low, high, held, strict=True):
        marks = [mark for mark in (0.0, before) if a <= mark <= b]
        axes.append(np.union1d(np.linspace(a, b, steps + 1), marks))
    points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    return points[obeys(problem, points, 1e-12)]


def best_by_grid(problem: Problem, steps: int = 40, zooms: int = 3) -> tuple[FloatArray, float]:
    """Return the best positions, shape (n,), and their objective: a grid over everything, then finer ones around it."""
    points = grid(problem, steps)
    values = objectives_of(problem, points)
    best, most = points[values.argmax()], float(values.max())
    width = problem.holdings.capital_usd / steps
    for _ in range(zooms):
        points = grid(problem, 20, best - width, best + width)
        values = objectives_of(problem, points)
        if len(values) and values.max() > most:
            best, most = points[values.argmax()], float(values.max())
        width /= 5.0
    return best, most


def held_of(problem: Problem) -> FloatArray:
    return np.array([problem.holdings.positions_usd.get(one.strategy_id, 0.0) for one in problem.candidates])


def draw_limits(seed: int, problem: Problem) -> Limits:
    """Draw a few limits of every kind that a problem's capital may just keep to, or not."""
    rng = np.random.default_rng([9, seed])
    names = [one.strategy_id for one in problem.candidates]
    kinds = ["protocol", "chain", "category", "issuer"]
    some: dict[str, object] = {
        "max_share": float(rng.uniform(0.25, 0.9)),
        "max_group_share": {str(kind): float(rng.uniform(0.2, 0.8)) for kind in rng.choice(kinds, 2, replace=False)},
        "strategy_share": {names[0]: float(rng.uniform(0.05, 0.5))},
        "min_tvl_usd": 2e6,
        "max_tvl_share": float(rng.uniform(0.05, 0.3)),
        "min_invested_share": float(rng.uniform(0.1, 0.5)),
        "min_instant_share": float(rng.uniform(0.3, 0.9)),
        "max_exit_days": float(rng.uniform(0.3, 3.0)),
        "min_ticket_usd": float(rng.uniform(0.02, 0.15)) * problem.holdings.capital_usd,
        "max_positions": int(rng.integers(1, max(2, len(names) - 1))),
        "max_cvar": float(rng.uniform(0.001, 0.02)),
        "max_drawdown": float(rng.uniform(0.002, 0.01)),
        "max_loss_probability": float(rng.uniform(0.0005, 0.01)),
        "max_turnover": float(rng.uniform(0.3, 1.0)),
        "only": tuple(names[:-1]),
        "never": (names[1],),
    }
    chosen = rng.choice(len(some), size=int(rng.integers(3, 7)), replace=False)
    free: dict[str, object] = {"max_share": 1.0, "max_tvl_share": 1.0}
    return Limits(**{**free, **{name: some[name] for k, name in enumerate(some) if k in chosen}})  # type: ignore[arg-type]
