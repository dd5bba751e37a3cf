r"""The volatility recipe: networks whose two outputs are the typical and the mean size of the days ahead.

With ``v`` the root mean squared daily change over the horizon (held above the rate's resolution) and ``s``
the local scale, the outputs are forecasts of ``log(v / s)``: the first its median, taught by absolute error;
the second the logarithm of the root of the mean of ``v²``, taught by QLIKE with a linear tail. Rates stand
still and then jump, so the two lie far apart: a log error asks for the first, a variance for the second. One
number is served, their geometric mean, drawn towards what was seen lately:

.. math:: \log \sigma = (1 - e) [(1 - m_h) \, o_1 + m_h \, o_2 + \log s] + e \log \text{EWMA}

The mean's share ``m_h`` falls with the horizon, as longer stretches hold their jumps more evenly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.targets import DAYS_PER_YEAR
from aegis_yield.models.recipes import Targets, blur_market
from aegis_yield.models.scores import MIN_VOLATILITY
from aegis_yield.models.torch_runtime import torch
from aegis_yield.models.volatility import VolatilityDesign
from aegis_yield.utils.typing import FloatArray

Tensor = torch.Tensor

RESOLUTION: Final = MIN_VOLATILITY / DAYS_PER_YEAR**0.5
"""Daily changes are told apart down to this size, in apy: that of the least volatility that is scored."""

LARGEST_LOG_GAP: Final = 2.0
"""Beyond a size seven times the forecast, the loss grows with the gap and no longer with its exponential."""

MAX_LOG_SIZE: Final = 9.0
"""The networks' sizes stay within these powers of e of the local scale."""

MEAN_SHARE: Final = 0.9
SHARE_DECAY: Final = 0.2
EWMA_SHARE: Final = 0.3
"""Chosen on origins 2023-07 … 2024-09: at 7 days the log error is a tenth below that of EWMA, the best on it of EWMA,
GARCH and a HAR of variances, and the median strategy's QLIKE is a fifth below the best. A larger share of the mean
lowers the QLIKE where a rate jumps out of long rest, and raises the log error everywhere."""


@dataclass(frozen=True)
class VolatilityRecipe:
    """Typical and mean size of daily changes, in local scales.

    Attributes
    ----------
    mean_share : float
        Weight of the mean size against the typical one at a horizon of one day, 0 … 1.
    share_decay : float
        Its fall for every power of e of the horizon.
    ewma_share : float
        Weight of the logarithm of the EWMA volatility in the served number, 0 … 1.
    """

    mean_share: float = MEAN_SHARE
    share_decay: float = SHARE_DECAY
    ewma_share: float = EWMA_SHARE
    name: str = "volatility"

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        """Absolute error of the typical size plus bounded QLIKE of the mean size, each with its row weights."""
        size = torch.from_numpy(log_size(targets.volatility, targets.scale).astype(np.float32))
        gap = size[:, None] - outputs
        weight = torch.ones_like(gap)
        if targets.weight is not None:
            weight = torch.from_numpy(targets.weight.astype(np.float32))
        losses = torch.stack([gap[:, 0].abs(), _bounded_qlike(gap[:, 1])], dim=1)
        return (weight * losses).mean(dim=0).sum()

    def inputs(self, features: FloatArray) -> FloatArray:
        """Return all features."""
        return features

    def blur(self, windows: Tensor) -> Tensor:
        """Add noise to the market channels."""
        return blur_market(windows)

    def to_state(self) -> dict[str, float]:
        """Return the three shares."""
        return {"mean_share": self.mean_share, "share_decay": self.share_decay, "ewma_share": self.ewma_share}

    def volatility(self, outputs: FloatArray, design: VolatilityDesign) -> FloatArray:
        """Return the served volatilities.

        Parameters
        ----------
        outputs : ndarray of shape (n, 2)
            Of the networks.
        design : VolatilityDesign
            Local scales, EWMA volatilities and horizons.

        Returns
        -------
        ndarray of shape (n,)
            Annualised; positive and finite.
        """
        typical, mean = np.clip(outputs, -MAX_LOG_SIZE, MAX_LOG_SIZE).T
        share = np.clip(self.mean_share - self.share_decay * np.log(design.horizon_days), 0.0, 1.0)
        ahead = (1.0 - share) * typical + share * mean + np.log(design.local_scale + RESOLUTION)
        annual = np.log(DAYS_PER_YEAR) / 2.0
        recent = np.log(np.maximum(design.recent_volatility, MIN_VOLATILITY)) - annual
        return np.asarray(np.exp((1.0 - self.ewma_share) * ahead + self.ewma_share * recent + annual))


def log_size(volatility: FloatArray, local_scale: FloatArray) -> FloatArray:
    """Return what the outputs forecast: the log of the root mean squared daily change in local scales, shape (n,).

    Parameters
    ----------
    volatility : ndarray of shape (n,)
        Realised, annualised.
    local_scale : ndarray of shape (n,)
        In apy units.
    """
    daily = np.maximum(volatility / DAYS_PER_YEAR**0.5, RESOLUTION)
    return np.asarray(np.log(daily / (local_scale + RESOLUTION)))


def bounded_qlike(gap: FloatArray) -> FloatArray:
    """Return :func:`aegis_yield.models.scores.qlike` of log actual over forecast, linear beyond the largest gap."""
    return np.asarray(_bounded_qlike(torch.from_numpy(np.asarray(gap, dtype=float))).numpy())


def _bounded_qlike(gap: Tensor) -> Tensor:
    inner = torch.clamp(gap, max=LARGEST_LOG_GAP)
    return torch.exp(2.0 * inner) * (1.0 + 2.0 * (gap - inner)) - 2.0 * gap - 1.0
