"""A convex program over columns of money: what may be gained, at what risk, within which limits; and its answer.

::

    maximise    gain'v + constant - aversion * risk(v) - sum of the open switches' costs
    subject to  0 <= v <= upper,   lower <= coefficients'v <= upper  for each limit,   risk_k(v) <= its budget

A column is a strategy, a segment of one, a purchase, a sale: what it means is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from aegis_yield.domain.errors import RequestError
from aegis_yield.portfolio.engine.risks import Risk
from aegis_yield.utils.typing import FloatArray

Status: TypeAlias = Literal[
    "optimal", "uncertified", "infeasible", "unbounded", "time_limit", "nothing_beats_cash", "riskless"
]
"""How a solve ended; only ``optimal`` and the last two come with a certificate."""

RESIDUAL_TOLERANCE = 1e-7
GAP_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Limit:
    """A linear limit, ``lower <= coefficients'v <= upper``.

    Attributes
    ----------
    name : str
        Unique in a program.
    coefficients : ndarray of shape (m,)
        Finite.
    lower, upper : float
        In the coefficients' unit times the columns'; infinite where there is no limit.
    """

    name: str
    coefficients: FloatArray
    lower: float = -np.inf
    upper: float = np.inf


@dataclass(frozen=True, eq=False)
class RiskLimit:
    """A risk budget, ``risk(v) <= upper + allowance'v``.

    Attributes
    ----------
    name : str
        Unique among limits and risk limits.
    risk : Risk
        What is bounded.
    upper : float
        The budget, in the risk's unit.
    allowance : ndarray of shape (m,), optional
        What each unit of a column adds to the budget (minus a share of capital turns a budget into a share).
    """

    name: str
    risk: Risk
    upper: float
    allowance: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Switch:
    """A thing that is open or closed: closed, its amount is 0; open, it costs a fixed sum and has a least size.

    Attributes
    ----------
    name : str
        Unique among switches.
    coefficients : ndarray of shape (m,)
        The amount is ``coefficients'v + offset`` and may not be negative.
    offset : float
        The amount at v = 0.
    ticket, ceiling : float
        Least and largest amount while open; an infinite ceiling is replaced by what the limits allow.
    cost : float
        What being open costs, at least 0.
    """

    name: str
    coefficients: FloatArray
    offset: float = 0.0
    ticket: float = 0.0
    ceiling: float = np.inf
    cost: float = 0.0


@dataclass(frozen=True)
class Order:
    """Column ``after`` may be used only when column ``before`` is full: segments of a curve that is not concave."""

    before: int
    after: int


@dataclass(frozen=True)
class Count:
    """How many of the named switches may be open."""

    name: str
    switches: tuple[str, ...]
    at_least: int = 0
    at_most: int | None = None


@dataclass(frozen=True, eq=False)
class Program:
    """What is to be solved; see the module.

    Attributes
    ----------
    gain : ndarray of shape (m,)
        Gain of one unit of each column; finite.
    upper : ndarray of shape (m,)
        Largest value of each column, at least 0, infinite where only limits bound it.
    limits : tuple of Limit
        Linear limits.
    constant : float
        Gain at v = 0.
    risk : Risk or None
        Subtracted from the gain, ``aversion`` times; also the denominator of a ratio.
    aversion : float
        At least 0.
    risk_limits : tuple of RiskLimit
        Risk budgets.
    switches, orders, counts : tuple
        What makes the program a mixed-integer one.

    Raises
    ------
    RequestError
        If shapes disagree, values are not numbers or names repeat.
    """

    gain: FloatArray
    upper: FloatArray
    limits: tuple[Limit, ...] = ()
    constant: float = 0.0
    risk: Risk | None = None
    aversion: float = 1.0
    risk_limits: tuple[RiskLimit, ...] = ()
    switches: tuple[Switch, ...] = ()
    orders: tuple[Order, ...] = ()
    counts: tuple[Count, ...] = ()

    def __post_init__(self) -> None:
        m = len(self.gain)
        for name, row in (("gain", self.gain), *((f"limit {limit.name}", limit.coefficients) for limit in self.limits)):
            if row.shape != (m,) or not np.isfinite(row).all():
                raise RequestError(name, row.shape, f"finite numbers of shape ({m},)")
        if self.upper.shape != (m,) or not (self.upper >= 0).all():
            raise RequestError("upper", self.upper, f"numbers, at least 0, of shape ({m},)")
        if not (np.isfinite(self.constant) and np.isfinite(self.aversion) and self.aversion >= 0):
            raise RequestError("aversion", self.aversion, "a number, at least 0, beside a finite constant")
        self._check_parts(m)

    def _check_parts(self, m: int) -> None:
        """Refuse risks of other columns, empty intervals, and names that repeat."""
        for risk in (self.risk, *(limit.risk for limit in self.risk_limits)):
            if risk is not None and risk.n_columns != m:
                raise RequestError("risk", risk.n_columns, f"a risk of {m} columns")
        for limit in self.limits:
            if not limit.lower <= limit.upper or limit.lower == np.inf or limit.upper == -np.inf:
                raise RequestError(f"limit {limit.name}", (limit.lower, limit.upper), "lower <= upper")
        if not all(np.isfinite(limit.upper) for limit in self.risk_limits):
            raise RequestError("risk_limits", [limit.upper for limit in self.risk_limits], "finite budgets")
        names = [*self.limit_names, *(x.name for x in self.counts), *(x.name for x in self.switches)]
        if len(set(names)) < len(names):
            repeated = sorted({name for name in names if names.count(name) > 1})
            raise RequestError("names", repeated, "names that are unique in a program")

    @property
    def n_columns(self) -> int:
        """Return m."""
        return len(self.gain)

    @property
    def limit_names(self) -> tuple[str, ...]:
        """Return the names of the limits, then of the risk limits: what has a shadow price."""
        return (*(limit.name for limit in self.limits), *(limit.name for limit in self.risk_limits))

    @property
    def counts_risk(self) -> bool:
        """Return whether the risk takes part in the objective."""
        return self.risk is not None and self.aversion > 0

    @property
    def is_mixed(self) -> bool:
        """Return whether anything in it is open or closed."""
        return bool(self.switches or self.orders or self.counts)

    def least_risk(self) -> Program:
        """Return the program that looks at the risk alone: its objective is minus the risk."""
        return replace(self, gain=np.zeros(self.n_columns), constant=0.0, aversion=1.0)

    def capacity(self) -> FloatArray:
        """Return the largest value each column can have alone, by its bound and the limits, shape (m,)."""
        capacity = np.asarray(self.upper, dtype=float).copy()
        for limit in self.limits:
            if np.isfinite(limit.upper) and limit.upper >= 0 and (limit.coefficients >= 0).all():
                used = limit.coefficients > 0
                capacity[used] = np.minimum(capacity[used], limit.upper / limit.coefficients[used])
        return capacity


@dataclass(frozen=True, eq=False)
class Solution:
    """An answer, checked.

    Attributes
    ----------
    status : str
        ``optimal`` only with a certificate; ``uncertified`` when no solver's answer passed the checks; values, prices
        and gains are NaN when it is ``infeasible`` or ``unbounded``.
    values : ndarray of shape (m,)
        What each column gets.
    objective : float
        Recomputed from the values; for a ratio, the ratio.
    shadow_prices : mapping of str to float
        By limit and risk limit: what one more unit of the bound that binds adds to the objective (negative for a lower
        bound); 0 where slack. With switches: as they stand.
    reduced_gains : ndarray of shape (m,)
        Marginal objective of each column less the price of what it uses: above 0 at its upper bound, below 0 where it
        stays out, 0 in between.
    primal_residual, gap : float
        Largest relative violation of a limit; proven distance from the best, relative to gain or risk, the larger.
    certified : bool
        Whether residual and gap are within ``RESIDUAL_TOLERANCE`` and ``GAP_TOLERANCE``.
    solver : str
        Which one gave the answer.
    seconds : float
        Wall time, fallbacks included.
    open : mapping of str to bool
        Which switches are open.
    """

    status: Status
    values: FloatArray
    objective: float
    shadow_prices: Mapping[str, float]
    reduced_gains: FloatArray
    primal_residual: float
    gap: float
    certified: bool
    solver: str
    seconds: float
    open: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """How hard to try.

    Attributes
    ----------
    time_limit_s : float
        For one mixed-integer search; the best answer so far is returned with its gap.
    mixed_gap : float
        Relative gap at which that search may stop.
    """

    time_limit_s: float = 60.0
    mixed_gap: float = 2e-7
