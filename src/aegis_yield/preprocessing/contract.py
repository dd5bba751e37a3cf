"""The data contract as Pandera schemas: every fault of a table is found at once, or the table is good."""

from __future__ import annotations

import datetime as dt
import warnings
from typing import Any, Final

import polars as pl

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.errors import TableFault, TableFaultsError

MAX_ROWS_SHOWN: Final = 5
MIN_DATE: Final = dt.date(2009, 1, 3)
"""No chain is older than this; an earlier date is a broken one."""

KEYS: Final[dict[str, tuple[str, ...]]] = {
    "yields": ("strategy_id", "date"),
    "strategies": ("strategy_id",),
    "market": ("date",),
}
"""Key columns of each table: unique, never null; rows rise by date within a strategy."""

YIELD_NUMBERS: Final = (
    "apy_base", "apy_reward", "tvl_usd", "borrow_apy", "utilization", "total_supply_usd", "total_borrow_usd", "price",
)  # fmt: skip
"""Optional numeric columns of ``yields``; null where unknown."""

_TEXT: Final = {"strategy_id", "project", "chain", "symbol", "category", "source"}
_STRATEGY_TEXT: Final = ("project", "chain", "symbol")
_NEGATIVE_ALLOWED: Final = {"apy_base", "apy_reward", "borrow_apy"}


def validate(table: str, frame: pl.DataFrame, today: dt.date | None = None) -> pl.DataFrame:
    """Check one table against the contract and return it with the contract's types.

    Parameters
    ----------
    table : {"yields", "strategies", "market"}
        Which table it is.
    frame : polars.DataFrame
        As read. Numbers may be integers, dates may be ISO text or midnight timestamps.
    today : datetime.date, optional
        Dates after this day are faults; by default the current UTC day.

    Returns
    -------
    polars.DataFrame
        The same rows and columns, unknown columns included.

    Raises
    ------
    TableFaultsError
        With every fault found: column, rule, rows and values.
    """
    today = today or dt.datetime.now(dt.UTC).date()
    typed, faults = _with_contract_types(table, frame)
    if frame.height == 0:
        faults.append(TableFault("(table)", "at least one row is needed, received an empty table"))
    broken = {fault.column for fault in faults}
    faults += [fault for fault in _rule_faults(table, typed, today) if fault.column not in broken]
    faults += _order_faults(table, typed)
    if faults:
        raise TableFaultsError(table, faults)
    return typed


def _with_contract_types(table: str, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[TableFault]]:
    faults = []
    for name in frame.columns:
        wanted = _type_of(table, name, frame.schema[name])
        if wanted is None or frame.schema[name] == wanted:
            continue
        cast = _cast(frame[name], wanted)
        lost = frame[name].is_not_null() & cast.is_null()
        if lost.any():
            faults.append(_fault(name, f"must be {_TYPE_WORDS[wanted]}", frame, name, lost.arg_true().to_list()))
        frame = frame.with_columns(cast.alias(name))
    return frame, faults


_TYPE_WORDS: Final[dict[Any, str]] = {
    pl.Date: "a UTC date such as 2025-09-30",
    pl.Float64: "a number",
    pl.String: "text",
    pl.Boolean: "true or false",
}


def _type_of(table: str, column: str, received: Any) -> Any:
    if column == "date":
        return pl.Date
    if column in _TEXT:
        return pl.String
    if column == "is_outlier":
        return pl.Boolean
    if table == "yields" and column in ("apy", *YIELD_NUMBERS):
        return pl.Float64
    # Market columns are open-ended: numbers are numbers, anything else is carried along unused.
    return pl.Float64 if table == "market" and received.is_numeric() else None


def _cast(series: pl.Series, wanted: Any) -> pl.Series:
    if wanted == pl.Date and series.dtype == pl.String:
        return series.str.to_date("%Y-%m-%d", strict=False)
    if wanted == pl.Date and series.dtype.is_numeric():
        return pl.Series(series.name, [None] * len(series), dtype=pl.Date)
    return series.cast(wanted, strict=False)


def _rule_faults(table: str, frame: pl.DataFrame, today: dt.date) -> list[TableFault]:
    from pandera.errors import SchemaErrors

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pandera's own notices are not about the user's table
            _schema(table, today).validate(frame, lazy=True)
    except SchemaErrors as errors:
        return _translate(frame, errors.failure_cases, KEYS[table])
    return []


