"""Which tables a command works on: a folder, the collected default, or the simulated market."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import RequestError
from aegis_yield.preprocessing.cleaning import clean
from aegis_yield.preprocessing.tables import find_table, read_dataset
from aegis_yield.simulation import MarketSpec, simulate_market
from aegis_yield.utils.project import project_root


def default_data_folder() -> Path:
    """Return ``data/processed`` of the project: where collected tables lie."""
    return project_root() / "data" / "processed"


def open_dataset(folder: Path | None = None) -> Dataset:
    """Open the tables to work on.

    Parameters
    ----------
    folder : Path, optional
        A dataset folder. Without it: ``data/processed`` if it holds tables, else the simulated market.

    Raises
    ------
    DataError
        If the folder is no dataset or a table breaks the contract.
    """
    if folder is not None:
        return read_dataset(folder)
    processed = default_data_folder()
    if find_table(processed, "yields") is not None:
        return read_dataset(processed)
    return simulated_dataset(MarketSpec())


def simulated_dataset(spec: MarketSpec) -> Dataset:
    """Return a simulated market as a dataset; every row's ``source`` says so."""
    market = simulate_market(spec)
    return clean(
        Dataset(
            yields=market.yields,
            strategies=market.strategies,
            market=market.market,
            name=f"simulated market (seed {spec.seed})",
        )
    )


def content_hash(dataset: Dataset) -> str:
    """Return a SHA-256 over names, types and values of all three tables, the same wherever they lie."""
    digest = hashlib.sha256()
    for table in (dataset.yields, dataset.strategies, dataset.market):
        for column in sorted(table.columns):
            digest.update(f"{column}:{table.schema[column]}:".encode())
            digest.update(_column_bytes(table[column]))
    return digest.hexdigest()


def _column_bytes(series: pl.Series) -> bytes:
    if series.dtype.is_temporal():
        series = series.to_physical()
    if series.dtype == pl.String:
        return str(series.fill_null("\x00").str.join("\x1f").item()).encode()
    if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        return "\x1f".join("\x00" if value is None else str(value) for value in series.to_list()).encode()
    values = series.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    return np.ascontiguousarray(values).tobytes()


def strategy_listing(dataset: Dataset, category: str | None = None) -> list[dict[str, Any]]:
    """Return what a dataset holds, one plain row per strategy with rows, sorted by id.

    Parameters
    ----------
    dataset : Dataset
        Validated tables.
    category : str, optional
        Only strategies of this category.

    Raises
    ------
    RequestError
        If the category is unknown.
    """
    if category is not None and category not in CATEGORIES:
        raise RequestError("category", category, f"one of {', '.join(CATEGORIES)}")
    spans = dataset.yields.group_by("strategy_id").agg(
        pl.col("date").min().alias("first_date"),
        pl.col("date").max().alias("last_date"),
        pl.len().alias("n_rows"),
        pl.col("apy").last().alias("last_apy"),
    )
    described = dataset.strategies.select("strategy_id", "project", "chain", "symbol", "category")
    listing = described.join(spans, on="strategy_id").sort("strategy_id")
    if category is not None:
        listing = listing.filter(pl.col("category") == category)
    return listing.to_dicts()


def reference_folder() -> Path:
    """Return where real data for tests and benchmarks is expected: ``AEGIS_REFERENCE_DATA``.

    It cannot be redistributed; ``docs/data-contract.md`` says what an equivalent looks like.
    """
    return Path(os.environ.get("AEGIS_REFERENCE_DATA") or project_root().parent / "shared" / "data" / "defi")
