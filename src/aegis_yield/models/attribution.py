"""Which features, on which days, moved a forecast away from the state in which nothing has happened.

The point forecast is a function of the strategy's last value and of its window of features. It is compared with
that of the same strategy *at rest*: its rate has stood at its EWMA, so the last value is the EWMA, every gap to
an average, every extreme and every change is zero; what only describes a strategy or the market (level, size,
use, age, gas, …) is as on average in training; category and horizon stay what they are. The forecast of that
state is the EWMA plus the drift that its category usually has over this horizon.

Integrated gradients along the straight path from that state to today's split the rest. The last value enters
the forecast by itself (``location = last value + local scale · output``), so its share of the path is exactly
``last value - EWMA``; the network's inputs share what is left. The local scale is the unit in which the network
speaks and stays today's all the way. Hence, without remainder:

    forecast = EWMA + (today's rate - EWMA) + usual drift + sum of attributions + calibration and floor

Typically the second term and the attributions of the gaps pull in opposite directions: today's rate stands
above its average, and the network expects part of that to go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.models.baselines import EWMA_ALPHA, ewma
from aegis_yield.models.integrated_gradients import RampFunction, integrate_gradients
from aegis_yield.models.lstm import LstmModel, build_network
from aegis_yield.models.network import YieldNetwork
from aegis_yield.models.recipes import Recipe
from aegis_yield.models.scaling import horizon_channel
from aegis_yield.models.torch_runtime import torch
from aegis_yield.preprocessing.features import FEATURE_NAMES, describe_features
from aegis_yield.preprocessing.origins import ModelInputs
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

Tensor = torch.Tensor

_RESTING_GROUPS: Final = ("moving averages", "distance", "momentum")
_RESTING_NAMES: Final = (
    "apy_step", "position_28", "zscore_28", "rsi", "autocorrelation_28", "tvl_change_1", "tvl_change_7",
    "utilization_change_7", "category_step_1", "category_step_7",
)  # fmt: skip
"""Features that are zero when nothing has happened; every other one is at its training mean."""


@dataclass(frozen=True)
class Attribution:
    """What n point forecasts are made of, all in the unit of ``apy``.

    Attributes
    ----------
    ewma : ndarray of shape (n,)
        Exponentially weighted mean of the rate (alpha 0.3): where the strategy would stand at rest.
    last_apy : ndarray of shape (n,)
        Today's rate.
    usual_drift : ndarray of shape (n,)
        Forecast of the strategy at rest, less the rate it stands at.
    shares : ndarray of shape (n, WINDOW_DAYS, n_features)
        Attribution of each feature of each day D-6 … D; 0 for the category and for what the model does not read.
    location : ndarray of shape (n,)
        The model's point forecast before calibration.
    gap : ndarray of shape (n,)
        ``location`` less the sum of all parts: the error of the integral.
    """

    ewma: FloatArray
    last_apy: FloatArray
    usual_drift: FloatArray
    shares: FloatArray
    location: FloatArray
    gap: FloatArray


def attribute(model: LstmModel, inputs: ModelInputs, horizon_days: int) -> Attribution:
    """Split point forecasts into their parts.

    Parameters
    ----------
    model : LstmModel
        Any recipe whose location is linear in the first output.
    inputs : ModelInputs
        n strategy-origin pairs.
    horizon_days : int
        Days ahead.
    """
    scaled = model.scaler.transform(model.recipe.inputs(inputs.windows)).astype(np.float64)
    feature_of = _feature_of_channels(model.recipe)
    found = integrate_gradients(location_of(model, horizon_days), _at_rest(model, scaled, feature_of), scaled)
    off, on = (_in_apy(model, inputs, np.full(len(inputs), output)) for output in (0.0, 1.0))
    shares = np.zeros((*scaled.shape[:2], len(FEATURE_NAMES)))
    shares[:, :, feature_of] = found.attributions * (on - off)[:, None, None]
    return Attribution(
        ewma=ewma(inputs.history, EWMA_ALPHA),
        last_apy=inputs.last_apy,
        usual_drift=_in_apy(model, inputs, found.start_value) - inputs.last_apy,
        shares=shares,
        location=_in_apy(model, inputs, found.end_value),
        gap=-found.gap * (on - off),
    )


def location_of(model: LstmModel, horizon_days: int) -> RampFunction:
    """Return the output behind a model's point forecast as a function of scaled windows.

    This is the one place that knows which networks make the location, and how: the mean of the members.

    Parameters
    ----------
    model : LstmModel
        Its networks are copied in double precision.
    horizon_days : int
        Days ahead, the same for all windows.

    Returns
    -------
    RampFunction
        Of windows of shape (n, WINDOW_DAYS, n_channels), without the horizon's channel.
    """
    networks = [build_network(model.architecture, weights).double() for weights in model.members]
    horizon = float(horizon_channel(horizon_days))

    def units(windows: Tensor) -> Tensor:
        channel = windows.new_full((*windows.shape[:2], 1), horizon)
        x = torch.cat([windows, channel], dim=2)
        return torch.cat([_before_ramps(network, x) for network in networks], dim=1)

    heads = [network.head.weight[0].detach().numpy() for network in networks]
    bias = float(np.mean([network.head.bias[0].item() for network in networks]))
    return RampFunction(units, np.concatenate(heads) / len(networks), bias)


def _before_ramps(network: YieldNetwork, windows: Tensor) -> Tensor:
    hidden, _ = network.lstm_1(windows)
    hidden, _ = network.lstm_2(hidden)
    units: Tensor = network.dense(hidden[:, -1])
    return units


def _in_apy(model: LstmModel, inputs: ModelInputs, output: FloatArray) -> FloatArray:
    outputs = np.stack([output, np.zeros(len(output))], axis=1)
    return model.recipe.read(outputs, inputs.last_apy, inputs.local_scale).location


def _feature_of_channels(recipe: Recipe) -> IntArray:
    """Return which feature each channel of a recipe is made from, found by moving one feature at a time."""
    n_features = len(FEATURE_NAMES)
    probes = np.concatenate([np.zeros((1, n_features)), np.eye(n_features)]).astype(np.float32)
    channels = recipe.inputs(probes)
    return np.asarray((channels[1:] != channels[0]).argmax(axis=0))


def _at_rest(model: LstmModel, scaled: FloatArray, feature_of: IntArray) -> FloatArray:
    """Return scaled windows in which nothing has happened, of the same strategies."""
    zero = model.scaler.transform(model.recipe.inputs(np.zeros((1, len(FEATURE_NAMES)), dtype=np.float32)))[0]
    resting, kept = _resting()[feature_of], _kept()[feature_of]
    return np.where(kept, scaled, np.where(resting, zero.astype(np.float64), 0.0))


def _resting() -> BoolArray:
    rows = describe_features()
    return np.array([group in _RESTING_GROUPS or name in _RESTING_NAMES for name, group, _ in rows])


def _kept() -> BoolArray:
    return np.array([group == "category" for _, group, _ in describe_features()])
