"""``aegis monitor``: whether the model still does what it promised."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from aegis_yield.cli.options import DataOption, JsonFlag, ModelOption, parse_date
from aegis_yield.cli.shared import notes, out, say

EXIT_ALARM: Final = 3


def monitor(
    data: DataOption = None,
    model: ModelOption = None,
    today: Annotated[str | None, typer.Option(help="Day of the report. Default: today (UTC).")] = None,
    prometheus: Annotated[Path | None, typer.Option(help="Write Prometheus text to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with pictures to this file.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Leave with code 3 while an alarm is raised.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Score recorded forecasts, watch feeds and inputs, and say which alarms are raised.

    Forecasts are recorded with `aegis predict --record`. Run it after each collection, from cron for example.

    Examples:

      aegis monitor

      aegis monitor --prometheus /var/lib/node_exporter/aegis.prom --html reports/monitor.html --strict
    """
    from aegis_yield.pipelines.monitor import MonitorOrder, report_to_json
    from aegis_yield.pipelines.monitor import monitor as run
    from aegis_yield.pipelines.predict import Forecaster
    from aegis_yield.pipelines.record import open_store
    from aegis_yield.reporting.monitor_tables import monitor_tables

    day = parse_date("today", today) or dt.datetime.now(dt.UTC).date()
    forecaster = Forecaster.open(data, model)
    with closing(open_store()) as store:
        report = run(MonitorOrder(forecaster.dataset, forecaster.bundle, forecaster.model_version, store, day))
    if prometheus is not None:
        from aegis_yield.reporting.monitor_prometheus import prometheus_text
        from aegis_yield.utils.files import write_text_atomically

        write_text_atomically(prometheus, prometheus_text(report))
        say(f"Prometheus text: {prometheus}")
    if html is not None:
        from aegis_yield.reporting.monitor_page import write_monitor_page

        write_monitor_page(report, html)
        say(f"report: {html}")
    if as_json:
        typer.echo(json.dumps(report_to_json(report), indent=2, allow_nan=False))
    else:
        out.print(monitor_tables(report))
    for note in report.notes:
        notes.print(f"[yellow]note:[/] {escape(note)}")
    if strict and report.raised:
        raise typer.Exit(EXIT_ALARM)
