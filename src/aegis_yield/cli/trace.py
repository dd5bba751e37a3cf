"""``aegis trace``: from a number back to what it was made from."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Annotated

import typer

from aegis_yield.cli.options import JsonFlag
from aegis_yield.cli.shared import out


def trace(
    forecast_id: Annotated[str, typer.Argument(help="Id of a recorded forecast, or its first characters.")],
    as_json: JsonFlag = False,
) -> None:
    """Follow a forecast back to model file, training run, tables and raw answers.

    Examples:

      aegis trace 5f3a9c21
    """
    from aegis_yield.pipelines.record import open_store
    from aegis_yield.pipelines.trace import trace_forecast
    from aegis_yield.reporting.monitor_tables import trace_table

    with closing(open_store(must_exist=True)) as store:
        found = trace_forecast(forecast_id, store)
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
    else:
        out.print(trace_table(found))
