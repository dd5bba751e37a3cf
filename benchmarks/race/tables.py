"""The race's results as tables of text, for the terminal and the page alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.reporting.console import percent
from benchmarks.race.methods import BY_KEY
from benchmarks.race.rows import LOSSES
from benchmarks.race.standings import OURS

LOSS_NAMES: Final = {
    "mae": "relMAE",
    "crps": "relCRPS",
    "winkler90": "relWinkler90",
    "qlike": "QLIKE",
    "log": "log error",
}
COVER_NAMES: Final = {"cover80": "in 80", "cover90": "in 90", "cover95": "in 95"}
SHOWN_PEERS: Final = ("lgbm-cqr", "lgbm-point")
"""Peers that ours is compared with category by category."""


@dataclass
class TextTable:
    """A table of text.

    Attributes
    ----------
    title : str
    header : list of str
    rows : list of list of str
    note : str
        What its numbers are.
    """

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    note: str = ""


def label_of(key: str) -> str:
    """Return a method's name in tables."""
    return BY_KEY[key].label


def all_tables(results: Mapping[str, Any]) -> list[TextTable]:
    """Return every table of a race, in the order they are read."""
    tables: list[TextTable] = []
    for horizon, found in results["horizons"].items():
        tables += _horizon_tables(int(horizon), found)
    tables += cold_tables(results["cold"])
    return [*tables, cost_table(results["costs"])]


def _horizon_tables(horizon: int, found: Mapping[str, Any]) -> list[TextTable]:
    days = f"{horizon} day{'s' if horizon > 1 else ''} ahead"
    tables = [headline(f"{days}: {found['n_rows']:,} forecasts at {found['n_origins']} origins", found["scores"])]
    if "common" in found:
        tables.append(headline(f"{days}, the {found['common_origins']} origins that all have", found["common"]))
    tables += [by_category(f"{days}: {LOSS_NAMES[loss]} by category", found["scores"], loss) for loss in LOSSES]
    tables.append(by_category(f"{days}: coverage of the 90 % interval by category", found["scores"], "cover90"))
    tables.append(by_slice(f"{days}: relCRPS by month", found["slices"], "month", "crps"))
    tables.append(by_slice(f"{days}: relCRPS by tercile of EWMA volatility", found["slices"], "tercile", "crps"))
    for kind, name in (("quarter", "quarter"), ("own_tercile", "tercile of its own volatility")):
        tables.append(by_slice(f"{days}: coverage of the 90 % interval by {name}", found["slices"], kind, "cover90"))
    if "pairs" in found:
        tables.append(pairs(f"{days}: ours over each peer, 95 % intervals", found["pairs"], LOSSES))
        tables += [
            category_pairs(f"{days}: ours over {label_of(peer)} by category", found["pairs"][peer])
            for peer in SHOWN_PEERS
            if peer in found["pairs"]
        ]
    if found.get("newborn"):
        tables.append(_newborn(f"{days}: strategies born after the cut-off", found["newborn"]))
    if "volatility" in found:
        tables.append(volatility(f"{days}: volatility", found["volatility"]))
    if found.get("volatility_pairs"):
        title = f"{days}: our volatility over each peer's, 95 % intervals"
        tables.append(pairs(title, found["volatility_pairs"], ("qlike", "log")))
    return tables


def headline(title: str, scores: Mapping[str, Any]) -> TextTable:
    """Return one row per method with all its headline scores."""
    header = ["forecaster", *(LOSS_NAMES[n] for n in LOSSES), *COVER_NAMES.values(), "each off", "width 90", "MAE"]
    table = TextTable(title, header)
    for key, entry in scores.items():
        table.rows.append([
            label_of(key), *(_number(entry[name]) for name in LOSSES), *(percent(entry[n], 1) for n in COVER_NAMES),
            _percent1(entry["strategy_gap90"]), percent(entry["median_width90"]), percent(entry["pooled_mae"]),
        ])  # fmt: skip
    n_strategies = next(iter(scores.values()))["n_strategies"] if scores else 0
    table.note = (
        f"Geometric means over {n_strategies} strategies of the ratio to the last value; below 1 is skill. "
        "in 80/90/95: share of outcomes inside the interval; each off: how far each strategy's own share in 90 is from "
        "90 %, in the mean; width 90: median; MAE: pooled."
    )
    return table


def by_category(title: str, scores: Mapping[str, Any], name: str) -> TextTable:
    """Return methods by category for one score."""
    present = [c for c in CATEGORIES if any(c in entry["by_category"] for entry in scores.values())]
    table = TextTable(title, ["forecaster", *present])
    show = _percent1 if name.startswith("cover") else _number
    for key, entry in scores.items():
        table.rows.append([label_of(key), *(show(entry["by_category"].get(c, {}).get(name)) for c in present)])
    first: Mapping[str, Any] = next((entry["by_category"] for entry in scores.values()), {})
    table.note = "Forecasts: " + ", ".join(f"{c} {first[c]['n_rows']:,}" for c in present if c in first) + "."
    return table


def by_slice(title: str, slices: Mapping[str, Any], kind: str, name: str) -> TextTable:
    """Return methods by month, quarter or tercile for one score."""
    first: Mapping[str, Any] = next(iter(slices.values()), {})
    labels = list(first.get(kind, {}))
    table = TextTable(title, ["forecaster", *labels])
    show = _percent1 if name.startswith("cover") else _number
    for key, entry in slices.items():
        table.rows.append([label_of(key), *(show(entry[kind].get(label, {}).get(name)) for label in labels)])
    return table


