"""The common rows: every eligible strategy at every origin with a known outcome, and what each method said there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.forecast import QUANTILE_COLUMNS, QUANTILE_LEVELS, interval_levels
from aegis_yield.models.scores import (
    MIN_VOLATILITY,
    by_strategy,
    geometric_mean,
    qlike,
    quantile_crps,
    relative_scores,
    winkler,
)
from aegis_yield.preprocessing.origins import outcomes
from aegis_yield.preprocessing.panel import build_panel, to_date, to_day
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

LEVELS: Final = np.array(QUANTILE_LEVELS)
COVERED: Final = (0.80, 0.90, 0.95)
LOSSES: Final = ("mae", "crps", "winkler90")
"""Losses that are compared as ratios."""

Losses = dict[str, FloatArray]
"""Name of a loss to its value on each row; NaN where the method says nothing."""


@dataclass(frozen=True)
class Rows:
    """Forecast rows that everybody is scored on.

    Attributes
    ----------
    strategy_id : ndarray of str, shape (n,)
    day : ndarray of int, shape (n,)
        Day number of the origin.
    category, strategy : ndarray of int, shape (n,)
        Codes.
    born : ndarray of int, shape (n,)
        Day number of the strategy's first row in the data.
    apy, volatility : ndarray of shape (n,)
        Outcomes, all known.
    """

    strategy_id: np.ndarray
    day: IntArray
    category: IntArray
    strategy: IntArray
    born: IntArray
    apy: FloatArray
    volatility: FloatArray

    def __len__(self) -> int:
        return len(self.day)

    @classmethod
    def of(cls, dataset: Dataset, origins: tuple[int, ...], horizon_days: int) -> Rows:
        """Lay out all eligible strategies at the origins whose outcomes are in the data."""
        panel = build_panel(dataset, start=to_date(origins[0] - 60), end=to_date(origins[-1] + horizon_days))
        eligible = panel.eligible()
        parts = []
        last = to_day(dataset.last_date)
        for day in (day for day in origins if day <= last):
            rows = np.flatnonzero(eligible[:, panel.column_of(day)])
            apy, volatility = outcomes(panel, rows, day, horizon_days)
            known = np.isfinite(apy)
            parts.append((rows[known], np.full(int(known.sum()), day), apy[known], volatility[known]))
        row, day_of, apy, volatility = (np.concatenate([part[at] for part in parts]) for at in range(4))
        return cls(
            strategy_id=panel.strategy_ids[row].astype(str),
            day=day_of,
            category=panel.categories[row],
            strategy=row,
            born=panel.first_day - panel.age_at_start[row],
            apy=apy,
            volatility=volatility,
        )

    @property
    def n_strategies(self) -> int:
        """One more than the largest strategy code."""
        return int(self.strategy.max()) + 1 if len(self) else 0

    def read(self, table: pl.DataFrame, name: str, origins: tuple[int, ...]) -> pl.DataFrame:
        """Return a method's forecasts in the order of these rows, NaN at origins it was not asked for.

        Raises
        ------
        ValueError
            If it left out a row at an origin it was asked for: then scores would compare different rows.
        """
        own = pl.DataFrame({"strategy_id": self.strategy_id.tolist(), "day": self.day})
        theirs = table.with_columns(pl.col("origin").cast(pl.Date).cast(pl.Int32).cast(pl.Int64).alias("day"))
        wanted = ["apy", "volatility", *QUANTILE_COLUMNS]
        joined = own.join(
            theirs.select("strategy_id", "day", *wanted, pl.lit(True).alias("present")),
            on=["strategy_id", "day"], how="left", maintain_order="left",
        )  # fmt: skip
        missing = ~joined["present"].fill_null(False).to_numpy() & np.isin(self.day, origins)
        if missing.any():
            first = int(np.flatnonzero(missing)[0])
            raise ValueError(
                f"{name}: no forecast for {int(missing.sum())} of the common rows, the first is "
                f"{self.strategy_id[first]} at {to_date(int(self.day[first]))}"
            )
        return joined.select(pl.col(wanted).cast(pl.Float64).fill_null(float("nan")))

    def losses(self, forecasts: pl.DataFrame) -> Losses:
        """Score forecasts that :meth:`read` has put in order; all shapes (n,)."""
        quantiles = forecasts.select(QUANTILE_COLUMNS).to_numpy()
        volatility = forecasts["volatility"].to_numpy()
        actual = self.apy
        found = {"mae": np.abs(actual - forecasts["apy"].to_numpy()), "crps": quantile_crps(actual, quantiles, LEVELS)}
        for level in COVERED:
            low, high = (quantiles[:, QUANTILE_LEVELS.index(end)] for end in interval_levels(level))
            inside = np.where(np.isnan(low), np.nan, (low <= actual) & (actual <= high))
            percent = round(100 * level)
            found |= {f"inside{percent}": inside, f"width{percent}": high - low}
            found[f"winkler{percent}"] = winkler(actual, low, high, level)
        return found | {"qlike": qlike(self.volatility, volatility), "log": log_error(self.volatility, volatility)}

    def relative(self, loss: FloatArray, naive: FloatArray, scored: BoolArray, chosen: BoolArray) -> float:
        """Return the geometric mean over scored strategies of mean loss over mean naive loss on the chosen rows."""
        ratios = relative_scores(loss[chosen], naive[chosen], self.strategy[chosen], self.n_strategies)
        return geometric_mean(np.where(scored, ratios, np.nan))

    def weights(self, naive: FloatArray, scored: BoolArray, chosen: BoolArray) -> FloatArray:
        """Return one over the mean naive loss of each row's strategy on the chosen rows, shape (n,).

        0 on rows that are not chosen and for strategies that do not count.
        """
        mean = by_strategy(naive[chosen], self.strategy[chosen], self.n_strategies)
        weight = np.divide(1.0, mean, out=np.zeros(self.n_strategies), where=scored & (np.nan_to_num(mean) > 0))
        return np.where(chosen, weight[self.strategy], 0.0)


def log_error(actual: FloatArray, forecast: FloatArray) -> FloatArray:
    """Return the absolute error of log volatility, both floored as QLIKE floors them, shape (n,)."""
    floor = MIN_VOLATILITY
    return np.asarray(np.abs(np.log(np.maximum(actual, floor)) - np.log(np.maximum(forecast, floor))))


def month_of(day: IntArray) -> IntArray:
    """Return the calendar month of day numbers, counted from 1970-01."""
    return np.asarray(day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64))


def quarter_of(day: IntArray) -> IntArray:
    """Return the calendar quarter of day numbers, counted from 1970-Q1."""
    return month_of(day) // 3


def month_name(month: int) -> str:
    """Return a month counted from 1970-01 as text."""
    return f"{1970 + month // 12}-{month % 12 + 1:02d}"


def quarter_name(quarter: int) -> str:
    """Return a quarter counted from 1970-Q1 as text."""
    return f"{1970 + quarter // 4}-Q{quarter % 4 + 1}"
