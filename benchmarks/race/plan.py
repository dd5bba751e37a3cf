"""The course: which data, origins, cut-offs and horizons, and the jobs that follow from them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from aegis_yield.domain.dataset import Dataset
from aegis_yield.pipelines.datasets import open_dataset, simulated_dataset
from aegis_yield.preprocessing.panel import to_day
from aegis_yield.simulation import MarketSpec
from benchmarks.race.methods import BY_KEY, Method
from benchmarks.race.store import code_digest, digest

EVERY_DAYS: Final = 7
REFIT_MONTHS: Final = 4


@dataclass(frozen=True)
class Source:
    """Where the tables come from: a folder, or a simulated market of this size.

    Attributes
    ----------
    folder : str
        Empty for the simulated market.
    n_strategies, n_days : int
        Of the simulated market.
    """

    folder: str = ""
    n_strategies: int = 60
    n_days: int = 1_200

    def open(self) -> Dataset:
        """Read or simulate the tables."""
        if self.folder:
            return open_dataset(Path(self.folder))
        return simulated_dataset(MarketSpec(n_strategies=self.n_strategies, n_days=self.n_days))


@dataclass(frozen=True)
class Course:
    """What everybody has to forecast.

    Attributes
    ----------
    source : Source
        The data.
    start, end : datetime.date
        First origin, and the day after which there is none.
    horizons : tuple of int
        Days ahead.
    refits : tuple of datetime.date
        Cut-offs, rising, the first before ``start``: a method trained at one forecasts the origins after it up
        to the next.
    every_days : int
        Distance of origins.
    thin : int
        Slow methods forecast every so many origins.
    held_out_share : float
        Share of strategies that cold starts are trained without; 0 for no cold start.
    """

    source: Source
    start: dt.date
    end: dt.date
    horizons: tuple[int, ...]
    refits: tuple[dt.date, ...]
    every_days: int = EVERY_DAYS
    thin: int = 4
    held_out_share: float = 0.2

    def __post_init__(self) -> None:
        """Refuse a course nobody could run."""
        if not self.refits or list(self.refits) != sorted(set(self.refits)) or self.refits[0] >= self.start:
            raise ValueError(f"refits must rise and begin before the first origin {self.start}, received {self.refits}")
        if self.start > self.end:
            raise ValueError(f"the first origin {self.start} lies after the end {self.end}")

    @cached_property
    def origins(self) -> tuple[int, ...]:
        """Day numbers of all origins."""
        return tuple(range(to_day(self.start), to_day(self.end) + 1, self.every_days))

    @property
    def thinned(self) -> tuple[int, ...]:
        """Day numbers of the origins that slow methods forecast."""
        return self.origins[:: self.thin]

    def legs(self, origins: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
        """Return cut-offs with the origins after each, up to the next; cut-offs without origins are left out."""
        cuts = [to_day(refit) for refit in self.refits]
        ends = [*cuts[1:], max(origins)]
        found = [(cut, tuple(day for day in origins if cut < day <= end)) for cut, end in zip(cuts, ends, strict=True)]
        return [(cut, days) for cut, days in found if days]


def default_refits(start: dt.date, end: dt.date, months: int = REFIT_MONTHS) -> tuple[dt.date, ...]:
    """Return month ends every so many months: the first the last day before ``start`` that ends a month."""
    cut = start.replace(day=1) - dt.timedelta(days=1)
    found = []
    while cut < end:
        found.append(cut)
        later = cut.year * 12 + cut.month + months  # months since year 0, counted from 0: the month after the cut
        cut = dt.date(later // 12, later % 12 + 1, 1) - dt.timedelta(days=1)
    return tuple(found)


@dataclass(frozen=True)
class Job:
    """What one worker does: one method from one cut-off, or over all origins.

    Attributes
    ----------
    method : str
        Key of the method.
    cutoff : int or None
        Day number, None where nothing is trained.
    origins, horizons : tuple of int
        Rising day numbers, and days ahead.
    cold : bool
        Whether it is trained without the held-out strategies.
    settings : mapping
        What the method reads.
    version : str
        Hash of data, code and settings.
    code : str
        Hash of the code alone: a worker that finds other code refuses to work under this version.
    """

    method: str
    cutoff: int | None
    origins: tuple[int, ...]
    horizons: tuple[int, ...]
    cold: bool
    settings: Mapping[str, Any] = field(hash=False)
    version: str
    code: str = ""

    @property
    def name(self) -> str:
        """Names the result in the store."""
        facts = {"version": self.version, "cutoff": self.cutoff, "origins": self.origins, "cold": self.cold}
        return f"{self.method}-{digest(facts | {'horizons': self.horizons})}"

    @property
    def weight(self) -> float:
        """Rough seconds, for the estimate of the time left."""
        method = BY_KEY[self.method]
        return (
            method.weight
            * (len(self.horizons) if method.trained and self.method != "ours" else 1)
            * (1 if method.trained else len(self.origins))
        )

    def label(self) -> str:
        """Say what is being done."""
        when = "" if self.cutoff is None else f" from {dt.date.fromordinal(719163 + self.cutoff)}"
        days = "/".join(map(str, self.horizons))
        return f"{BY_KEY[self.method].label}{when}, {days} d{' (cold start)' if self.cold else ''}"


@dataclass(frozen=True)
class Entry:
    """A method with its settings, as it enters the race.

    Attributes
    ----------
    method : Method
    settings : mapping
        What was asked for on the command line.
    horizons : tuple of int
        Those it runs.
    every_origin : bool
        Whether it runs all origins even if it is slow.
    """

    method: Method
    settings: Mapping[str, Any]
    horizons: tuple[int, ...]
    every_origin: bool = False


def jobs_of(course: Course, entry: Entry, data_hash: str, cold: bool = False) -> list[Job]:
    """Return the jobs of one method on the course."""
    method = entry.method
    own = {name: entry.settings[name] for name in method.settings if entry.settings.get(name) is not None}
    code = code_digest(method.depends_on)
    facts = {"method": method.key, "data": data_hash, "settings": own, "code": code}
    origins = course.thinned if method.slow and not entry.every_origin else course.origins
    version = digest(facts | {"held_out": course.held_out_share if cold else 0.0})
    if not method.trained:
        return [Job(method.key, None, origins, entry.horizons, cold, own, version, code)]
    groups = [entry.horizons] if method.key == "ours" else [(horizon,) for horizon in entry.horizons]
    jobs = []
    for cutoff, days in course.legs(origins):
        bundle = entry.settings.get("bundles", {}).get(cutoff) if method.key == "ours" else None
        given = own | ({"bundle": str(bundle)} if bundle else {})
        stamp = digest({"version": version, "bundle": _stamp(bundle)}) if bundle else version
        jobs += [Job(method.key, cutoff, days, group, cold, given, stamp, code) for group in groups]
    return jobs


def _stamp(path: Path) -> str:
    from aegis_yield.models.bundle import bundle_digest

    return bundle_digest(path)
