"""Pictures of a race: heat maps of scores, forests of ratios, coverage by slice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from aegis_yield.reporting.charts import ACCENT, GREY, INK, PALETTE
from benchmarks.race.rows import LOSSES
from benchmarks.race.standings import OURS
from benchmarks.race.tables import LOSS_NAMES, label_of

_ROW_HEIGHT: Final = 26
_FEW: Final = 6


def _layout(figure: go.Figure, title: str, n_rows: int) -> go.Figure:
    figure.update_layout(
        title={"text": title, "x": 0.0, "xanchor": "left"},
        template="plotly_white",
        height=130 + _ROW_HEIGHT * max(n_rows, _FEW),
        margin={"l": 170, "r": 20, "t": 56, "b": 44},
        font={"family": "system-ui, sans-serif", "color": INK},
        legend={"orientation": "h", "y": -0.18},
    )
    return figure


def heat_map(title: str, values: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Show methods against labels; blue is better than the last value, red is worse.

    Parameters
    ----------
    title : str
    values : mapping of str to mapping
        Method to {label: ratio to the last value}.
    """
    labels = list(dict.fromkeys(label for row in values.values() for label in row))
    grid = np.array([[row.get(label, np.nan) for label in labels] for row in values.values()], dtype=float)
    figure = go.Figure(
        go.Heatmap(
            z=np.log(np.clip(grid, 0.25, 4.0)),
            x=labels,
            y=[label_of(key) for key in values],
            text=[[f"{value:.2f}" if value == value else "" for value in row] for row in grid],
            texttemplate="%{text}",
            colorscale="RdBu_r",
            zmid=0.0,
            zmin=-0.5,
            zmax=0.5,
            showscale=False,
            hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed")
    return _layout(figure, title, len(values))


def forest(title: str, pairs: Mapping[str, Any]) -> go.Figure:
    """Show ours over each peer with 95 % intervals, one colour per loss; left of one we are better."""
    figure = go.Figure()
    names = [label_of(key) for key in pairs]
    for at, loss in enumerate(LOSSES):
        ratios = [entry[loss] for entry in pairs.values()]
        figure.add_scatter(
            x=[ratio["value"] for ratio in ratios],
            y=[row + 0.22 * (at - 1) for row in range(len(names))],
            mode="markers",
            name=LOSS_NAMES[loss].removeprefix("rel"),
            marker={"color": PALETTE[at], "size": 8},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [ratio["high"] - ratio["value"] for ratio in ratios],
                "arrayminus": [ratio["value"] - ratio["low"] for ratio in ratios],
                "color": PALETTE[at],
            },
        )
    figure.add_vline(x=1.0, line={"color": GREY, "dash": "dot"})
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, autorange="reversed")
    figure.update_xaxes(title="ratio of losses, ours over the peer's")
    return _layout(figure, title, 2 * len(names))


def coverage_lines(title: str, slices: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Show the coverage of the three intervals by slice, with their levels."""
    figure = go.Figure()
    for at, level in enumerate((80, 90, 95)):
        values = [entry[f"cover{level}"] for entry in slices.values()]
        figure.add_scatter(
            x=list(slices), y=values, mode="lines+markers", name=f"{level} %", line={"color": PALETTE[at]}
        )
        figure.add_hline(y=level / 100, line={"color": PALETTE[at], "dash": "dot"})
    figure.update_yaxes(tickformat=".0%", title="share of outcomes inside")
    return _layout(figure, title, 10)


def horizon_lines(title: str, horizons: Mapping[str, Any], loss: str) -> go.Figure:
    """Show a score by horizon, one line per method that has all rows; ours in a colour of its own."""
    figure = go.Figure()
    keys = list(dict.fromkeys(key for found in horizons.values() for key in found["scores"]))
    for at, key in enumerate(keys):
        own = {f"{h} d": found["scores"][key][loss] for h, found in horizons.items() if key in found["scores"]}
        mine = key == OURS
        line = {"color": ACCENT if mine else PALETTE[at % len(PALETTE)], "width": 4 if mine else 1.5}
        line["dash"] = "solid" if mine or at < len(PALETTE) else "dash"
        figure.add_scatter(x=list(own), y=list(own.values()), mode="lines+markers", name=label_of(key), line=line)
    figure.add_hline(y=1.0, line={"color": GREY, "dash": "dot"})
    figure.update_yaxes(title=LOSS_NAMES[loss])
    return _layout(figure, title, 12)
