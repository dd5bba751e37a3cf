"""The small market with some of its rows changed, and forecasters on it that remember nothing."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from bundles import CHECKOUT, market

from aegis_yield.domain.dataset import Dataset
from aegis_yield.pipelines.predict import Forecaster
from aegis_yield.preprocessing.cleaning import clean

AAVE, LIDO, DELTA = "aave-v3:ethereum:usdc", "lido:ethereum:steth", "delta-neutral:binance:eth"
SUSDE, COMPOUND = "ethena-usde:ethereum:susde", "compound-v3:ethereum:usdc"
POOL = "uniswap-v3:base:weth-usdc"


def on_tables(forecaster: Forecaster, dataset: Dataset) -> Forecaster:
    """Return the same model on other tables."""
    return Forecaster(dataset, forecaster.bundle, forecaster.model_version, forecaster.names)


def scrambled_after(day: dt.date, seed: int = 0) -> Dataset:
    """Replace every number dated later by noise, and drop a third of the later rows."""
    yields, days = _scrambled(market().yields, day, seed), _scrambled(market().market, day, seed)
    return clean(replace(market(), yields=yields, market=days))


def _scrambled(table: pl.DataFrame, day: dt.date, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    late = pl.col("date") > day
    noise = [
        pl.when(late).then(pl.Series(rng.lognormal(-2, 2, table.height))).otherwise(pl.col(name)).alias(name)
        for name, kind in table.schema.items()
        if kind == pl.Float64
    ]
    kept = pl.Series(rng.random(table.height) > 1 / 3)
    return table.with_columns(noise).filter(~late | kept)


def with_values(strategy: str, **columns: object) -> Dataset:
    """Set columns of one strategy's rows: to a constant, to null (None) or to a polars expression."""
    own = pl.col("strategy_id") == strategy
    changed = [
        pl.when(own).then(value if isinstance(value, pl.Expr) else pl.lit(value)).otherwise(pl.col(name)).alias(name)
        for name, value in columns.items()
    ]
    return replace(market(), yields=market().yields.with_columns(changed))


def edited(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """Write a shipped config file with some of its text replaced, each once."""
    text = (CHECKOUT / "configs" / name).read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text)
    return path
