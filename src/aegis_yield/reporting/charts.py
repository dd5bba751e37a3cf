"""Pictures of forecasts and scores, as Plotly figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import plotly.graph_objects as go
import polars as pl

from aegis_yield.utils.typing import FloatArray

INK: Final = "#1f3a5f"
BAND: Final = "rgba(31, 119, 180, {alpha})"
ACCENT: Final = "#d1495b"
GREY: Final = "#7a8594"
OUTER: Final = ("q05", "q95")
INNER: Final = ("q25", "q75")
PALETTE: Final = ("#1f77b4", "#d1495b", "#66a182", "#edae49", "#7a5195", "#8c8c8c")


def _layout(figure: go.Figure, title: str, y_title: str, y_format: str) -> go.Figure:
    figure.update_layout(
        title={"text": title, "x": 0.0, "xanchor": "left"},
        template="plotly_white",
        height=380,
        margin={"l": 60, "r": 20, "t": 56, "b": 44},
        hovermode="x unified",
        legend={"orientation": "h", "y": -0.18},
        font={"family": "system-ui, sans-serif", "color": INK},
    )
    figure.update_yaxes(title=y_title, tickformat=y_format)
    return figure


def _band(figure: go.Figure, table: pl.DataFrame, x: str, ends: tuple[str, str], label: str) -> None:
    dates = table[x].to_list()
    low, high = (table[end].to_numpy() for end in ends)
    colour = BAND.format(alpha=0.15 if ends == OUTER else 0.30)
    figure.add_scatter(x=dates, y=low, mode="lines", line={"width": 0}, showlegend=False, hoverinfo="skip")
    figure.add_scatter(
        x=dates, y=high, mode="lines", line={"width": 0}, fill="tonexty", fillcolor=colour, name=label, hoverinfo="skip"
    )


def walk_chart(title: str, forecasts: pl.DataFrame, horizon_days: int) -> go.Figure:
    """Show one strategy's forecasts through time with their intervals, and what was paid.

    Parameters
    ----------
    title : str
        Name of the strategy.
    forecasts : polars.DataFrame
        The strategy's rows of the forecast table.
    horizon_days : int
        Days ahead.
    """
    table = forecasts.sort("origin")
    origins = table["origin"].to_list()
    figure = go.Figure()
    _band(figure, table, "origin", OUTER, "90 % interval")
    _band(figure, table, "origin", INNER, "50 % interval")
    figure.add_scatter(x=origins, y=table["apy"].to_numpy(), mode="lines", name="forecast", line={"color": INK})
    figure.add_scatter(
        x=origins,
        y=table["actual_apy"].to_numpy(),
        mode="markers",
        name="paid",
        marker={"color": ACCENT, "size": 6},
    )
    return _layout(figure, title, f"APY over the next {horizon_days} days", ".2%")


def fan_chart(title: str, history: pl.DataFrame, fan: pl.DataFrame) -> go.Figure:
    """Show a strategy's recent rate and what the next days will pay on average, by horizon.

    Parameters
    ----------
    title : str
        Name of the strategy.
    history : polars.DataFrame
        Columns date and apy.
    fan : polars.DataFrame
        Columns date (origin + horizon), horizon_days, apy and quantiles, one row per horizon.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=history["date"].to_list(),
        y=history["apy"].to_numpy(),
        mode="lines",
        name="daily APY",
        line={"color": GREY, "width": 1.5},
    )
    dates = fan["date"].to_list()
    _band(figure, fan, "date", OUTER, "90 % interval")
    _band(figure, fan, "date", INNER, "50 % interval")
    figure.add_scatter(
        x=dates,
        y=fan["apy"].to_numpy(),
        mode="lines+markers",
        name="average APY to this day, forecast",
        line={"color": INK},
    )
    return _layout(figure, title, "APY", ".2%")


def calibration_chart(curves: dict[str, dict[float, float]]) -> go.Figure:
    """Show nominal levels against the share of outcomes below each quantile.

    Parameters
    ----------
    curves : dict
        Forecaster to {nominal level: observed share}.
    """
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name="perfect", line={"color": GREY, "dash": "dot"})
    for (name, curve), colour in zip(curves.items(), _colours(), strict=False):
        figure.add_scatter(
            x=list(curve), y=list(curve.values()), mode="lines+markers", name=name, line={"color": colour}
        )
    figure.update_xaxes(title="nominal quantile level", tickformat=".0%", range=[0, 1])
    return _layout(figure, "Calibration: share of outcomes below each forecast quantile", "observed share", ".0%")


def bars_chart(
    title: str, y_title: str, groups: dict[str, dict[str, float]], reference: float | None = None
) -> go.Figure:
    """Show grouped bars: forecaster to {label: value}, with an optional reference line."""
    figure = go.Figure()
    for (name, bars), colour in zip(groups.items(), _colours(), strict=False):
        figure.add_bar(x=list(bars), y=list(bars.values()), name=name, marker={"color": colour})
    if reference is not None:
        figure.add_hline(y=reference, line={"color": GREY, "dash": "dot"})
    return _layout(figure, title, y_title, ".2f")


def coverage_chart(title: str, coverage: dict[str, float], nominal: float) -> go.Figure:
    """Show the coverage of an interval by label, with its nominal level."""
    figure = go.Figure()
    figure.add_scatter(
        x=list(coverage),
        y=list(coverage.values()),
        mode="lines+markers",
        name="observed",
        line={"color": INK},
    )
    figure.add_hline(y=nominal, line={"color": GREY, "dash": "dot"})
    figure = _layout(figure, title, "coverage", ".0%")
    values = [*coverage.values(), nominal]
    figure.update_yaxes(range=[max(0.0, min(values) - 0.1), 1.0])
    return figure


def observed_shares(actual: FloatArray, quantiles: FloatArray, levels: Sequence[float]) -> dict[float, float]:
    """Return, for each level, the share of known outcomes at or below the forecast quantile."""
    known = np.isfinite(actual)
    below = actual[known, None] <= quantiles[known]
    return {float(level): float(below[:, i].mean()) for i, level in enumerate(levels)} if known.any() else {}


def _colours() -> list[str]:
    return [*PALETTE]
