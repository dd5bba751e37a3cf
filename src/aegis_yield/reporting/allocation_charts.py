"""Pictures of risk and allocation: where the capital goes, the efficient frontier, what may come of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from aegis_yield.portfolio.comparison import Alternative
from aegis_yield.portfolio.outcome import Outcome
from aegis_yield.reporting.charts import ACCENT, GREY, INK, PALETTE
from aegis_yield.utils.typing import FloatArray


def frontier_chart(curve: Sequence[Alternative], others: Sequence[Alternative], chosen: Outcome) -> go.Figure:
    """Show net APY against CVaR: the frontier, the allocation on it, and what people do today."""
    figure = go.Figure()
    figure.add_scatter(
        x=[point.outcome.cvar for point in curve],
        y=[point.outcome.net_apy for point in curve],
        mode="lines+markers",
        name="efficient frontier",
        line={"color": PALETTE[0], "width": 2},
        hovertemplate="aversion %{text}<br>CVaR %{x:.2%}, net APY %{y:.2%}<extra></extra>",
        text=[point.name for point in curve],
    )
    figure.add_scatter(
        x=[point.outcome.cvar for point in others],
        y=[point.outcome.net_apy for point in others],
        mode="markers+text",
        name="what people do today",
        text=[point.name for point in others],
        textposition="top center",
        marker={"color": GREY, "size": 9, "symbol": "x"},
        hovertemplate="%{text}<br>CVaR %{x:.2%}, net APY %{y:.2%}<extra></extra>",
    )
    figure.add_scatter(
        x=[chosen.cvar], y=[chosen.net_apy], mode="markers", name="this allocation",
        marker={"color": ACCENT, "size": 14, "symbol": "diamond"},
        hovertemplate="CVaR %{x:.2%}, net APY %{y:.2%}<extra></extra>",
    )  # fmt: skip
    return _laid_out(figure, "Income against risk", "CVaR 95 % of capital over the horizon", "expected net APY")


def outcome_chart(profits: FloatArray, probability: FloatArray, capital_usd: float) -> go.Figure:
    """Show what the scenarios bring: the ordinary ones as a distribution, the tail of events beside it."""
    share = profits / capital_usd
    low, high = np.quantile(share, [0.0, 1.0])
    edges = np.linspace(low, high, 81)
    mass, _ = np.histogram(share, bins=edges, weights=probability)
    figure = go.Figure()
    figure.add_bar(
        x=0.5 * (edges[1:] + edges[:-1]), y=mass, marker={"color": PALETTE[0]}, name="probability",
        hovertemplate="%{x:.2%}: %{y:.3%}<extra></extra>",
    )  # fmt: skip
    figure = _laid_out(figure, "What may come of it", "share of capital gained over the horizon", "probability (log)")
    figure.update_yaxes(type="log", tickformat=".2%")
    return figure


def _laid_out(figure: go.Figure, title: str, x_title: str, y_title: str) -> go.Figure:
    figure.update_layout(
        title={"text": title, "x": 0.0, "xanchor": "left"},
        template="plotly_white",
        height=420,
        margin={"l": 60, "r": 20, "t": 56, "b": 44},
        legend={"orientation": "h", "y": -0.2},
        font={"family": "system-ui, sans-serif", "color": INK},
    )
    figure.update_xaxes(title=x_title, tickformat=".2%")
    figure.update_yaxes(title=y_title, tickformat=".1%")
    return figure
