"""The standings: scores of all on common rows, overall and by category, month and volatility, and paired ratios."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.models.scores import (
    MIN_NAIVE_ERROR,
    by_strategy,
    coverage_by_strategy,
    coverage_gap,
    scored_strategies,
)
from aegis_yield.pipelines.scoring import TERCILES
from aegis_yield.utils.typing import BoolArray, FloatArray, IntArray
from benchmarks.race.bootstrap import Pairing
from benchmarks.race.rows import COVERED, LOSSES, Losses, Rows, month_name, month_of, quarter_name, quarter_of

NAIVE: Final = "last"
OURS: Final = "ours"

MIN_CHOSEN: Final = 3
"""A strategy counts in a part of the rows if it has this many there."""

Scores = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """All methods at one horizon.

    Attributes
    ----------
    rows : Rows
        The common rows.
    losses : dict of str to Losses
        By method; the naive is among them.
    volatility : dict of str to ndarray of shape (n,)
        Each method's own forecast of volatility.
    block_of : callable
        From day numbers to calendar blocks for the bootstrap.
    """

    rows: Rows
    losses: Mapping[str, Losses]
    volatility: Mapping[str, FloatArray]
    block_of: Callable[[IntArray], IntArray]

    @property
    def everywhere(self) -> BoolArray:
        """All rows, as a mask."""
        return np.ones(len(self.rows), dtype=bool)

    def covered_by(self, *methods: str) -> BoolArray:
        """Return the rows on which all these methods gave a forecast."""
        found = self.everywhere
        for method in methods:
            found &= ~np.isnan(self.losses[method]["crps"])
        return found

    def scored(self, chosen: BoolArray) -> BoolArray:
        """Return which strategies count on the chosen rows.

        They count on all rows by the project's rule, have at least three chosen rows, and moved on those.
        """
        naive = self.losses[NAIVE]["mae"]
        codes, n = self.rows.strategy[chosen], self.rows.n_strategies
        moved = np.nan_to_num(by_strategy(naive[chosen], codes, n)) > MIN_NAIVE_ERROR
        counts = scored_strategies(naive, self.rows.strategy, n)
        return counts & moved & (np.bincount(codes, minlength=n) >= MIN_CHOSEN)


def score_table(field: Field, methods: list[str], chosen: BoolArray) -> dict[str, Scores]:
    """Return the scores of methods that all have forecasts on the chosen rows.

    Parameters
    ----------
    field : Field
    methods : list of str
        Each must cover every chosen row.
    chosen : ndarray of bool, shape (n,)

    Returns
    -------
    dict
        For each method: ``mae``, ``crps`` and ``winkler90`` relative to the last value (geometric means over
        strategies, overall and under ``by_category``), coverage of the three intervals, how far the
        strategies' own coverages are from 90 % in the mean, the pooled mean absolute error and the median width of the
        90 % interval.
    """
    for method in methods:
        if not field.covered_by(method)[chosen].all():
            raise ValueError(f"{method} has no forecast on some of the rows it would be scored on")
    scored = field.scored(chosen)
    return {method: _scores(field, method, chosen, scored) for method in methods}


def _scores(field: Field, method: str, chosen: BoolArray, scored: BoolArray) -> Scores:
    rows, losses, naive = field.rows, field.losses[method], field.losses[NAIVE]
    found: Scores = {name: rows.relative(losses[name], naive[name], scored, chosen) for name in LOSSES}
    found |= {f"cover{round(100 * level)}": _mean(losses[f"inside{round(100 * level)}"][chosen]) for level in COVERED}
    covered = coverage_by_strategy(losses["inside90"][chosen].astype(bool), rows.strategy[chosen], rows.n_strategies)
    found["strategy_gap90"] = coverage_gap(covered, 0.90)
    found["pooled_mae"] = _mean(losses["mae"][chosen])
    found["median_width90"] = float(np.median(losses["width90"][chosen])) if chosen.any() else float("nan")
    found["n_rows"], found["n_strategies"] = int(chosen.sum()), int(scored.sum())
    by_category = {}
    for code, name in enumerate(CATEGORIES):
        own = chosen & (rows.category == code)
        members = scored & (np.bincount(rows.strategy[own], minlength=rows.n_strategies) > 0)
        if own.any():
            entry: Scores = {loss: rows.relative(losses[loss], naive[loss], members, own) for loss in LOSSES}
            entry |= {f"cover{round(100 * c)}": _mean(losses[f"inside{round(100 * c)}"][own]) for c in COVERED}
            by_category[name] = entry | {"n_rows": int(own.sum()), "n_strategies": int(members.sum())}
    return found | {"by_category": by_category}


def slice_table(field: Field, method: str, chosen: BoolArray) -> dict[str, dict[str, Scores]]:
    """Return a method's scores by month, quarter and volatility tercile.

    Slices hold few rows of a strategy, so losses are not averaged by strategy there: each row's loss is divided by its
    strategy's mean naive loss over all chosen rows, summed over the slice, and divided by the naive's own such sum.
    """
    rows = field.rows
    groups: dict[str, np.ndarray] = {
        "month": np.array([month_name(month) for month in month_of(rows.day)]),
        "quarter": np.array([quarter_name(quarter) for quarter in quarter_of(rows.day)]),
        "tercile": tercile_labels(field.volatility[NAIVE], chosen),
        "own_tercile": tercile_labels(field.volatility[method], chosen),
    }
    return {
        kind: {str(label): _slice(field, method, chosen, labels == label) for label in _ordered(kind, labels[chosen])}
        for kind, labels in groups.items()
    }


def _ordered(kind: str, labels: np.ndarray) -> list[str]:
    present = set(labels.tolist())
    return [t for t in TERCILES if t in present] if "tercile" in kind else sorted(present)


def _slice(field: Field, method: str, chosen: BoolArray, inside: BoolArray) -> Scores:
    losses, naive, own = field.losses[method], field.losses[NAIVE], chosen & inside
    found: Scores = {}
    for name in LOSSES:
        weight = field.rows.weights(naive[name], field.scored(chosen), chosen)
        base = float((weight * naive[name])[own].sum())
        found[name] = float((weight * losses[name])[own].sum()) / base if base > 0 else float("nan")
    found |= {f"cover{round(100 * level)}": _mean(losses[f"inside{round(100 * level)}"][own]) for level in COVERED}
    return found | {"n_rows": int(own.sum())}


def tercile_labels(volatility: FloatArray, chosen: BoolArray) -> np.ndarray:
    """Return calm, middle or volatile for each row, by the terciles of the chosen rows' forecast volatility."""
    known = volatility[chosen & np.isfinite(volatility)]
    edges = np.quantile(known, [1 / 3, 2 / 3]) if len(known) else np.array([np.inf, np.inf])
    return np.asarray(TERCILES)[np.searchsorted(edges, np.nan_to_num(volatility))]


