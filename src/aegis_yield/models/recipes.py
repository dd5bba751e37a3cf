"""Recipes: what the network's two outputs mean and which loss teaches them.

``anchored`` is the one that works on real yields: the outputs are the move away from the last value, in units
of the strategy's own local scale, and the log of its spread. The location has an L1 loss of its own and the
spread's Laplace likelihood does not pull on it: left to the joint likelihood, the location is weighted by one
over the spread and hardly leaves its anchor.

``textbook`` is what tutorials do: level targets, one global standard scaler, mean squared error. It is here
so that the difference can be measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from aegis_yield.models.torch_runtime import torch
from aegis_yield.preprocessing.features import FEATURE_NAMES, MARKET_FEATURES
from aegis_yield.utils.typing import FloatArray

Tensor = torch.Tensor

TARGET_CLIP: Final = 20.0
MARKET_NOISE: Final = 1.0
"""Standard deviation of the noise on scaled market channels in training."""

SCALE_WEIGHT: Final = 0.5
LARGEST_LINEAR_RATIO: Final = 10.0
MIN_LOG_SCALE: Final = -5.0
MAX_LOG_SCALE: Final = 6.0
"""The network's spread stays within these multiples of the local scale (0.7 % to 400 times)."""


_FIRST_MARKET: Final = FEATURE_NAMES.index(next(iter(MARKET_FEATURES)))
_MARKET: Final = slice(_FIRST_MARKET, _FIRST_MARKET + len(MARKET_FEATURES))
_TEXTBOOK_COLUMNS: Final = tuple(
    FEATURE_NAMES.index(name) for name in ("apy_level", "log_scale", "tvl_log", "gas_gwei", "eth_volatility_30")
)


@dataclass(frozen=True)
class Targets:
    """What the loss compares the outputs with, for one batch.

    Attributes
    ----------
    anchor, scale, apy : ndarray of shape (batch,)
        Last value, local scale and realised ``apy``.
    volatility : ndarray of shape (batch,)
        Realised annualised normal volatility.
    weight : ndarray of shape (batch, 2) or None
        How much each row counts in the loss of each output, about 1 on average; None: all rows alike.
        A recipe may leave it unread.
    """

    anchor: FloatArray
    scale: FloatArray
    apy: FloatArray
    volatility: FloatArray
    weight: FloatArray | None = None


@dataclass(frozen=True)
class Reading:
    """What outputs mean, for n forecasts.

    Attributes
    ----------
    location, spread : ndarray of shape (n,)
        Of ``apy``, in its unit.
    log_scale : ndarray of shape (n,)
        The second output as the volatility map wants it.
    volatility : ndarray of shape (n,) or None
        None where the volatility map has to be asked.
    """

    location: FloatArray
    spread: FloatArray
    log_scale: FloatArray
    volatility: FloatArray | None


class Recipe(Protocol):
    """What a network reads and how its outputs are taught; reading the outputs is each recipe's own."""

    @property
    def name(self) -> str:
        """Name on the command line and in bundles."""
        ...

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        """Return the mean loss of a batch, a scalar; ``outputs`` has shape (batch, 2)."""
        ...

    def inputs(self, features: FloatArray) -> FloatArray:
        """Return the channels this recipe reads, from features of shape (..., n_features)."""
        ...

    def blur(self, windows: Tensor) -> Tensor:
        """Return training inputs of shape (batch, window, channels) with noise where they would be memorised."""
        ...

    def to_state(self) -> dict[str, float]:
        """Return the numbers needed to make the recipe again."""
        ...


class YieldRecipe(Recipe, Protocol):
    """A recipe whose outputs say what a strategy will pay."""

    def read(self, outputs: FloatArray, anchor: FloatArray, scale: FloatArray) -> Reading:
        """Return what the outputs of shape (n, 2) mean."""
        ...


@dataclass(frozen=True)
class AnchoredRecipe:
    """Move away from the last value, and log spread, both in local scales."""

    name: str = "anchored"

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        """L1 on the location plus half the Laplace likelihood of the spread, gradients kept apart."""
        move = np.clip((targets.apy - targets.anchor) / targets.scale, -TARGET_CLIP, TARGET_CLIP)
        error = (torch.from_numpy(move.astype(np.float32)) - outputs[:, 0]).abs()
        log_scale = outputs[:, 1]
        likelihood = log_scale + _bounded(error.detach() * torch.exp(-log_scale))
        return error.mean() + SCALE_WEIGHT * likelihood.mean()

    def read(self, outputs: FloatArray, anchor: FloatArray, scale: FloatArray) -> Reading:
        """Undo the anchoring."""
        log_scale = np.clip(outputs[:, 1], MIN_LOG_SCALE, MAX_LOG_SCALE)
        return Reading(anchor + scale * outputs[:, 0], scale * np.exp(log_scale), log_scale, None)

    def inputs(self, features: FloatArray) -> FloatArray:
        """Return all features."""
        return features

    def blur(self, windows: Tensor) -> Tensor:
        """Add noise to the market channels."""
        return blur_market(windows)

    def to_state(self) -> dict[str, float]:
        """Return nothing: the recipe has no numbers of its own."""
        return {}


