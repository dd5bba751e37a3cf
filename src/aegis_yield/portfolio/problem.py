"""The allocation problem: candidates with their rate curves and costs, limits, and what is maximised.

Amounts are US dollars, shares are fractions of the capital unless named otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.impact import RateCurve
from aegis_yield.risk.scenarios_value import Scenarios
from aegis_yield.utils.typing import FloatArray

SMALLEST_GROWTH: Final = 1e-6
"""Of a unit in a year: rates are floored there."""

SIGNIFICANT_LOSS: Final = 0.01
"""Of capital: what counts as a significant loss."""

GROUPS: Final = ("protocol", "chain", "category", "issuer")
"""What strategies have in common, and what a limit may be set on."""


@dataclass(frozen=True)
class TradeCost:
    """What moving money into and out of one strategy costs.

    Attributes
    ----------
    gas_usd : float
        Of touching the position at all.
    entry, exit : float
        Fees and slippage as a share of the amount moved.
    """

    gas_usd: float = 0.0
    entry: float = 0.0
    exit: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.gas_usd < math.inf:
            raise RequestError("gas_usd", self.gas_usd, "an amount, at least 0")
        for name in ("entry", "exit"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise RequestError(name, getattr(self, name), "a share of the amount moved, from 0 to below 1")


@dataclass(frozen=True)
class Candidate:
    """One strategy that capital may be put into.

    Attributes
    ----------
    strategy_id : str
        Its id.
    groups : mapping of str to str
        Its ``protocol``, ``chain``, ``category`` and ``issuer`` (of the asset), where known.
    apy : float
        Expected apy of the horizon, before one's own deposit moves it.
    apy_low : float
        Lower end of the forecast's interval: what the robust objective counts with.
    curve : RateCurve
        What it pays after a further deposit; at zero this is :attr:`apy`.
    tvl_usd : float or None
        Size of the pool; None if unknown.
    instant_usd : float or None
        What the pool can pay out at once; None if unknown.
    exit_days : float
        How long a withdrawal takes as a rule.
    cost : TradeCost
        Of moving money.
    """

    strategy_id: str
    groups: Mapping[str, str]
    apy: float
    apy_low: float
    curve: RateCurve
    tvl_usd: float | None = None
    instant_usd: float | None = None
    exit_days: float = 0.0
    cost: TradeCost = TradeCost()

    def members_of(self, kind: str) -> frozenset[str]:
        """Return the groups of a kind that it belongs to: a pool of two coins (``circle+tether``) to two issuers."""
        return frozenset(name for name in self.groups.get(kind, "").split("+") if name)

    def __post_init__(self) -> None:
        if not -1.0 < self.apy < math.inf:
            raise RequestError(f"apy of {self.strategy_id}", self.apy, "a finite fraction a year above -1")
        if not math.isfinite(self.apy_low):
            raise RequestError(f"apy_low of {self.strategy_id}", self.apy_low, "a finite fraction a year")
        for name in ("tvl_usd", "instant_usd", "exit_days"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < math.inf:
                raise RequestError(f"{name} of {self.strategy_id}", value, "a finite number, at least 0")


@dataclass(frozen=True)
class Limits:
    """What an allocation must keep to.

    Attributes
    ----------
    max_share : float
        Of capital in any one strategy.
    max_group_share : mapping
        By kind of group (:data:`GROUPS`), of capital in any one group.
    strategy_share : mapping
        Of capital by strategy, over :attr:`max_share`.
    min_tvl_usd : float
        Smaller pools are left out, and so are pools of unknown size if it is above 0.
    max_tvl_share : float
        Of a pool that one's own deposit may be, where the pool's size is known.
    min_invested_share : float
        Of capital that must not stay cash.
    min_instant_share : float
        Of capital that can be withdrawn at once (cash included).
    max_exit_days : float
        Mean days to withdraw, weighted by amount, cash counting 0.
    min_ticket_usd : float
        A position is nothing or at least this.
    max_positions : int or None
        Number of positions.
    max_cvar : float or None
        Of capital: CVaR of the loss over the horizon.
    max_drawdown : float or None
        Of capital: mean of the worst 5 % of the deepest falls on the way (CDaR of the paths); needs paths.
    max_loss_probability : float or None
        That more than :data:`SIGNIFICANT_LOSS` of the capital is lost; kept by a convex condition that implies it
        (CVaR at that probability), and so never exceeded, perhaps not used to the full.
    max_turnover : float or None
        Of capital: purchases plus sales.
    only, never : tuple of str
        Whitelist (empty for all) and blacklist of strategies.
    """

    max_share: float = 0.4
    max_group_share: Mapping[str, float] = field(default_factory=dict)
    strategy_share: Mapping[str, float] = field(default_factory=dict)
    min_tvl_usd: float = 0.0
    max_tvl_share: float = 0.1
    min_invested_share: float = 0.0
    min_instant_share: float = 0.0
    max_exit_days: float = math.inf
    min_ticket_usd: float = 0.0
    max_positions: int | None = None
    max_cvar: float | None = None
    max_drawdown: float | None = None
    max_loss_probability: float | None = None
    max_turnover: float | None = None
    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shares = {"max_share": self.max_share, "max_tvl_share": self.max_tvl_share}
        shares |= {f"max_{kind}_share": share for kind, share in self.max_group_share.items()}
        shares |= {f"share of {name}": share for name, share in self.strategy_share.items()}
        shares["min_instant_share"] = self.min_instant_share
        shares["min_invested_share"] = self.min_invested_share
        for name, share in shares.items():
            if not 0.0 <= share <= 1.0:
                raise RequestError(name, share, "a share of capital from 0 to 1")
        for kind in self.max_group_share:
            if kind not in GROUPS:
                raise RequestError("max_group_share", kind, ", ".join(GROUPS))
        self._check_amounts()

    def _check_amounts(self) -> None:
        for name in ("min_tvl_usd", "max_exit_days", "min_ticket_usd"):
            if not getattr(self, name) >= 0.0:  # also refuses NaN
                raise RequestError(name, getattr(self, name), "a number, at least 0")
        for name in ("max_cvar", "max_drawdown", "max_turnover"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 2.0:
                raise RequestError(name, value, "a share of capital from 0 to 2")
        if self.max_loss_probability is not None and not 0.0 <= self.max_loss_probability <= 1.0:
            raise RequestError("max_loss_probability", self.max_loss_probability, "a probability from 0 to 1")
        if self.max_positions is not None and not (self.max_positions >= 1 and self.max_positions % 1 == 0):
            raise RequestError("max_positions", self.max_positions, "a whole number above 0")


class Goal(StrEnum):
    """What is maximised."""

    INCOME = "income"  # expected net income
    MEAN_CVAR = "mean-cvar"  # ... minus risk_aversion times CVaR
    MEAN_VARIANCE = "mean-variance"  # ... minus risk_aversion times variance over capital
    RATIO = "ratio"  # income above the risk-free rate, over CVaR
    ROBUST = "robust"  # income at the lower end of each forecast's interval, minus CVaR


@dataclass(frozen=True)
class Objective:
    """What is maximised, and how risk counts.

    Attributes
    ----------
    goal : Goal
        Which.
    risk_aversion : float
        Dollars of income given up to lose a dollar of CVaR (or of variance over capital).
    level : float
        Of CVaR.
    risk_free_apy : float
        What idle capital earns.
    no_trade_apy : float
        A year's advantage that moving money out of a present position must have beyond its costs.
    """

    goal: Goal = Goal.MEAN_CVAR
    risk_aversion: float = 0.05
    level: float = 0.95
    risk_free_apy: float = 0.0
    no_trade_apy: float = 0.002

    def __post_init__(self) -> None:
        if self.goal not in list(Goal):
            raise RequestError("goal", self.goal, ", ".join(Goal))
        if not 0.0 <= self.risk_aversion < math.inf:
            raise RequestError("risk_aversion", self.risk_aversion, "a number, at least 0")
        if not 0.5 <= self.level < 1.0:
            raise RequestError("level", self.level, "a fraction from 0.5 to below 1")
        if not 0.0 <= self.no_trade_apy < 1.0:
            raise RequestError("no_trade_apy", self.no_trade_apy, "a fraction a year from 0 to below 1")
        if not -0.5 < self.risk_free_apy < 1.0:
            raise RequestError("risk_free_apy", self.risk_free_apy, "a fraction a year above -0.5 and below 1")


@dataclass(frozen=True)
class Holdings:
    """What there is to allocate: capital in all, and where it lies now; the rest is cash."""

    capital_usd: float
    positions_usd: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.0 < self.capital_usd < _MOST_USD:
            raise RequestError("capital_usd", self.capital_usd, f"an amount above 0 and below {_MOST_USD:g}")
        for name, amount in self.positions_usd.items():
            if not 0.0 <= amount < math.inf:
                raise RequestError(f"position of {name}", amount, "an amount, at least 0")
        held = sum(self.positions_usd.values())
        if held > self.capital_usd * (1.0 + 1e-9):
            raise RequestError("capital_usd", self.capital_usd, f"at least the sum of the positions, {held:g}")


_MOST_USD: Final = 1e12
_SUM_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, eq=False)
class Paths:
    """NAV of a unit deposit, day by day.

    Attributes
    ----------
    nav : ndarray of shape (p, h + 1, n)
        Of p scenarios and n candidates, starting at 1.
    probability : ndarray of shape (p,)
        Sums to 1.
    """

    nav: FloatArray
    probability: FloatArray

    def __post_init__(self) -> None:
        if self.nav.ndim != 3 or len(self.nav) != len(self.probability) or not np.isfinite(self.nav).all():
            raise RequestError("nav", self.nav.shape, "finite numbers of shape (paths, days + 1, candidates)")
        total = float(np.sum(self.probability))
        if (self.probability < 0).any() or not abs(total - 1.0) <= _SUM_TOLERANCE:
            raise RequestError("probability", total, "numbers, at least 0, that sum to 1")


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything that decides an allocation.

    Attributes
    ----------
    candidates : tuple of Candidate
        In the order of the scenarios' strategies.
    holdings : Holdings
        Capital and present positions.
    scenarios : Scenarios
        What may happen over the horizon.
    limits : Limits
        What must hold.
    objective : Objective
        What is maximised.
    paths : Paths, optional
        NAV day by day of some scenarios: what a limit on drawdown is judged by.
    """

    candidates: tuple[Candidate, ...]
    holdings: Holdings
    scenarios: Scenarios
    limits: Limits = Limits()
    objective: Objective = Objective()
    paths: Paths | None = None

    def __post_init__(self) -> None:
        names = tuple(candidate.strategy_id for candidate in self.candidates)
        if not names:
            raise RequestError("candidates", 0, "at least one strategy with a forecast")
        if names != self.scenarios.strategy_ids:
            raise RequestError("scenarios", self.scenarios.strategy_ids[:3], "the candidates in their order")
        if len(set(names)) < len(names):
            repeated = sorted({name for name in names if names.count(name) > 1})
            raise RequestError("candidates", repeated[:5], "each strategy once")
        if not self.scenarios.horizon_days > 0:
            raise RequestError("horizon_days", self.scenarios.horizon_days, "a number of days above 0")
        named = {*self.holdings.positions_usd, *self.limits.only, *self.limits.never, *self.limits.strategy_share}
        unknown = sorted(named - set(names))
        if unknown:
            raise RequestError("strategies", unknown[:5], f"strategies of this problem, such as {', '.join(names[:5])}")
        if self.limits.max_drawdown is not None and self.paths is None:
            raise RequestError("max_drawdown", self.limits.max_drawdown, "a limit on drawdown only with paths of NAV")
        if self.paths is not None and self.paths.nav.shape[2] != len(names):
            raise RequestError("paths", self.paths.nav.shape, f"a NAV of each of the {len(names)} candidates")

    @property
    def years(self) -> float:
        """The horizon in years of 365 days."""
        return self.scenarios.horizon_days / 365.0

    @cached_property
    def growth(self) -> FloatArray:
        """What a unit earns over the horizon in each scenario, before one's own deposit, shape (s, n)."""
        yearly = np.maximum(1.0 + self.scenarios.apy, SMALLEST_GROWTH)
        grown: FloatArray = np.power(yearly, self.years) - 1.0
        return grown

    @cached_property
    def principal(self) -> FloatArray:
        """What becomes of the principal in each scenario, shape (s, n)."""
        return self.scenarios.principal_returns()
