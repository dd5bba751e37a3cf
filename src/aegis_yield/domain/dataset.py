"""A dataset: the three tables of the data contract, already checked, and where they came from."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

import polars as pl

from aegis_yield.domain.errors import DataError

SIMULATED_SOURCE = "simulated"
"""Value of ``yields.source`` in every row that the simulated market made."""


@dataclass(frozen=True)
class Dataset:
    """The tables of DESIGN section 3 after validation.

    Attributes
    ----------
    yields : polars.DataFrame
        One row per strategy and day, sorted by both.
    strategies : polars.DataFrame
        One row per strategy: project, chain, symbol, category.
    market : polars.DataFrame
        One row per day; only ``date`` is certain.
    name : str
        Where the tables came from, for people: a folder, or ``"simulated market (seed 7)"``.
    """

    yields: pl.DataFrame
    strategies: pl.DataFrame
    market: pl.DataFrame
    name: str

    @property
    def is_simulated(self) -> bool:
        """Whether any row was simulated (and the dataset must say so wherever it is shown)."""
        if "source" not in self.yields.columns:
            return False
        return bool((self.yields["source"] == SIMULATED_SOURCE).any())

    @property
    def last_date(self) -> dt.date:
        """The latest day with a yield."""
        last = self.yields["date"].max()
        if not isinstance(last, dt.date):
            raise DataError(f"{self.name}: received no rows of yields, at least one is needed; collect data first")
        return last

    @property
    def first_date(self) -> dt.date:
        """The earliest day with a yield."""
        first = self.yields["date"].min()
        if not isinstance(first, dt.date):
            raise DataError(f"{self.name}: received no rows of yields, at least one is needed; collect data first")
        return first

    def known_at(self, origin: dt.date) -> Dataset:
        """Return the dataset as it was known at the end of ``origin``: no row dated later."""
        return replace(
            self,
            yields=self.yields.filter(pl.col("date") <= origin),
            market=self.market.filter(pl.col("date") <= origin),
        )
