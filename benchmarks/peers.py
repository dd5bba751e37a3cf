"""AutoETS and AutoTheta behind the protocol of the project's own models; the race itself is in ``benchmarks/race``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aegis_yield.domain.targets import realised_apy
from aegis_yield.models.baselines import LastValue
from aegis_yield.models.calibration import LocationScale
from aegis_yield.preprocessing.origins import ModelInputs
from benchmarks.race.classical import one_path


@dataclass(frozen=True)
class StatsForecast:
    """A classical model fitted to each strategy's own history at each origin.

    Attributes
    ----------
    model : object
        A statsforecast model, e.g. ``AutoETS(season_length=1)``.
    name : str
        In tables.
    """

    model: Any
    name: str

    def locate(self, inputs: ModelInputs, horizon_days: int) -> LocationScale:
        """Forecast the mean of the next days, series by series; the last value where the model fails."""
        naive = LastValue().locate(inputs, horizon_days)
        paths = np.array([one_path(self.model, history) for history in inputs.history])
        location = realised_apy(paths[:, :horizon_days])
        return LocationScale(np.where(np.isfinite(location), location, naive.location), naive.scale, naive.volatility)


def classical_peers() -> list[StatsForecast]:
    """Return AutoETS and AutoTheta without season, as they are used on daily rates."""
    from statsforecast.models import AutoETS, AutoTheta

    return [
        StatsForecast(AutoETS(season_length=1), "AutoETS"),
        StatsForecast(AutoTheta(season_length=1), "AutoTheta"),
    ]
