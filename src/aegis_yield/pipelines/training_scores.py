"""Scores of a training: what its scouts made of the newest block, which they never saw, by horizon and category."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.forecast import interval_levels
from aegis_yield.models.calibration import SIDE_LEVELS, ScorePool
from aegis_yield.models.fitting import FittedModel, FittingSession
from aegis_yield.models.lstm import LstmModel
from aegis_yield.models.scores import geometric_mean, laplace_crps, relative_scores, scored_strategies
from aegis_yield.models.validation import rows_as_inputs
from aegis_yield.preprocessing.windows import WindowSet, mean_log_growth
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray

HORIZONS: Final = (1, 7, 30)
STEP_DAYS: Final = 3
EVERYTHING: Final = "all"
"""Stands where a category would."""

_DIGITS: Final = 4
_ENDS: Final = [SIDE_LEVELS.index(level) for level in interval_levels(0.90)]

Scores = dict[str, dict[str, dict[str, float]]]
"""By horizon (as text, as JSON has it), by category, by name of the score."""


def scores_of_training(session: FittingSession, fitted: FittedModel) -> Scores:
    """Score a training on its calibration block.

    The finals, which serve, have learned from that block. The scouts, trained alike, have not: their scores are what
    can be said of a training before any new day has come.

    Parameters
    ----------
    session : FittingSession
        After its run.
    fitted : FittedModel
        What it brought.

    Returns
    -------
    dict
        ``{"7": {"lending": {"rel_mae": …, "rel_crps": …, "n_strategies": …, "coverage_90": …}}}``: errors relative to
        the last value's, geometric means over strategies, CRPS in Laplace's shape, and the share of outcomes inside
        the networks' own 90 % interval, before calibration. What has too few origins is left out; nothing is there
        if the training was interrupted before a scout was done.
    """
    scouts = tuple(
        state.best for (kind, _), state in zip(session.roster, session.progress.done, strict=False) if kind == "scout"
    )
    if not scouts:
        return {}
    model = replace(fitted.model, members=scouts, experts=(), shape=None)
    block = session.split.validation_end, session.split.calibration_end
    found: Scores = {}
    for horizon in HORIZONS:
        table = _relative(model, session.data, block, horizon)
        for name, share in _coverage(fitted.scores, horizon).items():
            table.setdefault(name, {})["coverage_90"] = share
        if table:
            found[str(horizon)] = table
    return found


def held_scores(provenance: Mapping[str, Any]) -> Scores:
    """Return the scores in a bundle's provenance; what is not of their form, as in a foreign bundle, is left out."""
    return {
        horizon: {
            str(category): {str(name): float(value) for name, value in _items(card) if isinstance(value, int | float)}
            for category, card in _items(table)
        }
        for horizon, table in _items(provenance.get("scores"))
        if str(horizon).isdecimal()
    }


def flat_scores(scores: Scores) -> dict[str, float]:
    """Return the scores of a training as flat figures: ``scouts/h07/rel_mae``, ``scouts/h07/rel_mae/lending``."""
    return {
        f"scouts/h{int(horizon):02d}/{name}" + ("" if category == EVERYTHING else f"/{category}"): value
        for horizon, table in scores.items()
        for category, card in table.items()
        for name, value in card.items()
    }


def _items(value: object) -> Iterable[tuple[Any, Any]]:
    return value.items() if isinstance(value, Mapping) else ()


def _relative(model: LstmModel, data: WindowSet, block: tuple[int, int], horizon_days: int) -> dict[str, Any]:
    first, last = block
    rows = data.origins_between(first, last)
    rows = rows[(data.day[rows] - last) % STEP_DAYS == 0]
    rows = rows[data.horizon_limit(rows, last) >= horizon_days]
    if not len(rows):
        return {}
    actual = np.expm1(mean_log_growth(data.futures()[rows], np.full(len(rows), horizon_days)))
    raw = model.locate(rows_as_inputs(data, rows), horizon_days)
    naive = np.abs(actual - data.apy[rows])
    losses = {
        "rel_mae": np.abs(actual - raw.location),
        "rel_crps": laplace_crps(actual, raw.location, raw.scale),
    }
    codes, strategy = np.unique(data.strategy[rows], return_inverse=True)
    scored = scored_strategies(naive, strategy, len(codes))
    ratios = {name: relative_scores(loss, naive, strategy, len(codes)) for name, loss in losses.items()}
    category = _category_of(data, rows, strategy, len(codes))
    groups = {EVERYTHING: scored} | {name: scored & (category == code) for code, name in enumerate(CATEGORIES)}
    return {name: _card(ratios, members) for name, members in groups.items() if members.any()}


def _card(ratios: dict[str, FloatArray], members: BoolArray) -> dict[str, float]:
    card = {name: round(geometric_mean(values[members]), _DIGITS) for name, values in ratios.items()}
    return {name: value for name, value in card.items() if math.isfinite(value)} | {"n_strategies": int(members.sum())}


def _category_of(data: WindowSet, rows: IntArray, strategy: IntArray, n_strategies: int) -> IntArray:
    category = np.zeros(n_strategies, dtype=int)
    category[strategy] = data.category[rows]
    return category


def _coverage(pool: ScorePool, horizon_days: int) -> dict[str, float]:
    """Return the share of outcomes no further out than the ends of the interval, of all and by category."""
    mine = pool.horizon_days == horizon_days
    if not mine.any():
        return {}
    inside = (pool.ratio[mine][:, _ENDS] <= 1.0).all(axis=1)
    category = pool.category[mine]
    shares = {EVERYTHING: float(inside.mean())}
    shares |= {CATEGORIES[code]: float(inside[category == code].mean()) for code in np.unique(category).tolist()}
    return {name: round(share, _DIGITS) for name, share in shares.items()}
