"""The monitoring report: alarms, how forecasts turned out, inputs against training."""

from __future__ import annotations

from pathlib import Path

from aegis_yield.monitoring.rolling import ALARM_WINDOW_DAYS, NOMINAL
from aegis_yield.pipelines.monitor import MonitorReport
from aegis_yield.reporting.charts import bars_chart
from aegis_yield.reporting.forecast_page import SIMULATED_BANNER
from aegis_yield.reporting.html import Page
from aegis_yield.reporting.monitor_tables import shown


def write_monitor_page(report: MonitorReport, path: Path) -> None:
    """Write a monitoring report as one HTML file."""
    counts = report.counts
    page = Page(
        title="How the model is doing",
        lead=f"{report.today}: data to {report.data_end} ({report.data_age_days} days old), model "
        f"{report.model_version}. {counts['forecasts']:,} forecasts recorded, {counts['scored']:,} scored, "
        f"{counts['open']:,} still open.",
        banner=SIMULATED_BANNER if report.simulated else "",
    )
    for note in report.notes:
        page.paragraph(note)
    _alarms(page, report)
    _scores(page, report)
    _drifts(page, report)
    if report.recalibration:
        page.heading("What recalibration changes")
        for change in report.recalibration:
            page.paragraph(str(change))
    page.write(path)


def _alarms(page: Page, report: MonitorReport) -> None:
    page.heading("Alarms")
    if report.raised:
        page.table(["alarm", "since", "reason"], [[one.name, one.since, one.reason] for one in report.raised])
    else:
        page.paragraph(f"No alarm is raised; {len(report.alarms)} are watched.")
    if report.events:
        rows = [[event["day"], event["name"], event["kind"], event["reason"]] for event in report.events]
        page.table(["day", "alarm", "what", "reason"], rows, caption="What was raised and cleared, newest first.")


def _scores(page: Page, report: MonitorReport) -> None:
    page.heading("Forecasts that came due")
    if not report.scores:
        page.paragraph("No recorded forecast has come due yet; record some with: aegis predict --record")
        return
    rows = [
        [
            score.category, str(score.window_days), f"{score.n_outcomes:,}", shown(score.coverage, 100, " %", 1),
            shown(score.rel_mae, 1, "", 3), shown(score.bias, 100, " %", 2), shown(score.median_width, 100, " %", 2),
        ]
        for score in report.scores
    ]  # fmt: skip
    header = ["category", "days", "outcomes", "in the 90 % interval", "relMAE", "bias", "median width"]
    page.table(header, rows, caption="relMAE: error over that of the last value; below 1 is skill.")
    bars = {score.category: score.coverage for score in report.scores if score.window_days == ALARM_WINDOW_DAYS}
    if bars:
        title = f"Coverage of the 90 % interval over {ALARM_WINDOW_DAYS} days"
        page.figure(bars_chart(title, "coverage", {"observed": bars}, NOMINAL))


def _drifts(page: Page, report: MonitorReport) -> None:
    page.heading("Inputs against training")
    rows = [
        [drift.group, drift.feature, f"{drift.index:.2f}", f"{drift.usual:.2f}", f"{100 * drift.severity:.0f} %"]
        for drift in report.drifts
    ]
    if rows:
        header = ["group", "input", "stability index", "most in training", "of the threshold"]
        page.table(header, rows, caption="Population stability index of the last 14 days against training.")
