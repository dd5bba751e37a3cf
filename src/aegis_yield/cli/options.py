"""Options that several commands share, declared once."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from aegis_yield.domain.errors import RequestError

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Dataset folder. Default: data/processed if it holds tables, else the simulated market.",
    ),
]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        help="A path, a version (4, lstm_v4) or an alias (champion). Default: the champion, else the newest.",
    ),
]
HorizonOption = Annotated[int, typer.Option("--horizon", help="Days ahead, 1 to 30.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def parse_date(name: str, text: str | None) -> dt.date | None:
    """Return an ISO date, or None for none.

    Raises
    ------
    RequestError
        If the text is no date.
    """
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise RequestError(name, text, "a date such as 2025-09-30") from error
