"""Bookkeeping: what the tracking store is told of versions: those nobody recorded, scores, aliases."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from aegis_yield.domain.errors import AegisError, BundleError, RegistryError
from aegis_yield.models.bundle import Bundle, load_bundle
from aegis_yield.pipelines.shelf import Shelf
from aegis_yield.pipelines.svg_pictures import bars_svg
from aegis_yield.pipelines.training_record import adopted, pictures_of, score_figures
from aegis_yield.registry import read_registry, version_of
from aegis_yield.registry.aliases import CHALLENGER, CHAMPION, Registry
from aegis_yield.registry.delivery import Delivered, deliver_all, mirror_aliases
from aegis_yield.registry.outbox import receipt_of
from aegis_yield.registry.records import Record
from aegis_yield.registry.tracking import TrackingStore
from aegis_yield.registry.versions import numbered_versions
from aegis_yield.utils.plain import plain

Scores: TypeAlias = Mapping[str, Any]
"""``Evaluation.scores`` of ``pipelines.evaluate``."""


@dataclass(frozen=True)
class Synced:
    """What a synchronisation brought.

    Attributes
    ----------
    n_records : int
        Records that the store has now and had not.
    adopted : tuple of str
        Versions that were not recorded at all.
    refused : tuple of str
        Why records were set aside.
    problem : str
        Why others still wait; empty if none do.
    """

    n_records: int
    adopted: tuple[str, ...]
    refused: tuple[str, ...]
    problem: str


def sync(shelf: Shelf) -> Synced:
    """Deliver what waits, record versions that nobody recorded, and let the store's aliases be those here."""
    if not shelf.tracking.enabled:
        raise RegistryError("recording is switched off; set AEGIS_TRACKING__ENABLED=1 to use the store")
    unknown = [path for path in numbered_versions(shelf.folder).values() if adopt(shelf, path, {})]
    outcome, problem = delivered(shelf)
    return Synced(outcome.n_records, tuple(map(version_of, unknown)), tuple(outcome.refused), problem)


def adopt(shelf: Shelf, path: Path, tags: Mapping[str, str]) -> bool:
    """Note a version that is neither recorded nor about to be; False if it is, or cannot be read."""
    fact = shelf.fact_of(path)
    receipt = receipt_of(shelf.tracking.folder, fact.name)
    # A training that was killed while it published knows only the digest: its record names the file on delivery.
    about = {
        (record.bundle.name or fact.name, record.bundle.sha256) for record in shelf.outbox.waiting() if record.bundle
    }
    is_known = receipt and (receipt.sha256, receipt.store) == (fact.sha256, shelf.tracking.address)
    if is_known or (fact.name, fact.sha256) in about:
        return False
    try:
        bundle = load_bundle(path)
    except BundleError:
        return False
    record = adopted(fact.name, path.read_bytes(), bundle.provenance, tags)
    pictures = pictures_of(bundle.provenance).items()
    files = {name: shelf.outbox.keep_file(record, name, picture.encode()) for name, picture in pictures}
    shelf.outbox.put(replace(record, files=files))
    return True


def record_scores(shelf: Shelf, path: Path, evaluations: Sequence[Scores], pages: Mapping[str, bytes]) -> bool:
    """Add evaluations of a version to its run: figures, pictures, all scores as JSON; noted, for the next delivery.

    Figures on days that the model has learned from are named ``seen/…``, those of a model of real data on simulated
    data ``simulated/…``: neither may be taken for what it can do.

    Parameters
    ----------
    shelf : Shelf
        The folder.
    path : Path
        The bundle's file; one outside the folder is not recorded.
    evaluations : sequence of mapping
        ``Evaluation.scores``, one for each horizon, the main one first.
    pages : mapping of str to bytes
        HTML or other files by name.

    Returns
    -------
    bool
        Whether anything was noted.
    """
    if not shelf.tracking.enabled or not shelf.holds(path):
        return False
    bundle, fact = load_bundle(path), shelf.fact_of(path)
    adopt(shelf, path, {})
    metrics: dict[str, float] = {}
    tags: dict[str, str] = {}
    files = {f"{_place(bundle, evaluations[0])}/{name}": content for name, content in pages.items()}
    for scores in evaluations:
        kind, place = _kind(bundle, scores), _place(bundle, scores)
        metrics |= {f"{kind}{name}": figure for name, figure in score_figures(scores).items()}
        span = f"{scores['data']['name']}, origins {scores['start']} to {scores['end']}"
        tags[f"scores.{kind}h{int(scores['horizon_days']):02d}"] = span
        files |= {f"{place}/{name}": text.encode() for name, text in _documents(scores).items()}
    record = Record(kind="scores", title=f"scores of {fact.name}", bundle=fact, tags=tags, metrics=metrics)
    kept = {name: shelf.outbox.keep_file(record, name, content) for name, content in files.items()}
    shelf.outbox.put(replace(record, files=kept).completed())
    return True


