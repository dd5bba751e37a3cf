"""Training batches: windows gathered from views, horizons drawn, targets cut, all in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from aegis_yield.domain.limits import DEFAULT_HORIZON_DAYS, MAX_HORIZON_DAYS
from aegis_yield.domain.targets import DAYS_PER_YEAR
from aegis_yield.models.loss_weights import LossWeights
from aegis_yield.models.recipes import Recipe, Targets
from aegis_yield.models.scaling import FeatureScaler, horizon_channel
from aegis_yield.models.torch_runtime import torch
from aegis_yield.preprocessing.features import WINDOW_DAYS
from aegis_yield.preprocessing.windows import WindowSet, mean_log_growth, mean_square_change
from aegis_yield.utils.typing import IntArray

Tensor = torch.Tensor

DEFAULT_HORIZON_SHARE = 0.3
"""Share of training examples at the default horizon; the others are spread over 1 … 30 days."""


@dataclass(frozen=True)
class BatchSource:
    """Makes network inputs and targets for any rows of a window set.

    Attributes
    ----------
    data : WindowSet
        Features, rates and scales.
    view : Tensor of shape (n_rows - 6, n_channels, WINDOW_DAYS)
        Windows of scaled channels, a view: item i ends with row i + 6.
    weights : LossWeights or None
        How much each strategy counts in the loss; None: all rows alike.
    """

    data: WindowSet
    view: Tensor
    weights: LossWeights | None = None

    @classmethod
    def build(cls, data: WindowSet, scaler: FeatureScaler, recipe: Recipe) -> BatchSource:
        """Scale all rows once and lay the windows over them."""
        scaled = torch.from_numpy(scaler.transform(recipe.inputs(data.features)))
        return cls(data, scaled.unfold(0, WINDOW_DAYS, 1))

    def windows(self, rows: IntArray, horizon_days: IntArray) -> Tensor:
        """Return network inputs ending at ``rows``, shape (batch, WINDOW_DAYS, n_channels + 1)."""
        chosen = self.view[torch.from_numpy(rows - (WINDOW_DAYS - 1))].transpose(1, 2)
        horizon = torch.from_numpy(horizon_channel(horizon_days))[:, None, None]
        return torch.cat([chosen, horizon.expand(-1, WINDOW_DAYS, 1)], dim=2)

    def targets(self, rows: IntArray, horizon_days: IntArray) -> Targets:
        """Return the outcomes of ``rows`` over their own horizons."""
        targets = targets_of(self.data, rows, horizon_days)
        if self.weights is None:
            return targets
        return replace(targets, weight=self.weights.of(self.data.strategy[rows], horizon_days))


def targets_of(data: WindowSet, rows: IntArray, horizon_days: IntArray) -> Targets:
    """Return the outcomes of rows of a window set over their own horizons."""
    futures = data.futures()[rows]
    return Targets(
        anchor=futures[:, 0],
        scale=data.scale[rows],
        apy=np.expm1(mean_log_growth(futures, horizon_days)),
        volatility=np.sqrt(DAYS_PER_YEAR * mean_square_change(futures, horizon_days)),
    )


def draw_horizons(rng: np.random.Generator, limit: IntArray) -> IntArray:
    """Draw a horizon for each row, log-uniform over 1 … 30 with extra weight on the default, within ``limit``."""
    drawn = np.exp(rng.uniform(0.0, np.log(MAX_HORIZON_DAYS + 1), len(limit))).astype(np.int64)
    drawn[rng.random(len(limit)) < DEFAULT_HORIZON_SHARE] = DEFAULT_HORIZON_DAYS
    return np.minimum(np.minimum(drawn, MAX_HORIZON_DAYS), limit)


def epoch_batches(
    rng: np.random.Generator, rows: IntArray, limit: IntArray, batch_size: int
) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield (rows, horizons) of each batch of one shuffled pass; the last, smaller batch is left out.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides order and horizons.
    rows, limit : ndarray of int, shape (n,)
        Training origins and the longest horizon each may use.
    batch_size : int
        If there are fewer rows than this, they make one batch.
    """
    order = rng.permutation(len(rows))
    horizons = draw_horizons(rng, limit[order])
    size = min(batch_size, len(rows))
    for start in range(0, len(rows) - size + 1, size):
        chosen = order[start : start + size]
        yield rows[chosen], horizons[start : start + size]


def fit_scaler(data: WindowSet, rows: IntArray, recipe: Recipe) -> FeatureScaler:
    """Fit the input scaling on training origins only."""
    return FeatureScaler.fit(recipe.inputs(data.features[rows]))
