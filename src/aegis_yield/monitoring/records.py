"""What is remembered of a forecast: its numbers, from what it was made, and what came."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ID_CHARS: Final = 16


@dataclass(frozen=True)
class World:
    """Of which market forecasts speak: there is one real one, and as many simulated ones as there are tables of them.

    Strategies have the same names in all of them; what was paid in one says nothing about a forecast in another.

    Attributes
    ----------
    simulated : bool
        Whether it is a simulated one.
    dataset : str
        Name of the tables; of the real market there may be several.
    """

    simulated: bool
    dataset: str

    @property
    def key(self) -> str:
        """What events of it are kept under."""
        return f"simulated {self.dataset}" if self.simulated else "real"

    def note(self, name: str) -> str:
        """Return the name of a state that belongs to these tables."""
        return f"{name} simulated {self.dataset}" if self.simulated else f"{name} {self.dataset}"


@dataclass(frozen=True)
class Lineage:
    """From what forecasts were made.

    Attributes
    ----------
    bundle, bundle_sha256 : str
        File name and hash of the model.
    dataset, dataset_sha256 : str
        Name of the tables and hash of their content.
    simulated : bool
        Whether the tables are simulated.
    run_id : str
        Of the training run that made the bundle, where it is known.
    manifest : mapping
        What the collection wrote beside the tables; empty for tables that were not collected.
    """

    bundle: str
    bundle_sha256: str
    dataset: str
    dataset_sha256: str
    simulated: bool
    run_id: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def forecast_id(self, strategy_id: str, origin: dt.date, horizon_days: int) -> str:
        """Return the id of one forecast: the same model, tables, strategy, origin and horizon give the same."""
        parts = (self.bundle_sha256, self.dataset_sha256, strategy_id, origin.isoformat(), str(horizon_days))
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:ID_CHARS]


@dataclass(frozen=True)
class MadeForecast:
    """One forecast as it was given out.

    Attributes
    ----------
    strategy_id, category : str
        Of what.
    origin : datetime.date
        Day of the newest row used.
    horizon_days : int
        Days ahead.
    apy, volatility, last_apy : float
        Point forecasts, and the rate of the origin.
    quantiles : tuple of float
        Of ``apy``, at the levels that every forecast carries.
    """

    strategy_id: str
    category: str
    origin: dt.date
    horizon_days: int
    apy: float
    volatility: float
    last_apy: float
    quantiles: tuple[float, ...]

    @property
    def due(self) -> dt.date:
        """Day with which the horizon ends."""
        return self.origin + dt.timedelta(days=self.horizon_days)


@dataclass(frozen=True)
class KeptForecast:
    """A forecast in the store.

    Attributes
    ----------
    id : str
        Its name.
    made_at : str
        When it was recorded first, UTC.
    made : MadeForecast
        Its numbers.
    actual_apy, actual_volatility : float or None
        What came; None until it is known, and for good where days of the horizon are missing.
    scored_at : str
        When the outcome was looked at; empty if it was not yet.
    """

    id: str
    made_at: str
    made: MadeForecast
    actual_apy: float | None = None
    actual_volatility: float | None = None
    scored_at: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a forecast; None where it can never be known."""

    forecast_id: str
    apy: float | None
    volatility: float | None