def pairs(title: str, found: Mapping[str, Any], names: tuple[str, ...]) -> TextTable:
    """Return ours over each peer with intervals."""
    table = TextTable(title, ["peer", *(LOSS_NAMES[name].removeprefix("rel") for name in names), "forecasts", "blocks"])
    for key, entry in found.items():
        cells = [ratio_text(entry[name]) for name in names]
        table.rows.append([label_of(key), *cells, f"{entry['n_rows']:,}", str(entry[names[0]]["n_blocks"])])
    table.note = "Geometric means over strategies of our mean loss over theirs; below 1 we are better. Calendar blocks."
    return table


def category_pairs(title: str, entry: Mapping[str, Any]) -> TextTable:
    """Return ours over one peer by category."""
    table = TextTable(title, ["category", *(LOSS_NAMES[name].removeprefix("rel") for name in LOSSES), "forecasts"])
    for category, found in entry["by_category"].items():
        table.rows.append([category, *(ratio_text(found[name]) for name in LOSSES), f"{found['n_rows']:,}"])
    return table


def volatility(title: str, scores: Mapping[str, Any]) -> TextTable:
    """Return the volatility race."""
    table = TextTable(title, ["forecaster", "QLIKE / EWMA", "log error / EWMA", "QLIKE", "median", "log error"])
    for key, entry in scores.items():
        means = (entry["rel_qlike"], entry["rel_log"], entry["mean_qlike"], entry["median_qlike"], entry["mean_log"])
        table.rows.append([label_of(key), *map(_number, means)])
    table.note = (
        "The first two: geometric means over strategies of the mean loss over EWMA's. The others: over forecasts."
    )
    return table


def cold_tables(cold: Mapping[str, Any]) -> list[TextTable]:
    """Return how methods do on strategies they have never seen."""
    if not cold:
        return []
    title = f"Cold start, {cold['horizon_days']} days ahead: {cold['n_held_out']} strategies left out of training"
    scores = TextTable(title, ["forecaster", *(LOSS_NAMES[n] for n in LOSSES), *COVER_NAMES.values(), "strategies"])
    ratios = TextTable(
        "The same strategies, unseen over seen in training", ["forecaster", *_ratio_header(), "unseen/seen"]
    )
    kinds = {"unseen": "never seen", "seen": "the others", "warm": "never seen, had they been seen"}
    for key, entry in cold["methods"].items():
        for kind, name in kinds.items():
            own = entry[kind]
            cells = [*(_number(own[loss]) for loss in LOSSES), *(percent(own[c], 1) for c in COVER_NAMES)]
            scores.rows.append([f"{label_of(key)}: {name}", *cells, str(own["n_strategies"])])
        across = (
            f"{entry['unseen_over_seen']['crps']:.3f} ({entry['warm_unseen_over_seen']['crps']:.3f} had they been seen)"
        )
        ratios.rows.append([label_of(key), *(ratio_text(entry["ratio"][loss]) for loss in LOSSES), across])
    ratios.note = "unseen/seen: relCRPS of the unseen strategies over that of the others, which are other strategies."
    return [scores, ratios]


def _ratio_header() -> list[str]:
    return [LOSS_NAMES[name].removeprefix("rel") for name in LOSSES]


def _newborn(title: str, found: Mapping[str, Any]) -> TextTable:
    table = TextTable(title, ["forecaster", *(LOSS_NAMES[n] for n in LOSSES), *COVER_NAMES.values()])
    for key, entry in found.items():
        cells = [*(_number(entry[loss]) for loss in LOSSES), *(percent(entry[c], 1) for c in COVER_NAMES)]
        table.rows.append([label_of(key), *cells])
    first = next(iter(found.values()))
    table.note = f"{first['n_rows']:,} forecasts, {first['n_strategies']} strategies; rows weighted by 1/naive loss."
    return table


def cost_table(costs: Mapping[str, Any]) -> TextTable:
    """Return seconds and memory of each method."""
    header = ["method", "training, s", "one origin, ms", "times ours", "all, s", "peak memory, MB", "beyond tables, MB"]
    table = TextTable("Cost", header)
    ours = costs.get(OURS, {}).get("origin_seconds", float("nan"))
    for key, entry in costs.items():
        table.rows.append([
            label_of(key), f"{entry['fit_seconds']:,.0f}", _number(1000 * entry["origin_seconds"]),
            _number(entry["origin_seconds"] / ours), f"{entry['total_seconds']:,.0f}", f"{entry['peak_mb']:,.0f}",
            f"{entry['peak_mb'] - entry['data_mb']:,.0f}",
        ])  # fmt: skip
    own: Mapping[str, float] = costs.get(OURS, {})
    answer, first = (1000 * own.get(f"{name}_seconds", float("nan")) for name in ("answer", "features"))
    table.note = (
        "One thread each. One origin: all strategies, from inputs in memory to quantiles. The service's whole answer "
        f"takes us {answer:,.0f} ms, the first one, from the tables, {first:,.0f} ms. Memory: of the process."
    )
    return table


def ratio_text(ratio: Mapping[str, float]) -> str:
    """Return ``0.912 [0.890, 0.934]``."""
    return f"{ratio['value']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"


def _percent1(value: float | None) -> str:
    return "-" if value is None or value != value else percent(value, 1)
