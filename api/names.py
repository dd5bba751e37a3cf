"""Names: what is meant by an alias or an id, looked up at once however many there are."""

from __future__ import annotations

from collections.abc import Sequence

from aegis_yield.pipelines.predict import Forecaster


class NameIndex:
    """Aliases and ids of one state of the tables.

    Parameters
    ----------
    forecaster : Forecaster
        The state.
    """

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self._meant = {strategy.lower(): strategy for strategy in forecaster.known_strategies}
        held = forecaster.names.held(forecaster.known_strategies)
        for alias in forecaster.names.aliases:
            self._meant.pop(alias, None)  # an alias means what the list of aliases says, or nothing
        self._meant.update(held)
        self.aliases: dict[str, list[str]] = {}
        """The aliases of each strategy that has one."""
        for alias, strategy in held.items():
            self.aliases.setdefault(strategy, []).append(alias)

    def find(self, names: Sequence[str]) -> dict[str, str] | None:
        """Return what each name stands for, in their order; None if one stands for nothing."""
        meant = self._meant
        try:
            return {name: meant[name] if name in meant else meant[name.strip().lower()] for name in names}
        except KeyError:
            return None

    def resolve(self, names: Sequence[str]) -> dict[str, str]:
        """Return what each name stands for; slower than :meth:`find`, for it says what may have been meant.

        Raises
        ------
        UnknownStrategyError
            With the names that are closest to the first that stands for nothing.
        """
        return {name: self.meaning(name) for name in names}

    def meaning(self, name: str) -> str:
        """Return what a name stands for.

        Raises
        ------
        UnknownStrategyError
            With the closest names.
        """
        found = self.find([name])
        return found[name] if found else self._forecaster.names.resolve(name, self._forecaster.known_strategies)
