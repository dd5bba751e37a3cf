"""What the project promised of its forecasts, and whether this race shows it: met or missed, plainly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.race.standings import OURS
from benchmarks.race.tables import TextTable, label_of

QUANTILE_TREES: Final = "lgbm-cqr"
POINT_TREES: Final = "lgbm-point"
OUTSIDERS: Final = ("ses", "ets", "theta", "nf-lstm", "nf-nhits", "fracast")
VOLATILITY_PEERS: Final = ("vol-ewma", "vol-har", "vol-garch")
MIN_ORIGINS: Final = 300
"""A category is held to its promise with this many forecasts."""

MAIN_HORIZON: Final = 7


@dataclass(frozen=True)
class Verdict:
    """One promise.

    Attributes
    ----------
    promise : str
    value, limit : float
        What was measured, and the most it may be.
    """

    promise: str
    value: float
    limit: float

    @property
    def met(self) -> bool:
        """Whether the promise holds; an unknown value does not."""
        return self.value <= self.limit


def verdicts(results: Mapping[str, Any]) -> list[Verdict]:
    """Return every promise that this race can judge."""
    horizons = {int(horizon): found for horizon, found in results["horizons"].items()}
    found: list[Verdict] = []
    if MAIN_HORIZON in horizons:
        main = horizons[MAIN_HORIZON]
        found += [*_against_trees(main), *_against_outsiders(main), *_coverage(main), *_volatility(main)]
    for horizon, entry in sorted(horizons.items()):
        if horizon != MAIN_HORIZON and QUANTILE_TREES in entry.get("pairs", {}):
            ratio = entry["pairs"][QUANTILE_TREES]["crps"]["value"]
            found.append(Verdict(f"CRPS over LightGBM quantile + CQR, {horizon} d", ratio, 1.0))
    return [*found, *_cold(results["cold"]), *_costs(results["costs"])]


def _against_trees(main: Mapping[str, Any]) -> Iterator[Verdict]:
    pairs = main.get("pairs", {})
    if QUANTILE_TREES in pairs:
        entry = pairs[QUANTILE_TREES]
        yield Verdict("CRPS over LightGBM quantile + CQR", entry["crps"]["value"], 0.92)
        yield Verdict("Winkler 90 over LightGBM quantile + CQR", entry["winkler90"]["value"], 0.90)
        for category, own in entry["by_category"].items():
            if own["n_rows"] >= MIN_ORIGINS:
                yield Verdict(f"CRPS over LightGBM quantile + CQR, {category}", own["crps"]["value"], 1.0)
                yield Verdict(f"Winkler 90 over LightGBM quantile + CQR, {category}", own["winkler90"]["value"], 1.0)
    if POINT_TREES in pairs:
        yield Verdict("MAE over LightGBM point", pairs[POINT_TREES]["mae"]["value"], 0.97)


def _against_outsiders(main: Mapping[str, Any]) -> Iterator[Verdict]:
    known = {key: main["pairs"][key]["crps"]["value"] for key in OUTSIDERS if key in main.get("pairs", {})}
    if known:
        best = max(known, key=lambda key: known[key])
        yield Verdict(
            f"CRPS over the best of statsforecast, neuralforecast, fracast ({label_of(best)})", known[best], 0.80
        )


def _coverage(main: Mapping[str, Any]) -> Iterator[Verdict]:
    if OURS not in main["scores"]:
        return
    groups = {name: (own, 0.02) for name, own in main["scores"][OURS]["by_category"].items()}
    slices = main["slices"][OURS]
    groups |= {f"{name} tercile": (own, 0.02) for name, own in slices["own_tercile"].items()}
    groups |= {name: (own, 0.03) for name, own in slices["quarter"].items()}
    for name, (own, limit) in groups.items():
        if own["n_rows"] >= MIN_ORIGINS:
            yield Verdict(f"coverage off by, worst of 80/90/95 %, {name}", worst_gap(own), limit)


def worst_gap(scores: Mapping[str, float]) -> float:
    """Return how far the coverage of the three intervals is from its level at most."""
    return max(abs(scores[f"cover{level}"] - level / 100) for level in (80, 90, 95))


def _volatility(main: Mapping[str, Any]) -> Iterator[Verdict]:
    pairs = main.get("volatility_pairs", {})
    for name, words in (("qlike", "QLIKE"), ("log", "log error")):
        known = {key: entry[name]["value"] for key, entry in pairs.items() if key in VOLATILITY_PEERS}
        if known:
            best = max(known, key=lambda key: known[key])
            yield Verdict(f"volatility: {words} over the best of its peers ({label_of(best)})", known[best], 0.90)


def _cold(cold: Mapping[str, Any]) -> Iterator[Verdict]:
    entry = cold.get("methods", {}).get(OURS) if cold else None
    if entry:
        yield Verdict(
            "cold start: CRPS unseen over seen in training, same strategies", entry["ratio"]["crps"]["value"], 1.05
        )
        yield Verdict(
            "cold start: relCRPS of unseen over the other strategies", entry["unseen_over_seen"]["crps"], 1.05
        )
        yield Verdict("cold start: coverage off by, worst of 80/90/95 %", worst_gap(entry["unseen"]), 0.02)
        for kind, groups in entry["unseen_groups"].items():
            limit = 0.03 if kind == "quarter" else 0.02
            for name, own in groups.items():
                if own["n_rows"] >= MIN_ORIGINS:
                    yield Verdict(f"cold start: coverage off by, {name}", worst_gap(own), limit)


def _costs(costs: Mapping[str, Any]) -> Iterator[Verdict]:
    ours = costs.get(OURS)
    for key, times in (("nf-lstm", 20.0), ("nf-nhits", 20.0), ("ets", 1_000.0)):
        if ours and key in costs:
            share = times * ours["origin_seconds"] / costs[key]["origin_seconds"]
            yield Verdict(f"seconds of one origin, times {times:,.0f}, over {label_of(key)}", share, 1.0)


def verdict_table(results: Mapping[str, Any]) -> TextTable:
    """Return the promises as a table."""
    table = TextTable("Promises", ["promise", "measured", "at most", ""])
    for verdict in verdicts(results):
        word = "met" if verdict.met else "MISSED"
        table.rows.append([verdict.promise, f"{verdict.value:.3f}", f"{verdict.limit:.3f}", word])
    table.note = f"Categories, terciles and quarters with at least {MIN_ORIGINS} forecasts, {MAIN_HORIZON} days ahead."
    return table
