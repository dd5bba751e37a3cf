"""Causal cleaning: gaps, outliers and frozen stretches are counted and flagged, never dropped.

A row is flagged by what was known on its day. Values stay as they were received: the network sees the
flag, and forecasts are scored against what really was paid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from aegis_yield.domain.dataset import Dataset

OUTLIER_SCALES: Final = 20.0
"""A move counts as an outlier beyond this many typical moves of the 60 rows before it ..."""

OUTLIER_MIN_APY: Final = 0.02
"""... if it is also larger than this (2 percentage points) and than half the level."""

FROZEN_ROWS: Final = 14
"""So many equal rows in a row count as frozen."""


@dataclass(frozen=True)
class QualityReport:
    """What is imperfect in a dataset, counted.

    Attributes
    ----------
    n_strategies, n_rows : int
        Size.
    n_gaps, n_missing_days : int
        Interruptions inside the strategies' lives, and the days they cover.
    n_outliers : int
        Rows flagged as outliers, by the source or by the causal rule here.
    n_frozen_rows : int
        Rows that repeat the value of the 13 rows before them.
    """

    n_strategies: int
    n_rows: int
    n_gaps: int
    n_missing_days: int
    n_outliers: int
    n_frozen_rows: int

    def __str__(self) -> str:
        return (
            f"{self.n_rows:,} rows of {self.n_strategies:,} strategies; {self.n_gaps:,} gaps "
            f"({self.n_missing_days:,} days), {self.n_outliers:,} outliers flagged, {self.n_frozen_rows:,} frozen rows"
        )


def clean(dataset: Dataset) -> Dataset:
    """Return the dataset with ``is_outlier`` completed by the causal rule.

    Parameters
    ----------
    dataset : Dataset
        Sorted by strategy and date, keys unique.

    Returns
    -------
    Dataset
        Same rows, same values. ``is_outlier`` holds where the source says so or where the day's move
        exceeds :data:`OUTLIER_SCALES` times the mean absolute move of up to 60 rows before it.
    """
    known = pl.col("is_outlier").fill_null(False) if "is_outlier" in dataset.yields.columns else pl.lit(False)
    move = pl.col("apy").diff().abs().over("strategy_id")
    typical = (
        pl.col("_move").shift(1).rolling_mean(window_size=60, min_samples=20).over("strategy_id")
    )  # shift: the day's own move must not widen its own yardstick
    jump = pl.col("_move") > OUTLIER_SCALES * typical
    large = pl.col("_move") > pl.max_horizontal(
        pl.lit(OUTLIER_MIN_APY), 0.5 * pl.col("apy").shift(1).abs().over("strategy_id")
    )
    yields = (
        dataset.yields.with_columns(move.alias("_move"))
        .with_columns((known | (jump & large).fill_null(False)).alias("is_outlier"))
        .drop("_move")
    )
    return replace(dataset, yields=yields)


def quality_report(dataset: Dataset) -> QualityReport:
    """Count what is imperfect in a cleaned dataset."""
    gap = pl.col("date").diff().over("strategy_id").dt.total_days().fill_null(1)
    still = (pl.col("apy").diff() == 0).fill_null(False).over("strategy_id")
    frozen = pl.col("_still").cast(pl.Int32).rolling_sum(window_size=FROZEN_ROWS - 1).over("strategy_id")
    counts = (
        dataset.yields.with_columns(gap.alias("_gap"), still.alias("_still"))
        .select(
            (pl.col("_gap") > 1).sum().alias("gaps"),
            (pl.col("_gap") - 1).sum().alias("missing"),
            pl.col("is_outlier").sum().alias("outliers"),
            (frozen == FROZEN_ROWS - 1).sum().alias("frozen"),
        )
        .row(0, named=True)
    )
    return QualityReport(
        n_strategies=dataset.yields["strategy_id"].n_unique(),
        n_rows=dataset.yields.height,
        n_gaps=int(counts["gaps"]),
        n_missing_days=int(counts["missing"]),
        n_outliers=int(counts["outliers"]),
        n_frozen_rows=int(counts["frozen"]),
    )
