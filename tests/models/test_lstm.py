from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.models import lstm
from aegis_yield.models.base import LocationScaleModel
from aegis_yield.models.lstm import LstmModel, build_network
from aegis_yield.models.recipes import AnchoredRecipe, TextbookRecipe
from aegis_yield.models.scaling import horizon_channel
from aegis_yield.models.torch_runtime import torch
from aegis_yield.models.volatility import VolatilityDesign
from aegis_yield.preprocessing.origins import ModelInputs

MakeModel = Callable[..., LstmModel]


class Unblurred(AnchoredRecipe):
    """Must not be blurred."""

    def blur(self, windows: torch.Tensor) -> torch.Tensor:
        raise AssertionError("a forecast was blurred")


def first(inputs: ModelInputs, n: int) -> ModelInputs:
    return ModelInputs(inputs.windows[:n], inputs.last_apy[:n], inputs.local_scale[:n], inputs.history[:n])


def test_outputs_are_the_mean_of_the_members(make_model: MakeModel, inputs: ModelInputs) -> None:
    model = make_model(n_members=3)
    alone = [replace(model, members=(weights,)).outputs(inputs.windows, 7) for weights in model.members]
    np.testing.assert_allclose(model.outputs(inputs.windows, 7), np.mean(alone, axis=0), atol=1e-12)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3


def test_a_network_sees_scaled_features_and_the_horizon(make_model: MakeModel, inputs: ModelInputs) -> None:
    model = make_model(n_members=1)
    channel = np.full((*inputs.windows.shape[:2], 1), horizon_channel(14))
    x = np.concatenate([model.scaler.transform(inputs.windows), channel], axis=2)
    with torch.no_grad():
        expected = build_network(model.architecture, model.members[0])(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model.outputs(inputs.windows, 14), expected, atol=1e-6)
    assert not np.allclose(model.outputs(inputs.windows, 1), expected, atol=1e-4)


def test_the_size_of_a_forward_pass_decides_nothing(
    make_model: MakeModel, inputs: ModelInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_model().outputs(inputs.windows, 7)
    monkeypatch.setattr(lstm, "CHUNK", 7)
    np.testing.assert_allclose(make_model().outputs(inputs.windows, 7), whole, atol=1e-6)


def test_strategies_do_not_influence_one_another(make_model: MakeModel, inputs: ModelInputs) -> None:
    model = make_model()
    all_rows, few = model.locate(inputs, 7), model.locate(first(inputs, 3), 7)
    np.testing.assert_allclose(few.location, all_rows.location[:3], rtol=1e-5)
    np.testing.assert_allclose(few.scale, all_rows.scale[:3], rtol=1e-5)


def test_outputs_are_moves_in_local_scales(make_model: MakeModel, inputs: ModelInputs) -> None:
    model = make_model()
    outputs, raw = model.outputs(inputs.windows, 7), model.locate(inputs, 7)
    np.testing.assert_allclose(raw.location, inputs.last_apy + inputs.local_scale * outputs[:, 0])
    np.testing.assert_allclose(raw.scale, inputs.local_scale * np.exp(outputs[:, 1]))


def test_a_forecast_has_no_noise_in_it(make_model: MakeModel, inputs: ModelInputs) -> None:
    forecasts = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        forecasts.append(make_model(recipe=Unblurred()).outputs(inputs.windows, 7))
    assert np.array_equal(*forecasts)


def test_volatility_is_that_of_the_rows_category(make_model: MakeModel, inputs: ModelInputs) -> None:
    model = make_model()
    category = inputs.windows[:, -1, -len(CATEGORIES) :].argmax(axis=1)
    log_scale = model.outputs(inputs.windows, 7)[:, 1]
    expected = model.volatility_map.volatility(log_scale, VolatilityDesign.of(inputs, category, 7))
    np.testing.assert_allclose(model.locate(inputs, 7).volatility, expected)


def test_the_textbook_model_reads_volatility_off_its_output(make_model: MakeModel, inputs: ModelInputs) -> None:
    model = make_model(recipe=TextbookRecipe(0.06, 0.02, 0.1, 0.3))
    outputs, raw = model.outputs(inputs.windows, 7), model.locate(inputs, 7)
    np.testing.assert_allclose(raw.volatility, np.maximum(0.1 + 0.3 * outputs[:, 1], 0.0))
    assert (raw.scale == 0.02).all()


def test_nothing_to_forecast_is_no_error(make_model: MakeModel, inputs: ModelInputs) -> None:
    raw = make_model().locate(first(inputs, 0), 7)
    assert len(raw.location) == len(raw.scale) == len(raw.volatility) == 0


def test_models_are_forecasters_with_a_name(make_model: MakeModel) -> None:
    assert isinstance(make_model(), LocationScaleModel)
    assert make_model().name == "LSTM"
    assert make_model(recipe=TextbookRecipe(0.0, 1.0, 0.0, 1.0)).name == "LSTM textbook"


def test_half_precision_weights_are_computed_with_in_single(make_model: MakeModel) -> None:
    model = make_model()
    network = build_network(model.architecture, model.members[0])
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert not network.training
