"""What ``/strategies`` takes and returns, with units and bounds."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.limits import (
    DEFAULT_HORIZON_DAYS,
    DEFAULT_LEVEL,
    MAX_HORIZON_DAYS,
    MAX_LEVEL,
    MIN_HORIZON_DAYS,
    MIN_LEVEL,
)
from api.history import COLUMNS, DEFAULT_COLUMNS, MAX_DAYS
from api.listing import SortKey
from api.schemas.predict import MAX_NAME_LENGTH

MAX_PAGE = 1_000
MAX_SPARK_DAYS = 90
MAX_TEXT = 100
_ANY = "|".join(COLUMNS)

StrategyPath = Annotated[
    str,
    Path(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        description="Strategy id or alias.",
        examples=["aave-v3:ethereum:usdc"],
    ),
]
"""A strategy named in a path."""

Horizon = Annotated[
    int, Field(ge=MIN_HORIZON_DAYS, le=MAX_HORIZON_DAYS, description="Days ahead.", examples=[DEFAULT_HORIZON_DAYS])
]
Level = Annotated[
    float,
    Field(
        ge=MIN_LEVEL, le=MAX_LEVEL, allow_inf_nan=False, description="Level of the interval.", examples=[DEFAULT_LEVEL]
    ),
]


class ForecastQuery(BaseModel):
    """At which horizon and level forecasts are shown."""

    model_config = ConfigDict(extra="forbid")

    horizon_days: Horizon = DEFAULT_HORIZON_DAYS
    level: Level = DEFAULT_LEVEL


class StrategyQuery(ForecastQuery):
    """Which strategies, in which order, with what."""

    category: str | None = Field(
        None, max_length=50, description="Only this category.", json_schema_extra={"enum": [*CATEGORIES, None]}
    )
    project: str | None = Field(
        None, max_length=MAX_TEXT, description="Only this project; case does not matter.", examples=["aave-v3"]
    )
    chain: str | None = Field(
        None, max_length=MAX_TEXT, description="Only this chain; case does not matter.", examples=["Ethereum"]
    )
    search: str | None = Field(
        None,
        max_length=MAX_TEXT,
        description="Part of the id, an alias, the project, chain or symbol.",
        examples=["usdc"],
    )
    sort: SortKey = Field(
        "strategy_id",
        description="Column to sort by, - before it for falling; what is unknown comes last.",
        examples=["-forecast_apy"],
    )
    limit: int = Field(100, ge=1, le=MAX_PAGE, description="Most rows on a page.", examples=[50])
    offset: int = Field(0, ge=0, le=1_000_000, description="Rows to skip.", examples=[0])
    spark_days: int | None = Field(
        None,
        ge=2,
        le=MAX_SPARK_DAYS,
        description="Add the daily apy of the tables' last so many days.",
        examples=[30],
    )


class HistoryQuery(BaseModel):
    """Which days of a strategy, and what of them."""

    model_config = ConfigDict(extra="forbid")

    start: dt.date | None = Field(
        None, description=f"First day, UTC; at most {MAX_DAYS:,} days before the end.", examples=["2025-07-01"]
    )
    end: dt.date | None = Field(
        None, description="Last day, UTC; by default that of the newest row.", examples=["2025-09-30"]
    )
    columns: str = Field(
        DEFAULT_COLUMNS,
        min_length=1,
        max_length=200,
        description=f"Comma-separated, some of: {', '.join(COLUMNS)}.",
        examples=[DEFAULT_COLUMNS],
        json_schema_extra={"pattern": f"^({_ANY})(,({_ANY}))*$"},  # for the document: the route's own words say more
    )
    drawdown: bool = Field(
        False, description="Add the share by which a deposit stood below its highest value so far.", examples=[True]
    )


class FanQuery(BaseModel):
    """How far a fan reaches."""

    model_config = ConfigDict(extra="forbid")

    horizon_days: Horizon = MAX_HORIZON_DAYS


_ROW: dict[str, Any] = {
    "strategy_id": "aave-v3:ethereum:usdc",
    "aliases": ["aave"],
    "project": "aave-v3",
    "chain": "Ethereum",
    "symbol": "USDC",
    "category": "lending",
    "first_date": "2024-06-01",
    "last_date": "2025-09-30",
    "n_rows": 487,
    "last_apy": 0.0471,
    "data_age_days": 1,
    "tvl_usd": 812_000_000.0,
    "forecast_apy": 0.052,
    "lower": 0.041,
    "upper": 0.066,
    "volatility": 0.08,
}


class StrategyInfo(BaseModel):
    """A strategy that the service holds data for, and what is forecast of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ROW]})

    strategy_id: str
    aliases: list[str] = Field(description="Short names that stand for it.")
    project: str | None
    chain: str | None
    symbol: str | None
    category: str
    first_date: dt.date = Field(description="Day of the oldest row, UTC.")
    last_date: dt.date = Field(description="Day of the newest row, UTC.")
    n_rows: int = Field(ge=0, description="Days with a row.")
    last_apy: float = Field(description="The newest observed rate, fraction per year.")
    data_age_days: int = Field(description="Days from last_date to today, UTC.")
    tvl_usd: float | None = Field(description="Newest known value locked, US dollars; null if none is known.")
    forecast_apy: float | None = Field(
        description="What a depositor of the next days earns, annualised; fraction per year. Null if there is none."
    )
    lower: float | None = Field(description="Lower end of the interval for forecast_apy, fraction per year.")
    upper: float | None = Field(description="Upper end of the interval for forecast_apy, fraction per year.")
    volatility: float | None = Field(
        description="Forecast annualised normal volatility of the daily rate, fraction per year."
    )
    no_forecast: str | None = Field(None, description="Why there is no forecast; only where there is none.")
    spark: list[float | None] | None = Field(
        None,
        description="Daily apy of the tables' last days, oldest first, fraction per year; null on days without a row. "
        "Only with spark_days.",
    )


