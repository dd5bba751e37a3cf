"""What the service takes and returns, with units and bounds."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from aegis_yield.domain.limits import (
    DEFAULT_HORIZON_DAYS,
    DEFAULT_LEVEL,
    MAX_HORIZON_DAYS,
    MAX_LEVEL,
    MIN_HORIZON_DAYS,
    MIN_LEVEL,
)
from aegis_yield.pipelines.explain import MAX_EXPLAINED

MAX_STRATEGIES = 1_000
MAX_NAME_LENGTH = 200

StrategyName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]


def _whole(value: object) -> object:
    # JSON knows one kind of number: 7.0 is the integer 7.
    return int(value) if isinstance(value, float) and value.is_integer() else value


class PredictRequest(BaseModel):
    """Which strategies to forecast, how far ahead, how sure."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"strategies": ["aave", "lido", "delta"], "horizon_days": 7}]},
    )

    strategies: list[StrategyName] = Field(
        min_length=1, max_length=MAX_STRATEGIES, description="Aliases or strategy ids."
    )
    horizon_days: Annotated[int, BeforeValidator(_whole)] = Field(
        DEFAULT_HORIZON_DAYS, ge=MIN_HORIZON_DAYS, le=MAX_HORIZON_DAYS, strict=True, description="Days ahead."
    )
    level: float = Field(
        DEFAULT_LEVEL, ge=MIN_LEVEL, le=MAX_LEVEL, strict=True, description="Level of the confidence interval."
    )
    explain: bool = Field(
        False,
        strict=True,
        description=f"Say which features and days moved each forecast; at most {MAX_EXPLAINED} strategies at once.",
    )


class ConfidenceInterval(BaseModel):
    """A calibrated interval for ``apy``."""

    level: float = Field(description="Share of outcomes it is meant to hold, e.g. 0.9.")
    lower: float = Field(description="Fraction per year.")
    upper: float = Field(description="Fraction per year.")


class FeatureShare(BaseModel):
    """What one feature had to do with a forecast, all days of the window together."""

    name: str
    family: str
    meaning: str = Field(description="What the feature says, with its unit.")
    value: float = Field(description="On the newest day.")
    apy: float = Field(description="By how much it moved the forecast, fraction per year.")


class Explanation(BaseModel):
    """What a forecast is made of: all parts but ``families`` and ``days`` add up to ``apy``; fractions per year."""

    ewma: float = Field(description="Exponentially weighted mean of the rate.")
    today_over_ewma: float = Field(description="Today's rate less that mean.")
    usual_drift: float = Field(description="What strategies of the category do when nothing has happened.")
    features: list[FeatureShare] = Field(description="Those that moved the forecast most, largest first.")
    other_features: float = Field(description="All others together.")
    calibration: float = Field(description="What calibration and the floor at zero add, rounding included.")
    families: dict[str, float] = Field(description="The features' shares by family.")
    days: dict[dt.date, float] = Field(description="The features' shares by the day on which they were seen.")
    gap: float = Field(description="Error of the integral behind the shares.")


class Prediction(BaseModel):
    """One strategy's forecast."""

    apy: float = Field(
        description="What a depositor of the next days earns, annualised; fraction per year (0.052 = 5.2 %)."
    )
    volatility: float = Field(description="Annualised normal volatility of the daily rate, fraction per year.")
    confidence_interval: ConfidenceInterval
    strategy_id: str
    category: str
    last_apy: float = Field(description="The newest observed rate, fraction per year.")
    as_of: dt.date = Field(description="UTC day of the newest row used.")
    data_age_days: int = Field(description="Days from as_of to today, UTC.")
    horizon_days: int
    forecast_id: str | None = Field(
        None, description="Name under which it is recorded, for `aegis trace`; only where it is recorded."
    )
    explanation: Explanation | None = Field(None, description="Only where it was asked for.")


class PredictResponse(BaseModel):
    """Forecasts by the names that were asked for."""

    predictions: dict[str, Prediction]
    horizon_days: int
    model_version: str
    simulated: bool = Field(
        description="True if the data is simulated: then no number says anything about a real strategy."
    )
    notes: list[str] = Field(description="What to know before using the numbers.")


class StrategyInfo(BaseModel):
    """A strategy that the service holds data for."""

    strategy_id: str
    aliases: list[str]
    project: str | None
    chain: str | None
    symbol: str | None
    category: str
    first_date: dt.date
    last_date: dt.date
    n_rows: int
    last_apy: float = Field(description="Fraction per year.")


class StrategyPage(BaseModel):
    """A page of strategies."""

    strategies: list[StrategyInfo]
    total: int = Field(description="Strategies that match, on all pages.")
    simulated: bool


class Liveness(BaseModel):
    """The process answers."""

    status: str


class Readiness(BaseModel):
    """Model and tables are loaded."""

    status: str
    model_version: str
    data: str
    simulated: bool
    n_strategies: int
    last_date: dt.date
    data_age_days: int
    loaded_at: dt.datetime | None = Field(None, description="Since when this model and these tables are served, UTC.")
    warnings: list[str] | None = Field(
        None, description="What does not go as it should while the service answers, e.g. a newer model is damaged."
    )


class FieldFault(BaseModel):
    """What is wrong with one field of a request."""

    field: str
    received: str
    problem: str


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldFault] | None = None
