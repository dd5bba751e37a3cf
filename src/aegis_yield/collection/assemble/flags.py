"""Soft faults: a value that is odd is kept and flagged, by what was known on its day.

``quality_flags`` is a sum of powers of two (:class:`Flag`); 0 means that nothing was odd. Nothing is dropped here: the
network is trained on what was really paid, and the causal outlier rule of the data contract stands beside this.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

import polars as pl


class Flag(IntFlag):
    """What can be odd about a day."""

    SPIKE = 1  # the rate moved by more than eight typical moves
    ZERO_RUN = 2  # the second or a later zero in a row, after a rate that was not zero
    FROZEN = 4  # the third or a later day with the very same rate
    GAP = 8  # days are missing before this one
    TVL_JUMP = 16  # tvl_usd at least five times, or at most a fifth of, the day before
    UNIT_SUSPECT = 32  # about a hundred times, or a hundredth of, what is usual: percent taken for a fraction
    DISAGREEMENT = 64  # another source of the same strategy says something else


SPIKE_MOVES: Final = 8.0
SPIKE_MIN_APY: Final = 0.0025
SPIKE_WINDOW_ROWS: Final = 60
FROZEN_DAYS: Final = 3
TVL_FACTOR: Final = 5.0
UNIT_LOW, UNIT_HIGH = 50.0, 200.0
UNIT_MIN_APY: Final = 1e-3
DISAGREEMENT_APY: Final = 0.0025
DISAGREEMENT_SHARE: Final = 0.20
"""Two sources disagree beyond 25 basis points or a fifth of the rate, whichever is wider."""


def flagged(yields: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with ``quality_flags``.

    Parameters
    ----------
    yields : polars.DataFrame
        ``strategy_id``, ``date``, ``apy``, ``tvl_usd`` and ``other_apy`` (the same day's rate by another source, null
        if there is none), sorted by strategy and date.

    Returns
    -------
    polars.DataFrame
        With ``quality_flags`` (Int32) instead of ``other_apy``. Each row's flags depend on it and earlier rows only.
    """
    own = "strategy_id"
    before = pl.col("apy").shift(1).over(own)
    move = pl.col("apy").diff().abs().over(own)
    rows = yields.with_columns(move.alias("_move"), before.alias("_before")).with_columns(
        pl.col("_move").shift(1).rolling_median(SPIKE_WINDOW_ROWS, min_samples=10).over(own).alias("_typical"),
        pl.col("_before").rolling_median(SPIKE_WINDOW_ROWS, min_samples=10).over(own).alias("_usual"),
    )
    same = (pl.col("_move") == 0.0).fill_null(False)
    still = pl.all_horizontal(same, *(same.shift(n).over(own).fill_null(False) for n in range(1, FROZEN_DAYS - 1)))
    ratio = pl.col("apy") / pl.col("_usual")
    tvl_ratio = (pl.col("tvl_usd") / pl.col("tvl_usd").shift(1).over(own)).fill_nan(None)
    usual_move = (SPIKE_MOVES * pl.col("_typical")).clip(lower_bound=SPIKE_MIN_APY)  # unknown on the first days
    gap = pl.col("date").diff().over(own).dt.total_days()
    difference = (pl.col("apy") - pl.col("other_apy")).abs()
    was_paid = (pl.col("apy") != 0.0).cum_max().over(own)
    conditions = {
        Flag.SPIKE: pl.col("_move") > usual_move,
        Flag.ZERO_RUN: (pl.col("apy") == 0.0) & same & was_paid,
        Flag.FROZEN: still & (pl.col("apy") != 0.0),
        Flag.GAP: gap > 1,
        Flag.TVL_JUMP: (tvl_ratio >= TVL_FACTOR) | (tvl_ratio <= 1.0 / TVL_FACTOR),
        Flag.UNIT_SUSPECT: (pl.col("_usual").abs() > UNIT_MIN_APY)
        & (ratio.is_between(UNIT_LOW, UNIT_HIGH) | ratio.is_between(1.0 / UNIT_HIGH, 1.0 / UNIT_LOW)),
        Flag.DISAGREEMENT: difference
        > pl.max_horizontal(pl.lit(DISAGREEMENT_APY), DISAGREEMENT_SHARE * pl.col("apy").abs()),
    }
    total = pl.sum_horizontal(
        condition.fill_null(False).cast(pl.Int32) * flag.value for flag, condition in conditions.items()
    )
    return rows.with_columns(total.cast(pl.Int32).alias("quality_flags")).drop(
        "_move", "_before", "_typical", "_usual", "other_apy"
    )


def counted(yields: pl.DataFrame) -> dict[str, int]:
    """Return how many rows carry each flag, by its name in lower case."""
    flags = yields["quality_flags"]
    return {str(flag.name).lower(): int(((flags // flag.value) % 2).sum()) for flag in Flag}
