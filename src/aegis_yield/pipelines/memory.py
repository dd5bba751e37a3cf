"""Inputs at origins, made once and remembered for the next question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from aegis_yield.domain.dataset import Dataset
from aegis_yield.preprocessing.origins import OriginBatch, history_before, walk_origins
from aegis_yield.preprocessing.panel import build_panel, to_date

REMEMBERED_ROWS: Final = 20_000
"""Forecast inputs kept in memory, about three kilobytes each."""

_LARGEST_GAP_DAYS: Final = 30


@dataclass(frozen=True)
class _Kept:
    """Inputs at an origin: of whom they were asked for (None: of everyone), and of those who are eligible."""

    asked: frozenset[str] | None
    batch: OriginBatch

    def holds(self, strategies: Set[str]) -> bool:
        return self.asked is None or strategies <= self.asked


@dataclass(frozen=True)
class InputsMemory:
    """The inputs of eligible strategies at origins of one dataset.

    Inputs at a day depend on rows up to that day only, whatever day a question is about, so they can be
    shared between questions. Strategies that were not asked for take part: cross-sectional features need
    them. Of the day that most were asked for everyone's inputs are remembered, of other days theirs only:
    strategies that have ended, each on a day of its own, would fill the memory with all others.
    """

    dataset: Dataset
    _kept: dict[int, _Kept] = field(default_factory=dict, repr=False, compare=False)

    def at(self, origins: Mapping[str, int]) -> Iterator[OriginBatch]:
        """Yield the inputs of strategies, each at its origin, one batch for a day; those not eligible are left out."""
        wanted: dict[int, set[str]] = {}
        for strategy, day in origins.items():
            wanted.setdefault(day, set()).add(strategy)
        known = {day: kept for day in sorted(wanted) if (kept := self._kept.get(day)) and kept.holds(wanted[day])}
        busiest = max(wanted, key=lambda day: len(wanted[day]), default=None)
        for group in _groups([day for day in sorted(wanted) if day not in known]):
            panel = build_panel(self.dataset, start=to_date(history_before(group[0])), end=to_date(group[-1]))
            for batch in walk_origins(panel, group):
                chosen = _of(batch, wanted[batch.day])
                if batch.day == busiest:
                    self._keep(_Kept(None, batch))
                else:
                    self._keep(_Kept(frozenset(wanted[batch.day]), chosen))
                yield chosen
        for day, kept in known.items():
            yield _of(kept.batch, wanted[day])

    def _keep(self, kept: _Kept) -> None:
        self._kept[kept.batch.day] = kept
        while len(self._kept) > 1 and sum(len(k.batch.keys) for k in list(self._kept.values())) > REMEMBERED_ROWS:
            self._kept.pop(next(iter(self._kept)), None)


def _of(batch: OriginBatch, strategies: Set[str]) -> OriginBatch:
    return batch.subset(np.flatnonzero(np.isin(batch.keys.strategy_id.astype(str), list(strategies))))


def _groups(days: list[int]) -> Iterator[list[int]]:
    """Split days where they lie far apart: near ones share one panel."""
    group: list[int] = []
    for day in days:
        if group and day - group[-1] > _LARGEST_GAP_DAYS:
            yield group
            group = []
        group.append(day)
    if group:
        yield group
