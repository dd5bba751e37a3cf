"""Trace: from a forecast back to its model, the training behind it, the tables and the raw answers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from aegis_yield.domain.errors import AegisError, BundleError
from aegis_yield.domain.forecast import QUANTILE_COLUMNS
from aegis_yield.monitoring.records import KeptForecast, Lineage
from aegis_yield.monitoring.store import ForecastStore
from aegis_yield.preprocessing.origins import history_before
from aegis_yield.preprocessing.panel import to_date, to_day
from aegis_yield.registry import candidate_models, models_folder
from aegis_yield.utils.files import sha256_of


def trace_forecast(forecast_id: str, store: ForecastStore) -> dict[str, Any]:
    """Follow a recorded forecast back to what it was made from.

    Parameters
    ----------
    forecast_id : str
        Its id, or the beginning of it.
    store : ForecastStore
        Where it was recorded.

    Returns
    -------
    dict
        Plain values: ``forecast``, ``bundle``, ``training``, ``dataset`` and ``raw_files``. What cannot be found any
        more is said to be missing; that is an answer, not an error.

    Raises
    ------
    DataError
        If no forecast of that id is recorded.
    """
    kept, lineage = store.find(forecast_id)
    path = _bundle_path(lineage)
    return {
        "forecast": _forecast(kept),
        "bundle": {
            "file": lineage.bundle,
            "sha256": lineage.bundle_sha256,
            "found": None if path is None else str(path),
        },
        "training": _training(lineage, path),
        "dataset": _dataset(lineage),
        "raw_files": list(raw_files(lineage, kept)),
    }


def raw_files(lineage: Lineage, kept: KeptForecast) -> list[dict[str, Any]]:
    """Return the raw answers whose rows a forecast's inputs were made of; empty if the tables were not collected.

    Parameters
    ----------
    lineage : Lineage
        Its manifest says when the tables were made: what came later is left out.
    kept : KeptForecast
        Its strategy, and the days that its inputs reach back.
    """
    if not lineage.manifest:
        return []
    # What collects is heavy and needs its extra: only tables that were collected ask for it.
    from aegis_yield.collection.catalogue import load_catalogue
    from aegis_yield.collection.history import History
    from aegis_yield.collection.journal import Journal
    from aegis_yield.collection.raw import RawZone
    from aegis_yield.collection.units import Demand
    from aegis_yield.pipelines.collect import CollectionFolder

    folder = CollectionFolder(Path(lineage.dataset).parent)
    if not folder.journal.is_file():
        return []
    wanted = _demands(load_catalogue(), kept.made.strategy_id, Path(lineage.dataset))
    with closing(Journal(folder.journal)) as journal:
        units = {unit["id"][:12]: Demand(unit["source"], unit["dataset"], unit["entity"]) for unit in journal.units()}
    first = to_date(history_before(to_day(kept.made.origin)))
    # The manifest's time is cut to whole seconds.
    made_at = dt.datetime.fromisoformat(str(lineage.manifest["made_at"])) + dt.timedelta(seconds=1)
    raw, found = RawZone(folder.raw), []
    for raw_id in sorted(set(_in_force(History(folder.processed / "history"), (first, kept.made.origin), made_at))):
        demand = units.get(raw_id.rpartition("-")[2])
        if demand in wanted and demand is not None:
            path = raw.path_of(demand, raw_id)
            found.append({**asdict(demand), "raw_id": raw_id, "file": str(path), "exists": path.is_file()})
    return found


def _in_force(history: Any, days: tuple[dt.date, dt.date], made_at: dt.datetime) -> Iterator[str]:
    """Yield the answers that held for these days when the tables were made."""
    from aegis_yield.collection.schemas import TABLES

    for name, spec in TABLES.items():
        when = next((column for column in ("date", "time") if column in spec.columns), None)
        where = None if when is None else pl.col(when).cast(pl.Date).is_between(*days)
        yield from history.latest(name, made_at, where)["raw_id"].unique()


def _demands(catalogue: Any, strategy: str, tables: Path) -> set[Any]:
    """Return what was asked of the sources for a strategy and for the market."""
    from aegis_yield.collection.units import Demand

    if strategy in catalogue.by_id:
        return set(catalogue.demands([strategy]))
    described = pl.read_parquet(tables / "strategies.parquet", glob=False)
    pools = described.filter(pl.col("strategy_id") == strategy).to_dict(as_series=False).get("llama_id", [])
    return {*catalogue.demands([]), *(Demand("defillama", "chart", str(pool)) for pool in pools)}


def _forecast(kept: KeptForecast) -> dict[str, Any]:
    made = kept.made
    return {
        "id": kept.id,
        "made_at": kept.made_at,
        "strategy_id": made.strategy_id,
        "category": made.category,
        "origin": made.origin.isoformat(),
        "horizon_days": made.horizon_days,
        "apy": made.apy,
        "volatility": made.volatility,
        "last_apy": made.last_apy,
        "quantiles": dict(zip(QUANTILE_COLUMNS, made.quantiles, strict=True)),
        "actual_apy": kept.actual_apy,
        "actual_volatility": kept.actual_volatility,
    }


def _bundle_path(lineage: Lineage) -> Path | None:
    """Return where the very bytes of the model lie, if they still do."""
    folder = models_folder()
    try:
        known = [folder / lineage.bundle, *candidate_models()]
    except BundleError:
        known = [folder / lineage.bundle]
    for path in known:
        if path.name == lineage.bundle and path.is_file() and sha256_of(path) == lineage.bundle_sha256:
            return path
    return None


def _training(lineage: Lineage, path: Path | None) -> dict[str, Any]:
    run = {"run_id": lineage.run_id or _run_id(lineage)}
    if path is None:
        return {**run, "provenance": None}
    from aegis_yield.models.bundle import load_bundle

    try:
        held = load_bundle(path).provenance
    except AegisError as error:
        return {**run, "provenance": None, "problem": str(error)}
    names = ("project_version", "commit", "data", "split", "plan", "metrics", "calibrated")
    return {**run, **{name: held.get(name) for name in names}}


def _run_id(lineage: Lineage) -> str | None:
    """Return the tracked run that made the model, if it was recorded from here."""
    from aegis_yield.registry.outbox import receipt_of
    from aegis_yield.registry.settings import TrackingSettings

    receipt = receipt_of(TrackingSettings.of(models_folder()).folder, Path(lineage.bundle).stem)
    return receipt.run_id if receipt is not None and receipt.sha256 == lineage.bundle_sha256 else None


def _dataset(lineage: Lineage) -> dict[str, Any]:
    recorded = lineage.manifest.get("sha256", {})
    return {
        "name": lineage.dataset,
        "sha256": lineage.dataset_sha256,
        "simulated": lineage.simulated,
        "made_at": lineage.manifest.get("made_at"),
        "code": lineage.manifest.get("code"),
        "files": dict(recorded),
        "still_the_same": _still_the_same(Path(lineage.dataset), recorded) if recorded else None,
    }


def _still_the_same(folder: Path, recorded: Mapping[str, str]) -> bool:
    return all((folder / name).is_file() and sha256_of(folder / name) == digest for name, digest in recorded.items())
