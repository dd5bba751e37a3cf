r"""Which rows look like outliers on the day they appear: a rule that reads the past only.

A row is flagged when its apy is beyond fixed bounds, or is further from the median of the last 7 rows
than 8 times the usual daily move:

.. math:: |y_t - \mathrm{med}(y_{t-7..t-1})| > \max(0.05,\; 8\,\mathrm{mean}_{k=1..30} |y_{t-k} - y_{t-k-1}|)
"""

from __future__ import annotations

import polars as pl

LEVEL_ROWS = 7
MOVE_ROWS = 30
MIN_MOVES = 5
MOVE_MULTIPLE = 8.0
MOVE_FLOOR = 0.05
APY_FLOOR, APY_CAP = -0.9, 5.0


def outlier_rule() -> pl.Expr:
    """Build the rule for a table with ``strategy_id`` and ``apy``, sorted by date within each strategy.

    Returns
    -------
    polars.Expr
        Boolean, never null; a strategy's first rows can break the fixed bounds only.
    """
    apy = pl.col("apy")
    level = apy.shift(1).rolling_median(LEVEL_ROWS, min_samples=1)
    usual_move = apy.diff().abs().shift(1).rolling_mean(MOVE_ROWS, min_samples=MIN_MOVES)
    is_far = (apy - level).abs() > (MOVE_MULTIPLE * usual_move).clip(lower_bound=MOVE_FLOOR)
    is_beyond = (apy > APY_CAP) | (apy < APY_FLOOR)
    return (is_beyond | is_far.over("strategy_id").fill_null(value=False)).alias("is_outlier")
