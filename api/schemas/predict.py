"""What ``/predict`` and ``/forecasts`` take and return, with units and bounds."""

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

MAX_STRATEGIES = 20_000
MAX_NAME_LENGTH = 200

StrategyName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
"""An alias or a strategy id."""


def _whole(value: object) -> object:
    # JSON knows one kind of number: 7.0 is the integer 7.
    return int(value) if isinstance(value, float) and value.is_integer() else value


WholeNumber = Annotated[int, BeforeValidator(_whole)]
"""An integer as JSON has it: 7 and 7.0 are the same number."""


class PredictRequest(BaseModel):
    """Which strategies to forecast, how far ahead, how sure."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"strategies": ["aave", "lido", "delta"], "horizon_days": 7}],
            "if": {"properties": {"explain": {"const": True}}, "required": ["explain"]},
            "then": {"properties": {"strategies": {"maxItems": MAX_EXPLAINED}}},
        },
    )

    strategies: list[StrategyName] = Field(
        min_length=1, max_length=MAX_STRATEGIES, description="Aliases or strategy ids."
    )
    horizon_days: WholeNumber = Field(
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
    value: float = Field(description="On the newest day, in the unit that meaning names.")
    apy: float = Field(description="By how much it moved the forecast, fraction per year.")


class Explanation(BaseModel):
    """What a forecast is made of: all parts but ``families`` and ``days`` add up to ``apy``; fractions per year."""

    ewma: float = Field(description="Exponentially weighted mean of the rate, fraction per year.")
    today_over_ewma: float = Field(description="Today's rate less that mean, fraction per year.")
    usual_drift: float = Field(
        description="What strategies of the category do when nothing has happened, fraction per year."
    )
    features: list[FeatureShare] = Field(description="Those that moved the forecast most, largest first.")
    other_features: float = Field(description="All others together, fraction per year.")
    calibration: float = Field(
        description="What the shape's median and the floor at zero add, rounding included; fraction per year."
    )
    families: dict[str, float] = Field(description="The features' shares by family, fraction per year.")
    days: dict[dt.date, float] = Field(
        description="The features' shares by the day on which they were seen, fraction per year."
    )
    gap: float = Field(description="Error of the integral behind the shares, fraction per year.")


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
    horizon_days: int = Field(description="Days ahead.")
    forecast_id: str | None = Field(
        None, description="Name under which it is recorded, for `aegis trace`; only where it is recorded."
    )
    explanation: Explanation | None = Field(None, description="Only where it was asked for.")


class PredictResponse(BaseModel):
    """Forecasts by the names that were asked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "predictions": {
                        "aave": {
                            "apy": 0.052,
                            "volatility": 0.08,
                            "confidence_interval": {"level": 0.9, "lower": 0.041, "upper": 0.066},
                            "strategy_id": "aave-v3:ethereum:usdc",
                            "category": "lending",
                            "last_apy": 0.047,
                            "as_of": "2025-09-30",
                            "data_age_days": 1,
                            "horizon_days": 7,
                            "forecast_id": "9b1c5e0a7d3f4862",
                        }
                    },
                    "horizon_days": 7,
                    "model_version": "lstm_v1-5c657120",
                    "simulated": False,
                    "notes": [],
                }
            ]
        }
    )

    predictions: dict[str, Prediction] = Field(description="By the names that were asked for, in their order.")
    horizon_days: int = Field(description="Days ahead.")
    model_version: str = Field(description="Version and digest of the model.")
    simulated: bool = Field(
        description="True if the data is simulated: then no number says anything about a real strategy."
    )
    notes: list[str] = Field(description="What to know before using the numbers.")
    warnings: list[str] | None = Field(None, description="What to be careful about, e.g. old data; only if any.")
