"""What ``/models`` returns, with units."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_EXAMPLE: dict[str, Any] = {
    "version": "lstm_v1",
    "model_version": "lstm_v1-5c657120",
    "sha256": "5c657120" * 8,
    "aliases": ["champion"],
    "is_served": True,
    "data": {
        "first_date": "2019-05-07",
        "last_date": "2025-09-30",
        "n_rows": 233_327,
        "n_strategies": 830,
        "sha256": "1f7bdd12" * 8,
        "simulated": False,
    },
    "calibrated_to": "2025-09-30",
    "n_calibration_scores": 30_000,
    "n_networks": 3,
    "validation_score": 0.63,
    "scores": {"7": {"all": {"rel_mae": 0.86, "rel_crps": 0.81, "coverage_90": 0.88, "n_strategies": 540}}},
    "fault": None,
}


class TrainingData(BaseModel):
    """What a version has learned from."""

    first_date: dt.date | None = Field(None, description="Oldest day, UTC.")
    last_date: dt.date | None = Field(None, description="Newest day, UTC.")
    n_rows: int | None = Field(None, description="Days of strategies.")
    n_strategies: int | None = Field(None, description="Strategies.")
    sha256: str | None = Field(None, description="Of the tables' content.")
    simulated: bool | None = Field(None, description="True if the data was simulated.")


class ModelVersion(BaseModel):
    """One version of the model."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    version: str = Field(description="Such as lstm_v1.")
    model_version: str = Field(description="Version and digest, as forecasts carry it.")
    sha256: str | None = Field(description="Of the file; null if it serves from no file.")
    aliases: list[str] = Field(description="champion, challenger, or none.")
    is_served: bool = Field(description="Whether this service forecasts with it now.")
    data: TrainingData | None = Field(description="What it has learned from; null if the file cannot be read.")
    calibrated_to: dt.date | None = Field(description="Newest day that its intervals have learned from, UTC.")
    n_calibration_scores: int | None = Field(description="Past forecasts behind its intervals.")
    n_networks: int = Field(ge=0, description="Networks whose mean it is.")
    validation_score: float | None = Field(description="Loss on days that were held back; lower is better.")
    scores: dict[str, dict[str, dict[str, float]]] = Field(
        description="How its training did on the newest days, which it had not seen: by horizon in days, by category "
        "(or all). rel_mae and rel_crps are errors over those of the last value, below 1 is skill; coverage_90 is the "
        "share of outcomes inside the 90 % interval before calibration. Empty for versions that kept none."
    )
    fault: str | None = Field(description="Why the file cannot be read; null if it can.")


class CategoryOutcome(BaseModel):
    """How recorded forecasts of one category turned out."""

    category: str
    window_days: int = Field(description="Outcomes of the last so many days of the data.")
    n_outcomes: int = Field(ge=0, description="Forecasts whose outcome is known.")
    coverage_90: float | None = Field(description="Share of outcomes inside the 90 % interval, as a share.")
    rel_mae: float | None = Field(
        description="Mean absolute error over that of the last value, as a ratio; null if too little is known."
    )
    median_width: float | None = Field(description="Of the 90 % interval, fraction per year.")


class ModelPage(BaseModel):
    """All versions."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "models": [_EXAMPLE],
                    "outcomes": [
                        {
                            "category": "lending",
                            "window_days": 30,
                            "n_outcomes": 412,
                            "coverage_90": 0.91,
                            "rel_mae": 0.87,
                            "median_width": 0.03,
                        }
                    ],
                }
            ]
        }
    )

    models: list[ModelVersion] = Field(description="The newest first.")
    outcomes: list[CategoryOutcome] | None = Field(
        description="How recorded forecasts turned out, by category; null if the store cannot be read."
    )


class AliasChange(BaseModel):
    """One move of an alias."""

    at: str = Field(description="UTC.")
    action: str = Field(description="promote, rollback, assign or delete.")
    alias: str = Field(description="Which; empty for a deletion.")
    before: str | None = Field(description="Version before.")
    after: str | None = Field(description="Version after.")
    reason: str = Field(description="Why.")
    decision: str | None = Field(description="Id of the gate's decision, if it made one.")
    forced: bool = Field(description="Whether the gate was overruled.")


class ModelDetail(ModelVersion):
    """One version with all that its file says of its training."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_EXAMPLE,
                    "plan": {"epochs": 100, "learning_rate": 0.002},
                    "split": {"train_end": "2025-04-03"},
                    "project_version": "0.1.0",
                    "commit": "0074a000472c",
                    "curves": {"scout 1": [2.08, 1.91, 1.87]},
                    "changes": [],
                }
            ]
        }
    )

    plan: dict[str, Any] | None = Field(description="Parameters of the training.")
    split: dict[str, Any] | None = Field(description="Last days of training, validation and calibration, UTC.")
    project_version: str | None = Field(description="Release that trained it.")
    commit: str | None = Field(description="Code that trained it.")
    curves: dict[str, list[float]] = Field(description="Loss by epoch of each network.")
    changes: list[AliasChange] = Field(description="How aliases came to it and left it, oldest first.")
