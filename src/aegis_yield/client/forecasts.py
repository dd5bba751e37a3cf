"""Answers about forecasts and strategies. Rates are fractions per year (0.052 is 5.2 %), money is US dollars."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Interval:
    """A calibrated interval for the rate: it is meant to hold the outcome in a share ``level`` of cases."""

    level: float
    lower: float
    upper: float


@dataclass(frozen=True)
class FeatureShare:
    """By how much one feature moved a forecast: ``apy``, a fraction per year."""

    name: str
    family: str
    meaning: str
    value: float
    apy: float


@dataclass(frozen=True)
class Explanation:
    """What a forecast is made of: all parts but ``families``, ``days`` and ``gap`` add up to its ``apy``."""

    ewma: float
    today_over_ewma: float
    usual_drift: float
    features: tuple[FeatureShare, ...]
    other_features: float
    calibration: float
    families: Mapping[str, float]
    days: Mapping[dt.date, float]
    gap: float


@dataclass(frozen=True)
class Prediction:
    """One strategy's forecast: ``apy`` is what a depositor of the next days earns, annualised."""

    apy: float
    volatility: float
    confidence_interval: Interval
    strategy_id: str
    category: str
    last_apy: float
    as_of: dt.date
    data_age_days: int
    horizon_days: int
    forecast_id: str | None = None
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Predictions:
    """Forecasts by the names that were asked for; mind ``simulated`` and ``warnings``."""

    predictions: Mapping[str, Prediction]
    horizon_days: int
    model_version: str
    simulated: bool
    notes: tuple[str, ...]
    warnings: tuple[str, ...] | None = None


@dataclass(frozen=True)
class PredictionsEnd:
    """The last line of forecasts that come line by line: what holds for all of them."""

    end: bool
    count: int
    horizon_days: int
    model_version: str
    simulated: bool
    notes: tuple[str, ...]
    warnings: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Strategy:
    """A strategy that the service holds data for; the forecast's members are None where there is none."""

    strategy_id: str
    aliases: tuple[str, ...]
    project: str | None
    chain: str | None
    symbol: str | None
    category: str
    first_date: dt.date
    last_date: dt.date
    n_rows: int
    last_apy: float
    data_age_days: int
    tvl_usd: float | None
    forecast_apy: float | None
    lower: float | None
    upper: float | None
    volatility: float | None
    no_forecast: str | None = field(default=None, kw_only=True)
    spark: tuple[float | None, ...] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class StrategyPage:
    """A page of strategies; ``total`` counts those on all pages."""

    strategies: tuple[Strategy, ...]
    total: int
    as_of: dt.date
    model_version: str
    simulated: bool
    horizon_days: int
    level: float
    warnings: tuple[str, ...] | None = None


@dataclass(frozen=True)
class StrategyDetail(Strategy):
    """One strategy, and from what its forecast was made."""

    as_of: dt.date
    model_version: str
    simulated: bool
    horizon_days: int
    level: float
    warnings: tuple[str, ...] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class History:
    """A strategy's days as columns, each as long as ``dates``; None where unknown."""

    strategy_id: str
    dates: tuple[dt.date, ...]
    columns: Mapping[str, tuple[float | None, ...]]
    simulated: bool


@dataclass(frozen=True)
class Fan:
    """One strategy's forecast at every horizon: ``apy`` has a row for each horizon, a quantile for each level."""

    strategy_id: str
    horizons: tuple[int, ...]
    levels: tuple[float, ...]
    apy: tuple[tuple[float, ...], ...]
    forecast_apy: tuple[float, ...]
    volatility: tuple[float, ...]
    as_of: dt.date
    model_version: str
    simulated: bool
    warnings: tuple[str, ...] | None = None


@dataclass(frozen=True)
class RecordedForecast:
    """A forecast as it was given out, and what came: ``actual_apy`` is None until that is known."""

    id: str
    made_at: str
    strategy_id: str
    category: str
    origin: dt.date
    due: dt.date
    horizon_days: int
    apy: float
    volatility: float
    last_apy: float
    quantiles: Mapping[str, float]
    actual_apy: float | None
    actual_volatility: float | None


@dataclass(frozen=True)
class RecordedBundle:
    """The model's file."""

    file: str
    sha256: str
    found: bool


@dataclass(frozen=True)
class RecordedDataset:
    """The tables."""

    name: str
    sha256: str
    simulated: bool
    made_at: str | None
    code: str | None
    files: Mapping[str, str]
    still_the_same: bool | None


@dataclass(frozen=True)
class RawFile:
    """One answer of a source, from which rows were made."""

    source: str
    dataset: str
    entity: str
    raw_id: str
    file: str
    exists: bool


@dataclass(frozen=True)
class ForecastLineage:
    """A recorded forecast, what became of it, and what it was made from."""

    forecast: RecordedForecast
    bundle: RecordedBundle
    training: Mapping[str, Any]
    dataset: RecordedDataset
    raw_files: tuple[RawFile, ...]
