"""The data contract as Pandera schemas: every fault of a table is found at once, or the table is good."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

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

MARKET_NUMBERS: Final = (
    "eth_price", "btc_price", "gas_gwei", "defi_tvl_usd", "stablecoin_supply_usd", "fear_greed", "vix", "fed_funds_pct",
)  # fmt: skip
"""Columns of ``market`` that features are made from; null where unknown, and any may be absent."""

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
    columns = _columns(table, today or dt.datetime.now(dt.UTC).date())
    typed, faults, lost = _with_contract_types(table, frame)
    if frame.height == 0:
        faults.append(TableFault("(table)", "at least one row is needed, received an empty table"))
    if not _holds(columns, typed):
        faults += _rule_faults(columns, typed, lost)
    if not _rises(typed, KEYS[table]):
        faults += _duplicate_faults(typed, KEYS[table])
        faults += _order_faults(table, typed)
    if faults:
        raise TableFaultsError(table, faults)
    return typed


_LostRows: TypeAlias = dict[str, set[int]]
"""Rows of each column whose value has no meaning in the contract's type: reported once, as that."""


def _with_contract_types(table: str, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[TableFault], _LostRows]:
    faults: list[TableFault] = []
    lost: _LostRows = {}
    for name in frame.columns:
        received = frame[name]
        wanted = _type_of(table, name, received.dtype)
        if wanted is None or (received.dtype == wanted and wanted != pl.Date):
            continue
        cast = _cast(received, wanted)
        rows = (received.is_not_null() & cast.is_null()).arg_true().to_list()
        if rows:
            lost[name] = set(rows)
            faults.append(_fault(name, f"must be {_TYPE_WORDS[wanted]}", received, rows))
        frame = frame.with_columns(cast.alias(name))
    return frame, faults, lost


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
    # Market columns are open-ended: what features are made from must be numbers, the rest is carried along.
    return pl.Float64 if table == "market" and (column in MARKET_NUMBERS or received.is_numeric()) else None


def _cast(series: pl.Series, wanted: Any) -> pl.Series:
    """Return the series in the wanted type, null where a value has no meaning in it."""
    nothing = pl.Series(series.name, [None] * len(series), dtype=wanted)
    if not _readable_as(series.dtype, wanted):
        return nothing
    if wanted == pl.Date:
        text = series.dtype == pl.String
        dates = series.str.to_date("%Y-%m-%d", strict=False) if text else series.cast(pl.Date, strict=False)
        return dates.zip_with(dates.to_physical().is_between(_FIRST_DAY, _LAST_DAY).fill_null(True), nothing)
    if wanted == pl.Boolean and series.dtype == pl.String:
        return series.str.to_lowercase().replace_strict(_TRUTH_WORDS, default=None, return_dtype=pl.Boolean)
    return series.cast(wanted, strict=False)


_TRUTH_WORDS: Final = {"true": True, "false": False, "1": True, "0": False}
_FIRST_DAY: Final = (dt.date.min - dt.date(1970, 1, 1)).days
_LAST_DAY: Final = (dt.date.max - dt.date(1970, 1, 1)).days


def _readable_as(received: Any, wanted: Any) -> bool:
    if received in (pl.Null, pl.String):
        return True
    if wanted == pl.Date:
        return received == pl.Date or isinstance(received, pl.Datetime)
    if wanted == pl.String and isinstance(received, pl.Categorical | pl.Enum):
        return True
    return bool(received.is_numeric())


@dataclass(frozen=True)
class _Rule:
    """What holds for every value of a column; nothing is asked of nulls."""

    words: str
    holds: Callable[[pl.Expr], pl.Expr]


@dataclass(frozen=True)
class _Column:
    """What the contract says of a column, once: for the quick look at a good table and for the report on a bad one."""

    name: str
    dtype: Any
    rules: tuple[_Rule, ...] = ()
    nullable: bool = False
    required: bool = True


_FINITE: Final = _Rule("must be finite (no NaN, no infinity)", lambda value: value.is_finite())
_NOT_NEGATIVE: Final = _Rule("must not be negative", lambda value: value >= 0)
_NOT_EMPTY: Final = _Rule("must not be empty text", lambda value: value != "")
_NO_PERCENT: Final = _Rule("must be above -1000 (apy is a fraction: 0.05 is 5 %)", lambda value: value > -1000.0)
_A_CATEGORY: Final = _Rule(f"must be one of {', '.join(CATEGORIES)}", lambda value: value.is_in(CATEGORIES))
_NOT_BEFORE_CHAINS: Final = _Rule(f"must not lie before {MIN_DATE}", lambda value: value >= MIN_DATE)


def _columns(table: str, today: dt.date) -> list[_Column]:
    past = _Rule(f"must not lie in the future (after {today}, UTC)", lambda value: value <= today)
    strategy_id = _Column("strategy_id", pl.String, (_NOT_EMPTY,))
    date = _Column("date", pl.Date, (past, _NOT_BEFORE_CHAINS))
    if table == "market":
        return [date]
    if table == "strategies":
        described = [_Column(name, pl.String, nullable=True) for name in _STRATEGY_TEXT]
        return [strategy_id, _Column("category", pl.String, (_A_CATEGORY,)), *described]
    bounds = {name: (_FINITE,) if name in _NEGATIVE_ALLOWED else (_FINITE, _NOT_NEGATIVE) for name in YIELD_NUMBERS}
    optional = [_Column(name, pl.Float64, rules, nullable=True, required=False) for name, rules in bounds.items()]
    optional.append(_Column("is_outlier", pl.Boolean, nullable=True, required=False))
    optional.append(_Column("source", pl.String, nullable=True, required=False))
    return [strategy_id, date, _Column("apy", pl.Float64, (_FINITE, _NO_PERCENT)), *optional]


