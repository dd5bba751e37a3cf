"""Percent taken for a fraction is the commonest mistake in yield tables: look for it and say so."""

from __future__ import annotations

import warnings
from typing import Final

import polars as pl

from aegis_yield.domain.dataset import Dataset

STEADY_CATEGORIES: Final = ("lending", "staking", "savings_rate", "rwa")
"""Categories whose typical rate never reaches 100 % a year for long; liquidity pools and funding may."""

SUSPECT_MEDIAN_APY: Final = 1.0
_SHOWN: Final = 5


class UnitWarning(UserWarning):
    """Strategies look as if their apy were in percent rather than a fraction."""


def percent_suspects(dataset: Dataset) -> list[str]:
    """Return the strategies whose median apy is implausible as a fraction, sorted.

    A median above 1.0 (100 % a year) in a category that pays single digits: 3.1 for staking is a
    percentage.
    """
    medians = dataset.yields.group_by("strategy_id").agg(pl.col("apy").median())
    suspects = (
        medians.join(dataset.strategies.select("strategy_id", "category"), on="strategy_id")
        .filter(pl.col("category").is_in(STEADY_CATEGORIES) & (pl.col("apy") > SUSPECT_MEDIAN_APY))
        .sort("strategy_id")
    )
    return suspects["strategy_id"].to_list()


def warn_of_percent(dataset: Dataset) -> None:
    """Warn once, naming the suspects, if any strategy's apy looks like percent."""
    suspects = percent_suspects(dataset)
    if not suspects:
        return
    more = f" and {len(suspects) - _SHOWN} more" if len(suspects) > _SHOWN else ""
    warnings.warn(
        f"{dataset.name}: apy looks like percent, expected is a fraction (0.05 is 5 %), for "
        f"{', '.join(suspects[:_SHOWN])}{more}; divide by 100 if so",
        UnitWarning,
        stacklevel=3,
    )
