"""Networks taught to forecast volatility: what they learn where the truth is known, and how a model uses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aegis_yield.domain.errors import BundleError
from aegis_yield.domain.limits import MAX_HORIZON_DAYS
from aegis_yield.models.batches import BatchSource, fit_scaler
from aegis_yield.models.bundle import Bundle, bundle_bytes, load_bundle
from aegis_yield.models.calibration import Calibrator, ScorePool
from aegis_yield.models.fitting import VOLATILITY_EPOCHS, FittedModel, FittingSession, Progress, rounded
from aegis_yield.models.loss_weights import LossWeights
from aegis_yield.models.lstm import LstmModel, MemberGroup
from aegis_yield.models.network import Architecture, YieldNetwork
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.recipes import TextbookRecipe
from aegis_yield.models.scores import qlike
from aegis_yield.models.torch_runtime import torch
from aegis_yield.models.training import Job, MemberTrainer
from aegis_yield.models.volatility import VolatilityDesign
from aegis_yield.models.volatility_recipe import VolatilityRecipe
from aegis_yield.preprocessing.features import FEATURE_NAMES
from aegis_yield.preprocessing.origins import ModelInputs
from aegis_yield.preprocessing.splits import TimeSplit
from aegis_yield.preprocessing.windows import WindowSet

MakeModel = Callable[..., LstmModel]
MEDIAN_OF_ABSOLUTE_NORMAL = 0.6744897501960817
N_STRATEGIES, N_DAYS, TRAINED_DAYS = 25, 500, 350
UNIT = 1e-3


class OpenRecipe(VolatilityRecipe):
    """Without noise on market channels, which a simulated rate does not have."""

    def blur(self, windows: torch.Tensor) -> torch.Tensor:
        return windows


@dataclass(frozen=True)
class Simulated:
    """GARCH(1,1) rates with the variance of every next day, in units squared."""

    data: WindowSet
    next_variance: np.ndarray


@pytest.fixture(scope="module")
def garch() -> Simulated:
    rng = np.random.default_rng(8)
    omega, alpha, beta = 0.05, 0.25, 0.70
    variance = np.ones((N_STRATEGIES, N_DAYS + 1))
    change = np.zeros((N_STRATEGIES, N_DAYS))
    for day in range(N_DAYS):
        change[:, day] = np.sqrt(variance[:, day]) * rng.standard_normal(N_STRATEGIES)
        variance[:, day + 1] = omega + alpha * change[:, day] ** 2 + beta * variance[:, day]
    day = np.tile(np.arange(N_DAYS), N_STRATEGIES)
    known = np.stack([np.log(variance[:, 1:]), rng.standard_normal(change.shape)], axis=2)
    rates = 0.05 + UNIT * np.cumsum(change, axis=1)
    data = WindowSet(
        features=known.reshape(-1, 2).astype(np.float32),
        apy=np.pad(rates.ravel(), (0, MAX_HORIZON_DAYS), constant_values=np.nan),
        scale=np.full(day.size, UNIT),
        day=day,
        strategy=np.repeat(np.arange(N_STRATEGIES), N_DAYS),
        category=np.zeros(day.size, dtype=np.int64),
        eligible=day >= 30,
        max_horizon=np.minimum(N_DAYS - 1 - day, MAX_HORIZON_DAYS),
        strategy_ids=np.arange(N_STRATEGIES).astype(str),
    )
    return Simulated(data, variance[:, 1:].ravel())


@pytest.fixture(scope="module")
def learned(garch: Simulated) -> tuple[np.ndarray, np.ndarray]:
    """Rows after the training days, and a trained network's outputs for the next day."""

    class Silent:
        def started(self, *_: Any) -> None: ...
        def advanced(self, *_: Any) -> None: ...
        def epoch_ended(self, *_: Any) -> None: ...

    data, recipe = garch.data, OpenRecipe()
    rows = data.origins_between(0, TRAINED_DAYS)
    limit = np.ones(len(rows), dtype=np.int64)  # the next day only: its variance is known exactly
    scaler = fit_scaler(data, rows, recipe)
    source = replace(BatchSource.build(data, scaler, recipe), weights=LossWeights.fit(data, rows, limit))
    plan = TrainingPlan(batch_size=128, learning_rate=1e-2, learning_rate_decay=0.85)
    trainer = MemberTrainer(plan, source, recipe, Job("volatility", (2, 0), rows, limit, 8, None))
    for _ in trainer.epochs(Silent()):
        pass
    later = np.flatnonzero((data.day >= TRAINED_DAYS) & (data.max_horizon >= 1))
    network = YieldNetwork(Architecture(n_inputs=3))
    network.load_state_dict(trainer.state.best)
    with torch.inference_mode():
        outputs = network.eval()(source.windows(later, np.ones(len(later), dtype=np.int64))).numpy()
    return later, outputs.astype(float)


def test_the_mean_size_is_the_true_standard_deviation(garch: Simulated, learned: tuple[np.ndarray, np.ndarray]) -> None:
    rows, outputs = learned
    truth = np.log(garch.next_variance[rows]) / 2
    assert np.abs(outputs[:, 1] - truth).mean() < 0.12
    assert np.corrcoef(outputs[:, 1], truth)[0, 1] > 0.95


def test_the_typical_size_is_the_median_of_a_normal_change(learned: tuple[np.ndarray, np.ndarray]) -> None:
    _, outputs = learned
    assert np.mean(outputs[:, 0] - outputs[:, 1]) == pytest.approx(np.log(MEDIAN_OF_ABSOLUTE_NORMAL), abs=0.1)


