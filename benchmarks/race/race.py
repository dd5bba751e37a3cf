"""Runs a race from its course to its results: jobs, common rows, standings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from rich.console import Console

from aegis_yield.domain.dataset import Dataset
from aegis_yield.pipelines.datasets import content_hash
from aegis_yield.preprocessing.panel import to_date
from aegis_yield.utils.project import code_version
from aegis_yield.utils.typing import IntArray
from benchmarks.race.cold import cold_table, newborn_table
from benchmarks.race.methods import BY_KEY, METHODS, Method
from benchmarks.race.plan import Course, Entry, Job, jobs_of
from benchmarks.race.rows import Rows, month_of
from benchmarks.race.runner import Crew, Failure
from benchmarks.race.standings import NAIVE, OURS, Field, pair_table, score_table, slice_table, volatility_table
from benchmarks.race.store import Store
from benchmarks.race.task import held_out_strategies

VOLATILITY_NAIVE: Final = "vol-ewma"


@dataclass(frozen=True)
class Order:
    """A race.

    Attributes
    ----------
    course : Course
        Data, origins, cut-offs, horizons.
    methods : tuple of str
        Keys; the last value always takes part.
    settings : mapping
        Of methods, by name; ``bundles`` maps cut-offs (day numbers) to paths.
    cold_methods : tuple of str
        Those that run a second time without the held-out strategies, at one horizon.
    slow_horizons : tuple of int
        Horizons at which the expensive methods run; empty for all.
    every_origin : bool
        Whether slow methods run on all origins.
    blocks : {"month", "week"}
        Calendar blocks of the bootstrap.
    workers : int
        Processes at a time.
    """

    course: Course
    methods: tuple[str, ...]
    settings: Mapping[str, Any]
    cold_methods: tuple[str, ...] = ()
    slow_horizons: tuple[int, ...] = ()
    every_origin: bool = False
    blocks: str = "month"
    workers: int = 1

    @property
    def racers(self) -> list[Method]:
        """Methods in the order of the tables, the last value among them."""
        chosen = {NAIVE, *self.methods}
        if any(BY_KEY[key].only_volatility for key in chosen):
            chosen.add(VOLATILITY_NAIVE)
        return [method for method in METHODS if method.key in chosen]

    @property
    def cold_horizon(self) -> int:
        """The horizon of the cold start."""
        return 7 if 7 in self.course.horizons else self.course.horizons[0]

    def entry(self, method: Method) -> Entry:
        """Return how a method enters."""
        horizons = self.course.horizons
        if method.few_horizons and self.slow_horizons:
            horizons = tuple(h for h in horizons if h in self.slow_horizons)
        return Entry(method, self.settings, horizons, self.every_origin)

    def block_of(self, day: IntArray) -> IntArray:
        """Return calendar blocks of day numbers: months, or weeks from Monday to Sunday."""
        return month_of(day) if self.blocks == "month" else np.asarray((day + 3) // 7)


def run_race(order: Order, store: Store, console: Console) -> dict[str, Any]:
    """Run what is missing and return all results as plain values.

    Parameters
    ----------
    order : Order
        What to race.
    store : Store
        Results so far; new ones go there.
    console : Console
        For progress.

    Returns
    -------
    dict
        ``horizons`` (scores, slices, pairs, volatility by horizon), ``cold``, ``costs``, ``failures`` and what was run.
    """
    dataset = order.course.source.open()
    data_hash = content_hash(dataset)
    warm = {m.key: jobs_of(order.course, order.entry(m), data_hash) for m in order.racers if order.entry(m).horizons}
    cold = _cold_jobs(order, data_hash)
    crew = Crew(order.course.source, order.course.held_out_share, store, console, order.workers)
    failures = crew.run([job for jobs in [*warm.values(), *cold.values()] for job in jobs])
    kept = {key: jobs for key, jobs in warm.items() if not _failed(jobs, failures)}
    if NAIVE not in kept:
        raise RuntimeError(f"the last value failed, nothing can be scored:\n{failures[0].reason}")
    horizons = {}
    for horizon in order.course.horizons:
        tables = _tables(store, kept, horizon)
        horizons[horizon] = standings(order, _field(order, dataset, tables, horizon), tables)
    return {
        "course": _facts(order, dataset, data_hash),
        "horizons": horizons,
        "cold": _cold(order, dataset, store, kept, {k: j for k, j in cold.items() if not _failed(j, failures)}),
        "costs": {key: costs_of(store, jobs) for key, jobs in kept.items()},
        "failures": [{"job": failure.job.label(), "reason": failure.reason} for failure in failures],
    }


def _cold_jobs(order: Order, data_hash: str) -> dict[str, list[Job]]:
    racing = {method.key for method in order.racers}
    keys = [key for key in order.cold_methods if key in racing and order.course.held_out_share > 0.0]
    settings = {name: value for name, value in order.settings.items() if name != "bundles"}
    return {
        key: jobs_of(order.course, Entry(BY_KEY[key], settings, (order.cold_horizon,)), data_hash, cold=True)
        for key in keys
    }


def _failed(jobs: Sequence[Job], failures: Sequence[Failure]) -> bool:
    return any(failure.job in jobs for failure in failures)


Tables = dict[str, tuple[pl.DataFrame, tuple[int, ...]]]
"""Method to its forecasts and the origins it was asked for."""


def _tables(store: Store, jobs: Mapping[str, Sequence[Job]], horizon: int) -> Tables:
    tables: Tables = {}
    for key, own in jobs.items():
        mine = [job for job in own if horizon in job.horizons]
        if not mine:
            continue
        parts = [table for job in mine if (table := store.table(job.name)) is not None]
        if len(parts) < len(mine):
            raise RuntimeError(f"{key}: a result has vanished from {store.folder} while the race was running")
        together = pl.concat(parts, how="vertical_relaxed").filter(pl.col("horizon_days") == horizon)
        tables[key] = (together, tuple(day for job in mine for day in job.origins))
    return tables


def _field(order: Order, dataset: Dataset, tables: Tables, horizon: int) -> Field:
    rows = Rows.of(dataset, order.course.origins, horizon)
    read = {key: rows.read(table, BY_KEY[key].label, origins) for key, (table, origins) in tables.items()}
    return Field(
        rows=rows,
        losses={key: rows.losses(forecasts) for key, forecasts in read.items()},
        volatility={key: forecasts["volatility"].to_numpy() for key, forecasts in read.items()},
        block_of=order.block_of,
    )


def standings(order: Order, field: Field, tables: Tables) -> dict[str, Any]:
    """Return all tables of one horizon: of methods on every row, and of all on the rows that all have."""
    racers = [key for key in tables if not BY_KEY[key].only_volatility]
    full = [key for key in racers if field.covered_by(key).all()]
    common = field.covered_by(*racers)
    speakers = [key for key in tables if BY_KEY[key].only_volatility or key == OURS]
    found: dict[str, Any] = {
        "n_rows": len(field.rows),
        "n_origins": len(np.unique(field.rows.day)),
        "scores": score_table(field, full, field.everywhere),
        "slices": {key: slice_table(field, key, field.everywhere) for key in full},
    }
    if len(full) < len(racers):
        found["common"] = score_table(field, racers, common)
        found["common_origins"] = len(np.unique(field.rows.day[common]))
    if OURS in racers:
        found["pairs"] = {key: pair_table(field, OURS, key) for key in racers if key != OURS}
        found["newborn"] = newborn_table(field, full, _cutoffs(order, field))
    if VOLATILITY_NAIVE in tables:
        found["volatility"] = volatility_table(field, speakers, VOLATILITY_NAIVE)
        peers = [key for key in speakers if key != OURS and OURS in speakers]
        found["volatility_pairs"] = {key: pair_table(field, OURS, key, ("qlike", "log")) for key in peers}
    return found


def _cutoffs(order: Order, field: Field) -> IntArray:
    """Return the cut-off that each row's trained models come from, shape (n,)."""
    legs = order.course.legs(order.course.origins)
    cutoff_of = {day: cutoff for cutoff, days in legs for day in days}
    return np.array([cutoff_of[day] for day in field.rows.day.tolist()], dtype=np.int64)


