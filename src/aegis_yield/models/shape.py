"""The shape of a forecast's distribution: where its quantiles lie around the median, in spreads, by state.

A location and a spread say where and how wide; Laplace's shape around them is the same for every state. Moves of rates
are not: mostly near nothing, with one fat tail, and which one depends on the state. A few small networks, from the
inputs of the origin's day, as they are and by rank, and the two numbers forecast, give the quantiles of the standing
``z = (apy - location) / spread`` on a scale that is linear near nothing and logarithmic far out (asinh).

What they say is tempered: distances from the median are a geometric mean of theirs and Laplace's, most of all far out,
where examples are few (of strategies whose rate hardly moves they make the tails several times too wide); and the
median stays a little nearer to the last value than they would have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np

from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.models.quantile_functions import laplace_quantiles
from aegis_yield.models.ranks import FeatureRanks
from aegis_yield.models.torch_runtime import torch
from aegis_yield.utils.typing import FloatArray

Tensor = torch.Tensor
Weights = dict[str, Tensor]

HIDDEN: Final = (128, 64, 32)
DROPOUT: Final = 0.2
MAX_STANDING: Final = 1e3
"""No quantile is further off than so many spreads, and an outcome further off teaches no more than one that far."""

LAPLACE_SHARE: Final = (0.8, 0.75, 0.6, 0.5, 0.5, 0.6, 0.75, 0.8)
"""Weight of Laplace's distance in the geometric mean, for each quantile but the median."""

MOVE_SHARE: Final = 0.85
"""Of the way from the last value to the median that the networks say."""

LEAST_DISTANCE: Final = 1e-3
"""Of a quantile from the median, in spreads, before the mean is taken: nothing times anything is nothing."""

N_FORECAST_INPUTS: Final = 3
"""What the networks see besides the day's channels: the move, the log of the spread, the room above the floor."""


_MEDIAN: Final = QUANTILE_LEVELS.index(0.5)
_SIDES: Final = np.array([level for level in QUANTILE_LEVELS if level != 0.5])
_LAPLACE: Final = laplace_quantiles(_SIDES)
_SIGN: Final = np.sign(_LAPLACE)


class ShapeNetwork(torch.nn.Module):
    """Dense 128 → 64 → 32 → a quantile of the standing, as asinh, for each of ``QUANTILE_LEVELS``.

    Untrained it gives Laplace's shape.
    """

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        sizes = (n_inputs, *HIDDEN)
        self.hidden = torch.nn.ModuleList(torch.nn.Linear(before, after) for before, after in pairwise(sizes))
        self.head = torch.nn.Linear(HIDDEN[-1], len(QUANTILE_LEVELS))
        self.dropout = torch.nn.Dropout(DROPOUT)
        torch.nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            start = np.arcsinh(laplace_quantiles(np.array(QUANTILE_LEVELS)))
            self.head.bias.copy_(torch.from_numpy(start.astype(np.float32)))

    def forward(self, states: Tensor) -> Tensor:
        """Map states of shape (batch, n_inputs) to quantiles of shape (batch, n_levels)."""
        x = states
        for place, layer in enumerate(self.hidden):
            x = torch.relu(layer(x))
            if place < len(self.hidden) - 1:
                x = self.dropout(x)
        quantiles: Tensor = self.head(x)
        return quantiles


@dataclass(frozen=True)
class StateView:
    """The state of n forecasts as shape networks see it.

    Attributes
    ----------
    day : ndarray of shape (n, n_channels)
        Scaled inputs of the origin's day, the horizon among them.
    features : ndarray of shape (n, n_features)
        The same day's features as they are.
    move, log_spread : ndarray of shape (n,)
        The forecast's distance from the last value and the log of its spread, in local scales.
    floor : ndarray of shape (n,)
        Distance of the lowest possible apy from the last value, in local scales.
    """

    day: FloatArray
    features: FloatArray
    move: FloatArray
    log_spread: FloatArray
    floor: FloatArray

    def inputs(self, ranks: FeatureRanks) -> FloatArray:
        """Return what the networks read, float32, shape (n, n_channels + 3 + n_features)."""
        room = np.arcsinh((self.move - self.floor) * np.exp(-self.log_spread))
        forecast = np.stack([np.arcsinh(self.move), self.log_spread, room], axis=1)
        return np.concatenate([self.day, forecast, ranks.transform(self.features)], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Shape:
    """A mean of shape networks.

    Attributes
    ----------
    ranks : FeatureRanks
        The map to ranks, fitted on training rows.
    members : tuple of dict
        Weights of each network.
    laplace_share : tuple of float
        For each quantile but the median, how much of Laplace's distance from the median goes into the mean: 0 none.
    move_share : float
        How much of the way from the last value to the median is gone: 1 all of it.
    """

    ranks: FeatureRanks
    members: tuple[Weights, ...]
    laplace_share: tuple[float, ...] = LAPLACE_SHARE
    move_share: float = MOVE_SHARE

    def quantiles(self, view: StateView) -> FloatArray:
        """Return tempered quantiles of the standing at ``QUANTILE_LEVELS``.

        Parameters
        ----------
        view : StateView
            What the networks see.

        Returns
        -------
        ndarray of shape (n, n_levels)
            In spreads from the location, rising along a row.
        """
        taught = self.taught_quantiles(view)
        median = taught[:, [_MEDIAN]]
        last_value = (-view.move * np.exp(-view.log_spread))[:, None]
        distance = np.maximum(np.abs(np.delete(taught, _MEDIAN, axis=1) - median), LEAST_DISTANCE)
        share = np.array(self.laplace_share)
        apart = _SIGN * np.abs(_LAPLACE) ** share * distance ** (1.0 - share)
        found = np.insert(apart, _MEDIAN, 0.0, axis=1) + last_value + self.move_share * (median - last_value)
        return np.sort(found, axis=1)

    def taught_quantiles(self, view: StateView) -> FloatArray:
        """Return quantiles of the standing as the networks say.

        Parameters
        ----------
        view : StateView
            What the networks see.

        Returns
        -------
        ndarray of shape (n, n_levels)
            In spreads from the location, rising along a row.
        """
        states = view.inputs(self.ranks)
        x, total = torch.from_numpy(states), np.zeros((len(states), len(QUANTILE_LEVELS)))
        with torch.inference_mode():
            for network in self._networks:
                total += network(x).numpy()
        bound = float(np.arcsinh(MAX_STANDING))
        return np.sort(np.sinh(np.clip(total / len(self._networks), -bound, bound)), axis=1)

    @cached_property
    def _networks(self) -> list[ShapeNetwork]:
        return [build_shape_network(weights) for weights in self.members]


def build_shape_network(weights: Weights) -> ShapeNetwork:
    """Return a network with these weights, ready to forecast."""
    network = ShapeNetwork(int(weights["hidden.0.weight"].shape[1]))
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return network.eval()
