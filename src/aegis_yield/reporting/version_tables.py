"""Tables of versions for the terminal: the list, one version, two side by side, a gate's decision."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aegis_yield.pipelines.shelf import VersionInfo
from aegis_yield.registry.aliases import Change

_FACTS: Final = ("plan", "data", "split", "calibrated")
_LATEST_CHANGES: Final = 5
_SCORE: Final = re.compile(r"((?:scouts|seen|simulated)/)?h(\d\d)/([a-z]\w*)(?:/(\w+))?")
_FIRST_SCORES: Final = ("rel_mae", "rel_crps", "coverage_90")
_SOURCES: Final = {
    "": "Evaluations on days that it had not seen",
    "scouts/": "Its training: the scouts on the newest block, which they had not seen",
    "seen/": "Evaluations on days that it has learned from: no proof of skill",
    "simulated/": "Evaluations on simulated data",
}


def versions_table(versions: Sequence[VersionInfo]) -> RenderableType:
    """Return every version: which serves, what it learned from, how it did, whether it is recorded.

    To which day it was recalibrated is said of versions whose intervals have learned since their training.
    """
    table = _table("Versions")
    for name in ("version", "alias", "data", "trained to", "calibrated"):
        table.add_column(name, no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("digest", no_wrap=True)
    table.add_column("in MLflow")  # what gives way where the terminal is narrow
    for one in versions:
        data = one.provenance.get("data", {})
        kind = "-" if one.fault else "SIMULATED" if data.get("simulated") else "real"
        score = one.provenance.get("metrics", {}).get("validation_score")
        table.add_row(
            one.name, ", ".join(one.aliases), kind, str(data.get("last_date", "-")),
            str(one.recalibrated.get("until", "-")), _figure(score), one.sha256[:8],
            f"version {one.mlflow_version}" if one.run_id else one.recorded,
            style="red" if one.fault else "bold" if one.aliases else None,
        )  # fmt: skip
    return Group(table, *(Text(f"{one.name}: {one.fault}", style="red") for one in versions if one.fault))


def version_table(version: VersionInfo, figures: Mapping[str, float], changes: Sequence[Change]) -> RenderableType:
    """Return all that is known of one version, and how aliases came to it and left it."""
    table = _table(version.exact_name)
    table.add_column("fact", no_wrap=True)
    table.add_column("value", overflow="fold")
    facts = {"file": version.path.name, "aliases": ", ".join(version.aliases) or "none", "sha256": version.sha256}
    place = f"version {version.mlflow_version}, run {version.run_id}" if version.run_id else version.recorded
    for name, value in {**facts, "in MLflow": place, **_facts_of(version)}.items():
        table.add_row(name, Text(str(value)))
    for name, figure in sorted(figures.items()):
        if not _SCORE.fullmatch(name):
            table.add_row(name, _figure(figure))
    own = [one for one in changes if version.name in (one.before, one.after)][-_LATEST_CHANGES:]
    return Group(table, *score_tables(figures), *(Text(change_line(one)) for one in own))


def score_tables(figures: Mapping[str, float]) -> list[RenderableType]:
    """Return figures by category and horizon as tables, one for each source: what it is of, and the score beside."""
    sources: dict[str, dict[tuple[int, str], dict[str, float]]] = {}
    for name, figure in figures.items():
        if match := _SCORE.fullmatch(name):
            source, horizon, score, category = match.groups()
            rows = sources.setdefault(source or "", {})
            rows.setdefault((int(horizon), category or ""), {})[score] = figure
    return [_score_table(source, sources[source]) for source in sorted(sources)]


def _score_table(source: str, rows: Mapping[tuple[int, str], Mapping[str, float]]) -> RenderableType:
    known = sorted({name for row in rows.values() for name in row})
    shown = [name for name in _FIRST_SCORES if name in known] + [name for name in known if name not in _FIRST_SCORES]
    table = _table(_SOURCES.get(source, source))
    for name in ("horizon", "category"):
        table.add_column(name, no_wrap=True)
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for (horizon, category), row in sorted(rows.items()):
        table.add_row(f"{horizon} d", category or "all", *(_score(row.get(name), name) for name in shown))
    return table


def _score(value: float | None, name: str) -> str:
    return "-" if value is None else f"{value:,.0f}" if name.startswith("n_") else f"{value:.4f}"


def change_line(change: Change) -> str:
    """Return a move of an alias as one line."""
    grounds = f"decision {change.why.decision}: " if change.why.decision else "forced: " if change.why.forced else ""
    moved = f"{change.alias} {change.before or 'none'} → {change.after or 'none'}" if change.alias else change.before
    return f"{change.at}  {change.action}  {moved}  ({grounds}{change.why.reason})"


def comparison_table(pair: tuple[VersionInfo, VersionInfo], figures: Sequence[Mapping[str, float]]) -> RenderableType:
    """Return two versions side by side: facts that differ, and all figures."""
    first, second = pair
    table = _table(f"{first.name} and {second.name}: what differs, and the figures of both")
    table.add_column("fact", no_wrap=True)
    for one in pair:
        table.add_column(one.name + (f" ({', '.join(one.aliases)})" if one.aliases else ""), overflow="fold")
    table.add_column("change", justify="right", no_wrap=True)
    facts = [_facts_of(one) for one in pair]
    for name in dict.fromkeys([*facts[0], *facts[1]]):
        left, right = (str(one.get(name, "-")) for one in facts)
        if left != right:
            table.add_row(name, Text(left), Text(right), "")
    for name in sorted({*figures[0], *figures[1]}):
        a, b = figures[0].get(name), figures[1].get(name)
        change = "" if a is None or b is None or not a else f"{100 * (b / a - 1):+.1f}%"
        table.add_row(name, _figure(a), _figure(b), change)
    return Group(table, Text(_sameness(pair, facts)))


def _sameness(pair: tuple[VersionInfo, VersionInfo], facts: Sequence[Mapping[str, Any]]) -> str:
    if facts[0] == facts[1]:
        return "the same parameters and data"
    same = pair[0].training_id == pair[1].training_id
    return "the same networks: they differ in what their intervals have learned" if same else ""


def _facts_of(version: VersionInfo) -> dict[str, Any]:
    provenance = version.provenance
    facts = {name: provenance[name] for name in ("project_version", "commit", "interrupted") if name in provenance}
    for group in _FACTS:
        facts |= {f"{group}.{name}": value for name, value in provenance.get(group, {}).items()}
    return {**facts, "networks": version.n_members}


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if float(value).is_integer() else f"{value:.4f}"


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True,
        min_width=len(title),
    )  # fmt: skip
