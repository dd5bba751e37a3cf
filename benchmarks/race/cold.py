"""Cold starts: strategies left out of training, and those born after the cut-off."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.utils.typing import BoolArray, IntArray
from benchmarks.race.rows import COVERED, LOSSES, Losses, quarter_name, quarter_of
from benchmarks.race.standings import NAIVE, Field, pairing_of, tercile_labels


def cold_table(field: Field, method: str, cold: Losses, held_out: frozenset[str]) -> dict[str, Any]:
    """Compare a method trained without some strategies with the same method trained on all.

    Parameters
    ----------
    field : Field
        With the method trained on all strategies, and the last value.
    method : str
        Key of the method.
    cold : Losses
        Of the method trained without the held-out strategies, on the same rows.
    held_out : frozenset of str
        The strategies it has never seen.

    Returns
    -------
    dict
        ``unseen`` and ``seen``: scores of the cold method on strategies that it has not and has learned from;
        ``warm``: the method trained on all, on the held-out strategies; ``ratio``: cold over warm on the
        held-out strategies, with intervals; ``unseen_over_seen``: the ratio of the two relative scores (over different
        strategies, so it also tells how hard they are, which ``warm_unseen_over_seen`` shows);
        ``unseen_groups``: coverage of the cold method on unseen strategies by category, tercile of EWMA volatility
        and quarter.
    """
    unseen = np.isin(field.rows.strategy_id, list(held_out))
    warm = field.losses[method]
    table = {
        "unseen": _scores(field, cold, unseen),
        "seen": _scores(field, cold, ~unseen),
        "warm": _scores(field, warm, unseen),
        "warm_seen": _scores(field, warm, ~unseen),
    }
    pairing = pairing_of(field, unseen, field.scored(unseen))
    ratios = {name: asdict(pairing.ratio(cold[name][unseen], warm[name][unseen])) for name in LOSSES}
    return table | {
        "ratio": ratios,
        "unseen_groups": _coverage_by_group(field, cold, unseen),
        "unseen_over_seen": {name: table["unseen"][name] / table["seen"][name] for name in LOSSES},
        "warm_unseen_over_seen": {name: table["warm"][name] / table["warm_seen"][name] for name in LOSSES},
    }


def _coverage_by_group(field: Field, losses: Losses, chosen: BoolArray) -> dict[str, dict[str, dict[str, float]]]:
    rows = field.rows
    labels = {
        "category": np.array(CATEGORIES)[rows.category],
        "tercile": tercile_labels(field.volatility[NAIVE], chosen),
        "quarter": np.array([quarter_name(quarter) for quarter in quarter_of(rows.day)]),
    }
    return {
        kind: {str(one): _covered(losses, chosen & (names == one)) for one in np.unique(names[chosen])}
        for kind, names in labels.items()
    }


def _covered(losses: Losses, own: BoolArray) -> dict[str, float]:
    names = [f"cover{round(100 * level)}" for level in COVERED]
    found = {name: float(losses[name.replace("cover", "inside")][own].mean()) for name in names}
    return found | {"n_rows": int(own.sum())}


def _scores(field: Field, losses: Losses, chosen: BoolArray) -> dict[str, Any]:
    scored = field.scored(chosen)
    naive = field.losses[NAIVE]
    found: dict[str, Any] = {n: field.rows.relative(losses[n], naive[n], scored, chosen) for n in LOSSES}
    for level in COVERED:
        inside = losses[f"inside{round(100 * level)}"][chosen]
        found[f"cover{round(100 * level)}"] = float(inside.mean()) if len(inside) else float("nan")
    return found | {"n_rows": int(chosen.sum()), "n_strategies": int(scored.sum())}


def newborn_table(field: Field, methods: list[str], cutoffs: IntArray) -> dict[str, dict[str, Any]]:
    """Return scores on strategies whose first row is later than the cut-off of the models that forecast them.

    They have few origins each, so losses are weighted by row as in
    :func:`benchmarks.race.standings.slice_table`, over strategies that count on these rows.
    """
    newborn = field.rows.born > cutoffs
    if not newborn.any():
        return {}
    scored = field.scored(newborn)
    table = {}
    for method in methods:
        losses, naive = field.losses[method], field.losses[NAIVE]
        entry: dict[str, Any] = {}
        for name in LOSSES:
            weight = field.rows.weights(naive[name], scored, newborn)
            base = float((weight * naive[name]).sum())
            entry[name] = float((weight * losses[name]).sum()) / base if base > 0 else float("nan")
        for level in COVERED:
            entry[f"cover{round(100 * level)}"] = float(losses[f"inside{round(100 * level)}"][newborn].mean())
        table[method] = entry | {"n_rows": int(newborn.sum()), "n_strategies": int(scored.sum())}
    return table
