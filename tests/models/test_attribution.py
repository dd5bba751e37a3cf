"""Parts of a forecast: complete, against a strategy at rest, and nothing for what the network does not use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from aegis_yield.models.attribution import Attribution, attribute, location_of
from aegis_yield.models.lstm import LstmModel
from aegis_yield.models.recipes import TextbookRecipe
from aegis_yield.models.torch_runtime import torch
from aegis_yield.preprocessing.features import FEATURE_NAMES, describe_features
from aegis_yield.preprocessing.origins import ModelInputs

MakeModel = Callable[..., LstmModel]
GROUP = {name: group for name, group, _ in describe_features()}
AT_ZERO = [
    *(name for name in FEATURE_NAMES if name.startswith(("gap_", "momentum_", "tvl_change_", "category_step_"))),
    "apy_step", "week_surprise", "position_28", "zscore_28", "rsi", "autocorrelation_28", "utilization_change_7",
]  # fmt: skip
TEXTBOOK = TextbookRecipe(0.06, 0.02, 0.1, 0.3)


def column(name: str) -> int:
    return FEATURE_NAMES.index(name)


def some(inputs: ModelInputs, n: int = 12) -> ModelInputs:
    return ModelInputs(inputs.windows[:n], inputs.last_apy[:n], inputs.local_scale[:n], inputs.history[:n])


def parts(found: Attribution) -> np.ndarray:
    return np.asarray(found.last_apy + found.usual_drift + found.shares.sum(axis=(1, 2)))


def deafened(model: LstmModel, heard: list[int]) -> LstmModel:
    """Let networks hear only some channels."""
    deaf = []
    for weights in model.members:
        kernel = weights["lstm_1.weight_ih_l0"].clone()
        kernel[:, [channel for channel in range(kernel.shape[1]) if channel not in heard]] = 0.0
        deaf.append({**weights, "lstm_1.weight_ih_l0": kernel})
    return replace(model, members=tuple(deaf))


def forgetful(model: LstmModel) -> LstmModel:
    """Let networks see nothing but the newest day: no memory, no way back from the hidden state."""
    cut = []
    for weights in model.members:
        changed = {name: tensor.clone() for name, tensor in weights.items()}
        for layer, size in (("lstm_1", 128), ("lstm_2", 64)):
            changed[f"{layer}.weight_hh_l0"].zero_()
            changed[f"{layer}.weight_ih_l0"][size : 2 * size] = 0.0
            changed[f"{layer}.bias_ih_l0"][size : 2 * size] = -1e4  # the forget gate is shut
        cut.append(changed)
    return replace(model, members=tuple(cut))


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("horizon_days", [1, 7, 30])
def test_the_location_explained_is_the_models_own(
    make_model: MakeModel, inputs: ModelInputs, n_members: int, horizon_days: int
) -> None:
    model = make_model(n_members)
    found, raw = attribute(model, some(inputs), horizon_days), model.locate(some(inputs), horizon_days)
    np.testing.assert_allclose(found.location, raw.location, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_the_parts_add_up_to_the_location(make_model: MakeModel, inputs: ModelInputs, seed: int) -> None:
    found = attribute(make_model(2, seed=seed), some(inputs), 7)
    moved = np.maximum(np.abs(found.shares.sum(axis=(1, 2))), 1e-4 * inputs.local_scale[:12])
    assert (np.abs(parts(found) - found.location) <= 1e-6 * moved).all()
    np.testing.assert_allclose(found.location - parts(found), found.gap, atol=1e-15)


def test_the_baseline_is_the_strategy_at_rest(make_model: MakeModel, inputs: ModelInputs) -> None:
    model, few = make_model(), some(inputs)
    still = few.windows.copy()
    for channel, name in enumerate(FEATURE_NAMES):
        if GROUP[name] != "category":
            still[:, :, channel] = 0.0 if name in AT_ZERO else model.scaler.mean[channel]
    at_rest = replace(few, windows=still)
    drift = model.locate(at_rest, 7).location - few.last_apy
    np.testing.assert_allclose(attribute(model, few, 7).usual_drift, drift, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(attribute(model, at_rest, 7).shares, 0.0, atol=1e-9)


def test_the_usual_drift_is_the_categorys_in_local_scales(make_model: MakeModel, inputs: ModelInputs) -> None:
    found = attribute(make_model(), inputs, 7)
    category = inputs.windows[:, -1, column("is_lending") :].argmax(axis=1)
    drift = found.usual_drift / inputs.local_scale
    for code in np.unique(category):
        np.testing.assert_allclose(drift[category == code], drift[category == code][0], rtol=1e-9)
    assert np.ptp(drift) > 1e-6


def test_the_ewma_is_that_of_the_history(make_model: MakeModel, inputs: ModelInputs) -> None:
    level = inputs.history[0, 0]
    for rate in inputs.history[0, 1:]:
        level = 0.3 * rate + 0.7 * level
    assert attribute(make_model(1), some(inputs, 1), 7).ewma[0] == pytest.approx(level, rel=1e-12)


def test_a_feature_that_the_network_ignores_gets_nothing(make_model: MakeModel, inputs: ModelInputs) -> None:
    model = make_model()
    ignored = [column("rsi"), column("vix")]
    n_channels = model.architecture.n_inputs
    found = attribute(deafened(model, [c for c in range(n_channels) if c not in ignored]), some(inputs), 7)
    assert not found.shares[:, :, ignored].any()
    others = np.delete(found.shares, [*ignored, *range(column("is_lending"), len(FEATURE_NAMES))], axis=2)
    assert (others != 0).all()


def test_the_category_gets_nothing_it_is_the_same_at_rest(make_model: MakeModel, inputs: ModelInputs) -> None:
    assert not attribute(make_model(), some(inputs), 7).shares[:, :, column("is_lending") :].any()


def test_what_was_planted_is_found(make_model: MakeModel, inputs: ModelInputs) -> None:
    """A network that hears one feature on the newest day: that cell holds all there is."""
    planted = column("gap_ewma_5")
    found = attribute(forgetful(deafened(make_model(), [planted])), some(inputs), 7)
    np.testing.assert_allclose(found.shares[:, -1, planted], found.location - found.last_apy - found.usual_drift)
    rest = found.shares.copy()
    rest[:, -1, planted] = 0.0
    assert not rest.any()
    assert (found.shares[:, -1, planted] != 0).all()


def test_features_that_play_the_same_part_get_the_same(make_model: MakeModel, inputs: ModelInputs) -> None:
    first, second = column("momentum_3"), column("momentum_7")
    model = make_model(1)
    kernel = model.members[0]["lstm_1.weight_ih_l0"].clone()
    kernel[:, second] = kernel[:, first]
    mean, std = model.scaler.mean.copy(), model.scaler.std.copy()
    mean[second], std[second] = mean[first], std[first]
    twin = replace(
        model,
        members=({**model.members[0], "lstm_1.weight_ih_l0": kernel},),
        scaler=replace(model.scaler, mean=mean, std=std),
    )
    windows = some(inputs).windows.copy()
    windows[:, :, second] = windows[:, :, first]
    shares = attribute(twin, replace(some(inputs), windows=windows), 7).shares
    np.testing.assert_allclose(shares[:, :, first], shares[:, :, second], atol=1e-14)
    assert shares[:, :, first].any()


def test_shares_speak_in_the_strategys_own_scale(make_model: MakeModel, inputs: ModelInputs) -> None:
    few = some(inputs)
    once = attribute(make_model(), few, 7)
    twice = attribute(make_model(), replace(few, local_scale=2 * few.local_scale), 7)
    np.testing.assert_allclose(twice.shares, 2 * once.shares, rtol=1e-9)


def test_a_model_without_anchor_is_explained_by_the_features_it_reads(
    make_model: MakeModel, inputs: ModelInputs
) -> None:
    model, few = make_model(recipe=TEXTBOOK), some(inputs)
    found = attribute(model, few, 7)
    np.testing.assert_allclose(found.location, model.locate(few, 7).location, rtol=1e-5)
    np.testing.assert_allclose(parts(found), found.location, atol=1e-9)
    read = {FEATURE_NAMES[n] for n in np.flatnonzero(found.shares.any(axis=(0, 1)))}
    assert read == {"apy_level", "log_scale", "tvl_log", "gas_gwei", "eth_volatility_30"}


def test_nothing_to_explain_is_no_error(make_model: MakeModel, inputs: ModelInputs) -> None:
    assert attribute(make_model(), some(inputs, 0), 7).shares.shape == (0, 7, len(FEATURE_NAMES))


def test_the_models_own_networks_stay_as_they_were(make_model: MakeModel, inputs: ModelInputs) -> None:
    model = make_model()
    before = model.outputs(inputs.windows, 7)
    attribute(model, some(inputs), 7)
    np.testing.assert_array_equal(model.outputs(inputs.windows, 7), before)
    assert {tensor.dtype for weights in model.members for tensor in weights.values()} == {torch.float16}


def test_the_ramp_function_is_the_first_output(make_model: MakeModel, inputs: ModelInputs) -> None:
    model = make_model(3)
    scaled = model.scaler.transform(inputs.windows).astype(np.float64)
    np.testing.assert_allclose(location_of(model, 14)(scaled), model.outputs(inputs.windows, 14)[:, 0], atol=2e-5)
