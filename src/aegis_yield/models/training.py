"""The training loop of one network: epochs, learning rate, weight average, early stopping."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np

from aegis_yield.domain.errors import TrainingError
from aegis_yield.models.batches import BatchSource, epoch_batches
from aegis_yield.models.lstm import Weights
from aegis_yield.models.network import Architecture, YieldNetwork
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.recipes import Recipe
from aegis_yield.models.torch_runtime import torch
from aegis_yield.utils.typing import IntArray

MAX_GRADIENT_NORM: Final = 1.0
LEAST_IMPROVEMENT: Final = 5e-4
"""A validation score must fall by this share to count as better: the last hundredths are not worth epochs."""

AVERAGE_WINDOWS: Final = 30_000
"""The weight average looks back over about this many windows, whatever the batch size."""

_WARM_UP_WINDOWS: Final = 20_000


@dataclass(frozen=True)
class Job:
    """One network to train: which rows, which seed, when to stop.

    Attributes
    ----------
    label : str
        For progress display: ``"scout 1/2"``.
    stream : tuple of int
        With the plan's seed, decides every random draw of this network.
    rows, limit : ndarray of int, shape (n,)
        Training origins and the longest horizon each may use (the embargo).
    max_epochs : int
        Epochs after which training ends.
    validate : callable or None
        Scores weights, lower is better; None trains to ``max_epochs`` without looking.
    """

    label: str
    stream: tuple[int, ...]
    rows: IntArray
    limit: IntArray
    max_epochs: int
    validate: Callable[[Weights], float] | None


@dataclass(frozen=True)
class EpochReport:
    """What one epoch brought."""

    label: str
    epoch: int
    loss: float
    score: float
    improved: bool


class Observer(Protocol):
    """Watches training; every method returns at once."""

    def started(self, label: str, max_epochs: int, windows_per_epoch: int) -> None:
        """A network starts."""
        ...

    def advanced(self, n_windows: int, loss: float) -> None:
        """A batch was learned."""
        ...

    def epoch_ended(self, report: EpochReport) -> None:
        """An epoch ended."""
        ...


@dataclass
class MemberState:
    """Everything needed to go on with one network after an epoch.

    Attributes
    ----------
    epoch : int
        Epochs finished.
    network, optimizer : dict
        Their states.
    average, best : dict
        Weight average after the last epoch, and after the best one.
    best_score : float
        Validation score of ``best``.
    best_epoch : int
        Epochs it took.
    losses, scores : list of float
        One entry an epoch.
    """

    epoch: int = 0
    network: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    average: Weights = field(default_factory=dict)
    best: Weights = field(default_factory=dict)
    best_score: float = float("inf")
    best_epoch: int = 0
    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def is_done(self, job: Job, patience: int) -> bool:
        """Whether the network needs no further epoch."""
        stale = job.validate is not None and self.epoch - self.best_epoch >= patience
        return self.epoch >= job.max_epochs or (self.epoch > 0 and stale)


class MemberTrainer:
    """Trains one network, an epoch at a time.

    Every epoch draws from generators seeded by (seed, stream, epoch), so that a run which was
    interrupted after an epoch and resumed equals one that was not, bit for bit.
    """

    def __init__(self, plan: TrainingPlan, source: BatchSource, recipe: Recipe, job: Job) -> None:
        self.plan, self.source, self.recipe, self.job = plan, source, recipe, job
        self.state = MemberState()
        torch.manual_seed(self._seed(-1))
        self.network = YieldNetwork(Architecture(n_inputs=source.view.shape[1] + 1))
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True
        )
        self.average = {name: p.detach().clone() for name, p in self.network.named_parameters()}

    def restore(self, state: MemberState) -> None:
        """Go on from the end of an earlier epoch."""
        self.state = state
        self.network.load_state_dict(state.network)
        self.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
        self.average = {name: tensor.clone() for name, tensor in state.average.items()}

    def epochs(self, observer: Observer) -> Iterator[MemberState]:
        """Train until done, yielding the state after every epoch."""
        windows = len(self.job.rows)
        observer.started(self.job.label, self.job.max_epochs - self.state.epoch, windows)
        while not self.state.is_done(self.job, self.plan.patience):
            loss = self._train_epoch(observer)
            self._close_epoch(loss, observer)
            yield self.state

    def _seed(self, epoch: int) -> int:
        sequence = np.random.SeedSequence([self.plan.seed, *self.job.stream, epoch + 1])
        return int(sequence.generate_state(1, np.uint32)[0])

    def _train_epoch(self, observer: Observer) -> float:
        epoch = self.state.epoch
        torch.manual_seed(self._seed(epoch))
        rng = np.random.default_rng(self._seed(epoch))
        self.network.train()
        total, n_batches = 0.0, 0
        n_steps = max(1, len(self.job.rows) // self.plan.batch_size)
        for rows, horizons in epoch_batches(rng, self.job.rows, self.job.limit, self.plan.batch_size):
            self._set_learning_rate(epoch, n_batches / n_steps)
            loss = self._step(rows, horizons)
            self._update_average(epoch * n_steps + n_batches)
            total += loss
            n_batches += 1
            observer.advanced(len(rows), loss)
        return total / n_batches

    def _step(self, rows: IntArray, horizons: IntArray) -> float:
        outputs = self.network(self.recipe.blur(self.source.windows(rows, horizons)))
        loss = self.recipe.loss(outputs, self.source.targets(rows, horizons))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has not typed it
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        return float(loss.detach())

    def _set_learning_rate(self, epoch: int, share: float) -> None:
        now, then = self.plan.learning_rate_at(epoch), self.plan.learning_rate_at(epoch + 1)
        rate = now * (then / now) ** share
        if epoch == 0:
            rate *= min(1.0, (share * len(self.job.rows) + 1.0) / _WARM_UP_WINDOWS)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _update_average(self, step: int) -> None:
        decay = min(1.0 - self.plan.batch_size / AVERAGE_WINDOWS, (1.0 + step) / (10.0 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.network.parameters()), 1.0 - decay)

    def _close_epoch(self, loss: float, observer: Observer) -> None:
        if not np.isfinite(loss):
            raise TrainingError(
                f"{self.job.label}: the loss became {loss} in epoch {self.state.epoch + 1}; lower the learning rate"
            )
        average = {name: tensor.clone() for name, tensor in self.average.items()}
        score = self.job.validate(average) if self.job.validate else float("nan")
        improved = self.job.validate is None or score < self.state.best_score * (1.0 - LEAST_IMPROVEMENT)
        state = self.state
        self.state = MemberState(
            epoch=state.epoch + 1,
            network={name: tensor.clone() for name, tensor in self.network.state_dict().items()},
            optimizer=copy.deepcopy(self.optimizer.state_dict()),
            average=average,
            best=average if improved else state.best,
            best_score=score if improved else state.best_score,
            best_epoch=state.epoch + 1 if improved else state.best_epoch,
            losses=[*state.losses, loss],
            scores=[*state.scores, score],
        )
        observer.epoch_ended(EpochReport(self.job.label, self.state.epoch, loss, score, improved))