def record_evaluation(shelf: Shelf, path: Path, evaluations: Sequence[Scores], pages: Mapping[str, bytes]) -> str:
    """Add evaluations of a version to its run now; return a line that says so, empty if they wait or are not recorded.

    Never fails: what keeps them from being recorded becomes one warning. Parameters as of :func:`record_scores`.
    """
    try:
        if not record_scores(shelf, path, evaluations, pages):
            return ""
        problem = delivered(shelf)[1]
    except (AegisError, OSError) as error:
        warnings.warn(f"scores are not recorded: {error}", stacklevel=2)
        return ""
    if problem:
        warnings.warn(
            f"scores are not recorded yet: {problem}; the record is kept in {shelf.outbox.folder} and will be "
            "delivered by the next training, or by: aegis models sync",
            stacklevel=2,
        )
        return ""
    return f"scores recorded with {version_of(path)} in {shelf.tracking.address}"


def _kind(bundle: Bundle, scores: Scores) -> str:
    if scores["data"]["simulated"] and not bundle.is_simulated:
        return "simulated/"
    return "seen/" if bundle.data_end >= scores["start"] else ""


def _place(bundle: Bundle, scores: Scores) -> str:
    span = f"{scores['start']}_{scores['end']}_h{int(scores['horizon_days']):02d}"
    return f"scores/{_kind(bundle, scores)}{span}"


def _documents(scores: Scores) -> dict[str, str]:
    """Return an evaluation's scores as JSON, and two pictures of them."""
    cards = scores["scores"]
    errors = {
        name: {category: one["score"] for category, one in card["rel_mae_by_category"].items()}
        for name, card in cards.items()
    }
    name, own = next(iter(cards.items()))
    shares = {name: {category: one["coverage"] for category, one in own["coverage_90_by_category"].items()}}
    ahead = f"{scores['horizon_days']} days ahead"
    return {
        "scores.json": json.dumps(plain(dict(scores)), indent=1, default=str, allow_nan=False) + "\n",
        "rel_mae.svg": bars_svg(f"Error relative to the last value's, {ahead}", errors, 1.0),
        "coverage_90.svg": bars_svg(f"Share inside the 90 % interval, {ahead}", shares, 0.9),
    }


def told(shelf: Shelf, registry: Registry) -> Registry:
    """Tell the store of an alias that moved, if anything was ever recorded; the file in the folder is what counts."""
    known = any(receipt_of(shelf.tracking.folder, name) for name in registry.aliases.values())
    if shelf.tracking.enabled and (known or any(shelf.outbox.waiting())):
        problem = delivered(shelf)[1]
        if problem:
            warnings.warn(f"the store was not told: {problem}; later: aegis models sync", stacklevel=3)
    return registry


def delivered(shelf: Shelf) -> tuple[Delivered, str]:
    """Deliver what waits and mirror the aliases; say what went wrong instead of raising it."""
    try:
        store = TrackingStore.open(shelf.tracking)
        outcome = deliver_all(shelf.tracking, store)
        if not outcome.problem:
            mirror_aliases(shelf.tracking, store, _alias_map(read_registry(shelf.folder)))
    except AegisError as error:
        return Delivered(), str(error)
    return outcome, outcome.problem


def _alias_map(registry: Registry) -> dict[str, str | None]:
    return {alias: registry.aliases.get(alias) for alias in (CHAMPION, CHALLENGER)}
