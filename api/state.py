"""State: what a request is answered from, read once, and whether its data is young enough to be given out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request

from aegis_yield.domain.errors import AegisError, DataError
from api.freshness import Keeper, Served, part_of
from api.settings import ServiceSettings

N_NAMED: Final = 10
"""Strategies with old data that a warning names; the others are counted."""


async def served_of(request: Request) -> Served:
    """Read what is served, once for a request: its whole answer comes from one model and one state of the tables.

    Raises
    ------
    AegisError
        If nothing could be loaded.
    """
    served: Served | None = request.app.state.served
    if served is None:
        keeper: Keeper = request.app.state.keeper
        # What is missing, without the machine's paths: those are in the log.
        reason = f"{part_of(keeper.failure)} of this service could not be loaded; its log says why"
        raise AegisError(f"not ready: {reason}") from keeper.failure
    return served


async def settings_of(request: Request) -> ServiceSettings:
    """Return the settings that the service was started with."""
    settings: ServiceSettings = request.app.state.settings
    return settings


Current = Annotated[Served, Depends(served_of)]
"""What a request is answered from, however old."""

Settings = Annotated[ServiceSettings, Depends(settings_of)]
"""The settings that the service was started with."""


@dataclass(frozen=True)
class AgeRule:
    """How old real data may be; simulated data has no age, its days are made up.

    Attributes
    ----------
    warn_days, max_days : int
        Older than the first: with a warning. Older than the second: not at all.
    today : datetime.date
        UTC.
    """

    warn_days: int
    max_days: int
    today: dt.date

    @classmethod
    def of(cls, settings: ServiceSettings) -> AgeRule:
        """Return the rule of the settings, as of today."""
        return cls(settings.service.warn_age_days, settings.service.max_age_days, dt.datetime.now(dt.UTC).date())

    def check(self, served: Served) -> None:
        """Refuse tables that are too old.

        Raises
        ------
        DataError
            If they are.
        """
        last = served.last_date
        if not served.simulated and self._age(last) > self.max_days:
            raise DataError(f"the data ends on {last}, {self._older(last, self.max_days)}; collect newer data")

    def warnings(self, served: Served, newest: Iterable[tuple[str, dt.date]]) -> list[str]:
        """Return what to say of the age of tables, and of strategies by the day of their newest row.

        Raises
        ------
        DataError
            If the tables or the rows of one are too old.
        """
        if served.simulated:
            return []
        self.check(served)
        old = [(name, day) for name, day in newest if self._age(day) > self.warn_days]
        for name, day in old:
            if self._age(day) > self.max_days:
                raise DataError(f"{name}: the newest row is of {day}, {self._older(day, self.max_days)}; leave it out")
        last = served.last_date
        if self._age(last) > self.warn_days:
            return [f"the data ends on {last}, {self._older(last, self.warn_days)}"]
        found = [f"{name}: the newest row is of {day}, {self._older(day, self.warn_days)}" for name, day in old]
        return [*found[:N_NAMED], *([f"and {len(found) - N_NAMED} more such strategies"] if found[N_NAMED:] else [])]

    def _age(self, day: dt.date) -> int:
        return (self.today - day).days

    def _older(self, day: dt.date, limit: int) -> str:
        return f"{self._age(day)} days ago, older than the {limit} days that are allowed"
