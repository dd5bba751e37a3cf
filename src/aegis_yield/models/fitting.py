"""Fit, then calibrate: scouts find when to stop and how wrong forecasts are, finals learn from everything.

Four kinds of network are trained with the same plan:

*scouts* learn from the training block only, stop early on the validation block, and forecast the
calibration block, which they have never seen: their errors there are the ratios of calibration and teach
the volatility map;

*finals* learn from all blocks, for as many epochs as the scouts found best, and are what the bundle serves.
Without them the newest half year, and every pool born in it, would never be learned from. Their ratios are
the scouts' (see ``docs/decisions/0003-scouts-and-finals.md``);

*folds*, two beside the scouts and two beside the finals, learn from every other quarter of a year and forecast the
quarters in between: what they leave unexplained there teaches the shape of the distribution;

*experts* answer another question with the same inputs: how much the rate will move. They too learn from all
blocks, for a fixed number of epochs, which was found on other years.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from aegis_yield.domain.errors import TrainingError
from aegis_yield.domain.limits import DEFAULT_HORIZON_DAYS
from aegis_yield.models.batches import BatchSource, fit_scaler, targets_of
from aegis_yield.models.calibration import RECORD_PRIOR, SHAPED_STRENGTH, Calibrator, ScorePool
from aegis_yield.models.evidence import Evidence, gather_evidence
from aegis_yield.models.loss_weights import LossWeights
from aegis_yield.models.lstm import LstmModel, MemberGroup, Weights, build_network
from aegis_yield.models.network import Architecture
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.recipes import AnchoredRecipe, Recipe, TextbookRecipe, YieldRecipe
from aegis_yield.models.scaling import FeatureScaler
from aegis_yield.models.shape import Shape
from aegis_yield.models.shape_training import N_FOLDS, ShapeLessons, days_to_the_fold, fit_shape, fold_of
from aegis_yield.models.torch_runtime import torch
from aegis_yield.models.training import Job, MemberState, MemberTrainer, Observer
from aegis_yield.models.validation import relative_crps
from aegis_yield.models.volatility import VolatilityMap
from aegis_yield.models.volatility_recipe import VolatilityRecipe
from aegis_yield.preprocessing.splits import TimeSplit
from aegis_yield.preprocessing.windows import WindowSet
from aegis_yield.utils.typing import IntArray

MAX_SCOUTS: Final = 2
LEAST_EPOCHS: Final = 5
"""Finals train for so many epochs at least, unless the plan or the scouts' patience allows fewer: two months of
validation say little about the last one or two, when the rate has faded."""

LEAST_FOLD_ROWS: Final = 2_000
"""Of a training block with fewer rows in a fold no shape is learned: quantiles keep Laplace's."""

Kind: TypeAlias = Literal["scout", "scout fold", "final", "final fold", "volatility"]
_STREAMS: Final[dict[Kind, int]] = {"scout": 0, "final": 1, "volatility": 2, "scout fold": 4, "final fold": 5}
"""Random streams: what one kind draws does not depend on how many of another there are."""

VOLATILITY_EPOCHS: Final = 5
"""More taught nothing further on origins 2023-07 … 2024-09: the learning rate has faded by then."""


@dataclass(frozen=True)
class FittedModel:
    """A model ready to be bundled, and how it came about.

    Attributes
    ----------
    model : LstmModel
        The finals.
    scores : ScorePool
        The scouts' conformal scores on the calibration block.
    epochs : int
        Epochs each final was trained for.
    validation_score : float
        Mean of the scouts' best validation scores.
    curves : dict of str to list of float
        Loss and validation score of every network, an entry an epoch.
    interrupted : bool
        Whether training was cut short and the best so far was kept.
    """

    model: LstmModel
    scores: ScorePool
    epochs: int
    validation_score: float
    curves: dict[str, list[float]]
    interrupted: bool

    @property
    def calibrator(self) -> Calibrator:
        """What turns the model's forecasts into quantiles that hold."""
        if not self.model.shape:
            return Calibrator(self.scores)
        return Calibrator(self.scores, strength=SHAPED_STRENGTH, record_prior=RECORD_PRIOR)


@dataclass
class Progress:
    """How far a session has come: what ``--resume`` needs.

    Attributes
    ----------
    done : list of MemberState
        Finished networks in the order of the session's roster.
    current : MemberState or None
        The network being trained, after its last whole epoch.
    """

    done: list[MemberState] = field(default_factory=list)
    current: MemberState | None = None


