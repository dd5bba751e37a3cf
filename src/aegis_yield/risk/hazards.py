"""Hazard rates and severities of loss events, read from a config in which each has a source and a date."""

from __future__ import annotations

import datetime as dt
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aegis_yield.domain.categories import CATEGORIES
from aegis_yield.domain.errors import DataError
from aegis_yield.utils.project import shipped_file

KINDS: Final[tuple[str, ...]] = ("protocol", "issuer", "staking_token", "chain", "venue")
"""Kinds of common factor: what fails, and with it every strategy that depends on it."""

_WEIGHT_TOLERANCE: Final = 1e-9

Shares = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Strategy to kind to factor to the share of the principal that the factor can take."""


@dataclass(frozen=True)
class Hazard:
    """How often factors of a kind fail, and how badly.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    what : str
        Names the event: ``"exploit"``.
    names, categories : tuple of str
        Factors or categories meant; both empty for every other factor of the kind.
    per_year : float
        Hazard rate.
    losses, weights : tuple of float
        Shares of the principal lost, above 0 and at most 1, and their weights, which sum to 1.
    source, severity_source : str
        Where the rate and the severities come from; ``"judgement"`` if from nobody's measurement.
    date : date
        Of when the rate is.
    """

    kind: str
    what: str
    names: tuple[str, ...]
    categories: tuple[str, ...]
    per_year: float
    losses: tuple[float, ...]
    weights: tuple[float, ...]
    source: str
    severity_source: str
    date: dt.date

    def probability(self, horizon_days: float) -> float:
        """Return the probability of at least one event within so many days."""
        return -math.expm1(-self.per_year * horizon_days / 365.0)


@dataclass(frozen=True)
class Hazards:
    """All hazards, and how factors are read from the text of a strategy.

    Attributes
    ----------
    entries : tuple of Hazard
        In the order of the file; every kind has one for any other factor.
    issuers, staking_tokens : mapping of str to tuple of str
        Who stands behind a symbol (upper case).
    venues : tuple of str
        Names of venues, lower case.
    chain_names : mapping of str to str
        Other spellings of chains, lower case; ``""`` for what is no chain of its own.
    exposures : mapping
        Strategy to kind to factor to share: replaces what was read from the text.
    """

    entries: tuple[Hazard, ...]
    issuers: Mapping[str, tuple[str, ...]]
    staking_tokens: Mapping[str, tuple[str, ...]]
    venues: tuple[str, ...]
    chain_names: Mapping[str, str]
    exposures: Shares

    def of(self, kind: str, name: str, category: str = "") -> Hazard:
        """Return the hazard of a factor: a name goes before a category, a category before neither."""
        own = [entry for entry in self.entries if entry.kind == kind]
        for fits in (
            lambda entry: name in entry.names,
            lambda entry: category in entry.categories,
            lambda entry: not entry.names and not entry.categories,
        ):
            found = next(filter(fits, own), None)
            if found is not None:
                return found
        raise DataError(f"no hazard for {kind} {name!r}; every kind needs one without names and categories")


def load_hazards(path: Path | None = None) -> Hazards:
    """Read hazards.

    Parameters
    ----------
    path : Path, optional
        A TOML file; by default ``AEGIS_HAZARDS``, else ``configs/hazards.toml``, which explains the form.

    Raises
    ------
    DataError
        If the file is missing or not of that form, naming the entry, what was received and what is allowed.
    """
    chosen = path or Path(
        os.environ.get("AEGIS_HAZARDS") or shipped_file("configs/hazards.toml", "configs/hazards.toml")
    )
    try:
        content = tomllib.loads(chosen.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{chosen}: cannot be read as a TOML file of hazards: {error}") from error
    try:
        return _hazards(content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{chosen}: {_said(error)}; see configs/hazards.toml for the form") from error


def checked_shares(exposures: Mapping[str, Mapping[str, Any]]) -> Shares:
    """Return exposures given by a user in one form: strategy, kind, factor, share.

    Parameters
    ----------
    exposures : mapping
        Strategy to kind to either names (each takes the whole principal) or a mapping of name to share.

    Raises
    ------
    ValueError
        If a kind is unknown or a share is outside 0 … 1.
    """
    return {
        strategy: {_kind(kind, strategy): _shares(names, f"{strategy}: {kind}") for kind, names in kinds.items()}
        for strategy, kinds in exposures.items()
    }


def _hazards(content: dict[str, Any]) -> Hazards:
    entries = tuple(_hazard(entry, f"hazard {n}") for n, entry in enumerate(content["hazard"], start=1))
    for kind in KINDS:
        own = [entry for entry in entries if entry.kind == kind]
        if sum(not entry.names and not entry.categories for entry in own) != 1:
            raise ValueError(f"{kind}: exactly one hazard without names and categories is needed")
        named = [name for entry in own for name in (*entry.names, *entry.categories)]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(f"{kind}: named in two hazards: {', '.join(twice)}")
    symbols = content.get("symbols", {})
    chains = symbols.get("chain", {})
    return Hazards(
        entries=entries,
        issuers=_by_symbol(symbols.get("issuer", {})),
        staking_tokens=_by_symbol(symbols.get("staking_token", {})),
        venues=tuple(name.lower() for name in symbols.get("venue", {}).get("names", [])),
        chain_names={k.lower(): v.lower() for k, v in chains.get("same", {}).items()}
        | {name.lower(): "" for name in chains.get("none", [])},
        exposures=checked_shares(content.get("exposures", {})),
    )


def _hazard(entry: dict[str, Any], place: str) -> Hazard:
    losses = tuple(_share(one["loss"], f"{place}: loss") for one in entry["severities"])
    weights = tuple(_share(one["weight"], f"{place}: weight") for one in entry["severities"])
    if abs(sum(weights) - 1.0) > _WEIGHT_TOLERANCE or 0.0 in (*losses, *weights):
        raise ValueError(f"{place}: severities: received {entry['severities']}, weights must sum to 1, none may be 0")
    categories = tuple(entry.get("categories", ()))
    if not set(categories) <= set(CATEGORIES) or (categories and entry["kind"] != "protocol"):
        raise ValueError(f"{place}: categories: received {categories}, allowed for protocols: {', '.join(CATEGORIES)}")
    return Hazard(
        kind=_kind(entry["kind"], place),
        what=_text(entry["what"], f"{place}: what"),
        names=tuple(name.lower() for name in entry.get("names", ())),
        categories=categories,
        per_year=_rate(entry["per_year"], f"{place}: per_year"),
        losses=losses,
        weights=weights,
        source=_text(entry["source"], f"{place}: source"),
        severity_source=_text(entry["severity_source"], f"{place}: severity_source"),
        date=_date(entry["date"], f"{place}: date"),
    )


def _by_symbol(table: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    found = {symbol.upper(): (who,) if isinstance(who, str) else tuple(who) for symbol, who in table.items()}
    return {symbol: tuple(name.lower() for name in names) for symbol, names in found.items()}


def _shares(names: Any, place: str) -> dict[str, float]:
    if isinstance(names, str):
        raise TypeError(f"{place}: received {names!r}, allowed are a list of names or a table of names and shares")
    table = dict(names) if isinstance(names, Mapping) else dict.fromkeys(names, 1.0)
    return {name.lower(): _share(share, f"{place} {name}") for name, share in table.items()}


def _kind(value: Any, place: str) -> str:
    if value not in KINDS:
        raise ValueError(f"{place}: kind: received {value!r}, allowed is one of {', '.join(KINDS)}")
    return str(value)


def _share(value: Any, place: str) -> float:
    if not _is_number(value) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{place}: received {value!r}, allowed is a share from 0 to 1")
    return float(value)


def _rate(value: Any, place: str) -> float:
    if not _is_number(value) or not 0.0 <= value < math.inf:
        raise ValueError(f"{place}: received {value!r}, allowed is a number of events per year, at least 0")
    return float(value)


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{place}: received {value!r}, allowed is a text")
    return value


def _date(value: Any, place: str) -> dt.date:
    if not isinstance(value, dt.date):
        raise TypeError(f"{place}: received {value!r}, allowed is a date such as 2025-06-30")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _said(error: Exception) -> str:
    return f"no {error.args[0]!r} where one is needed" if isinstance(error, KeyError) else str(error)
