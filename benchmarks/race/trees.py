"""LightGBM: a point forecaster, and one quantile at a time with rolling conformal correction (CQR).

Both read the features of the origin's day and learn the network's own target: the move away from the last value in
local scales. As the project's own model does, a scout that has not seen the last days before the cut-off
leaves the first conformal scores, and the final trees learn from every outcome known at the cut-off.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from aegis_yield.domain.forecast import QUANTILE_LEVELS
from aegis_yield.pipelines.walk import Walk
from aegis_yield.preprocessing.origins import OriginBatch
from aegis_yield.preprocessing.panel import to_day
from aegis_yield.preprocessing.windows import WindowSet, mean_log_growth
from aegis_yield.utils.typing import FloatArray, IntArray
from benchmarks.race.cqr import RelativeCqr, RollingCqr
from benchmarks.race.store import code_digest, digest
from benchmarks.race.task import LEVELS, Assignment, QuantileWalk, Run, Task, as_walk, joined

if TYPE_CHECKING:
    import lightgbm

TARGET_CLIP: Final = 20.0
GROWING_CODE: Final = ("benchmarks/race/trees.py", "src/aegis_yield/preprocessing/windows.py")


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


@dataclass(frozen=True)
class Grown:
    """Trees at one cut-off.

    Attributes
    ----------
    scout, final : Trees
        Without the last days before the cut-off, and with them.
    seconds : float
        What growing both took.
    """

    scout: Trees
    final: Trees
    seconds: float


def grow(data: WindowSet, task: Assignment, plan: TreePlan, levels: Sequence[float]) -> Grown:
    """Grow the scout's and the final trees of a cut-off."""
    cutoff = to_day(task.cutoff)
    began = time.perf_counter()
    scout = fit_trees(data, cutoff - plan.calibration_days, task.horizon_days, levels, plan)
    final = fit_trees(data, cutoff, task.horizon_days, levels, plan)
    return Grown(scout, final, time.perf_counter() - began)


def walk_of(grown: Grown, data: WindowSet, task: Assignment, plan: TreePlan, calibrator: RollingCqr) -> QuantileWalk:
    """Return a walk of the final trees whose calibrator has learned from the scout's forecasts."""
    cutoff, horizon = to_day(task.cutoff), task.horizon_days
    rows = known_rows(data, (cutoff - plan.calibration_days, cutoff), horizon)
    rows = rows[(data.day[rows] - cutoff) % plan.calibration_step_days == 0]
    scale = data.scale[rows]
    quantiles = levelled(data.apy[rows], scale, grown.scout.moves(data.features[rows]))
    known = (data.category[rows], data.day[rows] + horizon)
    calibrator.learn(quantiles, scale, realised(data, rows, horizon), known)
    return QuantileWalk("", horizon, grown.final.quantiles, calibrator, corrects_point=False)


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
    plan = plan or TreePlan()
    data = task.training_windows()
    calibrator = RelativeCqr(LEVELS, plan.halflife_days)
    walk = walk_of(grow(data, task, plan, QUANTILE_LEVELS), data, task, plan, calibrator)
    parts = []
    for number, part in enumerate(walk.over(task.panel(), [to_day(day) for day in task.origins]), start=1):
        parts.append(part)
        on_origin(number)
    return as_walk("LightGBM quantile + CQR", parts, task.horizon_days)


def run_quantiles(task: Task) -> Run:
    """Race LightGBM quantile + CQR."""
    return _run(task, QUANTILE_LEVELS, corrected=True)


def run_raw_quantiles(task: Task) -> Run:
    """Race LightGBM's quantiles as they come."""
    return _run(task, QUANTILE_LEVELS, corrected=False)


def run_point(task: Task) -> Run:
    """Race LightGBM with absolute loss; its intervals are split conformal on the local scale."""
    return _run(task, (), corrected=True)


def _run(task: Task, levels: Sequence[float], corrected: bool) -> Run:
    plan, tables, seconds = TreePlan.of(task.settings), {}, {"fit": 0.0, "origin": 0.0}
    for done, horizon in enumerate(task.horizons, start=1):
        assignment = task.assignment(horizon)
        data = assignment.training_windows()
        grown = _remembered(task, data, assignment, plan, levels)
        kind = RelativeCqr if levels else RollingCqr
        walk = walk_of(grown, data, assignment, plan, kind(LEVELS, plan.halflife_days))
        walk = walk if corrected else replace(walk, calibrator=None)
        tables[horizon] = joined(list(walk.over(assignment.panel(), task.origins)), horizon).to_frame()
        seconds["fit"] += grown.seconds
        seconds["origin"] = float(np.median(walk.seconds))
        task.say(done, len(task.horizons))
    return Run(tables, seconds)


def _remembered(task: Task, data: WindowSet, wanted: Assignment, plan: TreePlan, levels: Sequence[float]) -> Grown:
    """Return trees grown before for the same rows and plan, else grow and keep them: a race asks for them twice."""
    import lightgbm

    rows = hashlib.sha256(np.ascontiguousarray(data.features).tobytes())
    for part in (data.apy, data.scale, data.day):
        rows.update(np.ascontiguousarray(part).tobytes())
    facts = {"rows": rows.hexdigest(), "cutoff": task.cutoff, "horizon": wanted.horizon_days, "plan": asdict(plan)}
    name = f"trees-{digest(facts | {'levels': levels, 'code': code_digest(GROWING_CODE)})}"

    def make() -> pl.DataFrame:
        grown = grow(data, wanted, plan, levels)
        boosters = [*grown.scout.boosters, *grown.final.boosters]
        return pl.DataFrame({"model": [booster.model_to_string() for booster in boosters], "seconds": grown.seconds})

    kept = task.store.remembered(name, make)
    boosters = tuple(lightgbm.Booster(model_str=text) for text in kept["model"])
    half = len(boosters) // 2
    return Grown(Trees(boosters[:half]), Trees(boosters[half:]), float(kept["seconds"][0]))
