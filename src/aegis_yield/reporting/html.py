"""Pages of tables and pictures in one file: no foreign host, opens offline."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plotly.offline

from aegis_yield.utils.files import write_text_atomically

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2d3d; margin: 0 auto; max-width: 72rem; padding: 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; display: block; overflow-x: auto; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid #dde3ea; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, th.text, td.text { text-align: left; }
td.text { white-space: normal; min-width: 18rem; }
caption { text-align: left; color: #55606e; padding-bottom: .25rem; }
.banner { background: #fff3cd; border: 2px solid #b58900; color: #5c4400; padding: .6rem 1rem; font-weight: 600; }
.note { color: #55606e; } footer { margin-top: 3rem; color: #55606e; font-size: .85rem; }
"""


_LONG_CELL = 40
"""A column with a longer cell holds sentences, not numbers."""


def _cells(row: Sequence[str], kind: Sequence[str]) -> list[str]:
    return [f"<td{text}>{html.escape(cell)}</td>" for cell, text in zip(row, kind, strict=False)]


@dataclass
class Page:
    """A page being filled from top to bottom.

    Attributes
    ----------
    title : str
        Heading.
    lead : str
        One sentence under it.
    banner : str
        Warning shown first, e.g. that data is simulated; empty for none.
    """

    title: str
    lead: str
    banner: str = ""
    _parts: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Add a section heading."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Add a paragraph of plain text."""
        self._parts.append(f'<p class="note">{html.escape(text)}</p>')

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> None:
        """Add a table of text cells."""
        n_columns = max([len(header), *map(len, rows)])
        longest = [max((len(row[at]) for row in rows if at < len(row)), default=0) for at in range(n_columns)]
        kind = [' class="text"' if at and longest[at] > _LONG_CELL else "" for at in range(n_columns)]
        named = zip(header, kind, strict=False)
        head = "".join(f'<th scope="col"{text}>{html.escape(cell)}</th>' for cell, text in named)
        body = "".join("<tr>" + "".join(_cells(row, kind)) + "</tr>" for row in rows)
        title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
        self._parts.append(f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def figure(self, figure: Any) -> None:
        """Add a Plotly figure."""
        self._parts.append(figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False}))

    def write(self, path: Path) -> None:
        """Write the page, whole or not at all."""
        banner = f'<p class="banner" role="alert">{html.escape(self.banner)}</p>' if self.banner else ""
        write_text_atomically(
            path,
            f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self.title)}</title>"
            f"<style>{_STYLE}</style><script>{plotly.offline.get_plotlyjs()}</script></head><body>"
            f"{banner}<h1>{html.escape(self.title)}</h1><p>{html.escape(self.lead)}</p>"
            f"{''.join(self._parts)}<footer>Aegis Yield. Forecasts are not advice; intervals are promises about "
            f"frequencies, not about any single week.</footer></body></html>",
        )
