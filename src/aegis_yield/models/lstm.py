"""The fitted model: several promised networks, their scaling, their recipe, their volatility map."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from aegis_yield.models.calibration import LocationScale
from aegis_yield.models.network import Architecture, YieldNetwork
from aegis_yield.models.recipes import Recipe
from aegis_yield.models.scaling import FeatureScaler, horizon_channel
from aegis_yield.models.torch_runtime import torch
from aegis_yield.models.volatility import VolatilityDesign, VolatilityMap
from aegis_yield.preprocessing.features import FEATURE_NAMES
from aegis_yield.preprocessing.origins import ModelInputs
from aegis_yield.utils.typing import FloatArray

Weights = dict[str, torch.Tensor]

CHUNK: Final = 512
"""Windows per forward pass: larger batches fall out of the cache."""

_CATEGORY_START: Final = FEATURE_NAMES.index("is_lending")


@dataclass(frozen=True)
class LstmModel:
    """A mean of networks that read the same inputs.

    Attributes
    ----------
    architecture : Architecture
        Sizes of every member.
    recipe : Recipe
        What the outputs mean.
    scaler : FeatureScaler
        Input scaling fitted on training rows.
    members : tuple of dict
        Weights of each network.
    volatility_map : VolatilityMap
        From the second output to the volatility of DESIGN section 2.
    """

    architecture: Architecture
    recipe: Recipe
    scaler: FeatureScaler
    members: tuple[Weights, ...]
    volatility_map: VolatilityMap

    @property
    def name(self) -> str:
        """``"LSTM"``, or ``"LSTM textbook"``."""
        return "LSTM" if self.recipe.name == "anchored" else f"LSTM {self.recipe.name}"

    def locate(self, inputs: ModelInputs, horizon_days: int) -> LocationScale:
        """Forecast n strategy-origin pairs at one horizon."""
        outputs = self.outputs(inputs.windows, horizon_days)
        reading = self.recipe.read(outputs, inputs.last_apy, inputs.local_scale)
        category = inputs.windows[:, -1, _CATEGORY_START:].argmax(axis=1)
        volatility = reading.volatility
        if volatility is None:
            design = VolatilityDesign.of(inputs, category, horizon_days)
            volatility = self.volatility_map.volatility(reading.log_scale, design)
        return LocationScale(reading.location, reading.spread, volatility)

    def outputs(self, windows: FloatArray, horizon_days: int) -> FloatArray:
        """Return the members' mean outputs, shape (n, 2), for raw windows of shape (n, 7, n_features)."""
        scaled = self.scaler.transform(self.recipe.inputs(windows))
        channel = np.full((*scaled.shape[:2], 1), horizon_channel(horizon_days), dtype=np.float32)
        x = torch.from_numpy(np.concatenate([scaled, channel], axis=2))  # (n, window, n_inputs)
        total = np.zeros((len(x), 2))
        with torch.inference_mode():
            for network in self._networks:
                parts = [network(x[start : start + CHUNK]).numpy() for start in range(0, len(x), CHUNK)]
                total += np.concatenate([*parts, np.empty((0, 2))])
        return total / len(self._networks)

    @cached_property
    def _networks(self) -> list[YieldNetwork]:
        return [build_network(self.architecture, weights) for weights in self.members]


def build_network(architecture: Architecture, weights: Weights) -> YieldNetwork:
    """Return a network with these weights, ready to forecast."""
    network = YieldNetwork(architecture)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return network.eval()