def blur_market(windows: Tensor) -> Tensor:
    """Add noise to the market channels of windows of shape (batch, window, channels), the same on all days.

    All strategies share the market's state, so together these channels name the day, and the network
    would learn by heart what happened on it.
    """
    noise = MARKET_NOISE * torch.randn(len(windows), 1, len(MARKET_FEATURES))
    blurred = windows.clone()
    blurred[:, :, _MARKET] += noise
    return blurred


def _bounded(ratio: Tensor) -> Tensor:
    """Return the error over the spread, with a logarithmic tail.

    A frozen pool that suddenly moves is a thousand spreads off: under the plain likelihood that one window
    would steer the whole batch.
    """
    tail = LARGEST_LINEAR_RATIO * (1.0 + torch.log(torch.clamp(ratio, min=1e-9) / LARGEST_LINEAR_RATIO))
    return torch.where(ratio < LARGEST_LINEAR_RATIO, ratio, tail)


@dataclass(frozen=True)
class TextbookRecipe:
    """Levels, standardised over the whole training set, mean squared error."""

    apy_mean: float
    apy_std: float
    volatility_mean: float
    volatility_std: float
    name: str = "textbook"

    @classmethod
    def fit(cls, targets: Targets) -> TextbookRecipe:
        """Take means and standard deviations from training targets."""
        return cls(
            apy_mean=float(targets.apy.mean()),
            apy_std=float(max(targets.apy.std(), 1e-9)),
            volatility_mean=float(targets.volatility.mean()),
            volatility_std=float(max(targets.volatility.std(), 1e-9)),
        )

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        """Mean squared error of both standardised outputs."""
        apy = (targets.apy - self.apy_mean) / self.apy_std
        volatility = (targets.volatility - self.volatility_mean) / self.volatility_std
        wanted = torch.from_numpy(np.stack([apy, volatility], axis=1).astype(np.float32))
        return ((outputs - wanted) ** 2).mean()

    def read(self, outputs: FloatArray, anchor: FloatArray, scale: FloatArray) -> Reading:
        """Undo the standardisation; the spread is the same for every strategy."""
        spread = np.full(len(outputs), self.apy_std)
        volatility = np.maximum(self.volatility_mean + self.volatility_std * outputs[:, 1], 0.0)
        return Reading(self.apy_mean + self.apy_std * outputs[:, 0], spread, np.zeros(len(outputs)), volatility)

    def inputs(self, features: FloatArray) -> FloatArray:
        """Return raw levels: apy, daily scale, tvl, gas price, ether volatility."""
        apy, scale, tvl, gas, eth = (features[..., column] for column in _TEXTBOOK_COLUMNS)
        levels = (
            0.05 * np.sinh(apy),
            10.0 ** (scale - 3.0),
            10.0 ** (tvl + 6.0),
            10.0 ** (gas + 1.0),
            0.6 * np.exp(eth),
        )
        return np.stack(levels, axis=-1).astype(np.float32)

    def blur(self, windows: Tensor) -> Tensor:
        """Return the inputs as they are."""
        return windows

    def to_state(self) -> dict[str, float]:
        """Return the four statistics."""
        return {
            "apy_mean": self.apy_mean,
            "apy_std": self.apy_std,
            "volatility_mean": self.volatility_mean,
            "volatility_std": self.volatility_std,
        }


def recipe_from_state(name: str, state: dict[str, float]) -> YieldRecipe:
    """Make a recipe again from its name and numbers.

    Raises
    ------
    ValueError
        If the name is neither ``anchored`` nor ``textbook``.
    """
    if name == "anchored":
        return AnchoredRecipe()
    if name == "textbook":
        return TextbookRecipe(state["apy_mean"], state["apy_std"], state["volatility_mean"], state["volatility_std"])
    raise ValueError(f"recipe: received {name!r}, allowed is anchored or textbook")
