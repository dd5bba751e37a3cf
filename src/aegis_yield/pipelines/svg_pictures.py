"""Small pictures as SVG text, drawn without any library: they go on record beside every training and evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

WIDTH: Final = 760
HEIGHT: Final = 340
LEFT: Final = 64
RIGHT: Final = 160
TOP: Final = 44
BOTTOM: Final = 56
COLOURS: Final = ("#1f77b4", "#d1495b", "#66a182", "#edae49", "#7a5195", "#8c8c8c")
_N_TICKS: Final = 5
_MARGIN: Final = 0.05


def lines_svg(title: str, curves: Mapping[str, Sequence[float]]) -> str:
    """Draw curves over 1, 2, 3, …; values that are no numbers are left out.

    Parameters
    ----------
    title : str
        Above the picture.
    curves : mapping of str to sequence of float
        Values by name.

    Returns
    -------
    str
        The SVG document.
    """
    frame = _Frame(title, [value for values in curves.values() for value in values])
    longest = max((len(values) for values in curves.values()), default=1)
    for number, (name, values) in enumerate(curves.items()):
        points = [
            (frame.at(step, longest), frame.height_of(value))
            for step, value in enumerate(values)
            if math.isfinite(value)
        ]
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = f' stroke-dasharray="{_dashes(number)}"' if _dashes(number) else ""
        frame.add(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dashes}/>')
        frame.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{colour}"/>' for x, y in points]
        frame.legend(number, name)
    for step in {0, (longest - 1) // 2, longest - 1}:
        frame.label(frame.at(step, longest), str(step + 1))
    return frame.document()


def bars_svg(title: str, groups: Mapping[str, Mapping[str, float]], reference: float) -> str:
    """Draw bars side by side for each label, from a reference line up or down.

    Parameters
    ----------
    title : str
        Above the picture.
    groups : mapping
        Values by label, by name of the group.
    reference : float
        Where bars begin.

    Returns
    -------
    str
        The SVG document.
    """
    labels = list(dict.fromkeys(label for bars in groups.values() for label in bars))
    frame = _Frame(title, [reference, *(value for bars in groups.values() for value in bars.values())])
    room = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    thick = 0.8 * room / max(1, len(groups))
    base = frame.height_of(reference)
    for number, (name, bars) in enumerate(groups.items()):
        for label, value in bars.items():
            if math.isfinite(value):
                x, y = LEFT + room * (labels.index(label) + 0.1) + thick * number, frame.height_of(value)
                colour = COLOURS[number % len(COLOURS)]
                size = f'width="{thick:.1f}" height="{abs(y - base):.1f}"'
                tip = f"<title>{escape(name)}, {escape(label)}: {value:.3f}</title>"
                frame.add(f'<rect x="{x:.1f}" y="{min(y, base):.1f}" {size} fill="{colour}">{tip}</rect>')
        frame.legend(number, name)
    for number, label in enumerate(labels):
        frame.label(LEFT + room * (number + 0.5), label)
    frame.add(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base:.1f}" y2="{base:.1f}" stroke="#333"/>')
    return frame.document()


def _dashes(number: int) -> str:
    """Tell curves apart once the colours are used up."""
    return ("", "6 3", "2 2")[number // len(COLOURS) % 3]


class _Frame:
    """The sheet: scale, grid and legend."""

    def __init__(self, title: str, values: Sequence[float]) -> None:
        finite = [value for value in values if math.isfinite(value)] or [0.0]
        margin = _MARGIN * (max(finite) - min(finite)) or 0.5
        self._low, self._high = min(finite) - margin, max(finite) + margin
        self.parts = [f'<text x="{LEFT}" y="24" font-size="15" font-weight="600">{escape(title)}</text>']
        for tick in range(_N_TICKS + 1):
            value = self._low + (self._high - self._low) * tick / _N_TICKS
            y = self.height_of(value)
            self.add(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dde3ea"/>')
            self.add(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')

    def add(self, part: str) -> None:
        self.parts.append(part)

    def height_of(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    @staticmethod
    def at(step: int, n_steps: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step / (n_steps - 1) if n_steps > 1 else 0.5)

    def label(self, x: float, text: str) -> None:
        self.add(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" font-size="10.5" text-anchor="middle">{escape(text)}</text>'
        )

    def legend(self, number: int, name: str) -> None:
        y, colour = TOP + 18 * number, COLOURS[number % len(COLOURS)]
        x, dashes = WIDTH - RIGHT + 10, _dashes(number)
        line = f'x1="{x}" x2="{x + 16}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" stroke-width="6"'
        self.add(f'<line {line} stroke-dasharray="{dashes}"/>' if dashes else f"<line {line}/>")
        self.add(f'<text x="{WIDTH - RIGHT + 30}" y="{y}">{escape(name)}</text>')

    def document(self) -> str:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12" '
        style = 'font-family="system-ui, sans-serif" fill="#1f2d3d">'
        paper = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        return f"{head}{style}{paper}{''.join(self.parts)}</svg>\n"
