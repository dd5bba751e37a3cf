"""Recording: forecasts go into the store as they are made, with what they were made from."""

from __future__ import annotations

import datetime as dt
import json
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aegis_yield.domain.dataset import Dataset
from aegis_yield.domain.errors import DataError
from aegis_yield.domain.forecast import QUANTILE_COLUMNS
from aegis_yield.monitoring.records import Lineage, MadeForecast
from aegis_yield.monitoring.store import ForecastStore
from aegis_yield.pipelines.datasets import content_hash
from aegis_yield.utils.files import sha256_of
from aegis_yield.utils.project import project_root

if TYPE_CHECKING:
    from aegis_yield.pipelines.predict import Answer

SETTING: Final = "AEGIS_MONITORING"
MANIFEST: Final = "manifest.json"
"""Written beside tables that were collected."""


def store_path() -> Path:
    """Return where forecasts are recorded: ``AEGIS_MONITORING``, else ``data/monitoring/forecasts.sqlite``."""
    chosen = os.environ.get(SETTING)
    return Path(chosen).expanduser() if chosen else project_root() / "data" / "monitoring" / "forecasts.sqlite"


def open_store(path: Path | None = None, *, must_exist: bool = False) -> ForecastStore:
    """Open the forecast store.

    Parameters
    ----------
    path : Path, optional
        By default :func:`store_path`.
    must_exist : bool
        Refuse instead of making an empty one.

    Raises
    ------
    DataError
        If it is missing or no store.
    """
    chosen = path or store_path()
    if must_exist and not chosen.is_file():
        raise DataError(f"{chosen}: no forecasts are recorded yet; record some with: aegis predict --record")
    return ForecastStore(chosen)


def lineage_of(dataset: Dataset, bundle: Path) -> Lineage:
    """Return from what the forecasts of a bundle on a dataset are made."""
    return Lineage(
        bundle=bundle.name,
        bundle_sha256=sha256_of(bundle),
        dataset=dataset.name,
        dataset_sha256=content_hash(dataset),
        simulated=dataset.is_simulated,
        manifest=_manifest(Path(dataset.name)),
    )


def record_forecasts(answer: Answer, store: ForecastStore | None = None) -> list[str]:
    """Record an answer's forecasts, all or none, and return their ids in the order of its rows.

    Parameters
    ----------
    answer : Answer
        As a forecaster that was opened from files gave it.
    store : ForecastStore, optional
        By default the project's, opened for this call.

    Raises
    ------
    DataError
        If the answer does not know from which files it was made, or the store cannot be written.
    """
    if answer.lineage is None:
        raise DataError("the answer does not say from which model file it was made; open the forecaster from files")
    if store is None:
        with closing(open_store()) as own:
            return record_forecasts(answer, own)
    return store.record(answer.lineage, _made(answer), dt.datetime.now(dt.UTC))


def _made(answer: Answer) -> list[MadeForecast]:
    quantiles = {row["strategy_id"]: row for row in answer.forecasts.iter_rows(named=True)}
    return [
        MadeForecast(
            strategy_id=row.strategy_id,
            category=row.category,
            origin=row.as_of,
            horizon_days=answer.question.horizon_days,
            apy=row.apy,
            volatility=row.volatility,
            last_apy=row.last_apy,
            quantiles=tuple(quantiles[row.strategy_id][name] for name in QUANTILE_COLUMNS),
        )
        for row in answer.rows
    ]


def _manifest(folder: Path) -> dict[str, Any]:
    """Return what the collection wrote beside the tables; empty if there is nothing readable."""
    try:
        content = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
