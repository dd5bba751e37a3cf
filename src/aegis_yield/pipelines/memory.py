"""Inputs at origins, made once and remembered for the next question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from aegis_yield.domain.dataset import Dataset
from aegis_yield.preprocessing.origins import OriginBatch, history_before, walk_origins
from aegis_yield.preprocessing.panel import build_panel, to_date

REMEMBERED_ROWS: Final = 50_000
"""Forecast inputs kept in memory, about two kilobytes each."""

_LARGEST_GAP_DAYS: Final = 30


@dataclass(frozen=True)
class InputsMemory:
    """The inputs of every eligible strategy at origins of one dataset.

    Inputs at a day depend on rows up to that day only, whatever day a question is about, so they can be
    shared between questions. Strategies that were not asked for take part: cross-sectional features need
    them.
    """

    dataset: Dataset
    _kept: dict[int, OriginBatch] = field(default_factory=dict, repr=False, compare=False)

    def at(self, days: Sequence[int]) -> Iterator[OriginBatch]:
        """Yield the inputs at each of these origins, those to be made first."""
        ordered = sorted(set(days))
        known = {day: batch for day in ordered if (batch := self._kept.get(day)) is not None}
        for group in _groups([day for day in ordered if day not in known]):
            panel = build_panel(self.dataset, start=to_date(history_before(group[0])), end=to_date(group[-1]))
            for batch in walk_origins(panel, group):
                self._keep(batch)
                yield batch
        yield from known.values()

    def _keep(self, batch: OriginBatch) -> None:
        self._kept[batch.day] = batch
        while len(self._kept) > 1 and sum(len(kept.keys) for kept in list(self._kept.values())) > REMEMBERED_ROWS:
            self._kept.pop(next(iter(self._kept)), None)


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