def _schema(table: str, today: dt.date) -> Any:
    import pandera.polars as pa

    def finite(data: Any) -> pl.LazyFrame:
        frame: pl.LazyFrame = data.lazyframe
        return frame.select(pl.col(data.key).is_finite().fill_null(True))

    number = pa.Check(finite, error="must be finite (no NaN, no infinity)")
    positive = pa.Check.ge(0, error="must not be negative")
    text = pa.Column(pl.String, checks=pa.Check.str_length(min_value=1, error="must not be empty text"))
    date = pa.Column(
        pl.Date,
        checks=[
            pa.Check.le(today, error=f"must not lie in the future (after {today}, UTC)"),
            pa.Check.ge(MIN_DATE, error=f"must not lie before {MIN_DATE}"),
        ],
    )
    if table == "strategies":
        allowed = pa.Check.isin(CATEGORIES, error=f"must be one of {', '.join(CATEGORIES)}")
        columns = {"strategy_id": text, "category": pa.Column(pl.String, checks=allowed)}
        columns |= {name: pa.Column(pl.String, nullable=True) for name in _STRATEGY_TEXT}
    elif table == "market":
        columns = {"date": date}
    else:
        above = pa.Check.gt(-1000.0, error="must be above -1000 (apy is a fraction: 0.05 is 5 %)")
        columns = {"strategy_id": text, "date": date, "apy": pa.Column(pl.Float64, checks=[number, above])}
        for name in YIELD_NUMBERS:
            checks = [number] if name in _NEGATIVE_ALLOWED else [number, positive]
            columns[name] = pa.Column(pl.Float64, nullable=True, required=False, checks=checks)
        columns["is_outlier"] = pa.Column(pl.Boolean, nullable=True, required=False)
        columns["source"] = pa.Column(pl.String, nullable=True, required=False)
    return pa.DataFrameSchema(columns, unique=list(KEYS[table]))


_RULES: Final = {
    "not_nullable": "must not be null",
    "column_in_dataframe": "column is missing",
    "multiple_fields_uniqueness": "must be unique",
}


def _translate(frame: pl.DataFrame, cases: pl.DataFrame, keys: tuple[str, ...]) -> list[TableFault]:
    faults = []
    for (column, check), group in cases.group_by("column", "check", maintain_order=True):
        rule = _RULES.get(str(check), str(check))
        if check == "column_in_dataframe":
            faults += [
                TableFault(str(name), f"{rule} (received: {', '.join(frame.columns)})")
                for name in group["failure_case"]
            ]
        elif check == "multiple_fields_uniqueness":
            faults.append(_duplicates(frame, keys))
        elif str(check).startswith("dtype"):
            faults.append(TableFault(str(column), f"must have another type: {check}"))
        else:
            rows = [int(row) for row in group["index"].drop_nulls().to_list()]
            faults.append(_fault(str(column), rule, frame, str(column), rows))
    return faults


def _duplicates(frame: pl.DataFrame, keys: tuple[str, ...]) -> TableFault:
    rows = frame.select(pl.struct(keys).is_duplicated().alias("twice"))["twice"].arg_true().to_list()
    labels = frame.select(pl.concat_str(keys, separator=" ", ignore_nulls=True).alias("key"))
    return _fault(" + ".join(keys), "must be unique, received duplicate keys", labels, "key", rows)


def _order_faults(table: str, frame: pl.DataFrame) -> list[TableFault]:
    keys = KEYS[table]
    if "date" not in keys or any(key not in frame.columns for key in keys) or frame.schema["date"] != pl.Date:
        return []
    step = pl.col("date").diff()
    falls = (step.over("strategy_id") if "strategy_id" in keys else step) < pl.duration(days=0)
    rows = frame.select(falls.fill_null(False).alias("falls"))["falls"].arg_true().to_list()
    rule = "must rise from row to row within a strategy" if "strategy_id" in keys else "must rise from row to row"
    return [_fault("date", f"{rule}; sort by {', '.join(keys)}", frame, "date", rows)] if rows else []


def _fault(column: str, rule: str, frame: pl.DataFrame, shown: str, rows: list[int]) -> TableFault:
    first = tuple(rows[:MAX_ROWS_SHOWN])
    values = tuple(str(frame[shown][row]) for row in first)
    return TableFault(column, rule, first, values, len(rows))
