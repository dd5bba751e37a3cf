"""What the history looked like at a moment: the newest final rows ingested by then, and nothing provisional."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from aegis_yield.collection.history import History


@dataclass(frozen=True)
class View:
    """The history as of a moment.

    Attributes
    ----------
    history : History
        All revisions.
    as_of : datetime or None
        Only what was ingested by then; None for everything.
    """

    history: History
    as_of: dt.datetime | None = None

    def final(self, table: str, where: pl.Expr | None = None) -> pl.DataFrame:
        """Return the newest revision of every key of a table, without rows that can still change."""
        return self.history.latest(table, self.as_of, where).filter("is_final")

    def newest(self, table: str, where: pl.Expr | None = None) -> pl.DataFrame:
        """Return the newest revision of every key of a table, provisional ones too."""
        return self.history.latest(table, self.as_of, where)

    def series(self, source: str, name: str) -> pl.DataFrame:
        """Return ``date``, ``value`` of one daily series, final days only."""
        found = self.final("series_days", (pl.col("source") == source) & (pl.col("series") == name))
        return found.select("date", "value")
