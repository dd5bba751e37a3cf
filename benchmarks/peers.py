"""Peers: what a practitioner would use instead, behind the same protocol as the project's own models.

Their intervals come from the same calibration as everybody's, with the local scale of the rate as spread.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aegis_yield.models.baselines import LastValue
from aegis_yield.models.calibration import LocationScale
from aegis_yield.models.recipes import TARGET_CLIP
from aegis_yield.preprocessing.origins import ModelInputs
from aegis_yield.preprocessing.windows import WindowSet, mean_log_growth
from aegis_yield.utils.typing import FloatArray

if TYPE_CHECKING:
    import lightgbm

TREES: Final = 300
STRIDE_DAYS: Final = 2


@dataclass(frozen=True)
class LightGbm:
    """Gradient-boosted trees with absolute loss on the features of the origin's day.

    The target is the network's own: the move away from the last value in local scales. Untuned.
    """

    booster: lightgbm.Booster
    name: str = "LightGBM"

    @classmethod
    def fit(cls, data: WindowSet, last_day: int, horizon_days: int) -> LightGbm:
        """Train on every second day whose outcome is known by ``last_day``."""
        import lightgbm

        rows = data.origins_between(0, last_day)
        rows = rows[(data.horizon_limit(rows, last_day) >= horizon_days) & (data.day[rows] % STRIDE_DAYS == 0)]
        actual = np.expm1(mean_log_growth(data.futures()[rows], np.full(len(rows), horizon_days)))
        move = np.clip((actual - data.apy[rows]) / data.scale[rows], -TARGET_CLIP, TARGET_CLIP)
        options = {"objective": "l1", "learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 100, "verbose": -1}
        options |= {"feature_fraction": 0.7, "bagging_fraction": 0.7, "bagging_freq": 1, "seed": 0, "num_threads": 1}
        return cls(lightgbm.train(options, lightgbm.Dataset(data.features[rows], move), num_boost_round=TREES))

    def locate(self, inputs: ModelInputs, horizon_days: int) -> LocationScale:
        """Forecast the horizon it was trained for."""
        move = np.asarray(self.booster.predict(inputs.windows[:, -1], num_threads=1))
        naive = LastValue().locate(inputs, horizon_days)
        return LocationScale(inputs.last_apy + inputs.local_scale * move, naive.scale, naive.volatility)


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
        location = np.array([self._one(history, horizon_days) for history in inputs.history])
        return LocationScale(np.where(np.isfinite(location), location, naive.location), naive.scale, naive.volatility)

    def _one(self, history: FloatArray, horizon_days: int) -> float:
        known = history[~np.isnan(history)]
        if np.ptp(known) == 0.0:
            return float(known[-1])
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                path = self.model.forecast(y=known, h=horizon_days)["mean"]
        except (ValueError, FloatingPointError, ZeroDivisionError, IndexError, RuntimeError):
            return float("nan")
        return float(np.expm1(np.log(np.maximum(1.0 + path, 1e-6)).mean()))


def classical_peers() -> list[StatsForecast]:
    """Return AutoETS and AutoTheta without season, as they are used on daily rates."""
    from statsforecast.models import AutoETS, AutoTheta

    return [
        StatsForecast(AutoETS(season_length=1), "AutoETS"),
        StatsForecast(AutoTheta(season_length=1), "AutoTheta"),
    ]
