"""Candidates of an allocation: each strategy's rate curve, size, costs and groups, from its table and its forecast."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import HistoryError
from aegis_yield.pipelines.costs import Habits
from aegis_yield.pipelines.predict import StrategyForecast
from aegis_yield.portfolio.impact import FundingDepth, PriceTaker, RateCurve, simple_rate
from aegis_yield.portfolio.inference import PROBE_SHARE, InferredCurve, PoolHistory, infer_curve
from aegis_yield.portfolio.problem import Candidate
from aegis_yield.risk.events import Exposures

HISTORY_DAYS: Final = 365
PRICE_DAYS: Final = 60
_COLUMNS: Final = ("apy", "apy_base", "borrow_apy", "utilization", "total_supply_usd", "total_borrow_usd", "tvl_usd")
_UNDILUTED: Final = ("staking", "savings_rate", "rwa")
"""What pays from outside the pool: a deposit does not lower it, up to a capacity."""


@dataclass(frozen=True)
class Made:
    """A candidate and where its curve comes from.

    Attributes
    ----------
    candidate : Candidate
        For the problem.
    curve_quality : str
        ``fitted``, ``assumed`` or ``price taker``.
    curve_note : str
        Why, in a few words.
    kept_low, kept_high : float
        Between these shares of the present rate, at 90 %, lies what is left after a deposit of 10 % of the pool.
    """

    candidate: Candidate
    curve_quality: str
    curve_note: str
    kept_low: float
    kept_high: float


@dataclass(frozen=True)
class Workshop:
    """What candidates are made with: tables as known then, costs, dependencies, the horizon."""

    dataset: Dataset
    habits: Habits
    exposed: Exposures
    horizon_days: int
    as_of: dt.date
    curves: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    """Curves inferred before from the same tables, by day and strategy."""

    def candidate(self, forecast: StrategyForecast) -> Made:
        """Return the candidate of a forecast strategy.

        Raises
        ------
        HistoryError
            If its size was never known and it is a pool whose rate depends on that.
        """
        strategy = forecast.strategy_id
        described = self.dataset.strategies.filter(pl.col("strategy_id") == strategy).row(0, named=True)
        history = self._history(strategy)
        category, chain = forecast.category, str(described["chain"] or "")
        shape, quality, note, kept = self._curve(history, forecast)
        depends = self.exposed.of(strategy)
        project = str(described["project"] or "unknown")
        groups = {"protocol": strategy if project == "unknown" else project, "category": category}
        groups["chain"] = (depends.get("chain") or (chain.lower(),))[0]
        if depends.get("issuer"):
            groups["issuer"] = "+".join(sorted(depends["issuer"]))
        size, instant = _size(history, category)
        candidate = Candidate(
            strategy_id=strategy,
            groups=groups,
            apy=forecast.apy,
            apy_low=forecast.low,
            curve=shape.scaled_to(float(simple_rate(np.array(forecast.apy), self.horizon_days))),
            tvl_usd=size,
            instant_usd=instant,
            exit_days=self.habits.days_to_leave(strategy, category),
            cost=self.habits.cost(strategy, category, chain),
        )
        return Made(candidate, quality, note, *kept)

    def _history(self, strategy: str) -> PoolHistory:
        first = self.as_of - dt.timedelta(days=HISTORY_DAYS)
        yields = self.dataset.yields
        own = yields.filter((pl.col("strategy_id") == strategy) & pl.col("date").is_between(first, self.as_of))
        absent = [pl.lit(None, pl.Float64).alias(name) for name in _COLUMNS if name not in own.columns]
        whole = own.with_columns(absent).sort("date").select(pl.col(_COLUMNS).cast(pl.Float64))
        whole = whole.with_columns(pl.coalesce("apy_base", "apy").alias("apy")).drop("apy_base").fill_null(np.nan)
        return PoolHistory(*(whole[name].to_numpy() for name in whole.columns))

    def _curve(
        self, history: PoolHistory, forecast: StrategyForecast
    ) -> tuple[RateCurve, str, str, tuple[float, float]]:
        if forecast.category in _UNDILUTED:
            words = "paid from outside the pool: a deposit does not lower it"
            return PriceTaker(forecast.apy), "price taker", words, (1.0, 1.0)
        if forecast.category == "delta_neutral":
            known = _latest(history.tvl_usd)
            depth = self.habits.open_interest_usd
            curve = FundingDepth(forecast.apy, max(depth, known or 0.0), self.habits.funding_drop_apy)
            kept = _kept(curve, known or depth)
            return curve, "assumed", "funding falls with one's own share of open interest", (kept, kept)
        key = ("curve", self.as_of, forecast.strategy_id)
        found: InferredCurve = self.curves.get(key) or infer_curve(history)
        self.curves[key] = found
        return found.curve, found.quality, found.note, (found.kept_low, found.kept_high)


def _size(history: PoolHistory, category: str) -> tuple[float | None, float | None]:
    """Return a pool's size, and what it can pay out at once where that is known: what nobody has borrowed."""
    supply, tvl = _latest(history.total_supply_usd), _latest(history.tvl_usd)
    if category == "lending":
        idle = history.tvl_usd[np.isfinite(history.tvl_usd)]
        return (supply or tvl), (float(idle[-1]) if len(idle) else None)  # all borrowed: 0, which is no unknown
    return (tvl or supply), None


def _latest(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) and known[-1] > 0 else None


def _kept(curve: FundingDepth, size_usd: float) -> float:
    """Return the share of the present funding left after a deposit of 10 % of the size; all of what is no income."""
    now, after = curve.rate(np.array([0.0, PROBE_SHARE * size_usd]))
    return float(after / now) if now > 0.0 else 1.0


def unpriced_pools(dataset: Dataset, forecasts: list[StrategyForecast], as_of: dt.date) -> dict[str, str]:
    """Return the liquidity pools whose value nobody recorded of late, with what that means.

    What such a pool pays is known and what its coins lose is not: counted as if they stood still, it would look
    better than everything else.
    """
    pools = [forecast.strategy_id for forecast in forecasts if forecast.category == "amm_lp"]
    priced: set[str] = set()
    if "price" in dataset.yields.columns:
        recent = pl.col("date").is_between(as_of - dt.timedelta(days=PRICE_DAYS), as_of)
        own = dataset.yields.filter(pl.col("strategy_id").is_in(pools) & recent & pl.col("price").is_not_null())
        priced = set(own["strategy_id"].unique())
    reason = "what its coins are worth is not recorded, so its losses are not known; name it to use it all the same"
    return {pool: reason for pool in pools if pool not in priced}


def made_from(workshop: Workshop, forecasts: list[StrategyForecast]) -> tuple[list[Made], dict[str, str]]:
    """Return the candidates of all forecasts, and those that cannot be one, with the reason."""
    made, left_out = [], {}
    for forecast in forecasts:
        try:
            made.append(workshop.candidate(forecast))
        except HistoryError as error:
            left_out[forecast.strategy_id] = str(error)
    return made, left_out
