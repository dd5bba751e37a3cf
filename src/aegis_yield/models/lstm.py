"""The fitted model: groups of promised networks, their scaling, their recipes, their volatility map."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.models.calibration import LocationScale, least_apy, states_by
from aegis_yield.models.network import Architecture, YieldNetwork
from aegis_yield.models.recipes import Reading, Recipe, YieldRecipe
from aegis_yield.models.scaling import FeatureScaler, horizon_channel
from aegis_yield.models.shape import Shape, StateView
from aegis_yield.models.torch_runtime import torch
from aegis_yield.models.volatility import VolatilityDesign, VolatilityMap
from aegis_yield.models.volatility_recipe import VolatilityRecipe
from aegis_yield.preprocessing.features import FEATURE_NAMES
from aegis_yield.preprocessing.origins import ModelInputs
from aegis_yield.utils.typing import FloatArray

Weights = dict[str, torch.Tensor]

CHUNK: Final = 512
"""Windows per forward pass: larger batches fall out of the cache."""

_CATEGORY_START: Final = FEATURE_NAMES.index("is_lending")
_PERSISTENCE: Final = FEATURE_NAMES.index("persistence")
_MEDIAN: Final = QUANTILE_LEVELS.index(0.5)


@dataclass(frozen=True)
class MemberGroup:
    """Networks of one recipe: a question of its own, asked of the same inputs.

    Attributes
    ----------
    recipe : Recipe
        What their outputs mean; it reads the same channels as the model's own.
    members : tuple of dict
        Weights of each network.
    """

    recipe: Recipe
    members: tuple[Weights, ...]


@dataclass(frozen=True)
class LstmModel:
    """A mean of networks that say what is paid, beside groups of networks that answer other questions.

    Attributes
    ----------
    architecture : Architecture
        Sizes of every member.
    recipe : YieldRecipe
        What the outputs of ``members`` mean.
    scaler : FeatureScaler
        Input scaling fitted on training rows.
    members : tuple of dict
        Weights of each network.
    volatility_map : VolatilityMap
        From the second output to the volatility of DESIGN section 2, where no group is taught it.
    experts : tuple of MemberGroup
        Further groups, each of another recipe.
    shape : Shape or None
        Where quantiles lie around the median; None for those of Laplace's distribution.
    """

    architecture: Architecture
    recipe: YieldRecipe
    scaler: FeatureScaler
    members: tuple[Weights, ...]
    volatility_map: VolatilityMap
    experts: tuple[MemberGroup, ...] = ()
    shape: Shape | None = None

    @property
    def name(self) -> str:
        """``"LSTM"``, or ``"LSTM textbook"``."""
        return "LSTM" if self.recipe.name == "anchored" else f"LSTM {self.recipe.name}"

    @property
    def groups(self) -> tuple[MemberGroup, ...]:
        """All members by recipe, those that say what is paid first."""
        return (MemberGroup(self.recipe, self.members), *self.experts)

    def locate(self, inputs: ModelInputs, horizon_days: int) -> LocationScale:
        """Forecast n strategy-origin pairs at one horizon."""
        windows = self._network_inputs(inputs.windows, horizon_days)
        reading = self.recipe.read(self._mean_outputs(0, windows), inputs.last_apy, inputs.local_scale)
        category = inputs.windows[:, -1, _CATEGORY_START:].argmax(axis=1)
        design = VolatilityDesign.of(inputs, category, horizon_days)
        volatility = self._taught_volatility(windows, design)
        if volatility is None:
            volatility = reading.volatility
        if volatility is None:
            volatility = self.volatility_map.volatility(reading.log_scale, design)
        state = states_by(inputs.windows[:, -1, _PERSISTENCE])
        if self.shape is None:
            return LocationScale(reading.location, reading.spread, volatility, state=state)
        quantiles = self._quantiles(self.shape, windows, reading, inputs)
        median = quantiles[:, _MEDIAN]
        shape = np.delete(quantiles, _MEDIAN, axis=1) - median[:, None]
        return LocationScale(reading.location + reading.spread * median, reading.spread, volatility, shape, state)

    def outputs(self, windows: FloatArray, horizon_days: int, group: int = 0) -> FloatArray:
        """Return a group's mean outputs, shape (n, 2), for raw windows of shape (n, 7, n_features)."""
        return self._mean_outputs(group, self._network_inputs(windows, horizon_days))

    def _quantiles(self, shape: Shape, windows: torch.Tensor, reading: Reading, inputs: ModelInputs) -> FloatArray:
        """Return all quantiles in spreads from the location."""
        anchor, scale = inputs.last_apy, inputs.local_scale
        category = inputs.windows[:, -1, _CATEGORY_START:].argmax(axis=1)
        move, floor = (reading.location - anchor) / scale, (least_apy(category) - anchor) / scale
        day = windows[:, -1].numpy()
        return shape.quantiles(StateView(day, inputs.windows[:, -1], move, reading.log_scale, floor))

    def _taught_volatility(self, windows: torch.Tensor, design: VolatilityDesign) -> FloatArray | None:
        for number, group in enumerate(self.groups):
            if isinstance(group.recipe, VolatilityRecipe):
                return group.recipe.volatility(self._mean_outputs(number, windows), design)
        return None

    def _network_inputs(self, windows: FloatArray, horizon_days: int) -> torch.Tensor:
        scaled = self.scaler.transform(self.recipe.inputs(windows))
        channel = np.full((*scaled.shape[:2], 1), horizon_channel(horizon_days), dtype=np.float32)
        return torch.from_numpy(np.concatenate([scaled, channel], axis=2))  # (n, window, n_inputs)

    def _mean_outputs(self, group: int, x: torch.Tensor) -> FloatArray:
        total = np.zeros((len(x), 2))
        with torch.inference_mode():
            for network in self._networks[group]:
                parts = [network(x[start : start + CHUNK]).numpy() for start in range(0, len(x), CHUNK)]
                total += np.concatenate([*parts, np.empty((0, 2))])
        return total / len(self._networks[group])

    @cached_property
    def _networks(self) -> list[list[YieldNetwork]]:
        return [[build_network(self.architecture, weights) for weights in group.members] for group in self.groups]


def build_network(architecture: Architecture, weights: Weights) -> YieldNetwork:
    """Return a network with these weights, ready to forecast."""
    network = YieldNetwork(architecture)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return network.eval()