def _cold(
    order: Order, dataset: Dataset, store: Store, warm: Mapping[str, Sequence[Job]], cold: Mapping[str, Sequence[Job]]
) -> dict[str, Any]:
    horizon = order.cold_horizon
    both = [key for key in cold if key in warm]
    if not both:
        return {}
    held_out = held_out_strategies(dataset, order.course.held_out_share)
    field = _field(order, dataset, _tables(store, {key: warm[key] for key in {NAIVE, *both}}, horizon), horizon)
    cold_tables = _tables(store, {key: cold[key] for key in both}, horizon)
    losses = {key: field.rows.losses(field.rows.read(t, key, days)) for key, (t, days) in cold_tables.items()}
    return {
        "horizon_days": horizon,
        "n_held_out": len(held_out),
        "methods": {key: cold_table(field, key, losses[key], held_out) for key in both},
    }


def costs_of(store: Store, jobs: Sequence[Job]) -> dict[str, float]:
    """Return seconds and memory of a method's jobs: sums of training, the median for one origin, the peak of memory."""
    facts = [kept for job in jobs if (kept := store.facts(job.name)) is not None]
    seconds = [fact["seconds"] for fact in facts]
    return {
        "fit_seconds": float(np.nansum([one.get("fit", 0.0) for one in seconds])),
        "origin_seconds": float(np.median([one["origin"] for one in seconds])),
        "total_seconds": float(np.sum([one["total"] for one in seconds])),
        "answer_seconds": float(np.median([one.get("answer", np.nan) for one in seconds])),
        "features_seconds": float(np.median([one.get("features", np.nan) for one in seconds])),
        "peak_mb": float(np.max([fact["peak_mb"] for fact in facts])),
        "data_mb": float(np.median([fact["data_mb"] for fact in facts])),
        "n_jobs": len(facts),
    }


def _facts(order: Order, dataset: Dataset, data_hash: str) -> dict[str, Any]:
    course = order.course
    return {
        "data": {"name": dataset.name, "simulated": dataset.is_simulated, "sha256": data_hash},
        "start": course.start.isoformat(),
        "end": to_date(course.origins[-1]).isoformat(),
        "every_days": course.every_days,
        "n_origins": len(course.origins),
        "n_thinned_origins": len(course.thinned),
        "refits": [refit.isoformat() for refit in course.refits],
        "horizons": list(course.horizons),
        "methods": [method.key for method in order.racers],
        "held_out_share": course.held_out_share,
        "blocks": order.blocks,
        "settings": {name: value for name, value in order.settings.items() if name != "bundles"},
        "bundles": {to_date(day).isoformat(): str(path) for day, path in order.settings.get("bundles", {}).items()},
        "commit": code_version(),
        "source": asdict(course.source),
    }
