r"""Which few numbers describe a market of yields: its stylised facts, for simulated and real tables alike.

Per strategy: the median apy, the autocorrelation of the apy at 1, 7 and 30 calendar days, the normal
volatility :math:`\sqrt{365\,\overline{(y_t - y_{t-1})^2}}` in a typical week and over its whole life,
and the shares of negative and of unchanged days. Per category: the median over strategies, and tail
quantiles over all rows.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from aegis_yield.utils.typing import FloatArray

LAGS_DAYS = (1, 7, 30)
TAIL_LEVELS = (0.01, 0.05, 0.95, 0.99)
MIN_ROWS = 120
_MIN_PAIRS = 40


def stylised_facts(yields: pl.DataFrame, strategies: pl.DataFrame, min_rows: int = MIN_ROWS) -> pl.DataFrame:
    """Describe each category of a dataset in the form of the data contract.

    Parameters
    ----------
    yields : polars.DataFrame
        With ``strategy_id``, ``date`` and ``apy``.
    strategies : polars.DataFrame
        With ``strategy_id`` and ``category``.
    min_rows : int
        Strategies with fewer rows are left out: short histories bias autocorrelations down.

    Returns
    -------
    polars.DataFrame
        One row per category: ``category``, ``n_strategies``, ``median``, ``ac_1``, ``ac_7``, ``ac_30``,
        ``vol_week``, ``vol_life``, ``negative``, ``unchanged``, ``q01``, ``q05``, ``q95``, ``q99``. Rates
        are decimal fractions per year. A fact that no strategy has is null.
    """
    rows = yields.select("strategy_id", "date", "apy").join(
        strategies.select("strategy_id", "category"), on="strategy_id"
    )
    rows = rows.filter(pl.len().over("strategy_id") >= min_rows)
    each = [_facts_of_one(part) for part in rows.partition_by("strategy_id", maintain_order=True)]
    tails = rows.group_by("category").agg(
        pl.col("apy").quantile(level).alias(f"q{round(100 * level):02d}") for level in TAIL_LEVELS
    )
    per_strategy = pl.DataFrame(each, schema=_SCHEMA)
    middle = per_strategy.group_by("category").agg(pl.len().alias("n_strategies"), pl.exclude("category").median())
    return middle.join(tails, on="category").sort("category")


_SCHEMA = {
    "category": pl.String,
    "median": pl.Float64,
    **{f"ac_{lag}": pl.Float64 for lag in LAGS_DAYS},
    "vol_week": pl.Float64,
    "vol_life": pl.Float64,
    "negative": pl.Float64,
    "unchanged": pl.Float64,
}


def _facts_of_one(rows: pl.DataFrame) -> dict[str, str | float | None]:
    """Facts of one strategy, over its calendar: days without a row count as unknown, not as skipped."""
    day = rows["date"].to_physical().to_numpy().astype(np.int64)
    apy = np.full(int(day.max() - day.min()) + 1, np.nan)
    apy[day - day.min()] = rows["apy"].to_numpy()
    move = np.diff(apy)
    known = move[~np.isnan(move)]
    squares = move[: len(move) // 7 * 7].reshape(-1, 7) ** 2
    weeks = squares[~np.isnan(squares).any(axis=1)].mean(axis=1)
    return {
        "category": rows["category"][0],
        "median": float(np.nanmedian(apy)),
        **{f"ac_{lag}": _autocorrelation(apy, lag) for lag in LAGS_DAYS},
        "vol_week": float(np.median(np.sqrt(365.0 * weeks))) if len(weeks) else None,
        "vol_life": float(np.sqrt(365.0 * np.mean(known**2))) if len(known) else None,
        "negative": float(np.mean(apy[~np.isnan(apy)] < 0.0)),
        "unchanged": float(np.mean(np.abs(known) < 1e-9)) if len(known) else None,
    }


def _autocorrelation(apy: FloatArray, lag: int) -> float | None:
    """Correlation of days `lag` apart where both are known; None for too few pairs or a constant."""
    before, after = apy[:-lag], apy[lag:]
    both = ~np.isnan(before) & ~np.isnan(after)
    before, after = before[both], after[both]
    if len(before) < _MIN_PAIRS or min(before.std(), after.std()) < 1e-9:
        return None
    return float(np.corrcoef(before, after)[0, 1])
