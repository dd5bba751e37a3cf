"""What ``/forecasts/{id}`` returns, with units."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class RecordedForecast(BaseModel):
    """A forecast as it was given out, and what came."""

    id: str
    made_at: str = Field(description="When it was recorded first, UTC.")
    strategy_id: str
    category: str
    origin: dt.date = Field(description="UTC day of the newest row used.")
    due: dt.date = Field(description="Last day of the horizon, UTC.")
    horizon_days: int = Field(description="Days ahead.")
    apy: float = Field(description="Forecast, fraction per year.")
    volatility: float = Field(description="Forecast volatility of the daily rate, fraction per year.")
    last_apy: float = Field(description="The newest observed rate then, fraction per year.")
    quantiles: dict[str, float] = Field(description="Of the apy, q025 to q975; fraction per year.")
    actual_apy: float | None = Field(
        description="What a depositor earned, fraction per year; null until known, or for good if days are missing."
    )
    actual_volatility: float | None = Field(description="What came, fraction per year; null as actual_apy.")


class RecordedBundle(BaseModel):
    """The model's file."""

    file: str
    sha256: str
    found: bool = Field(description="Whether the very same file is still here.")


class RecordedDataset(BaseModel):
    """The tables."""

    name: str
    sha256: str = Field(description="Of their content.")
    simulated: bool = Field(description="True if the data was simulated.")
    made_at: str | None = Field(description="When they were collected, UTC; null if they were not.")
    code: str | None = Field(description="Code that collected them.")
    files: dict[str, str] = Field(description="SHA-256 by file, where they were collected.")
    still_the_same: bool | None = Field(description="Whether these files are unchanged; null if they are not known.")


class RawFile(BaseModel):
    """One answer of a source, from which rows were made."""

    source: str
    dataset: str
    entity: str
    raw_id: str
    file: str
    exists: bool = Field(description="Whether it is still here.")


class ForecastLineage(BaseModel):
    """A recorded forecast, what became of it, and what it was made from."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "forecast": {
                        "id": "9b1c5e0a7d3f4862",
                        "made_at": "2025-10-01T08:00:00+00:00",
                        "strategy_id": "aave-v3:ethereum:usdc",
                        "category": "lending",
                        "origin": "2025-09-30",
                        "due": "2025-10-07",
                        "horizon_days": 7,
                        "apy": 0.052,
                        "volatility": 0.08,
                        "last_apy": 0.047,
                        "quantiles": {"q05": 0.041, "q50": 0.052, "q95": 0.066},
                        "actual_apy": 0.0498,
                        "actual_volatility": 0.071,
                    },
                    "bundle": {"file": "lstm_v1.pth", "sha256": "5c657120" * 8, "found": True},
                    "training": {"run_id": None, "commit": "0074a000472c"},
                    "dataset": {
                        "name": "processed",
                        "sha256": "1f7bdd12" * 8,
                        "simulated": False,
                        "made_at": None,
                        "code": None,
                        "files": {},
                        "still_the_same": None,
                    },
                    "raw_files": [],
                }
            ]
        }
    )

    forecast: RecordedForecast
    bundle: RecordedBundle
    training: dict[str, Any] = Field(
        description="Run, release, commit, data, split, plan, metrics, and what its intervals have learned from since "
        "(calibrated), where known."
    )
    dataset: RecordedDataset
    raw_files: list[RawFile] = Field(description="Answers of sources behind the inputs, where they were collected.")
