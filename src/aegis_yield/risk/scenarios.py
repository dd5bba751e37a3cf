"""Building scenarios: ordinary futures drawn from the forecasts, and every loss event with its exact probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES, NEVER_NEGATIVE
from aegis_yield.domain.errors import RequestError
from aegis_yield.domain.forecast import Forecasts
from aegis_yield.domain.targets import GROWTH_FLOOR
from aegis_yield.risk.bootstrap import DEFAULT_BLOCK_DAYS, stationary_indices
from aegis_yield.risk.copula import sample_ranks
from aegis_yield.risk.events import EventTable
from aegis_yield.risk.marginals import quantile_mean, quantile_weights
from aegis_yield.risk.paths import History, PathPlan, lowest_apy, nav_paths, price_returns
from aegis_yield.risk.scenarios_value import Scenarios
from aegis_yield.utils.typing import FloatArray, IntArray

DEFAULT_SCENARIOS: Final = 1_000
DRAWS_PER_EVENT: Final = 5


@dataclass(frozen=True)
class JointForecast:
    """Forecasts of n strategies at one origin, and how their errors move together.

    Attributes
    ----------
    strategy_ids : tuple of str
        All different.
    horizon_days : int
        h.
    levels : tuple of float
        k rising quantile levels.
    quantiles : ndarray of shape (n, k)
        Calibrated quantiles of the horizon's apy, never falling along a row.
    correlation : ndarray of shape (n, n)
        Of the Gaussian copula.
    floor : ndarray of shape (n,)
        Least apy: no tail goes below it.
    """

    strategy_ids: tuple[str, ...]
    horizon_days: int
    levels: tuple[float, ...]
    quantiles: FloatArray
    correlation: FloatArray
    floor: FloatArray

    def __post_init__(self) -> None:
        n = len(self.strategy_ids)
        if len(set(self.strategy_ids)) < n or not n:
            raise RequestError("strategies", self.strategy_ids, "at least one strategy, each named once")
        if self.quantiles.shape != (n, len(self.levels)) or self.floor.shape != (n,):
            received = (self.quantiles.shape, self.floor.shape)
            raise RequestError("quantiles, floor", received, f"shapes {(n, len(self.levels))} and {(n,)}")
        if not np.isfinite(self.quantiles).all() or (np.diff(self.quantiles, axis=1) < 0).any():
            bad = ~np.isfinite(self.quantiles) | (np.diff(self.quantiles, axis=1, prepend=-np.inf) < 0)
            named = [self.strategy_ids[row] for row in np.unique(np.nonzero(bad)[0])]
            raise RequestError("quantiles", f"those of {', '.join(named[:5])}", "finite numbers that never fall")

    @classmethod
    def of(cls, forecasts: Forecasts, correlation: FloatArray | None = None) -> JointForecast:
        """Take forecasts of one origin; without a correlation they are independent."""
        names = [CATEGORIES[code] for code in forecasts.keys.category]
        return cls(
            strategy_ids=tuple(str(strategy) for strategy in forecasts.keys.strategy_id),
            horizon_days=forecasts.horizon_days,
            levels=forecasts.levels,
            quantiles=forecasts.quantiles,
            correlation=np.eye(len(names)) if correlation is None else correlation,
            floor=lowest_apy([name in NEVER_NEGATIVE for name in names]),
        )

    def mean_apy(self) -> FloatArray:
        """Return the mean of each forecast distribution, shape (n,): what scenarios average to, floor aside."""
        return quantile_mean(self.levels, self.quantiles)

    def ordered(self, order: IntArray) -> JointForecast:
        """Return the same with the strategies in another order."""
        take = np.asarray(order)
        return JointForecast(
            strategy_ids=tuple(self.strategy_ids[i] for i in take),
            horizon_days=self.horizon_days,
            levels=self.levels,
            quantiles=self.quantiles[take],
            correlation=self.correlation[np.ix_(take, take)],
            floor=self.floor[take],
        )


@dataclass(frozen=True)
class Draw:
    """How scenarios are drawn.

    Attributes
    ----------
    n_scenarios : int
        Ordinary scenarios, at least 1.
    seed : int
        The same seed gives the same scenarios.
    draws_per_event : int
        Ordinary scenarios that each event is crossed with, at least 1.
    block_days : float
        Expected length of the blocks of history that are resampled.
    """

    n_scenarios: int = DEFAULT_SCENARIOS
    seed: int = 0
    draws_per_event: int = DRAWS_PER_EVENT
    block_days: float = DEFAULT_BLOCK_DAYS

    def __post_init__(self) -> None:
        for name in ("n_scenarios", "draws_per_event"):
            if getattr(self, name) < 1:
                raise RequestError(name, getattr(self, name), "a whole number, at least 1")
        if self.seed < 0:
            raise RequestError("seed", self.seed, "a whole number, at least 0")


@dataclass(frozen=True)
class Simulation:
    """Scenarios and what is needed to lay out their paths.

    Attributes
    ----------
    scenarios : Scenarios
        The ordinary ones first, then each event's.
    plan : PathPlan
        Their paths, still to be laid out.
    history : History
        The moves that the paths repeat.
    """

    scenarios: Scenarios
    plan: PathPlan
    history: History

    def nav(self) -> FloatArray:
        """Return the NAV of a unit deposit day by day, float32, shape (n_scenarios, h + 1, n).

        Row by row the same scenarios: the last day is ``1 + scenarios.returns()`` to about 1e-6.
        """
        return nav_paths(self.plan, self.history)


def build(
    forecast: JointForecast,
    history: History | None = None,
    events: EventTable | None = None,
    draw: Draw | None = None,
) -> Simulation:
    """Build the scenarios of a horizon.

    Ordinary scenarios share the probability that no event happens. Each event is crossed with ``draws_per_event`` of
    them, one from each stratum of their mean return, and those share the event's probability: every probability is
    exact, none is sampled. Errors of the forecasts and moves of prices are independent of each other; each are joint
    over strategies.

    Parameters
    ----------
    forecast : JointForecast
        n strategies.
    history : History, optional
        Their past moves, columns in the same order; by default nothing moves.
    events : EventTable, optional
        Events of the same strategies and horizon; by default none.
    draw : Draw, optional
        How many, which seed.

    Returns
    -------
    Simulation
        The order of the strategies decides nothing: permuting them permutes the columns.

    Raises
    ------
    RequestError
        If history or events do not fit the strategies, or the correlation is none.
    """
    n, drawn = len(forecast.strategy_ids), draw or Draw()
    past, happening = history or History.flat(n), events or _no_events(forecast.strategy_ids)
    _check_fit(forecast, past, happening)
    rng = np.random.default_rng(drawn.seed)
    apy = _sampled_apy(forecast, drawn.n_scenarios, rng)
    shape = (drawn.n_scenarios, forecast.horizon_days)
    rows = stationary_indices(len(past.price_moves), shape, drawn.block_days, rng)
    price = price_returns(rows, past)
    base, day = _crossed(apy, price, (len(happening.names), drawn.draws_per_event, forecast.horizon_days), rng)
    return _assembled(forecast, happening, past, _Ordinary(apy, price, rows, base, day))


@dataclass(frozen=True)
class _Ordinary:
    """Ordinary scenarios, and for each of k events the m (k, m) that it is crossed with and on which day."""

    apy: FloatArray
    price: FloatArray
    rows: IntArray
    base: IntArray
    day: IntArray


def _sampled_apy(forecast: JointForecast, n_scenarios: int, rng: np.random.Generator) -> FloatArray:
    # Drawn in the order of the names, so that the order in which they are given decides nothing.
    order = np.argsort(np.array(forecast.strategy_ids), kind="stable")
    ranks = np.empty((n_scenarios, len(order)), dtype=np.int64)
    ranks[:, order] = sample_ranks(forecast.ordered(order).correlation, n_scenarios, rng)
    middle = (np.arange(n_scenarios) + 0.5) / n_scenarios
    values = forecast.quantiles @ quantile_weights(forecast.levels, middle).T
    floored = np.maximum(values, np.maximum(forecast.floor, GROWTH_FLOOR - 1.0)[:, None])
    return np.asarray(np.take_along_axis(floored.T, ranks, axis=0))


def _crossed(
    apy: FloatArray, price: FloatArray, counts: tuple[int, int, int], rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Choose for each event one ordinary scenario of each stratum, and days spread over the horizon."""
    n_events, n_draws, horizon = counts
    n_draws = min(n_draws, len(apy))
    by_return = np.argsort(_fair_sum(np.log1p(apy) / 365.0 * horizon + np.log1p(price)), kind="stable")
    edges = np.linspace(0, len(apy), n_draws + 1).astype(np.int64)
    place = edges[:-1] + np.floor(rng.random((n_events, n_draws)) * np.diff(edges)).astype(np.int64)
    stratum = rng.permuted(np.tile(np.arange(n_draws), (n_events, 1)), axis=1)
    day = 1 + np.floor((stratum + rng.random((n_events, n_draws))) / n_draws * horizon).astype(np.int64)
    return by_return[place], np.minimum(day, horizon)


