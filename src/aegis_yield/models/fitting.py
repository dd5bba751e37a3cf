"""Fit, then calibrate: scouts find when to stop and how wrong forecasts are, finals learn from everything.

Two kinds of network are trained with the same plan:

*scouts* learn from the training block only, stop early on the validation block, and forecast the
calibration block, which they have never seen: their errors there are the conformal scores and teach
the volatility map;

*finals* learn from all blocks, for as many epochs as the scouts found best, and are what the bundle serves.
Without them the newest half year, and every pool born in it, would never be learned from. Their scores are
the scouts' (see ``docs/decisions/0003-scouts-and-finals.md``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from aegis_yield.domain.errors import TrainingError
from aegis_yield.domain.limits import DEFAULT_HORIZON_DAYS
from aegis_yield.models.batches import BatchSource, fit_scaler, targets_of
from aegis_yield.models.calibration import ScorePool
from aegis_yield.models.evidence import Evidence, gather_evidence
from aegis_yield.models.lstm import LstmModel, Weights, build_network
from aegis_yield.models.network import Architecture
from aegis_yield.models.plan import TrainingPlan
from aegis_yield.models.recipes import AnchoredRecipe, Recipe, TextbookRecipe
from aegis_yield.models.scaling import FeatureScaler
from aegis_yield.models.torch_runtime import torch
from aegis_yield.models.training import Job, MemberState, MemberTrainer, Observer
from aegis_yield.models.validation import relative_crps
from aegis_yield.models.volatility import VolatilityMap
from aegis_yield.preprocessing.splits import TimeSplit
from aegis_yield.preprocessing.windows import WindowSet
from aegis_yield.utils.typing import IntArray

MAX_SCOUTS: Final = 2


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


@dataclass
class Progress:
    """How far a session has come: what ``--resume`` needs.

    Attributes
    ----------
    done : list of MemberState
        Finished networks, scouts first, in order.
    current : MemberState or None
        The network being trained, after its last whole epoch.
    """

    done: list[MemberState] = field(default_factory=list)
    current: MemberState | None = None


class FittingSession:
    """Trains scouts and finals in order, saving after every epoch through a callback."""

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
        self.n_scouts = min(plan.members, MAX_SCOUTS)
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
            for number in range(len(self.progress.done), self.n_scouts + self.plan.members):
                self._train(number, observer, save)
        except KeyboardInterrupt:
            interrupted = True
        return self._assemble(interrupted)

    def _train(self, number: int, observer: Observer, save: Callable[[Progress], None]) -> None:
        trainer = MemberTrainer(self.plan, self.source, self.recipe, self._job(number))
        if self.progress.current is not None:
            trainer.restore(self.progress.current)
        for state in trainer.epochs(observer):
            self.progress.current = state
            save(self.progress)
        # In one step: an interruption between two would count the network twice, or lose it.
        self.progress = Progress([*self.progress.done, trainer.state], None)
        save(self.progress)

    def _job(self, number: int) -> Job:
        split = self.split
        if number < self.n_scouts:
            rows = self.data.origins_between(split.first_day, split.train_end)
            limit = self.data.horizon_limit(rows, split.train_end)
            label = f"scout {number + 1}/{self.n_scouts}"
            return Job(label, (0, number), rows, limit, self.plan.epochs, self._validator())
        rows = self.data.origins_between(split.first_day, split.calibration_end)
        limit = self.data.horizon_limit(rows, split.calibration_end)
        label = f"final {number - self.n_scouts + 1}/{self.plan.members}"
        return Job(label, (1, number), rows, limit, self._best_epochs(self.progress.done[: self.n_scouts]), None)

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
        done, current = self.progress.done, self.progress.current
        scouts, finals = done[: self.n_scouts], done[self.n_scouts :]
        if current is not None and current.epoch and len(done) < self.n_scouts:
            scouts = [*scouts, current]  # an unfinished scout's best is validated; an unfinished final is not
        if not scouts:
            raise TrainingError("interrupted before the first epoch ended: nothing was learned and nothing written")
        scout_model = self._model(tuple(state.best for state in scouts))
        evidence = gather_evidence(scout_model, self.data, self.split.validation_end, self.split.calibration_end)
        serving = finals or scouts
        model = self._model(tuple(rounded(state.best) for state in serving), evidence)
        curves = {
            f"{kind} {i + 1}": state.losses
            for kind, group in (("scout", scouts), ("final", finals))
            for i, state in enumerate(group)
        }
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

    def _fit_recipe(self, rows: IntArray) -> Recipe:
        if self.plan.recipe == "anchored":
            return AnchoredRecipe()
        horizon = np.minimum(self.data.horizon_limit(rows, self.split.train_end), DEFAULT_HORIZON_DAYS)
        return TextbookRecipe.fit(targets_of(self.data, rows, horizon))

    @staticmethod
    def _best_epochs(scouts: list[MemberState]) -> int:
        return max(1, round(float(np.mean([state.best_epoch for state in scouts]))))


def rounded(weights: Weights) -> Weights:
    """Return weights in half precision, as bundles keep them.

    Rounding moves an output by far less than its own doubt and halves the file; it happens
    before anything is forecast, so that a bundle forecasts the same bits after saving and loading.
    """
    return {name: tensor.half() for name, tensor in weights.items()}
