from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aegis_yield.domain.errors import TrainingError
from aegis_yield.models.batches import BatchSource, fit_scaler
from aegis_yield.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from aegis_yield.models.fitting import Progress
from aegis_yield.models.lstm import Weights
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.recipes import AnchoredRecipe
from aegis_yield.models.torch_runtime import torch
from aegis_yield.models.training import LEAST_IMPROVEMENT, Job, MemberState, MemberTrainer
from aegis_yield.preprocessing.windows import WindowSet

PLAN = TrainingPlan(batch_size=128, learning_rate=4e-3)
MakeTrainer = Callable[..., MemberTrainer]


@dataclass(frozen=True)
class ToyRecipe(AnchoredRecipe):
    """The toy problem has no market that could be blurred."""

    def blur(self, windows: torch.Tensor) -> torch.Tensor:
        return windows


@dataclass(frozen=True)
class BlindRecipe(AnchoredRecipe):
    """Blurs until nothing is left."""

    def blur(self, windows: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(windows)


class RateLog:
    """An observer that reads the learning rate of every step off the optimiser."""

    def __init__(self, trainer: MemberTrainer) -> None:
        self.trainer, self.rates = trainer, [[]]

    def started(self, label: str, max_epochs: int, windows_per_epoch: int) -> None: ...

    def advanced(self, n_windows: int, loss: float) -> None:
        self.rates[-1].append(self.trainer.optimizer.param_groups[0]["lr"])

    def epoch_ended(self, report: Any) -> None:
        self.rates.append([])


@pytest.fixture
def make_trainer(toy: WindowSet) -> MakeTrainer:
    rows = toy.origins_between(0, 170)
    source = BatchSource.build(toy, fit_scaler(toy, rows, ToyRecipe()), ToyRecipe())

    def make(epochs: int = 3, plan: TrainingPlan = PLAN, stream: tuple[int, ...] = (0, 0), **job: Any) -> MemberTrainer:
        limit, recipe = toy.horizon_limit(rows, 170), job.pop("recipe", ToyRecipe())
        options = {"rows": rows, "limit": limit, "validate": None, **job}
        return MemberTrainer(plan, source, recipe, Job("toy", stream, max_epochs=epochs, **options))

    return make


def trained(trainer: MemberTrainer, observer: Any) -> MemberState:
    *_, last = trainer.epochs(observer)
    return last


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def scripted(scores: list[float]) -> Callable[[Weights], float]:
    remaining: Iterator[float] = iter(scores)
    return lambda weights: next(remaining)


def test_the_same_seed_gives_the_same_bits(make_trainer: MakeTrainer, silent: Any) -> None:
    first, second = (trained(make_trainer(), silent) for _ in range(2))
    assert same(first.network, second.network)
    assert same(first.average, second.average)
    assert first.losses == second.losses


@pytest.mark.parametrize("other", [{"plan": replace(PLAN, seed=1)}, {"stream": (0, 1)}, {"stream": (1, 0)}])
def test_another_seed_or_stream_gives_another_network(
    make_trainer: MakeTrainer, silent: Any, other: dict[str, Any]
) -> None:
    first, second = trained(make_trainer(1), silent), trained(make_trainer(1, **other), silent)
    assert not same(first.network, second.network)


def test_the_global_generator_decides_nothing(make_trainer: MakeTrainer, silent: Any) -> None:
    first = trained(make_trainer(1), silent)
    torch.manual_seed(99)
    np.random.seed(99)
    assert same(first.network, trained(make_trainer(1), silent).network)


def test_resumed_from_disk_equals_uninterrupted(make_trainer: MakeTrainer, silent: Any, tmp_path: Path) -> None:
    whole = trained(make_trainer(4), silent)
    (_, after_two) = islice(make_trainer(4).epochs(silent), 2)
    save_checkpoint(tmp_path / "c.ckpt", Checkpoint({}, Progress([], after_two)))
    second_half = make_trainer(4)
    second_half.restore(load_checkpoint(tmp_path / "c.ckpt").progress.current)
    resumed = trained(second_half, silent)
    assert same(whole.network, resumed.network)
    assert same(whole.best, resumed.best)
    assert whole.losses == resumed.losses


def test_a_state_stays_what_it_was_while_training_goes_on(make_trainer: MakeTrainer, silent: Any) -> None:
    states = list(make_trainer(3).epochs(silent))
    for _ in range(2):  # nor does resuming from it change it
        resumed = make_trainer(3)
        resumed.restore(states[0])
        assert same(trained(resumed, silent).network, states[-1].network)


def test_training_stops_when_validation_no_longer_improves(make_trainer: MakeTrainer, silent: Any) -> None:
    job = {"plan": replace(PLAN, patience=2), "validate": scripted([3.0, 2.0, 2.5, 1.0, 1.0, 4.0, 0.0])}
    states = list(make_trainer(50, **job).epochs(silent))
    assert [state.epoch for state in states] == [1, 2, 3, 4, 5, 6]
    assert (states[-1].best_epoch, states[-1].best_score) == (4, 1.0)
    assert same(states[-1].best, states[3].average)
    assert [report.improved for report in silent.reports] == [True, True, False, True, False, False]


def test_a_longer_patience_waits_longer(make_trainer: MakeTrainer, silent: Any) -> None:
    job = {"plan": replace(PLAN, patience=4), "validate": scripted([1.0] + [2.0] * 9)}
    assert trained(make_trainer(50, **job), silent).epoch == 5


def test_less_than_the_least_improvement_is_none(make_trainer: MakeTrainer, silent: Any) -> None:
    scores = [2.0, 2.0 * (1.0 - 0.9 * LEAST_IMPROVEMENT), 2.0 * (1.0 - 0.95 * LEAST_IMPROVEMENT)]
    states = list(make_trainer(50, plan=replace(PLAN, patience=2), validate=scripted(scores)).epochs(silent))
    assert [report.improved for report in silent.reports] == [True, False, False]
    assert (states[-1].best_epoch, states[-1].best_score) == (1, 2.0)
    assert same(states[-1].best, states[0].average)


def test_small_steps_down_add_up_to_an_improvement(make_trainer: MakeTrainer, silent: Any) -> None:
    scores = [2.0 * (1.0 - 0.6 * LEAST_IMPROVEMENT * step) for step in range(4)]
    state = trained(make_trainer(4, plan=replace(PLAN, patience=2), validate=scripted(scores)), silent)
    assert [report.improved for report in silent.reports] == [True, False, True, False]
    assert (state.best_epoch, state.best_score) == (3, scores[2])


def test_what_is_learned_from_is_blurred(make_trainer: MakeTrainer, silent: Any) -> None:
    """Weights that never get an input get no gradient: they only decay a little."""
    name, close = "lstm_1.weight_ih_l0", {"rtol": 0.01, "atol": 0.0}
    fresh = make_trainer(1).network.state_dict()[name].clone()
    blind, seeing = (trained(make_trainer(1, recipe=recipe), silent) for recipe in (BlindRecipe(), ToyRecipe()))
    torch.testing.assert_close(blind.network[name], fresh, **close)
    assert not torch.allclose(seeing.network[name], fresh, **close)


@pytest.mark.parametrize("epochs", [1, 3])
def test_no_more_epochs_than_allowed(make_trainer: MakeTrainer, silent: Any, epochs: int) -> None:
    always_better = make_trainer(epochs, validate=scripted([-1.0, -2.0, -3.0, -4.0]))
    assert trained(always_better, silent).epoch == epochs
    without_looking = trained(make_trainer(epochs), silent)
    assert (without_looking.epoch, without_looking.best_epoch) == (epochs, epochs)


def test_validation_sees_the_weight_average(make_trainer: MakeTrainer, silent: Any) -> None:
    seen: list[Weights] = []
    state = trained(make_trainer(1, validate=lambda weights: seen.append(weights) or 0.0), silent)
    assert same(seen[0], state.average)
    assert not same(state.average, state.network)


def test_the_average_is_an_exponential_mean_of_the_steps(make_trainer: MakeTrainer, silent: Any) -> None:
    trainer = make_trainer(1)
    mean, steps = trainer.network.head.bias.detach().clone(), []
    silent.advanced = lambda n, loss: steps.append(trainer.network.head.bias.detach().clone())
    trained(trainer, silent)
    for step, value in enumerate(steps):  # the first steps count more, or the start would linger
        decay = (1 + step) / (10 + step)
        mean = decay * mean + (1 - decay) * value
    torch.testing.assert_close(trainer.average["head.bias"], mean)


def test_the_loss_falls_on_a_problem_that_can_be_learned(make_trainer: MakeTrainer, silent: Any) -> None:
    plan = replace(PLAN, learning_rate=2e-2, learning_rate_decay=0.95, batch_size=64)
    losses = trained(make_trainer(12, plan, limit=np.ones(4 * 140, dtype=np.int64)), silent).losses
    assert losses[-1] < 0.93 * losses[0]


def test_a_loss_that_is_not_finite_stops_training(toy: WindowSet, silent: Any) -> None:
    broken = replace(toy, apy=np.where(toy.day[0] == 0, np.nan, toy.apy))
    recipe, rows = ToyRecipe(), np.arange(40, 100)
    source = BatchSource.build(broken, fit_scaler(broken, rows, recipe), recipe)
    trainer = MemberTrainer(PLAN, source, recipe, Job("scout 1/1", (0,), rows, np.full(60, 5), 3, None))
    with pytest.raises(TrainingError, match=r"^scout 1/1: the loss became nan in epoch 1; lower the learning rate"):
        trained(trainer, silent)


def test_the_learning_rate_starts_each_epoch_as_planned_and_falls(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(3)
    log = RateLog(trainer)
    trained(trainer, log)
    for epoch in (1, 2):
        rates = log.rates[epoch]
        assert rates[0] == pytest.approx(PLAN.learning_rate_at(epoch))
        assert all(PLAN.learning_rate_at(epoch + 1) < b < a for a, b in pairwise(rates))


def test_the_first_epoch_warms_up(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(1)
    log = RateLog(trainer)
    trained(trainer, log)
    rates = log.rates[0]
    assert rates[0] < 0.01 * PLAN.learning_rate_at(0)
    assert rates == sorted(rates)


def test_an_epoch_reports_loss_and_score(make_trainer: MakeTrainer, silent: Any) -> None:
    state = trained(make_trainer(2, validate=scripted([0.9, 0.8])), silent)
    assert [report.epoch for report in silent.reports] == [1, 2]
    assert [report.loss for report in silent.reports] == state.losses
    assert [report.score for report in silent.reports] == state.scores == [0.9, 0.8]


def test_fewer_rows_than_a_batch_make_one_batch(make_trainer: MakeTrainer) -> None:
    few = make_trainer(1, rows=np.arange(40, 50), limit=np.full(10, 3))
    log = RateLog(few)
    trained(few, log)
    assert len(log.rates[0]) == 1