class FittingSession:
    """Trains the networks of a roster in order, saving after every epoch through a callback."""

    def __init__(self, data: WindowSet, split: TimeSplit, plan: TrainingPlan) -> None:
        self.data, self.split, self.plan = data, split, plan
        rows = data.origins_between(split.first_day, split.train_end)
        if not len(rows):
            raise TrainingError(
                f"no training window: none of {len(data.day):,} rows before the validation block is eligible "
                "(30 rows in 60 days); use a dataset with more history"
            )
        self.recipe = self._fit_recipe(rows)
        self.scaler: FeatureScaler = fit_scaler(data, rows, self.recipe)
        self.source = BatchSource.build(data, self.scaler, self.recipe)
        self.roster = self._roster()
        self.progress = Progress()

    def run(self, observer: Observer, save: Callable[[Progress], None]) -> FittedModel:
        """Train what is left to train, then calibrate.

        Parameters
        ----------
        observer : Observer
            Watches.
        save : callable
            Called with the progress after every epoch; must be atomic.

        Raises
        ------
        TrainingError
            If training was interrupted before any network finished an epoch.
        """
        interrupted = False
        try:
            for number in range(len(self.progress.done), len(self.roster)):
                self._train(number, observer, save)
        except KeyboardInterrupt:
            interrupted = True
        return self._assemble(interrupted)

    def _train(self, number: int, observer: Observer, save: Callable[[Progress], None]) -> None:
        trainer = self._trainer(*self.roster[number])
        if self.progress.current is not None:
            trainer.restore(self.progress.current)
        for state in trainer.epochs(observer):
            self.progress.current = state
            save(self.progress)
        # In one step: an interruption between two would count the network twice, or lose it.
        self.progress = Progress([*self.progress.done, trainer.state], None)
        save(self.progress)

    def _roster(self) -> list[tuple[Kind, int]]:
        """Return what is trained, in order: the kind, and the number within it."""
        plan, is_anchored = self.plan, self.plan.recipe == "anchored"
        n_folds = N_FOLDS if is_anchored and plan.shape_members and self._has_folds() else 0
        sizes: list[tuple[Kind, int]] = [
            ("scout", min(plan.members, MAX_SCOUTS)),
            ("scout fold", n_folds),
            ("final", plan.members),
            ("final fold", n_folds),
            ("volatility", plan.volatility_members if is_anchored else 0),
        ]
        return [(kind, number) for kind, size in sizes for number in range(size)]

    def _has_folds(self) -> bool:
        rows, _ = self._rows("scout fold")
        return all(len(self._fold(rows, number)) >= LEAST_FOLD_ROWS for number in range(N_FOLDS))

    def _fold(self, rows: IntArray, number: int) -> IntArray:
        """Return the places of the rows that a fold's network learns from: those it will not forecast."""
        day = self.data.day[rows]
        return np.flatnonzero((fold_of(day) != number) & (days_to_the_fold(day) >= 1))

    def _rows(self, kind: Kind) -> tuple[IntArray, IntArray]:
        """Return the origins that a kind of network learns from and the longest horizon each may use."""
        last_day = self.split.train_end if kind in ("scout", "scout fold") else self.split.calibration_end
        rows = self.data.origins_between(self.split.first_day, last_day)
        return rows, self.data.horizon_limit(rows, last_day)

    def _trainer(self, kind: Kind, number: int) -> MemberTrainer:
        rows, limit = self._rows(kind)
        source, epochs = self.source, self.plan.epochs
        recipe: Recipe = self.recipe
        if kind in ("scout fold", "final fold"):
            mine = self._fold(rows, number)
            rows, limit = rows[mine], np.minimum(limit, days_to_the_fold(self.data.day[rows]))[mine]
        if kind == "volatility":
            source = replace(source, weights=LossWeights.fit(self.data, rows, limit))
            recipe, epochs = VolatilityRecipe(), min(epochs, VOLATILITY_EPOCHS)
        elif kind != "scout":
            epochs = self._best_epochs(self._done("scout"))
        size = sum(1 for other, _ in self.roster if other == kind)
        validate = self._validator() if kind == "scout" else None
        job = Job(f"{kind} {number + 1}/{size}", (_STREAMS[kind], number), rows, limit, epochs, validate)
        return MemberTrainer(self.plan, source, recipe, job)

    def _done(self, kind: Kind) -> list[MemberState]:
        """Return the finished networks of a kind."""
        return [state for (other, _), state in zip(self.roster, self.progress.done, strict=False) if other == kind]

    def _validator(self) -> Callable[[Weights], float]:
        first, last = self.split.train_end, self.split.validation_end
        if self.plan.recipe == "textbook":
            return lambda weights: self._validation_loss(weights, first, last)
        return lambda weights: relative_crps(self._model((weights,)), self.data, first, last)

    def _validation_loss(self, weights: Weights, first_day: int, last_day: int) -> float:
        """Return the recipe's own loss on the validation block, 1.0 where it is empty: how the textbook stops."""
        rows = self.data.origins_between(first_day, last_day)
        if not len(rows):
            return 1.0
        horizons = np.minimum(self.data.horizon_limit(rows, last_day), DEFAULT_HORIZON_DAYS)
        network = build_network(self._architecture, weights)
        with torch.inference_mode():
            return float(
                self.recipe.loss(network(self.source.windows(rows, horizons)), self.source.targets(rows, horizons))
            )

    @property
    def _architecture(self) -> Architecture:
        return Architecture(n_inputs=self.source.view.shape[1] + 1)

    def _assemble(self, interrupted: bool) -> FittedModel:
        scouts, current = self._done("scout"), self.progress.current
        if current is not None and current.epoch and self.roster[len(self.progress.done)][0] == "scout":
            scouts = [*scouts, current]  # an unfinished scout's best is validated; an unfinished final is not
        if not scouts:
            raise TrainingError("interrupted before the first epoch ended: nothing was learned and nothing written")
        scout_shape, shape = self._shape("scout fold"), self._shape("final fold")
        scout_model = replace(self._model(tuple(state.best for state in scouts)), shape=scout_shape)
        evidence = gather_evidence(scout_model, self.data, self.split.validation_end, self.split.calibration_end)
        serving = tuple(rounded(state.best) for state in self._done("final") or scouts)
        experts = _groups(self._done("volatility"))
        model = replace(self._model(serving, evidence), experts=experts, shape=shape or scout_shape)
        done = zip(self.roster, self.progress.done, strict=False)
        curves = {f"{kind} {number + 1}": state.losses for (kind, number), state in done}
        curves |= {f"scout {i + 1}": state.losses for i, state in enumerate(scouts)}
        curves |= {f"scout {i + 1} validation": state.scores for i, state in enumerate(scouts)}
        validation = float(np.mean([state.best_score for state in scouts]))
        return FittedModel(model, evidence.scores, self._best_epochs(scouts), validation, curves, interrupted)

    def _model(self, members: tuple[Weights, ...], evidence: Evidence | None = None) -> LstmModel:
        return LstmModel(
            architecture=self._architecture,
            recipe=self.recipe,
            scaler=self.scaler,
            members=members,
            volatility_map=evidence.volatility_map if evidence else VolatilityMap.identity(),
        )

    def _shape(self, kind: Kind) -> Shape | None:
        """Return the shape that the forecasts of finished folds teach, None before all of them are."""
        folds = self._done(kind)
        if len(folds) < N_FOLDS:
            return None
        networks = tuple(build_network(self._architecture, state.best) for state in folds)
        rows, limit = self._rows(kind)
        return fit_shape(ShapeLessons(self.source, networks, rows, limit), self.plan.seed, self.plan.shape_members)

    def _fit_recipe(self, rows: IntArray) -> YieldRecipe:
        if self.plan.recipe == "anchored":
            return AnchoredRecipe()
        horizon = np.minimum(self.data.horizon_limit(rows, self.split.train_end), DEFAULT_HORIZON_DAYS)
        return TextbookRecipe.fit(targets_of(self.data, rows, horizon))

    @staticmethod
    def _best_epochs(scouts: list[MemberState]) -> int:
        best = round(float(np.mean([state.best_epoch for state in scouts])))
        return min(max(best, LEAST_EPOCHS), max(state.epoch for state in scouts))


def _groups(experts: list[MemberState]) -> tuple[MemberGroup, ...]:
    """Return the groups of finished experts; none where none is finished."""
    members = tuple(rounded(state.best) for state in experts)
    return (MemberGroup(VolatilityRecipe(), members),) if members else ()


def rounded(weights: Weights) -> Weights:
    """Return weights in half precision, as bundles keep them.

    Rounding moves an output by far less than its own doubt and halves the file; it happens
    before anything is forecast, so that a bundle forecasts the same bits after saving and loading.
    """
    return {name: tensor.half() for name, tensor in weights.items()}
