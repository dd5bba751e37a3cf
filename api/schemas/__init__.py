"""What the service takes and returns, with units and bounds."""

from api.schemas.forecasts import ForecastLineage
from api.schemas.health import Liveness, Readiness
from api.schemas.predict import (
    MAX_NAME_LENGTH,
    MAX_STRATEGIES,
    ConfidenceInterval,
    Explanation,
    FeatureShare,
    Prediction,
    PredictRequest,
    PredictResponse,
    StrategyName,
    WholeNumber,
)
from api.schemas.problems import FieldFault, Problem
from api.schemas.strategies import Fan, History, StrategyDetail, StrategyInfo, StrategyPage
from api.schemas.versions import ModelDetail, ModelPage, ModelVersion

__all__ = [
    "MAX_NAME_LENGTH",
    "MAX_STRATEGIES",
    "ConfidenceInterval",
    "Explanation",
    "Fan",
    "FeatureShare",
    "FieldFault",
    "ForecastLineage",
    "History",
    "Liveness",
    "ModelDetail",
    "ModelPage",
    "ModelVersion",
    "PredictRequest",
    "PredictResponse",
    "Prediction",
    "Problem",
    "Readiness",
    "StrategyDetail",
    "StrategyInfo",
    "StrategyName",
    "StrategyPage",
    "WholeNumber",
]
