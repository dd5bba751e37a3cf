"""LightGBM: a point forecaster, and one quantile at a time with rolling conformal correction (CQR).

Both read the features of the origin's day and learn the network's own target: the move away from the last value in
local scales. As the project's own model does, a scout that has not seen the last days before the cut-off
leaves the first conformal scores, and the final trees learn from every outcome known at the cut-off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.pipelines.walk import Walk
from aegis_yield.preprocessing.origins import OriginBatch
from aegis_yield.preprocessing.panel import to_day
from aegis_yield.preprocessing.windows import WindowSet, mean_log_growth
from aegis_yield.utils.typing import FloatArray, IntArray
from benchmarks.race.cqr import RollingCqr, Scores
from benchmarks.race.task import LEVELS, Assignment, QuantileWalk, Run, Task, as_walk, joined

if TYPE_CHECKING:
    import lightgbm

__all__ = ["Assignment", "TreePlan", "Trees", "quantile_trees", "run_point", "run_quantiles"]

TARGET_CLIP: Final = 20.0


@dataclass(frozen=True)
class TreePlan:
    """How trees are grown and calibrated; the defaults were the best of ten tried on origins of 2023-07 … 2024-09.

    Attributes
    ----------
    trees, leaves, min_rows_in_leaf : int
        Size of the ensemble and of a tree.
    learning_rate : float
        Shrinkage.
    stride_days : int
        Every so many days give training rows.
    calibration_days, calibration_step_days : int
        Days before the cut-off that scouts do not see, and the distance of the origins they are scored on.
    halflife_days : float
        Of conformal scores.
    seed : int
        Of LightGBM's sampling.
    """

    trees: int = 400
    leaves: int = 31
    min_rows_in_leaf: int = 200
    learning_rate: float = 0.03
    stride_days: int = 1
    calibration_days: int = 120
    calibration_step_days: int = 3
    halflife_days: float = 45.0
    seed: int = 0

    @classmethod
    def of(cls, settings: Any) -> TreePlan:
        """Return the plan with what a mapping of settings says of it."""
        return cls(**{f.name: settings[f.name] for f in fields(cls) if f.name in settings})


@dataclass(frozen=True)
class Trees:
    """Fitted boosters, one for each quantile level, or a single one with absolute loss.

    Attributes
    ----------
    boosters : tuple of lightgbm.Booster
    """

    boosters: tuple[lightgbm.Booster, ...]

    def moves(self, features: FloatArray) -> FloatArray:
        """Return forecast moves in local scales, rising along a row, shape (n, n_boosters)."""
        if not len(features):
            return np.empty((0, len(self.boosters)))
        return np.sort(np.stack([np.asarray(b.predict(features, num_threads=1)) for b in self.boosters], axis=1))

    def quantiles(self, batch: OriginBatch) -> FloatArray:
        """Return raw apy at every level for one origin, shape (n, n_levels)."""
        inputs = batch.inputs
        return levelled(inputs.last_apy, inputs.local_scale, self.moves(inputs.windows[:, -1]))


def fit_trees(data: WindowSet, last_day: int, horizon_days: int, levels: Sequence[float], plan: TreePlan) -> Trees:
    """Grow trees on outcomes known by ``last_day``; without levels a single booster with absolute loss."""
    import lightgbm

    rows = known_rows(data, (0, last_day), horizon_days)
    rows = rows[data.day[rows] % plan.stride_days == 0]
    move = np.clip((realised(data, rows, horizon_days) - data.apy[rows]) / data.scale[rows], -TARGET_CLIP, TARGET_CLIP)
    options = {
        "learning_rate": plan.learning_rate, "num_leaves": plan.leaves, "min_data_in_leaf": plan.min_rows_in_leaf,
        "feature_fraction": 0.7, "bagging_fraction": 0.7, "bagging_freq": 1, "seed": plan.seed,
        "num_threads": 1, "verbose": -1, "deterministic": True, "force_col_wise": True,
    }  # fmt: skip
    table = lightgbm.Dataset(data.features[rows], move, free_raw_data=False, params={"verbose": -1, "num_threads": 1})
    losses: list[dict[str, Any]] = [{"objective": "quantile", "alpha": level} for level in levels]
    boosters = [
        lightgbm.train(options | loss, table, num_boost_round=plan.trees) for loss in losses or [{"objective": "l1"}]
    ]
    return Trees(tuple(boosters))


def known_rows(data: WindowSet, span: tuple[int, int], horizon_days: int) -> IntArray:
    """Return origins from the first day of the span whose outcome is known by its last day: the embargo."""
    first, last = span
    rows = data.origins_between(first, last)
    return rows[data.horizon_limit(rows, last) >= horizon_days]


def realised(data: WindowSet, rows: IntArray, horizon_days: int) -> FloatArray:
    """Return what rows of a window set paid over the horizon."""
    return np.asarray(np.expm1(mean_log_growth(data.futures()[rows], np.full(len(rows), horizon_days))))


def levelled(last_apy: FloatArray, scale: FloatArray, moves: FloatArray) -> FloatArray:
    """Return apy at every level; a single move stands for all of them."""
    location = last_apy[:, None] + scale[:, None] * moves
    return np.array(np.broadcast_to(location, (len(location), len(LEVELS))))


def scout_scores(scout: Trees, data: WindowSet, cutoff: int, horizon_days: int, plan: TreePlan) -> Scores:
    """Score trees on the days before the cut-off that they have not seen."""
    rows = known_rows(data, (cutoff - plan.calibration_days, cutoff), horizon_days)
    rows = rows[(data.day[rows] - cutoff) % plan.calibration_step_days == 0]
    scale = data.scale[rows]
    quantiles = levelled(data.apy[rows], scale, scout.moves(data.features[rows]))
    known = (data.category[rows], data.day[rows] + horizon_days)
    return Scores.of(quantiles, scale, realised(data, rows, horizon_days), known)


def fitted_walk(task: Assignment, plan: TreePlan, levels: Sequence[float]) -> QuantileWalk:
    """Train scout and final trees at the cut-off and return a walk that brings the scout's scores."""
    cutoff = to_day(task.cutoff)
    data = task.training_windows()
    calibrator = RollingCqr(LEVELS, plan.halflife_days)
    scout = fit_trees(data, cutoff - plan.calibration_days, task.horizon_days, levels, plan)
    calibrator.add(scout_scores(scout, data, cutoff, task.horizon_days, plan))
    final = fit_trees(data, cutoff, task.horizon_days, levels, plan)
    name = "LightGBM quantile + CQR" if levels else "LightGBM point"
    return QuantileWalk(name, task.horizon_days, final.quantiles, calibrator, bool(levels))


