"""Teaching the shape: pinball loss on the standing of outcomes among the forecasts of fitted networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.models.batches import BatchSource, draw_horizons
from aegis_yield.models.calibration import least_apy
from aegis_yield.models.network import YieldNetwork
from aegis_yield.models.ranks import FeatureRanks
from aegis_yield.models.recipes import MAX_LOG_SCALE, MIN_LOG_SCALE, blur_market
from aegis_yield.models.shape import MAX_STANDING, Shape, ShapeNetwork, StateView, Weights
from aegis_yield.models.torch_runtime import torch
from aegis_yield.utils.typing import FloatArray, IntArray

Tensor = torch.Tensor

N_FOLDS: Final = 2
FOLD_DAYS: Final = 91
EPOCHS: Final = 4
BATCH_SIZE: Final = 512
LEARNING_RATE: Final = 3e-3
LEARNING_RATE_DECAY: Final = 0.7
WEIGHT_DECAY: Final = 0.1
AVERAGE_WINDOWS: Final = 30_000
"""The weight average looks back over about so many examples."""

_CHUNK: Final = 2_048
_WARM_UP: Final = 10.0


@dataclass(frozen=True)
class ShapeLessons:
    """What shape networks are taught with.

    Attributes
    ----------
    source : BatchSource
        Windows and outcomes.
    networks : tuple of YieldNetwork
        One for each fold of the rows, ready to forecast: each has learned from the other fold only. What is left
        unexplained of days that a network was taught with is smaller than what it leaves of new ones.
    rows, limit : ndarray of int, shape (n,)
        Training origins and the longest horizon each may use.
    """

    source: BatchSource
    networks: tuple[YieldNetwork, ...]
    rows: IntArray
    limit: IntArray

    def epoch(self, rng: np.random.Generator, ranks: FeatureRanks) -> tuple[FloatArray, FloatArray]:
        """Return states and asinh standings of all origins in a new order, a horizon drawn for each."""
        order = rng.permutation(len(self.rows))
        rows, horizons = self.rows[order], draw_horizons(rng, self.limit[order])
        outputs, day = self._forecast(rows, horizons)
        targets = self.source.targets(rows, horizons)
        move = outputs[:, 0]
        log_spread = np.clip(outputs[:, 1], MIN_LOG_SCALE, MAX_LOG_SCALE)
        floor = (least_apy(self.source.data.category[rows]) - targets.anchor) / targets.scale
        standing = ((targets.apy - targets.anchor) / targets.scale - move) * np.exp(-log_spread)
        goal = np.arcsinh(np.clip(standing, -MAX_STANDING, MAX_STANDING)).astype(np.float32)
        view = StateView(day, self.source.data.features[rows], move, log_spread, floor)
        return view.inputs(ranks), goal

    def _forecast(self, rows: IntArray, horizons: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return the networks' outputs, each row's from the one that was not taught with it, and the day's inputs."""
        fold = fold_of(self.source.data.day[rows])
        outputs = np.empty((len(rows), 2))
        days = np.empty((len(rows), self.source.view.shape[1] + 1), dtype=np.float32)
        with torch.inference_mode():
            for number, network in enumerate(self.networks):
                mine = np.flatnonzero(fold == number)
                for start in range(0, len(mine), _CHUNK):
                    part = mine[start : start + _CHUNK]
                    windows = self.source.windows(rows[part], horizons[part])
                    outputs[part] = network(windows).numpy()
                    days[part] = windows[:, -1].numpy()
        return outputs, days


def days_to_the_fold(day: IntArray) -> IntArray:
    """Return how many days after each day number still belong to its quarter: the embargo of a fold's network."""
    return np.asarray(FOLD_DAYS - 1 - day % FOLD_DAYS)


def fold_of(day: IntArray) -> IntArray:
    """Return the fold of each day number: quarters of a year in turn."""
    return np.asarray(day // FOLD_DAYS % N_FOLDS)


def fit_shape(lessons: ShapeLessons, seed: int, members: int) -> Shape | None:
    """Teach shape networks.

    Parameters
    ----------
    lessons : ShapeLessons
        Origins, outcomes, and the networks that forecast them.
    seed : int
        Decides every random draw.
    members : int
        Networks, taught side by side on the same batches from different starts.

    Returns
    -------
    Shape or None
        In half precision, as bundles keep it. None if there are fewer origins than a batch holds.
    """
    if len(lessons.rows) < BATCH_SIZE:
        return None
    ranks = FeatureRanks.fit(lessons.source.data.features[lessons.rows])
    rng = np.random.default_rng(np.random.SeedSequence([seed, 3]))
    torch.manual_seed(int(rng.integers(2**31)))
    learners: list[_Learner] = []
    for epoch in range(EPOCHS):
        states, goal = (torch.from_numpy(part) for part in lessons.epoch(rng, ranks))
        learners = learners or [_Learner(states.shape[1]) for _ in range(members)]
        n_steps = len(states) // BATCH_SIZE
        for step in range(n_steps):
            part = slice(step * BATCH_SIZE, (step + 1) * BATCH_SIZE)
            rate = LEARNING_RATE * LEARNING_RATE_DECAY ** (epoch + step / n_steps)
            for learner in learners:
                learner.learn(states[part], goal[part], rate)
    return Shape(ranks, tuple(learner.weights() for learner in learners))


class _Learner:
    """One shape network being taught."""

    def __init__(self, n_inputs: int) -> None:
        self.network = ShapeNetwork(n_inputs).train()
        parameters = self.network.parameters()
        self.optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
        self.average = [parameter.detach().clone() for parameter in self.network.parameters()]
        self.n_steps = 0

    def learn(self, states: Tensor, goal: Tensor, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        blurred = blur_market(states[:, None])[:, 0]
        loss = pinball_loss(goal, self.network(blurred))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has not typed it
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.n_steps += 1
        kept = min(1.0 - BATCH_SIZE / AVERAGE_WINDOWS, self.n_steps / (_WARM_UP + self.n_steps))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list(self.network.parameters()), 1.0 - kept)

    def weights(self) -> Weights:
        names = [name for name, _ in self.network.named_parameters()]
        return {name: tensor.half() for name, tensor in zip(names, self.average, strict=True)}


def pinball_loss(goal: Tensor, quantiles: Tensor) -> Tensor:
    """Return the mean pinball loss, each level over the spread of its own indicator: inner and outer count alike.

    Parameters
    ----------
    goal : Tensor of shape (batch,)
    quantiles : Tensor of shape (batch, n_levels)
        At ``QUANTILE_LEVELS``.
    """
    level = torch.tensor(QUANTILE_LEVELS, dtype=torch.float32)
    gap = goal[:, None] - quantiles
    loss = torch.maximum(level * gap, (level - 1.0) * gap) / torch.sqrt(level * (1.0 - level))
    return loss.mean()
