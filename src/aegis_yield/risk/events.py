"""Loss events: which strategies fail together, and every event of a horizon with its exact probability."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from aegis_yield.domain.errors import RequestError, UnknownStrategyError
from aegis_yield.risk.hazards import KINDS, Hazards, Shares, checked_shares
from aegis_yield.utils.typing import FloatArray

MAX_EVENT_PROBABILITY: Final = 0.5
"""Events are taken to exclude each other within a horizon: beyond this sum that is no approximation any more."""

_UNKNOWN: Final = ("", "unknown")
_MIN_SUFFIX: Final = 4
_PEGGED: Final = ("USD", "EUR")

Kinds = dict[str, Mapping[str, float]]
"""Of one strategy: kind to factor to share."""


@dataclass(frozen=True, order=True)
class Factor:
    """Something whose failure hits several strategies at once.

    Attributes
    ----------
    kind : str
        One of :data:`aegis_yield.risk.hazards.KINDS`.
    name : str
        Lower case: ``"aave-v3"``, ``"circle"``.
    category : str
        The commonest category of its strategies: it chooses a protocol's hazard.
    """

    kind: str
    name: str
    category: str = ""


@dataclass(frozen=True)
class Exposures:
    """What each strategy depends on.

    Attributes
    ----------
    strategy_ids : tuple of str
        n strategies.
    factors : tuple of Factor
        f factors, sorted by kind and name whatever the order of the strategies.
    share : ndarray of shape (f, n)
        Share of the strategy's principal that the factor can take, 0 … 1.
    """

    strategy_ids: tuple[str, ...]
    factors: tuple[Factor, ...]
    share: FloatArray

    def of(self, strategy_id: str) -> dict[str, tuple[str, ...]]:
        """Return what a strategy depends on, kind to names."""
        column = self.share[:, self.strategy_ids.index(strategy_id)]
        held = [factor for factor, share in zip(self.factors, column, strict=True) if share > 0]
        return {kind: tuple(f.name for f in held if f.kind == kind) for kind in KINDS if kind in {f.kind for f in held}}


@dataclass(frozen=True)
class EventTable:
    """Every loss event of a horizon.

    Attributes
    ----------
    strategy_ids : tuple of str
        n strategies.
    names : tuple of str
        k events: ``"exploit of aave-v3: 10 % lost"``.
    probability : ndarray of shape (k,)
        Of each; they exclude each other, nothing happens with 1 - sum.
    loss : ndarray of shape (k, n)
        Share of the principal lost, 0 … 1.
    """

    strategy_ids: tuple[str, ...]
    names: tuple[str, ...]
    probability: FloatArray
    loss: FloatArray


def exposures(
    strategies: pl.DataFrame, hazards: Hazards, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> Exposures:
    """Read from the text of each strategy what it depends on.

    The protocol is its project (a strategy of unknown project is a protocol of its own; a venue's trade has none),
    the chain its chain, issuers and staked coins are those behind the parts of its symbol, the venue of a
    ``delta_neutral`` strategy is a known name in its project. A pool of several coins is exposed to each with its
    whole principal: arbitrage leaves a pool with the coin that fails.

    Parameters
    ----------
    strategies : polars.DataFrame
        ``strategy_id, project, chain, symbol, category``, one row each.
    hazards : Hazards
        Says how to read symbols, chains and venues, and holds the exposures set by its file.
    overrides : mapping, optional
        Strategy to kind to names, or to names with shares; replaces a kind, an empty one removes it. Goes before
        the file's.

    Raises
    ------
    UnknownStrategyError
        If an override names a strategy that is not in the table.
    RequestError
        If an override's kind or share is not allowed.
    """
    given = _checked_overrides(overrides or {}, strategies["strategy_id"].to_list())
    columns = ("strategy_id", "project", "chain", "symbol", "category")
    rows = strategies.select(pl.col(columns).cast(pl.String).fill_null("")).iter_rows(named=True)
    held: list[tuple[str, str, Kinds]] = []
    for row in rows:
        strategy = row["strategy_id"]
        held.append(
            (
                strategy,
                row["category"],
                {**_read(row, hazards), **hazards.exposures.get(strategy, {}), **given.get(strategy, {})},
            )
        )
    return _as_matrix(held)


def enumerate_events(exposed: Exposures, hazards: Hazards, horizon_days: int) -> EventTable:
    """Return every event of the horizon with its exact probability.

    A factor fails within h days with probability ``1 - exp(-per_year · h / 365)``, split over its severities by
    their weights. Within one horizon at most one event happens: joint events, of the order of the square of these
    probabilities, are left out, and each event keeps its own probability whole.

    Parameters
    ----------
    exposed : Exposures
        From :func:`exposures`.
    hazards : Hazards
        Rates and severities.
    horizon_days : int
        h, at least 1.

    Returns
    -------
    EventTable
        In the order of the factors, then of the severities; factors without strategies or hazard left out.

    Raises
    ------
    RequestError
        If the probabilities sum to more than :data:`MAX_EVENT_PROBABILITY`.
    """
    if horizon_days < 1:
        raise RequestError("horizon_days", horizon_days, "a whole number, at least 1")
    names: list[str] = []
    probability: list[float] = []
    loss: list[FloatArray] = []
    for factor, share in zip(exposed.factors, exposed.share, strict=True):
        hazard = hazards.of(factor.kind, factor.name, factor.category)
        if not share.any() or not hazard.per_year:
            continue
        happens = hazard.probability(horizon_days)
        for severity, weight in zip(hazard.losses, hazard.weights, strict=True):
            names.append(f"{hazard.what} of {factor.name}: {100 * severity:.3g} % lost")
            probability.append(happens * weight)
            loss.append(severity * share)
    total = float(np.sum(probability))
    if total > MAX_EVENT_PROBABILITY:
        raise RequestError(
            "events",
            f"probabilities of loss events in {horizon_days} days that sum to {total:.3f}",
            f"at most {MAX_EVENT_PROBABILITY} for {len(exposed.factors)} factors: fewer strategies, a shorter horizon, "
            "or lower hazards",
        )
    shape = (len(names), len(exposed.strategy_ids))
    return EventTable(exposed.strategy_ids, tuple(names), np.array(probability), np.array(loss).reshape(shape))


def _checked_overrides(overrides: Mapping[str, Mapping[str, Any]], known: Sequence[str]) -> Shares:
    for strategy in overrides:
        if strategy not in known:
            raise UnknownStrategyError(strategy)
    try:
        return checked_shares(overrides)
    except (ValueError, TypeError, AttributeError) as error:
        allowed = f"strategy to kind ({', '.join(KINDS)}) to names, or to names with shares from 0 to 1 ({error})"
        raise RequestError("exposures", dict(overrides), allowed) from error


def _read(row: Mapping[str, str], hazards: Hazards) -> Kinds:
    venue = _venue(row, hazards)
    project = row["project"].strip().lower()
    protocol = row["strategy_id"] if project in _UNKNOWN else project
    chain = row["chain"].strip().lower()
    chain = hazards.chain_names.get(chain, chain)
    tokens = [token for token in re.split(r"[^A-Z0-9]+", row["symbol"].upper()) if token]
    found = {
        "protocol": [] if venue else [protocol],
        "issuer": [name for token in tokens for name in _issuers(token, hazards)],
        "staking_token": [name for token in tokens for name in _behind(token, hazards.staking_tokens)],
        "chain": [] if chain in _UNKNOWN else [chain],
        "venue": [venue] if venue else [],
    }
    return {kind: dict.fromkeys(names, 1.0) for kind, names in found.items()}


def _venue(row: Mapping[str, str], hazards: Hazards) -> str:
    if row["category"] != "delta_neutral":
        return ""
    parts = row["project"].lower().split("-")
    return next((name for name in hazards.venues if name in parts), "")


def _issuers(token: str, hazards: Hazards) -> tuple[str, ...]:
    known = _behind(token, hazards.issuers)
    return known or ((token.lower(),) if any(pegged in token for pegged in _PEGGED) else ())


def _behind(token: str, table: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return who stands behind a token: its own entry, else that of the longest known symbol that it ends with."""
    if token in table:
        return table[token]
    ends = [symbol for symbol in table if len(symbol) >= _MIN_SUFFIX and token.endswith(symbol)]
    return table[max(ends, key=len)] if ends else ()


def _as_matrix(held: list[tuple[str, str, Kinds]]) -> Exposures:
    categories: dict[tuple[str, str], Counter[str]] = {}
    for _, category, kinds in held:
        for kind, names in kinds.items():
            for name in names:
                categories.setdefault((kind, name), Counter())[category] += 1
    keys = sorted(categories)
    position = {key: number for number, key in enumerate(keys)}
    share = np.zeros((len(keys), len(held)))
    for column, (_, _, kinds) in enumerate(held):
        for kind, names in kinds.items():
            for name, part in names.items():
                share[position[kind, name], column] = part
    factors = tuple(Factor(kind, name, _commonest(categories[kind, name])) for kind, name in keys)
    return Exposures(tuple(strategy for strategy, _, _ in held), factors, share)


def _commonest(counted: Counter[str]) -> str:
    """Return the commonest; of several equally common ones the first by name, whatever the order of the rows."""
    return min(counted, key=lambda category: (-counted[category], category))
