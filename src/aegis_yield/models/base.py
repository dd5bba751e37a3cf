"""The verbs that every forecaster shares: ``fit → calibrate → predict``."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from aegis_yield.models.calibration import LocationScale
from aegis_yield.preprocessing.origins import ModelInputs


@runtime_checkable
class LocationScaleModel(Protocol):
    """A fitted model: says where the outcome will lie and how far it may stray, before calibration."""

    @property
    def name(self) -> str:
        """Short name in tables and pictures."""
        ...

    def locate(self, inputs: ModelInputs, horizon_days: int) -> LocationScale:
        """Forecast n strategy-origin pairs at one horizon, without looking at anything but the inputs."""
        ...
