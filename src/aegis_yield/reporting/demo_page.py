"""The demo's report: what strategies will pay, what can go wrong, and where a million dollars should go."""

from __future__ import annotations

from pathlib import Path

from aegis_yield.pipelines.allocate import AllocationReport
from aegis_yield.pipelines.predict import Answer, Forecaster
from aegis_yield.pipelines.risk import RiskReport
from aegis_yield.reporting.allocation_page import add_allocation, add_risk
from aegis_yield.reporting.forecast_page import add_forecast, forecast_page


def write_demo_page(
    forecaster: Forecaster, answer: Answer, rest: tuple[RiskReport, AllocationReport], path: Path
) -> None:
    """Write forecast, risk and allocation as one HTML file.

    Parameters
    ----------
    forecaster : Forecaster
        That gave the answer.
    answer : Answer
        The forecast.
    rest : tuple of RiskReport and AllocationReport
        The risk of the same strategies, and an allocation over all.
    path : Path
        Where the page goes.
    """
    risks, allocation = rest
    page = forecast_page(forecaster, answer)
    add_forecast(page, forecaster, answer)
    page.heading(f"What can go wrong in {risks.horizon_days} days")
    add_risk(page, risks)
    capital = allocation.allocation.problem.holdings.capital_usd
    page.heading(f"Where {capital:,.0f} USD should go for {allocation.horizon_days} days")
    add_allocation(page, allocation)
    page.write(path)
