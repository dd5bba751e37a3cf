"""What a simulated market may be asked for: how many strategies and days, until when, from which seed."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from aegis_yield.domain.errors import RequestError

MIN_STRATEGIES, MAX_STRATEGIES = 3, 20_000
MIN_DAYS, MAX_DAYS = 120, 5_000

LEAD_DAYS = 120
"""Days of market history before the first yield, so that the first origin has its market features."""


@dataclass(frozen=True)
class MarketSpec:
    """Size, span and seed of a simulated market.

    Parameters
    ----------
    n_strategies : int
        Number of strategies, 3 to 20,000. The first k of them are the same for every size.
    n_days : int
        Number of days with yields, 120 to 5,000.
    end : datetime.date
        Last day with yields (a UTC calendar date), not in the future.
    seed : int
        Seed of every random number, 0 or more.

    Raises
    ------
    RequestError
        When a parameter is outside what is allowed.
    """

    n_strategies: int = 60
    n_days: int = 1_200
    end: datetime.date = datetime.date(2025, 9, 30)
    seed: int = 7

    def __post_init__(self) -> None:
        _check_whole("n_strategies", self.n_strategies, MIN_STRATEGIES, MAX_STRATEGIES)
        _check_whole("n_days", self.n_days, MIN_DAYS, MAX_DAYS)
        _check_whole("seed", self.seed, 0, None)
        today = datetime.datetime.now(datetime.UTC).date()
        is_plain_date = isinstance(self.end, datetime.date) and not isinstance(self.end, datetime.datetime)
        if not is_plain_date or self.end > today:
            raise RequestError("end", self.end, f"a date up to today, {today.isoformat()} (UTC)")

    @property
    def start(self) -> datetime.date:
        """First day with yields."""
        return self.end - datetime.timedelta(days=self.n_days - 1)

    @property
    def market_start(self) -> datetime.date:
        """First day of the market table: `LEAD_DAYS` before the first yields."""
        return self.start - datetime.timedelta(days=LEAD_DAYS)


def _check_whole(name: str, value: object, low: int, high: int | None) -> None:
    """Refuse anything that is not a whole number between `low` and `high`."""
    allowed = f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise RequestError(name, value, allowed)
    if value < low or (high is not None and value > high):
        raise RequestError(name, value, allowed)
