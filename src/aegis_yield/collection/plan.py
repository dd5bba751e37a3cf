"""The plan of a run: what will be asked of which host, how often, and about how long that takes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from aegis_yield.collection.catalogue import Catalogue, spec_of
from aegis_yield.collection.runner import Moment
from aegis_yield.collection.settings import CollectionSettings
from aegis_yield.collection.sources import DATASETS
from aegis_yield.collection.units import Demand, WorkUnit
from aegis_yield.domain.errors import RequestError, UnknownStrategyError

POOL_LISTS: Final = (Demand("defillama", "pools", "*"), Demand("defillama", "protocols", "*"))
"""The list of live pools, and what kind of protocol each belongs to: taken once a day."""

_UNLIMITED_RATE: Final = 50.0
"""Requests a second that a host without a limit answers, for the estimate."""


@dataclass(frozen=True)
class Wish:
    """What a run is to bring.

    Attributes
    ----------
    since : date, optional
        How far back windowed sources reach; by default the catalogue's ``history_days``.
    sources : tuple of str, optional
        Only these sources.
    strategies : tuple of str, optional
        Only these strategies of the catalogue (and the market columns), none of the pools followed already.
    universe : str, optional
        Pools to add to what is followed (see :mod:`universe`).
    """

    since: dt.date | None = None
    sources: tuple[str, ...] | None = None
    strategies: tuple[str, ...] | None = None
    universe: str | None = None

    def moment(self, catalogue: Catalogue, now: dt.datetime) -> Moment:
        """Return when the run takes place and how far back it looks.

        Raises
        ------
        RequestError
            If ``since`` lies in the future or before there was a chain.
        """
        since = self.since or now.date() - dt.timedelta(days=catalogue.history_days)
        if not _FIRST_DAY <= since <= now.date():
            raise RequestError("since", since, f"a day from {_FIRST_DAY} to {now.date()}")
        # Whole months: a unit's id does not know where in its month a run began, so all of it is brought at once.
        return Moment(now, since.replace(day=1))


_FIRST_DAY: Final = dt.date(2015, 1, 1)


@dataclass(frozen=True)
class PlannedSource:
    """What will be asked of one dataset.

    Attributes
    ----------
    source, dataset : str
        Which.
    n_units, n_requests : int
        Units that are not done yet, and requests expected for them.
    minutes : float
        At the host's rate limit.
    """

    source: str
    dataset: str
    host: str
    n_units: int
    n_requests: int
    minutes: float


@dataclass(frozen=True)
class Plan:
    """Units to do, what is left out and why."""

    units: list[WorkUnit]
    sources: list[PlannedSource]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def minutes(self) -> float:
        """How long the run takes at least: hosts are asked side by side, each at its own rate."""
        by_host: dict[str, float] = {}
        for planned in self.sources:
            by_host[planned.host] = by_host.get(planned.host, 0.0) + planned.minutes
        return max(by_host.values(), default=0.0)


def demands_of(catalogue: Catalogue, wish: Wish, followed: Sequence[str]) -> list[Demand]:
    """Return what a wish asks for.

    Parameters
    ----------
    catalogue : Catalogue
        What is collected by default.
    wish : Wish
        What was asked.
    followed : sequence of str
        Pools beside the catalogue: those followed already and those that were chosen now.

    Raises
    ------
    RequestError
        If a source is unknown, or a universe is wanted without the source that it is chosen from.
    UnknownStrategyError
        If a strategy is not in the catalogue.
    """
    known = sorted({source for source, _ in DATASETS})
    for source in wish.sources or ():
        if source not in known:
            raise RequestError("sources", source, ", ".join(known))
    if wish.universe is not None and wish.sources is not None and "defillama" not in wish.sources:
        raise RequestError("sources", ", ".join(wish.sources), "defillama among them: it lists the pools of a universe")
    for strategy in wish.strategies or ():
        if strategy not in catalogue.by_id:
            raise UnknownStrategyError(strategy, [name for name in catalogue.by_id if strategy in name])
    demands = [*POOL_LISTS, *catalogue.demands(wish.strategies)]
    demands += [Demand("defillama", "chart", pool) for pool in followed]
    lending = [Demand("defillama", "lending", demand.entity) for demand in demands if demand.dataset == "chart"]
    demands = list(dict.fromkeys([*demands, *lending]))
    return [demand for demand in demands if wish.sources is None or demand.source in wish.sources]


def without_keyless(demands: Sequence[Demand], settings: CollectionSettings) -> tuple[list[Demand], dict[str, str]]:
    """Return the demands that can be asked, and why the others cannot: their host needs a key and has none.

    Raises
    ------
    OfflineError
        If offline mode forbids a host that would be asked.
    """
    kept, left_out = [], {}
    for demand in demands:
        spec = spec_of(demand)
        host = settings.host(spec.host)
        if spec.needs_key and not host.api_key:
            setting = f"AEGIS_SRC__{host.name.upper()}__API_KEY"
            left_out[f"{demand.source}/{demand.dataset}"] = f"needs a key: set {setting}"
        else:
            kept.append(demand)
    return kept, left_out


def planned(units: Sequence[WorkUnit], settings: CollectionSettings) -> list[PlannedSource]:
    """Return what the units ask of each dataset, in the order of the units."""
    groups: dict[tuple[str, str], list[WorkUnit]] = {}
    for unit in units:
        groups.setdefault((unit.demand.source, unit.demand.dataset), []).append(unit)
    return [_planned(mine, settings) for mine in groups.values()]


def _planned(units: Sequence[WorkUnit], settings: CollectionSettings) -> PlannedSource:
    demand = units[0].demand
    spec = spec_of(demand)
    n_requests = round(len(units) * spec.requests_per_unit)
    rate = settings.host(spec.host).requests_per_second or _UNLIMITED_RATE
    return PlannedSource(demand.source, demand.dataset, spec.host, len(units), n_requests, n_requests / rate / 60.0)