_ABOUT: dict[str, Any] = {
    "as_of": "2025-09-30", "model_version": "lstm_v1-5c657120", "simulated": False, "horizon_days": 7, "level": 0.9,
}  # fmt: skip


class About(BaseModel):
    """From what forecasts were made."""

    as_of: dt.date = Field(description="Newest day of the tables, UTC.")
    model_version: str
    simulated: bool = Field(
        description="True if the data is simulated: then no number says anything about a real strategy."
    )
    warnings: list[str] | None = Field(None, description="What to be careful about, e.g. old data; only if any.")


class StrategyPage(About):
    """A page of strategies."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_ABOUT, "strategies": [_ROW], "total": 1}]})

    strategies: list[StrategyInfo]
    total: int = Field(ge=0, description="Strategies that match, on all pages.")
    horizon_days: int = Field(description="Days ahead, of the forecasts.")
    level: float = Field(description="Level of the intervals, as a share.")


class StrategyDetail(About, StrategyInfo):
    """One strategy."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_ROW, **_ABOUT}]})

    horizon_days: int = Field(description="Days ahead, of the forecast.")
    level: float = Field(description="Level of the interval, as a share.")


class History(BaseModel):
    """A strategy's days, as columns; every calendar day is there, gaps are null."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "strategy_id": "aave-v3:ethereum:usdc",
                    "dates": ["2025-09-28", "2025-09-29", "2025-09-30"],
                    "columns": {"apy": [0.047, None, 0.052], "drawdown": [0.0, None, 0.001]},
                    "simulated": False,
                }
            ]
        }
    )

    strategy_id: str
    dates: list[dt.date] = Field(max_length=MAX_DAYS, description="Days, UTC, oldest first.")
    columns: dict[str, list[float | None]] = Field(
        description="By name, as long as dates: rates as fractions per year, …_usd in US dollars, price in the unit of "
        "account, drawdown as a share of the highest value so far; null where unknown."
    )
    simulated: bool = Field(description="True if the data is simulated.")


class Fan(About):
    """The forecast of one strategy at every horizon up to one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **{name: value for name, value in _ABOUT.items() if name not in ("horizon_days", "level")},
                    "strategy_id": "aave-v3:ethereum:usdc",
                    "horizons": [1, 2],
                    "levels": [0.05, 0.5, 0.95],
                    "apy": [[0.046, 0.051, 0.057], [0.045, 0.052, 0.059]],
                    "forecast_apy": [0.051, 0.052],
                    "volatility": [0.07, 0.08],
                }
            ]
        }
    )

    strategy_id: str
    horizons: list[int] = Field(description="Days ahead, rising.")
    levels: list[float] = Field(description="Levels of the quantiles, as shares, rising.")
    apy: list[list[float]] = Field(
        description="Quantiles of the apy: a list for each horizon, a number for each level; fraction per year."
    )
    forecast_apy: list[float] = Field(description="Point forecast for each horizon, fraction per year.")
    volatility: list[float] = Field(
        description="Annualised normal volatility of the daily rate for each horizon, fraction per year."
    )
