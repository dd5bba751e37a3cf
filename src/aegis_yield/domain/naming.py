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
    aliases : mapping of str to str
        Short name to strategy_id.
    defaults : tuple of str
        Names used when none are given.
    """

    aliases: Mapping[str, str]
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
        target = self.aliases.get(wanted, wanted)
        if target.lower() in lowered:
            return lowered[target.lower()]
        raise UnknownStrategyError(name, self._closest(wanted, lowered))

    def _closest(self, wanted: str, lowered: Mapping[str, str]) -> list[str]:
        candidates = [*(a for a, target in self.aliases.items() if target.lower() in lowered), *lowered]
        close = difflib.get_close_matches(wanted, candidates, n=_SUGGESTIONS, cutoff=0.5)
        parts = [c for c in candidates if wanted and wanted in c]
        names = list(dict.fromkeys([*close, *parts]))[:_SUGGESTIONS]
        return [lowered.get(name, name) for name in names]
