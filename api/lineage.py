"""Lineage: a recorded forecast, what became of it and what it was made from, without the machine's folders."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from aegis_yield.domain.errors import DataError
from aegis_yield.pipelines.record import open_store, store_path
from aegis_yield.pipelines.trace import trace_forecast


def lineage(forecast_id: str) -> dict[str, Any]:
    """Return a recorded forecast with its lineage.

    Parameters
    ----------
    forecast_id : str
        Its id, or the beginning of it.

    Raises
    ------
    HTTPException
        404 if no forecast, or more than one, has an id that begins so.
    AegisError
        If the store cannot be read.
    """
    if not store_path().is_file():
        raise _unknown(forecast_id)
    with closing(open_store(must_exist=True)) as store:
        try:
            store.find(forecast_id)
        except DataError as error:
            raise _unknown(forecast_id) from error
        return _public(trace_forecast(forecast_id, store))


def _unknown(forecast_id: str) -> HTTPException:
    detail = f"forecast {forecast_id!r}: no single recorded forecast has an id that begins so"
    return HTTPException(HTTPStatus.NOT_FOUND, detail)


def _public(found: dict[str, Any]) -> dict[str, Any]:
    forecast, bundle, data = found["forecast"], found["bundle"], found["dataset"]
    made = dt.date.fromisoformat(forecast["origin"])
    due = (made + dt.timedelta(days=forecast["horizon_days"])).isoformat()
    raw = [{**one, "file": Path(one["file"]).name} for one in found["raw_files"]]
    training = {name: value for name, value in found["training"].items() if name != "problem"}
    return {
        "forecast": {**forecast, "due": due},
        "bundle": {**bundle, "found": bundle["found"] is not None},
        "training": training,
        "dataset": {**data, "name": Path(data["name"]).name},
        "raw_files": raw,
    }
