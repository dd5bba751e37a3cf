"""Features of a panel, all strategies and days at once, ready to be cut into windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.preprocessing.features.context import FeatureContext, block_context
from aegis_yield.preprocessing.features.own import OWN_FEATURES
from aegis_yield.preprocessing.features.shared import (
    CROSS_SECTION_FEATURES,
    MARKET_FEATURES,
    cross_section_features,
    market_features,
)
from aegis_yield.preprocessing.panel import Panel
from aegis_yield.preprocessing.rolling import lagged
from aegis_yield.utils.typing import FloatArray

WINDOW_DAYS: Final = 7
"""Days in the network's input window."""

CLIP: Final = 10.0
"""No channel exceeds this: beyond ten local scales, further is not more informative."""

CATEGORY_FEATURES: Final = tuple(f"is_{name}" for name in CATEGORIES)

FEATURE_NAMES: Final[tuple[str, ...]] = (
    *(feature.name for feature in OWN_FEATURES),
    *CROSS_SECTION_FEATURES,
    *MARKET_FEATURES,
    *CATEGORY_FEATURES,
)
"""Every feature, in the order of the network's channels (the horizon comes on top)."""

_BLOCK_CELLS: Final = 250_000


@dataclass(frozen=True)
class FeatureBlock:
    """Features of a panel for a stretch of days.

    Attributes
    ----------
    values : ndarray of float32, shape (n_strategies, n_days, n_features)
        Finite, clipped to ±10; unknown is 0.
    scale : ndarray of shape (n_strategies, n_days)
        Local scale of each strategy in apy units; NaN before its first row.
    start : int
        Panel column of the first day.
    """

    values: FloatArray
    scale: FloatArray
    start: int


def compute_features(panel: Panel, start: int, stop: int) -> FeatureBlock:
    """Compute every feature for the panel's columns [start, stop).

    Parameters
    ----------
    panel : Panel
        Needs ``LOOKBACK_DAYS`` columns before ``start`` for features to be complete; days before
        the panel begins count as unknown.
    start, stop : int
        Columns asked for.

    Returns
    -------
    FeatureBlock
        A value of day D depends on rows dated ≤ D only. Of one strategy's row, only the cross-sectional
        features (``category_*``) look at other strategies.
    """
    n_out = stop - start
    values = np.zeros((panel.n_strategies, n_out, len(FEATURE_NAMES)), dtype=np.float32)
    scale = np.full((panel.n_strategies, n_out), np.nan)
    moves = np.full((panel.n_strategies, n_out + WINDOW_DAYS - 1), np.nan)
    height = max(1, _BLOCK_CELLS // n_out)
    for first in range(0, panel.n_strategies, height):
        rows = slice(first, min(first + height, panel.n_strategies))
        context = block_context(panel, rows, start, stop)
        _write_own(context, values[rows])
        scale[rows] = context.scale
        moves[rows] = _moves(context)
    _write_shared(panel, moves, values, start)
    return FeatureBlock(values=values, scale=scale, start=start)


def _write_own(context: FeatureContext, out: FloatArray) -> None:
    for channel, feature in enumerate(OWN_FEATURES):
        with np.errstate(invalid="ignore", divide="ignore"):
            value = feature.compute(context)
        out[:, :, channel] = np.clip(np.nan_to_num(value, nan=0.0, posinf=CLIP, neginf=-CLIP), -CLIP, CLIP)


def _moves(context: FeatureContext) -> FloatArray:
    reach = context.n_out + WINDOW_DAYS - 1
    with np.errstate(invalid="ignore"):
        z = np.clip(lagged(context.step, 0, reach) / context.scale_over(reach), -CLIP, CLIP)
    return np.where(lagged(context.moved, 0, reach), z, np.nan)


def _write_shared(panel: Panel, moves: FloatArray, values: FloatArray, start: int) -> None:
    n_out = values.shape[1]
    channel = len(OWN_FEATURES)
    cross = cross_section_features(moves, panel.categories, n_out)
    values[:, :, channel : channel + cross.shape[2]] = np.clip(cross, -CLIP, CLIP)[panel.categories]
    channel += cross.shape[2]
    market = market_features(panel.market, panel.n_days)[start : start + n_out]
    values[:, :, channel : channel + market.shape[1]] = np.clip(market, -CLIP, CLIP)
    channel += market.shape[1]
    one_hot = np.eye(len(CATEGORIES), dtype=np.float32)[panel.categories]
    values[:, :, channel:] = one_hot[:, None, :]


def describe_features() -> list[tuple[str, str, str]]:
    """Return (name, group, meaning) of every feature, in channel order."""
    rows = [(feature.name, feature.group, feature.meaning) for feature in OWN_FEATURES]
    rows += [(name, "cross-section", meaning) for name, meaning in CROSS_SECTION_FEATURES.items()]
    rows += [(name, "market", meaning) for name, meaning in MARKET_FEATURES.items()]
    rows += [(name, "category", f"1 for strategies of category {name[3:]}") for name in CATEGORY_FEATURES]
    return rows
