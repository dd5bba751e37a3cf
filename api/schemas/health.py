"""What the health routes return."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel, ConfigDict, Field


class Liveness(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "alive"}]})

    status: str = Field(description="alive")


class Readiness(BaseModel):
    """Model and tables are loaded."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "ready",
                    "model_version": "lstm_v1-5c657120",
                    "data": "processed",
                    "simulated": False,
                    "n_strategies": 830,
                    "last_date": "2025-09-30",
                    "data_age_days": 1,
                    "loaded_at": "2025-10-01T06:00:00Z",
                }
            ]
        }
    )

    status: str = Field(description="ready")
    model_version: str = Field(description="Version and digest of the model.")
    data: str = Field(description="Name of the tables.")
    simulated: bool = Field(description="True if the data is simulated.")
    n_strategies: int = Field(ge=0, description="Strategies with rows.")
    last_date: dt.date = Field(description="Newest day of the tables, UTC.")
    data_age_days: int = Field(description="Days from last_date to today, UTC.")
    loaded_at: dt.datetime | None = Field(None, description="Since when this model and these tables are served, UTC.")
    warnings: list[str] | None = Field(
        None, description="What does not go as it should while the service answers, e.g. a newer model is damaged."
    )
