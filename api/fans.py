"""Fans: the forecast of one strategy at every horizon up to one, with all its quantiles."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from aegis_yield.domain.forecast import QUANTILE_COLUMNS, QUANTILE_LEVELS
from aegis_yield.pipelines.predict import Forecaster, Question

MAX_KEPT: Final = 500
"""Strategies whose fans are kept for one state, at most seven kilobytes each."""


@dataclass(frozen=True)
class Ray:
    """A strategy's forecast at one horizon.

    Attributes
    ----------
    apy, volatility : float
        Point forecasts, fraction per year.
    quantiles : tuple of float
        Of ``apy``, at :data:`QUANTILE_LEVELS`.
    as_of : str
        Day of the newest row used.
    """

    apy: float
    volatility: float
    quantiles: tuple[float, ...]
    as_of: str


class Fans:
    """The fans of one state, each made when it is first asked for.

    Parameters
    ----------
    forecaster : Forecaster
        The state.
    """

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self._kept: dict[str, list[Ray]] = {}
        self._turn = asyncio.Semaphore(1)  # a fan is up to thirty forecasts; requests for others wait for it

    async def at(self, strategy: str, horizon_days: int) -> dict[str, Any]:
        """Return a fan as plain values.

        Raises
        ------
        HistoryError
            If the strategy has too little history.
        """
        async with self._turn:
            rays = self._kept.pop(strategy, [])
            if len(rays) < horizon_days:
                more = range(len(rays) + 1, horizon_days + 1)
                rays = [*rays, *await asyncio.to_thread(lambda: [self._ray(strategy, days) for days in more])]
            self._kept[strategy] = rays
            while len(self._kept) > MAX_KEPT:
                self._kept.pop(next(iter(self._kept)))
        chosen = rays[:horizon_days]
        return {
            "strategy_id": strategy,
            "as_of": chosen[0].as_of,
            "horizons": list(range(1, horizon_days + 1)),
            "levels": list(QUANTILE_LEVELS),
            "apy": [list(ray.quantiles) for ray in chosen],
            "forecast_apy": [ray.apy for ray in chosen],
            "volatility": [ray.volatility for ray in chosen],
        }

    def _ray(self, strategy: str, horizon_days: int) -> Ray:
        answer = self._forecaster.ask(Question([strategy], horizon_days))
        row, table = answer.rows[0], answer.forecasts.row(0, named=True)
        quantiles = tuple(table[name] for name in QUANTILE_COLUMNS)
        return Ray(row.apy, row.volatility, quantiles, row.as_of.isoformat())
