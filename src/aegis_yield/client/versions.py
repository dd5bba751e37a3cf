"""Answers about the service itself: which models it has, and whether it is ready."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingData:
    """What a version has learned from."""

    first_date: dt.date | None = None
    last_date: dt.date | None = None
    n_rows: int | None = None
    n_strategies: int | None = None
    sha256: str | None = None
    simulated: bool | None = None


@dataclass(frozen=True)
class ModelVersion:
    """One version of the model; ``fault`` says why its file cannot be read."""

    version: str
    model_version: str
    sha256: str | None
    aliases: tuple[str, ...]
    is_served: bool
    data: TrainingData | None
    calibrated_to: dt.date | None
    n_calibration_scores: int | None
    n_networks: int
    validation_score: float | None
    scores: Mapping[str, Mapping[str, Mapping[str, float]]]
    fault: str | None


@dataclass(frozen=True)
class CategoryOutcome:
    """How recorded forecasts of one category turned out in the last ``window_days``."""

    category: str
    window_days: int
    n_outcomes: int
    coverage_90: float | None
    rel_mae: float | None
    median_width: float | None


@dataclass(frozen=True)
class ModelPage:
    """All versions, the newest first, and how forecasts turned out."""

    models: tuple[ModelVersion, ...]
    outcomes: tuple[CategoryOutcome, ...] | None


@dataclass(frozen=True)
class AliasChange:
    """One move of an alias."""

    at: str
    action: str
    alias: str
    before: str | None
    after: str | None
    reason: str
    decision: str | None
    forced: bool


@dataclass(frozen=True)
class ModelDetail(ModelVersion):
    """One version with all that its file says of its training."""

    plan: Mapping[str, Any] | None
    split: Mapping[str, Any] | None
    project_version: str | None
    commit: str | None
    curves: Mapping[str, tuple[float, ...]]
    changes: tuple[AliasChange, ...]


@dataclass(frozen=True)
class Readiness:
    """What is served, and since when; ``warnings`` say what does not go as it should."""

    status: str
    model_version: str
    data: str
    simulated: bool
    n_strategies: int
    last_date: dt.date
    data_age_days: int
    loaded_at: dt.datetime | None = None
    warnings: tuple[str, ...] | None = None
