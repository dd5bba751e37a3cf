"""Hard faults: rows that cannot be true are set aside with the reason, never stored and never dropped in silence."""

from __future__ import annotations

import datetime as dt
from typing import Final

import polars as pl

from aegis_yield.collection.schemas import FIRST_DAY, TIME, Rule, TableSpec

CLOCK_SKEW: Final = dt.timedelta(minutes=5)
"""A source's clock may be ahead of ours by so much."""


def sift(spec: TableSpec, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part the rows of one table into possible and impossible ones.

    Parameters
    ----------
    spec : TableSpec
        The table they are for.
    rows : polars.DataFrame
        Its columns and the provenance.

    Returns
    -------
    good : polars.DataFrame
        Rows that break no rule.
    bad : polars.DataFrame
        The others, with a column ``reason`` that names every rule broken.
    """
    broken = [
        pl.when(rule.holds.fill_null(True)).then(None).otherwise(pl.lit(rule.words)).alias(f"_{number}")
        for number, rule in enumerate((*_common_rules(spec), *spec.rules))
    ]
    judged = rows.with_columns(pl.concat_str(broken, separator="; ", ignore_nulls=True).alias("reason"))
    is_good = pl.col("reason") == ""
    return judged.filter(is_good).drop("reason"), judged.filter(~is_good)


def _common_rules(spec: TableSpec) -> list[Rule]:
    rules = [Rule(f"{key} must be known", pl.col(key).is_not_null()) for key in (*spec.keys, "is_final")]
    rules += [
        Rule(f"{name} must be a finite number", pl.col(name).is_finite())
        for name, kind in spec.values.items()
        if kind == pl.Float64
    ]
    limits = pl.col("ingested_at") + CLOCK_SKEW
    for name, kind in {**spec.keys, **spec.values}.items():
        if kind == pl.Date:
            rules.append(Rule(f"{name} must not lie in the future", pl.col(name) <= limits.dt.date()))
            rules.append(Rule(f"{name} must not lie before {FIRST_DAY}", pl.col(name) >= FIRST_DAY))
        elif kind == TIME:
            first = dt.datetime.combine(FIRST_DAY, dt.time(), dt.UTC)
            rules.append(Rule(f"{name} must not lie in the future", pl.col(name) <= limits))
            rules.append(Rule(f"{name} must not lie before {FIRST_DAY}", pl.col(name) >= first))
    return rules