def _fair_sum(values: FloatArray) -> FloatArray:
    """Sum rows in the order of their values: the order of the columns must not decide even a rounding."""
    return np.asarray(np.sort(values, axis=1).sum(axis=1))


def _assembled(forecast: JointForecast, events: EventTable, history: History, ordinary: _Ordinary) -> Simulation:
    n_ordinary, n_draws = len(ordinary.apy), ordinary.base.shape[1]
    source = np.concatenate([np.arange(n_ordinary), ordinary.base.ravel()])
    calm = (1.0 - events.probability.sum()) / n_ordinary
    probability = np.concatenate([np.full(n_ordinary, calm), np.repeat(events.probability / n_draws, n_draws)])
    loss = np.concatenate([np.zeros_like(ordinary.apy), np.repeat(events.loss, n_draws, axis=0)])
    scenarios = Scenarios(
        strategy_ids=forecast.strategy_ids,
        horizon_days=forecast.horizon_days,
        apy=ordinary.apy[source],
        price_return=ordinary.price[source],
        loss=loss,
        probability=probability,
        label=("",) * n_ordinary + tuple(name for name in events.names for _ in range(n_draws)),
    )
    day = np.concatenate([np.zeros(n_ordinary, dtype=np.int64), ordinary.day.ravel()])
    return Simulation(scenarios, PathPlan(scenarios.apy, loss, day, ordinary.rows[source], forecast.floor), history)


def _no_events(strategy_ids: tuple[str, ...]) -> EventTable:
    return EventTable(strategy_ids, (), np.empty(0), np.empty((0, len(strategy_ids))))


def _check_fit(forecast: JointForecast, history: History, events: EventTable) -> None:
    n = len(forecast.strategy_ids)
    if history.price_moves.shape[1:] != (n,) or history.rate_moves.shape != history.price_moves.shape:
        received = (history.price_moves.shape, history.rate_moves.shape)
        raise RequestError("history", received, f"two arrays of the same shape (days, {n})")
    if events.strategy_ids != forecast.strategy_ids:
        raise RequestError("events", events.strategy_ids[:5], "events of the forecast's strategies, in the same order")