def quantile_trees(
    task: Assignment, plan: TreePlan | None = None, on_origin: Callable[[int], None] = lambda _: None
) -> Walk:
    """Fit LightGBM quantile + CQR at a cut-off and forecast origins after it.

    Parameters
    ----------
    task : Assignment
        Data, cut-off, origins, horizon.
    plan : TreePlan, optional
        Size of the trees and speed of the calibration.
    on_origin : callable
        Called with the number of origins passed.

    Returns
    -------
    Walk
        All eligible strategies at each origin, in order of origin, then strategy: the same rows as
        :func:`aegis_yield.pipelines.walk.walk_forward` gives.
    """
    walk = fitted_walk(task, plan or TreePlan(), QUANTILE_LEVELS)
    parts = []
    for number, part in enumerate(walk.over(task.panel(), [to_day(day) for day in task.origins]), start=1):
        parts.append(part)
        on_origin(number)
    return as_walk(walk.name, parts, task.horizon_days)


def run_quantiles(task: Task) -> Run:
    """Race LightGBM quantile + CQR."""
    return _run(task, QUANTILE_LEVELS)


def run_point(task: Task) -> Run:
    """Race LightGBM with absolute loss; its intervals are split conformal on the local scale."""
    return _run(task, ())


def _run(task: Task, levels: Sequence[float]) -> Run:
    plan, tables, seconds = TreePlan.of(task.settings), {}, {"fit": 0.0, "origin": 0.0}
    for done, horizon in enumerate(task.horizons, start=1):
        assignment = task.assignment(horizon)
        began = time.perf_counter()
        walk = fitted_walk(assignment, plan, levels)
        seconds["fit"] += time.perf_counter() - began
        tables[horizon] = joined(list(walk.over(assignment.panel(), task.origins)), horizon).to_frame()
        seconds["origin"] = float(np.median(walk.seconds))
        task.say(done, len(task.horizons))
    return Run(tables, seconds)