def pair_table(field: Field, method: str, peer: str, names: tuple[str, ...] = LOSSES) -> Scores:
    """Return a method's losses over a peer's with intervals, on the rows that both have, overall and by category."""
    rows = field.rows
    chosen = field.covered_by(method, peer) if names == LOSSES else _has_volatility(field, method, peer)
    scored = field.scored(chosen)
    found: Scores = {}
    for name in names:
        loss, other = field.losses[method][name], field.losses[peer][name]
        found[name] = asdict(pairing_of(field, chosen, scored).ratio(loss[chosen], other[chosen]))
    by_category: dict[str, Scores] = {}
    for code, category in enumerate(CATEGORIES):
        own = chosen & (rows.category == code)
        if own.any():
            by_category[category] = {
                name: asdict(
                    pairing_of(field, own, scored).ratio(field.losses[method][name][own], field.losses[peer][name][own])
                )
                for name in names
            } | {"n_rows": int(own.sum())}
    return found | {"by_category": by_category, "n_rows": int(chosen.sum())}


def _has_volatility(field: Field, *methods: str) -> BoolArray:
    found = field.everywhere
    for method in methods:
        found &= np.isfinite(field.losses[method]["qlike"])
    return found


def pairing_of(field: Field, chosen: BoolArray, scored: BoolArray) -> Pairing:
    """Return the chosen rows as the bootstrap wants them."""
    rows = field.rows
    naive_error = field.losses[NAIVE]["mae"][chosen]
    return Pairing(rows.strategy[chosen], field.block_of(rows.day[chosen]), naive_error, scored)


def volatility_table(field: Field, methods: list[str], naive: str) -> dict[str, Scores]:
    """Return QLIKE and log error of volatility forecasts on the rows that all of them have.

    Returns
    -------
    dict
        For each method: mean and median over rows, and under ``rel_`` the geometric mean over strategies of the
        mean over that of ``naive``.
    """
    chosen = _has_volatility(field, *methods)
    scored = field.scored(chosen)
    table = {}
    for method in methods:
        entry: Scores = {"n_rows": int(chosen.sum())}
        for name in ("qlike", "log"):
            loss = field.losses[method][name]
            entry[f"mean_{name}"], entry[f"median_{name}"] = _mean(loss[chosen]), float(np.median(loss[chosen]))
            entry[f"rel_{name}"] = field.rows.relative(loss, field.losses[naive][name], scored, chosen)
        table[method] = entry
    return table


def _mean(values: FloatArray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
