"""Reading and writing datasets: a folder with three tables, Parquet or CSV, checked as a whole."""

from __future__ import annotations

import datetime as dt
import warnings
from pathlib import Path
from typing import Final

import polars as pl

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import DataError, TableFault, TableFaultsError
from aegis_yield.preprocessing.cleaning import clean
from aegis_yield.preprocessing.contract import validate
from aegis_yield.preprocessing.units import warn_of_percent
from aegis_yield.utils.files import write_atomically

TABLES: Final = ("yields", "strategies", "market")
SUFFIXES: Final = (".parquet", ".csv")
MAX_TABLE_BYTES: Final = 4 * 1024**3
"""A larger file is refused before it is read."""


def read_dataset(folder: Path, today: dt.date | None = None) -> Dataset:
    """Read, check and clean the dataset in a folder.

    Parameters
    ----------
    folder : Path
        Holds ``yields``, ``strategies`` and optionally ``market``, each as ``.parquet`` or ``.csv``.
    today : datetime.date, optional
        Dates after this day are faults; by default the current UTC day.

    Returns
    -------
    Dataset
        Sorted; outliers flagged, never dropped.

    Raises
    ------
    DataError
        If a file is missing or cannot be read.
    TableFaultsError
        If a table breaks the contract; carries every fault of that table.

    Warns
    -----
    UnitWarning
        If strategies look as if their apy were in percent.
    """
    if not folder.is_dir():
        raise DataError(
            f"no dataset at {folder}: received a path that is not a folder, needed is a folder with "
            "yields.parquet and strategies.parquet; collect data into it or leave --data out"
        )
    yields = validate("yields", _read(folder, "yields"), today)
    strategies = validate("strategies", _read(folder, "strategies"), today)
    market = _read_market(folder, today)
    _check_references(yields, strategies)
    if not yields["strategy_id"].is_sorted():  # sorting makes a copy even of what is sorted
        yields = yields.sort("strategy_id", "date")
    dataset = clean(Dataset(yields=yields, strategies=strategies, market=market, name=str(folder)))
    warn_of_percent(dataset)
    return dataset


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Check a dataset and write it as three Parquet files, each appearing whole or not at all.

    Yields come last, so that a reader at any moment finds every strategy described. An empty
    market table is not written: market features are masked without it.

    Raises
    ------
    TableFaultsError
        If a table breaks the contract; then nothing is written.
    """
    tables = [table for table in TABLES if table != "market" or dataset.market.height]
    checked = {table: validate(table, getattr(dataset, table)) for table in tables}
    _check_references(checked["yields"], checked["strategies"])
    for table in sorted(checked):
        write_atomically(folder / f"{table}.parquet", checked[table].write_parquet)


def find_table(folder: Path, table: str) -> Path | None:
    """Return the file that holds a table, Parquet before CSV, or None."""
    candidates = (folder / f"{table}{suffix}" for suffix in SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def _read(folder: Path, table: str) -> pl.DataFrame:
    path = find_table(folder, table)
    if path is None:
        raise DataError(f"{folder}: {table} is missing; allowed is {table}.parquet or {table}.csv")
    if path.stat().st_size > MAX_TABLE_BYTES:
        raise DataError(f"{path}: {path.stat().st_size} bytes, at most {MAX_TABLE_BYTES} are read; split the dataset")
    try:
        if path.suffix == ".csv":
            return pl.read_csv(path, try_parse_dates=False, infer_schema_length=None)
        return pl.read_parquet(path, glob=False)
    except pl.exceptions.NoDataError:
        return pl.DataFrame()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: cannot be read as {path.suffix[1:]}: {reason}") from error


def _read_market(folder: Path, today: dt.date | None) -> pl.DataFrame:
    if find_table(folder, "market") is None:
        warnings.warn(f"{folder}: no market table; market features are masked", MissingMarketWarning, stacklevel=3)
        return pl.DataFrame(schema={"date": pl.Date})
    return validate("market", _read(folder, "market"), today)


class MissingMarketWarning(UserWarning):
    """The dataset has no market table: forecasts go on without those features."""


def _check_references(yields: pl.DataFrame, strategies: pl.DataFrame) -> None:
    unknown = yields.with_row_index("row").filter(pl.col("row") == pl.col("row").min().over("strategy_id"))
    unknown = unknown.join(strategies, on="strategy_id", how="anti")
    if unknown.height:
        shown = unknown.head(5)
        rows, values = tuple(shown["row"].to_list()), tuple(shown["strategy_id"].to_list())
        fault = TableFault("strategy_id", "must be described in strategies", rows, values, unknown.height)
        raise TableFaultsError("yields", [fault])
