"""Features: named, documented, causal, computed for all strategies at once."""

from aegis_yield.preprocessing.features.build import (
    FEATURE_NAMES,
    WINDOW_DAYS,
    FeatureBlock,
    compute_features,
    describe_features,
)
from aegis_yield.preprocessing.features.context import LOOKBACK_DAYS
from aegis_yield.preprocessing.features.shared import MARKET_FEATURES

__all__ = [
    "FEATURE_NAMES",
    "LOOKBACK_DAYS",
    "MARKET_FEATURES",
    "WINDOW_DAYS",
    "FeatureBlock",
    "compute_features",
    "describe_features",
]