def _holds(columns: list[_Column], frame: pl.DataFrame) -> bool:
    """Return whether no rule is broken. Nearly every table is good: then no report has to be made."""
    if any(column.required and column.name not in frame.columns for column in columns):
        return False
    here = [column for column in columns if column.name in frame.columns]
    if any(frame.schema[column.name] != column.dtype for column in here):
        return False
    if any(frame[column.name].null_count() and not column.nullable for column in here):
        return False
    held = [rule.holds(pl.col(column.name)).fill_null(True).all() for column in here for rule in column.rules]
    return all(frame.select(one.alias(str(i)) for i, one in enumerate(held)).row(0))


def _rule_faults(columns: list[_Column], frame: pl.DataFrame, lost: _LostRows) -> list[TableFault]:
    from pandera.errors import SchemaErrors  # here: with it comes whatever dataframe library lies about

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pandera's own notices are not about the user's table
            _schema(columns).validate(frame, lazy=True)
    except SchemaErrors as errors:
        return _translate(frame, errors.failure_cases, lost)
    return []


def _schema(columns: list[_Column]) -> Any:
    import pandera.polars as pa

    def check(rule: _Rule) -> Any:
        def held(data: Any) -> pl.LazyFrame:
            frame: pl.LazyFrame = data.lazyframe
            return frame.select(rule.holds(pl.col(data.key)).fill_null(True))

        return pa.Check(held, error=rule.words)

    return pa.DataFrameSchema(
        {
            column.name: pa.Column(
                column.dtype,
                checks=[check(rule) for rule in column.rules],
                nullable=column.nullable,
                required=column.required,
            )
            for column in columns
        }
    )


def _rises(frame: pl.DataFrame, keys: tuple[str, ...]) -> bool:
    """Return whether each row's keys come after those of the row before: then none is twice, none out of order."""
    if any(key not in frame.columns or frame[key].null_count() for key in keys):
        return False
    after: pl.Expr = pl.lit(False)
    for key in reversed(keys):
        column = pl.col(key)
        after = (column > column.shift()) | ((column == column.shift()) & after)
    return bool(frame.select(after.slice(1).all()).item())


_RULES: Final = {
    "not_nullable": "must not be null",
    "column_in_dataframe": "column is missing",
}


def _translate(frame: pl.DataFrame, cases: pl.DataFrame, lost: _LostRows) -> list[TableFault]:
    faults = []
    for (column, check), group in cases.group_by("column", "check", maintain_order=True):
        rule = _RULES.get(str(check), str(check))
        if check == "column_in_dataframe":
            faults += [
                TableFault(str(name), f"{rule} (received: {', '.join(frame.columns)})")
                for name in group["failure_case"]
            ]
        else:
            found = set(group["index"].drop_nulls().to_list()) - lost.get(str(column), set())
            if found:
                faults.append(_fault(str(column), rule, frame[str(column)], sorted(found)))
    return faults


def _duplicate_faults(frame: pl.DataFrame, keys: tuple[str, ...]) -> list[TableFault]:
    # Absent and unknown keys are faults of their own, not duplicates of one another.
    if any(key not in frame.columns for key in keys):
        return []
    twice = pl.struct(keys).is_duplicated() & pl.all_horizontal(pl.col(keys).is_not_null())
    rows = frame.select(twice.alias("twice"))["twice"].arg_true().to_list()
    if not rows:
        return []
    labels = frame.select(pl.concat_str(keys, separator=" ").alias("key"))["key"]
    return [_fault(" + ".join(keys), "must be unique, received duplicate keys", labels, rows)]


def _order_faults(table: str, frame: pl.DataFrame) -> list[TableFault]:
    keys = KEYS[table]
    if "date" not in keys or any(key not in frame.columns for key in keys) or frame.schema["date"] != pl.Date:
        return []
    step = pl.col("date").diff()
    falls = (step.over("strategy_id") if "strategy_id" in keys else step) < pl.duration(days=0)
    rows = frame.select(falls.fill_null(False).alias("falls"))["falls"].arg_true().to_list()
    rule = "must rise from row to row within a strategy" if "strategy_id" in keys else "must rise from row to row"
    return [_fault("date", f"{rule}; sort by {', '.join(keys)}", frame["date"], rows)] if rows else []


def _fault(column: str, rule: str, values: pl.Series, rows: list[int]) -> TableFault:
    first = tuple(rows[:MAX_ROWS_SHOWN])
    return TableFault(column, rule, first, tuple(_text(values, row) for row in first), len(rows))


def _text(values: pl.Series, row: int) -> str:
    if values.dtype == pl.Date:  # Python has no dates beyond its own calendar
        day = values.to_physical()[row]
        return "None" if day is None else str(values[row]) if _FIRST_DAY <= day <= _LAST_DAY else f"day {day}"
    return str(values[row])
