"""Small hand-made tables, good unless a test says otherwise."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl

from aegis_yield.domain.errors import TableFaultsError
from aegis_yield.preprocessing.contract import validate

TODAY = dt.date(2025, 1, 31)


def day(number: int) -> dt.date:
    """Day ``number`` of January 2025."""
    return dt.date(2025, 1, number)


def yields_table(**changes: Any) -> pl.DataFrame:
    """Four rows of two strategies; a column changed, added, or left out (None)."""
    columns = {
        "strategy_id": ["a", "a", "b", "b"],
        "date": [day(1), day(2), day(1), day(2)],
        "apy": [0.1, 0.2, 0.3, 0.4],
    }
    return _frame(columns | changes)


def strategies_table(**changes: Any) -> pl.DataFrame:
    columns = {
        "strategy_id": ["a", "b"],
        "project": ["p", "q"],
        "chain": ["Ethereum", None],
        "symbol": ["USDC", "ETH"],
        "category": ["lending", "staking"],
    }
    return _frame(columns | changes)


def market_table(**changes: Any) -> pl.DataFrame:
    return _frame(
        {"date": [day(1), day(2), day(3)], "eth_price": [3000.0, 3100.0, None], "vix": [20, 21, 22]} | changes
    )


def _frame(columns: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame({name: values for name, values in columns.items() if values is not None}, strict=False)


def write_tables(folder: Path, suffix: str = ".parquet", **tables: pl.DataFrame | None) -> Path:
    """Write the three tables, some replaced, or left out (None)."""
    defaults = {"yields": yields_table(), "strategies": strategies_table(), "market": market_table()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in (defaults | tables).items():
        if frame is not None:
            write = frame.write_csv if suffix == ".csv" else frame.write_parquet
            write(folder / f"{name}{suffix}")
    return folder


def faults_of(table: str, frame: pl.DataFrame) -> list[tuple[str, str, tuple[int, ...]]]:
    """Column, rule and rows of every fault, in the order reported; empty for a good table."""
    try:
        validate(table, frame, TODAY)
    except TableFaultsError as error:
        return [(fault.column, fault.rule, fault.rows) for fault in error.faults]
    return []