def test_it_nearly_reaches_the_scores_of_the_truth_and_beats_a_constant(
    garch: Simulated, learned: tuple[np.ndarray, np.ndarray]
) -> None:
    rows, outputs = learned
    actual = np.sqrt(365) * np.abs(garch.data.apy[rows + 1] - garch.data.apy[rows])
    unit = np.sqrt(365) * UNIT
    truth, constant = unit * np.sqrt(garch.next_variance[rows]), np.full(len(rows), unit)
    ours, best, plain = (float(qlike(actual, f).mean()) for f in (unit * np.exp(outputs[:, 1]), truth, constant))
    assert ours - best < 0.25 * (plain - best)


@pytest.fixture
def taught(make_model: MakeModel) -> LstmModel:
    """A model with two networks of random weights for volatility."""
    model, members = make_model(), []
    for seed in (70, 71):
        torch.manual_seed(seed)
        network = YieldNetwork(model.architecture)
        torch.nn.init.normal_(network.head.weight)
        members.append(rounded({name: tensor.detach() for name, tensor in network.named_parameters()}))
    return replace(model, experts=(MemberGroup(VolatilityRecipe(0.5, 0.1, 0.2), tuple(members)),))


@pytest.mark.parametrize("horizon", [1, 7, 30])
def test_experts_say_the_volatility_and_nothing_else(
    make_model: MakeModel, taught: LstmModel, inputs: ModelInputs, horizon: int
) -> None:
    plain, told = make_model().locate(inputs, horizon), taught.locate(inputs, horizon)
    assert np.array_equal(plain.location, told.location)
    assert np.array_equal(plain.scale, told.scale)
    group = taught.experts[0]
    alone = [replace(taught, experts=(replace(group, members=(one,)),)) for one in group.members]
    outputs = np.mean([model.outputs(inputs.windows, horizon, group=1) for model in alone], axis=0)
    design = VolatilityDesign.of(inputs, np.zeros(len(inputs), dtype=int), horizon)
    np.testing.assert_allclose(told.volatility, VolatilityRecipe(0.5, 0.1, 0.2).volatility(outputs, design))


def saved(model: LstmModel, folder: Path) -> Path:
    path = folder / "lstm_v1.pth"
    path.write_bytes(bundle_bytes(Bundle(model, Calibrator(ScorePool.empty()), {})))
    return path


def test_experts_survive_saving_bit_by_bit(taught: LstmModel, inputs: ModelInputs, tmp_path: Path) -> None:
    path = saved(taught, tmp_path)
    loaded = load_bundle(path).model
    assert loaded.experts[0].recipe == taught.experts[0].recipe
    assert np.array_equal(loaded.locate(inputs, 7).volatility, taught.locate(inputs, 7).volatility)


class UnknownRecipe(VolatilityRecipe):
    """A recipe of a later release."""


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda g: replace(g, recipe=UnknownRecipe(name="oracle")), "'oracle'"),
        (lambda g: replace(g, recipe=VolatilityRecipe(mean_share=float("nan"))), "experts"),
        (lambda g: replace(g, members=()), "members"),
        (lambda g: replace(g, members=({},)), "malformed"),
        (lambda g: replace(g, members=({**g.members[0], "head.bias": torch.full((2,), float("inf"))},)), "finiteness"),
    ],
)
def test_malformed_experts_are_refused(
    taught: LstmModel, tmp_path: Path, fault: Callable[[MemberGroup], MemberGroup], reason: str
) -> None:
    path = saved(replace(taught, experts=(fault(taught.experts[0]),)), tmp_path)
    with pytest.raises(BundleError, match=reason):
        load_bundle(path)


def fit(windows: WindowSet, split: TimeSplit, silent: Any, **choices: Any) -> tuple[FittedModel, Progress]:
    session = FittingSession(windows, split, TrainingPlan(batch_size=256, members=1, **choices))
    return session.run(silent, lambda _: None), session.progress


def test_fitting_trains_experts_last_for_a_fixed_number_of_epochs(
    windows: WindowSet, split: TimeSplit, silent: Any
) -> None:
    fitted, progress = fit(windows, split, silent, epochs=1, volatility_members=2)
    assert [len(group.members) for group in fitted.model.groups] == [1, 2]
    assert [state.epoch for state in progress.done[-2:]] == [min(1, VOLATILITY_EPOCHS)] * 2
    assert {"volatility 1", "volatility 2"} <= fitted.curves.keys()
    first, second = fitted.model.experts[0].members
    assert not torch.equal(first["head.weight"], second["head.weight"])


def test_without_experts_the_volatility_is_read_off_the_spread(
    windows: WindowSet, split: TimeSplit, silent: Any
) -> None:
    fitted, _ = fit(windows, split, silent, epochs=1, volatility_members=0)
    assert fitted.model.experts == ()


def test_the_textbook_has_no_experts(windows: WindowSet, split: TimeSplit, silent: Any) -> None:
    fitted, _ = fit(windows, split, silent, epochs=1, volatility_members=2, recipe="textbook")
    assert isinstance(fitted.model.recipe, TextbookRecipe)
    assert fitted.model.experts == ()


def test_experts_read_every_feature(taught: LstmModel) -> None:
    assert taught.experts[0].recipe.inputs(np.zeros((1, len(FEATURE_NAMES)))).shape == (1, len(FEATURE_NAMES))
