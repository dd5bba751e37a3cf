"""Names of strategies: short aliases, and what was probably meant by an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aegis_yield.domain.errors import UnknownStrategyError

_SUGGESTIONS = 3


@dataclass(frozen=True)
class StrategyNames:
    """Aliases, and the strategies shown by default.

    Attributes
    ----------
    aliases : mapping of str to tuple of str
        Short name to the strategy_ids that it may stand for: the first that the dataset holds is meant.
    defaults : tuple of str
        Names used when none are given.
    """

    aliases: Mapping[str, tuple[str, ...]]
    defaults: tuple[str, ...]

    def resolve(self, name: str, known: Sequence[str]) -> str:
        """Return the strategy_id that a name stands for.

        Parameters
        ----------
        name : str
            An alias or a strategy_id; case and surrounding blanks do not matter.
        known : sequence of str
            Strategies that the dataset holds.

        Raises
        ------
        UnknownStrategyError
            With the closest known names.
        """
        wanted = name.strip().lower()
        lowered = {strategy.lower(): strategy for strategy in known}
        for target in self.aliases.get(wanted, (wanted,)):
            if target.lower() in lowered:
                return lowered[target.lower()]
        raise UnknownStrategyError(name, self._closest(wanted, lowered))

    def held(self, known: Sequence[str]) -> dict[str, str]:
        """Return what each alias means, given what the dataset holds; aliases of nothing that is held are absent."""
        lowered = {strategy.lower(): strategy for strategy in known}
        found = {
            alias: next((lowered[target.lower()] for target in targets if target.lower() in lowered), None)
            for alias, targets in self.aliases.items()
        }
        return {alias: strategy for alias, strategy in found.items() if strategy is not None}

    def _closest(self, wanted: str, lowered: Mapping[str, str]) -> list[str]:
        candidates = [*self.held(list(lowered.values())), *lowered]
        close = difflib.get_close_matches(wanted, candidates, n=_SUGGESTIONS, cutoff=0.5)
        parts = [c for c in candidates if wanted and wanted in c]
        names = list(dict.fromkeys([*close, *parts]))[:_SUGGESTIONS]
        return [lowered.get(name, name) for name in names]
